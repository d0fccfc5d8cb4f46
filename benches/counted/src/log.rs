//! The record format of the runtime's log, and a batch in memory that no disk waits for.

#![allow(
    dead_code,
    reason = "of the format only what writes is used here; the log uses all of it"
)]

#[path = "../../../runtime/src/log/batch.rs"]
mod batch;
#[path = "../../../runtime/src/log/label.rs"]
mod label;
#[path = "../../../runtime/src/log/record.rs"]
mod record;

/// Of the index, the limit that a trailer is held to.
mod index {
    pub(super) const INDEX_LEN_MAX: u32 = 16 << 20;
}

pub use label::{Durability, HEAD_LEN_MAX, Label, Position, ROOM, Urgency};
pub use record::VERSION;

use batch::Batch;
use record::Stamp;

const STAMP: Stamp = Stamp {
    log: 1,
    segment: 7,
    generation: 0x1234_5678_9abc_def0,
};
/// Where the batch stands in its segment.
const OFFSET: u32 = 4096;

/// Memory for a batch, packed as the log packs what it copies: headers and checksums included.
#[derive(Debug)]
pub struct Packing {
    memory: Vec<u8>,
}

impl Packing {
    /// Memory for batches of up to so many bytes.
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        Self {
            memory: vec![0; len_max.next_multiple_of(crate::buffer::ALIGNMENT)],
        }
    }

    /// Packs one batch of `count` records with this payload; the bytes it would take on disk.
    ///
    /// # Panics
    /// If there is not memory enough.
    pub fn pack(&mut self, label: &Label, payload: &[u8], count: usize) -> &[u8] {
        let mut batch = Batch::new(STAMP, OFFSET, 1, 0);
        for _ in 0..count {
            assert!(
                batch.fits(payload.len(), self.memory.len()),
                "memory enough"
            );
            batch.push(&mut self.memory, label, std::iter::once(payload));
        }
        batch.finish(&mut self.memory, 0);
        &self.memory[..batch.len()]
    }
}
