//! One segment read as a start reads it: by its index where that is whole, else in full. Nothing is
//! written here, and what becomes of damage is not decided here.
//!
//! First comes what can be read ahead (`Front`: header, trailer, index), then, in log order, the records.

use std::io;
use std::path::{Path, PathBuf};

use super::ahead::Ahead;
use super::disk::File;
use super::index::{Entries, INDEX_LEN_MAX, Index};
use super::record::{BLOCK_LEN, RecordHeader, SegmentHeader, Trailer, VERSION};
use super::recover::{Found, Range, Scanner, Summary, WINDOW_MIN};
use super::segment::Role;
use super::{LogError, Options, Position, RecordView, Report};
use crate::buffer::{Chunk, align_up};

/// Bytes asked from the disk at once.
pub(super) const READ_LEN: usize = 1 << 20;

/// So many pieces of a segment that is read in full are asked for at the same time.
const READ_DEPTH: usize = 3;

/// So many segments' fronts are read at the same time: a front takes five requests one after the other,
/// and while one segment's records are handed out the others must not stand still.
pub(super) const FRONT_DEPTH: usize = 6;

/// How a segment is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By its index, in full only without one.
    ByIndex,
    /// In full; an index is only looked at.
    InFull,
}

pub(super) fn at<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl FnOnce(io::Error) -> LogError + use<'p> {
    move |source| LogError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}

/// What says of a segment how it is to be read.
pub(super) struct Front {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) file_len: u64,
    pub(super) header: SegmentHeader,
    pub(super) trailer: Option<Trailer>,
    /// The index's bytes, unchecked.
    index: Option<Chunk>,
}

/// A segment's file, read and not touched.
pub(super) struct Replayed {
    pub(super) front: Front,
    pub(super) summary: Summary,
    /// What an index of all that was found would be, if it was read in full and the index is not too long.
    pub(super) index: Option<Index>,
}

/// Of damage in a segment that a start has ended behind a torn end: where the index knows of no record, none
/// was promised.
fn tell_torn(entries: Entries<'_>, summary: &mut Summary) {
    let holes = std::mem::take(&mut summary.holes);
    let mut promised = vec![false; holes.len()];
    entries.each(&mut |found| {
        let end = found.offset + RecordHeader::span(found.len as usize) as u32;
        let from = holes.partition_point(|hole| hole.to <= found.offset);
        let here = holes[from..].iter().take_while(|hole| hole.from < end);
        promised[from..from + here.count()].fill(true);
    });
    for (hole, promised) in holes.into_iter().zip(promised) {
        if promised {
            summary.holes.push(hole);
        } else {
            summary.torn.push(hole);
        }
    }
}

/// Reads a segment's header, its trailer and its index. `Err` within: the length of a file without a
/// header.
pub(super) async fn front(
    options: &Options,
    directory: &Path,
    number: u32,
) -> Result<Result<Front, u64>, LogError> {
    let path = Role::Segment.path(directory, number);
    let file = File::open(&path).await.map_err(at("opening", &path))?;
    let file_len = file
        .len()
        .await
        .map_err(at("asking the length of", &path))?;
    let block = file
        .read(0, BLOCK_LEN as usize)
        .await
        .map_err(at("reading", &path))?;
    let Some(header) = SegmentHeader::decode(block.as_slice()) else {
        return Ok(Err(file_len));
    };
    if header.version > VERSION {
        return Err(LogError::NewerVersion {
            path,
            found: header.version,
            supported: VERSION,
        });
    }
    if header.stamp.log != options.log {
        let found = header.stamp.log;
        return Err(LogError::Foreign {
            path,
            found,
            expected: options.log,
        });
    }
    if header.stamp.segment != number {
        let found = header.stamp.segment;
        return Err(LogError::Misnamed { path, found });
    }
    if !header.is_possible() {
        return Ok(Err(file_len));
    }
    let trailer = read_trailer(&file, &header)
        .await
        .map_err(at("reading", &path))?;
    let index = match trailer.and_then(|trailer| trailer.index) {
        // Nothing is written as an index of nothing, and nothing cannot be read.
        Some(place) if place.len > 0 => {
            let read = file.read(u64::from(place.offset), align_up(place.len as usize));
            Some(read.await.map_err(at("reading", &path))?)
        }
        _ => None,
    };
    Ok(Ok(Front {
        file,
        path,
        file_len,
        header,
        trailer,
        index,
    }))
}

async fn read_trailer(file: &File, header: &SegmentHeader) -> io::Result<Option<Trailer>> {
    let at = header.len - BLOCK_LEN;
    let block = file.read(u64::from(at), BLOCK_LEN as usize).await?;
    if block.len() < BLOCK_LEN as usize {
        return Ok(None);
    }
    Ok(Trailer::decode(&header.stamp, block.as_slice()).filter(|trailer| trailer.fits(at)))
}

impl Front {
    /// What the file is too short for. It was written in full before it got its name, so that was there.
    pub(super) fn missing(&self) -> Option<Range> {
        let (from, to) = (self.file_len, self.header.len);
        (from < u64::from(to)).then_some(Range {
            from: from as u32,
            to,
        })
    }

    /// The index, if there is one and it is whole.
    fn entries(&self) -> Option<Entries<'_>> {
        let trailer = self.trailer.as_ref()?;
        let (place, bytes) = (trailer.index.as_ref()?, self.index.as_ref()?);
        Entries::check(&self.header.stamp, place, trailer.end, bytes.as_slice())
    }

    /// Hands out the segment's records.
    pub(super) async fn replay(
        mut self,
        options: &Options,
        how: How,
        report: &mut Report,
        each: &mut dyn FnMut(RecordView<'_>),
    ) -> Result<Replayed, LogError> {
        let stamp = self.header.stamp;
        let Report {
            record_count,
            highest_id,
            ..
        } = report;
        let mut view = |found: Found<'_>| {
            *record_count += 1;
            *highest_id = (*highest_id).max(Some(found.id));
            each(RecordView {
                kind: found.kind,
                id: found.id,
                position: Position {
                    segment: stamp.segment,
                    offset: found.offset,
                    len: found.len,
                },
                head: found.head,
            });
        };
        let entries = self.entries();
        let whole = entries.is_some();
        if let (How::ByIndex, Some(entries), Some(trailer)) = (how, entries, self.trailer) {
            let summary = Summary {
                record_count: entries.each(&mut view),
                last_batch: Some(trailer.last_batch),
                end: trailer.end,
                ..Summary::default()
            };
            report.indexed_count += 1;
            self.index = None;
            return Ok(Replayed {
                front: self,
                summary,
                index: None,
            });
        }
        if how == How::ByIndex {
            self.index = None;
        }
        let len_max = match how {
            How::ByIndex => options.index_len_max,
            How::InFull => INDEX_LEN_MAX,
        };
        let mut index = Some(Index::of_segment(&stamp, self.header.len, len_max));
        let mut summary = self
            .scan(&mut |found| {
                note(&mut index, &found);
                view(found);
            })
            .await
            .map_err(at("reading", &self.path))?;
        if let Some(entries) = self.entries() {
            tell_torn(entries, &mut summary);
        }
        if let Some(place) = self.trailer.and_then(|trailer| trailer.index) {
            // Where the segment is whole its index has to be what was found, and nothing else.
            let right = whole
                && (!summary.holes.is_empty()
                    || index.as_ref().map(|index| index.place(place.offset)) == Some(place));
            if right {
                report.indexed_count += 1;
            } else {
                report.index_damaged.push(stamp.segment);
            }
        }
        Ok(Replayed {
            front: self,
            summary,
            index,
        })
    }

    /// Reads everything between header and trailer. Holds one window and a few pieces read ahead, whatever
    /// the segment's length.
    async fn scan(&self, each: &mut dyn FnMut(Found<'_>)) -> io::Result<Summary> {
        let sealed = self.trailer.map(|trailer| trailer.end);
        let end = u64::from(sealed.unwrap_or(self.header.len - BLOCK_LEN));
        let mut scanner = Scanner::new(self.header.stamp, self.header.len, sealed);
        let offsets = (u64::from(BLOCK_LEN)..end).step_by(READ_LEN);
        let piece_len = |offset: u64| (end - offset).min(READ_LEN as u64) as usize;
        let reads = offsets.map(|offset| self.file.read(offset, piece_len(offset)));
        let mut pieces = Ahead::new(READ_DEPTH, reads);
        let mut window = Vec::with_capacity(WINDOW_MIN + READ_LEN);
        while !scanner.is_done() {
            let Some(piece) = pieces.next().await.transpose()? else {
                break;
            };
            if piece.is_empty() {
                break;
            }
            window.extend_from_slice(piece.as_slice());
            let used = scanner.feed(&window, each);
            window.drain(..used);
        }
        Ok(scanner.finish())
    }
}

/// Puts a record into an index that is made anew.
fn note(index: &mut Option<Index>, found: &Found<'_>) {
    let header = RecordHeader {
        kind: found.kind,
        id: found.id,
        len: found.len,
        head_len: found.head.len() as u32,
        content: 0,
    };
    let head = std::iter::once(found.head);
    if let Some(kept) = index
        && !kept.push(&header, found.offset, head)
    {
        *index = None;
    }
}
