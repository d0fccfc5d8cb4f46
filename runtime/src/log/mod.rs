//! The append-only log with group commit: its names, its handle and what can go wrong.
//!
//! A record is a kind, an id and bytes; what they mean is not known here. Many records are made durable
//! by one write and one sync, and each appender is told when its own is; after a start every record that
//! was promised is handed back in log order.
//!
//! Decisions (`record`: the format, `batch`: packing, `recover`: reading what a crash left) are pure and
//! work on bytes; `commit`, `segment`, `open` and `disk` await and decide nothing about content.
//!
//! A `Log` lives on one shard, from `open` until `close`: one writer, no lock.

/// Whether a test leaves this duty out, to see that the loss is noticed; never without the feature `sim`.
#[cfg(feature = "sim")]
macro_rules! left_out {
    ($duty:ident) => {
        crate::sim::sabotage::is_on(crate::sim::Sabotage::$duty)
    };
}
#[cfg(not(feature = "sim"))]
macro_rules! left_out {
    ($duty:ident) => {
        false
    };
}

mod ahead;
mod batch;
mod commit;
mod disk;
mod examine;
mod index;
mod inspect;
mod keeper;
mod label;
mod open;
mod payload;
mod read;
mod record;
mod recover;
mod replay;
#[cfg(test)]
mod reserve_tests;
mod run;
mod segment;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use self::commit::Inner;
pub use self::examine::{Examined, examine};
pub use self::inspect::{IndexState, Item, SegmentState, inspect};
pub use self::label::{Durability, HEAD_LEN_MAX, Label, Position, ROOM, Urgency};
pub use self::payload::{Message, Payload};
pub use self::record::VERSION;
use self::replay::How;
use self::state::Fate;

/// How a log is laid out and when it commits.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory in which `log-<number>` is made.
    pub directory: PathBuf,
    /// The log's number. Logs of one directory have different ones.
    pub log: u16,
    /// Bytes of a segment, a multiple of 4096; the longest record is a little shorter.
    pub segment_len: u32,
    /// Bytes of a segment that is made while somebody waits (the first start), so that this is instant.
    pub first_segment_len: u32,
    /// Bytes of copied records that go into one write.
    pub batch_len_max: u32,
    /// Payloads up to this length are copied into the shared batch, longer ones are written from the
    /// memory they lie in.
    pub copy_max: u32,
    /// How long a lazy record waits for company.
    pub lazy_commit_ms: u64,
    /// Free bytes of the file system that are never used up by new segments.
    pub min_free_space: u64,
    /// Bytes kept for [`Label::upkeep`] behind all content, in the last segment or in a further one that is
    /// ready: content that would take of them has to wait for a further segment.
    pub reserve_len: u32,
    /// Bytes of the index that a segment ends with, and that is kept in memory while it is written; never
    /// more than a quarter of a segment. A segment with a longer one is read in full at a start.
    pub index_len_max: u32,
    /// A file of `first_segment_len` is kept for a start on a full disk. Without it a log that is opened
    /// when no segment can be made takes nothing at all, not even for upkeep.
    pub keeps_reserve: bool,
    /// Batches written and synced at the same time.
    pub in_flight_max: usize,
    /// Files of sealed segments that stay open after they were read.
    pub open_files_max: usize,
    /// Different at each start (random): it makes the records of a reused segment recognisable.
    pub seed: u64,
}

impl Options {
    /// Bytes that have to be left behind a record.
    const fn kept_behind(&self, label: Label) -> usize {
        if label.upkeep {
            0
        } else {
            self.reserve_len as usize
        }
    }

    /// The defaults, with a random seed.
    pub fn new(directory: impl Into<PathBuf>, log: u16) -> Self {
        let mut seed = [0; 8];
        crate::random::fill(&mut seed);
        Self {
            directory: directory.into(),
            log,
            segment_len: 64 << 20,
            first_segment_len: 1 << 20,
            batch_len_max: 256 << 10,
            copy_max: 32 << 10,
            lazy_commit_ms: 20,
            min_free_space: 64 << 20,
            reserve_len: 8 << 20,
            keeps_reserve: false,
            index_len_max: 8 << 20,
            in_flight_max: 2,
            open_files_max: 64,
            seed: u64::from_le_bytes(seed),
        }
    }
}

/// A record that was taken into the log; its commit is still to be awaited.
#[derive(Debug)]
pub struct Appended {
    /// Where it will lie.
    pub position: Position,
    /// What to hand to [`Log::committed`].
    pub ticket: Ticket,
}

/// As [`Appended`], with the very memory that is being written.
#[derive(Debug)]
pub struct Stored {
    /// Where it will lie.
    pub position: Position,
    /// What to hand to [`Log::committed`].
    pub ticket: Ticket,
    /// The bytes, to be sent from.
    pub payload: Payload,
}

/// A record as it is found at recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The caller's kind.
    pub kind: u8,
    /// The caller's id.
    pub id: u64,
    /// Where it lies; `position.len` is the whole payload's length.
    pub position: Position,
    /// The payload's first bytes, as many as its [`Label::head_len`] asked for.
    pub head: &'a [u8],
}

/// A record read back.
#[derive(Clone, Debug)]
pub struct Record {
    /// The caller's kind.
    pub kind: u8,
    /// The caller's id.
    pub id: u64,
    /// The bytes.
    pub payload: Payload,
}

/// What `open` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments that held records.
    pub segment_count: usize,
    /// Records handed out.
    pub record_count: u64,
    /// The highest id among them.
    pub highest_id: Option<u64>,
    /// Segments whose index is whole: content is not read but by [`survey`].
    pub indexed_count: usize,
    /// Numbers of ended segments whose index is damaged; they were read in full.
    pub index_damaged: Vec<u32>,
    /// Ends that a crash left half written: nothing of them was ever promised.
    pub torn: Vec<Damage>,
    /// Damaged ranges in the middle of promised records, kept in files beside the segments.
    pub quarantined: Vec<Damage>,
}

/// A range of a segment that could not be read as records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's number.
    pub segment: u32,
    /// Where it starts.
    pub offset: u32,
    /// How many bytes.
    pub len: u32,
    /// Where its bytes are kept, when they are.
    pub file: Option<PathBuf>,
}

/// The log's extent on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// The number of the oldest in use, 0 if there is none.
    pub oldest: u32,
    /// The number of the newest: the one being written, unless the disk is full.
    pub newest: u32,
    /// How many are in use.
    pub count: usize,
    /// Their bytes on disk, spare ones not counted.
    pub bytes: u64,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A call to the system failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Written by a later version of this program.
    #[error("{}: written in log format {found}, this program reads up to {supported}", path.display())]
    NewerVersion {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u16,
        /// Ours.
        supported: u16,
    },
    /// A segment of another log.
    #[error("{}: belongs to log {found}, not to log {expected}", path.display())]
    Foreign {
        /// The segment.
        path: PathBuf,
        /// The log named in it.
        found: u16,
        /// The log being opened.
        expected: u16,
    },
    /// A segment whose name and header are of different lives: a name that a power cut has brought back,
    /// or a file that was renamed by hand.
    #[error("{}: its header says that it is segment {found:08x}", path.display())]
    Misnamed {
        /// The segment.
        path: PathBuf,
        /// The segment's number in its header.
        found: u32,
    },
    /// An option that cannot work.
    #[error("log option {name} is {value}: {reason}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What was given.
        value: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// No segment has room and none can be made.
    #[error("the disk has no room for another segment")]
    Full,
    /// No segment has room yet; one is being made: await [`Log::room`] and try again.
    #[error("the next segment is still being made")]
    Preparing,
    /// Longer than a segment holds, beside what is kept for upkeep.
    #[error("the record is longer than a segment holds")]
    TooLong,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// A record was taken and could not be made durable. It may or may not be found at the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("writing the log failed (system error {errno})")]
pub struct CommitError {
    /// The system's error number, 0 when it is not known.
    pub errno: i32,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Its segment was freed, or there never was such a record.
    #[error("segment {} is no longer in the log", .0.segment)]
    Gone(Position),
    /// What lies there is not what was written.
    #[error("the record at {} in segment {} is damaged", .0.offset, .0.segment)]
    Damaged(Position),
    /// Its commit failed.
    #[error("the record was never written: {0}")]
    NotCommitted(#[from] CommitError),
    /// A call to the system failed.
    #[error("reading segment {}: {source}", position.segment)]
    Io {
        /// Which record.
        position: Position,
        /// Why it failed.
        source: io::Error,
    },
}

/// What the log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records taken.
    pub record_count: u64,
    /// Batches written.
    pub batch_count: u64,
    /// Times that batches were written and synced.
    pub flight_count: u64,
    /// Payload bytes copied into a batch.
    pub copied_bytes: u64,
    /// Payload bytes written from the memory they lay in.
    pub direct_bytes: u64,
}

/// A claim to hear of a commit.
#[derive(Clone, Debug)]
pub struct Ticket {
    fate: Rc<Fate>,
    durability: Durability,
}

/// Hands out every record of a log in log order and changes nothing: for looking into a log that nobody
/// writes. Damage is reported and stays where it is.
///
/// # Errors
/// If the log is not there, cannot be read, or was written by a newer version.
pub async fn survey(
    options: &Options,
    each: &mut dyn FnMut(RecordView<'_>),
) -> Result<Report, LogError> {
    open::survey(options, How::InFull, each).await
}

/// As [`survey`], but by the indexes where they are whole, as a start reads: faster by as much as content is
/// longer than heads, and blind for damage in content.
///
/// # Errors
/// If the log is not there, cannot be read, or was written by a newer version.
pub async fn heads(
    options: &Options,
    each: &mut dyn FnMut(RecordView<'_>),
) -> Result<Report, LogError> {
    open::survey(options, How::ByIndex, each).await
}

/// Leaves an empty file of this name in a directory, for good, and then removes those whose names it
/// replaces: a word that outlives the logs beside it.
///
/// # Errors
/// If the file cannot be made or another one not be removed.
pub async fn leave_name(
    directory: &Path,
    name: &str,
    is_replaced: impl Fn(&str) -> bool,
) -> io::Result<()> {
    disk::keep(&directory.join(name), Vec::new()).await?;
    for other in disk::list(directory).await? {
        if is_replaced(&other) {
            disk::remove(&directory.join(other)).await?;
        }
    }
    Ok(())
}

/// The log's handle. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    inner: Rc<Inner>,
}

impl Log {
    /// Opens or makes the log, and hands out every record in log order.
    ///
    /// # Errors
    /// If the directory cannot be used, or was written by a newer version.
    pub async fn open(
        options: Options,
        each: &mut dyn FnMut(RecordView<'_>),
    ) -> Result<(Self, Report), LogError> {
        let (inner, report) = open::open(options, each).await?;
        Ok((Self { inner }, report))
    }

    /// Takes a record into the batch being filled, copying its parts.
    ///
    /// # Errors
    /// If there is no room, see [`AppendError`].
    pub fn append_copied(&self, label: Label, parts: &[&[u8]]) -> Result<Appended, AppendError> {
        self.inner.append_copied(label, parts.iter().copied())
    }

    /// Takes a record that lies in chunks; long ones are written from there.
    ///
    /// # Errors
    /// If there is no room, see [`AppendError`].
    pub fn append_chunks(&self, label: Label, message: Message) -> Result<Stored, AppendError> {
        self.inner.append_chunks(label, message)
    }

    /// Waits until new content of `len` bytes has room: at once but for rare moments. An append of that
    /// length right after it (no await between) has it.
    ///
    /// # Errors
    /// If the disk is full but for what is kept for upkeep, the payload too long, or the log closed.
    pub async fn room(&self, len: usize) -> Result<(), AppendError> {
        self.inner
            .room(len, self.inner.options.reserve_len as usize)
            .await
    }

    /// As [`Log::room`], for a payload of [`Label::upkeep`].
    ///
    /// # Errors
    /// If the disk is full, the payload too long, or the log closed.
    pub async fn room_for_upkeep(&self, len: usize) -> Result<(), AppendError> {
        self.inner.room(len, 0).await
    }

    /// Whether new content should be taken: not while no further segment can be made.
    pub fn available(&self) -> bool {
        let state = self.inner.state.borrow();
        !state.closed && !state.full
    }

    /// Waits until the record behind the ticket, and all before it, are as durable as its label asks.
    ///
    /// # Errors
    /// If writing or syncing failed.
    pub async fn committed(&self, ticket: Ticket) -> Result<(), CommitError> {
        ticket.fate.wait(ticket.durability).await
    }

    /// Reads a record back and checks it, after its commit if that is still under way.
    ///
    /// # Errors
    /// If it is gone, damaged or cannot be read.
    pub async fn read(&self, position: Position) -> Result<Record, ReadError> {
        read::read(&self.inner, position).await
    }

    /// The segments in use.
    pub fn segments(&self) -> Segments {
        let state = self.inner.state.borrow();
        Segments {
            oldest: state
                .segments
                .front()
                .map_or(0, |segment| segment.stamp.segment),
            newest: state
                .segments
                .back()
                .map_or(0, |segment| segment.stamp.segment),
            count: state.segments.len(),
            bytes: state
                .segments
                .iter()
                .map(|segment| u64::from(segment.len))
                .sum(),
        }
    }

    /// Gives up the oldest segment, to be written anew, and returns its number; `None` if it is the one
    /// being written. Everything in it that still matters must have been appended again and committed.
    pub fn free_oldest(&self) -> Option<u32> {
        self.inner.free_oldest()
    }

    /// Ends the segment being written and goes on in the next; nothing happens if it is empty.
    ///
    /// # Errors
    /// If no next segment is ready.
    pub fn seal(&self) -> Result<(), AppendError> {
        self.inner.seal()
    }

    /// Commits what was taken, takes nothing more, and waits until the disk is at rest.
    pub async fn close(&self) {
        self.inner.close().await;
    }

    /// Deletes a log that was closed: its segments, oldest first, so that no crash in between brings back a
    /// message without what settled it; then its directory, unless something is kept there in quarantine.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub async fn delete(&self) -> io::Result<()> {
        debug_assert!(self.inner.state.borrow().kept, "closed before");
        open::delete(&self.inner.directory).await
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.inner.state.borrow().stats()
    }
}
