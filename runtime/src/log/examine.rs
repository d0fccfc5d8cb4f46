//! One segment's bytes read as a start reads them, without a disk: for whoever has bytes and no log,
//! such as tests that bring any bytes at all. Pure; what to do about damage is not decided here.

use super::record::{BLOCK_LEN, SegmentHeader, Trailer, VERSION};
use super::recover::{Found, Scanner, Summary};
use super::{Position, RecordView};

/// What a segment's bytes hold beside the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// Whole records.
    pub record_count: u64,
    /// Where the last batch ends.
    pub end: u32,
    /// Bytes damaged in what was promised.
    pub hole_len: u64,
    /// Bytes damaged at the end, never promised.
    pub torn_len: u64,
}

/// Reads a segment in pieces of `piece_len` bytes. `None`: its header is not whole, or not of this version.
pub fn examine(
    segment: &[u8],
    piece_len: usize,
    each: &mut dyn FnMut(RecordView<'_>),
) -> Option<Examined> {
    let header = SegmentHeader::decode(segment)?;
    if header.version > VERSION || !header.is_possible() {
        return None;
    }
    let at = header.len - BLOCK_LEN;
    let trailer = segment
        .get(at as usize..header.len as usize)
        .and_then(|block| Trailer::decode(&header.stamp, block))
        .filter(|found| found.fits(at));
    let mut view = |found: Found<'_>| {
        each(RecordView {
            kind: found.kind,
            id: found.id,
            position: Position {
                segment: header.stamp.segment,
                offset: found.offset,
                len: found.len,
            },
            head: found.head,
        });
    };
    let sealed = trailer.map(|trailer| trailer.end);
    let mut scanner = Scanner::new(header.stamp, header.len, sealed);
    let mut window = Vec::new();
    let batches = segment.get(BLOCK_LEN as usize..).unwrap_or_default();
    let mut pieces = batches.chunks(piece_len.max(1));
    while !scanner.is_done() {
        let Some(piece) = pieces.next() else { break };
        window.extend_from_slice(piece);
        let used = scanner.feed(&window, &mut view);
        window.drain(..used);
    }
    Some(scanner.finish().into())
}

impl From<Summary> for Examined {
    fn from(summary: Summary) -> Self {
        let len = |ranges: &[super::recover::Range]| {
            ranges
                .iter()
                .map(|range| u64::from(range.to - range.from))
                .sum()
        };
        Self {
            record_count: summary.record_count,
            end: summary.end,
            hole_len: len(&summary.holes),
            torn_len: len(&summary.torn),
        }
    }
}
