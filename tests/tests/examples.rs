//! The engine's examples against other people's programs: the servers take mail from swaks, curl, smtplib,
//! smtp-source and gsasl, the clients deliver to smtp-sink and to Postfix, and every octet arrives.

use std::path::{Path, PathBuf};
use std::process::Output;

use mailrail_tests::examples::{Example, example, only_file};
use mailrail_tests::message;
use mailrail_tests::peers::{self, Letter, Peer};
use mailrail_tests::postfix::Postfix;
use mailrail_tests::program::{Background, find, run, succeed};
use mailrail_tests::server::free_address;
use mailrail_tests::{Client, wait};
use tempfile::TempDir;

const SENDER: &str = "a@client.example";
const RECIPIENT: &str = "b@mx.example";

// Servers.

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

// The proxy.

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
    let proxy = Example::proxy(sink.address.parse().expect("an address"));
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
    let proxy = Example::proxy(sink.address.parse().expect("an address"));
    let mut client = Client::open(proxy.address()).expect("a connection");
    client.reply().expect(220);
    let offered = client.command("EHLO client.example").expect(250).lines;
    assert!(!offered.contains(&"8BITMIME".to_owned()), "{offered:?}");
    client.command("MAIL FROM:<a@client.example>").expect(250);
    client
        .command("RCPT TO:<b@mx.example>")
        .expect_text(553, "5.9.9 not today");
}

// TLS and AUTH.

const USER: &str = "tim:tanstaaf";

struct Submission {
    server: Example,
    store: TempDir,
    certificate: PathBuf,
}

impl Submission {
    fn start(arguments: &[&str]) -> Self {
        let store = directory();
        let certificate = store.path().with_extension("pem");
        let mut all = vec!["--store", text(store.path()), "--auth", USER];
        all.extend(["--certificate", text(&certificate)]);
        all.extend(arguments);
        let server = Example::start("tokio_server", &all);
        Self {
            server,
            store,
            certificate,
        }
    }

    /// A message has come, from whoever has authenticated in this way.
    #[track_caller]
    fn took(&self, peer: &str, mechanism: &str, content: &[u8]) {
        let said = self.server.says("tim has authenticated by ");
        assert_eq!(said, mechanism, "{peer}");
        self.server.says("message ");
        let received = only_file(self.store.path());
        assert_same(peer, peers::as_sent(peer, &received), content);
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.certificate);
    }
}

#[test]
fn swaks_submits_behind_tls() {
    let Some(swaks) = find("swaks", "swaks") else {
        return;
    };
    let content = message::awkward("swaks");
    for (mode, tls) in [(None, "--tls"), (Some("--tls"), "--tls-on-connect")] {
        let submission = Submission::start(&Vec::from_iter(mode));
        let server = submission.server.address().to_string();
        for mechanism in ["PLAIN", "LOGIN"] {
            let mut arguments = vec!["--silent", "3", "--server", &server, "--from", SENDER];
            arguments.extend(["--to", RECIPIENT, "--data", "-", tls, "--auth", mechanism]);
            arguments.extend(["--auth-user", "tim", "--auth-password"]);
            let bad = run(&swaks, &[&*arguments, &["wrong"]].concat(), &content);
            assert!(!bad.status.success(), "a wrong password was taken");
            arguments.push("tanstaaf");
            succeed(&swaks, &arguments, &content);
            submission.took("swaks", mechanism, &content);
        }
    }
}

#[test]
fn curl_submits_behind_tls() {
    let Some(curl) = find("curl", "curl") else {
        return;
    };
    let content = message::awkward("curl");
    for (mode, scheme) in [(None, "smtp"), (Some("--tls"), "smtps")] {
        let submission = Submission::start(&Vec::from_iter(mode));
        // The name in the certificate, and no other address behind it.
        let url = format!(
            "{scheme}://localhost:{}",
            submission.server.address().port()
        );
        for mechanism in ["PLAIN", "LOGIN"] {
            let login = format!("AUTH={mechanism}");
            let mut arguments = vec!["--silent", "--show-error", "--ipv4", "--max-time", "60"];
            arguments.extend(["--ssl-reqd", "--cacert", text(&submission.certificate)]);
            arguments.extend([
                "--login-options",
                &login,
                "--url",
                &url,
                "--mail-from",
                SENDER,
            ]);
            arguments.extend(["--mail-rcpt", RECIPIENT, "--upload-file", "-", "--user"]);
            let bad = run(&curl, &[&*arguments, &["tim:wrong"]].concat(), &content);
            assert!(!bad.status.success(), "a wrong password was taken");
            arguments.push(USER);
            succeed(&curl, &arguments, &content);
            submission.took("curl", mechanism, &content);
        }
    }
}

#[test]
fn smtplib_submits_behind_tls() {
    const SCRIPT: &str = "\
import smtplib, ssl, sys
port, file, mode, mechanism, password = sys.argv[1:]
context = ssl.create_default_context(cafile=file)
options = dict(host='localhost', port=int(port), local_hostname='client.example', timeout=60)
if mode == 'tls':
    server = smtplib.SMTP_SSL(context=context, **options)
else:
    server = smtplib.SMTP(**options)
    server.starttls(context=context)
server.ehlo()
server.user, server.password = 'tim', password
server.auth(mechanism, getattr(server, 'auth_' + mechanism.lower()))
content = sys.stdin.buffer.read()
refused = server.sendmail('a@client.example', ['b@mx.example'], content, mail_options=['BODY=8BITMIME'])
assert not refused, refused
server.quit()
";
    let Some(python) = find("python3", "python3") else {
        return;
    };
    let content = message::awkward("smtplib");
    for mode in ["starttls", "tls"] {
        let arguments: &[&str] = if mode == "tls" { &["--tls"] } else { &[] };
        let submission = Submission::start(arguments);
        let port = submission.server.address().port().to_string();
        for mechanism in ["PLAIN", "LOGIN"] {
            let file = text(&submission.certificate);
            let arguments = ["-c", SCRIPT, &port, file, mode, mechanism];
            let bad = run(&python, &[&arguments[..], &["wrong"]].concat(), &content);
            assert!(!bad.status.success(), "a wrong password was taken");
            succeed(&python, &[&arguments[..], &["tanstaaf"]].concat(), &content);
            submission.took("python3", mechanism, &content);
        }
    }
}

/// GNU SASL knows SCRAM, which hides the password without TLS, too. It sends no mail.
#[test]
fn gsasl_authenticates_by_scram() {
    let Some(gsasl) = find("gsasl", "gsasl") else {
        return;
    };
    let submission = Submission::start(&[]);
    let server = submission.server.address().to_string();
    let mut arguments = vec!["--smtp", "--connect", &server, "--no-starttls", "--quiet"];
    arguments.extend(["--mechanism", "SCRAM-SHA-256", "--authentication-id", "tim"]);
    arguments.push("--password");
    let bad = run(&gsasl, &[&*arguments, &["wrong"]].concat(), b"");
    assert!(!bad.status.success(), "a wrong password was taken");
    succeed(&gsasl, &[&*arguments, &["tanstaaf"]].concat(), b"");
    let said = submission.server.says("tim has authenticated by ");
    assert_eq!(said, "SCRAM-SHA-256");
}

#[test]
fn nobody_submits_without_auth_or_a_password_in_clear() {
    let submission = Submission::start(&[]);
    let mut client = Client::open(submission.server.address()).expect("a connection");
    client.reply().expect(220);
    let offered = client.command("EHLO client.example").expect(250).lines;
    assert!(
        offered.contains(&"AUTH SCRAM-SHA-256".to_owned()),
        "{offered:?}"
    );
    client
        .command("MAIL FROM:<a@client.example>")
        .expect_text(530, "5.7.0");
    let refused = client.command("AUTH PLAIN AHRpbQB0YW5zdGFhZg==");
    assert!(refused.code >= 500, "{refused:?}");
}

// LMTP.

fn maildirs(users: &[&str]) -> TempDir {
    let directory = directory();
    for user in users {
        std::fs::create_dir(directory.path().join(user)).expect("a directory");
    }
    directory
}

/// The one message in a user's maildir, and what stood in front of it.
fn delivered(maildirs: &TempDir, user: &str) -> (Vec<u8>, String) {
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

// Clients.

/// Runs a client example with this content on its standard input.
fn send(name: &str, server: &str, to: &[&str], options: &[&str], content: &[u8]) -> Output {
    let mut arguments = vec!["--server", server, "--from", SENDER];
    to.iter().for_each(|to| arguments.extend(["--to", to]));
    arguments.extend(options);
    run(&example(name), &arguments, content)
}

struct SmtpSink {
    directory: TempDir,
    address: String,
    _running: Background,
}

impl SmtpSink {
    fn start(options: &[&str]) -> Option<Self> {
        let program = find("smtp-sink", "postfix")?;
        let directory = directory();
        open_to_all(directory.path());
        let address = free_address();
        let listen = address.to_string();
        let mut arguments = vec!["-u", "nobody", "-d", "message."];
        arguments.extend(options);
        arguments.extend([&*listen, "128"]);
        let mut running = Background::start(&program, &arguments, directory.path());
        // It may have been told to refuse whoever connects.
        wait::until("smtp-sink speaks", || {
            running.check();
            Client::open(address).ok()?.try_reply().ok()
        });
        Some(Self {
            directory,
            address: listen,
            _running: running,
        })
    }

    /// The message that it has written to a file, its lines ended by LF.
    fn took(&self, content: &[u8]) {
        let expected = String::from_utf8_lossy(content).replace("\r\n", "\n");
        wait::until("smtp-sink has written the message", || {
            let files = std::fs::read_dir(self.directory.path()).ok()?;
            let found = files.flatten().find(|file| {
                let bytes = std::fs::read(file.path()).unwrap_or_default();
                String::from_utf8_lossy(&bytes).contains(&expected)
            })?;
            std::fs::remove_file(found.path()).ok()
        });
    }
}

/// With everything that smtp-sink offers, and with less and less of it.
#[test]
fn the_clients_deliver_to_smtp_sink() {
    for offer in [&[][..], &["-p"], &["-E", "-N"], &["-8"], &["-e"], &["-P"]] {
        let Some(sink) = SmtpSink::start(offer) else {
            return;
        };
        let eight_bit = !offer
            .iter()
            .any(|option| ["-8", "-e", "-P"].contains(option));
        for name in ["blocking_client", "tokio_client"] {
            let awkward = message::awkward(name);
            let output = send(name, &sink.address, &[RECIPIENT], &[], &awkward);
            if eight_bit {
                assert_success(name, offer, &output);
                sink.took(&awkward);
            } else {
                // Never sent, rather than sent wrongly.
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(2), "{error}");
                assert!(error.contains("8BITMIME"), "{error}");
            }
            let plain = message::with_id(name, 300_000);
            let to = [RECIPIENT, "c@mx.example", "d@mx.example"];
            let output = send(name, &sink.address, &to, &["--no-chunking"], &plain);
            assert_success(name, offer, &output);
            sink.took(&plain);
        }
    }
}

#[test]
fn the_blocking_client_delivers_to_smtp_sink_by_lmtp() {
    for offer in [&["-L"][..], &["-L", "-p"]] {
        let Some(sink) = SmtpSink::start(offer) else {
            return;
        };
        let content = message::awkward("lmtp");
        let to = ["b@mx.example", "c@mx.example"];
        let output = send("blocking_client", &sink.address, &to, &["--lmtp"], &content);
        assert_success("blocking_client", offer, &output);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for to in to {
            assert!(
                said.contains(&format!("message to <{to}>: 250 2.")),
                "{said}"
            );
        }
        sink.took(&content);
    }
}

#[test]
fn the_clients_say_who_is_refused() {
    for (command, code) in [
        ("RCPT", Some(1)),
        ("MAIL", Some(1)),
        ("DATA", Some(1)),
        (".", Some(1)),
        ("CONNECT", Some(2)),
    ] {
        let Some(sink) = SmtpSink::start(&["-f", command, "-B", "550 5.9.9 not today"]) else {
            return;
        };
        for name in ["blocking_client", "tokio_client"] {
            let output = send(
                name,
                &sink.address,
                &[RECIPIENT],
                &[],
                b"Subject: no\n\nno\n",
            );
            let said = [&*output.stdout, &*output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            assert_eq!(output.status.code(), code, "{name} at {command}: {said}");
            assert!(
                said.contains("550 5.9.9 not today"),
                "{name} at {command}: {said}"
            );
        }
    }
    let output = send("blocking_client", "127.0.0.1:1", &[RECIPIENT], &[], b"");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.starts_with("blocking_client: 127.0.0.1:1: "),
        "{error}"
    );
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let maildirs = maildirs(&["b", "c"]);
    // A file where a directory has to be: delivery to c fails when everything was accepted.
    std::fs::write(maildirs.path().join("c/new"), b"").expect("a file");
    let server = Example::start("lmtp_server", &["--maildirs", text(maildirs.path())]);
    let content = message::awkward("lmtp");
    let to = ["nobody@mx.example", "c@mx.example", "b@mx.example"];
    let address = server.address().to_string();
    let output = send("blocking_client", &address, &to, &["--lmtp"], &content);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "recipient <nobody@mx.example>: 550 5.1.1 ",
        "recipient <c@mx.example>: 250 2.1.5 ",
        "recipient <b@mx.example>: 250 2.1.5 ",
        "message to <c@mx.example>: 451 4.3.0 ",
        "message to <b@mx.example>: 250 2.",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    let (received, _) = delivered(&maildirs, "b");
    assert_same("blocking_client", &received, &content);
}

#[test]
fn the_clients_authenticate_by_the_strongest_mechanism() {
    let content = message::awkward("auth");
    for (mode, options, mechanism) in [
        (None, &["--starttls"][..], "SCRAM-SHA-256-PLUS"),
        (Some("--tls"), &["--tls"], "SCRAM-SHA-256-PLUS"),
        (None, &[], "SCRAM-SHA-256"),
    ] {
        let submission = Submission::start(&Vec::from_iter(mode));
        let server = format!("localhost:{}", submission.server.address().port());
        let mut arguments = vec!["--ca", text(&submission.certificate), "--auth", USER];
        arguments.extend(options);
        let output = send("tokio_client", &server, &[RECIPIENT], &arguments, &content);
        assert_success("tokio_client", options, &output);
        submission.took("tokio_client", mechanism, &content);
        let wrong = arguments.iter().position(|&argument| argument == USER);
        arguments[wrong.expect("it is there")] = "tim:wrong";
        let output = send("tokio_client", &server, &[RECIPIENT], &arguments, &content);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("AUTH: 535 5.7.8"), "{error}");
    }
    let submission = Submission::start(&[]);
    let server = submission.server.address().to_string();
    let output = send(
        "blocking_client",
        &server,
        &[RECIPIENT],
        &["--auth", USER],
        &content,
    );
    assert_success("blocking_client", &[], &output);
    submission.took("blocking_client", "SCRAM-SHA-256", &content);
}

// Arguments.

#[test]
fn wrong_arguments_are_named() {
    const PROGRAMS: [&str; 7] = [
        "blocking_client",
        "blocking_server",
        "glommio_server",
        "lmtp_server",
        "proxy",
        "tokio_client",
        "tokio_server",
    ];
    let ends = |name: &str, arguments: &[&str], code: i32, said: &str| {
        let output = run(&example(name), arguments, b"");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{name} {arguments:?}: {error}"
        );
        assert!(error.contains(said), "{name} {arguments:?}: {error}");
        output.stdout
    };
    for name in PROGRAMS {
        let code = if name.ends_with("client") { 2 } else { 1 };
        let usage = ends(name, &["--help"], 0, "");
        assert!(usage.starts_with(b"usage: "), "{name}");
        if name == "proxy" {
            ends(name, &[], code, "usage: ");
            ends(name, &["nowhere", "127.0.0.1:1"], code, "nowhere: ");
            continue;
        }
        ends(name, &["--bogus"], code, "--bogus is not known");
        if name.ends_with("client") {
            ends(name, &[], code, "--server is missing");
            ends(name, &["--server"], code, "--server needs a value");
            let server = ["--server", "127.0.0.1:1", "--to", RECIPIENT];
            ends(name, &server, code, "127.0.0.1:1: ");
        } else {
            ends(name, &["--count", "x"], code, "--count x: ");
            let directory = directory();
            let mut arguments = vec!["--listen", "nowhere"];
            if name == "lmtp_server" {
                arguments.extend(["--maildirs", text(directory.path())]);
            }
            ends(name, &arguments, code, "nowhere: ");
        }
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// smtp-sink gives up root before it writes.
fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory, mode).expect("our own directory");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test's own")
}

#[track_caller]
fn assert_success(name: &str, options: &[&str], output: &Output) {
    let (said, error) = (&output.stdout, &output.stderr);
    let (said, error) = (
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(error),
    );
    assert!(output.status.success(), "{name} {options:?}: {said}{error}");
}

#[track_caller]
fn assert_same(name: &str, found: &[u8], expected: &[u8]) {
    let at = found.iter().zip(expected).position(|(a, b)| a != b);
    let (len, wanted) = (found.len(), expected.len());
    let at = at.unwrap_or_else(|| len.min(wanted));
    assert!(
        found == expected,
        "{name}: byte {at} of {wanted} differs (found {len})"
    );
}
