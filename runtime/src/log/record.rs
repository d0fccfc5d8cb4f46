//! The format on disk, encoded and decoded. Pure: bytes in, values out.
//!
//! ```text
//! segment   header block | batch | batch | … | zeros or older data | trailer block
//! batch     header (48) | record | record | … | zeros up to the next 4096
//! record    header (32) | payload | zeros up to the next 8
//! ```
//!
//! A segment that was ended in order may have an index of its records behind its last batch (see `index`).
//!
//! Segments are reused without being cleared, so old records with right checksums lie everywhere. Each
//! header therefore names its generation (a random number of the segment's present life) and has its own
//! place under its checksum: what does not fit was written in another life, or elsewhere. The random
//! generation also means that no sender can put a forged record into a message.
//!
//! All numbers are little-endian. Where what is read and which of it counts is not decided here.

use crate::buffer::ALIGNMENT;

/// The format written; a segment with a higher one is refused.
pub const VERSION: u16 = 1;

/// The block in front of the batches, and the one behind them.
pub(super) const BLOCK_LEN: u32 = ALIGNMENT as u32;

/// A second copy of the segment's header, in another sector of the same block.
const HEADER_COPY: usize = 2048;

pub(super) const BATCH_HEADER_LEN: usize = 48;
pub(super) const RECORD_HEADER_LEN: usize = 32;
const _: () = assert!(BATCH_HEADER_LEN + RECORD_HEADER_LEN == super::ROOM);

/// Records start on a multiple of this.
pub(super) const RECORD_ALIGNMENT: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"\x89rlSEG\r\n";
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"\x89rlB");
const TRAILER_MAGIC: u32 = u32::from_le_bytes(*b"\x89rlT");

/// The log's own kinds, never handed out.
pub(super) const KIND_NONE: u8 = 0;
pub(super) const KIND_LOG: u8 = 255;

/// What makes a header belong to this life of this segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) log: u16,
    pub(super) segment: u32,
    pub(super) generation: u64,
}

/// Writes fields one after the other.
struct Put<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Put<'a> {
    const fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    fn bytes<const N: usize>(&mut self, bytes: [u8; N]) -> &mut Self {
        self.out[self.at..self.at + N].copy_from_slice(&bytes);
        self.at += N;
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(value.to_le_bytes())
    }

    /// The checksum of all before it.
    fn checksum(&mut self) {
        let checksum = crc32c::crc32c(&self.out[..self.at]);
        self.u32(checksum);
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn checksum_holds(bytes: &[u8], at: usize) -> bool {
    crc32c::crc32c(&bytes[..at]) == u32_at(bytes, at)
}

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) version: u16,
    pub(super) stamp: Stamp,
    /// Bytes of the whole segment.
    pub(super) len: u32,
}

impl SegmentHeader {
    const CHECKSUM: usize = 44;

    /// Whether a segment can have this length: between its header and its trailer there may be a batch.
    pub(super) const fn is_possible(&self) -> bool {
        self.len >= 2 * BLOCK_LEN && self.len.is_multiple_of(BLOCK_LEN)
    }

    /// Fills the segment's first block.
    pub(super) fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        for at in [0, HEADER_COPY] {
            let mut put = Put::new(&mut block[at..]);
            put.bytes(SEGMENT_MAGIC)
                .u16(self.version)
                .u16(self.stamp.log)
                .u32(self.stamp.segment);
            put.u64(self.stamp.generation).u32(self.len);
            // Place for what a later version must say in front of everything.
            put.u64(0).u64(0).checksum();
        }
    }

    /// Reads the first block by whichever copy is whole. This much of the layout holds for every later
    /// version, so that it can be refused by its number.
    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        [0, HEADER_COPY].into_iter().find_map(|at| {
            let bytes = block.get(at..at + Self::CHECKSUM + 4)?;
            if bytes[..8] != SEGMENT_MAGIC || !checksum_holds(bytes, Self::CHECKSUM) {
                return None;
            }
            let stamp = Stamp {
                log: u16_at(bytes, 10),
                segment: u32_at(bytes, 12),
                generation: u64_at(bytes, 16),
            };
            Some(Self {
                version: u16_at(bytes, 8),
                stamp,
                len: u32_at(bytes, 24),
            })
        })
    }
}

/// The header of what is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// Counts up by one from batch to batch, over all segments.
    pub(super) number: u64,
    /// Bytes from the header's start to the end of the last record.
    pub(super) len: u32,
    pub(super) record_count: u32,
    /// How many of the batches right before it were not confirmed when it was completed: what is missing of
    /// them was not promised.
    pub(super) open_before: u32,
}

impl BatchHeader {
    const CHECKSUM: usize = 44;

    pub(super) fn encode(&self, stamp: &Stamp, offset: u32, out: &mut [u8]) {
        let mut put = Put::new(out);
        put.u32(BATCH_MAGIC)
            .u16(VERSION)
            .u16(stamp.log)
            .u64(stamp.generation);
        put.u32(stamp.segment).u32(offset).u64(self.number);
        put.u32(self.len).u32(self.record_count);
        put.u32(self.open_before).checksum();
    }

    pub(super) fn decode(stamp: &Stamp, offset: u32, bytes: &[u8]) -> Option<Self> {
        let fits = Self::claims(stamp, bytes)
            && checksum_holds(bytes, Self::CHECKSUM)
            && u16_at(bytes, 6) == stamp.log
            && u32_at(bytes, 16) == stamp.segment
            && u32_at(bytes, 20) == offset;
        let header = Self {
            number: u64_at(bytes, 24),
            len: u32_at(bytes, 32),
            record_count: u32_at(bytes, 36),
            open_before: u32_at(bytes, 40),
        };
        (fits && header.len as usize >= BATCH_HEADER_LEN).then_some(header)
    }

    /// Whether this was once meant as a batch of this life, whole or not.
    pub(super) fn claims(stamp: &Stamp, bytes: &[u8]) -> bool {
        u64_at(bytes, 8) == stamp.generation && u32_at(bytes, 0) == BATCH_MAGIC
    }
}

/// The header in front of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) kind: u8,
    pub(super) id: u64,
    /// Bytes of payload.
    pub(super) len: u32,
    /// Bytes of its front that a start has to know; at most `len`.
    pub(super) head_len: u32,
    /// CRC32C of the payload.
    pub(super) content: u32,
}

const _: () = assert!(
    super::HEAD_LEN_MAX < 1 << 24,
    "a head's length has three bytes"
);

impl RecordHeader {
    /// Bytes from this record's start to the next one's.
    pub(super) const fn span(len: usize) -> usize {
        RECORD_HEADER_LEN + len.next_multiple_of(RECORD_ALIGNMENT)
    }

    /// The checksum of the rest of the header, and of where it stands.
    fn checksum(stamp: &Stamp, offset: u32, bytes: &[u8]) -> u32 {
        let mut place = [0; 8];
        Put::new(&mut place).u32(stamp.segment).u32(offset);
        crc32c::crc32c_append(crc32c::crc32c(&place), &bytes[4..RECORD_HEADER_LEN])
    }

    pub(super) fn encode(&self, stamp: &Stamp, offset: u32, out: &mut [u8]) {
        let mut put = Put::new(out);
        put.u32(0).u32(self.content).u32(self.len);
        let [low, middle, high, _] = self.head_len.to_le_bytes();
        put.bytes([self.kind, low, middle, high])
            .u64(self.id)
            .u64(stamp.generation);
        let checksum = Self::checksum(stamp, offset, out);
        out[..4].copy_from_slice(&checksum.to_le_bytes());
    }

    pub(super) fn decode(stamp: &Stamp, offset: u32, bytes: &[u8]) -> Option<Self> {
        let fits =
            Self::claims(stamp, bytes) && u32_at(bytes, 0) == Self::checksum(stamp, offset, bytes);
        fits.then(|| Self {
            kind: bytes[12],
            id: u64_at(bytes, 16),
            len: u32_at(bytes, 8),
            head_len: (u32_at(bytes, 12) >> 8).min(u32_at(bytes, 8)),
            content: u32_at(bytes, 4),
        })
    }

    /// Whether this may once have been meant as a record of this life, whole or not.
    pub(super) fn claims(stamp: &Stamp, bytes: &[u8]) -> bool {
        u64_at(bytes, 24) == stamp.generation
    }
}

/// Where the index of a sealed segment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexPlace {
    pub(super) offset: u32,
    /// Bytes of entries.
    pub(super) len: u32,
    /// CRC32C of the stamp and the entries.
    pub(super) checksum: u32,
}

/// The last block of a segment that was ended in order: everything before it was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the next batch would have started.
    pub(super) end: u32,
    /// The number of the last batch.
    pub(super) last_batch: u64,
    /// The index of the records, when there is one.
    pub(super) index: Option<IndexPlace>,
}

impl Trailer {
    const CHECKSUM: usize = 44;

    /// Fills the segment's last block.
    pub(super) fn encode(&self, stamp: &Stamp, block: &mut [u8]) {
        block.fill(0);
        let mut put = Put::new(block);
        put.u32(TRAILER_MAGIC)
            .u16(VERSION)
            .u16(stamp.log)
            .u64(stamp.generation);
        put.u32(stamp.segment).u32(self.end).u64(self.last_batch);
        // No index lies at 0.
        let (offset, len, checksum) = self
            .index
            .map_or((0, 0, 0), |index| (index.offset, index.len, index.checksum));
        put.u32(offset).u32(len).u32(checksum).checksum();
    }

    /// Whether what it says can be in a segment whose trailer lies at `at`.
    pub(super) fn fits(&self, at: u32) -> bool {
        let between = |offset: u32, len: u32| {
            offset.is_multiple_of(BLOCK_LEN) && u64::from(offset) + u64::from(len) <= u64::from(at)
        };
        self.end >= BLOCK_LEN
            && between(self.end, 0)
            && self.index.is_none_or(|index| {
                index.offset >= self.end
                    && between(index.offset, index.len)
                    && index.len <= super::index::INDEX_LEN_MAX
            })
    }

    pub(super) fn decode(stamp: &Stamp, block: &[u8]) -> Option<Self> {
        let fits = u32_at(block, 0) == TRAILER_MAGIC
            && u64_at(block, 8) == stamp.generation
            && u16_at(block, 6) == stamp.log
            && u32_at(block, 16) == stamp.segment
            && checksum_holds(block, Self::CHECKSUM);
        fits.then(|| Self {
            end: u32_at(block, 20),
            last_batch: u64_at(block, 24),
            index: (u32_at(block, 32) > 0).then(|| IndexPlace {
                offset: u32_at(block, 32),
                len: u32_at(block, 36),
                checksum: u32_at(block, 40),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        log: 3,
        segment: 7,
        generation: 0x1234_5678_9abc_def0,
    };

    /// Each header: encoded, decoded the same, and refused after any change of one bit, and elsewhere.
    #[test]
    fn headers_survive_and_every_flipped_bit_is_seen() {
        let batch = BatchHeader {
            number: 9,
            len: 4000,
            record_count: 2,
            open_before: 1,
        };
        let mut bytes = [0; BATCH_HEADER_LEN];
        batch.encode(&STAMP, 8192, &mut bytes);
        assert_eq!(BatchHeader::decode(&STAMP, 8192, &bytes), Some(batch));
        assert_eq!(BatchHeader::decode(&STAMP, 4096, &bytes), None);
        flip_each(&mut bytes, |bytes| {
            BatchHeader::decode(&STAMP, 8192, bytes).is_none()
        });

        let record = RecordHeader {
            kind: 1,
            id: u64::MAX,
            len: 77,
            head_len: 2,
            content: 5,
        };
        let mut bytes = [0; RECORD_HEADER_LEN];
        record.encode(&STAMP, 8240, &mut bytes);
        assert_eq!(RecordHeader::decode(&STAMP, 8240, &bytes), Some(record));
        assert_eq!(RecordHeader::decode(&STAMP, 8248, &bytes), None);
        flip_each(&mut bytes, |bytes| {
            RecordHeader::decode(&STAMP, 8240, bytes).is_none()
        });

        let trailer = Trailer {
            end: 12288,
            last_batch: 9,
            index: Some(IndexPlace {
                offset: 16384,
                len: 77,
                checksum: 5,
            }),
        };
        let mut block = [0; BLOCK_LEN as usize];
        trailer.encode(&STAMP, &mut block);
        assert_eq!(Trailer::decode(&STAMP, &block), Some(trailer));
        flip_each(&mut block[..48], |bytes| {
            Trailer::decode(&STAMP, bytes).is_none()
        });
        let plain = Trailer {
            index: None,
            ..trailer
        };
        plain.encode(&STAMP, &mut block);
        assert_eq!(Trailer::decode(&STAMP, &block), Some(plain));
    }

    fn flip_each(bytes: &mut [u8], refused: impl Fn(&[u8]) -> bool) {
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(bytes), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn other_lives_are_refused() {
        let mut bytes = [0; BATCH_HEADER_LEN];
        BatchHeader {
            number: 9,
            len: 4000,
            record_count: 2,
            open_before: 1,
        }
        .encode(&STAMP, 8192, &mut bytes);
        for other in [
            Stamp { log: 4, ..STAMP },
            Stamp {
                segment: 8,
                ..STAMP
            },
            Stamp {
                generation: STAMP.generation + 1,
                ..STAMP
            },
        ] {
            assert_eq!(BatchHeader::decode(&other, 8192, &bytes), None, "{other:?}");
        }
        let mut bytes = [0; RECORD_HEADER_LEN];
        RecordHeader {
            kind: 1,
            id: 2,
            len: 3,
            head_len: 2,
            content: 4,
        }
        .encode(&STAMP, 8240, &mut bytes);
        for other in [
            Stamp {
                segment: 8,
                ..STAMP
            },
            Stamp {
                generation: STAMP.generation + 1,
                ..STAMP
            },
        ] {
            assert_eq!(
                RecordHeader::decode(&other, 8240, &bytes),
                None,
                "{other:?}"
            );
        }
    }

    #[test]
    fn segment_header_survives_the_loss_of_either_copy() {
        let header = SegmentHeader {
            version: VERSION,
            stamp: STAMP,
            len: 65536,
        };
        for lost in [0..48, HEADER_COPY..HEADER_COPY + 48] {
            let mut block = [0; BLOCK_LEN as usize];
            header.encode(&mut block);
            assert_eq!(SegmentHeader::decode(&block), Some(header));
            block[lost].fill(0xff);
            assert_eq!(SegmentHeader::decode(&block), Some(header));
        }
        assert_eq!(SegmentHeader::decode(&[0; BLOCK_LEN as usize]), None);
    }

    /// The bytes of version 1, fixed: who changes them changes `VERSION`.
    #[test]
    fn format_is_what_it_was() {
        let mut block = [0; BLOCK_LEN as usize];
        SegmentHeader {
            version: VERSION,
            stamp: STAMP,
            len: 65536,
        }
        .encode(&mut block);
        let mut batch = [0; BATCH_HEADER_LEN];
        BatchHeader {
            number: 9,
            len: 4000,
            record_count: 2,
            open_before: 1,
        }
        .encode(&STAMP, 8192, &mut batch);
        let mut record = [0; RECORD_HEADER_LEN];
        RecordHeader {
            kind: 1,
            id: 2,
            len: 3,
            head_len: 2,
            content: 4,
        }
        .encode(&STAMP, 8240, &mut record);
        let mut trailer = [0; BLOCK_LEN as usize];
        Trailer {
            end: 12288,
            last_batch: 9,
            index: Some(IndexPlace {
                offset: 16384,
                len: 77,
                checksum: 5,
            }),
        }
        .encode(&STAMP, &mut trailer);
        // A header with its own checksum behind it always has the same one, so that is what is compared.
        let all = [
            u32_at(&block, 44),
            u32_at(&batch, 44),
            u32_at(&record, 0),
            u32_at(&trailer, 44),
        ];
        assert_eq!(
            all,
            [1_591_860_464, 1_861_047_432, 2_036_237_037, 410_161_691]
        );
    }
}
