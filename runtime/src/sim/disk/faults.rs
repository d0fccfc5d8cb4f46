//! What a simulated disk does wrong, and how long it takes: the caller's plan.

use std::ops::Range;

/// What a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Opening a file.
    Open,
    /// Making a file, or a directory.
    Create,
    /// Asking for the space of a file.
    Reserve,
    /// Writing.
    Write,
    /// Reading.
    Read,
    /// Making what was written to a file survive a power cut.
    Sync,
    /// Renaming or removing.
    Rename,
    /// Making what was changed in a directory survive a power cut.
    SyncDirectory,
    /// Listing a directory, or asking whether a file is there.
    Look,
}

/// A kind of call that fails.
#[derive(Clone, Copy, Debug)]
pub struct Failing {
    /// Which one.
    pub call: Call,
    /// The system's error number.
    pub errno: i32,
    /// Of a million of them, so many fail.
    pub rate: u32,
    /// After so many failures all is well again; [`u32::MAX`]: never.
    pub times: u32,
}

impl Failing {
    /// The next such call fails with EIO, and no other.
    #[must_use]
    pub const fn once(call: Call) -> Self {
        Self {
            call,
            errno: super::EIO,
            rate: 1_000_000,
            times: 1,
        }
    }

    /// Each such call fails with EIO.
    #[must_use]
    pub const fn always(call: Call) -> Self {
        Self {
            times: u32::MAX,
            ..Self::once(call)
        }
    }
}

/// What a disk does wrong. The default does nothing wrong, and is as fast as a good one.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Bytes of the whole disk, those of its files among them.
    pub capacity: u64,
    /// How long a write takes, in microseconds.
    pub write_micros: Range<u64>,
    /// How long a read takes, in microseconds.
    pub read_micros: Range<u64>,
    /// How long a sync of a file or a directory takes, in microseconds.
    pub sync_micros: Range<u64>,
    /// Of a million requests, so many take longer,
    pub slow: u32,
    /// by so many microseconds.
    pub slow_micros: Range<u64>,
    /// What fails.
    pub failing: Vec<Failing>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            capacity: 1 << 40,
            write_micros: 20..200,
            read_micros: 20..100,
            sync_micros: 50..1000,
            slow: 0,
            slow_micros: 1_000..100_000,
            failing: Vec::new(),
        }
    }
}
