//! From records back to live messages: a fold over the logs in their order. Pure: it reads no file.
//!
//! A recipient that was once settled never opens again. Records about unknown messages are counted, records that
//! come twice change nothing. A live message costs some 90 bytes and its place in the index, so that a million
//! fit in 150 MiB: answers stay in the log, the fold only notes where.

use super::entry::{Deferred, Kind, Moved, Settled};
use crate::message::{Group, Id, Malformed, PayloadView, Timestamp};
use std::collections::HashMap;

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

    #[expect(dead_code, reason = "the fold follows")]
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

/// Nearly every message has one group, which then needs no memory of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(dead_code)]
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

    #[expect(dead_code, reason = "the fold follows")]
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

/// The fold. Lives on the main thread from start-up until [`finish`](Self::finish).
#[derive(Debug, Default)]
pub struct Fold {
    _index: HashMap<u64, u32>,
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
        let _ = (
            kind,
            id,
            place,
            record,
            Settled::decode,
            Deferred::decode,
            Moved::decode,
            PayloadView::decode_front,
        );
        let _ = Group { first: 0, count: 0 };
        unimplemented!()
    }

    /// What is left alive.
    pub fn finish(self) -> Recovered {
        unimplemented!()
    }
}
