//! Sealed segments read by their index: the same records as in full, content left alone, and no harm done
//! by an index that is damaged, missing or too long.

mod life;
mod segments;

use std::path::Path;

use life::run;
use mailrail_runtime::log::{
    Label, Log, Options, Position, ReadError, RecordView, Report, heads, survey,
};
use segments::{SEGMENT_LEN, hurt, options, segment};

const HEAD_LEN: usize = 60;
const LEN: usize = 5000;

fn payload(id: u64) -> Vec<u8> {
    (0..LEN)
        .map(|at| (at * 31 + id as usize * 7) as u8)
        .collect()
}

fn label(id: u64) -> Label {
    Label::now(1, id).with_head_len(HEAD_LEN as u32)
}

/// A payload that only a fresh segment holds: once it has room the next segment is ready, and the index of
/// this one need not give way.
const MOST: usize = 240_000;

/// Appends records, some to a batch, and stops in order or not.
fn fill(options: Options, ids: std::ops::RangeInclusive<u64>, clean: bool) -> Vec<Position> {
    run(async {
        let (log, _) = Log::open(options, &mut |_| {}).await.unwrap();
        let mut positions = Vec::new();
        for id in ids {
            log.room(MOST).await.unwrap();
            let appended = log.append_copied(label(id), &[&payload(id)]).unwrap();
            if id % 3 == 0 {
                log.committed(appended.ticket.clone()).await.unwrap();
            }
            positions.push(appended.position);
            if positions.len() % 100 == 0 {
                log.committed(appended.ticket).await.unwrap();
            }
        }
        let last = log.append_copied(Label::now(9, 0), &[b"the end"]).unwrap();
        log.committed(last.ticket).await.unwrap();
        if clean {
            log.close().await;
        }
        positions
    })
}

type Seen = (u8, u64, Position, Vec<u8>);

fn seen(view: RecordView<'_>) -> Seen {
    (view.kind, view.id, view.position, view.head.to_vec())
}

/// Opens the log and closes it again.
fn found(options: Options) -> (Vec<Seen>, Report) {
    run(async {
        let mut found = Vec::new();
        let (log, report) = Log::open(options, &mut |view| found.push(seen(view)))
            .await
            .unwrap();
        log.close().await;
        (found, report)
    })
}

/// Reads all of the log in full.
fn surveyed(options: Options) -> (Vec<Seen>, Report) {
    run(async {
        let mut found = Vec::new();
        let report = survey(&options, &mut |view| found.push(seen(view)))
            .await
            .unwrap();
        (found, report)
    })
}

/// The records with those ids, less the mark that `fill` ends with.
fn assert_holds(found: &[Seen], ids: impl Iterator<Item = u64>) {
    let ids: Vec<u64> = ids.collect();
    let found: Vec<&Seen> = found.iter().filter(|seen| seen.0 == 1).collect();
    assert_eq!(found.iter().map(|seen| seen.1).collect::<Vec<_>>(), ids);
    for (_, id, position, head) in found {
        assert_eq!(position.len as usize, LEN);
        assert!(head[..] == payload(*id)[..HEAD_LEN], "the head of {id}");
    }
}

/// Where a segment's index lies, by its trailer.
fn index_of(bytes: &[u8]) -> std::ops::Range<usize> {
    let trailer = &bytes[bytes.len() - 4096..];
    let u32_at = |at: usize| u32::from_le_bytes(trailer[at..at + 4].try_into().unwrap()) as usize;
    u32_at(32)..u32_at(32) + u32_at(36)
}

#[test]
fn the_index_says_what_the_segment_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(options(path), 1..=200, true);
    let (in_full, whole) = surveyed(options(path));
    assert_eq!(whole.index_damaged, []);
    assert!(whole.indexed_count >= 4, "{whole:?}");
    assert_eq!(whole.indexed_count, whole.segment_count);
    let (by_index, report) = found(options(path));
    assert_eq!(by_index, in_full);
    assert_holds(&by_index, 1..=200);
    assert_eq!(report, whole);
    let listed = run(async {
        let mut listed = Vec::new();
        let report = heads(&options(path), &mut |view| listed.push(seen(view)))
            .await
            .unwrap();
        assert_eq!(report, whole);
        listed
    });
    assert_eq!(listed, by_index);
    assert!(by_index.iter().map(|seen| seen.2).take(200).eq(positions));
}

/// What only the content's place holds is not looked at by a start; reading it is an error.
#[test]
fn a_start_reads_no_content() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(options(path), 1..=200, true);
    let numbers: std::collections::BTreeSet<u32> =
        positions.iter().map(|position| position.segment).collect();
    for number in numbers {
        hurt(&segment(path, number), |bytes| {
            let index = index_of(bytes);
            bytes[4096..index.start].fill(0xaa);
        });
    }
    run(async {
        let mut seen = Vec::new();
        let (log, report) = Log::open(options(path), &mut |view| seen.push(self::seen(view)))
            .await
            .unwrap();
        assert_holds(&seen, 1..=200);
        assert_eq!((report.torn, report.quarantined), (vec![], vec![]));
        assert!(matches!(
            log.read(positions[70]).await,
            Err(ReadError::Damaged(_))
        ));
        log.close().await;
    });
    // Whoever reads in full sees it.
    assert!(!surveyed(options(path)).1.quarantined.is_empty());
}

#[test]
fn a_damaged_index_costs_time_only_and_is_made_anew() {
    for change in [
        |index: &mut [u8]| index[0] ^= 1,
        |index: &mut [u8]| index[700] ^= 0x80,
        |index: &mut [u8]| index.fill(0),
        |index: &mut [u8]| index.reverse(),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let positions = fill(options(path), 1..=100, true);
        let (before, whole) = found(options(path));
        let number = positions[50].segment;
        hurt(&segment(path, number), |bytes| {
            let index = index_of(bytes);
            change(&mut bytes[index]);
        });
        assert_eq!(surveyed(options(path)).1.index_damaged, [number]);
        let (after, report) = found(options(path));
        assert_eq!(after, before);
        assert_eq!(report.index_damaged, [number]);
        assert_eq!(report.indexed_count, whole.indexed_count - 1);
        assert_eq!((report.torn, report.quarantined), (vec![], vec![]));
        assert_eq!(found(options(path)), (before, whole));
    }
}

/// The index of an older life of the same file, its checksum right, in the place of the new one.
#[test]
fn an_index_of_another_life_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(options(path), 1..=100, true);
    let (number, other) = (positions[50].segment, positions[90].segment);
    assert_ne!(number, other);
    let foreign = std::fs::read(segment(path, other)).unwrap();
    let foreign = foreign[index_of(&foreign)].to_vec();
    let (before, _) = found(options(path));
    hurt(&segment(path, number), |bytes| {
        let index = index_of(bytes);
        let len = index.len().min(foreign.len());
        bytes[index][..len].copy_from_slice(&foreign[..len]);
    });
    let (after, report) = found(options(path));
    assert_eq!(after, before);
    assert_eq!(report.index_damaged, [number]);
}

#[test]
fn a_segment_with_too_long_an_index_is_sealed_without() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let short = || Options {
        index_len_max: 500,
        ..options(path)
    };
    fill(short(), 1..=100, true);
    let (seen, report) = found(short());
    assert_holds(&seen, 1..=100);
    assert_eq!((report.indexed_count, report.index_damaged), (0, vec![]));
    // Once it may be longer the next start makes one, where there is room for it.
    found(options(path));
    let (seen, report) = found(options(path));
    assert_holds(&seen, 1..=100);
    assert!(report.indexed_count > 0);
}

/// What a crash left without an end gets one, and an index, at the next start.
#[test]
fn the_segment_that_was_being_written_is_read_in_full_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(options(path), 1..=50, false);
    let (seen, first) = found(options(path));
    assert_holds(&seen, 1..=50);
    let last = positions[49].segment;
    assert!(first.indexed_count < first.segment_count);
    hurt(&segment(path, last), |bytes| {
        let index = index_of(bytes);
        bytes[4096..index.start].fill(0xaa);
    });
    let (again, second) = found(options(path));
    assert_eq!(again, seen);
    assert_eq!(second.indexed_count, second.segment_count);
}

/// The last batch is torn, and a record behind the tear is whole: only an index finds it again.
#[test]
fn a_whole_record_behind_a_tear_stays_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(options(path), 1..=7, false);
    // The batch of the seventh and of the mark: its header is gone, and the seventh's.
    let batch = positions[6].offset as usize / 4096 * 4096;
    hurt(&segment(path, positions[6].segment), |bytes| {
        bytes[batch..batch + 1024].fill(0);
    });
    let (first, report) = found(options(path));
    assert_eq!(report.quarantined, []);
    assert!(!report.torn.is_empty());
    assert_holds(&first, 1..=6);
    assert_eq!(first.last().map(|seen| seen.0), Some(9), "the mark");
    for _ in 0..2 {
        let (again, report) = found(options(path));
        assert_eq!(again, first);
        assert_eq!((report.torn, report.quarantined), (vec![], vec![]));
        assert_eq!(report.indexed_count, 1);
    }
    // Read in full the tear is seen again, and again it is no damage in what was promised.
    let (in_full, report) = surveyed(options(path));
    assert_eq!(in_full, first);
    assert_eq!((report.quarantined, report.index_damaged), (vec![], vec![]));
    assert!(!report.torn.is_empty());
}

/// While no next segment can be had the index gives way to records.
#[test]
fn where_there_is_no_next_segment_the_index_gives_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // Nothing waits, so the keeper never gets its turn.
    let positions = run(async {
        let (log, _) = Log::open(options(path), &mut |_| {}).await.unwrap();
        let mut positions = Vec::new();
        // Content would not be let so far.
        let label = Label::upkeep(1, 1).with_head_len(HEAD_LEN as u32);
        while let Ok(appended) = log.append_copied(label, &[&payload(1)[..600]]) {
            positions.push(appended.position);
        }
        log.close().await;
        positions
    });
    let bytes = std::fs::read(segment(path, 1)).unwrap();
    assert_eq!(index_of(&bytes), 0..0);
    let last = positions[positions.len() - 1];
    assert!(last.offset as usize > bytes.len() - 8192, "{last:?}");
    let (seen, report) = found(options(path));
    assert!(seen.iter().map(|seen| seen.2).eq(positions));
    assert_eq!(report.indexed_count, 0);
}

#[test]
fn a_hole_is_told_at_each_start_where_the_index_was_lost_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(options(path), 1..=100, true);
    let bad = positions[50];
    hurt(&segment(path, bad.segment), |bytes| {
        let index = index_of(bytes);
        bytes[index.start] ^= 1;
        bytes[bad.offset as usize + 1000] ^= 1;
    });
    for _ in 0..2 {
        let (seen, report) = found(options(path));
        assert_holds(&seen, (1..=100).filter(|id| *id != 51));
        assert_eq!(report.quarantined.len(), 1, "{report:?}");
    }
}

/// A header whose checksum is right and whose length cannot be.
#[test]
fn a_segment_of_an_impossible_length_is_set_aside() {
    for len in [0u32, 4096, 8191, 12_345, u32::MAX] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fill(options(path), 1..=5, true);
        hurt(&segment(path, 1), |bytes| {
            for copy in [0, 2048] {
                bytes[copy + 24..copy + 28].copy_from_slice(&len.to_le_bytes());
                let checksum = crc32c::crc32c(&bytes[copy..copy + 44]);
                bytes[copy + 44..copy + 48].copy_from_slice(&checksum.to_le_bytes());
            }
        });
        let (seen, report) = found(options(path));
        assert_eq!(seen, [], "length {len}");
        assert_eq!(report.quarantined.len(), 1);
        assert!(path.join("log-1/damaged-00000001").exists());
    }
}

/// A segment whose file lost its end: what is left of it is found, and it is not written to again.
#[test]
fn a_file_cut_short_gives_what_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fill(options(path), 1..=10, true);
    let file = segment(path, 1);
    let cut = std::fs::read(&file).unwrap()[..40960].to_vec();
    std::fs::write(&file, &cut).unwrap();
    // What is missing is told each time, by a survey as by a start.
    let assert_told = |report: &Report| {
        let [damage] = report.quarantined.as_slice() else {
            panic!("{report:?}");
        };
        assert_eq!((damage.segment, damage.offset), (1, 40960));
    };
    for _ in 0..2 {
        let (seen, report) = found(options(path));
        assert!((4..10).contains(&seen.len()), "{} records", seen.len());
        assert_told(&report);
        assert_told(&surveyed(options(path)).1);
        assert!(std::fs::read(&file).unwrap() == cut);
    }
}

/// A segment of which nothing but the header is left is no empty one: its records were promised.
#[test]
fn a_file_cut_down_to_its_header_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fill(options(path), 1..=10, true);
    hurt(&segment(path, 1), |bytes| bytes.truncate(4096));
    let (_, report) = found(options(path));
    assert_eq!(report.quarantined.len(), 1, "{report:?}");
    assert!(path.join("log-1/damaged-00000001").exists());
}

/// Whatever the settings were before, a segment is written in full before it is used.
#[test]
fn a_spare_of_another_length_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fill(options(path), 1..=1, true);
    let spare = path.join("log-1/spare-00000063");
    for len in [SEGMENT_LEN / 2, SEGMENT_LEN * 2] {
        std::fs::write(&spare, vec![0; len]).unwrap();
        found(options(path));
        assert!(!spare.exists());
        for entry in std::fs::read_dir(path.join("log-1")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!([SEGMENT_LEN, SEGMENT_LEN / 2].contains(&bytes.len()));
            let says = u32::from_le_bytes(bytes[24..28].try_into().unwrap());
            assert!([0, bytes.len()].contains(&(says as usize)), "{says}");
        }
    }
}

/// Files of segments that this process has open below `directory`.
fn open_files(directory: &Path) -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let of_segments = files.filter(|file| {
        let file = file.as_ref().unwrap().path();
        std::fs::read_link(file).is_ok_and(|path| path.starts_with(directory))
    });
    of_segments.count()
}

/// A queue of any length needs few descriptors.
#[test]
fn few_files_are_open_however_many_segments_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let options = || Options {
        open_files_max: 8,
        ..options(path)
    };
    let positions = fill(options(), 1..=1500, true);
    run(async {
        // Those that the filling left to its executor's end.
        let before = open_files(path);
        let (log, _) = Log::open(options(), &mut |_| {}).await.unwrap();
        log.room(MOST).await.unwrap();
        let segments = log.segments().count;
        assert!(segments > 30, "{segments} segments");
        for _ in 0..2 {
            for (number, position) in positions.iter().enumerate().step_by(7) {
                assert_eq!(log.read(*position).await.unwrap().id, number as u64 + 1);
            }
        }
        // Eight, the one being written and the next, and one that is being prepared; closing takes a moment.
        let mut patience = 1000;
        while open_files(path) > before + 12 && patience > 0 {
            mailrail_runtime::timer::sleep(10_000).await;
            patience -= 1;
        }
        let open = open_files(path) - before;
        assert!((8..=12).contains(&open), "{open} files open");
        log.close().await;
    });
}

/// Many short lives of records of all lengths, ended in order or not; each start finds all that was
/// promised, in order, and the same by index as in full.
#[test]
fn many_lives_are_read_the_same_by_index_and_in_full() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut kept: Vec<(u64, usize, usize)> = Vec::new();
    for life in 0..12 {
        let count = next(120);
        let mut new = Vec::new();
        for id in 0..count {
            let len = match next(10) {
                0 => next(100_000),
                1 => next(30),
                _ => next(5000),
            };
            let head_len = next(300).min(len);
            new.push((life * 1000 + id, len as usize, head_len as usize));
        }
        let (in_full, _) = match life {
            0 => (Vec::new(), Report::default()),
            _ => surveyed(options(path)),
        };
        run(async {
            let mut seen = Vec::new();
            let (log, report) = Log::open(options(path), &mut |view| seen.push(self::seen(view)))
                .await
                .unwrap();
            assert_eq!((report.torn, report.quarantined), (vec![], vec![]));
            assert_eq!(report.index_damaged, []);
            assert_eq!(seen, in_full);
            let ids = seen
                .iter()
                .map(|(_, id, position, head)| (*id, position.len as usize, head.len()));
            assert_eq!(ids.collect::<Vec<_>>(), kept);
            for (id, len, head_len) in &new {
                let bytes: Vec<u8> = (0..*len).map(|at| (at as u64 + id) as u8).collect();
                log.room(MOST).await.unwrap();
                let label = Label::now(2, *id).with_head_len(*head_len as u32);
                let appended = log.append_copied(label, &[&bytes]).unwrap();
                log.committed(appended.ticket).await.unwrap();
            }
            for (_, _, position, head) in &seen {
                let record = log.read(*position).await.unwrap();
                let all: Vec<u8> = record
                    .payload
                    .chunks()
                    .flat_map(|chunk| chunk.as_slice().to_vec())
                    .collect();
                assert!(all.starts_with(head));
            }
            if life % 2 == 0 {
                log.close().await;
            }
        });
        kept.append(&mut new);
    }
}
