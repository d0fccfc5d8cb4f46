//! The road where it is narrow: lanes that one shard leads for all, and configurations at their edges.

use std::time::Duration;

use mailrail_tests::{Answer, Script, Server, Sink, message};

#[test]
fn a_second_connection_refused_does_not_postpone_what_the_first_one_takes() {
    const COUNT: usize = 30;
    // Whoever else comes is turned away while the first connection is at work, slowly.
    let sink = Sink::with(Script::new(|step| match step.verb {
        "CONNECT" if step.connection > 0 => Answer::Close("421 4.3.2 one at a time"),
        "END" => Answer::Slowly(Duration::from_millis(5)),
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
    assert!(sink.connection_count() > 1, "a second one was tried");
}

#[test]
fn the_largest_message_is_taken_however_small_the_budget_is() {
    let sink = Sink::start();
    let server = Server::setup()
        .top("shards = 1")
        .route("*", sink.address())
        .listener("max_message_size = \"12MiB\"")
        .set("spool", "segment_size = \"16MiB\"")
        .set("spool", "memory_budget = \"1MiB\"")
        .start();
    let content = message::with_id("large", 10 << 20);
    let reply = server
        .client()
        .submit("a@client.example", &["b@sink.example"], &content);
    reply.expect("a reply").expect(250);
    assert!(sink.next().content.len() >= content.len());
}
