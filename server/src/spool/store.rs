//! The spool over its logs: messages in, notes about them, bytes back. It counts what lives in each
//! segment, and says when the oldest should be emptied; whom to move, and what a note means for a
//! recipient, is decided elsewhere.

use super::entry::{Deferred, InDoubt, Kind, Moved, Settled, message_payload};
use super::marks;
use super::recover::{Fold, Place};
use crate::message::{Durability, Id, META_LEN, Malformed, Meta};
use mailrail_runtime::buffer::ChunkMut;
use mailrail_runtime::log::{
    self, AppendError, Appended, CommitError, Label, Log, LogError, Message, Options, Payload,
    Position, ROOM, ReadError, Report, Stored, Ticket, Urgency,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A log is emptied from its oldest end once it takes more than this many times what lives in it,
const SPREAD_MAX: u64 = 2;
/// and more than so many segments besides.
const SPARE_SEGMENT_COUNT: u64 = 3;

/// The logs of one shard: the one that takes new mail, and those left from a start with more shards.
/// Lives as long as the shard.
#[derive(Debug)]
pub struct Spool {
    logs: Vec<Owned>,
}

#[derive(Debug)]
struct Owned {
    number: u16,
    log: Log,
    /// Bytes of live records in each segment.
    live: RefCell<BTreeMap<u32, u64>>,
    segment_len: u64,
    directory: PathBuf,
    /// The highest id of the log.
    highest: Cell<Option<Id>>,
    /// No id of a segment before this one is above one that is known behind it.
    marked: Cell<u32>,
    /// Closed and deleted, or about to be.
    is_retired: Cell<bool>,
}

/// A message read back, with where it begins in its record.
#[derive(Debug)]
pub struct Found {
    /// The record's bytes.
    pub payload: Payload,
    /// Where the message begins in them.
    pub start: usize,
}

/// Why a message cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log cannot give the record.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The record is no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No log of this shard has that number.
    #[error("there is no log {0}")]
    NoLog(u16),
}

impl Spool {
    /// Opens logs by their options, the first of which takes new mail, and feeds all records to `fold`.
    ///
    /// # Errors
    /// When a log cannot be opened.
    pub async fn open(
        options: Vec<Options>,
        fold: &mut Fold,
    ) -> Result<(Self, Vec<Report>), LogError> {
        let mut logs = Vec::new();
        let mut reports = Vec::new();
        for options in options {
            let number = options.log;
            let segment_len = u64::from(options.segment_len);
            let directory = options.directory.clone();
            let opened = Log::open(options, &mut |record| {
                let Some(kind) = Kind::from_number(record.kind) else {
                    return;
                };
                let place = Place {
                    log: number,
                    segment: record.position.segment,
                    offset: record.position.offset,
                    len: record.position.len,
                };
                // What makes no sense is counted by the fold.
                let _ = fold.feed(kind, Id::from_bits(record.id), place, record.head);
            })
            .await;
            let (log, report) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    // What the others have under way ends before their shard does.
                    Self { logs }.close().await;
                    return Err(error);
                }
            };
            logs.push(Owned {
                number,
                log,
                live: RefCell::default(),
                segment_len,
                directory,
                highest: Cell::new(report.highest_id.map(Id::from_bits)),
                marked: Cell::new(0),
                is_retired: Cell::new(false),
            });
            reports.push(report);
        }
        Ok((Self { logs }, reports))
    }

    fn owner(&self, id: Id) -> Option<&Owned> {
        self.logs.iter().find(|owned| owned.number == id.log())
    }

    /// The log that takes new mail.
    pub fn head(&self) -> &Log {
        &self.logs[0].log
    }

    /// The number of the log that takes new mail.
    pub fn number(&self) -> u16 {
        self.logs[0].number
    }

    /// Whether new mail can be taken.
    pub fn is_available(&self) -> bool {
        self.head().available()
    }

    /// Takes a message. It counts as living where it lies from now on: between its commit and the
    /// moment its session hears of it, nobody may find its segment empty and free it. Whoever gives it up
    /// calls [`Self::release`]. How much its commit promises is the message's own `durability`.
    ///
    /// # Errors
    /// When the log has no room.
    pub fn append_message(
        &self,
        id: Id,
        message: Message,
        durability: Durability,
    ) -> Result<Stored, AppendError> {
        let label = Label {
            // Nobody waits for what is safe enough in memory.
            urgency: match durability {
                Durability::Fsync | Durability::Write => Urgency::Now,
                Durability::Memory => Urgency::Lazy,
            },
            durability: promise(durability),
            head_len: front_len(message.front()),
            ..Label::now(Kind::Message.number(), id.to_bits())
        };
        let stored = self.head().append_chunks(label, message)?;
        let highest = &self.logs[0].highest;
        highest.set(highest.get().max(Some(id)));
        self.hold(id, place_of(id, stored.position));
        Ok(stored)
    }

    /// Waits until a record of this message's log is durable.
    ///
    /// # Errors
    /// When writing failed.
    pub async fn committed(&self, id: Id, ticket: Ticket) -> Result<(), CommitError> {
        match self.owner(id) {
            Some(owned) => owned.log.committed(ticket).await,
            None => Err(CommitError { errno: 0 }),
        }
    }

    /// Waits until a note has room in this message's log.
    ///
    /// # Errors
    /// When the disk is full.
    pub async fn room(&self, id: Id, len: usize) -> Result<(), AppendError> {
        match self.owner(id) {
            Some(owned) => owned.log.room_for_upkeep(len).await,
            None => Err(AppendError::Closed),
        }
    }

    /// Notes that recipients are done.
    ///
    /// # Errors
    /// When the log has no room.
    pub fn settled(
        &self,
        id: Id,
        settled: &Settled,
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        let owned = self.owner(id).ok_or(AppendError::Closed)?;
        let label = note(Kind::Settled, id, durability);
        owned.log.append_copied(label, &[&settled.encode()])
    }

    /// Notes that an attempt failed and comes again.
    ///
    /// # Errors
    /// When the log has no room.
    pub fn deferred(
        &self,
        id: Id,
        deferred: &Deferred<'_>,
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        let owned = self.owner(id).ok_or(AppendError::Closed)?;
        let label = note(Kind::Deferred, id, durability);
        let mut bytes = Vec::with_capacity(super::entry::DEFERRED_LEN_MAX);
        deferred.encode(&mut bytes);
        owned.log.append_copied(label, &[&bytes])
    }

    /// Notes that the end of a message is about to be sent to recipients. Nothing of that end may leave
    /// before the record is committed.
    ///
    /// # Errors
    /// When the log has no room.
    pub fn in_doubt(
        &self,
        id: Id,
        in_doubt: &InDoubt,
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        let owned = self.owner(id).ok_or(AppendError::Closed)?;
        // Somebody waits for it, and while the disk is full delivery goes on: it is what makes room.
        let label = Label {
            urgency: Urgency::Now,
            ..note(Kind::InDoubt, id, durability)
        };
        owned.log.append_copied(label, &[&in_doubt.encode()])
    }

    /// Writes a message anew at the head of its log, with the present state of its groups in front.
    ///
    /// # Errors
    /// When the log has no room.
    pub fn moved<'s>(
        &self,
        id: Id,
        states: impl Iterator<Item = Deferred<'s>>,
        message: &[&[u8]],
    ) -> Result<Stored, AppendError> {
        let owned = self.owner(id).ok_or(AppendError::Closed)?;
        let mut front = Vec::new();
        Moved::encode_front(states, &mut front);
        let parts = std::iter::once(front.as_slice()).chain(message.iter().copied());
        let message_front_len = message.first().map_or(u32::MAX, |part| front_len(part));
        let label = Label::upkeep(Kind::Moved.number(), id.to_bits())
            .with_head_len(message_front_len.saturating_add(front.len() as u32));
        owned.log.append_chunks(label, in_one_chunk(parts))
    }

    /// Reads a message back.
    ///
    /// # Errors
    /// When it is gone or damaged.
    pub async fn load(&self, id: Id, place: Place) -> Result<Found, LoadError> {
        let record = self.read(id, place).await?;
        let kind = Kind::from_number(record.kind).ok_or(Malformed("a record's kind"))?;
        let start = match kind {
            Kind::Message => 0,
            Kind::Settled | Kind::Deferred | Kind::Moved | Kind::InDoubt | Kind::Mark => {
                let head = record.payload.head();
                head.len() - message_payload(kind, head)?.len()
            }
        };
        Ok(Found {
            payload: record.payload,
            start,
        })
    }

    /// Reads any record of a message's log.
    ///
    /// # Errors
    /// When it is gone or damaged.
    pub async fn read(&self, id: Id, place: Place) -> Result<log::Record, LoadError> {
        let owned = self.owner(id).ok_or_else(|| LoadError::NoLog(id.log()))?;
        let position = Position {
            segment: place.segment,
            offset: place.offset,
            len: place.len,
        };
        Ok(owned.log.read(position).await?)
    }

    /// A live message lies here from now on.
    /// [`Self::append_message`] says so itself.
    pub fn hold(&self, id: Id, place: Place) {
        if let Some(owned) = self.owner(id) {
            *owned.live.borrow_mut().entry(place.segment).or_default() += u64::from(place.len);
        }
    }

    /// The message that lay here is done, or lies elsewhere.
    pub fn release(&self, id: Id, place: Place) {
        let Some(owned) = self.owner(id) else {
            return;
        };
        let mut live = owned.live.borrow_mut();
        if let Some(bytes) = live.get_mut(&place.segment) {
            *bytes = bytes.saturating_sub(u64::from(place.len));
            if *bytes == 0 {
                live.remove(&place.segment);
            }
        }
    }

    /// Frees every oldest segment in which nothing lives, and names one that should be emptied: its log
    /// and its number.
    pub async fn clean(&self) -> Option<(u16, u32)> {
        let mut wanted = None;
        for owned in self.logs.iter().filter(|owned| !owned.is_retired.get()) {
            loop {
                let segments = owned.log.segments();
                if segments.oldest == segments.newest {
                    break;
                }
                if owned.lives_in(segments.oldest) {
                    if segments.bytes > owned.most_bytes() {
                        wanted = Some((owned.number, segments.oldest));
                    }
                    break;
                }
                if !owned.is_marked_behind(segments.oldest).await
                    || owned.log.free_oldest().is_none()
                {
                    break;
                }
            }
        }
        wanted
    }

    /// Closes and deletes the logs that take no new mail and in which nothing lives any more.
    pub async fn retire(&self) {
        for owned in self.logs.iter().skip(1) {
            if owned.is_retired.get() || !owned.live.borrow().is_empty() {
                continue;
            }
            owned.is_retired.set(true);
            owned.log.close().await;
            if let Some(highest) = owned.highest.get()
                && let Err(error) = marks::leave(&owned.directory, highest).await
            {
                tracing::warn!(log = owned.number, %error, "an empty log is not deleted: its ids could come again");
                continue;
            }
            match owned.log.delete().await {
                Ok(()) => tracing::info!(
                    log = owned.number,
                    "the log of a shard that is no more was empty and is deleted"
                ),
                // Empty logs do no harm; the next start tries again.
                Err(error) => {
                    tracing::warn!(log = owned.number, %error, "an empty log was not deleted");
                }
            }
        }
    }

    /// Bytes of the logs on disk.
    pub fn bytes(&self) -> u64 {
        self.logs
            .iter()
            .filter(|owned| !owned.is_retired.get())
            .map(|owned| owned.log.segments().bytes)
            .sum()
    }

    /// Commits all that was taken, and takes nothing more.
    pub async fn close(&self) {
        for owned in self.logs.iter().filter(|owned| !owned.is_retired.get()) {
            owned.log.close().await;
        }
    }
}

impl Owned {
    fn lives_in(&self, segment: u32) -> bool {
        self.live.borrow().contains_key(&segment)
    }

    /// With more bytes than this the oldest segment is to be emptied.
    fn most_bytes(&self) -> u64 {
        let live_bytes: u64 = self.live.borrow().values().sum();
        live_bytes * SPREAD_MAX + self.segment_len * SPARE_SEGMENT_COUNT
    }

    /// Whether the log knows behind this segment that no id may be given again that stands in it. One mark does
    /// for all segments before its own.
    async fn is_marked_behind(&self, segment: u32) -> bool {
        let Some(highest) = self.highest.get().filter(|_| segment >= self.marked.get()) else {
            return true;
        };
        let label = Label::lazy(Kind::Mark.number(), highest.to_bits());
        match self.log.append_copied(label, &[]) {
            Ok(appended) => {
                if self.log.committed(appended.ticket).await.is_ok() {
                    self.marked.set(appended.position.segment);
                }
                segment < self.marked.get()
            }
            // A name beside the logs needs no segment. Should it fail as well, room comes first: what is freed now
            // makes it, and the mark comes with the next segment.
            Err(AppendError::Full) => {
                if let Err(error) = marks::leave(&self.directory, highest).await {
                    tracing::warn!(log = self.number, %error, "a log segment is freed without a mark: its ids could come again");
                }
                true
            }
            Err(_) => false,
        }
    }
}

/// What the log has to promise.
const fn promise(durability: Durability) -> log::Durability {
    match durability {
        Durability::Fsync => log::Durability::Fsync,
        Durability::Write => log::Durability::Write,
        Durability::Memory => log::Durability::Memory,
    }
}

/// How much of a message's payload recovery has to know: what stands in front of the content.
fn front_len(payload: &[u8]) -> u32 {
    Meta::decode(payload).map_or(u32::MAX, |meta| {
        meta.envelope_len.saturating_add(META_LEN as u32)
    })
}

/// The label of a note about a message of that durability.
const fn note(kind: Kind, id: Id, durability: Durability) -> Label {
    Label {
        durability: promise(durability),
        ..Label::lazy(kind.number(), id.to_bits())
    }
}

/// Where a record of this message's log lies.
pub fn place_of(id: Id, position: Position) -> Place {
    Place {
        log: id.log(),
        segment: position.segment,
        offset: position.offset,
        len: position.len,
    }
}

/// A record of these parts, copied into one chunk of its own.
pub fn in_one_chunk<'p>(parts: impl Iterator<Item = &'p [u8]> + Clone) -> Message {
    let len: usize = parts.clone().map(<[u8]>::len).sum();
    let mut chunk = ChunkMut::with_len(ROOM + len);
    let mut at = ROOM;
    for part in parts {
        chunk.as_mut_slice()[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Message::new(chunk, Vec::new(), len)
}
