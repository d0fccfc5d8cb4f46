//! Power cuts under load, at random instants, on ext4 and on XFS: whatever was answered 250 arrives, whole.
//!
//! The server's data lies on a loop device. At a cut the server stands still, its file system is shut down
//! with its journal in memory lost, the server is killed, the file system mounted again and the server
//! started. That tries what the log owes to names and to the sizes of files: preparing a segment, renaming,
//! syncing directories. It cannot see a commit without a sync, since what is written past the page cache
//! has reached the image by then.
//!
//! `POWER_ROUNDS=200 POWER_SEED=7 cargo test -p mailrail-tests --test power` goes on for longer, or
//! differently. Only root can mount: others see a message and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailrail_tests::cut::Machine;
use mailrail_tests::load::{self, Load};
use mailrail_tests::loopback::Kind;
use mailrail_tests::message::Chance;
use mailrail_tests::server::Setup;
use mailrail_tests::tally::{Outcome, Tally};
use mailrail_tests::{Server, Sink};

const SENDERS: u64 = 6;

/// Connections to the sink, each with two messages at a time.
const CONNECTIONS: usize = 16;

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |given| given.parse().expect("a number"))
}

fn setup(sink: &Sink) -> Setup {
    let limit = format!("connection_limit = {CONNECTIONS}");
    Server::setup()
        .route_with("*", sink.address(), &limit)
        .set("queue", "retry_interval = \"100ms\"")
        .set("queue", "max_retry_interval = \"200ms\"")
        // Short ones: a segment is begun in every round.
        .listener("max_message_size = \"512 KiB\"")
        .set("spool", "segment_size = \"1 MiB\"")
}

/// `None`, and a message, where nothing can be mounted.
fn cut(kind: Kind, change: impl FnOnce(Setup) -> Setup) -> Option<Outcome> {
    let rounds = setting("POWER_ROUNDS", 10);
    let seed = setting("POWER_SEED", 20);
    let gate = Arc::new(AtomicBool::new(false));
    let sink = Sink::with(load::moody(Arc::clone(&gate)));
    let mut machine = Machine::start(kind, change(setup(&sink)))?;
    let mut load = Load::start(machine.server.address(), SENDERS, seed);
    let mut tally = Tally::new();
    let mut chance = Chance::new(seed);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        // Every fourth round the power fails again while the server still recovers.
        let count = if round % 4 == 3 {
            0
        } else {
            20 + chance.below(400)
        };
        // What is stuck stays so over several cuts, and does not pile up for ever.
        gate.store(round % 16 == 15, Ordering::Relaxed);
        load.acknowledge(count, &mut tally, &sink);
        std::thread::sleep(Duration::from_micros(chance.below(30_000)));
        machine.cut(&mut tally, &sink);
        slowest = slowest.max(machine.server.greeted_after());
    }
    load.acknowledge(200, &mut tally, &sink);
    load.stop(&mut tally);
    gate.store(true, Ordering::Relaxed);
    load::collect(&mut tally, &sink);

    let outcome = tally.outcome(2 * CONNECTIONS);
    let name = kind.name();
    eprintln!(
        "power cuts on {name}, {rounds} rounds, seed {seed}: {outcome}; slowest banner {slowest:?}"
    );
    machine.server.stop();
    Some(outcome)
}

fn check(kind: Kind) {
    let Some(outcome) = cut(kind, |setup| setup) else {
        return;
    };
    assert!(outcome.lost.is_empty(), "lost: {:?}", outcome.lost);
    assert!(outcome.excesses.is_empty(), "{:?}", outcome.excesses);
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts_on_ext4() {
    check(Kind::Ext4);
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts_on_xfs() {
    check(Kind::Xfs);
}
