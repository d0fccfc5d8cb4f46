//! Loans: a chunk's bytes, read on another shard while the chunk itself stays at home.
//!
//! A chunk never leaves its shard. What crosses is a loan: where the bytes are and how many. At home a
//! receipt keeps the memory for as long as the loan, or any chunk made of it, is alive anywhere; a
//! receipt that is dropped before that leaks the memory rather than free it under a reader.

use super::{Chunk, Memory, Store};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// The bytes of one chunk, on their way to a reader elsewhere.
#[derive(Clone)]
pub(super) struct Lent {
    start: *const u8,
    len: usize,
    /// Alive as long as somebody may read. Two shards share it, and no third.
    _alive: Arc<()>,
}

// SAFETY: the bytes are frozen: nobody writes them while a loan is alive, and the receipt keeps them
// where they are until the last clone of `_alive` outside of it is gone. `Arc` counts across threads.
unsafe impl Send for Lent {}

impl Lent {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` and `len` are those of a slice of a frozen chunk that the receipt keeps alive
        // and unchanged for as long as `_alive` is (see `Receipt`'s `Drop`).
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

/// Some chunks' bytes, to be sent to another shard.
pub struct Loan {
    parts: Vec<Lent>,
}

impl Loan {
    /// The bytes as chunks of the shard that holds the loan; each keeps the loan alive.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> {
        self.parts.iter().map(|part| Chunk {
            len: part.len as u32,
            start: 0,
            memory: Rc::new(Memory {
                store: Store::Lent(part.clone()),
                held: 0,
            }),
        })
    }
}

impl fmt::Debug for Loan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Loan")
            .field("parts", &self.parts.len())
            .finish()
    }
}

/// What stays at home: the chunks, and whether anybody may still read them.
pub struct Receipt {
    chunks: Vec<Chunk>,
    alive: Arc<()>,
}

impl Receipt {
    /// Whether the loan, and every chunk made of it, is gone.
    pub fn is_returned(&mut self) -> bool {
        // `get_mut` and not `strong_count`: it orders the reader's last read before our reuse.
        Arc::get_mut(&mut self.alive).is_some()
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.is_returned() {
            std::mem::forget(std::mem::take(&mut self.chunks));
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Receipt")
            .field("chunks", &self.chunks.len())
            .finish()
    }
}

/// Lends chunks to a reader on another shard.
pub fn lend(chunks: impl IntoIterator<Item = Chunk>) -> (Loan, Receipt) {
    let chunks: Vec<Chunk> = chunks.into_iter().collect();
    let alive = Arc::new(());
    let parts = chunks
        .iter()
        .map(|chunk| Lent {
            start: chunk.as_slice().as_ptr(),
            len: chunk.len(),
            _alive: Arc::clone(&alive),
        })
        .collect();
    (Loan { parts }, Receipt { chunks, alive })
}

#[cfg(test)]
mod tests {
    use super::super::{ChunkMut, ChunkSize, held_bytes};
    use super::*;

    fn chunk(text: &[u8]) -> Chunk {
        let mut chunk = ChunkMut::new(ChunkSize::Small);
        chunk.as_mut_slice()[..text.len()].copy_from_slice(text);
        chunk.freeze(text.len())
    }

    #[test]
    fn another_thread_reads_and_the_memory_comes_home() {
        let (loan, mut receipt) = lend([chunk(b"one"), chunk(b"two")]);
        assert!(!receipt.is_returned());
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let text: Vec<u8> = loan
                    .chunks()
                    .flat_map(|chunk| chunk.as_slice().to_vec())
                    .collect();
                assert_eq!(held_bytes(), 0, "the reader's shard holds nothing");
                text
            });
            reader.join().unwrap()
        });
        assert_eq!(read, b"onetwo");
        assert!(receipt.is_returned());
        drop(receipt);
        assert_eq!(held_bytes(), 0);
    }

    #[test]
    fn a_chunk_made_of_a_loan_keeps_it() {
        let (loan, mut receipt) = lend([chunk(b"text")]);
        let part = loan.chunks().next().unwrap().slice(1..3);
        drop(loan);
        assert!(!receipt.is_returned());
        assert_eq!(part.as_slice(), b"ex");
        drop(part);
        assert!(receipt.is_returned());
    }

    #[test]
    fn a_receipt_dropped_too_early_leaks_and_does_not_free() {
        let (loan, receipt) = lend([chunk(b"text")]);
        drop(receipt);
        assert_eq!(loan.chunks().next().unwrap().as_slice(), b"text");
        assert_eq!(held_bytes(), 8192);
    }
}
