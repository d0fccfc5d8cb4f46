//! The log on a real disk: what was appended is committed, read back, and there after the next start.

mod life;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use life::run;
use mailrail_runtime::buffer::{ChunkMut, ChunkSize, held_bytes};
use mailrail_runtime::log::{
    AppendError, Durability, HEAD_LEN_MAX, Label, Log, Message, Options, Position, ROOM, ReadError,
    Record, Report,
};
use mailrail_runtime::shard;

/// Small segments, so that a test sees many of them.
fn small(directory: &Path) -> Options {
    Options {
        segment_len: 256 << 10,
        first_segment_len: 128 << 10,
        batch_len_max: 64 << 10,
        min_free_space: 0,
        reserve_len: 16 << 10,
        ..Options::new(directory, 1)
    }
}

/// What recovery hands out, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    kind: u8,
    id: u64,
    position: Position,
    head: Vec<u8>,
}

async fn open(options: Options) -> (Log, Vec<Seen>, Report) {
    let mut seen = Vec::new();
    let (log, report) = Log::open(options, &mut |view| {
        seen.push(Seen {
            kind: view.kind,
            id: view.id,
            position: view.position,
            head: view.head.to_vec(),
        });
    })
    .await
    .expect("the log opens");
    assert_eq!(report.record_count, seen.len() as u64);
    assert_eq!(report.highest_id, seen.iter().map(|seen| seen.id).max());
    (log, seen, report)
}

fn payload(id: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u64 * 31 + id * 7) as u8).collect()
}

/// The payload in chunks, with room in front, as a session would receive it.
fn message(bytes: &[u8]) -> Message {
    let mut chunks = vec![ChunkMut::new(ChunkSize::Small)];
    let mut at = ROOM;
    let mut left = bytes;
    while !left.is_empty() {
        let last = chunks.last_mut().unwrap();
        if at == last.capacity() {
            chunks.push(ChunkMut::new(ChunkSize::Large));
            at = 0;
            continue;
        }
        let here = left.len().min(last.capacity() - at);
        last.as_mut_slice()[at..at + here].copy_from_slice(&left[..here]);
        at += here;
        left = &left[here..];
    }
    let first = chunks.remove(0);
    Message::new(first, chunks, bytes.len())
}

fn bytes(record: &Record) -> Vec<u8> {
    record
        .payload
        .chunks()
        .flat_map(|chunk| chunk.as_slice())
        .copied()
        .collect()
}

const LENS: [usize; 12] = [
    0, 1, 100, 4096, 8112, 8113, 32_768, 32_769, 73_648, 73_649, 150_000, 200_000,
];

#[test]
fn every_length_is_committed_read_back_and_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    run(async move {
        let (log, seen, report) = open(small(directory)).await;
        assert_eq!((seen, report), (vec![], Report::default()));
        let mut expected = Vec::new();
        for (round, len) in LENS.into_iter().cycle().take(3 * LENS.len()).enumerate() {
            let id = round as u64 + 1;
            let content = payload(id, len);
            log.room(len).await.unwrap();
            let (position, ticket) = if round % 2 == 0 {
                let stored = log
                    .append_chunks(Label::now(1, id), message(&content))
                    .unwrap();
                let sent: Vec<u8> = stored
                    .payload
                    .chunks()
                    .flat_map(|chunk| chunk.as_slice())
                    .copied()
                    .collect();
                assert_eq!(sent, content);
                (stored.position, stored.ticket)
            } else {
                let (front, back) = content.split_at(len / 2);
                let appended = log
                    .append_copied(Label::now(1, id), &[front, &[], back])
                    .unwrap();
                (appended.position, appended.ticket)
            };
            // Sometimes before its commit, sometimes after.
            if round % 3 == 0 {
                log.committed(ticket).await.unwrap();
            }
            let record = log.read(position).await.unwrap();
            assert_eq!((record.kind, record.id), (1, id));
            assert!(bytes(&record) == content, "record {id} of {len} bytes");
            expected.push(Seen {
                kind: 1,
                id,
                position,
                head: content,
            });
        }
        assert!(log.segments().count > 4, "{:?}", log.segments());
        log.close().await;
        assert_eq!(
            log.append_copied(Label::now(1, 1), &[]).unwrap_err(),
            AppendError::Closed
        );
        drop(log);
        assert_eq!(held_bytes(), 0);

        // Twice: the second start reads what the first has left.
        for _ in 0..2 {
            let (log, seen, report) = open(small(directory)).await;
            assert!(
                seen == expected,
                "what comes back is what was appended, in order"
            );
            assert_eq!((report.torn, report.quarantined), (vec![], vec![]));
            for seen in &expected {
                assert!(bytes(&log.read(seen.position).await.unwrap()) == seen.head);
            }
            log.close().await;
        }
    });
}

#[test]
fn without_a_clean_stop_everything_committed_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // The shard ends with the log open.
    run(async move {
        let (log, _, _) = open(small(path)).await;
        for id in 1..=100 {
            log.room(5000).await.unwrap();
            let ticket = log
                .append_copied(Label::now(2, id), &[&payload(id, 5000)])
                .unwrap()
                .ticket;
            log.committed(ticket).await.unwrap();
        }
    });
    run(async move {
        let (log, seen, report) = open(small(path)).await;
        let ids: Vec<_> = seen.iter().map(|seen| seen.id).collect();
        assert_eq!(ids, (1..=100).collect::<Vec<_>>());
        assert!(seen.iter().all(|seen| seen.head == payload(seen.id, 5000)));
        assert_eq!((report.torn, report.quarantined), (vec![], vec![]));
        log.close().await;
    });
}

#[test]
fn one_sync_for_all_that_wait_and_word_in_log_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    run(async move {
        let (log, _, _) = open(small(path)).await;
        let order = Rc::new(RefCell::new(Vec::new()));
        // All in one breath: no machine is so slow that the disk would be done with some before.
        let tasks: Vec<_> = (0..200u64)
            .map(|id| {
                let (log, order) = (log.clone(), order.clone());
                let appended = log.append_copied(Label::now(1, id), &[b"hello"]).unwrap();
                shard::spawn(shard::Lane::Accept, async move {
                    log.committed(appended.ticket).await.unwrap();
                    order.borrow_mut().push(appended.position);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let order = order.take();
        assert!(order.is_sorted() && order.len() == 200);
        let stats = log.stats();
        assert_eq!(stats.record_count, 200);
        assert!(stats.flight_count <= 3, "{stats:?}");
        log.close().await;
    });
}

#[test]
fn lazy_records_ride_along_or_go_alone_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    run(async move {
        let options = Options {
            lazy_commit_ms: 3_600_000,
            ..small(path)
        };
        let (log, _, _) = open(options).await;
        let lazy = log.append_copied(Label::lazy(2, 1), &[b"settled"]).unwrap();
        let now = log.append_copied(Label::now(1, 2), &[b"message"]).unwrap();
        log.committed(now.ticket).await.unwrap();
        log.committed(lazy.ticket).await.unwrap();
        assert_eq!(log.stats().flight_count, 1);
        // Closing waits for no company.
        let lazy = log.append_copied(Label::lazy(2, 3), &[b"settled"]).unwrap();
        log.close().await;
        log.committed(lazy.ticket).await.unwrap();

        let options = Options {
            lazy_commit_ms: 1,
            ..small(path)
        };
        let (log, seen, _) = open(options).await;
        assert_eq!(seen.len(), 3);
        let lazy = log.append_copied(Label::lazy(2, 4), &[b"settled"]).unwrap();
        log.committed(lazy.ticket).await.unwrap();
        log.close().await;
    });
}

/// A close in the middle of making the reserve, for which there is no hurry: nothing of it is left, and what was
/// appended is ended all the same.
#[test]
fn a_close_ends_what_was_begun_and_leaves_what_nobody_needs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let options = || Options {
        segment_len: 16 << 20,
        first_segment_len: 16 << 20,
        keeps_reserve: true,
        ..small(path)
    };
    let begins = |prefix: &str| {
        let files = std::fs::read_dir(path.join("log-1")).unwrap();
        let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.starts_with(prefix))
    };
    run(async move {
        let (log, _, _) = open(options()).await;
        // The second segment has its name, and the file after it is the reserve's.
        while !begins("segment-00000002") || !begins("new-") {
            shard::yield_now().await;
        }
        let ticket = log
            .append_copied(Label::now(1, 1), &[b"hello"])
            .unwrap()
            .ticket;
        log.close().await;
        assert!(!begins("reserve-"), "it was made before the close");
        log.committed(ticket).await.unwrap();
    });
    run(async move {
        let (log, seen, report) = open(options()).await;
        assert_eq!(seen.len(), 1);
        assert_eq!((report.segment_count, report.indexed_count), (1, 1));
        log.close().await;
    });
}

#[test]
fn each_durability_gets_its_word() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    run(async move {
        let (log, _, _) = open(small(path)).await;
        for durability in [Durability::Memory, Durability::Write, Durability::Fsync] {
            let label = Label {
                durability,
                ..Label::now(1, 1)
            };
            let appended = log.append_copied(label, &[b"hello"]).unwrap();
            log.committed(appended.ticket).await.unwrap();
            assert_eq!(bytes(&log.read(appended.position).await.unwrap()), b"hello");
        }
        log.close().await;
        let (log, seen, _) = open(small(path)).await;
        assert_eq!(seen.len(), 3);
        log.close().await;
    });
}

/// Round and round through few files: the oldest is freed as soon as a newer is there.
#[test]
fn freed_segments_are_used_again_and_their_records_stay_dead() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    run(async move {
        let (log, _, _) = open(small(path)).await;
        let mut live: Vec<(u64, Position)> = Vec::new();
        for id in 1..=1000 {
            log.room(6000).await.unwrap();
            let appended = log
                .append_copied(Label::now(1, id), &[&payload(id, 6000)])
                .unwrap();
            live.push((id, appended.position));
            if id % 10 == 0 {
                log.committed(appended.ticket).await.unwrap();
            }
            while log.segments().count > 3 {
                let freed = log.free_oldest().expect("not the one being written");
                live.retain(|(_, position)| position.segment > freed);
                assert_eq!(log.segments().oldest, freed + 1);
            }
        }
        log.close().await;
        let gone = Position {
            segment: 1,
            offset: 4096 + 48,
            len: 6000,
        };
        assert!(matches!(log.read(gone).await, Err(ReadError::Gone(_))));
        let file_count = std::fs::read_dir(path.join("log-1")).unwrap().count();
        assert!(file_count <= 3 + 1 + 4, "{file_count} files");

        let (log, seen, report) = open(small(path)).await;
        let found: Vec<_> = seen.iter().map(|seen| (seen.id, seen.position)).collect();
        assert_eq!(found, live);
        assert!(seen.iter().all(|seen| seen.head == payload(seen.id, 6000)));
        assert_eq!((report.torn, report.quarantined), (vec![], vec![]));
        log.close().await;
    });
}

#[test]
fn a_segment_is_ended_on_demand_and_then_can_be_freed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    run(async move {
        let (log, _, _) = open(small(path)).await;
        log.seal().unwrap();
        assert_eq!(log.free_oldest(), None, "the only one, and empty");
        let first = log.append_copied(Label::now(1, 1), &[b"one"]).unwrap();
        log.room(200_000).await.unwrap();
        log.seal().unwrap();
        log.committed(first.ticket).await.unwrap();
        let second = log.append_copied(Label::now(1, 2), &[b"two"]).unwrap();
        log.committed(second.ticket).await.unwrap();
        assert_eq!(second.position.segment, first.position.segment + 1);
        assert_eq!(log.free_oldest(), Some(first.position.segment));
        assert_eq!(log.free_oldest(), None);
        log.close().await;
        let (log, seen, _) = open(small(path)).await;
        assert_eq!(seen.iter().map(|seen| seen.id).collect::<Vec<_>>(), [2]);
        log.close().await;
    });
}

#[test]
fn records_longer_than_a_segment_are_refused_and_long_ones_show_their_head() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    run(async move {
        let options = || Options {
            segment_len: 4 << 20,
            first_segment_len: 1 << 20,
            reserve_len: 256 << 10,
            min_free_space: 0,
            ..Options::new(path, 1)
        };
        let (log, _, _) = open(options()).await;
        let long = payload(1, 3 << 20);
        log.room(long.len()).await.unwrap();
        let stored = log.append_chunks(Label::now(1, 1), message(&long)).unwrap();
        log.committed(stored.ticket).await.unwrap();
        assert!(bytes(&log.read(stored.position).await.unwrap()) == long);
        assert_eq!(log.stats().copied_bytes, 0);
        assert_eq!(log.room(4 << 20).await, Err(AppendError::TooLong));
        let refused = log.append_copied(Label::now(1, 2), &[&vec![0; 4 << 20]]);
        assert_eq!(refused.unwrap_err(), AppendError::TooLong);
        log.close().await;
        let (log, seen, _) = open(options()).await;
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].position.len as usize, long.len());
        assert!(seen[0].head == long[..HEAD_LEN_MAX]);
        log.close().await;
    });
}

#[test]
fn without_space_for_a_segment_the_log_is_full_until_one_is_freed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    run(async move {
        // One segment is full, the next is made, and no further one may be.
        let (log, _, _) = open(small(path)).await;
        for id in 1..=2 {
            log.room(150_000).await.unwrap();
            let stored = log
                .append_chunks(Label::now(1, id), message(&payload(id, 150_000)))
                .unwrap();
            log.committed(stored.ticket).await.unwrap();
        }
        assert!(log.free_oldest().is_some(), "the short first one");
        assert!(log.free_oldest().is_some());
        log.close().await;
        let options = Options {
            min_free_space: u64::MAX,
            ..small(path)
        };
        let (log, _, _) = open(options).await;
        let accepted = Cell::new(0);
        let error = loop {
            if let Err(error) = log.room(10_000).await {
                break error;
            }
            let stored = match log.append_chunks(Label::now(1, 1), message(&payload(1, 10_000))) {
                Ok(stored) => stored,
                Err(error) => break error,
            };
            log.committed(stored.ticket).await.unwrap();
            accepted.set(accepted.get() + 1);
            assert!(accepted.get() < 100, "it never gets full");
        };
        assert_eq!(error, AppendError::Full);
        assert!(!log.available());
        // What settles and frees still has the rest.
        let note = log
            .append_copied(Label::upkeep(2, 1), &[b"settled"])
            .unwrap();
        log.committed(note.ticket).await.unwrap();
        assert!(log.free_oldest().is_some(), "{:?}", log.segments());
        while !log.available() {
            shard::yield_now().await;
        }
        log.room(10_000).await.unwrap();
        let stored = log
            .append_chunks(Label::now(1, 2), message(&payload(2, 10_000)))
            .unwrap();
        log.committed(stored.ticket).await.unwrap();
        log.close().await;
    });
}
