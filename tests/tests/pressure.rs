//! Memory is full: new mail hears 452 4.3.1 before anything breaks, delivery goes on, and service returns by
//! itself. What waits, and what it may cost, is `backlog`'s; a full disk is `full`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailrail_tests::{Answer, Client, Script, Server, Sink, message, wait};

/// Of each slow message so much is said. The largest that the server takes has 4 MiB, and what it may have in
/// memory is twice as much: two of these leave room for what the log holds, and none for a third message.
const SAID: usize = 3_200_000;

/// What fills the rest of the memory comes in pieces of so many bytes.
const PIECE: usize = 16 * 1024;

/// Says all of a message but its content.
fn announce(server: &Server) -> Client {
    let mut client = server.client();
    client.command("MAIL FROM:<a@client.example>").expect(250);
    client.command("RCPT TO:<b@sink.example>").expect(250);
    client.command("DATA").expect(354);
    client
}

/// Says all of a message but its end.
fn begin(server: &Server, id: &str, len: usize) -> Client {
    let mut client = announce(server);
    let content = message::with_id(id, len);
    client.send(&content).expect("the server reads");
    client
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

    // Their content may come later, and there was room for it when they began.
    let mut late = [announce(&server), announce(&server)];
    let mut slow = [
        begin(&server, "slow-0", SAID),
        begin(&server, "slow-1", SAID),
        begin(&server, "slow-2", PIECE),
    ];
    let mut other = server.client();
    //= RFC 1870 section 6.1: a message of the size that was said may be refused for now with 452
    let reply = wait::until("the memory is full", || {
        let reply = other.command("MAIL FROM:<a@client.example> SIZE=4000000");
        if reply.code == 250 {
            other.command("RSET").expect(250);
            return None;
        }
        Some(reply)
    });
    reply.expect_text(452, "4.3.1");
    other.command("NOOP").expect(250);

    let piece = b"0123456789abcd\r\n".repeat(PIECE / 16);
    let reply = wait::until("there is no memory at all", || {
        slow[2].send(&piece).expect("the server reads");
        // Its shard has read the piece before it answers.
        other.command("NOOP").expect(250);
        let reply = other.command("MAIL FROM:<a@client.example>");
        if reply.code == 250 {
            other.command("RSET").expect(250);
            return None;
        }
        Some(reply)
    });
    reply.expect_text(452, "4.3.1");
    for (client, content) in late.iter_mut().zip(["hello\r\n.\r\n", ".\r\n"]) {
        client.send(content.as_bytes()).expect("the server reads");
        client.reply().expect_text(452, "4.3.1");
        client.command("NOOP").expect(250);
    }

    open.store(true, Ordering::Relaxed);
    let received = sink.next();
    assert_eq!(received.id.as_deref(), Some("waits"), "delivery goes on");
    assert_eq!(message::without_received(&received.content), content);
    for client in &mut slow {
        client.send(b".\r\n").expect("the server reads");
        client.reply().expect(250);
    }
    let mut ids = [(); 3].map(|()| sink.next().id.expect("an id"));
    ids.sort();
    assert_eq!(ids, ["slow-0", "slow-1", "slow-2"]);
    wait::until("mail is taken again", || {
        (other
            .command("MAIL FROM:<a@client.example> SIZE=4000000")
            .code
            == 250)
            .then_some(())
    });
}
