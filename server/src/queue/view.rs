//! Looking into the queue without changing it.

use super::Place;
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
