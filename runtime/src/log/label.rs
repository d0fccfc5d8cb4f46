//! What is said of a record beside its bytes: its label, and where it lies. Pure, and all that the format
//! (`record`) and the packing (`batch`) need to know of the log.

/// Bytes at the start of a message's first chunk that the caller leaves free: the headers of its batch
/// and of its record are written there.
pub const ROOM: usize = 80;

/// How much of a record's payload is handed out at recovery at most; what has to be known then stands in front.
pub const HEAD_LEN_MAX: usize = 1024 * 1024;

/// Where a record lies; `len` is that of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The segment's number; a number is never used twice.
    pub segment: u32,
    /// Bytes from the segment's start to the record's header.
    pub offset: u32,
    /// Bytes of payload.
    pub len: u32,
}

/// Whether somebody waits for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Commit as soon as possible.
    Now,
    /// Ride along with the next commit, or wait `lazy_commit_ms` for one.
    Lazy,
}

/// What `committed` promises about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing yet: it is in memory.
    Memory,
    /// The device has it; a power cut may lose it.
    Write,
    /// It is on stable storage.
    Fsync,
}

/// A record's label: everything but its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The caller's kind; 0 and 255 are the log's own.
    pub kind: u8,
    /// The caller's id.
    pub id: u64,
    /// Bytes of the payload's front that are handed out at recovery, at most [`HEAD_LEN_MAX`]: they are
    /// kept once more in the index of the segment, so that a start need not read what is behind them. More
    /// than the payload has means all of it.
    pub head_len: u32,
    /// Whether somebody waits for it.
    pub urgency: Urgency,
    /// What the commit promises.
    pub durability: Durability,
    /// Whether it settles or frees what is there, and so may use the room that is kept for that while the
    /// disk is full.
    pub upkeep: bool,
}

impl Label {
    /// New content somebody waits for, made durable by fsync.
    pub const fn now(kind: u8, id: u64) -> Self {
        Self {
            kind,
            id,
            head_len: HEAD_LEN_MAX as u32,
            urgency: Urgency::Now,
            durability: Durability::Fsync,
            upkeep: false,
        }
    }

    /// As [`Label::now`], for what frees room: content moved on from the oldest segment.
    pub const fn upkeep(kind: u8, id: u64) -> Self {
        Self {
            upkeep: true,
            ..Self::now(kind, id)
        }
    }

    /// The same with another length of the head.
    #[must_use]
    pub const fn with_head_len(self, head_len: u32) -> Self {
        Self { head_len, ..self }
    }

    /// Bytes of the head of a payload of `len` bytes.
    pub(super) fn head_len_of(&self, len: usize) -> usize {
        (self.head_len as usize).min(HEAD_LEN_MAX).min(len)
    }

    /// A note about content: it rides along with the next commit.
    pub const fn lazy(kind: u8, id: u64) -> Self {
        Self {
            kind,
            id,
            head_len: HEAD_LEN_MAX as u32,
            urgency: Urgency::Lazy,
            durability: Durability::Fsync,
            upkeep: true,
        }
    }
}
