//! The entries: the only file that changes an entry's state.
//!
//! ```text
//!            to: Scheduled   Due   Expired   Failed   Postponed   Held   gone
//! Scheduled        ·          x      x          ·         ·         x      ·
//! Due              ·          ·      x          x         x         x      ·
//! Expired          ·          ·      ·          ·         ·         x      ·
//! Failed           ·          ·      ·          ·         ·         x      ·
//! Postponed        ·          ·      x          ·         ·         x      ·
//! Held             x          x      x          ·         ·         ·      x
//! ```
//!
//! An entry's two links belong to its state: the wheel while scheduled, its destination's line while
//! due, the list of endings while expired, failed or postponed; while held, one names its lane.
//! Beside that a message's own links lie in the wheel of expiry until it has expired, whatever its
//! entries do. Lines belong to destinations and are arguments here.

mod rewind;

use super::index::{Index, Indexed};
use super::packed::{Halves, Moment};
use super::schedule;
use super::slab::{Key, List, NONE, Slab, item};
use super::view::Message;
use super::wheel::{TIME_MAX, Timed, Wheel};
use super::{Arrival, Group, Place};
use crate::message::{Id, Timestamp};

/// What an entry is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Scheduled,
    Due,
    Expired,
    Failed,
    Postponed,
    Held,
}

/// When an entry is due of which nobody may be tried: never. The end of the time that the wheel knows.
pub(super) const PARKED: u64 = TIME_MAX;

/// How many [`Stage`]s there are.
const STAGE_COUNT: usize = 6;

/// A group of recipients of a message.
#[derive(Debug)]
pub(super) struct Entry {
    open: [Halves; 2],
    note: Place,
    message: u32,
    sibling: u32,
    sibling_before: u32,
    destination: u32,
    previous: u32,
    next: u32,
    generation: u32,
    next_attempt: Moment,
    first: u16,
    attempt: u16,
    stage: Stage,
    batch: u8,
}
item!(Entry, 4096);

impl Default for Entry {
    fn default() -> Self {
        Self {
            open: [Halves::default(); 2],
            note: Place::default(),
            message: NONE,
            sibling: NONE,
            sibling_before: NONE,
            destination: NONE,
            previous: NONE,
            next: NONE,
            generation: 0,
            next_attempt: Moment::default(),
            first: 0,
            attempt: 0,
            stage: Stage::Held,
            batch: 0,
        }
    }
}

impl Timed for Entry {
    fn time(&self) -> u64 {
        self.next_attempt.millis()
    }
}

impl Entry {
    pub(super) fn open(&self) -> u128 {
        let [low, high] = self.open.map(|half| u128::from(half.get()));
        high << 64 | low
    }

    fn set_open(&mut self, open: u128) {
        self.open = [open as u64, (open >> 64) as u64].map(Halves::new);
    }

    pub(super) fn next_attempt(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.next_attempt.millis())
    }

    /// A record is never empty, so a length of 0 is no note.
    pub(super) fn note(&self) -> Option<Place> {
        (self.note.len != 0).then_some(self.note)
    }

    pub(super) fn message(&self) -> u32 {
        self.message
    }

    pub(super) fn destination(&self) -> u32 {
        self.destination
    }

    pub(super) fn first(&self) -> u16 {
        self.first
    }

    pub(super) fn attempt(&self) -> u16 {
        self.attempt
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn batch(&self) -> u8 {
        self.batch
    }

    /// The lane a held entry was taken through.
    pub(super) fn lane(&self) -> Option<u32> {
        (self.stage == Stage::Held && self.previous != NONE).then_some(self.previous)
    }
}

/// What the entries of a message share.
#[derive(Debug)]
pub(super) struct Shared {
    id: Halves,
    place: Place,
    entry: u32,
    chain: u32,
    previous: u32,
    next: u32,
    generation: u32,
    accepted: Moment,
    expires: Moment,
}
item!(Shared, 4096);

impl Default for Shared {
    fn default() -> Self {
        Self {
            id: Halves::default(),
            place: Place::default(),
            entry: NONE,
            chain: NONE,
            previous: NONE,
            next: NONE,
            generation: 0,
            accepted: Moment::default(),
            expires: Moment::default(),
        }
    }
}

impl Timed for Shared {
    fn time(&self) -> u64 {
        self.expires.millis()
    }
}

impl Indexed for Shared {
    fn hash(&self) -> u32 {
        hash(self.id.get())
    }

    fn chain(&self) -> u32 {
        self.chain
    }

    fn set_chain(&mut self, slot: u32) {
        self.chain = slot;
    }
}

impl Shared {
    /// It has left the wheel of expiry.
    fn has_expired(&self) -> bool {
        self.previous == NONE
    }

    pub(super) fn view(&self) -> Message {
        Message {
            id: Id::from_bits(self.id.get()),
            place: self.place,
            accepted: Timestamp::from_unix_millis(self.accepted.millis()),
            expires: Timestamp::from_unix_millis(self.expires.millis()),
        }
    }
}

/// A waiting message with one group of recipients, all told: with its place in the index.
const WAITING_LEN: usize = size_of::<Entry>() + size_of::<Shared>() + size_of::<u32>();
const _: () = assert!(WAITING_LEN <= 128, "a million of them in 128 MB");

/// A line of due entries; each destination has one.
pub(super) type Line = List<Entry>;

/// All messages and entries of a shard.
#[derive(Debug)]
pub(super) struct Entries {
    messages: Slab<Shared>,
    entries: Slab<Entry>,
    index: Index,
    scheduled: Wheel,
    expiry: Wheel,
    endings: List<Entry>,
    counts: [u32; STAGE_COUNT],
}

impl Entries {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            messages: Slab::new(),
            entries: Slab::new(),
            index: Index::new(),
            scheduled: Wheel::new(now.unix_millis()),
            expiry: Wheel::new(now.unix_millis()),
            endings: List::default(),
            counts: [0; STAGE_COUNT],
        }
    }

    pub(super) fn entry(&self, entry: u32) -> &Entry {
        &self.entries[entry]
    }

    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.entries.find(key)
    }

    pub(super) fn key(&self, entry: u32) -> Key {
        self.entries.key(entry)
    }

    pub(super) fn shared(&self, message: u32) -> &Shared {
        &self.messages[message]
    }

    pub(super) fn count(&self, stage: Stage) -> u32 {
        self.counts[stage as usize]
    }

    pub(super) fn message_count(&self) -> u32 {
        self.messages.len()
    }

    pub(super) fn entry_count(&self) -> u32 {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let wheels = self.scheduled.bytes() + self.expiry.bytes();
        self.messages.bytes() + self.entries.bytes() + self.index.bytes() + wheels
    }

    /// Bytes of memory that waiting messages need, without what freed ones have left behind.
    pub(super) fn used_bytes(&self) -> u64 {
        let message_len = size_of::<Shared>() + size_of::<u32>();
        u64::from(self.messages.len()) * message_len as u64
            + u64::from(self.entries.len()) * size_of::<Entry>() as u64
    }

    /// The slots of messages, ascending; `Some(None)` for one that is free.
    pub(super) fn message_at(&self, position: u32) -> Option<Option<u32>> {
        self.messages.at(position)
    }

    pub(super) fn find_message(&self, id: Id) -> Option<u32> {
        let id = id.to_bits();
        let wanted = Halves::new(id);
        self.index
            .find(&self.messages, hash(id), |message| message.id == wanted)
    }

    /// The entry after this one in its message.
    pub(super) fn sibling(&self, entry: u32) -> Option<u32> {
        let sibling = self.entries[entry].sibling;
        (sibling != NONE).then_some(sibling)
    }

    /// The entries of a message, in the order they were inserted.
    pub(super) fn entries_of(&self, message: u32) -> impl Iterator<Item = u32> {
        let first = self.messages[message].entry;
        std::iter::successors((first != NONE).then_some(first), |&entry| {
            self.sibling(entry)
        })
    }

    /// Nothing is due or expires before this time.
    pub(super) fn next(&self) -> Option<u64> {
        match (self.scheduled.next(), self.expiry.next()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    pub(super) fn insert_message(&mut self, arrival: &Arrival, expires: Timestamp) -> u32 {
        debug_assert!(self.find_message(arrival.id).is_none(), "an id comes once");
        let message = self.messages.insert(Shared {
            id: Halves::new(arrival.id.to_bits()),
            accepted: Moment::new(arrival.accepted.unix_millis()),
            expires: Moment::new(expires.unix_millis()),
            place: arrival.place,
            ..Shared::default()
        });
        self.index.insert(&mut self.messages, message);
        self.expiry.insert(&mut self.messages, message);
        message
    }

    /// A new entry, held by the caller, behind `before` among the entries of its message.
    pub(super) fn insert_entry(
        &mut self,
        message: u32,
        before: Option<u32>,
        destination: u32,
        group: &Group<'_>,
        next: Timestamp,
    ) -> u32 {
        let mut entry = Entry {
            next_attempt: Moment::new(next.unix_millis()),
            note: group.note.unwrap_or_default(),
            message,
            sibling_before: before.unwrap_or(NONE),
            destination,
            first: group.first,
            attempt: group.attempt,
            ..Entry::default()
        };
        entry.set_open(group.open);
        let entry = self.entries.insert(entry);
        match before {
            Some(before) => self.entries[before].sibling = entry,
            None => self.messages[message].entry = entry,
        }
        self.counts[Stage::Held as usize] += 1;
        entry
    }

    fn change(&mut self, entry: u32, to: Stage) {
        let entry = &mut self.entries[entry];
        let allowed = match entry.stage {
            Stage::Scheduled => matches!(to, Stage::Due | Stage::Expired | Stage::Held),
            Stage::Due => !matches!(to, Stage::Scheduled | Stage::Due),
            Stage::Expired | Stage::Failed => to == Stage::Held,
            Stage::Postponed => matches!(to, Stage::Held | Stage::Expired),
            Stage::Held => matches!(to, Stage::Scheduled | Stage::Due | Stage::Expired),
        };
        assert!(
            allowed,
            "an entry cannot go from {:?} to {to:?}",
            entry.stage
        );
        self.counts[entry.stage as usize] -= 1;
        self.counts[to as usize] += 1;
        entry.stage = to;
    }

    /// Held → scheduled: waits for its `next_attempt`.
    pub(super) fn schedule(&mut self, entry: u32) {
        self.change(entry, Stage::Scheduled);
        self.scheduled.insert(&mut self.entries, entry);
    }

    /// Held, or out of the wheel → scheduled for no time at all: until it is recalled, or expires.
    pub(super) fn park(&mut self, entry: u32) {
        if self.entries[entry].stage == Stage::Held {
            self.change(entry, Stage::Scheduled);
        }
        self.entries[entry].next_attempt = Moment::new(PARKED);
        self.entries[entry].batch = 0;
        self.scheduled.insert(&mut self.entries, entry);
    }

    /// Scheduled → held through no lane, due at `now` when it is put down.
    pub(super) fn recall(&mut self, entry: u32, now: Timestamp) {
        self.scheduled.remove(&mut self.entries, entry);
        self.change(entry, Stage::Held);
        self.entries[entry].previous = NONE;
        self.entries[entry].next_attempt = Moment::new(now.unix_millis());
    }

    /// Takes the next entry whose time has come out of the wheel. It has to be given to
    /// [`Self::join`] at once.
    pub(super) fn pop_scheduled(&mut self, now: Timestamp) -> Option<u32> {
        self.scheduled.pop(&mut self.entries, now.unix_millis())
    }

    /// Held, or out of the wheel → due, at the end of its destination's line or ahead of it.
    pub(super) fn join(&mut self, entry: u32, line: &mut Line, ahead: bool) {
        self.change(entry, Stage::Due);
        if ahead {
            line.push_front(&mut self.entries, entry);
        } else {
            line.push_back(&mut self.entries, entry);
        }
    }

    /// The first of the line, due → held.
    pub(super) fn take(&mut self, line: &mut Line, lane: u32) -> Option<u32> {
        let entry = line.pop_front(&mut self.entries)?;
        self.change(entry, Stage::Held);
        self.entries[entry].previous = lane;
        Some(entry)
    }

    /// Out of the middle of its line, due → held through no lane, and still due when it is put down.
    pub(super) fn leave(&mut self, entry: u32, line: &mut Line) {
        line.remove(&mut self.entries, entry);
        self.change(entry, Stage::Held);
        self.entries[entry].previous = NONE;
    }

    /// Due → failed or postponed, out of its destination's line.
    pub(super) fn fail(&mut self, line: &mut Line, postponed: bool) -> Option<u32> {
        let entry = line.pop_front(&mut self.entries)?;
        let to = if postponed {
            Stage::Postponed
        } else {
            Stage::Failed
        };
        self.change(entry, to);
        self.endings.push_back(&mut self.entries, entry);
        Some(entry)
    }

    /// The next message whose time is up; its entries have to be given to [`Self::expire`].
    pub(super) fn pop_expired(&mut self, now: Timestamp) -> Option<u32> {
        let message = self.expiry.pop(&mut self.messages, now.unix_millis())?;
        self.messages[message].previous = NONE;
        self.messages[message].next = NONE;
        Some(message)
    }

    /// Any stage → expired; a due entry leaves the line. What failed already stays failed, what is held
    /// is left to its holder.
    pub(super) fn expire(&mut self, entry: u32, line: &mut Line) {
        match self.entries[entry].stage {
            Stage::Scheduled => self.scheduled.remove(&mut self.entries, entry),
            Stage::Due => line.remove(&mut self.entries, entry),
            Stage::Postponed => return self.change(entry, Stage::Expired),
            Stage::Expired | Stage::Failed | Stage::Held => return,
        }
        self.change(entry, Stage::Expired);
        self.endings.push_back(&mut self.entries, entry);
    }

    /// Held → expired, when its message has expired meanwhile. Says whether it has.
    pub(super) fn expire_held(&mut self, entry: u32) -> bool {
        let expired = self.messages[self.entries[entry].message].has_expired();
        if expired {
            self.change(entry, Stage::Expired);
            self.endings.push_back(&mut self.entries, entry);
        }
        expired
    }

    /// The next ending, left where it is.
    pub(super) fn peek_ending(&self) -> Option<u32> {
        self.endings.head()
    }

    /// The next ending → held, with the stage it was in.
    pub(super) fn pop_ending(&mut self) -> Option<(u32, Stage)> {
        let entry = self.endings.pop_front(&mut self.entries)?;
        let stage = self.entries[entry].stage;
        self.change(entry, Stage::Held);
        self.entries[entry].previous = NONE;
        Some((entry, stage))
    }

    /// What has been settled of a held entry.
    pub(super) fn update(
        &mut self,
        entry: u32,
        open: u128,
        attempt: u16,
        next: Timestamp,
        batch: u8,
    ) {
        let entry = &mut self.entries[entry];
        debug_assert!(open & !entry.open() == 0, "recipients only go away");
        entry.set_open(open);
        entry.attempt = attempt;
        entry.next_attempt = Moment::new(next.unix_millis());
        entry.batch = batch;
    }

    pub(super) fn set_note(&mut self, entry: u32, note: Place) {
        self.entries[entry].note = note;
    }

    pub(super) fn set_place(&mut self, message: u32, place: Place) {
        self.messages[message].place = place;
    }

    /// Held → gone. Returns the message if this was its last entry: it is gone too.
    pub(super) fn remove(&mut self, entry: u32) -> Option<Message> {
        assert!(
            self.entries[entry].stage == Stage::Held,
            "only what is held can be settled"
        );
        self.counts[Stage::Held as usize] -= 1;
        let gone = self.entries.remove(entry);
        match gone.sibling_before {
            NONE => self.messages[gone.message].entry = gone.sibling,
            before => self.entries[before].sibling = gone.sibling,
        }
        match gone.sibling {
            NONE => {}
            sibling => self.entries[sibling].sibling_before = gone.sibling_before,
        }
        if self.messages[gone.message].entry != NONE {
            return None;
        }
        if !self.messages[gone.message].has_expired() {
            self.expiry.remove(&mut self.messages, gone.message);
        }
        self.index.remove(&mut self.messages, gone.message);
        Some(self.messages.remove(gone.message).view())
    }

    /// The entries of a line in order, for tests.
    #[cfg(test)]
    pub(super) fn line(&self, line: &Line) -> Vec<u32> {
        line.slots(&self.entries)
    }

    /// The entries that ended, in order, for tests.
    #[cfg(test)]
    pub(super) fn endings(&self) -> Vec<u32> {
        self.endings.slots(&self.entries)
    }
}

/// Ids count up: all the places of the index are to be used.
fn hash(id: u64) -> u32 {
    schedule::mix(0, id) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the index and the wheels, and what the arenas keep ready.
    #[test]
    fn a_million_waiting_messages_cost_128_bytes_each() {
        let now = Timestamp::from_unix_millis(1_795_508_041_000);
        let mut entries = Entries::new(now);
        for number in 0..1_000_000 {
            let arrival = Arrival {
                id: Id::from_bits(number),
                place: Place::default(),
                accepted: now,
                expires: None,
            };
            let message = entries.insert_message(&arrival, now.plus_millis(604_800_000));
            let group = Group {
                first: 0,
                open: 1,
                destination: "a.example",
                attempt: 1,
                next: None,
                note: None,
            };
            let entry = entries.insert_entry(message, None, 0, &group, now.plus_millis(number));
            entries.schedule(entry);
        }
        assert!(entries.bytes() <= 128_000_000, "{}", entries.bytes());
        assert_eq!(
            entries.bytes() / 1_000_000,
            124,
            "bytes each, so that a change is seen"
        );
    }
}
