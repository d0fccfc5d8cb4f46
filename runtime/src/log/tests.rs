//! What the disk can do to a commit: fail, and take its time.

use std::future::Future;
use std::path::Path;
use std::rc::Rc;

use super::disk::faults::{Call, Fault, all_met, forget, plan};
use super::{AppendError, Appended, CommitError, Label, Log, Options, Position, ReadError};
use crate::shard;
use crate::signal::Notify;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const RESERVE_LEN: usize = 32 << 10;

fn run<F: Future>(test: impl FnOnce(Rc<Path>) -> F) -> F::Output {
    let directory = tempfile::tempdir().unwrap();
    forget();
    shard::run_one(test(directory.path().into())).expect("a shard starts")
}

fn options(path: &Path) -> Options {
    Options {
        segment_len: 256 << 10,
        first_segment_len: 128 << 10,
        batch_len_max: 64 << 10,
        reserve_len: RESERVE_LEN as u32,
        min_free_space: 0,
        ..Options::new(path, 1)
    }
}

async fn open(path: &Path) -> (Log, Vec<u64>) {
    let mut ids = Vec::new();
    let (log, _) = Log::open(options(path), &mut |view| ids.push(view.id))
        .await
        .unwrap();
    // Until the next segment is prepared, so that no call planned by the test is used up by that.
    log.room(200_000).await.unwrap();
    (log, ids)
}

fn append(log: &Log, id: u64) -> Appended {
    log.append_copied(Label::now(1, id), &[b"a record"])
        .unwrap()
}

/// Appends, and waits until the record is under way.
async fn launch(log: &Log, id: u64) -> Appended {
    let flights = log.stats().flight_count;
    let appended = append(log, id);
    while log.stats().flight_count == flights {
        shard::yield_now().await;
    }
    appended
}

/// Waits until all that was planned has been met.
async fn met() {
    while !all_met() {
        shard::yield_now().await;
    }
}

#[test]
fn a_failed_write_or_sync_is_never_confirmed_and_the_next_segment_takes_over() {
    for call in [Call::Write, Call::Sync] {
        run(async |path| {
            let (log, _) = open(&path).await;
            let before = append(&log, 1);
            log.committed(before.ticket).await.unwrap();
            plan(call, Fault::Fail(EIO));
            let failed = append(&log, 2);
            assert_eq!(
                log.committed(failed.ticket).await,
                Err(CommitError { errno: EIO })
            );
            let after = append(&log, 3);
            assert_eq!(after.position.segment, failed.position.segment + 1);
            log.committed(after.ticket).await.unwrap();
            // What was confirmed before stays readable.
            assert_eq!(log.read(before.position).await.unwrap().id, 1);
            log.close().await;
            let (log, ids) = open(&path).await;
            // The failed one may be found or not: it was not confirmed.
            assert!(ids == [1, 3] || ids == [1, 2, 3], "{ids:?}");
            log.close().await;
        });
    }
}

#[test]
fn all_that_is_open_in_a_segment_fails_with_it() {
    for call in [Call::Write, Call::Sync] {
        run(async |path| {
            let (log, _) = open(&path).await;
            let [held, failing] = [(); 2].map(|()| Rc::new(Notify::new()));
            let failure = Fault::HoldAndFail(failing.clone(), EIO);
            // The first is in its sync when the second's write fails, or the second waits for that sync when
            // it fails; the third still fills.
            let first = if call == Call::Write {
                plan(Call::Sync, Fault::Hold(held.clone()));
                let first = launch(&log, 1).await;
                met().await;
                plan(Call::Write, failure);
                first
            } else {
                plan(Call::Sync, failure);
                launch(&log, 1).await
            };
            let second = launch(&log, 2).await;
            met().await;
            let third = append(&log, 3);
            failing.notify_one();
            for appended in [&first, &second, &third] {
                let word = log.committed(appended.ticket.clone()).await;
                assert_eq!(word, Err(CommitError { errno: EIO }), "{call:?}");
            }
            let fourth = append(&log, 4);
            log.committed(fourth.ticket).await.unwrap();
            held.notify_one();
            let lost = log.read(third.position).await.unwrap_err();
            assert!(matches!(lost, ReadError::Damaged(_)), "{lost}");
            log.close().await;
        });
    }
}

#[test]
fn a_segment_is_synced_once_at_a_time() {
    run(async |path| {
        let (log, _) = open(&path).await;
        let gate = Rc::new(Notify::new());
        plan(Call::Sync, Fault::Hold(gate.clone()));
        // Whoever syncs next meets this: nobody may before the first is through.
        plan(Call::Sync, Fault::Fail(EIO));
        let first = launch(&log, 1).await;
        let second = launch(&log, 2).await;
        for _ in 0..100 {
            shard::yield_now().await;
        }
        gate.notify_one();
        log.committed(first.ticket).await.unwrap();
        let word = log.committed(second.ticket).await;
        assert_eq!(word, Err(CommitError { errno: EIO }));
        log.close().await;
    });
}

#[test]
fn word_goes_out_in_log_order_whichever_lands_first() {
    run(async |path| {
        let (log, _) = open(&path).await;
        let gate = Rc::new(Notify::new());
        plan(Call::Sync, Fault::Hold(gate.clone()));
        let first = launch(&log, 1).await;
        met().await;
        // In a segment of its own, whose sync waits for no other.
        log.seal().unwrap();
        let second = launch(&log, 2).await;
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        // The later one waits first.
        for appended in [second, first] {
            let (log, order) = (log.clone(), order.clone());
            tasks.push(shard::spawn(shard::Lane::Accept, async move {
                log.committed(appended.ticket).await.unwrap();
                order.borrow_mut().push(appended.position);
            }));
        }
        // The second has landed when the third can be launched: no more than two are in flight.
        let third = launch(&log, 3).await;
        assert_eq!(*order.borrow(), []);
        gate.notify_one();
        log.committed(third.ticket).await.unwrap();
        for task in tasks {
            task.await;
        }
        assert!(
            order
                .borrow()
                .is_sorted_by_key(|position: &Position| (position.segment, position.offset))
        );
        log.close().await;
    });
}

#[test]
fn while_two_are_in_flight_the_rest_gather_in_one() {
    run(async |path| {
        let (log, _) = open(&path).await;
        let gates = [(); 2].map(|()| Rc::new(Notify::new()));
        for gate in &gates {
            plan(Call::Sync, Fault::Hold(gate.clone()));
        }
        launch(&log, 1).await;
        launch(&log, 2).await;
        let mut last = None;
        for id in 3..100 {
            last = Some(append(&log, id));
            shard::yield_now().await;
        }
        assert_eq!(log.stats().flight_count, 2);
        gates.iter().for_each(|gate| gate.notify_one());
        log.committed(last.unwrap().ticket).await.unwrap();
        assert_eq!(log.stats().flight_count, 3);
        log.close().await;
    });
}

#[test]
fn a_disk_that_fails_for_good_makes_the_log_full_and_not_wrong() {
    run(async |path| {
        let (log, _) = open(&path).await;
        // The next segment is there; the one after it cannot be made.
        for _ in 0..100 {
            plan(Call::Create, Fault::Fail(ENOSPC));
        }
        let mut confirmed = Vec::new();
        let error = loop {
            plan(Call::Sync, Fault::Fail(EIO));
            match log.room(8).await {
                Ok(()) => {}
                Err(error) => break error,
            }
            let id = confirmed.len() as u64;
            let appended = append(&log, id);
            confirmed.push(log.committed(appended.ticket).await.is_ok());
            assert!(confirmed.len() < 10);
        };
        assert_eq!(error, AppendError::Full);
        assert!(!log.available());
        assert_eq!(confirmed, [false, false]);
        log.close().await;
    });
}

#[test]
fn a_log_opens_where_its_quota_is_used_up() {
    run(async |path| {
        let (log, _) = open(&path).await;
        log.committed(append(&log, 1).ticket).await.unwrap();
        log.close().await;
        // Without a spare a start has to make a file.
        for entry in std::fs::read_dir(path.join("log-1")).unwrap() {
            let file = entry.unwrap();
            if file.file_name() != "segment-00000001" {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
        plan(Call::Create, Fault::Fail(EDQUOT));
        let mut ids = Vec::new();
        let opened = Log::open(options(&path), &mut |view| ids.push(view.id)).await;
        let (log, _) = opened.expect("what is there can still be delivered");
        assert_eq!(ids, [1]);
        assert!(!log.available());
        log.close().await;
    });
}

/// That the disk is full is noticed when the next segment is made, and that takes its time: what comes meanwhile
/// must leave the notes their room all the same.
#[test]
fn content_leaves_the_reserve_alone_before_the_disk_is_known_to_be_full() {
    // Copied into a batch, and as batches of their own.
    for len in [100, 6_000, 40_000] {
        run(async |path| {
            let (log, _) = open(&path).await;
            let unnoticed = Rc::new(Notify::new());
            plan(Call::Create, Fault::HoldAndFail(unnoticed.clone(), ENOSPC));
            for _ in 0..100 {
                plan(Call::Create, Fault::Fail(ENOSPC));
            }
            let content = vec![0; len];
            let mut count = 0;
            let refused = loop {
                match log.append_copied(Label::now(1, count), &[&content]) {
                    Ok(_) => count += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(refused, AppendError::Preparing);
            assert!(log.available(), "nobody knows yet");
            unnoticed.notify_one();
            assert_eq!(log.room(len).await, Err(AppendError::Full));
            let mut last = None;
            for id in 0..RESERVE_LEN / 4096 {
                let note = Label::upkeep(2, id as u64);
                let noted = log.append_copied(note, &[&[0; 4_000]]);
                last = Some(noted.expect("room for what settles"));
            }
            log.committed(last.unwrap().ticket).await.unwrap();
            log.close().await;
        });
    }
}
