//! Memory is full: new mail hears 452 4.3.1 before anything breaks, delivery goes on, and service returns by
//! itself. What waits, and what it may cost, is `backlog`'s; a full disk is `full`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailrail_tests::{Answer, Client, Script, Server, Sink, message, wait};

/// Of each slow message so much is said. The largest that the server takes has 4 MiB, and what it may have in
/// memory is twice as much: two of these leave room for what the log holds, and none for a third message.
const SAID: usize = 3_200_000;

/// Each small message takes 8 KiB. So many of them fill what two large ones leave, and more.
const SMALL_COUNT: usize = 300;

/// Says all of a message but its content.
fn announce(server: &Server) -> Client {
    let mut client = server.client();
    client.command("MAIL FROM:<a@client.example>").expect(250);
    client.command("RCPT TO:<b@sink.example>").expect(250);
    client.command("DATA").expect(354);
    client
}

/// Says all of a large message but its end.
fn begin(server: &Server, id: &str) -> Client {
    let mut client = announce(server);
    let content = message::with_id(id, SAID);
    client.send(&content).expect("the server reads");
    client
}

/// Waits until there is no room for a message of so many bytes.
fn wait_until_refused(client: &mut Client, size: usize) {
    let mail = format!("MAIL FROM:<a@client.example> SIZE={size}");
    let reply = wait::until("the memory is full", || {
        let reply = client.command(&mail);
        if reply.code == 250 {
            client.command("RSET").expect(250);
            return None;
        }
        Some(reply)
    });
    //= RFC 1870 section 6.1: a message of the size that was said may be refused for now with 452
    reply.expect_text(452, "4.3.1");
}

#[test]
fn full_memory_stops_new_mail_and_nothing_else() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let sink = Sink::with(Script::new(move |step| {
        if step.verb == "MAIL" && !gate.load(Ordering::Relaxed) {
            return Answer::Say("451 4.3.0 later");
        }
        Answer::Accept
    }));
    let server = Server::setup()
        .top("shards = 1")
        .route("*", sink.address())
        .set("spool", "memory_budget = \"1 MiB\"")
        .set("queue", "retry_interval = \"200ms\"")
        .set("queue", "max_retry_interval = \"200ms\"")
        .start();
    let content = message::with_id("waits", 200_000);
    let submit = |content: &[u8]| {
        let reply = server
            .client()
            .submit("a@client.example", &["b@sink.example"], content);
        reply.expect("a reply")
    };
    submit(&content).expect(250);

    let mut slow = [begin(&server, "slow-0"), begin(&server, "slow-1")];
    let mut other = server.client();
    wait_until_refused(&mut other, 4_000_000);
    other.command("NOOP").expect(250);

    open.store(true, Ordering::Relaxed);
    let received = sink.next();
    assert_eq!(received.id.as_deref(), Some("waits"), "delivery goes on");
    assert_eq!(message::without_received(&received.content), content);
    for client in &mut slow {
        client.send(b".\r\n").expect("the server reads");
        client.reply().expect(250);
    }
    let mut ids = [sink.next().id, sink.next().id];
    ids.sort();
    assert_eq!(ids, [Some("slow-0".into()), Some("slow-1".into())]);
    wait::until("mail is taken again", || {
        (other
            .command("MAIL FROM:<a@client.example> SIZE=4000000")
            .code
            == 250)
            .then_some(())
    });
}

/// There was room when they began, and when their content comes there is none: it is refused at its end.
#[test]
fn content_that_finds_no_memory_is_refused() {
    let sink = Sink::start();
    let server = Server::setup()
        .top("shards = 1")
        .route("*", sink.address())
        .set("spool", "memory_budget = \"1 MiB\"")
        .start();
    let mut empty = announce(&server);
    let mut small: Vec<Client> = (0..SMALL_COUNT).map(|_| announce(&server)).collect();
    let mut slow = [begin(&server, "slow-0"), begin(&server, "slow-1")];
    let mut other = server.client();
    // All but the last chunks of both are there then.
    wait_until_refused(&mut other, 2_000_000);
    for client in &mut small {
        client.send(b"hello\r\n").expect("the server reads");
    }
    other.command("NOOP").expect(250);
    empty.send(b".\r\n").expect("the server reads");
    empty.reply().expect_text(452, "4.3.1");
    empty.command("NOOP").expect(250);

    let mut taken = 0;
    for client in &mut small {
        client.send(b".\r\n").expect("the server reads");
        match client.reply() {
            reply if reply.code == 250 => taken += 1,
            reply => drop(reply.expect_text(452, "4.3.1")),
        }
        client.command("NOOP").expect(250);
    }
    assert!((1..SMALL_COUNT).contains(&taken), "{taken} were taken");
    for client in &mut slow {
        client.send(b".\r\n").expect("the server reads");
        client.reply().expect(250);
    }
    for _ in 0..taken + slow.len() {
        sink.next();
    }
    let reply = server
        .client()
        .submit("a@client.example", &["b@sink.example"], b"again\r\n");
    reply.expect("a reply").expect(250);
}
