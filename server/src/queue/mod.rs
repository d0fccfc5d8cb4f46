//! The queue: which messages wait, until when, and who may take them next.
//!
//! Pure: no IO, no clock, no randomness. `now` is an argument, jitter comes from a seed, and the same
//! calls give the same answers. It knows neither accept, deliver nor the spool: places in the log are
//! three numbers to it, a lane is a name with a limit, and what has to be done comes out as [`Effect`].
//!
//! An entry is one group of recipients (at most 128, of one domain) of one message; messages share
//! their content among their entries. An entry is always in exactly one state:
//!
//! ```text
//!  insert ──► scheduled ──(due)──► due, in its destination's line ──take──► held ──settle──► gone
//!                ▲                     │      ▲                              │ │
//!                │                     │      └────────give_back─────────────┘ │
//!                └───────────────settle (deferred)─────────────────────────────┘
//!  scheduled, due ──(expired, or the destination or its lane failed)──► ending ──pop_effect──► held
//! ```
//!
//! Destinations (domains) are resolved to lanes by the caller; a lane is the ring of those of its
//! destinations that have due entries, served in turn. Nothing changes behind the caller's back:
//! whatever the log has to know leaves as a [`Verdict`] and takes effect when it comes back through
//! [`Queue::settle`].

mod api;
mod destination;
mod doubt;
mod index;
mod judge;
mod lane;
mod packed;
pub mod placement;
mod ready;
pub mod schedule;
pub mod site;
mod slab;
mod state;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod twin;
mod view;
mod wheel;

use crate::message::{Id, Timestamp};
use std::rc::Rc;
use std::time::Duration;

pub use api::Queue;
pub use view::{Counts, Cursor, Message, Row, State};

/// Where a record lies in the log; opaque to the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which segment.
    pub segment: u32,
    /// Where in it.
    pub offset: u32,
    /// How many bytes.
    pub len: u32,
}

/// What the queue is told once, and again on a reload.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When to try again.
    pub curve: schedule::Curve,
    /// How long a message may wait when it brings no time of its own.
    pub max_age: Duration,
    /// Ready entries of a lane that is not known to take mail: so many keep their content in memory, and so
    /// many share one failure to connect. The others stand behind them at the cost of scheduled ones, and keep
    /// their attempt.
    pub max_ready: u32,
    /// Recipients of one parcel; 1 to 128.
    pub max_recipients_per_batch: u32,
    /// Due entries that one connection is expected to work off before another one is opened.
    pub ready_per_connection: u32,
    /// A due entry that has waited this long is worth another connection in any case.
    pub patience: Duration,
    /// The first pause of a lane none of whose hosts could be reached; it doubles up to the
    /// `retry_interval`.
    pub suspension: Duration,
    /// Destinations without entries that are kept, with what was resolved for them.
    pub idle_destinations_max: u32,
    /// Recipients in doubt are tried like all others; if not, they are held.
    pub tries_doubts: bool,
    /// Makes jitter and hashing differ from one server to the next, and repeat in a test.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            curve: schedule::Curve::default(),
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_ready: 1024,
            max_recipients_per_batch: 100,
            ready_per_connection: 4,
            patience: Duration::from_millis(250),
            suspension: Duration::from_secs(60),
            idle_destinations_max: 1024,
            tries_doubts: true,
            seed: 0,
        }
    }
}

/// A committed message on its way into the queue: new mail, or found again after a restart.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its id; never in the queue twice.
    pub id: Id,
    /// Its record.
    pub place: Place,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When it is returned to its sender; `None`: after [`Settings::max_age`].
    pub expires: Option<Timestamp>,
}

/// The state of one group of recipients on its way into the queue.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// The position of its first recipient in the envelope; names the group within the message.
    pub first: u16,
    /// Recipients still to be served, bit 0 is `first`. A group with none is left out.
    pub open: u128,
    /// The domain they share (or whatever else the caller resolves).
    pub destination: &'a str,
    /// Attempts so far; 0 for new mail.
    pub attempt: u16,
    /// When to try; `None`: at once. Clamped to one present interval from now.
    pub next: Option<Timestamp>,
    /// The note of the last deferral.
    pub note: Option<Place>,
}

/// A name for an entry, good as long as the entry is in the queue; never used for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub(crate) slab::Key);

/// A name for a destination, good as long as it has entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId(pub(crate) slab::Key);

/// A name for a lane, good until [`Effect::LaneGone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub(crate) slab::Key);

/// What [`Queue::take`] hands to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// To be settled, judged or given back under this name.
    pub entry: EntryId,
    /// The message.
    pub id: Id,
    /// Its record.
    pub place: Place,
    /// The group's name within the message.
    pub first: u16,
    /// The recipients to serve, bit 0 is `first`; at most `max_recipients_per_batch`.
    pub bits: u128,
    /// Attempts before this one.
    pub attempt: u16,
    /// When the message was accepted.
    pub accepted: Timestamp,
    /// When it is too old: a parcel that could not be tried by then is given back.
    pub expires: Timestamp,
    /// Whom it goes to.
    pub destination: DestinationId,
}

/// What became of the recipients of a parcel. A recipient in none of the sets was not tried, and is
/// tried again at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Taken by the peer.
    pub delivered: u128,
    /// Refused for good.
    pub failed: u128,
    /// Refused for now.
    pub deferred: u128,
    /// The peer has said nothing of this: the connection ended before.
    pub is_silent: bool,
}

/// Why a verdict came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An attempt: the caller knows the replies.
    Attempt,
    /// The message became too old while it waited.
    Age,
    /// The destination or its lane failed without an attempt of its own: the answer to record.
    Answer(Rc<[u8]>),
}

/// What is to be recorded about an entry. It changes nothing until it is given to
/// [`Queue::settle`], which is to be called in the same breath (no await between) as the record is
/// handed to the log, so that a `moved` record can never tell an older story than the one before it.
/// A bounce for `failed | expired` is committed before that; until then the recipients stay open.
/// Not `Clone`: an entry is settled once.
#[must_use = "an entry is held until its verdict is settled"]
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The entry.
    pub entry: EntryId,
    /// The message.
    pub id: Id,
    /// Its record.
    pub place: Place,
    /// The group's name within the message.
    pub first: u16,
    /// Recipients that are done.
    pub delivered: u128,
    /// Recipients to be bounced: refused for good.
    pub failed: u128,
    /// Recipients to be bounced: too old to be tried again.
    pub expired: u128,
    /// Of the recipients this is about, those that were refused for now and stay open.
    pub deferred: u128,
    /// All recipients of the group that stay open; 0: the group is done.
    pub open: u128,
    /// Of the recipients that stay open, those that are in doubt.
    pub doubt: u128,
    /// Attempts so far, this one included when it is over.
    pub attempt: u16,
    /// When they are tried again (if any stay open).
    pub next: Timestamp,
    /// Why.
    pub cause: Cause,
    /// When the message was accepted.
    pub accepted: Timestamp,
    /// Whom it goes to.
    pub destination: DestinationId,
    /// Where the next batch of the same attempt starts; 0 when the attempt is over.
    batch: u8,
    /// The peer has said nothing of the message.
    is_silent: bool,
}

impl Verdict {
    /// Whether a note of a deferral is due, so that a restart knows attempt and time.
    pub fn is_deferral(&self) -> bool {
        self.open != 0 && (self.deferred != 0 || self.batch == 0)
    }

    /// Attempts so far with this one, also when it goes on with the next batch.
    pub fn attempt_count(&self) -> u16 {
        self.attempt.saturating_add(u16::from(self.batch != 0))
    }

    /// Recipients the sender has to hear about.
    pub fn bounced(&self) -> u128 {
        self.failed | self.expired
    }
}

/// A message that has nothing left to wait for: its record may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The message.
    pub id: Id,
    /// Its record.
    pub place: Place,
}

/// What the caller found out about a destination.
#[derive(Clone, Copy, Debug)]
pub enum Resolution<'a> {
    /// Mail for it goes through a lane.
    Lane {
        /// The lane's name: egress source and site.
        key: &'a str,
        /// Connections this shard may have open for it.
        connection_limit: u32,
        /// How long this holds.
        until: Timestamp,
    },
    /// Nothing could be found out for now: all due entries are deferred with this answer.
    Deferred {
        /// The reply to record, as `message::Answer` encodes it.
        answer: &'a [u8],
    },
    /// There is no way to it: all due entries fail with this answer.
    Failed {
        /// The reply to record, as `message::Answer` encodes it.
        answer: &'a [u8],
    },
}

/// Something for the caller to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Find out where this destination's mail goes, then call [`Queue::resolved`]. Not repeated
    /// until then.
    Resolve(DestinationId),
    /// The lane has due entries: wake an idle connection, and ask [`Queue::wants`].
    Lane(LaneId),
    /// The lane is no more: forget what is kept under its name.
    LaneGone(LaneId),
    /// Recipients expired, failed or were deferred without an attempt: record it, bounce what is to
    /// be bounced, then [`Queue::settle`].
    Verdict(Verdict),
}

/// Whether a connection that waits for work should be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Nothing is due, or no connection waits.
    Nobody,
    /// No other will come for what is due, or too much is due for those at work.
    Now,
    /// Those at work will come for it within one round trip, and a message that follows another on a
    /// connection costs both hosts less: wake one only if it still waits in a few milliseconds.
    Soon,
}

/// A lane in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Entries due, of all its destinations.
    pub due: u32,
    /// Entries taken and not settled.
    pub held: u32,
    /// Connections open.
    pub open: u32,
    /// Connections being opened.
    pub opening: u32,
    /// Connections allowed.
    pub connection_limit: u32,
    /// Failures to connect since the last word about a message.
    pub failures: u32,
    /// No attempt before this time.
    pub suspended_until: Option<Timestamp>,
}
