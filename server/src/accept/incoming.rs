//! The message that is being received: its chunks, filled where they lie.
//!
//! Bytes are read from the socket straight behind what is already stored; where nothing was
//! unstuffed they are where they belong, and only the mark moves. What does have to move is
//! counted. No socket and no session lives here.

use mailrail_runtime::buffer::{ChunkMut, ChunkSize};
use std::ops::Range;

/// A message on its way in. Lives from the answer to DATA to the commit, or to the reset; it holds no memory before
/// its first bytes are there.
#[derive(Default)]
pub struct Incoming {
    /// All but the last are full; the last is being filled.
    chunks: Vec<ChunkMut>,
    /// Stored bytes in the last chunk.
    filled: usize,
    /// Bytes in the last chunk that were read and not yet consumed by the session.
    raw: Range<usize>,
    /// Stored bytes in all chunks before the last.
    before: u64,
    /// Bytes moved in memory on their way here.
    copied: u64,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("chunks", &self.chunks.len())
            .field("len", &self.stored_len())
            .field("copied", &self.copied)
            .finish_non_exhaustive()
    }
}

/// A message whose bytes are all here.
pub struct Complete {
    /// All but the last are full, and none is empty.
    pub chunks: Vec<ChunkMut>,
    /// Stored bytes, with the room in front.
    pub len: u64,
    /// Bytes moved in memory on their way here.
    pub copied: u64,
}

impl std::fmt::Debug for Complete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Complete")
            .field("chunks", &self.chunks.len())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Incoming {
    /// Takes the first chunk, a small one, whose first `room` bytes belong to others.
    pub fn begin(&mut self, room: usize) {
        debug_assert!(!self.has_begun());
        self.chunks.push(ChunkMut::new(ChunkSize::Small));
        self.filled = room;
        self.raw = room..room;
    }

    /// Whether there is any chunk.
    pub const fn has_begun(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Stored bytes, with the room in front.
    pub fn stored_len(&self) -> u64 {
        self.before + self.filled as u64
    }

    /// Bytes that the session has not seen yet.
    pub fn unread(&self) -> &[u8] {
        match self.chunks.last() {
            Some(chunk) => &chunk.as_slice()[self.raw.clone()],
            None => &[],
        }
    }

    /// The session consumed `used` unread bytes, the last `body` of which are content.
    pub fn advance(&mut self, used: usize, body: usize) {
        debug_assert!(body <= used && used <= self.raw.len());
        let end = self.raw.start + used;
        let start = end - body;
        if body > 0 {
            if start != self.filled
                && let Some(chunk) = self.chunks.last_mut()
            {
                chunk.as_mut_slice().copy_within(start..end, self.filled);
                self.copied += body as u64;
            }
            self.filled += body;
        }
        self.raw.start = end;
    }

    /// Takes away the unread bytes, which do not belong to this body or cannot be decided on yet.
    pub fn give_up_unread(&mut self) -> &[u8] {
        let raw = self.raw.clone();
        self.raw = self.filled..self.filled;
        match self.chunks.last() {
            Some(chunk) => &chunk.as_slice()[raw],
            None => &[],
        }
    }

    /// Where to read to: behind the unread bytes. Empty when the chunk ends there, which can only
    /// be while the session holds a few bytes back: see [`Incoming::give_up_unread`].
    ///
    /// A full chunk is followed by a new one, so a caller that watches over memory asks
    /// [`Incoming::wants_chunk`] first.
    pub fn space(&mut self) -> &mut [u8] {
        if self.raw.is_empty() {
            if self.wants_chunk() {
                self.push_chunk();
            }
            self.raw = self.filled..self.filled;
        }
        match self.chunks.last_mut() {
            Some(chunk) => &mut chunk.as_mut_slice()[self.raw.end..],
            None => &mut [],
        }
    }

    /// Whether the next [`Incoming::space`] or [`Incoming::append`] takes another chunk.
    pub fn wants_chunk(&self) -> bool {
        self.chunks
            .last()
            .is_none_or(|chunk| self.filled == chunk.capacity())
    }

    /// `count` bytes were read into [`Incoming::space`].
    pub fn filled_space(&mut self, count: usize) {
        self.raw.end += count;
    }

    /// Stores bytes that lie elsewhere.
    pub fn append(&mut self, mut bytes: &[u8]) {
        debug_assert!(self.raw.is_empty());
        while !bytes.is_empty() {
            if self.wants_chunk() {
                self.push_chunk();
            }
            let Some(chunk) = self.chunks.last_mut() else {
                return;
            };
            let space = &mut chunk.as_mut_slice()[self.filled..];
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            bytes = &bytes[count..];
        }
        self.raw = self.filled..self.filled;
    }

    /// As [`Incoming::append`], for content: counted as copied.
    pub fn append_content(&mut self, bytes: &[u8]) {
        self.copied += bytes.len() as u64;
        self.append(bytes);
    }

    /// The stored bytes, chunk by chunk.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let last = self.chunks.len().saturating_sub(1);
        self.chunks.iter().enumerate().map(move |(index, chunk)| {
            if index == last {
                &chunk.as_slice()[..self.filled]
            } else {
                chunk.as_slice()
            }
        })
    }

    /// The message is complete; `front` is written over what was stored at `at` for it.
    pub fn finish(mut self, at: usize, front: &[u8]) -> Complete {
        if let Some(chunk) = self.chunks.first_mut() {
            chunk.as_mut_slice()[at..at + front.len()].copy_from_slice(front);
        }
        let len = self.stored_len();
        if self.filled == 0 && self.chunks.len() > 1 {
            self.chunks.pop();
        }
        Complete {
            chunks: self.chunks,
            len,
            copied: self.copied,
        }
    }

    fn push_chunk(&mut self) {
        self.before += self.filled as u64;
        self.chunks.push(ChunkMut::new(ChunkSize::Large));
        self.filled = 0;
        self.raw = 0..0;
    }
}
