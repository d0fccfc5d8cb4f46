//! Memory that the disk can take as it is: aligned chunks from a pool of the shard's own.
//!
//! A `ChunkMut` is written by one owner, `freeze` turns it into a `Chunk` that many may read; at the
//! last drop the memory goes back to the pool of the thread that dropped it. Bytes are counted here,
//! limits on them are not decided here. It knows no files, no records and no mail.
//!
//! Lives on one shard: `Rc` on purpose, nothing here may leave it.

mod loan;
mod slab;

pub use loan::{Loan, Receipt, lend};

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use glommio::io::DmaBuffer;
use slab::Span;

/// Every chunk starts and ends on a multiple of this many bytes of memory, and of disk.
pub const ALIGNMENT: usize = 4096;

/// Small chunks kept for reuse, 32 MiB; what comes back beyond it is freed. Each message on its way has one, and a shard
/// may have thousands of connections.
const POOLED_SMALL_MAX: usize = 4096;

const _: () = assert!(ChunkSize::Small.bytes().is_multiple_of(ALIGNMENT));
const _: () = assert!(ChunkSize::Large.bytes().is_multiple_of(ALIGNMENT));

/// The two sizes a message is received into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkSize {
    /// 8 KiB: the first chunk of a message; most messages need no other.
    Small,
    /// 64 KiB: every further one.
    Large,
}

impl ChunkSize {
    /// How many bytes a chunk of this size holds.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Small => 8 * 1024,
            Self::Large => 64 * 1024,
        }
    }
}

/// What the shard has handed out and what it keeps ready.
struct Pool {
    small: Vec<Rc<Block>>,
    held_bytes: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { small: Vec::new(), held_bytes: 0 }) };
}

/// Where the bytes of a chunk lie: all of them written by somebody, or zeros.
#[derive(Debug)]
pub(crate) enum Block {
    /// Small chunks, of which many are held for long, and what no slab has room for.
    Alone(DmaBuffer),
    Span(Span),
}

impl Block {
    fn new(len: usize) -> Self {
        if len > ChunkSize::Small.bytes() && len <= slab::SPAN_LEN_MAX {
            Self::Span(Span::new(len))
        } else {
            let mut buffer = glommio::allocate_dma_buffer_global(len);
            buffer.as_bytes_mut().fill(0);
            Self::Alone(buffer)
        }
    }

    /// A multiple of the alignment.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Alone(buffer) => buffer.len(),
            Self::Span(span) => span.len(),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Alone(buffer) => buffer.as_bytes(),
            Self::Span(span) => span.as_slice(),
        }
    }

    fn as_bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Alone(buffer) => buffer.as_bytes_mut(),
            Self::Span(span) => span.as_mut_slice(),
        }
    }

    fn cut(&mut self, len: usize) {
        match self {
            Self::Alone(buffer) => buffer.trim_to_size(len),
            Self::Span(span) => span.cut(len),
        }
    }
}

/// Bytes of chunks alive on this shard: written, frozen or read back, pooled ones not.
pub fn held_bytes() -> usize {
    POOL.with_borrow(|pool| pool.held_bytes)
}

/// Bytes of small chunks kept ready for reuse on this shard.
#[cfg(test)]
fn pooled_bytes() -> usize {
    POOL.with_borrow(|pool| pool.small.len() * ChunkSize::Small.bytes())
}

/// A seeded world begins on this thread: what an earlier one left lent for ever is not its.
#[cfg(feature = "sim")]
pub(crate) fn begin_world() {
    POOL.with_borrow_mut(|pool| pool.held_bytes = 0);
}

/// `len` rounded up to the next multiple of [`ALIGNMENT`].
pub(crate) const fn align_up(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

fn hold(bytes: usize) {
    POOL.with_borrow_mut(|pool| pool.held_bytes += bytes);
}

/// Aligned memory with one owner, who writes it.
///
/// What a reused chunk holds at first is unspecified: bytes of an earlier one, never uninitialised.
pub struct ChunkMut {
    memory: Memory,
}

impl ChunkMut {
    /// A chunk of one of these sizes.
    pub fn new(size: ChunkSize) -> Self {
        Self::with_len(size.bytes())
    }

    /// A chunk of at least `len` bytes, rounded up to the alignment.
    ///
    /// # Panics
    /// If `len` is 0.
    pub fn with_len(len: usize) -> Self {
        assert!(len > 0, "a chunk has a byte at least");
        let len = align_up(len);
        let pooled = match len == ChunkSize::Small.bytes() {
            true => POOL.with_borrow_mut(|pool| pool.small.pop()),
            false => None,
        };
        Self::of(pooled.unwrap_or_else(|| Rc::new(Block::new(len))))
    }

    fn of(block: Rc<Block>) -> Self {
        let held = block.len();
        hold(held);
        let store = Store::Own(block);
        Self {
            memory: Memory { store, held },
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.memory.bytes()
    }

    /// The bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.block_mut().as_bytes_mut()
    }

    /// How many bytes fit.
    pub fn capacity(&self) -> usize {
        self.memory.bytes().len()
    }

    /// Ends the writing: the first `len` bytes can now be read by many.
    ///
    /// # Panics
    /// If `len` is more than the capacity.
    pub fn freeze(self, len: usize) -> Chunk {
        assert!(
            len <= self.capacity(),
            "{len} bytes of a chunk of {}",
            self.capacity()
        );
        Chunk {
            memory: Rc::new(self.memory),
            start: 0,
            len: len as u32,
        }
    }

    /// Cuts the memory itself down to the pages that `len` bytes need, because the disk is given whole
    /// buffers only. There is no way back, so a cut small chunk is not pooled.
    pub(crate) fn trim(&mut self, len: usize) {
        let (len, capacity) = (align_up(len), self.capacity());
        if len >= capacity {
            return;
        }
        self.block_mut().cut(len);
        // What the allocator gave is counted in full, since only it knows what it keeps.
        if let Store::Own(block) = &self.memory.store
            && matches!(**block, Block::Span(_))
        {
            self.memory.held = len;
            POOL.with_borrow_mut(|pool| pool.held_bytes -= capacity - len);
        }
    }

    fn block_mut(&mut self) -> &mut Block {
        match &mut self.memory.store {
            Store::Own(block) => Rc::get_mut(block).expect("a chunk being written has one owner"),
            Store::Lent(_) => unreachable!("what was lent is never written"),
        }
    }
}

impl fmt::Debug for ChunkMut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChunkMut")
            .field("capacity", &self.capacity())
            .finish()
    }
}

/// A range of frozen memory. Cloning and slicing share it; the last one gives it back.
#[derive(Clone)]
pub struct Chunk {
    memory: Rc<Memory>,
    start: u32,
    len: u32,
}

impl Chunk {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        let start = self.start as usize;
        &self.memory.bytes()[start..start + self.len as usize]
    }

    /// How many bytes.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A part of it, sharing the memory.
    ///
    /// # Panics
    /// If the range reaches beyond the chunk.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "{range:?} of {} bytes",
            self.len
        );
        Self {
            memory: self.memory.clone(),
            start: self.start + range.start as u32,
            len: (range.end - range.start) as u32,
        }
    }

    /// The whole memory behind this chunk, for a write that borrows it; its length is a multiple of the
    /// alignment.
    pub(crate) fn block(&self) -> &Rc<Block> {
        match &self.memory.store {
            Store::Own(block) => block,
            Store::Lent(_) => unreachable!("what was lent is never written"),
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Chunk")
            .field("start", &self.start)
            .field("len", &self.len)
            .finish()
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// The memory behind chunks; counted while it lives.
struct Memory {
    store: Store,
    held: usize,
}

enum Store {
    Own(Rc<Block>),
    /// Another shard's memory.
    Lent(loan::Lent),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match &self.store {
            Store::Own(block) => block.as_bytes(),
            Store::Lent(lent) => lent.bytes(),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // A thread that ends has no pool any more: then the memory is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            pool.held_bytes -= self.held;
            let Store::Own(block) = &self.store else {
                return;
            };
            // A write that was given up may still be in the kernel's hands and holds its own count; cut
            // memory would never be whole again.
            let is_whole = block.len() == ChunkSize::Small.bytes() && self.held == block.len();
            let is_small = is_whole && matches!(**block, Block::Alone(_));
            if is_small && Rc::strong_count(block) == 1 && pool.small.len() < POOLED_SMALL_MAX {
                pool.small.push(block.clone());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each test thread has a pool of its own, so the counts are exact.
    #[test]
    fn memory_comes_back_at_the_last_drop() {
        let mut chunk = ChunkMut::new(ChunkSize::Small);
        assert_eq!(chunk.as_slice().as_ptr() as usize % ALIGNMENT, 0);
        assert_eq!(held_bytes(), 8192);
        chunk.as_mut_slice()[..5].copy_from_slice(b"hello");
        let address = chunk.as_slice().as_ptr();
        let chunk = chunk.freeze(5);
        let tail = chunk.slice(1..5).slice(1..3);
        assert_eq!(chunk.as_slice(), b"hello");
        drop(chunk);
        assert_eq!((held_bytes(), pooled_bytes()), (8192, 0));
        assert_eq!(tail.as_slice(), b"ll");
        drop(tail);
        assert_eq!((held_bytes(), pooled_bytes()), (0, 8192));
        assert_eq!(ChunkMut::new(ChunkSize::Small).as_slice().as_ptr(), address);
    }

    #[test]
    fn pool_keeps_no_more_than_its_bound() {
        let chunks: Vec<_> = (0..POOLED_SMALL_MAX + 3)
            .map(|_| ChunkMut::new(ChunkSize::Small))
            .collect();
        drop(chunks);
        assert_eq!(held_bytes(), 0);
        assert_eq!(pooled_bytes(), POOLED_SMALL_MAX * ChunkSize::Small.bytes());
    }

    #[test]
    fn odd_lengths_are_whole_pages_and_are_not_pooled() {
        assert_eq!(ChunkMut::with_len(1).capacity(), ALIGNMENT);
        assert_eq!(ChunkMut::with_len(20_000).capacity(), 5 * ALIGNMENT);
        let long = ChunkMut::with_len(2 << 20);
        assert_eq!(long.capacity(), 2 << 20);
        assert!(long.as_slice().iter().all(|&byte| byte == 0));
        drop(long);
        assert_eq!(pooled_bytes(), 0);
    }

    #[test]
    fn cut_memory_is_not_pooled_and_no_longer_counted_where_it_went_back() {
        let mut chunk = ChunkMut::new(ChunkSize::Large);
        chunk.trim(5000);
        assert_eq!(chunk.capacity(), 8192);
        assert_eq!(held_bytes(), 8192);
        let chunk = chunk.freeze(5000);
        assert_eq!(chunk.block().len(), 8192);
        drop(chunk);
        assert_eq!((held_bytes(), pooled_bytes()), (0, 0));
        let mut chunk = ChunkMut::new(ChunkSize::Small);
        chunk.trim(1);
        assert_eq!((chunk.capacity(), held_bytes()), (4096, 8192));
        drop(chunk);
        assert_eq!((held_bytes(), pooled_bytes()), (0, 0));
    }
}
