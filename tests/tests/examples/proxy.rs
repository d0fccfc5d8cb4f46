//! The proxy, before our own server and before smtp-sink.

use mailrail_tests::examples::{Example, only_file};
use mailrail_tests::peers::{self, Letter, Peer};
use mailrail_tests::program::{find, succeed};
use mailrail_tests::smtp_sink::SmtpSink;
use mailrail_tests::{Client, message};

use super::{RECIPIENT, SENDER, assert_same, assert_success, clients::send, directory, text};

#[test]
fn the_proxy_passes_on_what_peers_send() {
    let store = directory();
    let refuse = ["--refuse", "no@mx.example"];
    let arguments = [&["--store", text(store.path())][..], &refuse].concat();
    let server = Example::start("blocking_server", &arguments);
    let proxy = Example::proxy(server.address());
    for peer in Peer::installed() {
        let content = message::awkward(peer.name);
        peer.send(&Letter {
            server: proxy.address(),
            sender: SENDER,
            recipient: RECIPIENT,
            content: &content,
        });
        server.says("message ");
        let received = only_file(store.path());
        assert_same(peer.name, peers::as_sent(peer.name, &received), &content);
    }
    // The replies are those of the server behind, and a transaction does not suffer from the one before.
    let mut client = Client::hello(proxy.address());
    client.command("MAIL FROM:<a@client.example>").expect(250);
    client
        .command("RCPT TO:<no@mx.example>")
        .expect_text(550, "5.1.1");
    client.command("RCPT TO:<b@mx.example>").expect(250);
    client.command("RSET").expect(250);
    client.command("MAIL FROM:<x@client.example>").expect(250);
    client
        .command("RCPT TO:<no@mx.example>")
        .expect_text(550, "5.1.1");
    let refused = client.command("DATA");
    assert!(refused.code >= 500, "{refused:?}");
    client.command("RSET").expect(250);
    let content = message::awkward("behind");
    let reply = client.submit("c@client.example", &["d@mx.example"], &content);
    reply.expect("a reply").expect(250);
    let said = server.says("message ");
    assert!(
        said.ends_with("from <c@client.example> to d@mx.example"),
        "{said}"
    );
    assert_same("behind", &only_file(store.path()), &content);
}

#[test]
fn the_proxy_passes_on_to_smtp_sink() {
    let Some(sink) = SmtpSink::start(&[]) else {
        return;
    };
    let proxy = Example::proxy(sink.address());
    let content = message::awkward("proxy");
    let address = proxy.address().to_string();
    for name in ["blocking_client", "tokio_client"] {
        let output = send(name, &address, &[RECIPIENT, "c@mx.example"], &[], &content);
        assert_success(name, &[], &output);
        sink.took(&content);
    }
    if let Some(source) = find("smtp-source", "postfix") {
        let target = format!("inet:{address}");
        succeed(
            &source,
            &["-d", "-s", "5", "-m", "50", "-l", "20000", &target],
            b"",
        );
    }
    let Some(sink) = SmtpSink::start(&["-8", "-f", "RCPT", "-B", "553 5.9.9 not today"]) else {
        return;
    };
    let proxy = Example::proxy(sink.address());
    let mut client = Client::open(proxy.address()).expect("a connection");
    client.reply().expect(220);
    let offered = client.command("EHLO client.example").expect(250).lines;
    assert!(!offered.contains(&"8BITMIME".to_owned()), "{offered:?}");
    client.command("MAIL FROM:<a@client.example>").expect(250);
    client
        .command("RCPT TO:<b@mx.example>")
        .expect_text(553, "5.9.9 not today");
}
