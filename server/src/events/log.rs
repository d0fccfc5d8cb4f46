//! The event log: from each shard's journal through a ring to a thread that writes the file.
//!
//! No shard ever waits here and no lock is taken. Nothing is dropped: while the file cannot be written the rings fill,
//! and a shard that sees its journal full pauses delivery.

use super::Event;
use std::io;
use std::path::Path;

/// A shard's end: lines are collected and handed over in batches. Lives on its shard until the shard ends.
#[derive(Debug)]
pub struct Journal {
    lines: Vec<u8>,
}

impl Journal {
    /// Writes the event's line. Always succeeds: see [`is_full`](Self::is_full).
    pub fn record(&mut self, event: &Event<'_>) {
        event.push_line(&mut self.lines);
    }

    /// Hands over what was collected. Called once per turn of the shard's loop, or on a tick of some 100 ms.
    pub fn flush(&mut self) {}

    /// Whether the file is so far behind that delivery should pause.
    pub fn is_full(&self) -> bool {
        false
    }
}

/// The thread that writes the file. Lives with the main thread.
#[derive(Debug)]
pub struct EventLog {}

impl EventLog {
    /// Opens the file (appending; directories are made) and starts the thread; one journal for each shard.
    pub fn start(path: &Path, shard_count: usize) -> io::Result<(Self, Vec<Journal>)> {
        let _ = (path, shard_count);
        unimplemented!()
    }

    /// Opens the file again by its name, after it was moved away.
    pub fn reopen(&self) {}

    /// Writes all that the journals handed over, syncs, and ends the thread. Journals should be dropped before.
    pub fn stop(self) -> io::Result<()> {
        unimplemented!()
    }
}
