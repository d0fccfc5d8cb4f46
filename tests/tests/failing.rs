//! A disk that fails under a running server: after a failed sync never a 250, but 4xx; delivery goes on from
//! memory, the operator is told, and once the disk is back nothing acknowledged is missing.
//!
//! Delivery goes on until 64 outcomes of a shard wait to be noted, since each of them is a delivery that
//! comes again after a restart. The load here stays below, also when all senders have come to one shard.
//!
//! The file system on a loop device is shut down: each write and each sync is answered EIO from then on.
//! Only root can mount: others see a message and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailrail_runtime::clock;
use mailrail_tests::cut::Machine;
use mailrail_tests::load::{self, Load};
use mailrail_tests::loopback::Kind;
use mailrail_tests::tally::Tally;
use mailrail_tests::{Answer, Script, Server, Sink};

/// Connections to the sink, each with two messages at a time.
const CONNECTIONS: usize = 4;

/// Messages acknowledged before the disk goes, and how many may be begun until it is gone. Most have one
/// outcome, a third has two.
const ACKNOWLEDGED: u64 = 30;
const MESSAGES_MAX: usize = 36;

/// Accepts everything, and says so at the end of a message when the gate is open.
fn behind(gate: Arc<AtomicBool>) -> Script {
    Script::new(move |step| {
        while step.verb == "END" && !gate.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Answer::Accept
    })
}

fn check(kind: Kind) {
    let gate = Arc::new(AtomicBool::new(false));
    let sink = Sink::with(behind(Arc::clone(&gate)));
    let limit = format!("connection_limit = {CONNECTIONS}");
    let setup = Server::setup()
        // What cannot be noted is waited for so long.
        .top("stop_timeout = \"1s\"")
        .route_with("*", sink.address(), &limit);
    let Some(mut machine) = Machine::start(kind, setup) else {
        return;
    };
    let mut load = Load::start_with(machine.server.address(), 6, 20, MESSAGES_MAX);
    let mut tally = Tally::new();
    load.acknowledge(ACKNOWLEDGED, &mut tally, &sink);

    // However long that takes, the senders promise no more meanwhile than may wait to be noted.
    machine.disk.shut_down();
    let failed = clock::micros();
    load.lift_limit();
    let taken = load.be_refused(60, &mut tally, &sink);
    let late = taken.iter().filter(|promise| promise.begun > failed);
    assert_eq!(late.count(), 0, "a 250 although the disk was gone");
    let refusals = load.stop(&mut tally);
    assert!(
        refusals.iter().all(|reply| matches!(reply.code, 451 | 452)),
        "{refusals:?}"
    );
    let codes = |code| refusals.iter().filter(|reply| reply.code == code).count();
    let log = machine.server.log();
    assert!(log.contains("writing the log failed"), "{log}");

    // What waits in memory is delivered all the same.
    gate.store(true, Ordering::Relaxed);
    load::collect(&mut tally, &sink);
    assert_eq!(tally.missing(), 0, "not delivered without the disk");
    let mut client = machine.server.client();
    let reply = client
        .submit(
            "sender@client.example",
            &["one@first.example"],
            b"A: b\r\n\r\n",
        )
        .expect("a reply");
    assert!(matches!(reply.code, 451 | 452), "{reply:?}");

    // The disk is repaired, and what could not be noted comes again.
    machine.server.terminate();
    machine.server.wait();
    tally.crash(clock::micros(), sink.connection_count());
    machine.disk.unmount();
    machine.disk.mount();
    machine.server.start();
    let mut load = Load::start(machine.server.address(), 6, 21);
    load.acknowledge(100, &mut tally, &sink);
    assert!(load.stop(&mut tally).is_empty(), "refused on a good disk");
    load::collect(&mut tally, &sink);
    let outcome = tally.outcome(2 * CONNECTIONS);
    eprintln!(
        "{} gone under load: {} times 451, {} times 452; then {outcome}",
        kind.name(),
        codes(451),
        codes(452)
    );
    assert!(outcome.lost.is_empty(), "lost: {:?}", outcome.lost);
    assert!(outcome.excesses.is_empty(), "{:?}", outcome.excesses);
    machine.server.stop();
}

#[test]
fn a_failing_ext4_is_never_answered_250() {
    check(Kind::Ext4);
}

#[test]
fn a_failing_xfs_is_never_answered_250() {
    check(Kind::Xfs);
}
