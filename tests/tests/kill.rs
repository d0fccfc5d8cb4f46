//! `kill -9` under load, at random instants: whatever was answered 250 arrives, whole.
//!
//! A message counts as promised when its client has read the 250, and only then. After the last restart
//! every promised copy has to be at the sink: *lost* is what is not. *Duplicates* are what came twice;
//! at-least-once permits them for what was in flight at a crash and for the outcomes of one batch, and more
//! than that is a failure (`tally` says how it is known).
//!
//! `KILL_ROUNDS=500 KILL_SEED=7 cargo test -p mailrail-tests --test kill` goes on for longer, or
//! differently.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailrail_runtime::clock;
use mailrail_tests::load::{self, Load};
use mailrail_tests::message::Chance;
use mailrail_tests::tally::Tally;
use mailrail_tests::{Server, Sink};

const SENDERS: u64 = 6;

/// Connections to the sink, each with two messages at a time.
const CONNECTIONS: usize = 16;

/// From the start of the process to its greeting.
const BANNER_MAX: Duration = Duration::from_millis(500);

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |given| given.parse().expect("a number"))
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let rounds = setting("KILL_ROUNDS", 20);
    let seed = setting("KILL_SEED", 20);
    let gate = Arc::new(AtomicBool::new(false));
    let sink = Sink::with(load::moody(Arc::clone(&gate)));
    let limit = format!("connection_limit = {CONNECTIONS}");
    let mut server = Server::setup()
        .route_with("*", sink.address(), &limit)
        .set("queue", "retry_interval = \"100ms\"")
        .set("queue", "max_retry_interval = \"200ms\"")
        .start();
    let mut load = Load::start(server.address(), SENDERS, seed);
    let mut tally = Tally::new();
    let mut chance = Chance::new(seed);
    let mut banners = Vec::new();
    for round in 0..rounds {
        // Every fourth round the server dies while it still recovers from the last death.
        let count = if round % 4 == 3 {
            0
        } else {
            20 + chance.below(400)
        };
        // What is stuck stays so over several deaths, and does not pile up for ever.
        gate.store(round % 16 == 15, Ordering::Relaxed);
        load.acknowledge(count, &mut tally, &sink);
        std::thread::sleep(Duration::from_micros(chance.below(30_000)));
        server.kill();
        tally.crash(clock::micros(), sink.connection_count());
        server.start();
        banners.push(server.greeted_after());
    }
    load.acknowledge(200, &mut tally, &sink);
    let refusals = load.stop(&mut tally);
    gate.store(true, Ordering::Relaxed);
    load::collect(&mut tally, &sink);

    let outcome = tally.outcome(2 * CONNECTIONS);
    banners.sort();
    let (usual, slowest) = (banners[banners.len() / 2], banners[banners.len() - 1]);
    eprintln!(
        "kill -9, {rounds} rounds, seed {seed}: {outcome}; to the banner {usual:?}, at most {slowest:?}"
    );
    assert!(outcome.lost.is_empty(), "lost: {:?}", outcome.lost);
    assert!(outcome.excesses.is_empty(), "{:?}", outcome.excesses);
    assert!(refusals.is_empty(), "refusals under load: {refusals:?}");
    // One in twenty may meet a machine that is busy with others.
    let late = banners.iter().filter(|&&banner| banner >= BANNER_MAX);
    assert!(
        late.count() <= banners.len().div_ceil(20),
        "from the start to the banner: {banners:?}"
    );
    server.stop();
}
