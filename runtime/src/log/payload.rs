//! The bytes of a record where they lie: in chunks that are still being written ([`Message`]) or that many read
//! ([`Payload`]). What they mean, and where on disk they go, is not known here.

use super::ROOM;
use crate::buffer::{Chunk, ChunkMut};

/// A payload that lies in chunks and is to be written: the first chunk has [`ROOM`] bytes free in front,
/// every chunk but the last is full.
#[derive(Debug)]
pub struct Message {
    pub(super) first: ChunkMut,
    pub(super) further: Vec<ChunkMut>,
    pub(super) len: usize,
}

impl Message {
    /// A payload of `len` bytes that starts at [`ROOM`] in `first` and goes on in `further`. Chunks that
    /// it does not reach are given back.
    ///
    /// # Panics
    /// If the chunks are too short for it.
    pub fn new(first: ChunkMut, mut further: Vec<ChunkMut>, len: usize) -> Self {
        let mut full = further.iter().map(ChunkMut::capacity).sum::<usize>() + first.capacity();
        assert!(ROOM + len <= full, "{len} bytes in chunks of {full}");
        while let Some(last) = further.pop_if(|last| ROOM + len <= full - last.capacity()) {
            full -= last.capacity();
        }
        Self {
            first,
            further,
            len,
        }
    }

    /// What stands at the payload's front, as far as it lies in the first chunk.
    pub fn front(&self) -> &[u8] {
        let end = (ROOM + self.len).min(self.first.capacity());
        &self.first.as_slice()[ROOM..end]
    }

    /// The payload, chunk by chunk.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let end = (ROOM + self.len).min(self.first.capacity());
        let mut left = ROOM + self.len - end;
        let further = self.further.iter().map(move |chunk| {
            let here = left.min(chunk.capacity());
            left -= here;
            &chunk.as_slice()[..here]
        });
        std::iter::once(&self.first.as_slice()[ROOM..end]).chain(further)
    }

    /// Cuts the last chunk down to the blocks that are needed.
    pub(super) fn trim(&mut self) {
        let further: usize = self.further.iter().map(ChunkMut::capacity).sum();
        let unused = self.first.capacity() + further - ROOM - self.len;
        let last = self.further.last_mut().unwrap_or(&mut self.first);
        last.trim(last.capacity() - unused);
    }

    /// The payload, to be read by many.
    pub(super) fn freeze(self) -> Payload {
        let end = (ROOM + self.len).min(self.first.capacity());
        let mut left = ROOM + self.len - end;
        let freeze = |chunk: ChunkMut| {
            let here = left.min(chunk.capacity());
            left -= here;
            chunk.freeze(here)
        };
        let further = self.further.into_iter().map(freeze).collect();
        Payload {
            first: self.first.freeze(end).slice(ROOM..end),
            further,
            len: self.len,
        }
    }
}

/// The bytes of a record in chunks that can be sent as they are.
#[derive(Clone, Debug)]
pub struct Payload {
    pub(super) first: Chunk,
    pub(super) further: Vec<Chunk>,
    pub(super) len: usize,
}

impl Payload {
    /// Bytes that lie in chunks, in order.
    ///
    /// # Panics
    /// If there is no chunk.
    pub fn of_chunks(chunks: impl IntoIterator<Item = Chunk>) -> Self {
        let mut chunks = chunks.into_iter();
        let first = chunks.next().expect("a payload has a chunk");
        let further: Vec<Chunk> = chunks.collect();
        let len = first.len() + further.iter().map(Chunk::len).sum::<usize>();
        Self {
            first,
            further,
            len,
        }
    }

    /// All bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunks in order.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        std::iter::once(&self.first).chain(&self.further)
    }

    /// The bytes from `start` on, chunk by chunk, without copying.
    pub fn chunks_from(&self, start: usize) -> impl Iterator<Item = Chunk> {
        let mut skip = start;
        self.chunks().filter_map(move |chunk| {
            let from = skip.min(chunk.len());
            skip -= from;
            (from < chunk.len()).then(|| chunk.slice(from..chunk.len()))
        })
    }

    /// The first chunk's bytes: the head of the payload, when it is known to fit there.
    pub fn head(&self) -> &[u8] {
        self.first.as_slice()
    }
}
