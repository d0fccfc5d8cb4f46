//! Looking into the queue without changing it.

use super::state::{PARKED, Stage};
use super::{Place, Queue};
use crate::message::{Id, Timestamp};

/// A message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: Id,
    /// Its record.
    pub place: Place,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When it is returned to its sender.
    pub expires: Timestamp,
}

/// What an entry is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for its time.
    Scheduled,
    /// Waits for a connection (or for its destination to be resolved).
    Due,
    /// Expired or failed, and not yet recorded.
    Ending,
    /// With a connection, or being recorded.
    Held,
}

/// An entry: a group of recipients of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its message.
    pub message: Message,
    /// The group's name within the message.
    pub first: u16,
    /// Recipients still to be served.
    pub open: u128,
    /// Of those, the recipients that are held because they are in doubt.
    pub held: u128,
    /// Whom it goes to.
    pub destination: &'a str,
    /// Attempts so far.
    pub attempt: u16,
    /// When it was or will be due.
    pub next: Timestamp,
    /// The note of its last deferral.
    pub note: Option<Place>,
    /// What it is doing.
    pub state: State,
}

/// Where a page of the listing ended. A message that is in the queue all the while is listed exactly
/// once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub(super) u32);

impl Cursor {
    /// As a number, to be handed out.
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// From a number that was handed out.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// The queue in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages.
    pub messages: u32,
    /// Entries in all states; the sum of the four below.
    pub entries: u32,
    /// Entries that wait for their time.
    pub scheduled: u32,
    /// Entries that wait for a connection.
    pub due: u32,
    /// Entries that expired or failed, not yet recorded.
    pub ending: u32,
    /// Entries with a connection, or being recorded.
    pub held: u32,
    /// Destinations known.
    pub destinations: u32,
    /// Lanes known.
    pub lanes: u32,
    /// Bytes of memory that waiting messages take.
    pub bytes: usize,
}

/// Slots that one page looks at, so that a page of a nearly empty queue is cheap too.
const SLOTS_MAX: u32 = 16_384;

/// About what a destination costs with its name, in bytes.
const DESTINATION_LEN: u64 = 256;

impl Queue {
    /// A message.
    pub fn get(&self, id: Id) -> Option<Message> {
        let message = self.entries.find_message(id)?;
        Some(self.entries.shared(message).view())
    }

    /// The groups of a message that are not done; none when it is not in the queue.
    pub fn groups(&self, id: Id) -> impl Iterator<Item = Row<'_>> {
        let message = self.entries.find_message(id);
        message.into_iter().flat_map(|message| self.rows(message))
    }

    /// The next page: whole messages, until there are `limit` rows or a good many slots have been looked
    /// at (so it may be empty). Returns where to go on, `None` at the end.
    pub fn list<'a>(
        &'a self,
        after: Option<Cursor>,
        limit: usize,
        row: &mut dyn FnMut(Row<'a>),
    ) -> Option<Cursor> {
        let start = after.map_or(0, |cursor| cursor.0);
        let mut count = 0;
        for position in start..start.saturating_add(SLOTS_MAX) {
            if count >= limit {
                return Some(Cursor(position));
            }
            for found in self
                .entries
                .message_at(position)?
                .into_iter()
                .flat_map(|m| self.rows(m))
            {
                count += 1;
                row(found);
            }
        }
        Some(Cursor(start.saturating_add(SLOTS_MAX)))
    }

    /// The queue in figures.
    pub fn counts(&self) -> Counts {
        let entries = &self.entries;
        let ending = [Stage::Expired, Stage::Failed, Stage::Postponed];
        Counts {
            messages: entries.message_count(),
            entries: entries.entry_count(),
            scheduled: entries.count(Stage::Scheduled),
            due: entries.count(Stage::Due),
            ending: ending.iter().map(|&stage| entries.count(stage)).sum(),
            held: entries.count(Stage::Held),
            destinations: self.destinations.count(),
            lanes: self.lanes.slab.len(),
            bytes: entries.bytes(),
        }
    }

    /// Bytes of memory that what waits needs now; what freed entries have left behind is used again.
    pub fn used_bytes(&self) -> u64 {
        self.entries.used_bytes() + u64::from(self.destinations.count()) * DESTINATION_LEN
    }

    fn rows(&self, message: u32) -> impl Iterator<Item = Row<'_>> {
        let shared = self.entries.shared(message).view();
        self.entries.entries_of(message).map(move |entry| {
            let held = self.held_back(entry);
            let entry = self.entries.entry(entry);
            Row {
                message: shared,
                first: entry.first(),
                open: entry.open(),
                held,
                destination: &self.destinations.get(entry.destination()).name,
                attempt: entry.attempt(),
                next: match entry.next_attempt() {
                    // Parked: it waits for its end.
                    next if held != 0 && next.unix_millis() == PARKED => shared.expires,
                    next => next,
                },
                note: entry.note(),
                state: match entry.stage() {
                    Stage::Scheduled => State::Scheduled,
                    Stage::Due => State::Due,
                    Stage::Expired | Stage::Failed | Stage::Postponed => State::Ending,
                    Stage::Held => State::Held,
                },
            }
        })
    }
}
