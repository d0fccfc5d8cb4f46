//! Power cuts on a disk that forgets what was not flushed: whatever was answered 250 arrives, whole.
//!
//! The server's data lies on ext4, on a loop device, on a disk of our own with a volatile cache (see
//! `lossy`). At a cut every block that no flush covered is lost, or some are, in any order. So this
//! sees what no shut-down file system can: a commit that was not synced. Its control leaves that sync
//! out, and has to lose mail.
//!
//! `LOSSY_ROUNDS=200 LOSSY_SEED=7 cargo test -p mailrail-tests --test lossy` goes on for longer, or
//! differently. Where there is no FUSE, or nothing can be mounted, there is a message and nothing else.

use mailrail_runtime::clock;
use mailrail_runtime::sim::Sabotage;
use mailrail_tests::loopback::{Kind, Loopback};
use mailrail_tests::lossy::{LossyDisk, Survival};
use mailrail_tests::server::{self, Setup};
use mailrail_tests::storm::{Calm, Storm, setting};
use mailrail_tests::tally::Tally;
use mailrail_tests::{Server, Sink};

/// Bytes of the disk; little of it is ever written.
const DISK_LEN: u64 = 256 << 20;

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

/// A storm with that many cuts. `None`, and a message, where there is no such disk.
fn cuts(rounds: u64, change: impl FnOnce(Setup) -> Setup) -> Option<(Machine, Storm)> {
    let calm = Calm::new();
    let setup = calm
        .setup()
        // Short ones: a segment is begun in every round.
        .listener("max_message_size = \"512 KiB\"")
        .listener("max_recipients_per_message = 100")
        .set("spool", "segment_size = \"1 MiB\"");
    let mut machine = Machine::start(change(setup))?;
    let mut storm = calm.begin(machine.server.address(), setting("LOSSY_SEED", 20));
    for round in 0..rounds {
        storm.rage(round, 200);
        let survival = match storm.chance.below(3) {
            0 => Survival::None,
            _ => Survival::Some(storm.chance.next_u64()),
        };
        machine.cut(&mut storm.tally, &storm.sink, survival);
        let started = storm.start(&mut machine.server, round + 1);
        started.expect("the server starts after a cut");
    }
    storm.acknowledge(100);
    Some((machine, storm))
}

#[test]
fn nothing_acknowledged_is_lost_by_a_disk_that_forgets() {
    let rounds = setting("LOSSY_ROUNDS", 8);
    let Some((mut machine, mut storm)) = cuts(rounds, |setup| setup) else {
        return;
    };
    let figures = storm.figures();
    let (outcome, _) = storm.end();
    eprintln!("cuts of a disk that forgets, {rounds} rounds: {outcome}; {figures}");
    machine.server.stop();
    assert!(outcome.lost.is_empty(), "lost: {:?}", outcome.lost);
    assert!(outcome.excesses.is_empty(), "{:?}", outcome.excesses);
}

/// The control: without the sync of the commit mail is lost, and it is seen here. What a cut takes along is what no
/// other sync has covered and nobody has delivered yet, so one cut may find nothing, and many hardly can.
#[test]
fn a_commit_without_its_sync_is_found() {
    let Some((machine, storm)) = cuts(8, |setup| setup.sabotage(Sabotage::CommitSync)) else {
        return;
    };
    let outcome = storm.end_in_loss();
    drop(machine);
    eprintln!("cuts of a disk that forgets, no commit synced: {outcome}");
    assert!(
        !outcome.lost.is_empty(),
        "no commit was synced, and nothing is lost"
    );
}
