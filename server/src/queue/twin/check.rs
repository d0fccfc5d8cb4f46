//! The queue and its twin over the same random steps. What is compared after each is `compare`'s.

mod compare;

use super::super::schedule::{Curve, mix};
use super::super::state::Stage;
use super::super::*;
use super::{Twin, ms};
use proptest::prelude::*;
use std::collections::BTreeMap;

const START: u64 = 1_795_508_041_007;
const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;
const KEYS: [&str; 3] = ["lane a", "lane b", "lane c"];
const NAMES: [&str; 6] = ["a.x", "b.x", "c.x", "B.X", "d.x", "e.x"];

/// Recipients of a message: before, and what became of them.
#[derive(Debug, Default)]
struct Account {
    open: u128,
    delivered: u128,
    bounced: u128,
}

struct Check {
    queue: Queue,
    twin: Twin,
    now: u64,
    /// Numbers for the choices of the present step.
    seed: u64,
    id: u64,
    /// Held entries with what they were given for.
    parcels: Vec<Parcel>,
    /// Recorded, and not settled yet.
    verdicts: Vec<Verdict>,
    questions: Vec<DestinationId>,
    lanes: BTreeMap<LaneId, String>,
    accounts: BTreeMap<(Id, u16), Account>,
}

fn settings(seed: u64) -> Settings {
    Settings {
        curve: Curve {
            retry_interval: Duration::from_millis(20 * MINUTE),
            max_retry_interval: seed
                .is_multiple_of(2)
                .then_some(Duration::from_millis(90 * MINUTE)),
        },
        max_age: Duration::from_millis(DAY),
        max_ready: 3,
        max_recipients_per_batch: 2,
        ready_per_connection: 2,
        patience: Duration::from_millis(250),
        suspension: Duration::from_millis(MINUTE),
        idle_destinations_max: 2,
        seed,
        tries_doubts: true,
    }
}

impl Check {
    fn new(seed: u64) -> Self {
        Self {
            queue: Queue::new(settings(seed), Timestamp::from_unix_millis(START)),
            twin: Twin::new(settings(seed), START),
            now: START,
            seed: 0,
            id: 0,
            parcels: Vec::new(),
            verdicts: Vec::new(),
            questions: Vec::new(),
            lanes: BTreeMap::new(),
            accounts: BTreeMap::new(),
        }
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.now)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.seed = mix(self.seed, bound);
        self.seed % bound
    }

    fn bits(&self) -> u128 {
        let low = mix(self.seed, 7);
        u128::from(mix(low, 8)) << 64 | u128::from(low)
    }

    /// Where this entry stands in the twin.
    fn at(&self, id: Id, first: u16) -> usize {
        let is_it = |entry: &super::Entry| entry.id == id && entry.first == first;
        self.twin
            .entries
            .iter()
            .position(is_it)
            .expect("the twin has it too")
    }

    fn step(&mut self, step: u8, seed: u64) {
        self.seed = seed;
        match step {
            0..=3 => self.insert(),
            4 => self.pass(2_000),
            5 => self.pass(40 * MINUTE),
            6 => self.pass(DAY / 2),
            7 => self.now -= self.seed % 6_000,
            8 => self.now -= self.seed % (2 * DAY),
            9..=11 => self.advance(),
            12..=14 => {
                for _ in 0..self.below(6) {
                    self.pop_effect();
                }
            }
            15..=16 => while self.pop_effect() {},
            17..=19 => self.resolve(),
            20..=24 => self.take(),
            25..=28 => self.judge(),
            29..=31 => self.settle(),
            32 => self.give_back(),
            33..=36 => self.connect(),
            37 => self.suspend(),
            38 => self.rewrite(),
            _ => self.reconfigure(),
        }
        self.compare();
    }

    fn pass(&mut self, bound: u64) {
        self.now += self.below(bound);
        self.advance();
    }

    fn insert(&mut self) {
        self.id += 1;
        let id = Id::from_bits(mix(self.id, self.seed));
        let accepted = match self.below(4) {
            0 => self.now + self.seed % DAY,
            1 => self.now - self.seed % DAY,
            _ => self.now,
        };
        let expires = (self.below(3) == 0)
            .then(|| Timestamp::from_unix_millis(accepted + self.seed % (2 * DAY)));
        let arrival = Arrival {
            id,
            place: self.place(),
            accepted: Timestamp::from_unix_millis(accepted),
            expires,
        };
        let mut groups = Vec::new();
        for number in 0..self.below(4) as u16 {
            let open = match self.below(5) {
                0 => 0,
                1 => u128::MAX,
                2 => self.bits(),
                _ => 1 << self.below(128),
            };
            let next = match self.below(3) {
                0 => Some(Timestamp::from_unix_millis(
                    self.now - MINUTE + self.seed % (90 * MINUTE),
                )),
                _ => None,
            };
            groups.push(Group {
                first: number * 128,
                open,
                destination: NAMES[self.below(6) as usize],
                attempt: self.below(4) as u16,
                next,
                note: (self.below(2) == 0).then(|| self.place()),
            });
            if open != 0 {
                let account = self.accounts.entry((id, number * 128)).or_default();
                account.open = open;
            }
        }
        let taken = self
            .queue
            .insert(self.time(), &arrival, groups.iter().copied());
        assert_eq!(taken, groups.iter().any(|group| group.open != 0));
        self.twin.insert(self.now, &arrival, &groups);
    }

    fn place(&mut self) -> Place {
        Place {
            segment: self.below(9) as u32,
            offset: self.below(1 << 20) as u32,
            len: 1 + self.below(9000) as u32,
        }
    }

    fn advance(&mut self) {
        self.queue.advance(self.time());
        self.twin.advance(self.now);
        let now = self.now.max(self.twin.now);
        assert!(
            self.queue.next_due().is_none_or(|next| ms(next) > now),
            "all of it was done"
        );
    }

    fn pop_effect(&mut self) -> bool {
        self.order();
        let now = self.twin.observe(self.now);
        let question = self.twin.pop_question();
        let Some(effect) = self.queue.pop_effect(self.time()) else {
            assert_eq!(question, None);
            assert!(self.twin.gone.is_empty(), "{:?}", self.twin.gone);
            assert!(self.twin.pop_ending().is_none());
            for lane in std::mem::take(&mut self.twin.flagged) {
                let due = self.twin.due_of(&lane).count();
                assert!(
                    due == 0 || self.twin.is_waiting(&lane, now),
                    "{lane} was not told"
                );
            }
            return false;
        };
        match effect {
            Effect::Resolve(destination) => {
                assert_eq!(
                    Some(self.queue.destination_name(destination)),
                    question.as_deref()
                );
                self.questions.push(destination);
                return true;
            }
            Effect::LaneGone(lane) => {
                let name = self.lanes.remove(&lane).expect("known");
                let at = self.twin.gone.iter().position(|gone| *gone == name);
                self.twin.gone.swap_remove(at.expect("gone"));
                assert_eq!(self.queue.lane(lane), None);
            }
            Effect::Lane(lane) => {
                let name = self.queue.lane_key(lane).to_owned();
                assert!(!self.twin.is_waiting(&name, now));
                assert!(self.twin.due_of(&name).next().is_some());
                self.twin.flagged.remove(&name);
            }
            Effect::Verdict(verdict) => {
                let at = self.twin.pop_ending().expect("one is ending");
                assert_eq!(at, self.at(verdict.id, verdict.first));
                match self.twin.entries[at].answer.take() {
                    Some(answer) if verdict.cause != Cause::Age => {
                        assert_eq!(verdict.cause, Cause::Answer(answer.into()));
                    }
                    _ => assert_eq!(verdict.cause, Cause::Age),
                }
                self.twin.check_ending(self.now, at, &verdict);
                self.verdicts.push(verdict);
            }
        }
        assert_eq!(question, None, "questions come first");
        true
    }

    fn resolve(&mut self) {
        if self.questions.is_empty() {
            return;
        }
        let at = self.below(self.questions.len() as u64) as usize;
        let destination = self.questions.swap_remove(at);
        let name = self.queue.destination_name(destination).to_owned();
        let known = !name.is_empty();
        self.twin.observe(self.now);
        let answer = b"450 4.4.3 a text".as_slice();
        match self.below(6) {
            choice @ (0 | 1) => {
                let (resolution, stage) = match choice {
                    0 => (Resolution::Deferred { answer }, Stage::Postponed),
                    _ => (Resolution::Failed { answer }, Stage::Failed),
                };
                let lane = self.queue.resolved(self.time(), destination, resolution);
                assert_eq!(lane, None);
                if known {
                    self.twin.resolved(self.now, &name, None);
                    self.twin.fail(self.now, &name, stage, answer);
                }
            }
            _ => {
                let key = KEYS[self.below(3) as usize];
                let until = self.now + self.below(2 * DAY);
                let connection_limit = self.below(5) as u32;
                let resolution = Resolution::Lane {
                    key,
                    connection_limit,
                    until: Timestamp::from_unix_millis(until),
                };
                let lane = self.queue.resolved(self.time(), destination, resolution);
                assert_eq!(lane.is_some(), known);
                if let Some(lane) = lane {
                    self.lanes.insert(lane, key.into());
                    assert_eq!(self.queue.find_lane(key), Some(lane));
                    self.twin
                        .resolved(self.now, &name, Some((key, connection_limit, until)));
                }
            }
        }
    }

    /// A lane, perhaps one that is gone already.
    fn any_lane(&mut self) -> Option<(LaneId, String)> {
        if self.lanes.is_empty() {
            return None;
        }
        let at = self.below(self.lanes.len() as u64) as usize;
        let (&lane, key) = self.lanes.iter().nth(at)?;
        let (key, exists) = (key.clone(), self.queue.lane(lane).is_some());
        assert!(exists || self.twin.gone.contains(&key));
        if !exists {
            self.twin.observe(self.now);
            assert_eq!(self.queue.take(self.time(), lane), None);
            assert_eq!(self.queue.wants(self.time(), lane), 0);
        }
        exists.then_some((lane, key))
    }

    fn take(&mut self) {
        let Some((lane, key)) = self.any_lane() else {
            return;
        };
        for _ in 0..=self.below(3) {
            if self.queue.lane(lane).is_none() {
                break;
            }
            self.order();
            let peeked = self.queue.peek(self.time(), lane);
            let parcel = self.queue.take(self.time(), lane);
            let taken = parcel.map(|parcel| (parcel.id, parcel.place, parcel.expires));
            let peeked = peeked.map(|message| (message.id, message.place, message.expires));
            assert_eq!(peeked, taken, "what was seen is what is taken");
            let twin = self.twin.take(self.now, &key);
            assert_eq!(parcel.is_some(), twin.is_some());
            let (Some(parcel), Some(twin)) = (parcel, twin) else {
                break;
            };
            let expected = &self.twin.entries[twin];
            let message = &self.twin.messages[&expected.id];
            assert_eq!((parcel.id, parcel.first), (expected.id, expected.first));
            assert_eq!(parcel.bits, self.twin.batch(twin));
            assert!(parcel.bits != 0 && parcel.bits.count_ones() <= 2);
            assert_eq!(
                (parcel.place, ms(parcel.accepted), ms(parcel.expires)),
                (message.place, message.accepted, message.expires)
            );
            assert_eq!(parcel.attempt, expected.attempt);
            assert_eq!(
                self.queue.destination_name(parcel.destination),
                expected.destination
            );
            self.parcels.push(parcel);
        }
    }

    fn any_parcel(&mut self) -> Option<Parcel> {
        if self.parcels.is_empty() {
            return None;
        }
        let at = self.below(self.parcels.len() as u64) as usize;
        Some(self.parcels.swap_remove(at))
    }

    fn judge(&mut self) {
        let Some(parcel) = self.any_parcel() else {
            return;
        };
        let mut outcome = Outcome::default();
        for bit in (0..128).filter(|bit| parcel.bits & 1 << bit != 0) {
            match self.below(5) {
                0 | 1 => outcome.delivered |= 1 << bit,
                2 => outcome.failed |= 1 << bit,
                3 => outcome.deferred |= 1 << bit,
                _ => {}
            }
        }
        outcome.is_silent = outcome.delivered | outcome.failed == 0 && self.below(2) == 0;
        self.judge_as(&parcel, &outcome);
    }

    fn judge_as(&mut self, parcel: &Parcel, outcome: &Outcome) {
        let verdict = self.queue.judge(self.time(), parcel.entry, outcome);
        let now = self.twin.observe(self.now);
        let at = self.at(parcel.id, parcel.first);
        assert_eq!((verdict.id, verdict.first), (parcel.id, parcel.first));
        assert_eq!(verdict.cause, Cause::Attempt);
        self.twin.check_attempt(now, at, outcome, &verdict);
        self.verdicts.push(verdict);
        if self.below(3) > 0 {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let Some(verdict) = self.verdicts.pop() else {
            return;
        };
        let at = self.at(verdict.id, verdict.first);
        let account = self
            .accounts
            .get_mut(&(verdict.id, verdict.first))
            .expect("inserted");
        let settled = verdict.delivered | verdict.bounced();
        assert_eq!(settled & !account.open, 0, "each recipient once");
        assert_eq!(verdict.delivered & verdict.bounced(), 0);
        account.open &= !settled;
        account.delivered |= verdict.delivered;
        account.bounced |= verdict.bounced();
        assert_eq!(account.open, verdict.open);
        let is_attempt = verdict.cause == Cause::Attempt;
        let place = self.twin.messages[&verdict.id].place;
        let (id, entry) = (verdict.id, verdict.entry);
        let done = self.twin.settle(self.now, at, &verdict, is_attempt);
        let gone = verdict.open == 0;
        let found = self.queue.settle(self.time(), verdict);
        assert_eq!(found, done.then_some(Done { id, place }));
        if gone {
            assert!(!self.queue.noted(entry, Place::default()), "it is gone");
        }
    }

    fn give_back(&mut self) {
        if let Some(parcel) = self.any_parcel() {
            let at = self.at(parcel.id, parcel.first);
            self.queue.give_back(self.time(), parcel.entry);
            self.twin.give_back(self.now, at);
        }
    }

    fn connect(&mut self) {
        let Some((lane, key)) = self.any_lane() else {
            return;
        };
        let now = self.time();
        let known = &self.twin.lanes[&key];
        let (open, opening) = (known.open, known.opening);
        match self.below(6) {
            0..=2 => {
                let wanted = self.queue.wants(now, lane);
                for _ in 0..wanted {
                    self.queue.opening(lane);
                }
                self.twin.lanes.get_mut(&key).expect("known").opening += wanted;
            }
            3 if opening > 0 => {
                self.queue.opened(now, lane);
                self.twin.opened(self.now, &key);
            }
            4 if opening > 0 => {
                let answer = b"421 4.4.1 nobody there";
                self.queue.open_failed(now, lane, answer);
                self.twin.open_failed(self.now, &key, answer);
            }
            5 if open > 0 => {
                self.queue.closed(now, lane);
                self.twin.closed(self.now, &key);
            }
            _ => {}
        }
    }

    fn suspend(&mut self) {
        if let Some((lane, key)) = self.any_lane() {
            let until = self.now + self.below(40 * MINUTE);
            self.queue
                .suspend(self.time(), lane, Timestamp::from_unix_millis(until));
            self.twin.observe(self.now);
            self.twin
                .lanes
                .get_mut(&key)
                .expect("known")
                .suspended_until = until;
            self.twin.look(self.now, &key);
        }
    }

    fn rewrite(&mut self) {
        let place = self.place();
        if let Some(parcel) = self.parcels.last() {
            assert!(self.queue.noted(parcel.entry, place));
            let at = self.at(parcel.id, parcel.first);
            self.twin.entries[at].note = Some(place);
        }
        if let Some((&id, message)) = self.twin.messages.iter_mut().next() {
            message.place = place;
            assert!(self.queue.moved(id, place));
        }
        assert!(!self.queue.moved(Id::from_bits(3), place));
    }

    fn reconfigure(&mut self) {
        let mut settings = self.twin.settings.clone();
        settings.max_ready = self.below(5) as u32;
        settings.idle_destinations_max = self.below(4) as u32;
        self.twin.settings = settings.clone();
        self.queue.reconfigure(settings);
    }

    /// From here on nothing is ever delivered: everything has to end by its age, in any state.
    fn finish(&mut self) {
        for round in 0.. {
            assert!(
                round < 2000,
                "something never ends: {:?}",
                self.twin.entries
            );
            while self.pop_effect() {}
            while !self.verdicts.is_empty() {
                self.settle();
            }
            for parcel in std::mem::take(&mut self.parcels) {
                let outcome = Outcome {
                    deferred: parcel.bits,
                    ..Outcome::default()
                };
                self.judge_as(&parcel, &outcome);
            }
            self.compare();
            if self.twin.entries.is_empty() {
                break;
            }
            self.take();
            let next = self.queue.next_due().map_or(self.now, ms);
            self.now = self.now.max(next) + self.below(10 * MINUTE);
            self.advance();
        }
        assert_eq!(self.queue.counts().messages, 0);
        for ((id, first), account) in &self.accounts {
            assert_eq!(account.open, 0, "{id} {first} was lost");
            assert_eq!(account.delivered & account.bounced, 0);
        }
    }
}

proptest! {
    #[test]
    fn same_as_naive(
        seed: u64,
        steps in prop::collection::vec((0u8..40, any::<u64>()), 1..200),
    ) {
        let mut check = Check::new(seed);
        for (step, seed) in steps {
            check.step(step, seed);
        }
        check.finish();
    }
}
