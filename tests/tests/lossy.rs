//! Power cuts on a disk that forgets what was not flushed: whatever was answered 250 arrives, whole.
//!
//! The server's data lies on ext4, on a loop device, on a disk of our own with a volatile cache (see
//! `lossy`). At a cut every block that no flush covered is lost, or some are, in any order. So this
//! sees what no shut-down file system can: a commit that was not synced. Its control leaves that sync
//! out, and has to lose mail.
//!
//! `LOSSY_ROUNDS=200 LOSSY_SEED=7 cargo test -p mailrail-tests --test lossy` goes on for longer, or
//! differently. Where there is no FUSE, or nothing can be mounted, there is a message and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailrail_runtime::clock;
use mailrail_runtime::sim::Sabotage;
use mailrail_tests::load::{self, Load};
use mailrail_tests::loopback::{Kind, Loopback};
use mailrail_tests::lossy::{LossyDisk, Survival};
use mailrail_tests::message::Chance;
use mailrail_tests::server::{self, Setup};
use mailrail_tests::tally::{Outcome, Tally};
use mailrail_tests::{Server, Sink};

const SENDERS: u64 = 6;

/// Connections to the sink, each with two messages at a time.
const CONNECTIONS: usize = 16;

/// Bytes of the disk; little of it is ever written.
const DISK_LEN: u64 = 256 << 20;

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |given| given.parse().expect("a number"))
}

/// A server whose disk forgets. Dropped in this order: each stands on the next.
struct Machine {
    server: Server,
    files: Loopback,
    disk: LossyDisk,
}

impl Machine {
    fn start(setup: Setup) -> Option<Self> {
        let mut disk = LossyDisk::new(&server::directory_of_tests(), DISK_LEN);
        disk.power_on()?;
        let files = Loopback::within(Kind::Ext4, &disk.path())?;
        let server = setup.data_dir(&files.path().join("data")).start();
        Some(Self {
            server,
            files,
            disk,
        })
    }

    /// Cuts the power, now, and brings everything back but the server.
    #[track_caller]
    fn cut(&mut self, tally: &mut Tally, sink: &Sink, survival: Survival) {
        // A 250 that leaves after this instant had its flush before it: all later ones fail.
        self.disk.cut();
        self.server.kill();
        tally.crash(clock::micros(), sink.connection_count());
        self.files.unmount();
        self.disk.settle(survival);
        self.disk.power_on().expect("it went before");
        self.files.mount();
    }
}

/// `None`, and a message, where there is no such disk.
fn cuts(rounds: u64, change: impl FnOnce(Setup) -> Setup) -> Option<Outcome> {
    let seed = setting("LOSSY_SEED", 20);
    let gate = Arc::new(AtomicBool::new(false));
    let sink = Sink::with(load::moody(Arc::clone(&gate)));
    let limit = format!("connection_limit = {CONNECTIONS}");
    let setup = Server::setup()
        .route_with("*", sink.address(), &limit)
        .set("queue", "retry_interval = \"100ms\"")
        .set("queue", "max_retry_interval = \"200ms\"")
        // Short ones: a segment is begun in every round.
        .listener("max_message_size = \"512 KiB\"")
        .set("spool", "segment_size = \"1 MiB\"");
    let mut machine = Machine::start(change(setup))?;
    let mut load = Load::start(machine.server.address(), SENDERS, seed);
    let mut tally = Tally::new();
    let mut chance = Chance::new(seed);
    for round in 0..rounds {
        // Every fourth round the power fails again while the server still recovers.
        let is_early = round % 4 == 3;
        let count = if is_early { 0 } else { 20 + chance.below(200) };
        gate.store(round % 16 == 15, Ordering::Relaxed);
        load.acknowledge(count, &mut tally, &sink);
        std::thread::sleep(Duration::from_micros(chance.below(30_000)));
        let survival = match chance.below(3) {
            0 => Survival::None,
            _ => Survival::Some(chance.next_u64()),
        };
        machine.cut(&mut tally, &sink, survival);
        machine.server.start();
    }
    load.acknowledge(100, &mut tally, &sink);
    load.stop(&mut tally);
    gate.store(true, Ordering::Relaxed);
    load::collect(&mut tally, &sink);
    let outcome = tally.outcome(2 * CONNECTIONS);
    eprintln!("cuts of a disk that forgets, {rounds} rounds, seed {seed}: {outcome}");
    machine.server.stop();
    Some(outcome)
}

#[test]
fn nothing_acknowledged_is_lost_by_a_disk_that_forgets() {
    let Some(outcome) = cuts(setting("LOSSY_ROUNDS", 8), |setup| setup) else {
        return;
    };
    assert!(outcome.lost.is_empty(), "lost: {:?}", outcome.lost);
    assert!(outcome.excesses.is_empty(), "{:?}", outcome.excesses);
}

/// The control: without the sync of the commit mail is lost, and it is seen here.
#[test]
fn a_commit_without_its_sync_is_found() {
    let Some(outcome) = cuts(3, |setup| setup.sabotage(Sabotage::CommitSync)) else {
        return;
    };
    assert!(
        !outcome.lost.is_empty(),
        "no commit was synced, and nothing is lost"
    );
}
