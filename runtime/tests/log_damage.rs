//! Segments hurt on disk between two starts: what is whole comes back, what is not is kept and named.

mod life;
mod segments;

use std::path::Path;

use life::run;
use mailrail_runtime::log::{Damage, Label, Log, LogError, Options, Position, ReadError, Report};
use segments::{hurt, options, segment};

fn payload(id: u64) -> Vec<u8> {
    (0..5000).map(|at| (at * 31 + id * 7) as u8).collect()
}

/// Appends records, each a batch of its own, and stops in order or not.
fn fill(directory: &Path, ids: std::ops::RangeInclusive<u64>, clean: bool) -> Vec<Position> {
    run(async {
        let (log, _) = Log::open(options(directory), &mut |_| {}).await.unwrap();
        let mut positions = Vec::new();
        for id in ids {
            log.room(5000).await.unwrap();
            let appended = log
                .append_copied(Label::now(1, id), &[&payload(id)])
                .unwrap();
            log.committed(appended.ticket).await.unwrap();
            positions.push(appended.position);
        }
        if clean {
            log.close().await;
        }
        positions
    })
}

/// Opens the log, checks that each record found is right, and closes it.
fn ids(directory: &Path) -> (Vec<u64>, Report) {
    run(async {
        let mut ids = Vec::new();
        let (log, report) = Log::open(options(directory), &mut |view| {
            assert!(
                view.head == payload(view.id),
                "record {} is not what was written",
                view.id
            );
            ids.push(view.id);
        })
        .await
        .unwrap();
        log.close().await;
        (ids, report)
    })
}

#[test]
fn a_rotten_record_is_set_aside_and_hides_nothing_behind_it() {
    for clean in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let positions = fill(path, 1..=40, clean);
        let bad = positions[10];
        hurt(&segment(path, bad.segment), |bytes| {
            bytes[bad.offset as usize + 2000] ^= 4
        });
        let expected: Vec<_> = (1..=40).filter(|&id| id != 11).collect();
        let (found, report) = ids(path);
        assert_eq!(found, expected);
        assert_eq!(report.torn, []);
        let [
            Damage {
                segment,
                offset,
                len,
                file: Some(file),
            },
        ] = &report.quarantined[..]
        else {
            panic!("one hole: {report:?}")
        };
        assert_eq!((*segment, *offset), (bad.segment, bad.offset));
        let kept = std::fs::read(file).unwrap();
        assert_eq!(kept.len(), *len as usize);
        let mut rotten = payload(11);
        rotten[2000 - 32] ^= 4;
        assert!(
            kept[32..5032] == rotten,
            "the bytes are kept as they were found"
        );

        // Found again at the next start, kept once.
        let (found, again) = ids(path);
        assert_eq!(found, expected);
        assert_eq!(again.quarantined, report.quarantined);
        assert_eq!(std::fs::read(file).unwrap(), kept);
    }
}

#[test]
fn reading_rotten_content_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    run(async {
        let (log, _) = Log::open(options(path), &mut |_| {}).await.unwrap();
        let first = log.append_copied(Label::now(1, 1), &[&payload(1)]).unwrap();
        log.committed(first.ticket).await.unwrap();
        hurt(&segment(path, first.position.segment), |bytes| {
            bytes[first.position.offset as usize + 3000] ^= 1;
        });
        assert!(matches!(
            log.read(first.position).await,
            Err(ReadError::Damaged(_))
        ));
        for wrong in [
            Position {
                offset: first.position.offset + 8,
                ..first.position
            },
            Position {
                len: first.position.len + 1,
                ..first.position
            },
        ] {
            assert!(
                matches!(log.read(wrong).await, Err(ReadError::Damaged(_))),
                "{wrong:?}"
            );
        }
        for wrong in [
            Position {
                segment: 77,
                ..first.position
            },
            Position {
                offset: 0,
                ..first.position
            },
            Position {
                offset: u32::MAX - 7,
                ..first.position
            },
        ] {
            assert!(
                matches!(log.read(wrong).await, Err(ReadError::Gone(_))),
                "{wrong:?}"
            );
        }
        log.close().await;
    });
}

/// The last write reached the disk in part, or not at all, and there is nothing behind it.
#[test]
fn a_torn_end_costs_the_last_record_only() {
    for lost in [0..4096, 4096..8192, 0..8192] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let positions = fill(path, 1..=10, false);
        let last = positions[9];
        let batch = last.offset as usize / 4096 * 4096;
        hurt(&segment(path, last.segment), |bytes| {
            bytes[batch + lost.start..batch + lost.end].fill(0);
        });
        for _ in 0..2 {
            let (found, report) = ids(path);
            assert_eq!(found, (1..=9).collect::<Vec<_>>(), "{lost:?}");
            assert_eq!(report.quarantined, []);
        }
        // What is written after it is found after it.
        fill(path, 11..=12, false);
        assert_eq!(ids(path).0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12]);
    }
}

#[test]
fn a_segment_without_its_header_is_set_aside_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(path, 1..=60, true);
    let number = positions[30].segment;
    hurt(&segment(path, number), |bytes| bytes[..4096].fill(0x55));
    let expected: Vec<_> = (1..=60)
        .zip(&positions)
        .filter(|(_, position)| position.segment != number)
        .map(|(id, _)| id)
        .collect();
    assert!((10..50).contains(&expected.len()));
    let (found, report) = ids(path);
    assert_eq!(found, expected);
    let file = path.join(format!("log-1/damaged-{number:08x}"));
    assert_eq!(report.quarantined.len(), 1);
    assert_eq!(report.quarantined[0].file.as_deref(), Some(file.as_path()));
    assert!(file.exists());
    assert_eq!(ids(path).0, expected);
}

#[test]
fn one_bad_copy_of_the_header_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(path, 1..=5, true);
    hurt(&segment(path, positions[0].segment), |bytes| {
        bytes[..512].fill(0)
    });
    let (found, report) = ids(path);
    assert_eq!(found, [1, 2, 3, 4, 5]);
    assert_eq!((report.torn, report.quarantined), (vec![], vec![]));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(path, 1..=5, true);
    let segment = segment(path, positions[0].segment);
    hurt(&segment, |bytes| {
        for copy in [0, 2048] {
            bytes[copy + 8] = 2;
            let checksum = crc32c::crc32c(&bytes[copy..copy + 44]);
            bytes[copy + 44..copy + 48].copy_from_slice(&checksum.to_le_bytes());
        }
    });
    let before = std::fs::read(&segment).unwrap();
    let error = run(Log::open(options(path), &mut |_| {})).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::NewerVersion {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
    let words = error.to_string();
    assert!(
        words.contains("log format 2") && words.contains("segment-"),
        "{words}"
    );
    assert!(
        std::fs::read(&segment).unwrap() == before,
        "it is left alone"
    );
}

#[test]
fn another_logs_segment_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fill(path, 1..=5, true);
    std::fs::rename(path.join("log-1"), path.join("log-2")).unwrap();
    let options = Options {
        log: 2,
        ..options(path)
    };
    let error = run(Log::open(options, &mut |_| {})).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Foreign {
                found: 1,
                expected: 2,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_segment_by_another_name_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(path, 1..=5, true);
    let number = positions[0].segment;
    std::fs::rename(segment(path, number), segment(path, number + 7)).unwrap();
    let error = run(Log::open(options(path), &mut |_| {})).unwrap_err();
    assert!(
        matches!(error, LogError::Misnamed { found, .. } if found == number),
        "{error}"
    );
}

#[test]
fn what_a_crash_left_half_made_is_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let positions = fill(path, 1..=5, true);
    let log = path.join("log-1");
    std::fs::write(log.join("new-00000009"), [0; 4096]).unwrap();
    // A spare full of an older life, such as a freed segment is.
    std::fs::copy(
        segment(path, positions[0].segment),
        log.join("spare-00000001"),
    )
    .unwrap();
    std::fs::write(log.join("notes.txt"), "not ours").unwrap();
    assert_eq!(ids(path).0, [1, 2, 3, 4, 5]);
    assert!(!log.join("new-00000009").exists());
    assert!(log.join("notes.txt").exists());
}

/// The shard dies in the middle of filling, freeing and using again; whatever renames were done, what is
/// found is an unbroken row that ends with the last confirmed record and lacks none that was not freed.
#[test]
fn a_crash_while_segments_are_freed_loses_and_revives_nothing() {
    for stop in [170, 230, 317, 400] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let first_live = run(async {
            let (log, _) = Log::open(options(path), &mut |_| {}).await.unwrap();
            let mut live = std::collections::VecDeque::new();
            for id in 1..=stop {
                log.room(5000).await.unwrap();
                let appended = log
                    .append_copied(Label::now(1, id), &[&payload(id)])
                    .unwrap();
                live.push_back((id, appended.position.segment));
                log.committed(appended.ticket).await.unwrap();
                while log.segments().count > 2 {
                    let freed = log.free_oldest().unwrap();
                    live.retain(|&(_, segment)| segment != freed);
                }
            }
            live[0].0
        });
        let (found, report) = ids(path);
        assert!(
            found[0] <= first_live,
            "record {first_live} is missing: {found:?}"
        );
        assert_eq!(found, (found[0]..=stop).collect::<Vec<_>>());
        assert_eq!((report.torn, report.quarantined), (vec![], vec![]));
    }
}

#[test]
fn options_that_cannot_work_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let good = || options(directory.path());
    for (options, name) in [
        (
            Options {
                segment_len: 100_000,
                ..good()
            },
            "segment_len",
        ),
        (
            Options {
                first_segment_len: 0,
                ..good()
            },
            "first_segment_len",
        ),
        (
            Options {
                first_segment_len: 512 << 10,
                ..good()
            },
            "first_segment_len",
        ),
        (
            Options {
                batch_len_max: 256 << 10,
                ..good()
            },
            "segment_len",
        ),
        (
            Options {
                copy_max: 64 << 10,
                ..good()
            },
            "copy_max",
        ),
        (
            Options {
                in_flight_max: 0,
                ..good()
            },
            "in_flight_max",
        ),
    ] {
        let error = run(Log::open(options, &mut |_| {})).unwrap_err();
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}
