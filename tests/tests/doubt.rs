//! In doubt: the end of a message was sent, and no answer came. With the journal the operator's policy decides
//! what becomes of it, after a lost connection and after a crash alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailrail_tests::{Answer, Script, Server, Sink, message, server::Setup, wait};
use serde_json::Value;

/// Longer than any test lives.
const FOREVER: Duration = Duration::from_secs(3600);

/// A sink that takes a message whose id begins with `doubt`, and does this instead of answering, until `well`
/// is set.
fn sink(instead: Answer, well: &Arc<AtomicBool>, extensions: &'static [&'static str]) -> Sink {
    let well = Arc::clone(well);
    let script = Script::new(move |step| match step.verb {
        "END" if step.argument.starts_with("doubt") && !well.load(Ordering::Relaxed) => {
            instead.clone()
        }
        _ => Answer::Accept,
    });
    Sink::with(script.offering(extensions))
}

const BY_DATA: &[&str] = &["PIPELINING", "8BITMIME"];
const BY_CHUNKS: &[&str] = &["PIPELINING", "8BITMIME", "CHUNKING"];

fn setup(policy: &str) -> Setup {
    Server::setup()
        .set("queue", "retry_interval = \"1s\"")
        .set("queue", "max_retry_interval = \"1s\"")
        .set("delivery", "in_doubt = \"record\"")
        .set("delivery", &format!("in_doubt_policy = \"{policy}\""))
}

fn submit(server: &Server, id: &str, len: usize) {
    submit_to(server, id, len, &["to@sink.example"]);
}

fn submit_to(server: &Server, id: &str, len: usize, recipients: &[&str]) {
    let content = message::with_id(id, len);
    let reply = server
        .client()
        .submit("from@client.example", recipients, &content);
    reply.expect("a reply").expect(250);
}

#[track_caller]
fn wait_for_event(server: &Server, kind: &str, text: &str) -> Value {
    wait::until(&format!("{kind} with {text}"), || {
        let events = server.events_of(kind);
        let says = |event: &Value| event["response"]["content"].to_string().contains(text);
        events.into_iter().find(|event| says(event))
    })
}

/// Whether the listing says so of this very message.
fn is_in_doubt(server: &Server, id: &str) -> bool {
    let listing = server.queue();
    let mut lines = listing.lines();
    lines.any(|line| line.starts_with(id) && line.contains("in doubt"))
}

/// Sends a message that takes as long as a second attempt of the first would have, so that it would have come.
#[track_caller]
fn assert_not_tried_again(server: &Server, sink: &Sink, at: &str) {
    submit_to(server, at, 100, &["to@later.example"]);
    let received = sink.next();
    assert_eq!(
        received.id.as_deref(),
        Some(at),
        "the other was tried again"
    );
}

/// A second sink's address under which every message is refused once.
fn busy_once() -> Sink {
    Sink::with(Script::at_first(1, "MAIL", "451 4.3.0 not yet"))
}

#[test]
fn a_lost_connection_holds_what_was_sent_until_the_policy_changes() {
    let well = Arc::default();
    let sink = sink(Answer::TakeAndDrop, &well, BY_DATA);
    let later = busy_once();
    let mut server = setup("hold")
        .route("later.example", later.address())
        .route("*", sink.address())
        .start();
    submit(&server, "doubt", 100);
    assert_eq!(sink.next().id.as_deref(), Some("doubt"));
    wait_for_event(&server, "TransientFailure", "in doubt");
    let listing = server.queue();
    assert!(listing.contains("in doubt"), "{listing}");
    assert!(listing.contains("to@sink.example"), "{listing}");
    assert_not_tried_again(&server, &later, "later");
    assert_eq!(sink.already(), None, "it was tried again");

    // Over a restart, too, and a stopped server's listing says the same.
    server.stop();
    let listing = server.queue();
    assert!(listing.contains("in doubt"), "{listing}");
    server.start();
    let listing = server.queue();
    assert!(listing.contains("in doubt"), "{listing}");
    assert_eq!(sink.already(), None, "it was tried again");

    well.store(true, Ordering::Relaxed);
    server.reconfigure(|setup| setup.set("delivery", "in_doubt_policy = \"retry\""));
    assert_eq!(sink.next().id.as_deref(), Some("doubt"), "the second copy");
    wait_for_event(&server, "Delivery", "taken");
}

#[test]
fn what_was_held_is_settled_when_the_policy_becomes_to_assume() {
    let well = Arc::default();
    let sink = sink(Answer::TakeAndDrop, &well, BY_CHUNKS);
    let mut server = setup("hold").route("*", sink.address()).start();
    submit(&server, "doubt", 100);
    sink.next();
    wait_for_event(&server, "TransientFailure", "in doubt");
    server.reconfigure(|setup| setup.set("delivery", "in_doubt_policy = \"assume-delivered\""));
    let event = wait_for_event(&server, "Delivery", "assumed delivered");
    assert_eq!(event["recipient"], "to@sink.example");
    assert!(server.queue().contains("empty"));
    assert_eq!(sink.already(), None);
}

#[test]
fn a_lost_connection_is_assumed_to_have_delivered() {
    let well = Arc::default();
    let sink = sink(Answer::TakeAndDrop, &well, BY_DATA);
    let server = setup("assume-delivered").route("*", sink.address()).start();
    submit(&server, "doubt", 100_000);
    sink.next();
    let event = wait_for_event(&server, "Delivery", "assumed delivered");
    assert_eq!(event["response"]["code"], 0, "nobody has said so");
    assert!(server.queue().contains("empty"));
}

#[test]
fn an_answer_is_no_doubt() {
    let sink = Sink::with(Script::at_first(1, "END", "451 4.3.0 not yet"));
    let server = setup("hold").route("*", sink.address()).start();
    submit(&server, "one", 100);
    wait_for_event(&server, "TransientFailure", "not yet");
    assert_eq!(sink.next().id.as_deref(), Some("one"), "it was tried again");
    wait_for_event(&server, "Delivery", "taken");
    assert!(server.queue().contains("empty"));
}

#[test]
fn only_those_who_were_taken_are_in_doubt() {
    let well = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&well);
    let sink = Sink::with(Script::new(move |step| match step.verb {
        "RCPT" if step.argument.contains("busy@") && !gate.load(Ordering::Relaxed) => {
            Answer::Say("450 4.2.1 busy")
        }
        "END" if !gate.swap(true, Ordering::Relaxed) => Answer::TakeAndDrop,
        _ => Answer::Accept,
    }));
    let server = setup("hold").route("*", sink.address()).start();
    let recipients = ["taken@sink.example", "busy@sink.example"];
    submit_to(&server, "doubt", 100, &recipients);
    assert_eq!(sink.next().recipients, ["taken@sink.example"]);
    // The other comes again without the one in doubt.
    assert_eq!(sink.next().recipients, ["busy@sink.example"]);
    wait_for_event(&server, "Delivery", "taken");
    let listing = server.queue();
    assert!(listing.contains("in doubt"), "{listing}");
    assert!(listing.contains("taken@sink.example"), "{listing}");
    assert!(!listing.contains("busy@sink.example"), "{listing}");
}

/// Crashed behind the final dot and before any answer: what the journal knows is all there is.
fn crashed(setup: Setup, extensions: &'static [&'static str]) -> (Server, Sink, Arc<AtomicBool>) {
    let well = Arc::default();
    let sink = sink(Answer::Slowly(FOREVER), &well, extensions);
    let via = sink.address();
    let mut server = setup.route_with("*", via, "connection_limit = 1").start();
    submit(&server, "doubt", 100);
    // The end has come to the sink: so the note of it is on the disk.
    assert_eq!(sink.next().id.as_deref(), Some("doubt"));
    server.kill();
    well.store(true, Ordering::Relaxed);
    (server, sink, well)
}

#[test]
fn after_a_crash_it_is_held() {
    for (shards, extensions) in [(1, BY_DATA), (2, BY_DATA), (2, BY_CHUNKS)] {
        let setup = setup("hold").top(&format!("shards = {shards}"));
        let (mut server, sink, _well) = crashed(setup, extensions);
        assert!(server.queue().contains("in doubt"), "{}", server.queue());
        server.start();
        assert!(server.queue().contains("in doubt"), "{}", server.queue());
        // Another message goes through, and this one does not come.
        submit(&server, "other", 100);
        assert_eq!(sink.next().id.as_deref(), Some("other"));
        assert!(server.queue().contains("in doubt"), "{}", server.queue());
        server.reconfigure(|setup| setup.set("delivery", "in_doubt_policy = \"retry\""));
        assert_eq!(sink.next().id.as_deref(), Some("doubt"));
    }
}

#[test]
fn after_a_crash_it_is_assumed_delivered() {
    for extensions in [BY_DATA, BY_CHUNKS] {
        // One shard, one log: behind the other's 250 what was appended before it is durable, too.
        let setup = setup("assume-delivered").top("shards = 1");
        let (mut server, sink, _well) = crashed(setup, extensions);
        server.start();
        let event = wait_for_event(&server, "Delivery", "assumed delivered");
        assert_eq!(event["recipient"], "to@sink.example");
        assert!(server.queue().contains("empty"), "{}", server.queue());
        submit(&server, "other", 100);
        assert_eq!(sink.next().id.as_deref(), Some("other"));
        // It stays settled. The other may be in doubt now: nothing says that its answer was noted.
        let id = event["id"].as_str().expect("an id").to_owned();
        server.kill();
        let listing = server.queue();
        assert!(!listing.contains(&id), "{listing}");
        server.start();
        let told = format!("id={id}");
        let count = server.log().matches(&told).count();
        assert_eq!(count, 1, "the first start alone found it in doubt");
    }
}

#[test]
fn after_a_crash_it_is_tried_again() {
    let (mut server, sink, _well) = crashed(setup("retry"), BY_DATA);
    server.start();
    assert_eq!(sink.next().id.as_deref(), Some("doubt"), "the second copy");
    wait_for_event(&server, "Delivery", "taken");
    assert!(server.log().contains("in doubt"), "the operator was told");
}

/// The default: nothing is known, and it is tried again.
#[test]
fn without_the_journal_a_crash_leaves_no_doubt() {
    let setup = Server::setup().set("queue", "retry_interval = \"1s\"");
    let (mut server, sink, _well) = crashed(setup, BY_DATA);
    assert!(!server.queue().contains("in doubt"), "{}", server.queue());
    server.start();
    assert_eq!(sink.next().id.as_deref(), Some("doubt"), "the second copy");
}

#[test]
fn what_is_held_becomes_too_old_and_its_sender_hears_of_it() {
    let well = Arc::default();
    let sink = sink(Answer::TakeAndDrop, &well, BY_DATA);
    let mut server = setup("hold").route("*", sink.address()).start();
    submit(&server, "doubt", 100);
    sink.next();
    // Too old it may only become when it is in doubt, however slow the first attempt is.
    wait_for_event(&server, "TransientFailure", "in doubt");
    server.stop();
    server.change(|setup| setup.set("queue", "max_age = \"3s\""));
    server.start();
    wait_for_event(&server, "Expiration", "in doubt");
    let bounce = sink.next();
    assert_eq!(
        (&*bounce.sender, &*bounce.recipients[0]),
        ("", "from@client.example")
    );
    let text = String::from_utf8_lossy(&bounce.content).into_owned();
    assert!(text.contains("in doubt"), "{text}");
}

/// What is moved to the log's head takes its doubt along.
#[test]
fn a_move_keeps_the_doubt() {
    let well = Arc::default();
    let sink = sink(Answer::TakeAndDrop, &well, BY_DATA);
    let mut server = setup("hold")
        .top("shards = 1")
        .set("spool", "segment_size = \"8 MiB\"")
        .route("*", sink.address())
        .start();
    submit(&server, "doubt", 100);
    sink.next();
    let event = wait_for_event(&server, "TransientFailure", "in doubt");
    let id = event["id"].as_str().expect("an id").to_owned();
    let oldest = || {
        let directory = server.data_dir().join("spool/log-0");
        let names = std::fs::read_dir(directory).expect("the log").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("segment-")).min()
    };
    let first = oldest();
    let mut number = 0;
    wait::until("its segment is freed", || {
        submit(&server, &format!("other-{number}"), 2 << 20);
        sink.next();
        number += 1;
        (oldest() != first).then_some(())
    });
    server.kill();
    // The last of the others may be in doubt, too: nothing says that its answer was noted.
    assert!(is_in_doubt(&server, &id), "{}", server.queue());
    server.start();
    assert!(is_in_doubt(&server, &id), "{}", server.queue());
    assert_eq!(sink.already(), None);
}
