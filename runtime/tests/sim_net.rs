//! The network of a seeded world: what comes through it, and what each kind of weather does to it. Datagrams are
//! in `datagrams`.
#![cfg(feature = "sim")]

#[path = "sim_net/datagrams.rs"]
mod datagrams;
mod dialogue;

use dialogue::{answer_hello, wait_to_read};
use mailrail_runtime::clock::{self, NEVER};
use mailrail_runtime::net::inbox::Inbox;
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::net::listening::Stretch;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::shard::{self, Lane};
use mailrail_runtime::sim::net::{Counts, Cut};
use mailrail_runtime::sim::{Chance, Host, Weather, World};
use mailrail_runtime::timer;
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

const MILLION: u32 = 1_000_000;
const PAST: u64 = 0;

fn ip(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn at(last: u8) -> SocketAddr {
    (ip(last), 25).into()
}

/// Two ends of one connection: from the machine 1, where a task is run that gets the one end, to the
/// caller's, which is the director's.
async fn pair() -> (Stream, Stream) {
    let listener =
        Listener::bind((mailrail_runtime::sim::net::DIRECTOR_ADDRESS, 0).into()).unwrap();
    let address = listener.local();
    let source = shard::spawn(Lane::Accept, Stream::connect(address, None, NEVER));
    let accepted = listener.accept().await.unwrap();
    (source.await.unwrap(), accepted)
}

/// A machine on which everybody who connects is echoed until the end of what they say.
fn echo(world: &World, last: u8) -> Host {
    let host = world.host(ip(last));
    host.spawn(async move {
        let listener = Listener::bind(at(last)).unwrap();
        loop {
            let Ok(mut stream) = listener.accept().await else {
                continue;
            };
            shard::spawn(Lane::Accept, async move {
                let mut buffer = [0; 700];
                while let Ok(count @ 1..) = stream.read(&mut buffer, NEVER).await {
                    if stream.write_all(&buffer[..count], NEVER).await.is_err() {
                        break;
                    }
                }
            })
            .detach();
        }
    });
    host
}

/// All that comes until the end, and how it ended.
async fn read_all(stream: &mut Stream, deadline: u64) -> (Vec<u8>, Option<ErrorKind>) {
    let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match stream.read(&mut buffer, deadline).await {
            Ok(0) => return (all, None),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn bytes_go_both_ways_and_the_ends_know_each_other() {
    World::run(1, |_| async {
        let (mut left, mut right) = pair().await;
        assert_eq!(left.peer(), right.local().unwrap());
        assert_eq!(left.local().unwrap(), right.peer());
        let mut buffer = [0; 16];
        left.write_all(b"hello", PAST).await.unwrap();
        assert_eq!(
            right.try_read(&mut buffer).unwrap(),
            None,
            "it takes its time"
        );
        answer_hello(&mut left, &mut right).await;
        let error = right.write_all(b"x", NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(left.read(&mut buffer, NEVER).await.unwrap(), 0);
        left.write_all(b"still", PAST).await.unwrap();
        assert_eq!(right.read(&mut buffer, NEVER).await.unwrap(), 5);
        drop(left);
        assert_eq!(right.read(&mut buffer, NEVER).await.unwrap(), 0);
    });
}

#[test]
fn who_waits_to_read_is_told_when_it_is_worth_a_try() {
    World::run(1, |_| async {
        let (mut left, mut right) = pair().await;
        wait_to_read(&mut left, &mut right).await;
    });
}

#[test]
fn a_window_is_bounded_and_opens_with_each_read() {
    World::run(1, |world| async move {
        let window_len = 1000..1001;
        world.network().set(Weather {
            window_len,
            ..Weather::fair()
        });
        let (mut left, mut right) = pair().await;
        let all = content(5000);
        let error = left
            .write_all(&all, clock::after(50_000))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let mut buffer = [0; 2000];
        assert_eq!(right.try_read(&mut buffer).unwrap(), Some(1000));
        assert_eq!(right.try_read(&mut buffer).unwrap(), None);
        let rest = all.clone();
        let writer = shard::spawn(Lane::Accept, async move {
            left.write_all(&rest[1000..], NEVER).await.unwrap();
        });
        let (got, end) = read_all(&mut right, NEVER).await;
        assert_eq!((got, end), (all[1000..].to_vec(), None));
        writer.await;
    });
}

#[test]
fn who_writes_much_hears_in_between() {
    World::run(1, |world| async move {
        world.network().set(Weather {
            window_len: 1000..1001,
            ..Weather::fair()
        });
        let (mut left, mut right) = pair().await;
        let all = content(5000);
        let slices = [&all[..100], &all[100..]];
        let (mut written, mut inbox) = (0, Inbox::new());
        right.write_all(b"no", NEVER).await.unwrap();
        let writing = left.write_listening(&slices, &mut written, &mut inbox, NEVER);
        assert_eq!(writing.await.unwrap(), Stretch::Heard);
        assert_eq!((inbox.unread(), written), (&b"no"[..], 1000));
        let rest = all.clone();
        let writer = shard::spawn(Lane::Accept, async move {
            let slices = [&rest[..100], &rest[100..]];
            let writing = left.write_listening(&slices, &mut written, &mut inbox, NEVER);
            assert_eq!(writing.await.unwrap(), Stretch::Written);
            assert_eq!(written, 5000);
        });
        assert_eq!(read_all(&mut right, NEVER).await, (all, None));
        writer.await;
    });
}

#[test]
fn nobody_there_is_refused_and_no_answer_is_late() {
    World::run(1, |world| async move {
        let error = Stream::connect(at(9), None, NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        echo(&world, 9);
        world.pause(1).await;
        world.network().set(Weather {
            unanswered: MILLION,
            ..Weather::fair()
        });
        let error = Stream::connect(at(9), None, clock::after(9_000_000))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        world.network().set(Weather {
            refused: MILLION,
            ..Weather::fair()
        });
        let error = Stream::connect(at(9), None, NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        world.network().set(Weather::fair());
        let stream = Stream::connect(at(9), Some(ip(77)), NEVER).await.unwrap();
        assert_eq!(stream.local().unwrap().ip(), ip(77));
        assert_eq!(world.network().counts().failed_attempts, 3);
    });
}

#[test]
fn a_port_is_shared_by_the_shards_of_one_process_alone() {
    World::run(1, |world| async move {
        let counts = Rc::new(RefCell::new([0; 2]));
        let tally = Rc::clone(&counts);
        let process = world
            .host(ip(1))
            .start(2, 4, move |place: shard::Place<u64>| {
                let tally = Rc::clone(&tally);
                async move {
                    let listener = Listener::bind(at(1)).unwrap();
                    loop {
                        let stream = listener.accept().await.unwrap();
                        tally.borrow_mut()[place.index] += 1;
                        drop(stream);
                    }
                }
            });
        world.pause(1).await;
        let error = Listener::bind(at(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        for _ in 0..40 {
            let mut stream = Stream::connect(at(1), None, NEVER).await.unwrap();
            assert_eq!(stream.read(&mut [0; 9], NEVER).await.unwrap(), 0);
        }
        let [first, second] = *counts.borrow();
        assert!(
            first + second == 40 && first > 0 && second > 0,
            "{first} and {second}"
        );
        world.host(ip(1)).kill(&process);
        Listener::bind(at(1)).unwrap();
    });
}

#[test]
fn what_was_unread_at_a_close_is_answered_by_a_reset() {
    World::run(1, |_| async {
        let (mut left, mut right) = pair().await;
        right.write_all(b"421 go away", NEVER).await.unwrap();
        left.write_all(b"MAIL", NEVER).await.unwrap();
        assert_eq!(right.read(&mut [0; 1], NEVER).await.unwrap(), 1);
        drop(right);
        // Sooner or later it hears of it; what had come before can still be read.
        let (got, end) = read_all(&mut left, NEVER).await;
        assert_eq!(
            (&got[..], end),
            (&b"421 go away"[..], Some(ErrorKind::ConnectionReset))
        );
        assert_eq!(left.read(&mut [0; 1], NEVER).await.unwrap(), 0, "told once");
        let error = left.write_all(b"x", NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn who_writes_to_a_closed_end_is_told_one_round_later() {
    World::run(1, |_| async {
        let (mut left, right) = pair().await;
        drop(right);
        assert_eq!(left.read(&mut [0; 1], NEVER).await.unwrap(), 0);
        left.write_all(b"into nothing", NEVER).await.unwrap();
        timer::sleep(2000).await;
        let error = left.write_all(b"x", NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_connection_is_cut_at_any_byte() {
    for after in 0..60 {
        for by in Cut::ALL {
            let by = std::slice::from_ref(by);
            World::run(after, move |world| async move {
                echo(&world, 1);
                world.pause(1).await;
                let cut_after = after..after + 1;
                world.network().set(Weather {
                    cut: MILLION,
                    cut_after,
                    cut_by: by,
                    ragged: MILLION / 2,
                    ..Weather::fair()
                });
                let mut stream = Stream::connect(at(1), None, NEVER).await.unwrap();
                let all = content(100);
                let deadline = clock::after(1_000_000);
                let said = stream.write_all(&all, deadline).await;
                let (got, end) = read_all(&mut stream, deadline).await;
                assert!(
                    all.starts_with(&got) && got.len() as u64 <= after,
                    "{got:?}"
                );
                match by[0] {
                    Cut::Silence => {
                        said.unwrap();
                        assert_eq!(end, Some(ErrorKind::TimedOut));
                    }
                    // What it said after the cut is answered by a reset, which may come first.
                    Cut::End => assert_ne!(end, Some(ErrorKind::TimedOut)),
                    Cut::Reset => assert_eq!(end, Some(ErrorKind::ConnectionReset)),
                }
                assert_eq!(world.network().counts().cuts, 1);
            });
        }
    }
}

#[test]
fn the_killed_break_their_connections_and_the_powerless_say_nothing() {
    let mut ends = Vec::new();
    for seed in 0..40 {
        let end = World::run(seed, |world| async move {
            let host = world.host(ip(1));
            let process = host.spawn(async {
                let listener = Listener::bind(at(1)).unwrap();
                let _first = listener.accept().await.unwrap();
                std::future::pending::<()>().await;
            });
            world.pause(1).await;
            let mut held = Stream::connect(at(1), None, NEVER).await.unwrap();
            let mut waiting = Stream::connect(at(1), None, NEVER).await.unwrap();
            host.kill(&process);
            let waiting = read_all(&mut waiting, NEVER).await;
            assert_eq!(waiting, (Vec::new(), Some(ErrorKind::ConnectionReset)));
            let error = Stream::connect(at(1), None, NEVER).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            read_all(&mut held, NEVER).await.1
        });
        ends.push(end);
    }
    assert!(ends.contains(&None) && ends.contains(&Some(ErrorKind::ConnectionReset)));

    World::run(1, |world| async move {
        let host = echo(&world, 1);
        world.pause(1).await;
        let mut stream = Stream::connect(at(1), None, NEVER).await.unwrap();
        host.cut_power();
        let hour = clock::after(3_600_000_000);
        let end = read_all(&mut stream, hour).await.1;
        assert_eq!(end, Some(ErrorKind::TimedOut));
        stream.write_all(b"still there?", NEVER).await.unwrap();
        let end = read_all(&mut stream, NEVER).await.1;
        assert_eq!(end, Some(ErrorKind::ConnectionReset));
    });
}

#[test]
fn what_was_said_while_machines_were_parted_comes_once_they_are_joined() {
    World::run(1, |world| async move {
        let network = world.network();
        echo(&world, 1);
        let done = Rc::new(Cell::new(0));
        let told = Rc::clone(&done);
        world.host(ip(2)).spawn(async move {
            timer::sleep(1).await;
            let mut stream = Stream::connect(at(1), None, NEVER).await.unwrap();
            timer::sleep(10_000_000).await;
            stream.write_all(b"hello", NEVER).await.unwrap();
            let mut buffer = [0; 9];
            assert_eq!(stream.read(&mut buffer, NEVER).await.unwrap(), 5);
            told.set(clock::micros());
            timer::sleep(100_000).await;
            let attempt = Stream::connect(at(1), None, clock::after(5_000_000)).await;
            assert_eq!(attempt.unwrap_err().kind(), ErrorKind::TimedOut);
            let attempt = Stream::connect(at(1), None, NEVER).await;
            attempt.unwrap();
            told.set(clock::micros());
        });
        world.pause(5_000_000).await;
        network.part(ip(1), ip(2));
        world.pause(60_000_000).await;
        assert_eq!(done.get(), 0);
        network.join(ip(2), ip(1));
        let joined = world.micros();
        world.pause(5_000).await;
        assert!(done.get() > joined);
        network.part(ip(2), ip(1));
        world.pause(60_000_000).await;
        network.join_all();
        let joined = world.micros();
        world.pause(600_000_000).await;
        assert!(done.get() > joined);
    });
}

#[test]
fn descriptors_end_and_accepts_fail_for_a_while() {
    World::run(1, |world| async move {
        let network = world.network();
        let listener = Listener::bind((ip(5), 25).into()).unwrap();
        let first = Stream::connect(at(5), None, NEVER).await.unwrap();
        network.set(Weather {
            socket_count_max: 2,
            ..Weather::fair()
        });
        for _ in 0..3 {
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(24));
        }
        assert_eq!(
            Stream::connect(at(5), None, NEVER)
                .await
                .unwrap_err()
                .raw_os_error(),
            Some(24)
        );
        network.set(Weather {
            accept_failed: MILLION,
            ..Weather::fair()
        });
        assert_eq!(
            listener.accept().await.unwrap_err().raw_os_error(),
            Some(24)
        );
        network.set(Weather::fair());
        let accepted = listener.accept().await.unwrap();
        assert_eq!(accepted.peer(), first.local().unwrap());
        assert_eq!(network.counts().starved, 5);
    });
}

/// Ten talk to two through any weather; what each has heard, whatever it is, is a beginning of what it
/// said.
fn storm(seed: u64) -> (u64, Counts, u64) {
    World::run(seed, |world| async move {
        let mut chance = Chance::new(seed);
        let network = world.network();
        for last in [1, 2] {
            echo(&world, last);
        }
        network.set(Weather::any(&mut chance));
        let whole_count = Rc::new(Cell::new(0));
        for last in 10..20 {
            let (world, mut chance, whole_count) =
                (world.clone(), chance.fork(), Rc::clone(&whole_count));
            world.host(ip(last)).spawn({
                let world = world.clone();
                async move {
                    for _ in 0..3 {
                        timer::sleep(chance.below(1_000_000)).await;
                        let to = at(1 + chance.below(2) as u8);
                        let deadline = clock::after(120_000_000);
                        let Ok(mut stream) = Stream::connect(to, None, deadline).await else {
                            world.note(b"not connected");
                            continue;
                        };
                        let all = content(chance.below(20_000) as usize);
                        let (mut got, mut buffer) = (Vec::new(), [0; 999]);
                        'talk: for part in all.chunks(1 + chance.below(200) as usize) {
                            if stream.write_all(part, deadline).await.is_err() {
                                break;
                            }
                            while got.len() < all.len() {
                                match stream.try_read(&mut buffer) {
                                    Ok(Some(count @ 1..)) => {
                                        got.extend_from_slice(&buffer[..count])
                                    }
                                    Ok(None) => break,
                                    _ => break 'talk,
                                }
                            }
                        }
                        let _ = stream.shut_down();
                        let (rest, _) = read_all(&mut stream, deadline).await;
                        got.extend(rest);
                        assert!(all.starts_with(&got), "seed {seed}");
                        whole_count.set(whole_count.get() + u64::from(got == all));
                        world.note(&got.len().to_le_bytes());
                    }
                }
            });
        }
        for _ in 0..20 {
            world.pause(chance.below(2_000_000)).await;
            let pair = (
                ip(1 + chance.below(2) as u8),
                ip(10 + chance.below(10) as u8),
            );
            match chance.below(2) {
                0 => network.part(pair.0, pair.1),
                _ => network.join(pair.0, pair.1),
            }
        }
        network.join_all();
        world.pause(1_000_000_000).await;
        (world.hash(), network.counts(), whole_count.get())
    })
}

#[test]
fn any_weather_is_the_same_twice_and_invents_nothing() {
    let (mut sum, mut whole_count) = (Counts::default(), 0);
    for seed in 0..200 {
        let first = storm(seed);
        assert_eq!(first, storm(seed), "seed {seed}");
        sum.cuts += first.1.cuts;
        sum.resets += first.1.resets;
        sum.connections += first.1.connections;
        sum.failed_attempts += first.1.failed_attempts;
        whole_count += first.2;
    }
    // Most come through, and something happened to many.
    assert!(
        whole_count > sum.connections / 2,
        "{whole_count} of {sum:?}"
    );
    assert!(
        sum.cuts > 100 && sum.resets > 100 && sum.failed_attempts > 100,
        "{sum:?}"
    );
}
