//! Packing records into a batch. Pure: it writes into the memory it is given and knows no disk.

use super::record::{BATCH_HEADER_LEN, BatchHeader, RECORD_HEADER_LEN, RecordHeader, Stamp};
use super::{Label, Position};
use crate::buffer::align_up;

/// A batch being filled: what is where in the memory that belongs to it.
#[derive(Debug)]
pub(super) struct Batch {
    stamp: Stamp,
    /// Where the batch will start in its segment.
    offset: u32,
    number: u64,
    used: usize,
    record_count: u32,
    /// Batches before it that have no word yet.
    open_before: u32,
}

impl Batch {
    pub(super) const fn new(stamp: Stamp, offset: u32, number: u64, open_before: u32) -> Self {
        Self {
            stamp,
            offset,
            number,
            used: BATCH_HEADER_LEN,
            record_count: 0,
            open_before,
        }
    }

    /// Bytes of disk of a batch that holds one payload of `len` bytes.
    pub(super) const fn len_of_one(len: usize) -> usize {
        align_up(BATCH_HEADER_LEN + RecordHeader::span(len))
    }

    /// Whether a payload of `len` bytes still fits into `capacity`.
    pub(super) const fn fits(&self, len: usize, capacity: usize) -> bool {
        self.used + RecordHeader::span(len) <= capacity
    }

    /// Bytes of disk it needs with one more payload of `len` bytes.
    pub(super) const fn len_with(&self, len: usize) -> usize {
        align_up(self.used + RecordHeader::span(len))
    }

    /// Bytes of disk it needs as it is.
    pub(super) const fn len(&self) -> usize {
        align_up(self.used)
    }

    /// Copies a record behind the others; its header says where it lies.
    pub(super) fn push<'p>(
        &mut self,
        memory: &mut [u8],
        label: &Label,
        parts: impl Iterator<Item = &'p [u8]>,
    ) -> (Position, RecordHeader) {
        let start = self.used;
        let mut at = start + RECORD_HEADER_LEN;
        let mut content = 0;
        for part in parts {
            memory[at..at + part.len()].copy_from_slice(part);
            content = crc32c::crc32c_append(content, part);
            at += part.len();
        }
        let len = at - start - RECORD_HEADER_LEN;
        self.used = start + RecordHeader::span(len);
        memory[at..self.used].fill(0);
        self.head(memory, start, label, len, content)
    }

    /// Writes the header and clears the rest of the last block; the batch is then the memory's first
    /// [`Batch::len`] bytes. So many batches before it have no word at this moment.
    pub(super) fn finish(&mut self, memory: &mut [u8], open_before: u32) {
        self.open_before = open_before;
        memory[self.used..self.len()].fill(0);
        self.header(self.used)
            .encode(&self.stamp, self.offset, memory);
    }

    /// Makes a batch of one record whose payload lies already where it belongs: in `first` from `ROOM`
    /// on, and in `further`. Clears the rest of the last chunk's last block.
    pub(super) fn wrap<'m>(
        mut self,
        first: &mut [u8],
        further: impl Iterator<Item = &'m mut [u8]>,
        label: &Label,
        len: usize,
    ) -> (Position, RecordHeader) {
        debug_assert_eq!(self.record_count, 0, "a batch of its own");
        let start = BATCH_HEADER_LEN + RECORD_HEADER_LEN;
        let mut content = 0;
        let mut left = len;
        let mut take = |part: &mut [u8]| {
            let here = left.min(part.len());
            content = crc32c::crc32c_append(content, &part[..here]);
            left -= here;
            part[here..].fill(0);
        };
        take(&mut first[start..]);
        further.for_each(&mut take);
        assert_eq!(left, 0, "the chunks hold the payload");

        let placed = self.head(first, BATCH_HEADER_LEN, label, len, content);
        let used = BATCH_HEADER_LEN + RecordHeader::span(len);
        self.header(used).encode(&self.stamp, self.offset, first);
        placed
    }

    /// Writes the header of the next record, whose payload stands behind it: `start` bytes into the batch.
    fn head(
        &mut self,
        memory: &mut [u8],
        start: usize,
        label: &Label,
        len: usize,
        content: u32,
    ) -> (Position, RecordHeader) {
        let offset = self.offset + start as u32;
        let header = RecordHeader {
            kind: label.kind,
            id: label.id,
            len: len as u32,
            head_len: label.head_len_of(len) as u32,
            content,
        };
        header.encode(&self.stamp, offset, &mut memory[start..]);
        self.record_count += 1;
        let position = Position {
            segment: self.stamp.segment,
            offset,
            len: len as u32,
        };
        (position, header)
    }

    const fn header(&self, used: usize) -> BatchHeader {
        BatchHeader {
            number: self.number,
            len: used as u32,
            record_count: self.record_count,
            open_before: self.open_before,
        }
    }
}
