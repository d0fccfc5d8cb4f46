//! What the queue promises, one short story each; how age ends what waits is told in `age`. Tests only.

mod age;

use super::*;

const START: Timestamp = Timestamp::from_unix_millis(1_795_508_041_000);
const MINUTE: u64 = 60_000;

struct Story {
    queue: Queue,
    now: Timestamp,
    id: u64,
}

impl Story {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        Self {
            queue: Queue::new(settings, START),
            now: START,
            id: 0,
        }
    }

    fn insert(&mut self, groups: &[(u16, u128, &str)]) -> Id {
        self.id += 1;
        let arrival = Arrival {
            id: Id::from_bits(self.id),
            place: Place {
                segment: 1,
                offset: self.id as u32,
                len: 100,
            },
            accepted: self.now,
            expires: None,
        };
        let groups = groups.iter().map(|&(first, open, destination)| Group {
            first,
            open,
            destination,
            attempt: 0,
            next: None,
            note: None,
        });
        assert!(self.queue.insert(self.now, &arrival, groups));
        arrival.id
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
        self.queue.advance(self.now);
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.queue.pop_effect(self.now)).collect()
    }

    fn cheap_effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.queue.pop_cheap_effect(self.now)).collect()
    }

    /// All questions are answered with one lane.
    fn resolve(&mut self) -> LaneId {
        for effect in self.cheap_effects() {
            if let Effect::Resolve(destination) = effect {
                let resolution = Resolution::Lane {
                    key: "mx.example",
                    connection_limit: 10,
                    until: self.now.plus_millis(60 * MINUTE),
                };
                self.queue.resolved(self.now, destination, resolution);
            }
        }
        self.queue
            .find_lane("mx.example")
            .expect("one was resolved")
    }

    fn answer_all(&mut self, resolution: Resolution<'_>) -> usize {
        let effects = self.cheap_effects();
        for effect in &effects {
            if let Effect::Resolve(destination) = effect {
                self.queue.resolved(self.now, *destination, resolution);
            }
        }
        effects.len()
    }

    fn take(&mut self, lane: LaneId) -> Option<Parcel> {
        self.queue.take(self.now, lane)
    }

    fn settle(
        &mut self,
        parcel: &Parcel,
        delivered: u128,
        failed: u128,
        deferred: u128,
    ) -> Option<Done> {
        let outcome = Outcome {
            delivered,
            failed,
            deferred,
            ..Outcome::default()
        };
        let verdict = self.queue.judge(self.now, parcel.entry, &outcome);
        self.queue.settle(self.now, verdict)
    }

    fn verdicts(&mut self) -> Vec<Verdict> {
        let effects = self.effects().into_iter();
        effects
            .filter_map(|effect| match effect {
                Effect::Verdict(verdict) => Some(verdict),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn new_mail_is_asked_for_taken_and_done() {
    let mut story = Story::new();
    let id = story.insert(&[(0, 0b11, "a.example")]);
    let lane = story.resolve();
    assert_eq!(story.effects(), [Effect::Lane(lane)]);
    let parcel = story.take(lane).expect("one is due");
    assert_eq!(
        (parcel.id, parcel.first, parcel.bits, parcel.attempt),
        (id, 0, 0b11, 0)
    );
    assert_eq!(story.take(lane), None);
    let done = story.settle(&parcel, 0b11, 0, 0).expect("the only group");
    assert_eq!((done.id, done.place), (id, parcel.place));
    assert_eq!(story.queue.counts().messages, 0);
    let left = story.queue.used_bytes();
    story.insert(&[(0, 1, "a.example"), (1, 1, "a.example")]);
    let used = story.queue.used_bytes() - left;
    assert_eq!(used, 192, "one message with two entries, in bytes");
}

#[test]
fn one_content_many_envelopes_is_done_with_the_last() {
    let mut story = Story::new();
    let id = story.insert(&[(0, 1, "a.example"), (1, 1, "b.example")]);
    let lane = story.resolve();
    let (one, other) = (
        story.take(lane).expect("due"),
        story.take(lane).expect("due"),
    );
    assert_eq!((one.first, other.first), (0, 1));
    assert_eq!(story.settle(&one, 1, 0, 0), None);
    let moved = Place {
        segment: 2,
        ..one.place
    };
    assert!(story.queue.moved(id, moved));
    let done = story.settle(&other, 1, 0, 0).expect("the last group");
    assert_eq!(done.place, moved, "where it lies now");
}

#[test]
fn destinations_of_a_lane_take_turns() {
    let mut story = Story::new();
    for domain in ["bulk.x", "bulk.x", "bulk.x", "bulk.x", "small.x"] {
        story.insert(&[(0, 1, domain)]);
    }
    let lane = story.resolve();
    let parcels: Vec<_> = std::iter::from_fn(|| story.take(lane)).collect();
    let order: Vec<_> = parcels.iter().map(|parcel| parcel.id.to_bits()).collect();
    assert_eq!(order, [1, 5, 2, 3, 4]);
}

#[test]
fn what_is_given_back_is_first_and_counts_no_attempt() {
    let mut story = Story::new();
    let id = story.insert(&[(0, 1, "a.x")]);
    story.insert(&[(0, 1, "a.x")]);
    let lane = story.resolve();
    let parcel = story.take(lane).expect("due");
    story.queue.give_back(story.now, parcel.entry);
    let again = story.take(lane).expect("due");
    assert_eq!((again.id, again.attempt), (id, 0));
}

#[test]
fn a_refused_recipient_waits_and_the_others_do_not_come_again() {
    let mut story = Story::new();
    let id = story.insert(&[(0, 0b111, "a.x")]);
    let lane = story.resolve();
    let parcel = story.take(lane).expect("due");
    assert_eq!(story.settle(&parcel, 0b001, 0b010, 0b100), None);
    let row = story.queue.groups(id).next().expect("one is left");
    assert_eq!(
        (row.open, row.attempt, row.state),
        (0b100, 1, State::Scheduled)
    );
    let pause = row.next.millis_since(START);
    assert!(
        (20 * MINUTE..=20 * MINUTE * 9 / 8).contains(&pause),
        "{pause}"
    );
    story.pass(pause - 1);
    assert_eq!(story.take(lane), None);
    story.pass(1);
    assert_eq!(
        story.take(lane).map(|parcel| (parcel.bits, parcel.attempt)),
        Some((0b100, 1))
    );
}

#[test]
fn an_attempt_goes_on_with_the_next_batch() {
    let mut story = Story::with(Settings {
        max_recipients_per_batch: 2,
        ..Settings::default()
    });
    story.insert(&[(0, 0b11111, "a.x")]);
    let lane = story.resolve();
    let mut batches = Vec::new();
    while let Some(parcel) = story.take(lane) {
        batches.push(parcel.bits);
        // The lower one of each pair is deferred, and does not come back within this attempt.
        let deferred = 1 << parcel.bits.trailing_zeros();
        story.settle(&parcel, parcel.bits & !deferred, 0, deferred);
    }
    assert_eq!(batches, [0b00011, 0b01100, 0b10000]);
    let row = story
        .queue
        .groups(Id::from_bits(1))
        .next()
        .expect("some are left");
    assert_eq!((row.open, row.attempt), (0b10101, 1));
}

#[test]
fn a_recipient_the_peer_had_no_room_for_is_tried_at_once() {
    //= RFC 5321 section 4.5.3.1.10: after 452 too many recipients the rest goes in another transaction
    let mut story = Story::new();
    story.insert(&[(0, 0b1111, "a.x")]);
    let lane = story.resolve();
    let parcel = story.take(lane).expect("due");
    assert_eq!(story.settle(&parcel, 0b0011, 0, 0), None);
    assert_eq!(
        story.take(lane).map(|parcel| (parcel.bits, parcel.attempt)),
        Some((0b1100, 0))
    );
}

#[test]
fn a_few_are_ready_where_nothing_is_known_to_flow() {
    let mut story = Story::with(Settings {
        max_ready: 2,
        ..Settings::default()
    });
    let ready = |story: &Story, id| story.queue.is_ready(story.now, id);
    let one = story.insert(&[(0, 1, "a.x")]);
    let two = story.insert(&[(0, 1, "a.x")]);
    assert!(ready(&story, one) && ready(&story, two));
    let three = story.insert(&[(0, 1, "a.x")]);
    assert!(!ready(&story, three), "nobody knows yet where it goes");
    let lane = story.resolve();
    assert!(!ready(&story, three), "nobody has taken any yet");
    story.queue.opening(lane);
    story.queue.opened(story.now, lane);
    assert!(!ready(&story, three), "a greeting is no word about mail");
    let parcel = story.take(lane).expect("due");
    assert!(ready(&story, one), "it is on a connection");
    story.settle(&parcel, 1, 0, 0);
    let ids: Vec<_> = (0..5).map(|_| story.insert(&[(0, 1, "a.x")])).collect();
    assert!(
        ids.iter().all(|id| ready(&story, *id)),
        "they flow, however many they are"
    );
    story.queue.closed(story.now, lane);
    story.queue.opening(lane);
    story
        .queue
        .open_failed(story.now, lane, b"421 4.4.1 refused");
    assert!(
        ids.iter().all(|id| !ready(&story, *id)),
        "the lane rests, and so do they"
    );
}

#[test]
fn a_domain_that_does_not_exist_fails_all_that_is_due() {
    let mut story = Story::new();
    story.insert(&[(0, 1, "a.x")]);
    story.insert(&[(0, 1, "a.x")]);
    let answer = b"550 5.1.2 no such domain".as_slice();
    assert_eq!(
        story.answer_all(Resolution::Failed { answer }),
        1,
        "asked once for both"
    );
    let verdicts = story.verdicts();
    assert_eq!(verdicts.len(), 2);
    for verdict in verdicts {
        assert_eq!((verdict.failed, verdict.attempt), (1, 0));
        assert_eq!(verdict.cause, Cause::Answer(answer.into()));
        assert!(story.queue.settle(story.now, verdict).is_some());
    }
}

#[test]
fn a_silent_name_server_counts_as_an_attempt() {
    let mut story = Story::new();
    let id = story.insert(&[(0, 1, "a.x")]);
    let answer = b"451 4.4.3 no name server answered".as_slice();
    story.answer_all(Resolution::Deferred { answer });
    let verdict = story.verdicts().pop().expect("postponed");
    assert!(verdict.is_deferral());
    assert_eq!((verdict.deferred, verdict.open, verdict.attempt), (1, 1, 1));
    assert_eq!(story.queue.settle(story.now, verdict), None);
    assert_eq!(
        story.queue.groups(id).next().map(|row| row.state),
        Some(State::Scheduled)
    );
    story.pass(23 * MINUTE);
    assert_eq!(
        story.answer_all(Resolution::Deferred { answer }),
        1,
        "asked again when due"
    );
}

#[test]
fn a_silent_name_server_postpones_a_few_and_the_others_keep_their_attempt() {
    let mut story = Story::with(Settings {
        max_ready: 3,
        ..Settings::default()
    });
    for _ in 0..5 {
        story.insert(&[(0, 1, "a.x")]);
    }
    let answer = b"451 4.4.3 no name server answered".as_slice();
    story.answer_all(Resolution::Deferred { answer });
    for verdict in story.verdicts() {
        story.queue.settle(story.now, verdict);
    }
    let counts = story.queue.counts();
    assert_eq!((counts.scheduled, counts.due), (3, 2));
    let late = story.insert(&[(0, 1, "a.x")]);
    assert_eq!(story.effects(), [], "nobody is asked for a while");
    assert!(!story.queue.is_ready(story.now, late));
    story.pass(MINUTE * 9 / 8);
    let lane = story.resolve();
    let attempts: Vec<_> = std::iter::from_fn(|| story.take(lane))
        .map(|parcel| parcel.attempt)
        .collect();
    assert_eq!(attempts, [0, 0, 0]);
}

#[test]
fn an_unreachable_lane_postpones_a_few_and_rests() {
    let mut story = Story::with(Settings {
        max_ready: 3,
        ..Settings::default()
    });
    for _ in 0..5 {
        story.insert(&[(0, 1, "a.x")]);
    }
    let lane = story.resolve();
    assert_eq!(story.queue.wants(story.now, lane), 1);
    story.queue.opening(lane);
    let answer = b"421 4.4.1 connection refused";
    story.queue.open_failed(story.now, lane, answer);
    for verdict in story.verdicts() {
        assert_eq!(verdict.cause, Cause::Answer(answer.as_slice().into()));
        story.queue.settle(story.now, verdict);
    }
    let counts = story.queue.counts();
    assert_eq!((counts.scheduled, counts.due), (3, 2));
    assert_eq!(
        (story.take(lane), story.queue.wants(story.now, lane)),
        (None, 0)
    );
    story.pass(MINUTE * 9 / 8);
    assert_eq!(
        story.effects(),
        [Effect::Lane(lane)],
        "it may be tried again"
    );
    assert_eq!(story.queue.wants(story.now, lane), 1);
}

/// It greets, hears of a message, and hangs up: each message counts its attempt, and soon the lane rests.
#[test]
fn a_lane_that_says_nothing_of_messages_rests() {
    let mut story = Story::new();
    for _ in 0..5 {
        story.insert(&[(0, 1, "a.x")]);
    }
    let lane = story.resolve();
    for _ in 0..3 {
        assert_eq!(story.queue.wants(story.now, lane), 1);
        story.queue.opening(lane);
        story.queue.opened(story.now, lane);
        let parcel = story.take(lane).expect("due");
        let outcome = Outcome {
            deferred: 1,
            is_silent: true,
            ..Outcome::default()
        };
        let verdict = story.queue.judge(story.now, parcel.entry, &outcome);
        assert_eq!(verdict.attempt, 1);
        story.queue.settle(story.now, verdict);
        story.queue.closed(story.now, lane);
    }
    assert_eq!(story.queue.wants(story.now, lane), 0);
    assert_eq!(story.take(lane), None);
    assert_eq!(story.queue.lane(lane).map(|lane| lane.failures), Some(1));
}

#[test]
fn a_waiting_entry_is_not_forgotten_behind_a_slow_one() {
    let mut story = Story::new();
    story.insert(&[(0, 1, "a.x")]);
    story.insert(&[(0, 1, "a.x")]);
    let lane = story.resolve();
    story.queue.opening(lane);
    story.queue.opened(story.now, lane);
    story.take(lane).expect("due");
    story.effects();
    assert_eq!(
        story.queue.wants(story.now, lane),
        0,
        "one connection is enough for two"
    );
    story.pass(250);
    assert_eq!(story.effects(), [Effect::Lane(lane)]);
    assert_eq!(
        story.queue.wants(story.now, lane),
        1,
        "unless it takes long"
    );
}

#[test]
fn a_clock_that_goes_back_makes_nothing_wait_longer() {
    let mut story = Story::new();
    story.pass(1000 * 24 * 60 * MINUTE);
    let id = story.insert(&[(0, 1, "a.x")]);
    let lane = story.resolve();
    let parcel = story.take(lane).expect("due");
    story.settle(&parcel, 0, 0, 1);
    story.now = START;
    story.queue.advance(START);
    let row = story.queue.groups(id).next().expect("it waits");
    assert!(row.next <= START.plus_millis(20 * MINUTE * 9 / 8));
    assert_eq!(row.message.expires, START.plus_millis(7 * 24 * 60 * MINUTE));
    story.pass(20 * MINUTE * 9 / 8);
    let lane = story.resolve();
    assert_eq!(story.take(lane).map(|parcel| parcel.id), Some(id));
}

#[test]
fn recovered_state_goes_on_where_it_was() {
    let mut story = Story::new();
    let arrival = Arrival {
        id: Id::from_bits(9),
        place: Place::default(),
        accepted: START,
        expires: None,
    };
    let next = START.plus_millis(5 * MINUTE);
    let group = |next| Group {
        first: 4,
        open: 0b1010,
        destination: "a.x",
        attempt: 3,
        next: Some(next),
        note: None,
    };
    assert!(story.queue.insert(START, &arrival, [group(next)]));
    let row = story.queue.groups(arrival.id).next().expect("it waits");
    assert_eq!(
        (row.open, row.attempt, row.next, row.state),
        (0b1010, 3, next, State::Scheduled)
    );
    // A time that cannot be (the clock was years ahead) is clamped to the present interval.
    let arrival = Arrival {
        id: Id::from_bits(10),
        ..arrival
    };
    let far = START.plus_millis(u64::MAX / 2);
    assert!(story.queue.insert(START, &arrival, [group(far)]));
    let row = story.queue.groups(arrival.id).next().expect("it waits");
    assert_eq!(row.next, START.plus_millis(80 * MINUTE * 9 / 8));
    let nothing = Group {
        open: 0,
        ..group(next)
    };
    let arrival = Arrival {
        id: Id::from_bits(11),
        ..arrival
    };
    assert!(
        !story.queue.insert(START, &arrival, [nothing]),
        "all settled: not taken"
    );
}

#[test]
fn a_lane_ends_when_nothing_leads_to_it() {
    let mut story = Story::with(Settings {
        idle_destinations_max: 0,
        ..Settings::default()
    });
    story.insert(&[(0, 1, "a.x")]);
    let lane = story.resolve();
    story.queue.opening(lane);
    story.queue.opened(story.now, lane);
    let parcel = story.take(lane).expect("due");
    story.settle(&parcel, 1, 0, 0);
    assert_eq!(story.effects(), [], "a connection is open");
    story.queue.closed(story.now, lane);
    assert_eq!(story.effects(), [Effect::LaneGone(lane)]);
    assert_eq!(
        (story.queue.lane(lane), story.queue.lane_key(lane)),
        (None, "")
    );
}

#[test]
fn a_great_deal_that_is_due_at_once_comes_in_pieces() {
    let mut story = Story::new();
    for number in 0..10_000 {
        let arrival = Arrival {
            id: Id::from_bits(number),
            place: Place::default(),
            accepted: START,
            expires: Some(START.plus_millis(MINUTE)),
        };
        let group = Group {
            first: 0,
            open: 1,
            destination: "a.x",
            attempt: 1,
            next: Some(START.plus_millis(1 + number % 50)),
            note: None,
        };
        story.queue.insert(START, &arrival, [group]);
    }
    let mut calls = 0;
    story.now = START.plus_millis(2 * MINUTE);
    while story.queue.next_due().is_some_and(|next| next <= story.now) {
        story.queue.advance(story.now);
        calls += 1;
        assert!(calls < 10);
    }
    assert_eq!((calls, story.queue.counts().ending), (3, 10_000));
}
