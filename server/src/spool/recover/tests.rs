//! The fold over small histories by hand; all others are `twin`'s.

mod twin;

use super::*;
use crate::message::{Durability, Envelope, Flags, META_LEN, Meta};
use crate::spool::entry::{Outcome, last_answer};
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
