//! The road where it is narrow: lanes that one shard leads for all, and configurations at their edges.

use std::sync::atomic::{AtomicBool, Ordering};

use mailrail_tests::{Answer, Script, Server, Sink, message, wait};

#[test]
fn a_second_connection_refused_does_not_postpone_what_the_first_one_takes() {
    const COUNT: usize = 30;
    // Whoever else comes is turned away, and the first connection is at work until somebody has.
    let is_refused = AtomicBool::new(false);
    let sink = Sink::with(Script::new(move |step| match step.verb {
        "CONNECT" if step.connection > 0 => {
            is_refused.store(true, Ordering::Relaxed);
            Answer::Close("421 4.3.2 one at a time")
        }
        "END" => {
            wait::until("a second connection is tried", || {
                is_refused.load(Ordering::Relaxed).then_some(())
            });
            Answer::Accept
        }
        _ => Answer::Accept,
    }));
    // Three connections are too few to be spread over two shards. What is postponed comes too late.
    let server = Server::setup()
        .route_with("*", sink.address(), "connection_limit = 3")
        .set("queue", "retry_interval = \"1h\"")
        .start();
    let mut client = server.client();
    for number in 0..COUNT {
        let content = message::with_id(&format!("led-{number}"), 500);
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
    }
    for _ in 0..COUNT {
        sink.next();
    }
}

#[test]
fn the_largest_message_is_taken_however_small_the_budget_is() {
    let sink = Sink::start();
    let server = Server::setup()
        .top("shards = 1")
        .route("*", sink.address())
        .listener("max_message_size = \"12MiB\"")
        .set("spool", "segment_size = \"20MiB\"")
        .set("spool", "memory_budget = \"1MiB\"")
        .start();
    let content = message::with_id("large", 10 << 20);
    let reply = server
        .client()
        .submit("a@client.example", &["b@sink.example"], &content);
    reply.expect("a reply").expect(250);
    assert!(sink.next().content.len() >= content.len());
}
