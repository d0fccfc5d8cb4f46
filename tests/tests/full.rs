//! The disk fills in the middle of a load: senders hear 452 4.3.1 and nothing else, nothing that was
//! accepted is lost, delivery goes on, and service returns by itself when space does.
//!
//! A real ENOSPC on a small ext4 of the test's own: the server is told to leave nothing free, and
//! somebody else's file takes the rest.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

use mailrail_tests::loopback::{Kind, Loopback};
use mailrail_tests::message::{self, Chance};
use mailrail_tests::{Client, Script, Server, Sink, wait};

const SENDERS: u64 = 4;
const DISK_LEN: u64 = 96 << 20;
/// So often a sender asks in vain on one connection: after a few thousand commands without a message it
/// would be sent away.
const IN_VAIN_MAX: u32 = 200;

/// What a sender heard for one message.
#[derive(Debug)]
enum Heard {
    Accepted(String),
    Full,
}

/// Senders that never stop asking.
struct Load {
    heard: Receiver<Heard>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    accepted: HashSet<String>,
    refused: usize,
}

impl Load {
    fn start(server: SocketAddr) -> Self {
        let (tell, heard) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..SENDERS)
            .map(|number| {
                let (tell, stop) = (tell.clone(), Arc::clone(&stop));
                let send = move || {
                    let mut chance = Chance::new(number);
                    let mut client = Client::hello(server);
                    let mut in_vain = 0;
                    for count in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let id = format!("{number}-{count}-{}", 100 + chance.below(80_000));
                        let heard = submit(&mut client, &id);
                        in_vain = match heard {
                            Heard::Accepted(_) => 0,
                            Heard::Full => in_vain + 1,
                        };
                        if in_vain == IN_VAIN_MAX {
                            (client, in_vain) = (Client::hello(server), 0);
                        }
                        let _ = tell.send(heard);
                    }
                };
                std::thread::Builder::new().spawn(send).expect("a thread")
            })
            .collect();
        Self {
            heard,
            stop,
            threads,
            accepted: HashSet::new(),
            refused: 0,
        }
    }

    /// Takes down what the senders hear until there is enough of it.
    fn until(&mut self, what: &str, mut is_enough: impl FnMut(&Heard) -> bool) {
        wait::until(what, || {
            while let Ok(heard) = self.heard.try_recv() {
                let is_enough = is_enough(&heard);
                self.note(heard);
                if is_enough {
                    return Some(());
                }
            }
            None
        });
    }

    /// Until all of them are refused.
    fn until_full(&mut self) {
        let mut in_a_row = 0;
        self.until("nothing is accepted any more", |heard| {
            let is_refused = matches!(heard, Heard::Full);
            in_a_row = if is_refused { in_a_row + 1 } else { 0 };
            in_a_row > 200
        });
    }

    fn note(&mut self, heard: Heard) {
        match heard {
            Heard::Accepted(id) => assert!(self.accepted.insert(id), "an id was used twice"),
            Heard::Full => self.refused += 1,
        }
    }

    /// Ends the senders. What they heard is in `accepted` and `refused`.
    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("no sender heard anything else");
        }
        let rest: Vec<Heard> = self.heard.try_iter().collect();
        rest.into_iter().for_each(|heard| self.note(heard));
    }
}

/// One transaction; anything but 250 and 452 4.3.1 is a failure of the test.
fn submit(client: &mut Client, id: &str) -> Heard {
    let content = message::with_id(id, size(id));
    let reply = client
        .submit("a@client.example", &["b@sink.example"], &content)
        .expect("a reply, also when the disk is full");
    if reply.code == 250 {
        return Heard::Accepted(id.to_owned());
    }
    //= RFC 5321 section 4.2.3: 452 says that there is no room for now
    assert!(reply.is(452, "4.3.1"), "{id}: {reply:?}");
    Heard::Full
}

/// The size stands in the id: `sender-number-size`.
fn size(id: &str) -> usize {
    let size = id.rsplit('-').next();
    size.and_then(|size| size.parse().ok()).expect("a size")
}

/// Somebody else's file, which leaves so much of the disk.
fn fill(directory: &Path, name: &str, leave: u64) -> PathBuf {
    let path = directory.join(name);
    let mut file = File::create_new(&path).expect("a file");
    let free = free(directory).saturating_sub(leave);
    let zeros = vec![0; 64 * 1024];
    for _ in 0..free.div_ceil(zeros.len() as u64) {
        if file.write_all(&zeros).is_err() {
            break;
        }
    }
    let _ = file.sync_all();
    path
}

fn free(directory: &Path) -> u64 {
    let space = rustix::fs::statvfs(directory).expect("a file system");
    space.f_bfree * space.f_frsize
}

/// A sink that takes nothing before it is opened.
fn sink(open: &Arc<AtomicBool>) -> Sink {
    Sink::with(Script::until_open(open, "MAIL", "451 4.3.0 later"))
}

fn server(disk: &Loopback, sink: &Sink) -> Server {
    Server::setup()
        .route("*", sink.address())
        .data_dir(&disk.path().join("data"))
        .listener("max_message_size = \"1 MiB\"")
        .set("spool", "segment_size = \"2 MiB\"")
        .set("spool", "min_free_space = \"0 B\"")
        .set("queue", "retry_interval = \"200ms\"")
        .set("queue", "max_retry_interval = \"500ms\"")
        .start()
}

/// Everything that was promised arrives, unchanged and once.
fn collect(sink: &Sink, promised: &HashSet<String>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    while seen.len() < promised.len() {
        let received = sink.next();
        let id = received.id.expect("an id");
        let sent = message::with_id(&id, size(&id));
        assert!(
            message::without_received(&received.content) == sent,
            "{id} has changed on its way"
        );
        assert!(promised.contains(&id), "{id} was not accepted");
        *seen.entry(id).or_default() += 1;
    }
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

/// The queue ids that events of a kind name.
fn told(server: &Server, kind: &str) -> HashSet<String> {
    let events = server.events();
    let of_kind = events.iter().filter(|event| event["type"] == kind);
    of_kind
        .map(|event| event["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The disk fills under four senders; then somebody's file goes away, and the senders notice
/// without anybody having touched the server.
#[test]
fn service_returns_when_space_does() {
    let Some(disk) = Loopback::make(Kind::Ext4, DISK_LEN) else {
        return;
    };
    let open = Arc::new(AtomicBool::new(false));
    let sink = sink(&open);
    let mut server = server(&disk, &sink);
    let mut load = Load::start(server.address());
    let mut count = 0;
    load.until("some mail is accepted", |_| {
        count += 1;
        count >= 100
    });
    // From now on somebody else writes as fast as he can, to the last byte.
    let ballast = fill(disk.path(), "ballast", 0);
    load.until("the senders are refused", |heard| {
        matches!(heard, Heard::Full)
    });
    load.until_full();
    let before = load.accepted.len();
    fs::remove_file(ballast).expect("our file");
    load.until("mail is accepted again", |heard| {
        matches!(heard, Heard::Accepted(_))
    });
    let mut count = 0;
    load.until("and goes on being accepted", |heard| {
        count += usize::from(matches!(heard, Heard::Accepted(_)));
        count >= 50
    });
    load.stop();
    eprintln!(
        "full disk: {before} accepted before it was full, {} refused, {} accepted in all",
        load.refused,
        load.accepted.len()
    );
    assert!(server.is_running());
    open.store(true, Ordering::Relaxed);
    collect(&sink, &load.accepted);
    server.stop();
    // The log of events was on the same disk, and tells of every message.
    assert_eq!(told(&server, "Reception").len(), load.accepted.len());
    assert_eq!(told(&server, "Delivery").len(), load.accepted.len());
    for said in [
        "no further log segment can be made",
        "the log has room again",
    ] {
        assert!(server.log().contains(said), "{}", server.log());
    }
}

/// A server on a disk that had 16 MiB left, and has taken as much mail as there was room for.
struct Filled {
    server: Server,
    accepted: HashSet<String>,
    sink: Sink,
    open: Arc<AtomicBool>,
    // Dropped last: what lies on it is closed by then.
    disk: Loopback,
}

impl Filled {
    fn make() -> Option<Self> {
        let disk = Loopback::make(Kind::Ext4, DISK_LEN)?;
        let open = Arc::new(AtomicBool::new(false));
        let sink = sink(&open);
        let server = server(&disk, &sink);
        fill(disk.path(), "ballast", 16 << 20);
        let mut load = Load::start(server.address());
        load.until_full();
        load.stop();
        assert!(load.accepted.len() > 50, "{}", load.accepted.len());
        Some(Self {
            server,
            accepted: load.accepted,
            sink,
            open,
            disk,
        })
    }

    /// The next host takes mail from now on: all that was promised arrives.
    fn deliver(&self) {
        self.open.store(true, Ordering::Relaxed);
        collect(&self.sink, &self.accepted);
    }
}

/// Nobody makes room but the server itself: what is delivered is freed, and mail is taken again.
#[test]
fn delivery_makes_room() {
    let Some(mut filled) = Filled::make() else {
        return;
    };
    filled.deliver();
    let mut after = Load::start(filled.server.address());
    after.until("mail is accepted again", |heard| {
        matches!(heard, Heard::Accepted(_))
    });
    after.stop();
    filled.server.stop();
}

/// A server that is killed while its disk is full greets again, takes nothing for which it has no room,
/// loses nothing, and delivers itself free.
#[test]
fn a_start_on_a_full_disk() {
    let Some(mut filled) = Filled::make() else {
        return;
    };
    filled.server.kill();
    let rest = fill(filled.disk.path(), "rest", 0);
    filled.server.start();
    let mut number = 0;
    wait::until("the server is full", || {
        // The senders may all have come to one shard: the other one's log has its room yet.
        number += 1;
        match submit(
            &mut filled.server.client(),
            &format!("first-{number}-80000"),
        ) {
            Heard::Full => Some(()),
            Heard::Accepted(id) => {
                filled.accepted.insert(id);
                None
            }
        }
    });
    filled.deliver();
    wait::until("mail is accepted again", || {
        // A session may ask in vain only so often.
        let heard = submit(&mut filled.server.client(), "again-1-500");
        matches!(heard, Heard::Accepted(_)).then_some(())
    });
    // The log of events needs room, too, for a good end.
    fs::remove_file(rest).expect("our file");
    filled.server.stop();
}
