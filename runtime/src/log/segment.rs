//! A segment: a file that is written in full before it is used, filled once, ended, and used again.
//!
//! Its names tell its state: `new-…` is being written in full, `spare-…` waits to be used, `reserve-…` for a
//! start on a full disk, `segment-…` is in use or the next to be. A file gets the name of a segment only after its header, with a new
//! generation, is on disk; so whatever has that name can be read. When which step is due is not decided
//! here.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::{self, File};
use super::index::Index;
use super::record::{BLOCK_LEN, IndexPlace, RecordHeader, SegmentHeader, Stamp, Trailer, VERSION};
use crate::buffer::ChunkMut;

/// Bytes of zeros written at once.
const FILL_LEN: u32 = 1024 * 1024;

/// Bytes of an index written at once.
const INDEX_PIECE_LEN: usize = 256 * 1024;

/// The kinds of file names in a log's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Segment,
    Spare,
    New,
    Reserve,
}

impl Role {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Segment, "segment-"),
        (Self::Spare, "spare-"),
        (Self::New, "new-"),
        (Self::Reserve, "reserve-"),
    ];

    /// The file of this role with that number.
    pub(super) fn path(self, directory: &Path, number: u32) -> PathBuf {
        let (_, prefix) = Self::ALL[self as usize];
        directory.join(format!("{prefix}{number:08x}"))
    }

    /// The role and number a file name tells, if it is one of ours.
    pub(super) fn parse(name: &str) -> Option<(Self, u32)> {
        Self::ALL.iter().find_map(|&(role, prefix)| {
            let digits = name
                .strip_prefix(prefix)
                .filter(|digits| digits.len() == 8)?;
            Some((role, u32::from_str_radix(digits, 16).ok()?))
        })
    }
}

/// A segment in use, or the next to be. Lives on the log's shard until it is freed.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) stamp: Stamp,
    /// Bytes of the whole file.
    pub(super) len: u32,
    pub(super) path: PathBuf,
    file: RefCell<Option<Rc<File>>>,
    /// What its records are, until that is written to its end; `None` when it is not known, or too much.
    pub(super) index: RefCell<Option<Index>>,
    /// Batches in it of which it is not known yet whether they are durable.
    pub(super) open_batches: Cell<u32>,
    /// The last batch that was begun in it.
    pub(super) last_batch: Cell<u64>,
    /// Where its batches end, once it takes no more.
    pub(super) ended: Cell<Option<u32>>,
    /// Its trailer is written, or need not be.
    pub(super) sealed: Cell<bool>,
    /// A write or a sync failed: nothing more is written to it.
    pub(super) failed: Cell<bool>,
    /// Its records are being synced.
    pub(super) syncing: Cell<bool>,
}

impl Segment {
    pub(super) fn new(stamp: Stamp, len: u32, path: PathBuf, file: Option<File>) -> Self {
        Self {
            stamp,
            len,
            path,
            file: RefCell::new(file.map(Rc::new)),
            index: RefCell::new(None),
            open_batches: Cell::new(0),
            last_batch: Cell::new(0),
            ended: Cell::new(None),
            sealed: Cell::new(false),
            failed: Cell::new(false),
            syncing: Cell::new(false),
        }
    }

    /// Where batches end at the latest.
    pub(super) const fn end(&self) -> u32 {
        self.len - BLOCK_LEN
    }

    /// Its file, opened when it is not open.
    pub(super) async fn file(&self) -> io::Result<Rc<File>> {
        let open = self.file.borrow().clone();
        if let Some(file) = open {
            return Ok(file);
        }
        let opened = Rc::new(File::open(&self.path).await?);
        // Another task may have been faster; then this one's is closed again.
        Ok(self.file.borrow_mut().get_or_insert(opened).clone())
    }

    /// Takes its file away; it is opened again when it is needed.
    pub(super) fn take_file(&self) -> Option<Rc<File>> {
        self.file.take()
    }

    /// Notes a record in the index; what is too much for it is the end of it.
    pub(super) fn note<'p>(
        &self,
        header: &RecordHeader,
        offset: u32,
        head: impl Iterator<Item = &'p [u8]>,
    ) {
        let mut index = self.index.borrow_mut();
        if let Some(kept) = index.as_mut()
            && !kept.push(header, offset, head)
        {
            *index = None;
        }
    }

    /// Writes the index and the trailer: from then on a start knows where the segment ends and what is in
    /// it. Everything before it is synced first, also what nobody has asked a sync for: a trailer says that
    /// whatever is missing before it was lost later.
    pub(super) async fn seal(&self, end: u32) -> io::Result<()> {
        let index = self.index.take();
        let file = self.file().await?;
        let index = match index {
            Some(index) => self.write_index(&file, &index, end).await?,
            None => None,
        };
        if !left_out!(SealSync) {
            file.sync().await?;
        }
        let mut block = ChunkMut::with_len(BLOCK_LEN as usize);
        let trailer = Trailer {
            end,
            last_batch: self.last_batch.get(),
            index,
        };
        trailer.encode(&self.stamp, block.as_mut_slice());
        file.write(&[&block.freeze(BLOCK_LEN as usize)], u64::from(self.end()))
            .await?;
        file.sync().await
    }

    /// Writes the index behind the batches, if it has room there.
    async fn write_index(
        &self,
        file: &File,
        index: &Index,
        end: u32,
    ) -> io::Result<Option<IndexPlace>> {
        let bytes = index.bytes();
        let span = bytes.len().next_multiple_of(BLOCK_LEN as usize);
        if span > self.end().saturating_sub(end) as usize {
            return Ok(None);
        }
        let mut at = u64::from(end);
        for piece in bytes.chunks(INDEX_PIECE_LEN) {
            let mut chunk = ChunkMut::with_len(piece.len());
            let (front, rest) = chunk.as_mut_slice().split_at_mut(piece.len());
            front.copy_from_slice(piece);
            rest.fill(0);
            let len = chunk.capacity();
            file.write(&[&chunk.freeze(len)], at).await?;
            at += len as u64;
        }
        Ok(Some(index.place(end)))
    }
}

/// Writes a file full of zeros under the name of a new one. `pace` is awaited after each piece, told how
/// many bytes are done, and can end it early.
pub(super) async fn fill(
    directory: &Path,
    number: u32,
    len: u32,
    mut pace: impl AsyncFnMut(u32) -> bool,
) -> io::Result<File> {
    let path = Role::New.path(directory, number);
    let result = async {
        let file = File::create(&path).await?;
        file.reserve(u64::from(len)).await?;
        let piece = FILL_LEN.min(len);
        let mut zeros = ChunkMut::with_len(piece as usize);
        zeros.as_mut_slice().fill(0);
        let zeros = zeros.freeze(piece as usize);
        let mut done = 0;
        while done < len {
            // The last piece reaches back over zeros already there.
            let at = done.min(len - piece);
            file.write(&[&zeros], u64::from(at)).await?;
            done = at + piece;
            if !pace(done).await {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        if !left_out!(PreparationSync) {
            file.sync().await?;
        }
        Ok(file)
    }
    .await;
    if result.is_err() {
        // Space is what is missing; a name left over is removed at the next start.
        let _ = disk::remove(&path).await;
    }
    result
}

/// Gives a file (`new-…` or `spare-…`) the header of a new life and then the name of a segment.
pub(super) async fn begin(
    directory: &Path,
    from: &Path,
    file: Option<File>,
    stamp: Stamp,
    len: u32,
) -> io::Result<Segment> {
    let file = match file {
        Some(file) => file,
        None => File::open(from).await?,
    };
    let mut block = ChunkMut::with_len(BLOCK_LEN as usize);
    SegmentHeader {
        version: VERSION,
        stamp,
        len,
    }
    .encode(block.as_mut_slice());
    file.write(&[&block.freeze(BLOCK_LEN as usize)], 0).await?;
    if !left_out!(PreparationSync) {
        file.sync().await?;
    }
    let path = Role::Segment.path(directory, stamp.segment);
    disk::rename(from, &path).await?;
    Ok(Segment::new(stamp, len, path, Some(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_role_and_number() {
        for role in [Role::Segment, Role::Spare, Role::New, Role::Reserve] {
            let path = role.path(Path::new("/log"), 0xab12);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(Role::parse(name), Some((role, 0xab12)), "{name}");
        }
        for name in [
            "segment-",
            "segment-1",
            "segment-0000000g",
            "damaged-00000001",
            "lost+found",
        ] {
            assert_eq!(Role::parse(name), None, "{name}");
        }
    }
}
