//! Mail that cannot leave yet: what it may cost of disk and memory while other mail flows.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use std::time::Duration;

use mailrail_tests::server::{Setup, free_address};
use mailrail_tests::{Answer, Script, Server, Sink, message, wait};

const STUCK: &str = "stuck@slow.example";

/// A sink that takes mail for `STUCK` only when it is told to.
fn sink() -> (Sink, Arc<AtomicBool>) {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let script = Script::new(move |step| match step.verb {
        "RCPT" if step.argument.contains(STUCK) && !gate.load(Ordering::Relaxed) => {
            Answer::Say("450 4.2.1 not yet")
        }
        _ => Answer::Accept,
    });
    (Sink::with(script), open)
}

/// One message that waits does not hold three hundred megabytes of delivered mail on the disk: it is
/// moved out of the way, and comes to no harm.
#[test]
fn a_message_that_waits_holds_no_segment() {
    let (sink, open) = sink();
    let server = Server::setup()
        .route("*", sink.address())
        .set("queue", "retry_interval = \"500ms\"")
        .set("queue", "max_retry_interval = \"500ms\"")
        .start();
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    let waiting: Vec<Vec<u8>> = (0..4)
        .map(|number| message::with_id(&format!("stuck-{number}"), 30_000))
        .collect();
    for (client, content) in clients.iter_mut().zip(&waiting) {
        let reply = client.submit("a@client.example", &[STUCK], content);
        reply.expect("a reply").expect(250);
    }
    let mut largest = 0;
    for number in 0..300 {
        let content = message::with_id(&format!("{number}"), 1_000_000);
        let client = &mut clients[number % 4];
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
        sink.next();
        largest = largest.max(size(&server.data_dir()));
        // Two shards, segments of 8 MiB: one in use, two prepared, and some that wait to be emptied. That is
        // done beside everything else: whoever sends faster than it goes on has to wait for it here.
        wait::until("the spool takes 128 MiB at most", || {
            (size(&server.data_dir()) <= 128 << 20).then_some(())
        });
    }
    eprintln!("backlog: the spool took at most {largest} bytes");
    open.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        let received = sink.next();
        let content = message::without_received(&received.content);
        assert!(
            waiting.iter().any(|sent| sent == content),
            "{:?} has changed",
            received.id
        );
    }
}

/// Thousands of messages that wait cost the server their place in the queue, and not their content.
#[test]
fn waiting_content_stays_on_the_disk() {
    let (sink, open) = sink();
    let server = Server::setup()
        .route("*", sink.address())
        .set("spool", "memory_budget = \"4 MiB\"")
        .set("queue", "retry_interval = \"1h\"")
        .set("queue", "max_retry_interval = \"1h\"")
        .start();
    assert_cost_little(&server, 1000, 3000);
    drop(open);
}

/// Behind the first messages of 16 KB that wait, so many more cost but a part of their size in memory.
#[track_caller]
fn assert_cost_little(server: &Server, first: usize, more: usize) {
    let mut client = server.client();
    let content = message::with_id("waiting", 16_000);
    let mut submit = |count: usize| {
        for _ in 0..count {
            let reply = client.submit("a@client.example", &[STUCK], &content);
            reply.expect("a reply").expect(250);
        }
    };
    submit(first);
    let before = server.memory();
    submit(more);
    let growth = server.memory().saturating_sub(before);
    eprintln!("backlog: {more} messages of 16 KB more cost {growth} bytes of memory");
    assert!(
        growth < 16 << 20,
        "{more} waiting messages of 16 KB cost {growth} bytes of memory"
    );
}

/// However large the memory budget is.
#[track_caller]
fn assert_waits_on_the_disk(next_host: SocketAddr) {
    let server = Server::setup()
        .route("*", next_host)
        .set("queue", "max_ready = 100")
        .start();
    assert_cost_little(&server, 300, 1500);
}

#[test]
fn mail_for_a_host_that_is_not_there_takes_no_memory() {
    assert_waits_on_the_disk(free_address());
}

#[test]
fn mail_for_a_host_that_greets_and_falls_silent_takes_no_memory() {
    let sink = Sink::with(Script::new(|step| match step.verb {
        "MAIL" => Answer::Slowly(wait::PATIENCE * 2),
        _ => Answer::Accept,
    }));
    assert_waits_on_the_disk(sink.address());
}

const LARGE_COUNT: usize = 32;
const LARGE_LEN: usize = 8 << 20;

/// A quarter of a gigabyte in messages of 8 MiB, all due at once when a server begins that may keep 8 MiB
/// in memory.
fn large_messages(setup: Setup, before_start: impl FnOnce()) -> Server {
    let mut server = setup
        .listener("max_message_size = \"10 MiB\"")
        .set("spool", "segment_size = \"16 MiB\"")
        .set("spool", "memory_budget = \"8 MiB\"")
        .set("queue", "retry_interval = \"1s\"")
        .set("queue", "max_retry_interval = \"1s\"")
        .start();
    for number in 0..LARGE_COUNT {
        let content = message::with_id(&format!("large-{number}"), LARGE_LEN);
        wait::until("the message is taken", || {
            // The one before may still be in memory, and one session may ask in vain only so often.
            let mut client = server.client();
            let reply = client.submit("a@client.example", &[STUCK], &content);
            let reply = reply.expect("a reply");
            (reply.code != 452).then(|| reply.expect(250))
        });
    }
    server.stop();
    before_start();
    server.start();
    server
}

/// Two shards, each with a message or two, beside what a start needs and the allocator keeps.
#[track_caller]
fn assert_peak(server: &Server) {
    let path = format!("/proc/{}/status", server.pid());
    let status = std::fs::read_to_string(path).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let peak = kib.expect("VmHWM in /proc") * 1024;
    eprintln!("backlog: the server that had 256 MiB in large messages took at most {peak} bytes");
    assert!(
        peak < 96 << 20,
        "32 messages of 8 MiB took {peak} bytes of memory at once"
    );
}

/// A sink that takes nothing at first, and then each message slowly.
fn slow_sink() -> (Sink, Arc<AtomicBool>) {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let script = Script::new(move |step| match step.verb {
        "MAIL" if !gate.load(Ordering::Relaxed) => Answer::Say("450 4.2.1 not yet"),
        "END" => Answer::Slowly(Duration::from_millis(300)),
        _ => Answer::Accept,
    });
    (Sink::with(script), open)
}

#[track_caller]
fn assert_all_come(sink: &Sink) {
    let mut ids: Vec<String> = (0..LARGE_COUNT)
        .map(|_| {
            let received = sink.next();
            assert!(received.content.len() > LARGE_LEN, "{:?}", received.id);
            received.id.expect("an id")
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), LARGE_COUNT, "each once");
}

/// As many connections as there are messages: each is read back when there is room for it.
#[test]
fn large_messages_are_read_back_as_the_memory_allows() {
    let (sink, open) = slow_sink();
    let setup = Server::setup().route("*", sink.address());
    let server = large_messages(setup, || open.store(true, Ordering::Relaxed));
    assert_all_come(&sink);
    assert_peak(&server);
}

/// They wait for one connection, which another shard may lead.
#[test]
fn large_messages_are_lent_as_the_memory_allows() {
    let (sink, open) = slow_sink();
    let setup = Server::setup().route_with("*", sink.address(), "connection_limit = 1");
    let server = large_messages(setup, || open.store(true, Ordering::Relaxed));
    assert_all_come(&sink);
    assert_peak(&server);
}

/// Their host is not there, which is said of each of them, and each is read for that.
#[test]
fn large_messages_are_put_off_as_the_memory_allows() {
    let setup = Server::setup().route("*", free_address());
    let server = large_messages(setup, || {});
    let told = |server: &Server| {
        let events = server.events();
        let of_kind = events
            .iter()
            .filter(|event| event["type"] == "TransientFailure");
        of_kind.count()
    };
    let before = told(&server);
    wait::until("all are put off", || {
        (told(&server) >= before + LARGE_COUNT).then_some(())
    });
    assert_peak(&server);
}

/// A message that waits for the one connection of its lane, which is busy for minutes, is too old when its
/// time has come, and not when the connection has.
#[test]
fn age_ends_what_waits_for_a_busy_connection() {
    let sink = Sink::with(Script::new(|step| match step.verb {
        "END" => Answer::Slowly(wait::PATIENCE * 2),
        _ => Answer::Accept,
    }));
    let server = Server::setup()
        .route_with("*", sink.address(), "connection_limit = 1")
        .set("queue", "retry_interval = \"1s\"")
        .set("queue", "max_retry_interval = \"1s\"")
        .set("queue", "max_age = \"2s\"")
        .start();
    let mut client = server.client();
    for number in 0..8 {
        let content = message::with_id(&format!("{number}"), 100);
        let reply = client.submit("", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
    }
    // Two are on the connection: the peer has them, and it alone knows what becomes of them.
    wait::until("all others have expired", || {
        let events = server.events();
        let expired = events.iter().filter(|event| event["type"] == "Expiration");
        (expired.count() >= 6).then_some(())
    });
}

/// Bytes of all files below a directory, as the disk counts them.
fn size(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        total += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        };
    }
    total
}
