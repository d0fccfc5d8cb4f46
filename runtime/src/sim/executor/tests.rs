//! The world's tasks and its time, tried.

use super::*;
use crate::shard::{self, Lane};

/// What ten tasks do that sleep, wake each other and draw lots.
fn story(seed: u64) -> (u64, Vec<u64>) {
    World::run(seed, |world| async move {
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let (world, order) = (world.clone(), Rc::clone(&order));
                shard::spawn(Lane::Background, async move {
                    let micros = world.chance().below(5_000);
                    timer::sleep(micros).await;
                    shard::yield_now().await;
                    world.note(&u64::to_le_bytes(number));
                    order.borrow_mut().push(number);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let order = order.borrow().clone();
        (world.hash(), order)
    })
}

#[test]
fn a_seed_gives_the_same_run_each_time_and_another_seed_another() {
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}

#[test]
fn years_pass_in_no_time() {
    World::run(1, |world| async move {
        let year = 365 * 24 * 3600 * 1_000_000;
        let before = world.unix_millis();
        timer::sleep(year).await;
        assert!(world.micros() >= year);
        assert!(world.unix_millis() - before >= year / 1000);
        world.jump(-5000);
        assert!(crate::clock::unix_millis() + 5000 >= before + year / 1000);
    });
}

#[test]
fn what_was_killed_runs_no_further_and_is_dropped() {
    World::run(1, |world| async move {
        let held = Rc::new(());
        let copy = Rc::clone(&held);
        let host = world.host([192, 0, 2, 1].into());
        let process = host.spawn(async move {
            let inner = Rc::clone(&copy);
            shard::spawn(Lane::Accept, async move {
                let _inner = inner;
                std::future::pending::<()>().await;
            })
            .detach();
            timer::sleep(1_000_000).await;
            panic!("it was killed before that");
        });
        world.pause(1000).await;
        assert_eq!(Rc::strong_count(&held), 3);
        assert!(process.is_running());
        host.kill(&process);
        assert!(!process.is_running());
        assert_eq!(Rc::strong_count(&held), 1);
        world.pause(2_000_000).await;
    });
}

#[test]
fn a_process_ends_with_its_last_shard() {
    World::run(1, |world| async move {
        let host = world.host([192, 0, 2, 1].into());
        let process = host.start(2, 4, |place: Place<u64>| async move {
            if place.index == 0 {
                place.mesh.post(1, 7).unwrap();
            } else {
                assert_eq!(place.mesh.receive().await, 7);
                assert_eq!(shard::index(), 1);
                shard::spawn(Lane::Accept, std::future::pending::<()>()).detach();
            }
        });
        world.pause(1).await;
        assert!(!process.is_running());
    });
}

#[test]
#[should_panic = "nothing is left that could happen"]
fn a_world_in_which_nothing_can_happen_is_an_error() {
    World::run(1, |_| std::future::pending::<()>());
}

#[test]
fn nothing_of_a_world_is_left() {
    let weak = World::run(1, |world| async move {
        let host = world.host([192, 0, 2, 1].into());
        let other = host.clone();
        host.spawn(async move {
            let _other = other;
            shard::spawn(Lane::Accept, std::future::pending::<()>()).detach();
            timer::sleep(1_000_000_000).await;
        });
        world.pause(5_000).await;
        Rc::downgrade(&world.0)
    });
    assert_eq!(weak.strong_count(), 0);
}

#[test]
fn a_waker_that_outlives_its_world_wakes_nobody_in_the_next() {
    let waker = World::run(1, |_| {
        poll_fn(|context| Poll::Ready(context.waker().clone()))
    });
    let steps = World::run(1, |world| async move {
        let before = world.step_count();
        waker.wake();
        world.pause(1).await;
        world.step_count() - before
    });
    assert_eq!(steps, 1);
}

#[test]
fn a_task_that_cancels_itself_or_ends_its_process_is_dropped_after_its_step() {
    World::run(1, |world| async move {
        let held = Rc::new(());
        let host = world.host([192, 0, 2, 1].into());
        let process: Rc<RefCell<Option<Process<()>>>> = Rc::default();
        let (copy, own, machine) = (Rc::clone(&held), Rc::clone(&process), host.clone());
        let started = host.spawn(async move {
            let _copy = copy;
            timer::sleep(1).await;
            let process = own.borrow_mut().take();
            machine.kill(&process.unwrap());
            // It is still in its step, and may even start what is never polled.
            shard::spawn(Lane::Accept, async { unreachable!() }).detach();
            std::future::pending::<()>().await;
        });
        *process.borrow_mut() = Some(started);
        world.pause(10_000).await;
        assert_eq!(Rc::strong_count(&held), 1);
    });
}
