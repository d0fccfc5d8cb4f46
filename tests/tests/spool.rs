//! `mailrail spool check|dump|stats`: whole spools, spools left by a crash, and spools hurt in every way that a test
//! can think of. Nothing is ever changed, and nothing ends in a panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::SystemTime;

use mailrail_tests::message::Chance;
use mailrail_tests::server::{Setup, run};
use mailrail_tests::{Answer, Script, Server, Sink, message, wait};

fn ask(server: &Server, question: &str) -> (i32, String) {
    let output = run(&[
        "spool",
        question,
        "--config",
        &server.config_path().to_string_lossy(),
    ]);
    told(&output)
}

/// Exit code, and all that was said.
fn told(output: &Output) -> (i32, String) {
    let text = [&*output.stdout, b"\n--\n", &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().expect("no signal"), text)
}

#[track_caller]
fn assert_told(server: &Server, question: &str, code: i32, parts: &[&str]) -> String {
    let (found, text) = ask(server, question);
    assert_eq!(found, code, "spool {question}:\n{text}");
    for part in parts {
        assert!(
            text.contains(part),
            "no \"{part}\" in spool {question}:\n{text}"
        );
    }
    text
}

/// Every file of the spool with its length and time of change.
fn files(server: &Server) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    fn add(directory: &Path, found: &mut BTreeMap<PathBuf, (u64, SystemTime)>) {
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            let (path, metadata) = (entry.path(), entry.metadata().expect("a file"));
            if metadata.is_dir() {
                add(&path, found);
            } else {
                found.insert(path, (metadata.len(), metadata.modified().expect("a time")));
            }
        }
    }
    let mut found = BTreeMap::new();
    add(&server.data_dir(), &mut found);
    found
}

fn setup() -> Setup {
    Server::setup()
        .top("shards = 1")
        .set("queue", "retry_interval = \"1h\"")
}

/// A sink that takes what begins with `good`, and nothing else.
fn sink() -> Sink {
    Sink::with(Script::new(|step| match step.verb {
        "END" if !step.argument.starts_with("good") => Answer::Say("451 4.3.0 not yet"),
        _ => Answer::Accept,
    }))
}

/// A server with one message delivered and two that wait, one of them long.
fn with_mail(setup: Setup) -> (Server, Sink) {
    let sink = sink();
    let server = setup.route("*", sink.address()).start();
    for (id, len) in [("good", 1000), ("waits", 2000), ("waits-too", 200_000)] {
        let content = message::with_id(id, len);
        let recipients = ["one@sink.example", "two@sink.example"];
        let reply = server
            .client()
            .submit("from@client.example", &recipients, &content);
        reply.expect("a reply").expect(250);
    }
    wait::until("one is delivered and two are deferred", || {
        let events = server.events();
        let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        (count("Delivery") >= 1 && count("TransientFailure") >= 2).then_some(())
    });
    (server, sink)
}

fn segments(server: &Server) -> Vec<PathBuf> {
    let directory = server.data_dir().join("spool/log-0");
    let names = fs::read_dir(directory).expect("the log").flatten();
    let mut paths: Vec<_> = names.map(|entry| entry.path()).collect();
    paths.retain(|path| path.to_string_lossy().contains("segment-"));
    paths.sort();
    paths
}

type Change = fn(&mut Vec<u8>);

fn hurt(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a segment");
    change(&mut bytes);
    fs::write(path, bytes).expect("a segment");
}

/// The segment that holds the messages, and where in it the long one's content lies.
fn content_of(server: &Server) -> (PathBuf, usize) {
    for path in segments(server) {
        let bytes = fs::read(&path).expect("a segment");
        let mark = b"waits-too";
        if let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
            return (path, at);
        }
    }
    panic!("the message is in no segment");
}

#[test]
fn a_spool_in_order_is_whole() {
    let (mut server, _sink) = with_mail(setup());
    // Nobody is in a hurry to make it.
    let reserve = server.data_dir().join("spool/log-0/reserve-00000000");
    wait::until("the reserve is made", || reserve.exists().then_some(()));
    server.stop();
    let before = files(&server);
    assert_told(
        &server,
        "check",
        0,
        &[
            "all is whole",
            "2 messages wait, 4 recipients, 0 in doubt",
            "index whole",
            "reserve for a start",
        ],
    );
    let dump = assert_told(
        &server,
        "dump",
        0,
        &[
            "message  ",
            "settled  ",
            "deferred  ",
            "<one@sink.example>",
            "not yet",
            "delivered  250",
        ],
    );
    assert!(!dump.contains("in-doubt"), "{dump}");
    let stats = assert_told(
        &server,
        "stats",
        0,
        &["message records", "messages that wait"],
    );
    let count = |name: &str| {
        let line = stats.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no line {name} in\n{stats}"));
        line[name.len()..]
            .split_whitespace()
            .next()
            .map(str::to_owned)
    };
    assert_eq!(count("message records").as_deref(), Some("3"));
    assert_eq!(count("in-doubt records").as_deref(), Some("0"));
    assert_eq!(count("messages that wait").as_deref(), Some("2"));
    assert_eq!(count("damaged ranges").as_deref(), Some("0"));
    assert_eq!(count("foreign files").as_deref(), Some("0"));
    assert_eq!(files(&server), before, "the spool was changed");
    server.start();
}

#[test]
fn what_a_crash_left_is_whole_and_not_changed() {
    let (mut server, _sink) = with_mail(setup().set("delivery", "in_doubt = \"record\""));
    server.kill();
    let before = files(&server);
    assert_told(&server, "check", 0, &["all is whole", "not ended"]);
    assert_told(&server, "dump", 0, &["in-doubt  ", "2 of it: 0 1"]);
    assert_told(&server, "stats", 0, &[]);
    assert_eq!(files(&server), before, "the spool was changed");
}

#[test]
fn a_running_server_is_left_alone() {
    let (server, _sink) = with_mail(setup());
    for question in ["check", "dump", "stats"] {
        assert_told(&server, question, 1, &["a server uses", "mailrail queue"]);
    }
}

#[test]
fn damaged_content_is_found_and_the_rest_told() {
    let (mut server, _sink) = with_mail(setup());
    server.stop();
    let (path, at) = content_of(&server);
    hurt(&path, |bytes| bytes[at] ^= 1);
    let before = files(&server);
    assert_told(
        &server,
        "check",
        1,
        &[
            "DAMAGED: not readable",
            "1 damaged range",
            "1 messages wait",
        ],
    );
    assert_told(
        &server,
        "dump",
        1,
        &["DAMAGED: not readable", "<one@sink.example>"],
    );
    assert_told(&server, "stats", 1, &["1 damaged range"]);
    assert_eq!(files(&server), before, "the spool was changed");
}

/// What a start has set aside stays told until somebody has taken it away.
#[test]
fn what_a_start_set_aside_is_told() {
    let (mut server, _sink) = with_mail(setup());
    // A batch behind the damage: without one it would be a torn end.
    let later = server.client().submit(
        "from@client.example",
        &["one@sink.example"],
        &message::with_id("good", 100),
    );
    later.expect("a reply").expect(250);
    server.kill();
    let (path, at) = content_of(&server);
    hurt(&path, |bytes| bytes[at] ^= 1);
    server.start();
    server.stop();
    assert_told(&server, "check", 1, &["quarantine-", "1 file set aside"]);
}

#[test]
fn a_damaged_index_is_told() {
    let (mut server, _sink) = with_mail(setup());
    server.stop();
    let (path, _) = content_of(&server);
    hurt(&path, |bytes| {
        let trailer = bytes.len() - 4096;
        let index = bytes[trailer + 32..trailer + 36].try_into().expect("four");
        bytes[u32::from_le_bytes(index) as usize + 30] ^= 1;
    });
    assert_told(
        &server,
        "check",
        1,
        &["index DAMAGED", "1 damaged index", "2 messages wait"],
    );
}

#[test]
fn a_segment_that_is_none_is_told() {
    let changes: [(Change, &str); 4] = [
        (Vec::clear, "not readable"),
        (|bytes| bytes.truncate(5000), "DAMAGED"),
        (|bytes| bytes[..4096].fill(0), "its header is damaged"),
        (|bytes| bytes.fill(0xff), "its header is damaged"),
    ];
    let (mut server, _sink) = with_mail(setup());
    server.stop();
    let (path, _) = content_of(&server);
    let good = fs::read(&path).expect("a segment");
    for (change, words) in changes {
        hurt(&path, change);
        for question in ["check", "dump", "stats"] {
            assert_told(&server, question, 1, &["the spool is damaged"]);
        }
        assert_told(&server, "check", 1, &[words]);
        fs::write(&path, &good).expect("a segment");
    }
    assert_told(&server, "check", 0, &["all is whole"]);
    // Files that are nobody's, and a directory with a segment's name.
    let log = path.parent().expect("the log").to_owned();
    fs::write(log.join("notes\x1b[2J.txt"), "x").expect("a file");
    assert_told(
        &server,
        "check",
        0,
        &["notes\\u{1b}[2J.txt", "no file of the spool"],
    );
    fs::create_dir(log.join("segment-00ffffff")).expect("a directory");
    assert_told(&server, "check", 1, &["00ffffff", "not readable"]);
}

#[test]
fn any_damage_is_survived() {
    let (mut server, _sink) = with_mail(setup());
    server.stop();
    let (path, at) = content_of(&server);
    let good = fs::read(&path).expect("a segment");
    let mut found = 0;
    for seed in 0..24 {
        let mut chance = Chance::new(seed);
        hurt(&path, |bytes| {
            // Where there is something to hurt: up to the end of the last message.
            let end = (at + 210_000).min(bytes.len()) as u64;
            for _ in 0..=chance.below(20) {
                let from = chance.below(end) as usize;
                let len = 1 + chance.below(600) as usize;
                let to = (from + len).min(bytes.len());
                let byte = chance.below(256) as u8;
                bytes[from..to].fill(byte);
            }
            if seed % 5 == 0 {
                bytes.truncate(chance.below(end) as usize);
            }
        });
        let before = files(&server);
        for question in ["check", "dump", "stats"] {
            let (code, text) = ask(&server, question);
            assert!(code == 0 || code == 1, "seed {seed}: {code}\n{text}");
            found += code;
        }
        assert_eq!(files(&server), before, "seed {seed}: the spool was changed");
        fs::write(&path, &good).expect("a segment");
    }
    assert!(found >= 3 * 20, "damage was seen {found} times only");
}

#[test]
fn wrong_words_are_answered_by_2() {
    for arguments in [
        &["spool"][..],
        &["spool", "check"],
        &["spool", "check", "--config"],
        &["spool", "repair", "--config", "x"],
        &["spool", "dump", "--config", "/nowhere/mailrail.toml"],
        &["spool", "stats", "--config", "x", "y"],
    ] {
        let (code, text) = told(&run(arguments));
        assert_eq!(code, 2, "{arguments:?}\n{text}");
        assert!(
            text.split("--\n")
                .nth(1)
                .is_some_and(|said| !said.is_empty())
        );
    }
}

#[test]
fn a_missing_spool_is_said_to_be_missing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("mailrail.toml");
    let data = directory.path().join("nothing");
    fs::write(&path, format!("data_dir = \"{}\"\n", data.display())).expect("a file");
    for question in ["check", "dump", "stats"] {
        let (code, text) = told(&run(&[
            "spool",
            question,
            "--config",
            &path.to_string_lossy(),
        ]));
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("there is no spool here"), "{text}");
        assert!(!data.exists(), "asking has made a data directory");
    }
    // One without a log, and without a lock.
    fs::create_dir_all(data.join("spool")).expect("a directory");
    let (code, text) = told(&run(&[
        "spool",
        "check",
        "--config",
        &path.to_string_lossy(),
    ]));
    assert_eq!((code, text.contains("0 logs")), (0, true), "{text}");
    assert!(!data.join("lock").exists(), "asking has made a lock");
}
