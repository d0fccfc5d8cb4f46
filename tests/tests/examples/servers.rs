//! The servers: what peers and Postfix send arrives, octet for octet.

use mailrail_tests::examples::{Example, only_file};
use mailrail_tests::peers::{self, Letter, Peer};
use mailrail_tests::postfix::Postfix;
use mailrail_tests::program::{find, succeed};
use mailrail_tests::{Client, message};

use super::{RECIPIENT, SENDER, assert_same, directory, text};

#[test]
fn the_blocking_server_takes_what_peers_send() {
    takes_what_peers_send("blocking_server");
}

#[test]
fn the_tokio_server_takes_what_peers_send() {
    takes_what_peers_send("tokio_server");
}

#[test]
#[cfg(target_os = "linux")]
fn the_glommio_server_takes_what_peers_send() {
    takes_what_peers_send("glommio_server");
}

/// Each peer sends dots, 8-bit text and 100 KB, and at last many messages come at once.
fn takes_what_peers_send(name: &'static str) {
    const LOAD: usize = 100;
    let store = directory();
    let peers = Peer::installed();
    let load = find("smtp-source", "postfix");
    let count = peers.len() + load.as_ref().map_or(0, |_| LOAD);
    let arguments = ["--store", text(store.path()), "--count", &count.to_string()];
    let server = Example::start(name, &arguments);
    for peer in peers {
        let content = message::awkward(peer.name);
        peer.send(&Letter {
            server: server.address(),
            sender: SENDER,
            recipient: RECIPIENT,
            content: &content,
        });
        let said = server.says("message ");
        assert!(
            said.ends_with("from <a@client.example> to b@mx.example"),
            "{said}"
        );
        let received = only_file(store.path());
        assert_same(peer.name, peers::as_sent(peer.name, &received), &content);
    }
    if let Some(program) = load {
        let target = format!("inet:{}", server.address());
        let arguments = [
            "-d",
            "-s",
            "10",
            "-m",
            &LOAD.to_string(),
            "-l",
            "20000",
            &target,
        ];
        succeed(&program, &arguments, b"");
        for _ in 0..LOAD {
            server.says("message ");
        }
        let stored = std::fs::read_dir(store.path())
            .expect("a directory")
            .count();
        assert_eq!(stored, LOAD);
    }
    server.finish();
}

/// Postfix's own client, which pipelines.
#[test]
fn the_servers_take_mail_from_postfix() {
    let names = ["blocking_server", "tokio_server", "glommio_server"];
    let stores = names.map(|_| directory());
    let servers: Vec<Example> = names
        .iter()
        .zip(&stores)
        .map(|(name, store)| Example::start(name, &["--store", text(store.path())]))
        .collect();
    let domains = ["zero.example", "one.example", "two.example"];
    let transports =
        [0, 1, 2].map(|n: usize| format!("smtp:[127.0.0.1]:{}", servers[n].address().port()));
    let transports = [0, 1, 2].map(|n: usize| (domains[n], &*transports[n]));
    let Some(postfix) = Postfix::start(&transports) else {
        return;
    };
    let content = message::awkward("postfix");
    let mut client = Client::hello(postfix.address());
    for ((domain, server), store) in domains.iter().zip(&servers).zip(&stores) {
        let (first, second) = (format!("x@{domain}"), format!("y@{domain}"));
        let reply = client.submit(SENDER, &[&first, &second], &content);
        reply.expect("a reply").expect(250);
        let said = server.says("message ");
        assert!(
            said.ends_with(&format!("from <{SENDER}> to {first}, {second}")),
            "{said}"
        );
        let received = only_file(store.path());
        assert_same(domain, message::without_received(&received), &content);
    }
}
