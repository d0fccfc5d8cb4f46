//! From records back to live messages: a fold over the logs in their order. Pure: it reads no file.
//!
//! A recipient that was once settled never opens again. Records about unknown messages are counted, records that
//! come twice change nothing. A live message costs 88 bytes and its place in the index, so that a million
//! fit in 150 MiB: answers stay in the log, the fold only notes where.

use super::entry::{Deferred, Kind, Moved, Settled};
use crate::message::{EnvelopeView, Group, Id, Malformed, PayloadView, Timestamp};
use mailrail_protocol::limits::DOMAIN_LEN_MAX;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// Where a record lies: which log, which segment, and where in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Place {
    /// The log.
    pub log: u16,
    /// The segment.
    pub segment: u32,
    /// Where the record begins in the segment.
    pub offset: u32,
    /// Its length.
    pub len: u32,
}

/// A domain of [`Recovered::domain`]: recipients of many messages share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DomainId(u32);

/// Recipients of one domain, and how far they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupState {
    /// In halves, since a `u128` would align the whole struct to 16 bytes.
    open: [u64; 2],
    /// When to try next; the time of acceptance if it was never tried.
    pub next: Timestamp,
    answer: [u32; 3],
    /// The recipients' domain.
    pub domain: DomainId,
    /// Index of the first recipient.
    pub first: u16,
    /// How many attempts there were.
    pub attempt: u16,
    /// How many recipients the group has, settled ones too.
    pub count: u8,
}

/// No record begins in the last bytes of the last segment.
const NO_ANSWER: [u32; 3] = [u32::MAX; 3];

impl GroupState {
    /// The open recipients, bit 0 for the first.
    pub fn open(&self) -> u128 {
        u128::from(self.open[0]) | u128::from(self.open[1]) << 64
    }

    fn tried(&mut self, state: &Deferred<'_>, place: Place) {
        self.attempt = state.attempt;
        self.next = state.next;
        self.answer = match state.answer {
            [] => NO_ANSWER,
            _ => [place.segment, place.offset, place.len],
        };
    }

    fn close(&mut self, bits: u128) {
        self.open[0] &= !(bits as u64);
        self.open[1] &= !((bits >> 64) as u64);
    }
}

/// A message with at least one open recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// Its id.
    pub id: Id,
    /// When it was accepted.
    pub accepted: Timestamp,
    groups: Groups,
    segment: u32,
    offset: u32,
    len: u32,
    log: u16,
    kind: Kind,
    /// Whether nobody can be told about a failure.
    pub sender_is_null: bool,
}

const _: () = assert!(
    size_of::<Live>() <= 88,
    "a million live messages in 150 MiB, with the index"
);

/// Nearly every message has one group, which then needs no memory of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Groups {
    One(GroupState),
    Many(Box<[GroupState]>),
}

impl Live {
    /// The record that holds it: [`message_payload`](super::entry::message_payload) finds the message in it.
    pub fn place(&self) -> (Kind, Place) {
        let place = Place {
            log: self.log,
            segment: self.segment,
            offset: self.offset,
            len: self.len,
        };
        (self.kind, place)
    }

    /// All its groups in their order, those without an open recipient too.
    pub fn groups(&self) -> &[GroupState] {
        match &self.groups {
            Groups::One(group) => std::slice::from_ref(group),
            Groups::Many(groups) => groups,
        }
    }

    /// The record with the last answer for `group`: [`last_answer`](super::entry::last_answer) finds it there.
    pub fn answer_place(&self, group: &GroupState) -> Option<Place> {
        let [segment, offset, len] = group.answer;
        (group.answer != NO_ANSWER).then_some(Place {
            log: self.log,
            segment,
            offset,
            len,
        })
    }

    fn set_place(&mut self, kind: Kind, place: Place) {
        self.kind = kind;
        self.log = place.log;
        self.segment = place.segment;
        self.offset = place.offset;
        self.len = place.len;
    }

    fn groups_mut(&mut self) -> &mut [GroupState] {
        match &mut self.groups {
            Groups::One(group) => std::slice::from_mut(group),
            Groups::Many(groups) => groups,
        }
    }
}

/// What the fold met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// `Message` records.
    pub messages: u64,
    /// `Settled` records.
    pub settled: u64,
    /// `Deferred` records.
    pub deferred: u64,
    /// `Moved` records.
    pub moved: u64,
    /// Records about a message that is not (or no longer) there: normal behind a freed segment.
    pub unknown_id: u64,
    /// Records about a group that the message does not have.
    pub unknown_group: u64,
    /// Records whose bytes made no sense. Each may be a message: say so loudly.
    pub malformed: u64,
}

/// What the logs hold.
#[derive(Debug)]
pub struct Recovered {
    /// The live messages in the order of their ids.
    pub messages: Vec<Live>,
    /// The highest id found, also among settled messages: the next one has to be above.
    pub highest: Option<Id>,
    /// What was met.
    pub counts: Counts,
    domains: Vec<Box<[u8]>>,
}

impl Recovered {
    /// The domain in lower case; empty for a bare `postmaster`.
    pub fn domain(&self, id: DomainId) -> &[u8] {
        &self.domains[id.0 as usize]
    }
}

/// In the index: the message was there, and is settled.
const DONE: u32 = u32::MAX;

/// The fold. Lives on the main thread from start-up until [`finish`](Self::finish).
#[derive(Debug, Default)]
pub struct Fold {
    /// Each message that was met: where in `live`, or [`DONE`].
    index: HashMap<Id, u32, BuildHasherDefault<IdHasher>>,
    live: Vec<Live>,
    domains: BTreeMap<Box<[u8]>, u32>,
    highest: Option<Id>,
    counts: Counts,
}

impl Fold {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record: each log in its own order, several logs in any. Of a `Message` or `Moved` record the
    /// front is enough, up to the envelope's end. Bytes that make no sense are an error, and are counted.
    pub fn feed(
        &mut self,
        kind: Kind,
        id: Id,
        place: Place,
        record: &[u8],
    ) -> Result<(), Malformed> {
        self.highest = self.highest.max(Some(id));
        let taken = match kind {
            // A log owns its messages: places within a message are kept without their log.
            _ if self.is_elsewhere(id, place) => {
                Err(Malformed("a record in another log than its message"))
            }
            Kind::Message => self.message(id, place, record),
            Kind::Settled => self.settled(id, record),
            Kind::Deferred => self.deferred(id, place, record),
            Kind::Moved => self.moved(id, place, record),
        };
        self.counts.malformed += u64::from(taken.is_err());
        taken
    }

    /// What is left alive.
    pub fn finish(self) -> Recovered {
        let Self {
            index,
            live: mut messages,
            domains: numbers,
            highest,
            counts,
        } = self;
        drop(index);
        messages.sort_unstable_by_key(|live| live.id);
        let mut domains = vec![Box::default(); numbers.len()];
        for (domain, number) in numbers {
            domains[number as usize] = domain;
        }
        Recovered {
            messages,
            highest,
            counts,
            domains,
        }
    }

    fn is_elsewhere(&self, id: Id, place: Place) -> bool {
        let at = self.index.get(&id).copied().filter(|at| *at != DONE);
        at.is_some_and(|at| self.live[at as usize].log != place.log)
    }

    fn message(&mut self, id: Id, place: Place, record: &[u8]) -> Result<(), Malformed> {
        self.counts.messages += 1;
        if !self.index.contains_key(&id) {
            self.enter(
                id,
                Kind::Message,
                place,
                &PayloadView::decode_front(record)?,
            )?;
        }
        Ok(())
    }

    fn settled(&mut self, id: Id, record: &[u8]) -> Result<(), Malformed> {
        let settled = Settled::decode(record)?;
        self.counts.settled += 1;
        if let Some(group) = self.group(id, settled.first) {
            group.close(settled.bits);
            self.bury_if_done(id);
        }
        Ok(())
    }

    fn deferred(&mut self, id: Id, place: Place, record: &[u8]) -> Result<(), Malformed> {
        let state = Deferred::decode(record)?;
        self.counts.deferred += 1;
        if let Some(group) = self.group(id, state.first) {
            group.tried(&state, place);
        }
        Ok(())
    }

    fn moved(&mut self, id: Id, place: Place, record: &[u8]) -> Result<(), Malformed> {
        let moved = Moved::decode(record)?;
        self.counts.moved += 1;
        match self.index.get(&id).copied() {
            Some(DONE) => return Ok(()),
            Some(at) => self.live[at as usize].set_place(Kind::Moved, place),
            None => self.enter(
                id,
                Kind::Moved,
                place,
                &PayloadView::decode_front(moved.message)?,
            )?,
        }
        for state in moved.states() {
            if let Some(group) = self.group(id, state.first) {
                group.close(!state.open);
                group.tried(&state, place);
            }
        }
        self.bury_if_done(id);
        Ok(())
    }

    /// A message that was not there comes alive, all its recipients open.
    fn enter(
        &mut self,
        id: Id,
        kind: Kind,
        place: Place,
        payload: &PayloadView<'_>,
    ) -> Result<(), Malformed> {
        let envelope = payload.envelope;
        let accepted = payload.meta.accepted;
        let mut groups = envelope.groups().map(|group| GroupState {
            open: [group.all() as u64, (group.all() >> 64) as u64],
            next: accepted,
            answer: NO_ANSWER,
            domain: number_domain(&mut self.domains, &envelope, group),
            first: group.first,
            attempt: 0,
            count: group.count as u8,
        });
        let first = groups
            .next()
            .ok_or(Malformed("a message without a recipient"))?;
        let rest: Vec<GroupState> = groups.collect();
        let groups = if rest.is_empty() {
            Groups::One(first)
        } else {
            Groups::Many(std::iter::once(first).chain(rest).collect())
        };
        let mut live = Live {
            id,
            accepted,
            groups,
            segment: 0,
            offset: 0,
            len: 0,
            log: 0,
            kind,
            sender_is_null: envelope.return_path().is_none(),
        };
        live.set_place(kind, place);
        assert!(
            self.live.len() < DONE as usize,
            "more messages than can be counted"
        );
        self.index.insert(id, self.live.len() as u32);
        self.live.push(live);
        Ok(())
    }

    /// The group that begins at `first`.
    fn group(&mut self, id: Id, first: u16) -> Option<&mut GroupState> {
        let Some(at) = self.index.get(&id).copied().filter(|at| *at != DONE) else {
            self.counts.unknown_id += 1;
            return None;
        };
        let groups = self.live[at as usize].groups_mut();
        let Ok(found) = groups.binary_search_by_key(&first, |group| group.first) else {
            self.counts.unknown_group += 1;
            return None;
        };
        Some(&mut groups[found])
    }

    /// A message without an open recipient leaves its place to the last one; the index remembers that it was there.
    fn bury_if_done(&mut self, id: Id) {
        let Some(at) = self.index.get(&id).copied().filter(|at| *at != DONE) else {
            return;
        };
        if self.live[at as usize]
            .groups()
            .iter()
            .any(|group| group.open() != 0)
        {
            return;
        }
        self.live.swap_remove(at as usize);
        self.index.insert(id, DONE);
        if let Some(moved) = self.live.get(at as usize) {
            self.index.insert(moved.id, at);
        }
    }
}

fn number_domain(
    domains: &mut BTreeMap<Box<[u8]>, u32>,
    envelope: &EnvelopeView<'_>,
    group: Group,
) -> DomainId {
    let mut lower = [0; DOMAIN_LEN_MAX];
    let domain = envelope.domain(usize::from(group.first));
    // A longer one was never accepted; should it be there all the same, its front will have to do.
    let len = domain.len().min(DOMAIN_LEN_MAX);
    let lower = &mut lower[..len];
    lower.copy_from_slice(&domain[..len]);
    lower.make_ascii_lowercase();
    if let Some(number) = domains.get(&*lower) {
        return DomainId(*number);
    }
    let number = domains.len() as u32;
    domains.insert(Box::from(&*lower), number);
    DomainId(number)
}

/// Ids are ours and nearly in order: one multiplication spreads them. No seed, so that a fold is repeatable.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("an id is hashed as a number");
    }

    fn write_u64(&mut self, number: u64) {
        let spread = u128::from(number) * 0x9E37_79B9_7F4A_7C15_u128;
        self.0 = spread as u64 ^ (spread >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
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
        let of =
            |at: usize| (0..domains[at]).map(move |number| format!("u{number}@{}", DOMAINS[at]));
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

    #[derive(Default)]
    struct Twin {
        pieces: Vec<(u16, u16)>,
        open: BTreeSet<u16>,
        done: bool,
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
                Step::Message { .. } => {}
                Step::Settled {
                    number,
                    group,
                    bits,
                } => twin.close(first_of(*number, *group), *bits),
                Step::Deferred {
                    number,
                    group,
                    attempt,
                    silent,
                    ..
                } => {
                    twin.note(first_of(*number, *group), *attempt, place(*silent));
                }
                Step::Moved { number, states, .. } => {
                    twin.place = at;
                    for (group, open, attempt, silent) in states {
                        twin.close(first_of(*number, *group), !*open);
                        twin.note(first_of(*number, *group), *attempt, place(*silent));
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
                Step::Moved {
                    number,
                    domains,
                    states,
                } => {
                    let states: Vec<_> =
                        states.iter().map(|given| state(*number, *given)).collect();
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
}
