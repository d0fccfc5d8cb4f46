//! For whom the server relays: for the networks in `relay.hosts`, and for nobody else, in
//! whatever form an address is written. And what it does not take even from them.

use mailrail_tests::server::HOSTNAME;
use mailrail_tests::{Client, Server, Sink, message, wait};

/// Loopback has many addresses: this one may relay, and 127.0.0.1 may not.
const FRIEND: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.1";

fn with_friends(sink: &Sink) -> Server {
    let hosts = format!("hosts = [\"{FRIEND}\"]");
    Server::setup()
        .route("*", sink.address())
        .set("relay", &hosts)
        .start()
}

#[test]
fn no_form_of_address_makes_an_open_relay() {
    let here = HOSTNAME;
    // Well-formed: understood, and refused by policy.
    let refused_by_policy = [
        "<user@sink.example>".to_owned(),
        "<user@SINK.EXAMPLE>".to_owned(),
        format!("<user@{here}>"),
        format!("<user%sink.example@{here}>"),
        format!("<sink.example!user@{here}>"),
        format!("<\"user@sink.example\"@{here}>"),
        format!("<\"user%sink.example\"@{here}>"),
        format!("<@{here}:user@sink.example>"),
        format!("<@{here},@other.example:user@sink.example>"),
        "<user%sink.example@other.example>".to_owned(),
        "<user@[127.0.0.1]>".to_owned(),
        "<user@[127.0.0.2]>".to_owned(),
        "<user@[IPv6:::1]>".to_owned(),
        "<user@[IPv6:::ffff:127.0.0.1]>".to_owned(),
        "<user@localhost>".to_owned(),
    ];
    // Malformed: refused for that, or by policy, but never taken.
    let never_taken = [
        "<user@sink.example@mx.test.example>",
        "<user@sink.example.>",
        "<user@.sink.example>",
        "<user>",
        "<user%sink.example>",
        "<\"user@sink.example\">",
        "<@sink.example>",
        "<@sink.example:>",
        "user@sink.example",
        "<user@sink.example",
        "user@sink.example>",
        "<<user@sink.example>>",
        "<>",
        "<user@127.0.0.2>",
        "<\"\"@sink.example>",
        "<user@[]>",
        "<user@[127.0.0.2>",
        "<user@sink.example>\0",
        "<user@sink.example> ORCPT=rfc822;user@sink.example",
        "<user@sink.example> NOTIFY",
        "<us er@sink.example>",
        "<user@\u{ff53}ink.example>",
        "<user@sink.example\0@mx.test.example>",
    ];
    let sink = Sink::start();
    let server = with_friends(&sink);
    let senders = [
        "<stranger@client.example>".to_owned(),
        "<>".to_owned(),
        format!("<postmaster@{here}>"),
    ];
    for sender in &senders {
        for recipient in &refused_by_policy {
            let reply = refused(&server, sender, recipient);
            assert!(reply.is(550, "5.7.1"), "{sender} to {recipient}: {reply:?}");
        }
        for recipient in never_taken {
            let reply = refused(&server, sender, recipient);
            assert!(
                (500..=599).contains(&reply.code),
                "{sender} to {recipient}: {reply:?}"
            );
        }
    }
    // The friend's mail is the first and the last that arrives.
    let mut friend = server.client_from(FRIEND);
    let content = message::with_id("friend", 10);
    let reply = friend.submit("a@client.example", &["user@sink.example"], &content);
    reply.expect("a reply").expect(250);
    assert_eq!(sink.next().id.as_deref(), Some("friend"));
    assert_eq!(sink.already(), None);
    // The log follows a moment later, and at most once a refusal.
    let expected = (refused_by_policy.len() + never_taken.len()) * senders.len();
    wait::until("the refusals are in the log", || {
        let events = server.events();
        let count = events
            .iter()
            .filter(|event| event["type"] == "Rejection")
            .count();
        assert!(count <= expected, "{count} rejections of {expected}");
        (count >= refused_by_policy.len() * senders.len()).then_some(())
    });
}

/// The reply to RCPT from a stranger; DATA after it is refused as well.
fn refused(server: &Server, sender: &str, recipient: &str) -> mailrail_tests::Reply {
    let mut client = server.client_from(STRANGER);
    client.command(&format!("MAIL FROM:{sender}")).expect(250);
    let reply = client.command(&format!("RCPT TO:{recipient}"));
    let data = client.command("DATA");
    assert!(
        data.code == 503 || data.code == 554,
        "DATA after {recipient}: {data:?}"
    );
    reply
}

/// The same connection may not become a friend's by what it says.
#[test]
fn words_do_not_make_a_friend() {
    let sink = Sink::start();
    let server = with_friends(&sink);
    let mut client = Client::open_from(STRANGER.parse().expect("an address"), server.address())
        .expect("a connection");
    client.reply().expect(220);
    for hello in ["EHLO [127.0.0.2]", "HELO mx.test.example", "EHLO localhost"] {
        client.command(hello).expect(250);
        client.command("MAIL FROM:<a@mx.test.example>").expect(250);
        client
            .command("RCPT TO:<user@sink.example>")
            .expect_text(550, "5.7.1");
        client.command("RSET").expect(250);
    }
    // XCLIENT and PROXY are for those who are told that they may.
    client.command("XCLIENT ADDR=127.0.0.2").expect(502);
    let mut proxied = Client::open_from(STRANGER.parse().expect("an address"), server.address())
        .expect("a connection");
    proxied
        .send(b"PROXY TCP4 127.0.0.2 127.0.0.1 1 25\r\n")
        .expect("a connection");
    proxied.reply().expect(220);
    let reply = proxied.reply();
    assert!((500..=599).contains(&reply.code), "{reply:?}");
}

/// From a friend every form of a mailbox goes on as it was meant.
#[test]
fn addresses_go_on_as_they_were_meant() {
    let sink = Sink::start();
    let server = with_friends(&sink);
    let mut friend = server.client_from(FRIEND);
    for (given, expected) in [
        ("user@sink.example", "user@sink.example"),
        ("User.Name+tag@Sink.Example", "User.Name+tag@Sink.Example"),
        //= RFC 5321 section 4.1.1.3: a source route is stripped
        (
            "@a.example,@b.example:user@sink.example",
            "user@sink.example",
        ),
        (
            "user%other.example@sink.example",
            "user%other.example@sink.example",
        ),
        ("\"a b\"@sink.example", "\"a b\"@sink.example"),
        ("\"a@b\"@sink.example", "\"a@b\"@sink.example"),
        ("\"\\\"\"@sink.example", "\"\\\"\"@sink.example"),
    ] {
        let content = message::with_id("form", 10);
        let reply = friend.submit("a@client.example", &[given], &content);
        reply.expect("a reply").expect(250);
        assert_eq!(sink.next().recipients, [expected], "{given}");
    }
    let reply = friend.submit("", &["user@sink.example"], &message::with_id("null", 10));
    reply.expect("a reply").expect(250);
    assert_eq!(sink.next().sender, "");
}

/// Mail that runs in circles is recognised by its Received fields.
#[test]
fn a_loop_is_refused() {
    let sink = Sink::start();
    let server = Server::setup().route("*", sink.address()).start();
    let mut client = server.client();
    let hops = |count: usize| {
        let mut content =
            b"Received: from a by b; Mon, 2 Jun 2025 10:00:00 +0000\r\n".repeat(count);
        content.extend_from_slice(&message::with_id("loop", 10));
        // Text that only looks like a field does not count.
        content.extend_from_slice(&b"Received: in the body\r\n".repeat(100));
        content
    };
    let reply = client.submit("a@client.example", &["b@sink.example"], &hops(50));
    reply.expect("a reply").expect(250);
    assert_eq!(sink.next().id.as_deref(), Some("loop"));
    //= RFC 5321 section 6.3: a server has to find loops, by counting Received fields
    let reply = client.submit("a@client.example", &["b@sink.example"], &hops(51));
    reply.expect("a reply").expect_text(554, "5.4.6");
    assert_eq!(sink.already(), None);
}

/// What every server understands, relay or not.
#[test]
fn the_small_commands() {
    let sink = Sink::start();
    let server = Server::setup().route("*", sink.address()).start();
    let mut client = Client::open(server.address()).expect("a connection");
    //= RFC 5321 section 4.3.1: the greeting names the server
    client.reply().expect_text(220, HOSTNAME);
    //= RFC 5321 section 4.1.4: mail before a hello is out of order
    client.command("MAIL FROM:<a@client.example>").expect(503);
    let hello = client.command("EHLO client.example").expect(250);
    for extension in [
        "PIPELINING",
        "SIZE 4194304",
        "8BITMIME",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "SMTPUTF8",
    ] {
        assert!(
            hello.lines.iter().any(|line| line == extension),
            "{extension} in {hello:?}"
        );
    }
    client.command("NOOP").expect(250);
    client.command("noop with words").expect(250);
    //= RFC 5321 section 3.5.3: who does not verify says 252
    client.command("VRFY postmaster").expect(252);
    client.command("HELP").expect(214);
    client.command("RSET").expect(250);
    //= RFC 5321 section 4.2.4: a command that is not known is answered with 500
    client.command("SURF").expect(500);
    client.command("RCPT TO:<b@sink.example>").expect(503);
    client.command("DATA").expect(503);
    client
        .command("MAIL FROM:<a@client.example> FOO=bar")
        .expect(555);
    client.command("QUIT").expect(221);
    assert!(client.is_closed());
}

/// The limits of a listener, each with its reply.
#[test]
fn the_limits_of_a_listener() {
    let sink = Sink::start();
    let server = Server::setup()
        .route("*", sink.address())
        .another_listener(&["max_connections = 4", "max_messages_per_connection = 2"])
        .start();
    let limited = server.listener(1);
    let mut client = Client::hello(limited);
    for id in ["first", "second"] {
        let content = message::with_id(id, 10);
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
    }
    // No error of the client's: it may come back over another connection.
    let reply = client.command("MAIL FROM:<a@client.example>");
    assert!(reply.code == 421 || reply.code == 452, "{reply:?}");
    drop(client);
    // All shards together hold no more than the limit, and the next one is told why.
    let mut open: Vec<Client> = Vec::new();
    let refused = wait::until("a connection is refused", || {
        let mut client = Client::open(limited).ok()?;
        let reply = client.try_reply().ok()?;
        if reply.code == 220 {
            assert!(open.len() < 4, "the fifth connection was taken");
            open.push(client);
            return None;
        }
        // With fewer open than a shard's share it is one that has ended which still counts.
        (open.len() >= 2).then_some(reply)
    });
    refused.expect_text(421, "4.3.2");
    // The other listener has limits of its own.
    server.client().command("NOOP").expect(250);
    drop(open);
    wait::until("there is room again", || {
        Client::open(limited)
            .ok()?
            .try_reply()
            .ok()
            .filter(|reply| reply.code == 220)
    });
}

/// Nonsense without end is not listened to.
#[test]
fn too_many_errors_end_the_connection() {
    let sink = Sink::start();
    let server = Server::setup().route("*", sink.address()).start();
    let mut client = server.client();
    for _ in 0..1000 {
        let reply = client.command("SURF THE WEB");
        if reply.code == 421 {
            assert!(client.is_closed());
            return;
        }
        reply.expect(500);
    }
    panic!("a thousand errors were listened to");
}
