//! The harness itself, and Debian's programs, without the server between them: what fails here
//! is no fault of the server.

use mailrail_tests::message;
use mailrail_tests::peers::{self, Letter, Peer};
use mailrail_tests::program::{self, find};
use mailrail_tests::smtp_sink::SmtpSink;
use mailrail_tests::{Answer, Client, Script, Sink};

#[test]
fn the_client_reaches_the_sink() {
    let sink = Sink::start();
    let mut client = Client::hello(sink.address());
    for id in ["one", "two"] {
        let content = message::awkward(id);
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
        let received = sink.next();
        assert_eq!(received.id.as_deref(), Some(id));
        assert_eq!(received.recipients, ["b@sink.example"]);
        assert!(received.content == content, "the content has changed");
    }
    client.command("QUIT").expect(221);
    assert!(client.is_closed());
}

#[test]
fn the_sink_follows_its_script() {
    let script = Script::new(|step| match (step.verb, step.argument) {
        ("RCPT", "TO:<no@sink.example>") => Answer::Say("550 5.1.1 no such user"),
        ("END", "drop") => Answer::Drop,
        ("END", "taken") => Answer::TakeAndDrop,
        _ => Answer::Accept,
    });
    let sink = Sink::with(script);
    let mut client = Client::hello(sink.address());
    client.command("MAIL FROM:<>").expect(250);
    client
        .command("RCPT TO:<no@sink.example>")
        .expect_text(550, "5.1.1");
    client.command("DATA").expect(554);
    let submit = |id| {
        let mut client = Client::hello(sink.address());
        client.submit("", &["b@sink.example"], &message::with_id(id, 10))
    };
    assert!(submit("drop").is_err());
    assert!(submit("taken").is_err());
    assert!(submit("kept").is_ok_and(|reply| reply.code == 250));
    assert_eq!(sink.next().id.as_deref(), Some("taken"));
    assert_eq!(sink.next().id.as_deref(), Some("kept"));
    assert_eq!(sink.connection_count(), 4);
}

#[test]
fn the_sink_takes_chunks() {
    let sink = Sink::with(Script::accept().offering(&["CHUNKING"]));
    let mut client = Client::hello(sink.address());
    client.command("MAIL FROM:<a@client.example>").expect(250);
    client.command("RCPT TO:<b@sink.example>").expect(250);
    client.send(b"BDAT 5\r\n.a\r\n.").expect("a connection");
    client.reply().expect(250);
    client.send(b"BDAT 3 LAST\r\nb\r\n").expect("a connection");
    client.reply().expect(250);
    let received = sink.next();
    assert_eq!(received.content, b".a\r\n.b\r\n");
    assert!(received.by_bdat);
}

#[test]
fn smtp_source_reaches_smtp_sink() {
    let (Some(source), Some(sink)) = (find("smtp-source", "postfix"), SmtpSink::start(&[])) else {
        return;
    };
    let target = format!("inet:{}", sink.address());
    program::succeed(&source, &["-m", "5", "-s", "2", "-l", "4096", &target], b"");
}

#[test]
fn each_peer_sends_what_it_is_given() {
    let sink = Sink::start();
    for peer in Peer::installed() {
        let content = message::awkward(peer.name);
        let (server, sender) = (sink.address(), "a@client.example");
        peer.send(&Letter {
            server,
            sender,
            recipient: "b@sink.example",
            content: &content,
        });
        let received = sink.next();
        assert_eq!(received.id.as_deref(), Some(peer.name));
        assert_eq!(
            String::from_utf8_lossy(peers::as_sent(peer.name, &received.content)),
            String::from_utf8_lossy(&content),
            "{}",
            peer.name
        );
    }
}
