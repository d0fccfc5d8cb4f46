//! The fold: small histories by hand, and all others against a twin made of sets.

use super::*;
use crate::message::{Durability, Envelope, Flags, META_LEN, Meta};
use crate::spool::entry::{Outcome, last_answer};
use proptest::prelude::*;
use std::collections::BTreeSet;

const NOW: Timestamp = Timestamp::from_unix_millis(1_795_508_041_123);
const BUSY: &[u8] = b"450 4.2.1 busy";

/// A log in memory: what a test wrote, and what of it is fed.
#[derive(Default)]
struct Records(Vec<(Kind, Id, Vec<u8>)>);

fn id(number: u64) -> Id {
    Id::from_bits(number)
}

fn place(offset: usize) -> Place {
    Place {
        log: 0,
        segment: 1,
        offset: offset as u32,
        len: 9,
    }
}

fn payload(sender: &str, recipients: &[&str]) -> Vec<u8> {
    let mut envelope = Envelope::new();
    envelope.set_sender(sender.as_bytes());
    for recipient in recipients {
        assert!(envelope.add_recipient(recipient.as_bytes()));
    }
    let mut bytes = vec![0; META_LEN];
    envelope.encode(&mut bytes);
    let meta = Meta {
        accepted: NOW,
        durability: Durability::Fsync,
        flags: Flags::none(),
        envelope_len: (bytes.len() - META_LEN) as u32,
        content_offset: bytes.len() as u32,
        content_len: 1000, // not there: the front is enough
        received_len: 0,
    };
    bytes[..META_LEN].copy_from_slice(&meta.encode());
    bytes
}

fn state(first: u16, open: u128, attempt: u16) -> Deferred<'static> {
    Deferred {
        first,
        open,
        doubt: 0,
        attempt,
        next: NOW.plus_millis(u64::from(attempt)),
        answer: BUSY,
    }
}

impl Records {
    fn message(mut self, number: u64, recipients: &[&str]) -> Self {
        self.0.push((
            Kind::Message,
            id(number),
            payload("s@s.example", recipients),
        ));
        self
    }

    fn settled(mut self, number: u64, first: u16, bits: u128) -> Self {
        let settled = Settled {
            first,
            bits,
            outcome: Outcome::Delivered,
            code: 250,
        };
        self.0
            .push((Kind::Settled, id(number), settled.encode().to_vec()));
        self
    }

    fn deferred(mut self, number: u64, state: Deferred<'_>) -> Self {
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        self.0.push((Kind::Deferred, id(number), bytes));
        self
    }

    fn in_doubt(mut self, number: u64, first: u16, bits: u128) -> Self {
        let in_doubt = InDoubt { first, bits };
        self.0
            .push((Kind::InDoubt, id(number), in_doubt.encode().to_vec()));
        self
    }

    fn moved(mut self, number: u64, states: &[Deferred<'_>], recipients: &[&str]) -> Self {
        let mut bytes = Vec::new();
        Moved::encode_front(states.iter().copied(), &mut bytes);
        bytes.extend_from_slice(&payload("s@s.example", recipients));
        self.0.push((Kind::Moved, id(number), bytes));
        self
    }

    /// Feeds what stands from record `start` on: the segment before it was freed.
    fn recover_from(&self, start: usize) -> Recovered {
        let mut fold = Fold::new();
        for (at, (kind, id, bytes)) in self.0.iter().enumerate().skip(start) {
            fold.feed(*kind, *id, place(at), bytes).expect("good bytes");
        }
        fold.finish()
    }

    fn recover(&self) -> Recovered {
        self.recover_from(0)
    }
}

fn open(recovered: &Recovered) -> Vec<(u64, Vec<u128>)> {
    let groups = |live: &Live| live.groups().iter().map(GroupState::open).collect();
    recovered
        .messages
        .iter()
        .map(|live| (live.id.to_bits(), groups(live)))
        .collect()
}

/// Groups in doubt of a message.
fn in_doubt(recovered: &Recovered, number: u64) -> Vec<(u16, u128)> {
    let all = (0..999).map(|first| (first, recovered.in_doubt(id(number), first)));
    all.filter(|(_, bits)| *bits != 0).collect()
}

const TWO: &[&str] = &["a@a.example", "b@A.example"];
const SPREAD: &[&str] = &["a@a.example", "b@b.example", "c@b.example"];

#[test]
fn a_message_alone() {
    let recovered = Records::default().message(7, SPREAD).recover();
    let [live] = &recovered.messages[..] else {
        panic!("one message")
    };
    assert_eq!(
        (live.id, live.accepted, live.sender_is_null),
        (id(7), NOW, false)
    );
    assert_eq!(live.place(), (Kind::Message, place(0)));
    let [one, two] = live.groups() else {
        panic!("two groups")
    };
    assert_eq!(
        (one.first, one.count, one.open(), one.attempt, one.next),
        (0, 1, 1, 0, NOW)
    );
    assert_eq!(
        (two.first, two.count, two.open(), two.attempt, two.next),
        (1, 2, 3, 0, NOW)
    );
    assert_eq!(recovered.domain(one.domain), b"a.example");
    assert_eq!(recovered.domain(two.domain), b"b.example");
    assert_eq!(live.answer_place(one), None);
    assert_eq!(recovered.highest, Some(id(7)));
}

/// A report whose commit failed is written again: the first record may be gone before it is read.
#[test]
fn a_message_written_again_lies_where_it_was_written_last() {
    let records = Records::default()
        .message(1, SPREAD)
        .message(1, SPREAD)
        .settled(1, 0, 1);
    let recovered = records.recover();
    assert_eq!(open(&recovered), [(1, vec![0, 3])]);
    assert_eq!(recovered.messages[0].place(), (Kind::Message, place(1)));
    assert!(records.settled(1, 1, 3).recover().messages.is_empty());
    let settled_before = Records::default()
        .message(1, TWO)
        .settled(1, 0, 3)
        .message(1, TWO);
    assert!(settled_before.recover().messages.is_empty());
}

#[test]
fn a_null_sender_is_known() {
    let mut fold = Fold::new();
    fold.feed(Kind::Message, id(1), place(0), &payload("", TWO))
        .expect("good bytes");
    assert!(fold.finish().messages[0].sender_is_null);
}

#[test]
fn the_settled_are_gone_and_the_others_stay() {
    let records = Records::default()
        .message(1, TWO)
        .message(2, TWO)
        .message(3, SPREAD)
        .settled(1, 0, 3)
        .settled(3, 1, 2)
        .settled(2, 0, 1);
    let recovered = records.recover();
    assert_eq!(open(&recovered), [(2, vec![2]), (3, vec![1, 1])]);
    assert_eq!(recovered.highest, Some(id(3)));
}

#[test]
fn the_highest_id_may_be_a_settled_one() {
    let recovered = Records::default()
        .message(1, TWO)
        .settled(9, 0, 1)
        .recover();
    assert_eq!(recovered.highest, Some(id(9)));
    assert_eq!(recovered.counts.unknown_id, 1);
}

#[test]
fn the_last_deferral_counts_and_closes_nothing() {
    let records = Records::default()
        .message(1, TWO)
        .deferred(1, state(0, 3, 1))
        .deferred(1, state(0, 2, 2));
    let recovered = records.recover();
    let live = &recovered.messages[0];
    let group = &live.groups()[0];
    assert_eq!(
        (group.open(), group.attempt, group.next),
        (3, 2, NOW.plus_millis(2))
    );
    assert_eq!(live.answer_place(group), Some(place(2)));
    let (kind, _, bytes) = &records.0[2];
    let answer = last_answer(*kind, bytes, group.first).expect("good bytes");
    assert_eq!(answer.map(|answer| answer.code), Some(450));
}

#[test]
fn one_of_two_settled_then_moved_then_the_old_segment_freed() {
    let records =
        Records::default()
            .message(1, TWO)
            .settled(1, 0, 1)
            .moved(1, &[state(0, 2, 4)], TWO);
    for start in 0..3 {
        let recovered = records.recover_from(start);
        assert_eq!(open(&recovered), [(1, vec![2])], "from record {start}");
        let live = &recovered.messages[0];
        assert_eq!(live.place(), (Kind::Moved, place(2)));
        assert_eq!(live.groups()[0].attempt, 4);
        assert_eq!(live.answer_place(&live.groups()[0]), Some(place(2)));
    }
}

#[test]
fn what_was_settled_stays_settled_whatever_a_later_record_says() {
    let records = Records::default()
        .message(1, TWO)
        .settled(1, 0, 1)
        .moved(1, &[state(0, 3, 1)], TWO)
        .deferred(1, state(0, 3, 2))
        .message(1, TWO);
    assert_eq!(open(&records.recover()), [(1, vec![2])]);
    let records = records.settled(1, 0, 2).moved(1, &[], TWO).message(1, TWO);
    assert_eq!(open(&records.recover()), []);
}

#[test]
fn a_group_left_out_of_a_move_was_never_tried() {
    let recovered = Records::default()
        .moved(1, &[state(1, 2, 5)], SPREAD)
        .recover();
    assert_eq!(open(&recovered), [(1, vec![1, 2])]);
    let groups = recovered.messages[0].groups();
    assert_eq!((groups[0].attempt, groups[1].attempt), (0, 5));
}

#[test]
fn an_unknown_group_is_counted() {
    let recovered = Records::default()
        .message(1, SPREAD)
        .settled(1, 2, 1)
        .deferred(1, state(9, 1, 1))
        .recover();
    assert_eq!(recovered.counts.unknown_group, 2);
    assert_eq!(open(&recovered), [(1, vec![1, 3])]);
}

#[test]
fn bytes_without_sense_change_nothing_and_are_counted() {
    let mut fold = Fold::new();
    let elsewhere = Place { log: 1, ..place(3) };
    fold.feed(Kind::Message, id(1), place(0), &payload("", TWO))
        .expect("good bytes");
    let settled = Settled {
        first: 0,
        bits: 3,
        outcome: Outcome::Bounced,
        code: 550,
    }
    .encode();
    for (kind, place, bytes) in [
        (Kind::Message, place(1), &payload("", &[])[..]),
        (Kind::Settled, place(1), &settled[1..]),
        (Kind::Deferred, place(1), &[0; 31]),
        (Kind::Moved, place(1), &[0; 9]),
        (Kind::Settled, elsewhere, &settled[..]),
    ] {
        let number = if kind == Kind::Settled { 1 } else { 2 };
        assert!(
            fold.feed(kind, id(number), place, bytes).is_err(),
            "{kind:?}"
        );
    }
    let recovered = fold.finish();
    assert_eq!(recovered.counts.malformed, 5);
    assert_eq!(open(&recovered), [(1, vec![3])]);
}

// The slow twin: sets of single recipients, nothing packed, nothing removed.

const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];

#[derive(Clone, Debug)]
enum Step {
    Message {
        number: u64,
        domains: [u8; 3],
    },
    Settled {
        number: u64,
        group: usize,
        bits: u128,
    },
    Deferred {
        number: u64,
        group: usize,
        open: u128,
        attempt: u16,
        silent: bool,
    },
    InDoubt {
        number: u64,
        group: usize,
        bits: u128,
    },
    Moved {
        number: u64,
        domains: [u8; 3],
        states: Vec<(usize, u128, u16, bool)>,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // A message has the same recipients each time it is written: they follow from its number.
    let number = || 0u64..6;
    let domains = |number: u64| [1, (number % 3) as u8, (number * 50 % 230) as u8];
    let bits = || {
        prop_oneof![
            any::<u128>(),
            Just(u128::MAX),
            (0u32..128).prop_map(|bit| 1 << bit)
        ]
    };
    let open = bits;
    let state = (0usize..5, open(), any::<u16>(), any::<bool>());
    prop::collection::vec(
        prop_oneof![
            number().prop_map(move |number| Step::Message {
                number,
                domains: domains(number)
            }),
            (number(), 0usize..5, bits()).prop_map(|(number, group, bits)| Step::Settled {
                number,
                group,
                bits
            }),
            (number(), 0usize..5, bits()).prop_map(|(number, group, bits)| Step::InDoubt {
                number,
                group,
                bits
            }),
            (number(), 0usize..5, open(), any::<u16>(), any::<bool>()).prop_map(
                |(number, group, open, attempt, silent)| {
                    Step::Deferred {
                        number,
                        group,
                        open,
                        attempt,
                        silent,
                    }
                }
            ),
            (number(), prop::collection::vec(state, 0..4)).prop_map(move |(number, states)| {
                Step::Moved {
                    number,
                    domains: domains(number),
                    states,
                }
            }),
        ],
        0..40,
    )
}

fn recipients(domains: [u8; 3]) -> Vec<String> {
    let of = |at: usize| (0..domains[at]).map(move |number| format!("u{number}@{}", DOMAINS[at]));
    (0..3).flat_map(of).collect()
}

/// First recipient and count of each group, written out by hand: a domain in pieces of a hundred.
fn pieces(domains: [u8; 3]) -> Vec<(u16, u16)> {
    let (mut pieces, mut first) = (Vec::new(), 0);
    for count in domains {
        let mut left = u16::from(count);
        while left > 0 {
            pieces.push((first, left.min(100)));
            first += left.min(100);
            left -= left.min(100);
        }
    }
    pieces
}

/// What a state says of doubt follows from the rest of it.
fn doubt_of(open: u128, attempt: u16) -> u128 {
    if attempt.is_multiple_of(2) {
        0
    } else {
        open >> 1
    }
}

#[derive(Default)]
struct Twin {
    pieces: Vec<(u16, u16)>,
    open: BTreeSet<u16>,
    doubt: BTreeSet<u16>,
    done: bool,
    is_moved: bool,
    place: usize,
    tried: BTreeMap<u16, (u16, Option<usize>)>,
}

fn first_of(number: u64, group: usize) -> u16 {
    let pieces = pieces([1, (number % 3) as u8, (number * 50 % 230) as u8]);
    pieces.get(group).map_or(999, |piece| piece.0)
}

impl Twin {
    fn close(&mut self, first: u16, bits: u128) {
        let Some((_, count)) = self.pieces.iter().find(|piece| piece.0 == first) else {
            return;
        };
        for bit in (0..*count).filter(|bit| bits & 1 << bit != 0) {
            self.open.remove(&(first + bit));
            self.doubt.remove(&(first + bit));
        }
    }

    /// Those of the group's open recipients whose bit is set are in doubt; with `only`, no others of it.
    fn doubt(&mut self, first: u16, bits: u128, only: bool) {
        let Some((_, count)) = self.pieces.iter().find(|piece| piece.0 == first) else {
            return;
        };
        for bit in 0..*count {
            let recipient = first + bit;
            if bits & 1 << bit != 0 && self.open.contains(&recipient) {
                self.doubt.insert(recipient);
            } else if only {
                self.doubt.remove(&recipient);
            }
        }
    }

    fn note(&mut self, first: u16, attempt: u16, answer: Option<usize>) {
        if self.pieces.iter().any(|piece| piece.0 == first) {
            self.tried.insert(first, (attempt, answer));
        }
    }
}

fn twin(steps: &[Step]) -> BTreeMap<u64, Twin> {
    let mut twins: BTreeMap<u64, Twin> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        let (Step::Message { number, .. }
        | Step::Settled { number, .. }
        | Step::Deferred { number, .. }
        | Step::InDoubt { number, .. }
        | Step::Moved { number, .. }) = step;
        if let Step::Message { domains, .. } | Step::Moved { domains, .. } = step {
            twins.entry(*number).or_insert_with(|| Twin {
                pieces: pieces(*domains),
                open: (0..domains.iter().map(|count| u16::from(*count)).sum()).collect(),
                place: at,
                ..Twin::default()
            });
        }
        let Some(twin) = twins.get_mut(number).filter(|twin| !twin.done) else {
            continue;
        };
        let place = |silent: bool| (!silent).then_some(at);
        match step {
            Step::Message { .. } if twin.is_moved => {}
            Step::Message { .. } => twin.place = at,
            Step::Settled {
                number,
                group,
                bits,
            } => twin.close(first_of(*number, *group), *bits),
            Step::Deferred {
                number,
                group,
                open,
                attempt,
                silent,
            } => {
                let first = first_of(*number, *group);
                twin.note(first, *attempt, place(*silent));
                twin.doubt(first, doubt_of(*open, *attempt), true);
            }
            Step::InDoubt {
                number,
                group,
                bits,
            } => twin.doubt(first_of(*number, *group), *bits, false),
            Step::Moved { number, states, .. } => {
                twin.is_moved = true;
                twin.place = at;
                for (group, open, attempt, silent) in states {
                    twin.close(first_of(*number, *group), !*open);
                    twin.note(first_of(*number, *group), *attempt, place(*silent));
                    let doubt = doubt_of(*open, *attempt);
                    twin.doubt(first_of(*number, *group), doubt, true);
                }
            }
        }
        twin.done = twin.open.is_empty();
    }
    twins.retain(|_, twin| !twin.done);
    twins
}

fn written(steps: &[Step]) -> Records {
    let state = |number: u64, (group, open, attempt, silent): (usize, u128, u16, bool)| {
        let answer = if silent { &[] } else { BUSY };
        Deferred {
            answer,
            doubt: doubt_of(open, attempt),
            ..state(first_of(number, group), open, attempt)
        }
    };
    let text = |names: &[String]| names.to_vec();
    steps
        .iter()
        .fold(Records::default(), |records, step| match step {
            Step::Message { number, domains } => {
                let names = text(&recipients(*domains));
                records.message(
                    *number,
                    &names.iter().map(String::as_str).collect::<Vec<_>>(),
                )
            }
            Step::Settled {
                number,
                group,
                bits,
            } => records.settled(*number, first_of(*number, *group), *bits),
            Step::Deferred {
                number,
                group,
                open,
                attempt,
                silent,
            } => records.deferred(*number, state(*number, (*group, *open, *attempt, *silent))),
            Step::InDoubt {
                number,
                group,
                bits,
            } => records.in_doubt(*number, first_of(*number, *group), *bits),
            Step::Moved {
                number,
                domains,
                states,
            } => {
                let states: Vec<_> = states.iter().map(|given| state(*number, *given)).collect();
                let names = text(&recipients(*domains));
                records.moved(
                    *number,
                    &states,
                    &names.iter().map(String::as_str).collect::<Vec<_>>(),
                )
            }
        })
}

proptest! {
    #[test]
    fn same_as_naive(steps in steps()) {
        let recovered = written(&steps).recover();
        let twins = twin(&steps);
        let ids: Vec<u64> = recovered.messages.iter().map(|live| live.id.to_bits()).collect();
        prop_assert_eq!(ids, twins.keys().copied().collect::<Vec<_>>());
        for (live, twin) in recovered.messages.iter().zip(twins.values()) {
            prop_assert_eq!(live.place().1, place(twin.place));
            let mut open = BTreeSet::new();
            for group in live.groups() {
                open.extend((0..128).filter(|bit| group.open() & 1 << bit != 0).map(|bit| group.first + bit));
                let (attempt, answer) = twin.tried.get(&group.first).copied().unwrap_or_default();
                prop_assert_eq!(group.attempt, attempt);
                prop_assert_eq!(live.answer_place(group), answer.map(place));
            }
            prop_assert_eq!(&open, &twin.open);
            let doubt: BTreeSet<u16> = in_doubt(&recovered, live.id.to_bits())
                .into_iter()
                .flat_map(|(first, bits)| {
                    (0..128u16).filter(move |bit| bits & 1 << bit != 0).map(move |bit| first + bit)
                })
                .collect();
            prop_assert_eq!(&doubt, &twin.doubt);
        }
    }

    #[test]
    fn a_record_that_comes_twice_in_a_row_changes_nothing(steps in steps(), at: prop::sample::Index) {
        let once = written(&steps);
        let mut twice = written(&steps);
        if !twice.0.is_empty() {
            let at = at.index(twice.0.len());
            let copy = twice.0[at].clone();
            twice.0.insert(at, copy);
        }
        prop_assert_eq!(open(&once.recover()), open(&twice.recover()));
    }
}

#[test]
fn messages_are_taken_out_in_the_order_of_their_ids() {
    let mut recovered = Records::default()
        .message(3, &["r@a.example"])
        .message(1, &["r@a.example"])
        .message(2, &["r@b.example"])
        .recover();
    let ids: Vec<Id> = recovered.take_messages().map(|live| live.id).collect();
    assert_eq!(ids, [id(1), id(2), id(3)]);
    assert!(recovered.messages.is_empty());
}
