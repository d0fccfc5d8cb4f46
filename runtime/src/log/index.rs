//! The index at the end of a sealed segment: of each record what a start has to know, without its content.
//!
//! It grows in memory while the segment is written, and is bounded: a segment whose index would be too
//! long is sealed without one and read in full at a start, as is one whose index is damaged. Nothing
//! depends on an index but the time that a start takes.
//!
//! ```text
//! entry     offset 4 | payload length 4 | id 8 | kind 1 | head length 3 | head
//! ```
//!
//! Its checksum stands in the segment's trailer and begins with the segment's stamp, so that an index of
//! another life never fits. Pure: it reads and writes no file.

use super::HEAD_LEN_MAX;
use super::record::{BLOCK_LEN, IndexPlace, RECORD_HEADER_LEN, RecordHeader, Stamp};
use super::recover::Found;

/// The longest index that is read, in bytes; whatever a trailer says, no more memory is taken.
pub(super) const INDEX_LEN_MAX: u32 = 16 << 20;

/// Bytes in front of an entry's head.
const ENTRY_LEN: usize = 20;

/// An index that grows with its segment.
#[derive(Debug)]
pub(super) struct Index {
    bytes: Vec<u8>,
    checksum: u32,
    len_max: usize,
}

impl Index {
    /// Nothing in it yet; `len_max` bytes at most will be.
    pub(super) fn new(stamp: &Stamp, len_max: u32) -> Self {
        Self {
            bytes: Vec::new(),
            checksum: seed(stamp),
            len_max: len_max.min(INDEX_LEN_MAX) as usize,
        }
    }

    /// An index for a segment of that length: it may take a quarter of it.
    pub(super) fn of_segment(stamp: &Stamp, segment_len: u32, len_max: u32) -> Self {
        Self::new(stamp, len_max.min(segment_len / 4))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of disk with one more entry, in whole blocks; `None` if that would be too long.
    pub(super) fn span_with(&self, head_len: usize) -> Option<usize> {
        let len = self.bytes.len() + ENTRY_LEN + head_len;
        (len <= self.len_max).then(|| len.next_multiple_of(BLOCK_LEN as usize))
    }

    /// Adds a record whose head comes in parts. `false`: there is no room for it.
    pub(super) fn push<'p>(
        &mut self,
        header: &RecordHeader,
        offset: u32,
        head: impl Iterator<Item = &'p [u8]>,
    ) -> bool {
        if self.span_with(header.head_len as usize).is_none() {
            return false;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&offset.to_le_bytes());
        self.bytes.extend_from_slice(&header.len.to_le_bytes());
        self.bytes.extend_from_slice(&header.id.to_le_bytes());
        let [low, middle, high, _] = header.head_len.to_le_bytes();
        self.bytes
            .extend_from_slice(&[header.kind, low, middle, high]);
        let mut left = header.head_len as usize;
        for part in head {
            let part = &part[..part.len().min(left)];
            left -= part.len();
            self.bytes.extend_from_slice(part);
            if left == 0 {
                break;
            }
        }
        assert_eq!(left, 0, "a head as long as its record says");
        self.checksum = crc32c::crc32c_append(self.checksum, &self.bytes[start..]);
        true
    }

    /// What the trailer says of it when it lies at `offset`.
    pub(super) fn place(&self, offset: u32) -> IndexPlace {
        IndexPlace {
            offset,
            len: self.bytes.len() as u32,
            checksum: self.checksum,
        }
    }
}

/// The checksum of no entries.
fn seed(stamp: &Stamp) -> u32 {
    let mut bytes = [0; 14];
    bytes[..8].copy_from_slice(&stamp.generation.to_le_bytes());
    bytes[8..12].copy_from_slice(&stamp.segment.to_le_bytes());
    bytes[12..].copy_from_slice(&stamp.log.to_le_bytes());
    crc32c::crc32c(&bytes)
}

/// An index read back and found whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries<'a> {
    bytes: &'a [u8],
}

impl<'a> Entries<'a> {
    /// The entries in `bytes`, of a segment whose batches end at `end`; `None` if they are not what was
    /// written, or cannot be.
    pub(super) fn check(
        stamp: &Stamp,
        place: &IndexPlace,
        end: u32,
        bytes: &'a [u8],
    ) -> Option<Self> {
        let bytes = bytes.get(..place.len as usize)?;
        if crc32c::crc32c_append(seed(stamp), bytes) != place.checksum {
            return None;
        }
        // All of it is looked at before anything is handed out: afterwards it would come twice.
        let mut rest = bytes;
        let mut least = BLOCK_LEN;
        while !rest.is_empty() {
            let (found, after) = split(rest)?;
            let past = u64::from(found.offset) + RecordHeader::span(found.len as usize) as u64;
            let fits = found.offset >= least
                && past <= u64::from(end)
                && found.head.len() <= (found.len as usize).min(HEAD_LEN_MAX);
            if !fits {
                return None;
            }
            least = found.offset + RECORD_HEADER_LEN as u32;
            rest = after;
        }
        Some(Self { bytes })
    }

    /// Hands out all records in log order, and says how many there were.
    pub(super) fn each(self, each: &mut dyn FnMut(Found<'_>)) -> u64 {
        let mut rest = self.bytes;
        let mut count = 0;
        while let Some((found, after)) = split(rest) {
            each(found);
            count += 1;
            rest = after;
        }
        count
    }
}

/// The entry in front, and what follows it.
fn split(bytes: &[u8]) -> Option<(Found<'_>, &[u8])> {
    let (front, rest) = bytes.split_first_chunk::<ENTRY_LEN>()?;
    let u32_at =
        |at: usize| u32::from_le_bytes([front[at], front[at + 1], front[at + 2], front[at + 3]]);
    let (head, rest) = rest.split_at_checked((u32_at(16) >> 8) as usize)?;
    let found = Found {
        kind: front[16],
        id: u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32,
        offset: u32_at(0),
        len: u32_at(4),
        head,
    };
    Some((found, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp = Stamp {
        log: 3,
        segment: 7,
        generation: 0x1234_5678_9abc_def0,
    };
    const END: u32 = 1 << 20;

    type Owned = (u8, u64, u32, u32, Vec<u8>);

    /// Records of `(length, head length)` one behind the other.
    fn records(lens: &[(u32, usize)]) -> Vec<Owned> {
        let mut offset = BLOCK_LEN + 48;
        let record = |(number, &(len, head_len)): (usize, &(u32, usize))| {
            let head_len = head_len.min(len as usize);
            let head = (0..head_len).map(|at| (at + number) as u8).collect();
            let here = offset;
            offset += RecordHeader::span(len as usize) as u32;
            (
                (number % 254) as u8 + 1,
                u64::MAX - number as u64,
                here,
                len,
                head,
            )
        };
        lens.iter().enumerate().map(record).collect()
    }

    fn index_of(records: &[Owned], len_max: u32) -> Option<Index> {
        let mut index = Index::new(&STAMP, len_max);
        let all = records.iter().all(|(kind, id, offset, len, head)| {
            let header = RecordHeader {
                kind: *kind,
                id: *id,
                len: *len,
                head_len: head.len() as u32,
                content: 0,
            };
            // In two parts, with more behind than belongs to the head.
            let (one, two) = head.split_at(head.len() / 3);
            index.push(&header, *offset, [one, two, b"content"].into_iter())
        });
        all.then_some(index)
    }

    fn read(stamp: &Stamp, place: &IndexPlace, bytes: &[u8]) -> Option<Vec<Owned>> {
        let entries = Entries::check(stamp, place, END, bytes)?;
        let mut found = Vec::new();
        let count = entries.each(&mut |record| {
            found.push((
                record.kind,
                record.id,
                record.offset,
                record.len,
                record.head.to_vec(),
            ));
        });
        assert_eq!(count, found.len() as u64);
        Some(found)
    }

    #[test]
    fn what_was_put_in_comes_out_whatever_lies_behind() {
        for lens in [
            &[][..],
            &[(0, 0)],
            &[(24, 24), (70_000, 190), (5, 0), (9, 1 << 20)],
        ] {
            let records = records(lens);
            let index = index_of(&records, 1 << 20).unwrap();
            let bytes = [index.bytes(), b"zeros or older data"].concat();
            assert_eq!(read(&STAMP, &index.place(8192), &bytes), Some(records));
        }
    }

    #[test]
    fn every_flipped_bit_every_cut_and_another_life_are_seen() {
        let index = index_of(&records(&[(24, 24), (5000, 60)]), 1 << 20).unwrap();
        let place = index.place(8192);
        let mut bytes = index.bytes().to_vec();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&STAMP, &place, &bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(read(&STAMP, &place, &bytes[..bytes.len() - 1]), None);
        for other in [
            Stamp { log: 4, ..STAMP },
            Stamp {
                segment: 8,
                ..STAMP
            },
            Stamp {
                generation: 1,
                ..STAMP
            },
        ] {
            assert_eq!(read(&other, &place, &bytes), None, "{other:?}");
        }
    }

    #[test]
    fn entries_that_cannot_be_are_refused_though_their_checksum_is_right() {
        let good = records(&[(24, 24), (5000, 60)]);
        let refused = |change: &dyn Fn(&mut Vec<Owned>)| {
            let mut records = good.clone();
            change(&mut records);
            let index = index_of(&records, 1 << 20).unwrap();
            read(&STAMP, &index.place(8192), index.bytes()).is_none()
        };
        assert!(!refused(&|_| {}));
        assert!(
            refused(&|records| records[0].2 = 8),
            "in the header's block"
        );
        assert!(
            refused(&|records| records[1].2 = records[0].2),
            "two at one place"
        );
        assert!(refused(&|records| records.reverse()), "out of order");
        assert!(refused(&|records| records[1].3 = END), "behind the end");
        assert!(
            refused(&|records| records[1].3 = u32::MAX),
            "far behind the end"
        );
        assert!(
            refused(&|records| records[1].3 = 59),
            "a head longer than its record"
        );
    }

    /// The bytes of version 1, fixed: who changes them changes `VERSION`.
    #[test]
    fn format_is_what_it_was() {
        let index = index_of(&records(&[(24, 24), (5000, 60)]), 1 << 20).unwrap();
        let place = index.place(8192);
        assert_eq!((place.len, place.checksum), (124, 3_228_256_548));
    }

    #[test]
    fn a_full_index_takes_nothing_more_and_says_so() {
        let records = records(&[(24, 24), (24, 24)]);
        assert!(index_of(&records, 88).is_some());
        assert!(index_of(&records, 87).is_none());
        let index = index_of(&records[..1], 87).unwrap();
        assert_eq!(index.span_with(24), None);
        assert_eq!(index.span_with(23), Some(4096));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, end: u32) {
            let place = IndexPlace {
                offset: 8192,
                len: bytes.len() as u32,
                checksum: crc32c::crc32c_append(seed(&STAMP), &bytes),
            };
            if let Some(entries) = Entries::check(&STAMP, &place, end, &bytes) {
                entries.each(&mut |found| assert!(found.offset < end));
            }
        }
    }
}
