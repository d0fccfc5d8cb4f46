//! Segments in memory, hurt in every way, and read again. The twin of the scanner is the list of records
//! that were put in, less those that the damage touches.

use proptest::prelude::*;

use super::*;
use crate::log::Label;
use crate::log::batch::Batch;
use crate::log::record::Stamp;

const STAMP: Stamp = Stamp {
    log: 1,
    segment: 9,
    generation: 0x5eed_0000_1234_9876,
};

/// A record with the bytes of the segment that belong to it, its padding not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    kind: u8,
    id: u64,
    payload: Vec<u8>,
    from: usize,
    to: usize,
}

/// A segment in memory with what it holds.
struct Image {
    bytes: Vec<u8>,
    records: Vec<Known>,
    /// Where each batch starts, and the end of the last.
    batches: Vec<usize>,
}

impl Image {
    /// Batches of payloads of the given lengths, over what `bytes` held before.
    fn write(bytes: Vec<u8>, stamp: Stamp, batches: &[Vec<usize>]) -> Self {
        Self::write_open(bytes, stamp, batches, 0)
    }

    /// As [`Image::write`], each batch while so many before it had no word.
    fn write_open(
        mut bytes: Vec<u8>,
        stamp: Stamp,
        batches: &[Vec<usize>],
        open_before: u32,
    ) -> Self {
        let mut image = Self {
            records: Vec::new(),
            batches: vec![],
            bytes: vec![],
        };
        let mut offset = BLOCK_LEN as usize;
        let mut id = 0;
        for (number, lens) in batches.iter().enumerate() {
            let mut batch = Batch::new(stamp, offset as u32, number as u64 + 7, open_before);
            image.batches.push(offset);
            for &len in lens {
                id += 1;
                let payload: Vec<u8> = (0..len).map(|at| (at as u64 * 7 + id) as u8).collect();
                let parts = [&payload[..len / 3], &payload[len / 3..]];
                let kind = (id % 200) as u8 + 1;
                let (position, _) = batch.push(
                    &mut bytes[offset..],
                    &Label::now(kind, id),
                    parts.into_iter(),
                );
                let from = position.offset as usize;
                let to = from + RECORD_HEADER_LEN + len;
                image.records.push(Known {
                    kind,
                    id,
                    payload,
                    from,
                    to,
                });
            }
            batch.finish(&mut bytes[offset..], open_before);
            offset += batch.len();
        }
        image.batches.push(offset);
        image.bytes = bytes;
        image
    }

    fn end(&self) -> usize {
        self.batches[self.batches.len() - 1]
    }

    /// The records that have no byte in the range.
    fn without(&self, range: std::ops::Range<usize>) -> Vec<Known> {
        let clear = |known: &&Known| known.to <= range.start || known.from >= range.end;
        self.records.iter().filter(clear).cloned().collect()
    }
}

/// Feeds the segment in pieces of the lengths that `cut` gives, and collects what is found.
fn scan(
    bytes: &[u8],
    sealed: Option<usize>,
    mut cut: impl FnMut() -> usize,
) -> (Vec<Known>, Summary) {
    let mut records = Vec::new();
    let mut each = |found: Found<'_>| {
        records.push(Known {
            kind: found.kind,
            id: found.id,
            payload: found.head.to_vec(),
            from: found.offset as usize,
            to: found.offset as usize + RECORD_HEADER_LEN + found.len as usize,
        });
    };
    let mut scanner = Scanner::new(STAMP, LEN as u32, sealed.map(|end| end as u32));
    let mut window = Vec::new();
    let mut at = BLOCK_LEN as usize;
    while at < bytes.len() && !scanner.is_done() {
        let piece = cut().clamp(1, bytes.len() - at);
        window.extend_from_slice(&bytes[at..at + piece]);
        at += piece;
        let used = scanner.feed(&window, &mut each);
        assert!(
            used > 0 || window.len() < WINDOW_MIN,
            "a full window is of use"
        );
        window.drain(..used);
    }
    (records, scanner.finish())
}

fn scan_whole(bytes: &[u8]) -> (Vec<Known>, Summary) {
    scan(bytes, None, || usize::MAX)
}

const LEN: usize = 128 * 1024;

/// What a reused segment is full of: whole records of an older life, at the same places.
fn old_life() -> Vec<u8> {
    let stamp = Stamp {
        generation: STAMP.generation ^ 1,
        segment: 3,
        ..STAMP
    };
    let lens = vec![vec![100, 3000, 900, 8]; 15];
    Image::write(vec![0; LEN], stamp, &lens).bytes
}

fn background() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(vec![0; LEN]), Just(old_life()), Just(vec![0xff; LEN])]
}

fn batches() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let len = prop_oneof![Just(0), 1usize..64, 64usize..3000, 3000usize..9000];
    proptest::collection::vec(proptest::collection::vec(len, 1..4), 1..5)
}

fn image() -> impl Strategy<Value = Image> {
    (background(), batches()).prop_map(|(bytes, lens)| Image::write(bytes, STAMP, &lens))
}

impl std::fmt::Debug for Image {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let records: Vec<_> = self
            .records
            .iter()
            .map(|known| (known.id, known.from..known.to))
            .collect();
        write!(
            formatter,
            "batches at {:?}, records {records:?}",
            self.batches
        )
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read_in_pieces_of_any_size(
        image in image(), cuts in proptest::collection::vec(1usize..9000, 1..20),
    ) {
        let mut turn = cuts.iter().cycle();
        let (records, summary) = scan(&image.bytes, None, || *turn.next().unwrap());
        prop_assert_eq!(&records, &image.records);
        prop_assert_eq!((summary.torn.len(), summary.holes.len()), (0, 0));
        prop_assert_eq!(summary.last_batch, Some(image.batches.len() as u64 + 5));
        prop_assert_eq!(summary.end as usize, image.end());
        let (records, summary) = scan(&image.bytes, Some(image.end()), || *turn.next().unwrap());
        prop_assert_eq!(&records, &image.records);
        prop_assert_eq!((summary.torn.len(), summary.holes.len()), (0, 0));
    }

    /// The last batches were not written beyond a sector's end: what lies behind is what was there before.
    #[test]
    fn torn_at_any_sector_loses_only_what_is_behind(
        (image, old) in background().prop_flat_map(|old| (
            batches().prop_map({ let old = old.clone(); move |lens| Image::write(old.clone(), STAMP, &lens) }),
            Just(old),
        )),
        at in any::<prop::sample::Index>(),
    ) {
        let first = BLOCK_LEN as usize / 512;
        let cut = (first + at.index(image.end() / 512 - first + 1)) * 512;
        let mut bytes = image.bytes.clone();
        bytes[cut..].copy_from_slice(&old[cut..]);
        let (records, summary) = scan_whole(&bytes);
        // By chance the old bytes may go on as the new ones would have.
        let torn = (cut..LEN).find(|&at| bytes[at] != image.bytes[at]).unwrap_or(LEN);
        prop_assert_eq!(&records, &image.without(torn..LEN));
        prop_assert!(summary.holes.is_empty(), "a torn end is no hole: {:?}", summary);
        // The same when the file itself ends there.
        let (records, summary) = scan_whole(&image.bytes[..cut]);
        prop_assert_eq!(&records, &image.without(cut..LEN));
        prop_assert!(summary.holes.is_empty());
    }

    #[test]
    fn any_flipped_bit_loses_only_the_record_it_is_in(
        image in image(), at in any::<prop::sample::Index>(), bit in 0u8..8, sealed: bool,
    ) {
        let first = BLOCK_LEN as usize;
        let at = first + at.index(image.end() - first);
        let mut bytes = image.bytes.clone();
        bytes[at] ^= 1 << bit;
        let (records, summary) = scan(&bytes, sealed.then(|| image.end()), || 5000);
        prop_assert_eq!(&records, &image.without(at..at + 1));
        let hurt = records.len() < image.records.len();
        let known = !summary.torn.is_empty() || !summary.holes.is_empty();
        prop_assert!(known || !hurt, "a record is lost in silence: {:?}", summary);
        let last = image.batches[image.batches.len() - 2];
        if hurt && (sealed || at < last) {
            prop_assert!(summary.torn.is_empty() && !summary.holes.is_empty(), "{:?}", summary);
            let hole = summary.holes[0];
            prop_assert!((hole.from as usize..hole.to as usize).contains(&at), "{:?}", summary);
        }
    }

    /// A block in the middle never reached the disk, or was lost there.
    #[test]
    fn lost_blocks_lose_only_what_is_in_them(
        (image, old) in background().prop_flat_map(|old| (
            batches().prop_map({ let old = old.clone(); move |lens| Image::write(old.clone(), STAMP, &lens) }),
            Just(old),
        )),
        at in any::<prop::sample::Index>(), count in 1usize..4,
    ) {
        let first = BLOCK_LEN as usize;
        let from = first + at.index((image.end() - first) / first) * first;
        let range = from..(from + count * first).min(image.end());
        let mut bytes = image.bytes.clone();
        bytes[range.clone()].copy_from_slice(&old[range.clone()]);
        let (records, summary) = scan_whole(&bytes);
        prop_assert_eq!(&records, &image.without(range.clone()));
        let last = image.batches[image.batches.len() - 2];
        if records.len() < image.records.len() && range.end <= last {
            prop_assert!(!summary.holes.is_empty(), "{:?}", summary);
        }
    }

    #[test]
    fn arbitrary_bytes_hold_no_record(bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        let mut image = vec![0; BLOCK_LEN as usize];
        image.extend(&bytes);
        prop_assert_eq!(scan_whole(&image).0, vec![]);
    }
}

/// Each byte of a small image, so that no kind of place is left to luck.
#[test]
fn every_byte_flipped_in_turn() {
    let image = Image::write(old_life(), STAMP, &[vec![0, 5, 40], vec![3], vec![17, 16]]);
    for at in BLOCK_LEN as usize..image.end() {
        let mut bytes = image.bytes.clone();
        bytes[at] ^= 0x10;
        let (records, _) = scan_whole(&bytes[..image.end() + BLOCK_LEN as usize]);
        assert_eq!(records, image.without(at..at + 1), "byte {at}");
    }
}

#[test]
fn stale_records_of_an_earlier_life_stay_dead() {
    assert_eq!(
        scan_whole(&old_life()),
        (
            vec![],
            Summary {
                end: BLOCK_LEN,
                reach: BLOCK_LEN,
                ..Summary::default()
            }
        )
    );
    // Same segment number, same places, same log: only the generation differs.
    let old = Stamp {
        generation: STAMP.generation + 1,
        ..STAMP
    };
    let bytes = Image::write(vec![0; LEN], old, &vec![vec![50, 700]; 20]).bytes;
    let image = Image::write(bytes, STAMP, &[vec![50, 700], vec![50, 700]]);
    let (records, summary) = scan_whole(&image.bytes);
    assert_eq!(records, image.records);
    assert_eq!((summary.torn, summary.holes), (vec![], vec![]));
}

#[test]
fn a_record_copied_elsewhere_is_not_one() {
    let mut image = Image::write(vec![0; LEN], STAMP, &[vec![500]]);
    let (from, to) = (image.batches[0], image.end());
    image.bytes.copy_within(from..to, 40960);
    assert_eq!(scan_whole(&image.bytes).0, image.records);
}

#[test]
fn damage_in_a_segment_that_was_ended_is_a_hole_even_at_its_end() {
    let image = Image::write(vec![0; LEN], STAMP, &[vec![500], vec![600]]);
    let mut bytes = image.bytes.clone();
    bytes[image.batches[1]..image.end()].fill(0);
    let (records, summary) = scan(&bytes, Some(image.end()), || 4096);
    assert_eq!(records, image.records[..1]);
    let hole = Range {
        from: image.batches[1] as u32,
        to: image.end() as u32,
    };
    assert_eq!((summary.torn, summary.holes), (vec![], vec![hole]));
    // Not ended: nothing says that there was anything.
    let (records, summary) = scan_whole(&bytes);
    assert_eq!(records, image.records[..1]);
    assert_eq!((summary.torn, summary.holes), (vec![], vec![]));
}

#[test]
fn a_batch_without_its_middle_is_torn_and_what_is_whole_in_it_is_kept() {
    let image = Image::write(old_life(), STAMP, &[vec![500], vec![3000, 9000, 700]]);
    let mut bytes = image.bytes.clone();
    let lost = image.batches[1] + 4096..image.batches[1] + 8192;
    bytes[lost.clone()].fill(0);
    let (records, summary) = scan_whole(&bytes);
    assert_eq!(records, [&image.records[..2], &image.records[3..]].concat());
    let torn = Range {
        from: image.records[2].from as u32,
        to: image.records[2].to as u32,
    };
    assert_eq!((summary.torn, summary.holes), (vec![torn], vec![]));
}

/// Longer than the window: only its head is handed out, and all of it is checked.
#[test]
fn long_records_are_read_in_pieces() {
    let segment = 8 << 20;
    let len = 3 * HEAD_LEN_MAX + 5;
    let payload: Vec<u8> = (0..len).map(|at| (at / 100) as u8).collect();
    let mut bytes = vec![0; segment];
    let mut batch = Batch::new(STAMP, BLOCK_LEN, 1, 0);
    let block = BLOCK_LEN as usize;
    batch.push(
        &mut bytes[block..],
        &Label::now(1, 10),
        std::iter::once(payload.as_slice()),
    );
    let short = Label::now(1, 11);
    batch.push(&mut bytes[block..], &short, std::iter::once(&payload[..9]));
    batch.finish(&mut bytes[block..], 0);
    for hurt in [None, Some(2 * HEAD_LEN_MAX), Some(100_000)] {
        let mut bytes = bytes.clone();
        if let Some(at) = hurt {
            bytes[at] ^= 1;
        }
        let mut found = Vec::new();
        let mut each =
            |view: Found<'_>| found.push((view.id, view.len as usize, view.head.to_vec()));
        let mut scanner = Scanner::new(STAMP, segment as u32, None);
        let mut window = Vec::new();
        for piece in bytes[block..].chunks(300_000) {
            window.extend_from_slice(piece);
            let used = scanner.feed(&window, &mut each);
            window.drain(..used);
        }
        let summary = scanner.finish();
        let long = (10, len, payload[..HEAD_LEN_MAX].to_vec());
        let short = (11, 9, payload[..9].to_vec());
        match hurt {
            None => assert!(found == [long, short] && summary.torn.is_empty()),
            Some(_) => assert!(found == [short] && summary.torn.len() == 1),
        }
    }
}

/// Two batches are written side by side: a crash may keep the later one alone. It knows that the other one had
/// no word; one more behind it knows better.
#[test]
fn what_was_in_flight_beside_a_later_batch_is_torn() {
    let lens = [vec![100], vec![200], vec![300], vec![400]];
    let torn_and_holes = |lost: &[usize], open_before| {
        let mut image = Image::write_open(old_life(), STAMP, &lens, open_before);
        for &batch in lost {
            let from = image.batches[batch];
            image.bytes[from..from + BLOCK_LEN as usize].fill(0);
        }
        let summary = scan_whole(&image.bytes).1;
        (summary.torn.len(), summary.holes.len())
    };
    for (lost, open_before, expected) in [
        (&[2][..], 1, (1, 0)),
        (&[2], 0, (0, 1)),
        (&[1], 1, (0, 1)),
        (&[1, 3], 1, (1, 0)),
        (&[1, 2], 2, (1, 0)),
        (&[1, 2], 1, (0, 1)),
        (&[0], 2, (0, 1)),
        (&[0, 2, 3], 1, (1, 0)),
        (&[0, 2, 3], 0, (0, 1)),
    ] {
        assert_eq!(
            torn_and_holes(lost, open_before),
            expected,
            "{lost:?} lost, {open_before} open"
        );
    }
}
