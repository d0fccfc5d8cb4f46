//! Whole shards on real executors: starting, ending, lanes, mailboxes, timers, the rescue.

use futures_lite::future::poll_once;
use mailrail_runtime::shard::{self, Lane, Options, Place};
use mailrail_runtime::signal::{Notify, oneshot};
use mailrail_runtime::{clock, timer};
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn options(count: usize) -> Options {
    Options {
        count,
        pinned: false,
        ..Options::default()
    }
}

#[test]
fn run_one_gives_back_what_the_future_gives() {
    let text = String::from("borrowed");
    assert_eq!(
        shard::run_one(async { (shard::index(), text.len()) }).unwrap(),
        (0, 8)
    );
    assert_eq!(
        shard::run_one(async { 2 }).unwrap(),
        2,
        "and again on the same thread"
    );
}

#[test]
fn tasks_of_all_lanes_run_and_give_their_value() {
    let sum = shard::run_one(async {
        let tasks = [Lane::Accept, Lane::Deliver, Lane::Background]
            .map(|lane| shard::spawn(lane, async move { lane as usize + 1 }));
        let mut sum = 0;
        for task in tasks {
            sum += task.await;
        }
        sum
    });
    assert_eq!(sum.unwrap(), 6);
}

#[test]
fn a_dropped_task_is_cancelled_and_a_detached_one_is_not() {
    let ran = Rc::new(Cell::new(0));
    let count = |by| {
        let ran = Rc::clone(&ran);
        async move { ran.set(ran.get() + by) }
    };
    shard::run_one(async {
        drop(shard::spawn(Lane::Accept, count(1)));
        shard::spawn(Lane::Accept, count(10)).detach();
        assert_eq!(
            shard::spawn(Lane::Accept, std::future::pending::<()>())
                .cancel()
                .await,
            None
        );
        shard::spawn(Lane::Accept, async {}).await;
    })
    .unwrap();
    assert_eq!(ran.get(), 10);
}

#[test]
fn every_shard_posts_to_every_shard() {
    const EACH: u64 = 1_000;
    let sums = Arc::new([const { AtomicU64::new(0) }; 3]);
    let own = Arc::clone(&sums);
    let main = move |place: Place<u64>| {
        let sums = Arc::clone(&own);
        async move {
            assert_eq!(
                (shard::index(), place.mesh.count()),
                (place.index, place.count)
            );
            let mesh = place.mesh.clone();
            let sender = shard::spawn(Lane::Deliver, async move {
                for message in 1..=EACH {
                    for to in 0..place.count {
                        let mut message = message;
                        while let Err(back) = mesh.post(to, message) {
                            message = back;
                            timer::sleep(1_000).await;
                        }
                    }
                }
            });
            let mut sum = 0;
            for _ in 0..EACH * place.count as u64 + 1 {
                sum += place.mesh.receive().await;
            }
            sender.await;
            sums[place.index].store(sum, Ordering::Relaxed);
        }
    };
    let running = shard::run(
        Options {
            mailbox_len: 16,
            ..options(3)
        },
        main,
    )
    .unwrap();
    for shard in 0..running.count() {
        running.outside(shard).post(7).unwrap();
    }
    let outside = running.outside(0);
    running.join().unwrap();
    assert!(
        outside.is_closed() && outside.post(1) == Err(1),
        "a shard that ended receives nothing"
    );
    let expected = 3 * EACH * (EACH + 1) / 2 + 7;
    assert!(
        sums.iter()
            .all(|sum| sum.load(Ordering::Relaxed) == expected)
    );
}

#[test]
fn a_panic_ends_its_shard_and_is_told() {
    let running = shard::run(options(2), |place: Place<()>| async move {
        assert_ne!(place.index, 1, "on purpose");
        place.mesh.receive().await;
    });
    let running = running.unwrap();
    let (first, second) = (running.outside(0), running.outside(1));
    let panicked = running.join().unwrap_err();
    assert_eq!(panicked.index, 1);
    assert!(panicked.message.contains("on purpose"), "{panicked}");
    assert!(second.is_closed());
    first.post(()).unwrap();
}

#[test]
fn alarms_go_off_in_their_order_and_never_early() {
    shard::run_one(async {
        // All are armed in one breath; it is told if the machine has slept over it, and then they are armed again.
        loop {
            let begin = clock::micros();
            let order = Rc::new(RefCell::new(Vec::new()));
            let armed = Rc::new(Cell::new(0));
            let tasks: Vec<_> = [30_000, 2_000, 12_000, 0]
                .into_iter()
                .map(|wait| {
                    let (order, armed) = (Rc::clone(&order), Rc::clone(&armed));
                    shard::spawn(Lane::Accept, async move {
                        let mut alarm = pin!(timer::sleep_until(begin + wait));
                        let is_early = poll_once(&mut alarm).await.is_none();
                        armed.set(clock::micros());
                        if is_early {
                            alarm.await;
                        }
                        assert!(clock::micros() - begin >= wait);
                        order.borrow_mut().push(wait);
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            if armed.get() < begin + 2_000 {
                assert_eq!(*order.borrow(), [0, 2_000, 12_000, 30_000]);
                break;
            }
        }
    })
    .unwrap();
}

#[test]
fn a_nearer_alarm_overtakes_the_one_the_driver_sleeps_for() {
    shard::run_one(async {
        let far = shard::spawn(Lane::Accept, timer::sleep(3_600_000_000));
        shard::yield_now().await;
        timer::sleep(5_000).await;
        assert!(far.cancel().await.is_none());
    })
    .unwrap();
}

#[test]
fn until_takes_what_is_ready_and_drops_what_is_late() {
    shard::run_one(async {
        assert_eq!(
            timer::until(0, async { 1 }).await,
            Ok(1),
            "ready at once is never late"
        );
        let notify = Notify::new();
        assert_eq!(
            timer::until(0, notify.notified()).await,
            Err(timer::Elapsed)
        );
        assert_eq!(
            timer::until(clock::after(3_000), notify.notified()).await,
            Err(timer::Elapsed)
        );
        let (sender, receiver) = oneshot();
        shard::spawn(Lane::Accept, async { sender.send(5).unwrap() }).detach();
        assert_eq!(timer::until(clock::NEVER, receiver).await, Ok(Some(5)));
    })
    .unwrap();
}

#[test]
fn a_yielding_task_lets_the_others_run() {
    shard::run_one(async {
        let turns = Rc::new(Cell::new(0));
        let other = Rc::clone(&turns);
        let task = shard::spawn(Lane::Accept, async move {
            while other.get() < 100 {
                other.set(other.get() + 1);
                shard::yield_now().await;
            }
        });
        while turns.get() < 100 {
            shard::yield_now().await;
        }
        task.await;
    })
    .unwrap();
}

#[test]
fn what_blocks_runs_on_another_thread() {
    shard::run_one(async {
        let own = std::thread::current().id();
        let other = shard::blocking(|| std::thread::current().id()).await;
        assert_ne!(own, other);
    })
    .unwrap();
}

#[test]
fn open_files_are_raised_to_the_hard_limit() {
    let limit = shard::raise_open_files().unwrap();
    assert_eq!(shard::raise_open_files().unwrap(), limit);
}

/// The run loop of glommio sleeps on ready tasks when its preemption timer fires before the first
/// queue runs; with 50 µs that happens some ten times a second. No timer is armed that could end such
/// a sleep by chance, so without the watchdog the shard would sleep for ever. It ends when it was
/// rescued thrice, or after more rounds than that takes by far.
#[test]
fn a_shard_that_sleeps_on_its_work_is_rescued() {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let options = Options {
        preempt_micros: 50,
        late_micros: 20_000,
        ..options(1)
    };
    let running = shard::run(options, move |_: Place<()>| {
        let stop = Arc::clone(&stopped);
        async move {
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let stop = Arc::clone(&stop);
                    shard::spawn(Lane::Accept, async move {
                        let mut rounds = 0_u64;
                        while !stop.load(Ordering::Relaxed) && rounds < 50_000_000 {
                            rounds += 1;
                            shard::yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
        }
    })
    .unwrap();
    let rescues = running.rescue_count();
    let outside = running.outside(0);
    while rescues.get() < 3 && !outside.is_closed() {
        std::thread::sleep(Duration::from_millis(1));
    }
    stop.store(true, Ordering::Relaxed);
    running.join().unwrap();
    assert!(rescues.get() >= 3, "the hang was not provoked");
}
