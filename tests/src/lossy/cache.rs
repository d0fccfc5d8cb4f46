//! A disk's volatile memory: blocks written and not yet flushed, over what is durable.
//!
//! It knows no kernel and no power: `wire` hands it reads, writes and flushes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What survives or is lost as one, as in a disk with physical sectors of that size. File systems
/// count on that much (ext4's own superblock is written in place).
const BLOCK_LEN: usize = 4096;

/// What became of the blocks that no flush covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Blocks that read as before.
    pub lost: usize,
    /// Blocks that reached the platter all the same.
    pub kept: usize,
}

/// The durable file, and what lies over it.
#[derive(Debug)]
pub(super) struct Cache {
    platter: File,
    volatile: BTreeMap<u64, Box<[u8; BLOCK_LEN]>>,
}

impl Cache {
    pub(super) fn new(platter: File) -> Self {
        Self {
            platter,
            volatile: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.platter.metadata()?.len())
    }

    /// Reads as much as there is, up to the length of `bytes`.
    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.len()?.saturating_sub(offset);
        let len = bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        let bytes = &mut bytes[..len];
        self.platter.read_exact_at(bytes, offset)?;
        for (at, within, here) in pieces(offset, len) {
            if let Some(block) = self
                .volatile
                .get(&((offset + at as u64) / BLOCK_LEN as u64))
            {
                bytes[at..at + here].copy_from_slice(&block[within..within + here]);
            }
        }
        Ok(len)
    }

    /// Writes, for as long as there is power.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if offset + bytes.len() as u64 > self.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        for (at, within, here) in pieces(offset, bytes.len()) {
            let number = (offset + at as u64) / BLOCK_LEN as u64;
            if !self.volatile.contains_key(&number) {
                let mut block = Box::new([0; BLOCK_LEN]);
                self.platter
                    .read_exact_at(&mut *block, number * BLOCK_LEN as u64)?;
                self.volatile.insert(number, block);
            }
            let block = self.volatile.get_mut(&number).expect("just put there");
            block[within..within + here].copy_from_slice(&bytes[at..at + here]);
        }
        Ok(())
    }

    /// Makes everything durable that was written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some((number, block)) = self.volatile.pop_first() {
            self.platter
                .write_all_at(&*block, number * BLOCK_LEN as u64)?;
        }
        Ok(())
    }

    /// The end: each block that is not durable is kept or lost.
    pub(super) fn settle(mut self, mut is_kept: impl FnMut() -> bool) -> Forgotten {
        let all = self.volatile.len();
        self.volatile.retain(|_, _| is_kept());
        let kept = self.volatile.len();
        self.flush().expect("the image takes what it took before");
        Forgotten {
            lost: all - kept,
            kept,
        }
    }
}

/// The parts of a range block by block: where in the range, where in the block, how long.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let within = ((offset + at as u64) % BLOCK_LEN as u64) as usize;
        let here = (BLOCK_LEN - within).min(len - at);
        let piece = (at, within, here);
        at += here;
        (here > 0).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn a_range_falls_into_pieces_of_blocks() {
        let all: Vec<_> = pieces(4090, 8192).collect();
        assert_eq!(all, [(0, 4090, 6), (6, 0, 4096), (4102, 0, 4090)]);
        assert_eq!(pieces(8192, 0).count(), 0);
    }
}
