//! `kill -9` under load, at random instants: whatever was answered 250 arrives, whole.
//!
//! A message counts as promised when its client has read the 250, and only then. After the last restart
//! every promised copy has to be at the sink: *lost* is what is not. *Duplicates* are what came twice;
//! at-least-once permits them for what was in flight at a crash and for the outcomes of one batch, and more
//! than that is a failure (`tally` says how it is known).
//!
//! `KILL_ROUNDS=500 KILL_SEED=7 cargo test -p mailrail-tests --test kill` goes on for longer, or
//! differently.

use mailrail_runtime::clock;
use mailrail_tests::storm::{Calm, setting};

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let rounds = setting("KILL_ROUNDS", 20);
    let seed = setting("KILL_SEED", 20);
    let calm = Calm::new();
    let mut server = calm.setup().start();
    let mut storm = calm.begin(server.address(), seed);
    for round in 0..rounds {
        storm.rage(round, 400);
        server.kill();
        storm
            .tally
            .crash(clock::micros(), storm.sink.connection_count());
        let started = storm.start(&mut server, round + 1);
        started.expect("the server starts after a kill -9");
    }
    storm.acknowledge(200);
    let figures = storm.figures();
    let (outcome, refusals) = storm.end();
    eprintln!("kill -9, {rounds} rounds, seed {seed}: {outcome}; {figures}");
    assert!(outcome.lost.is_empty(), "lost: {:?}", outcome.lost);
    assert!(outcome.excesses.is_empty(), "{:?}", outcome.excesses);
    assert!(refusals.is_empty(), "refusals under load: {refusals:?}");
    server.stop();
}
