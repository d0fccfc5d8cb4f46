//! `kill -9` under load, at random instants, twenty times: whatever was answered 250 arrives.
//!
//! The clients write each id to a file when they have read its 250, and only then. After the last
//! restart every id in that file has to be at the sink: *lost* is what is not. *Duplicates* are
//! seen twice, which at-least-once permits and is counted; so is mail that was committed although
//! the client never read its 250.
//!
//! `KILL_ROUNDS=500 KILL_SEED=7 cargo test -p mailrail-tests --test kill` goes on for longer, or
//! differently.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use mailrail_tests::message::{self, Chance};
use mailrail_tests::wait::Deadline;
use mailrail_tests::{Answer, Client, Received, Script, Server, Sink};

const SENDERS: u64 = 6;
const STUCK: &str = "three@stuck.example";

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |given| given.parse().expect("a number"))
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let rounds = setting("KILL_ROUNDS", 20);
    let seed = setting("KILL_SEED", 20);
    let is_last = Arc::new(AtomicBool::new(false));
    let sink = Sink::with(moody(Arc::clone(&is_last)));
    let mut server = Server::setup()
        .route("*", sink.address())
        .set("queue", "retry_interval = \"100ms\"")
        .set("queue", "max_retry_interval = \"200ms\"")
        .start();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("acknowledged");
    let (acknowledge, acknowledged) = mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<JoinHandle<()>> = (0..SENDERS)
        .map(|number| {
            let (address, stop) = (server.address(), Arc::clone(&stop));
            let acknowledge = acknowledge.clone();
            std::thread::Builder::new()
                .name(format!("sender {number}"))
                .spawn(move || {
                    send_until(
                        &stop,
                        number,
                        Chance::new(seed + number + 1),
                        address,
                        &acknowledge,
                    )
                })
                .expect("a thread")
        })
        .collect();
    drop(acknowledge);

    // One writer, in the order of the replies. Closed and read back before anything is judged.
    let mut file = File::create(&path).expect("a file");
    let mut write = |id: &str| writeln!(file, "{id}").expect("room on the disk");
    let mut chance = Chance::new(seed);
    for round in 0..rounds {
        // Every fourth round the server dies while it still recovers from the last death.
        let count = if round % 4 == 3 {
            0
        } else {
            20 + chance.below(400)
        };
        for _ in 0..count {
            write(
                &acknowledged
                    .recv_timeout(Duration::from_secs(60))
                    .expect("mail is accepted"),
            );
        }
        std::thread::sleep(Duration::from_micros(chance.below(30_000)));
        server.kill();
        server.start();
    }
    for _ in 0..200 {
        write(
            &acknowledged
                .recv_timeout(Duration::from_secs(60))
                .expect("mail is accepted"),
        );
    }
    stop.store(true, Ordering::Relaxed);
    senders
        .into_iter()
        .for_each(|sender| sender.join().expect("a sender"));
    acknowledged.try_iter().for_each(|id| write(&id));

    is_last.store(true, Ordering::Relaxed);
    let promised: HashSet<String> = BufReader::new(File::open(&path).expect("the file"))
        .lines()
        .map(|line| line.expect("a line"))
        .flat_map(|id| {
            let copy = |recipient: &&str| format!("{id} {recipient}");
            recipients(&id).iter().map(copy).collect::<Vec<_>>()
        })
        .collect();
    let seen = collect(&sink, &promised);
    let lost: Vec<&String> = promised
        .iter()
        .filter(|copy| !seen.contains_key(*copy))
        .collect();
    let duplicates: usize = seen.values().map(|count| count - 1).sum();
    let unacknowledged = seen.keys().filter(|copy| !promised.contains(*copy)).count();
    eprintln!(
        "kill -9, {rounds} rounds, seed {seed}: acknowledged copies {}, lost {}, duplicates {duplicates}, \
         committed but not acknowledged {unacknowledged}",
        promised.len(),
        lost.len(),
    );
    assert!(lost.is_empty(), "lost: {lost:?}");
    server.stop();
}

/// The copies that came, until all that were promised have, or nothing comes any more.
fn collect(sink: &Sink, promised: &HashSet<String>) -> HashMap<String, usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut missing = promised.clone();
    while let Some(received) = sink.already().or_else(|| {
        let patience = if missing.is_empty() { 1 } else { 20 };
        sink.next_before(Deadline::after(Duration::from_secs(patience)))
    }) {
        let id = unchanged(&received);
        for recipient in &received.recipients {
            let copy = format!("{id} {recipient}");
            missing.remove(&copy);
            *seen.entry(copy).or_default() += 1;
        }
    }
    seen
}

/// The id, of a message that is what was sent to the last byte.
fn unchanged(received: &Received) -> &str {
    let id = received.id.as_deref().expect("an id");
    let sent = message::with_id(id, size(id));
    assert!(
        message::without_received(&received.content) == sent,
        "{id} has changed on its way"
    );
    id
}

/// The size stands in the id, so that the content can be made again: `sender-number-size`.
fn size(id: &str) -> usize {
    id.rsplit('-')
        .next()
        .and_then(|size| size.parse().ok())
        .expect("a size in the id")
}

/// One message in three has two recipients of two domains: groups that end apart. One in fifty has
/// another that is deferred until the last restart: its message outlives many segments of the log,
/// and is moved from one to the next.
fn recipients(id: &str) -> &'static [&'static str] {
    const ALL: [&str; 3] = ["one@first.example", "two@second.example", STUCK];
    match size(id) {
        size if size % 50 == 1 => &ALL,
        size if size % 3 == 0 => &ALL[..2],
        _ => &ALL[..1],
    }
}

fn send_until(
    stop: &AtomicBool,
    number: u64,
    mut chance: Chance,
    server: SocketAddr,
    acknowledge: &Sender<String>,
) {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut client) = connect(server) else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            let limit = if chance.below(20) == 0 {
                200_000
            } else {
                10_000
            };
            let id = format!("{number}-{count}-{}", 100 + chance.below(limit));
            let content = message::with_id(&id, size(&id));
            match client.submit("sender@client.example", recipients(&id), &content) {
                Ok(reply) if reply.code == 250 => {
                    if acknowledge.send(id).is_err() {
                        return;
                    }
                }
                Ok(reply) if reply.code == 421 => break,
                Ok(reply) => panic!("a refusal under load: {reply:?}"),
                Err(_) => break,
            }
        }
    }
}

fn connect(server: SocketAddr) -> Option<Client> {
    let mut client = Client::open(server).ok()?;
    client.try_reply().ok().filter(|reply| reply.code == 220)?;
    client.send(b"EHLO client.example\r\n").ok()?;
    client.try_reply().ok().filter(|reply| reply.code == 250)?;
    Some(client)
}

/// Takes most mail, defers some, and hangs up at times: the server has outcomes of all kinds to
/// remember when it dies.
fn moody(is_last: Arc<AtomicBool>) -> Script {
    let count = AtomicUsize::new(0);
    Script::new(move |step| {
        let count = count.fetch_add(1, Ordering::Relaxed);
        let is_stuck = step.argument.contains(STUCK) && !is_last.load(Ordering::Relaxed);
        match step.verb {
            "RCPT" if is_stuck => Answer::Say("450 4.2.1 not before the end"),
            "RCPT" if count.is_multiple_of(23) => Answer::Say("450 4.2.1 later"),
            "END" if count.is_multiple_of(17) => Answer::Say("451 4.3.0 later"),
            "END" if count.is_multiple_of(59) => Answer::Drop,
            _ => Answer::Accept,
        }
    })
}
