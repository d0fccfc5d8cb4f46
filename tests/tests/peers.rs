//! Other people's programs on both sides of the server: swaks, curl, Python's smtplib and
//! smtp-source send through it, smtp-sink and our own sink receive.

use mailrail_tests::message;
use mailrail_tests::peers::{self, Letter, Peer};
use mailrail_tests::program::{find, succeed};
use mailrail_tests::smtp_sink::SmtpSink;
use mailrail_tests::{Script, Server, Sink};

/// Lets a peer send what is awkward; that is returned.
fn send_by(peer: &Peer, server: &Server) -> Vec<u8> {
    let content = message::awkward(peer.name);
    peer.send(&Letter {
        server: server.address(),
        sender: "a@client.example",
        recipient: "b@sink.example",
        content: &content,
    });
    content
}

/// Each peer sends dots, 8-bit text and 100 KB; every byte arrives, behind one Received field.
#[test]
fn what_a_peer_sends_arrives_byte_for_byte() {
    let sink = Sink::start();
    let server = Server::setup().route("*", sink.address()).start();
    for peer in Peer::installed() {
        let content = send_by(&peer, &server);
        let received = sink.next();
        assert_eq!(received.id.as_deref(), Some(peer.name));
        assert_eq!(received.sender, "a@client.example");
        assert_eq!(received.recipients, ["b@sink.example"]);
        let field = received_field(&received.content);
        //= RFC 5321 section 4.4: the field names the client, this server and the time
        for part in [
            "client.example",
            "127.0.0.1",
            mailrail_tests::server::HOSTNAME,
            "with ",
        ] {
            assert!(
                field.contains(part),
                "{}: {part} is not in {field}",
                peer.name
            );
        }
        let body = message::without_received(&received.content);
        let as_sent = peers::as_sent(peer.name, body);
        assert!(
            as_sent == content,
            "{}: {}",
            peer.name,
            first_difference(as_sent, &content)
        );
    }
}

/// The same, with a sink that takes chunks: there are no dots to stuff.
#[test]
fn chunks_arrive_byte_for_byte() {
    let sink = Sink::with(Script::accept().offering(&["8BITMIME", "PIPELINING", "CHUNKING"]));
    let server = Server::setup().route("*", sink.address()).start();
    let content = message::awkward("chunks");
    let mut client = server.client();
    client
        .command("MAIL FROM:<a@client.example> BODY=8BITMIME")
        .expect(250);
    client.command("RCPT TO:<b@sink.example>").expect(250);
    // Cut in the middle of a line, before a dot, and with an empty last chunk.
    let cut = content
        .windows(4)
        .position(|window| window == b"\n...")
        .expect("dots")
        + 1;
    for chunk in [&content[..10], &content[10..cut], &content[cut..]] {
        client.chunk(chunk).expect(250);
    }
    client.command("BDAT 0 LAST").expect(250);
    let received = sink.next();
    assert!(received.by_bdat, "the sink offers CHUNKING and got DATA");
    assert!(
        received.parameters.contains("BODY=8BITMIME"),
        "{}",
        received.parameters
    );
    let body = message::without_received(&received.content);
    assert!(body == content, "{}", first_difference(body, &content));
}

/// From each peer into Debian's smtp-sink, which writes each message to a file.
#[test]
fn what_a_peer_sends_reaches_smtp_sink() {
    let Some(sink) = SmtpSink::start(&[]) else {
        return;
    };
    let server = Server::setup().route("*", sink.address()).start();
    for peer in Peer::installed() {
        let content = send_by(&peer, &server);
        sink.took(&content);
    }
}

/// Many messages over many connections, none lost on the way.
#[test]
fn smtp_source_is_relayed_to_the_last_message() {
    let Some(source) = find("smtp-source", "postfix") else {
        return;
    };
    let sink = Sink::start();
    let server = Server::setup().route("*", sink.address()).start();
    let target = format!("inet:{}", server.address());
    succeed(
        &source,
        &["-d", "-s", "20", "-m", "500", "-l", "4096", &target],
        b"",
    );
    succeed(
        &source,
        &["-s", "5", "-m", "50", "-l", "100", "-r", "3", &target],
        b"",
    );
    let (mut messages, mut recipients) = (0, 0);
    while recipients < 500 + 50 * 3 {
        let received = sink.next();
        messages += 1;
        recipients += received.recipients.len();
    }
    assert_eq!((messages, recipients), (550, 650));
    assert_eq!(sink.already(), None, "more arrived than was sent");
}

/// The first field, without its folds.
fn received_field(content: &[u8]) -> String {
    let rest = message::without_received(content).len();
    String::from_utf8_lossy(&content[..content.len() - rest]).replace("\r\n", "")
}

fn first_difference(found: &[u8], expected: &[u8]) -> String {
    let at = found.iter().zip(expected).position(|(a, b)| a != b);
    let at = at.unwrap_or_else(|| found.len().min(expected.len()));
    let near = |bytes: &[u8]| {
        let range = at.saturating_sub(40)..(at + 40).min(bytes.len());
        String::from_utf8_lossy(&bytes[range]).into_owned()
    };
    let (length, wanted) = (found.len(), expected.len());
    let (found, expected) = (near(found), near(expected));
    format!("byte {at} of {wanted} (found {length}): {found:?} instead of {expected:?}")
}
