//! From records back to live messages: a fold over the logs in their order. Pure: it reads no file.
//!
//! A recipient that was once settled never opens again. Records about unknown messages are counted. A record that
//! comes twice changes nothing but where a message is read: it is written again under its id when a commit has
//! failed, and then only the last record was ever confirmed. A live message costs 88 bytes and its place in the index, so that a million
//! fit in 150 MiB: answers stay in the log, the fold only notes where.

use super::entry::{Deferred, InDoubt, Kind, Moved, Settled};
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
    /// `InDoubt` records.
    pub in_doubt: u64,
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
    doubts: Doubts,
}

/// Open recipients in doubt, by message and group: few, so kept beside the groups. None is without a bit.
type Doubts = BTreeMap<(Id, u16), u128>;

impl Recovered {
    /// Takes out the live messages in the order of their ids, and gives their memory back on the way:
    /// whatever takes them in needs as much.
    pub fn take_messages(&mut self) -> impl Iterator<Item = Live> + use<> {
        let mut rest = std::mem::take(&mut self.messages);
        rest.reverse();
        std::iter::from_fn(move || {
            if rest.len().is_multiple_of(GIVE_BACK_COUNT) {
                rest.shrink_to_fit();
            }
            rest.pop()
        })
    }

    /// The domain in lower case; empty for a bare `postmaster`.
    pub fn domain(&self, id: DomainId) -> &[u8] {
        &self.domains[id.0 as usize]
    }

    /// The recipients in doubt of the group that begins at `first`: their end was sent, and no answer is known.
    pub fn in_doubt(&self, id: Id, first: u16) -> u128 {
        self.doubts.get(&(id, first)).copied().unwrap_or(0)
    }
}

/// So many messages are taken out between two times that memory is given back: 5.8 MB.
const GIVE_BACK_COUNT: usize = 65_536;

/// In the index: the message was there, and is settled.
const DONE: u32 = u32::MAX;

/// The fold. Lives on the main thread from start-up until [`finish`](Self::finish).
#[derive(Debug, Default)]
pub struct Fold {
    /// Each message that was met: where in `live`, or [`DONE`].
    index: HashMap<Id, u32, BuildHasherDefault<IdHasher>>,
    live: Vec<Live>,
    domains: BTreeMap<Box<[u8]>, u32>,
    doubts: Doubts,
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
            Kind::InDoubt => self.in_doubt(id, record),
            Kind::Mark => Ok(()),
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
            doubts,
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
            doubts,
        }
    }

    fn is_elsewhere(&self, id: Id, place: Place) -> bool {
        let at = self.index.get(&id).copied().filter(|at| *at != DONE);
        at.is_some_and(|at| self.live[at as usize].log != place.log)
    }

    fn message(&mut self, id: Id, place: Place, record: &[u8]) -> Result<(), Malformed> {
        self.counts.messages += 1;
        match self.index.get(&id).copied() {
            None => {
                let payload = PayloadView::decode_front(record)?;
                self.enter(id, Kind::Message, place, &payload)?;
            }
            Some(DONE) => {}
            Some(at) => {
                let live = &mut self.live[at as usize];
                if live.kind == Kind::Message {
                    live.set_place(Kind::Message, place);
                }
            }
        }
        Ok(())
    }

    fn settled(&mut self, id: Id, record: &[u8]) -> Result<(), Malformed> {
        let settled = Settled::decode(record)?;
        self.counts.settled += 1;
        if let Some(group) = self.group(id, settled.first) {
            group.close(settled.bits);
            self.resolve_doubt(id, settled.first, settled.bits);
            self.bury_if_done(id);
        }
        Ok(())
    }

    fn deferred(&mut self, id: Id, place: Place, record: &[u8]) -> Result<(), Malformed> {
        let state = Deferred::decode(record)?;
        self.counts.deferred += 1;
        if let Some(group) = self.group(id, state.first) {
            group.tried(&state, place);
            let doubt = state.doubt & group.open();
            self.set_doubt(id, state.first, doubt);
        }
        Ok(())
    }

    fn in_doubt(&mut self, id: Id, record: &[u8]) -> Result<(), Malformed> {
        let in_doubt = InDoubt::decode(record)?;
        self.counts.in_doubt += 1;
        if let Some(group) = self.group(id, in_doubt.first) {
            let bits = in_doubt.bits & group.open();
            if bits != 0 {
                *self.doubts.entry((id, in_doubt.first)).or_default() |= bits;
            }
        }
        Ok(())
    }

    fn set_doubt(&mut self, id: Id, first: u16, bits: u128) {
        if bits != 0 {
            self.doubts.insert((id, first), bits);
        } else if !self.doubts.is_empty() {
            self.doubts.remove(&(id, first));
        }
    }

    fn resolve_doubt(&mut self, id: Id, first: u16, bits: u128) {
        let Some(&doubt) = self.doubts.get(&(id, first)) else {
            return;
        };
        self.set_doubt(id, first, doubt & !bits);
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
                let doubt = state.doubt & group.open();
                self.set_doubt(id, state.first, doubt);
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
mod tests;
