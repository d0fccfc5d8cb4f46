//! Mail that cannot leave yet: what it may cost of disk and memory while other mail flows.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailrail_tests::{Answer, Script, Server, Sink, message};

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
    }
    eprintln!("backlog: the spool took at most {largest} bytes");
    // Two shards, segments of 8 MiB: one in use, two prepared, and some that wait to be emptied.
    assert!(
        largest <= 128 << 20,
        "300 MB went through, and the spool took {largest} bytes"
    );
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
    let mut client = server.client();
    let content = message::with_id("waiting", 16_000);
    let mut submit = |count: usize| {
        for _ in 0..count {
            let reply = client.submit("a@client.example", &[STUCK], &content);
            reply.expect("a reply").expect(250);
        }
    };
    submit(1000);
    let before = server.memory();
    submit(3000);
    let growth = server.memory().saturating_sub(before);
    eprintln!("backlog: 3000 messages of 16 KB more cost {growth} bytes of memory");
    assert!(
        growth < 16 << 20,
        "3000 waiting messages of 16 KB cost {growth} bytes of memory"
    );
    drop(open);
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
