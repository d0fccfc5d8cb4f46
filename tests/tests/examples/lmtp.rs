//! LMTP: the server takes mail for each recipient, from swaks, smtp-source and Postfix.

use mailrail_tests::examples::{Example, only_file};
use mailrail_tests::postfix::Postfix;
use mailrail_tests::program::{find, run, succeed};
use mailrail_tests::{message, peers};
use tempfile::TempDir;

use super::{RECIPIENT, SENDER, assert_same, clients::send, directory, text};

pub(super) fn maildirs(users: &[&str]) -> TempDir {
    let directory = directory();
    for user in users {
        std::fs::create_dir(directory.path().join(user)).expect("a directory");
    }
    directory
}

/// The one message in a user's maildir, and what stood in front of it.
pub(super) fn delivered(maildirs: &TempDir, user: &str) -> (Vec<u8>, String) {
    let content = only_file(&maildirs.path().join(user).join("new"));
    let field = format!("Delivered-To: {user}@");
    // Two fields of one line each.
    let lines = content.split_inclusive(|&byte| byte == b'\n');
    let (front, rest) = content.split_at(lines.take(2).map(<[u8]>::len).sum());
    let front = String::from_utf8_lossy(front).into_owned();
    assert!(
        front.starts_with("Return-Path: <") && front.contains(&field),
        "{front}"
    );
    (rest.to_vec(), front)
}

#[test]
fn swaks_and_smtp_source_deliver_by_lmtp() {
    let maildirs = maildirs(&["b", "foo"]);
    let server = Example::start(
        "lmtp_server",
        &["--maildirs", text(maildirs.path()), "--count", "31"],
    );
    let address = server.address().to_string();
    if let Some(swaks) = find("swaks", "swaks") {
        let content = message::awkward("swaks");
        let mut arguments = vec!["--silent", "3", "--protocol", "LMTP", "--server", &address];
        arguments.extend(["--from", SENDER, "--to", RECIPIENT, "--data", "-"]);
        succeed(&swaks, &arguments, &content);
        let (received, front) = delivered(&maildirs, "b");
        assert!(
            front.starts_with("Return-Path: <a@client.example>\r\n"),
            "{front}"
        );
        assert_same("swaks", peers::as_sent("swaks", &received), &content);
        arguments.extend(["--to", "nobody@mx.example"]);
        let bad = run(&swaks, &arguments, &content);
        assert!(!bad.status.success(), "nobody has a maildir");
    }
    if let Some(source) = find("smtp-source", "postfix") {
        let target = format!("inet:{address}");
        succeed(
            &source,
            &["-L", "-s", "5", "-m", "30", "-t", "foo@mx.example", &target],
            b"",
        );
        let new = maildirs.path().join("foo/new");
        assert_eq!(std::fs::read_dir(new).expect("a directory").count(), 30);
    }
}

/// Through a whole Postfix: our client hands the message in, its LMTP client hands it out.
#[test]
fn postfix_takes_from_the_clients_and_delivers_by_lmtp() {
    let maildirs = maildirs(&["b", "c"]);
    let server = Example::start("lmtp_server", &["--maildirs", text(maildirs.path())]);
    let transport = format!("lmtp:inet:{}", server.address());
    let Some(postfix) = Postfix::start(&[("lmtp.example", &transport)]) else {
        return;
    };
    let address = postfix.address().to_string();
    let content = message::awkward("postfix");
    for (name, options) in [
        ("blocking_client", &[][..]),
        ("blocking_client", &["--no-chunking"]),
        ("blocking_client", &["--no-chunking", "--no-pipelining"]),
        ("tokio_client", &[]),
        ("tokio_client", &["--no-chunking", "--no-pipelining"]),
    ] {
        let to = ["b@lmtp.example", "nobody@lmtp.example", "c@lmtp.example"];
        let output = send(name, &address, &to, options, &content);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("recipient <nobody@lmtp.example>: 554 5.7.1"),
            "{said}"
        );
        assert!(said.contains("message: 250 2.0.0"), "{said}");
        // Both are recipients of one transaction, also behind Postfix.
        server.says("delivery ");
        server.says("delivery ");
        for user in ["b", "c"] {
            let (received, _) = delivered(&maildirs, user);
            assert_same(name, message::without_received(&received), &content);
        }
    }
}
