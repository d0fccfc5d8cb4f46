//! `mailrail queue`: what waits in the spool, of a running server and of a stopped one.

use mailrail_tests::{Answer, Script, Server, Sink, message, wait};

/// What a listing must say about a message that was deferred once.
const PARTS: [&str; 5] = [
    "sender@client.example",
    "one@sink.example",
    "two@other.example",
    "451",
    "not yet",
];

fn with_waiting_mail() -> (Server, Sink) {
    let sink = Sink::with(Script::new(|step| match step.verb {
        "MAIL" => Answer::Say("451 4.3.0 not yet"),
        _ => Answer::Accept,
    }));
    let server = Server::setup()
        .route("*", sink.address())
        .set("queue", "retry_interval = \"1h\"")
        .start();
    let recipients = ["one@sink.example", "two@other.example"];
    let content = message::with_id("waiting", 100);
    let reply = server
        .client()
        .submit("sender@client.example", &recipients, &content);
    reply.expect("a reply").expect(250);
    wait::until("both groups are deferred", || {
        let events = server.events();
        let count = events
            .iter()
            .filter(|event| event["type"] == "TransientFailure")
            .count();
        (count >= 2).then_some(())
    });
    (server, sink)
}

fn id_of_waiting(server: &Server) -> String {
    let events = server.events();
    let reception = events
        .iter()
        .find(|event| event["type"] == "Reception")
        .expect("a reception");
    reception["id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn assert_listed(listing: &str, id: &str) {
    for part in PARTS.iter().copied().chain([id]) {
        assert!(listing.contains(part), "{part} is not in\n{listing}");
    }
}

#[test]
fn an_empty_queue_is_said_to_be_empty() {
    let sink = Sink::start();
    let mut server = Server::setup().route("*", sink.address()).start();
    let running = server.queue();
    assert!(!running.contains('@'), "{running}");
    server.stop();
    let stopped = server.queue();
    assert!(!stopped.contains('@'), "{stopped}");
    assert!(
        running.to_lowercase().contains("empty") || running.contains('0'),
        "{running}"
    );
}

#[test]
fn a_running_server_lists_what_waits() {
    let (server, _sink) = with_waiting_mail();
    assert_listed(&server.queue(), &id_of_waiting(&server));
}

/// The spool of a stopped server is read and not changed.
#[test]
fn a_stopped_server_lists_the_same() {
    let (mut server, _sink) = with_waiting_mail();
    let id = id_of_waiting(&server);
    server.stop();
    let before = fingerprint(&server.data_dir());
    assert_listed(&server.queue(), &id);
    assert_eq!(
        fingerprint(&server.data_dir()),
        before,
        "the listing has changed the spool"
    );
    server.start();
    assert_listed(&server.queue(), &id);
}

#[test]
fn a_killed_server_lists_the_same() {
    let (mut server, _sink) = with_waiting_mail();
    let id = id_of_waiting(&server);
    server.kill();
    let listing = server.queue();
    for part in [
        "sender@client.example",
        "one@sink.example",
        "two@other.example",
        &id,
    ] {
        assert!(listing.contains(part), "{part} is not in\n{listing}");
    }
}

/// More than one page, each message once, and the server works meanwhile.
#[test]
fn a_long_queue_is_listed_to_its_end() {
    let (server, _sink) = with_waiting_mail();
    let mut client = server.client();
    let mut ids = vec![id_of_waiting(&server)];
    for number in 0..2_000 {
        let content = message::with_id(&format!("{number}"), 10);
        let reply = client.submit("sender@client.example", &["one@sink.example"], &content);
        let reply = reply.expect("a reply").expect(250);
        ids.extend(
            reply
                .text()
                .split_ascii_whitespace()
                .map(str::to_owned)
                .filter(|word| is_id(word)),
        );
    }
    let listing = server.queue();
    let lines = listing
        .lines()
        .filter(|line| line.contains("one@sink.example"))
        .count();
    assert_eq!(lines, 2_001, "each message once");
    for id in ids {
        assert!(listing.contains(&id), "{id} is not listed");
    }
}

/// The reply to the content names the id: 13 letters and digits.
fn is_id(word: &str) -> bool {
    word.len() == 13 && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[test]
fn a_missing_spool_is_an_empty_queue_or_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("mailrail.toml");
    let data = directory.path().join("nothing");
    std::fs::write(&path, format!("data_dir = \"{}\"\n", data.display())).expect("a file");
    let output = mailrail_tests::server::run(&["queue", "--config", &path.to_string_lossy()]);
    assert!(output.status.success() || !output.stderr.is_empty());
    assert!(!data.exists(), "asking has made a data directory");
}

/// Every file below a directory with its length and time of change.
fn fingerprint(
    directory: &std::path::Path,
) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let (path, metadata) = (entry.path(), entry.metadata().expect("a file"));
        if metadata.is_dir() {
            found.append(&mut fingerprint(&path));
        } else if metadata.len() > 0 {
            found.push((path, metadata.len(), metadata.modified().expect("a time")));
        }
    }
    found.sort();
    found
}
