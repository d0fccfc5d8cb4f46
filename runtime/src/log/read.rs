//! Reading a record back: its commit awaited, its place and its bytes checked.

use std::io;
use std::rc::Rc;

use super::commit::Inner;
use super::disk;
use super::record::{BLOCK_LEN, RECORD_HEADER_LEN, RecordHeader};
use super::segment::Segment;
use super::{Durability, Payload, Position, ReadError, Record};
use crate::buffer::{ALIGNMENT, Chunk, align_up};

/// Bytes of a chunk read back; a long record comes in several.
const PIECE_LEN: usize = 128 * 1024;

pub(super) async fn read(inner: &Inner, position: Position) -> Result<Record, ReadError> {
    if let Some(fate) = inner.open_batch(position) {
        fate.wait(Durability::Fsync).await?;
    }
    let segment = inner
        .segment(position.segment)
        .ok_or(ReadError::Gone(position))?;
    if position.offset < BLOCK_LEN || position.offset >= segment.end() {
        return Err(ReadError::Gone(position));
    }
    inner.use_file(&segment);
    let read = match pieces(&segment, position).await {
        Ok(pieces) => decode(&segment, position, pieces).ok_or(ReadError::Damaged(position)),
        Err(source) => Err(ReadError::Io { position, source }),
    };
    // Its file may have lost its name, or become another segment, while it was being read.
    match read {
        Err(_) if inner.segment(position.segment).is_none() => Err(ReadError::Gone(position)),
        read => read,
    }
}

/// The record's blocks as they are on disk.
async fn pieces(segment: &Segment, position: Position) -> io::Result<Vec<Chunk>> {
    let file = segment.file().await?;
    let start = position.offset as usize / ALIGNMENT * ALIGNMENT;
    let end = align_up(position.offset as usize + RECORD_HEADER_LEN + position.len as usize);
    let mut pieces = Vec::with_capacity((end - start).div_ceil(PIECE_LEN));
    for at in (start..end).step_by(PIECE_LEN) {
        pieces.push(file.read(at as u64, PIECE_LEN.min(end - at)).await?);
    }
    Ok(pieces)
}

/// Cuts the payload out of the blocks, if they hold the very record that was asked for.
fn decode(segment: &Segment, position: Position, pieces: Vec<Chunk>) -> Option<Record> {
    let start = position.offset as usize % ALIGNMENT;
    let mut pieces = pieces.into_iter();
    let first = pieces.next()?;
    let bytes = first.as_slice().get(start..start + RECORD_HEADER_LEN)?;
    let header = RecordHeader::decode(&segment.stamp, position.offset, bytes)?;
    if header.len != position.len {
        return None;
    }
    let mut left = header.len as usize;
    let mut content = 0;
    let mut cut = |chunk: Chunk, from: usize| {
        let len = left.min(chunk.len() - from);
        let chunk = chunk.slice(from..from + len);
        content = crc32c::crc32c_append(content, chunk.as_slice());
        left -= len;
        chunk
    };
    let first = cut(first, start + RECORD_HEADER_LEN);
    let further = pieces.map(|piece| cut(piece, 0)).collect();
    let whole = left == 0 && content == header.content;
    let payload = Payload {
        first,
        further,
        len: header.len as usize,
    };
    whole.then_some(Record {
        kind: header.kind,
        id: header.id,
        payload,
    })
}

impl Inner {
    /// A segment's file is being used: the one that was used longest ago may have to be closed for it.
    pub(super) fn use_file(&self, segment: &Rc<Segment>) {
        let most = self.options.open_files_max;
        let closed = self.state.borrow_mut().use_file(segment, most);
        if let Some(file) = closed {
            disk::spawn(async move { file.close().await });
        }
    }

    /// The segment of that number, if it is in use.
    fn segment(&self, number: u32) -> Option<Rc<Segment>> {
        let state = self.state.borrow();
        let at = state
            .segments
            .partition_point(|segment| segment.stamp.segment < number);
        let segment = state.segments.get(at)?;
        (segment.stamp.segment == number).then(|| segment.clone())
    }
}
