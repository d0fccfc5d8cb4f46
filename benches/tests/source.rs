//! `mailbench source` as a process, against a server that checks what comes: every copy once, of its size, and
//! in the groups that were asked for.

#[path = "source/server.rs"]
mod server;

use serde_json::Value;
use server::{Command, Manners, Message, News, Say, Server, copy_of};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

const ALL: &[&str] = &["PIPELINING", "SIZE 100000000", "CHUNKING", "8BITMIME"];

fn manners(offers: &'static [&'static str], keeps_back: bool) -> Manners {
    Manners {
        offers,
        keeps_back,
        say: Arc::new(|_, _| Say::Yes),
    }
}

fn saying(say: impl Fn(Command, u64) -> Say + Send + Sync + 'static) -> Manners {
    Manners {
        say: Arc::new(say),
        ..manners(ALL, false)
    }
}

fn start(server: SocketAddr, flags: &str) -> Child {
    std::process::Command::new(env!("CARGO_BIN_EXE_mailbench"))
        .args([
            "source",
            &server.to_string(),
            "--run",
            "51966",
            "--json",
            "-",
        ])
        .args(flags.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mailbench")
}

/// What the source reports.
fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("a report")
}

/// What has come to a server, when the source has ended.
#[derive(Default)]
struct Came {
    messages: Vec<Message>,
    asked: Vec<u64>,
    connection_count: u64,
    logins: Vec<String>,
}

impl Came {
    fn to(server: &Server) -> Self {
        let mut came = Self::default();
        for news in server.news.try_iter() {
            match news {
                News::Connected => came.connection_count += 1,
                News::Auth(words) => came.logins.push(words),
                News::Asked(copy) => came.asked.push(copy),
                News::Message(message) => came.messages.push(message),
                News::Broken(what) => panic!("the source broke a rule: {what}"),
            }
        }
        came
    }

    fn copies(&self) -> Vec<u64> {
        let recipients = self.messages.iter().flat_map(|message| &message.recipients);
        let mut copies: Vec<u64> = recipients.map(|to| copy_of(to)).collect();
        copies.sort_unstable();
        copies
    }
}

/// Runs the source to its end.
fn run(manners: Manners, flags: &str) -> (Value, Came) {
    let server = Server::start(manners);
    let output = start(server.address, flags)
        .wait_with_output()
        .expect("an end");
    let report = report(&output);
    (report, Came::to(&server))
}

#[track_caller]
fn check(report: &Value, expected: &[(&str, u64)]) {
    for (name, count) in expected {
        let found = name.split('/').fold(report, |value, key| &value[key]);
        assert_eq!(found.as_u64(), Some(*count), "{name} in {report:#}");
    }
}

fn all(copy_count: u64) -> Vec<u64> {
    (0..copy_count).collect()
}

#[test]
fn one_command_at_a_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("acknowledged");
    let flags = format!(
        "-s 4 -m 100 -l 1k,5k --recipients 3 --sender-domains 5 --recipient-domains 7 --zipf 1 \
         --shards 2 --acknowledged {}",
        path.display()
    );
    let (report, came) = run(manners(ALL, false), &flags);
    check(
        &report,
        &[
            ("run", 51966),
            ("messages", 100),
            ("copies", 300),
            ("unsent", 0),
            ("in_doubt", 0),
            ("broken", 0),
            ("connections", 4),
            ("steps/connect/count", 4),
            ("steps/mail/count", 100),
            ("steps/rcpt/count", 300),
            ("steps/data/count", 100),
            ("steps/final/count", 100),
            ("steps/message/count", 100),
        ],
    );
    assert_eq!(came.copies(), all(300));
    assert_eq!(came.connection_count, 4);
    let sizes: BTreeSet<usize> = came.messages.iter().map(|one| one.content.len()).collect();
    assert_eq!(sizes, BTreeSet::from([1024, 5120]));
    let sum: usize = came.messages.iter().map(|one| one.content.len()).sum();
    check(&report, &[("content_bytes", sum as u64)]);
    let mut ids = BTreeSet::new();
    let (mut senders, mut domains) = (BTreeSet::new(), BTreeSet::new());
    for message in &came.messages {
        let text = String::from_utf8(message.content.clone()).expect("text");
        assert!(
            text.lines()
                .all(|line| !line.starts_with('.') && line.len() < 78)
        );
        assert!(text.contains("\r\n\r\n") && text.ends_with("\r\n"));
        ids.insert(text.lines().next().expect("a line").to_owned());
        senders.insert(message.sender.clone());
        for to in &message.recipients {
            assert!(to.starts_with("0000cafe."), "{to}");
            domains.insert(to.split_once('@').expect("an address").1.to_owned());
        }
    }
    assert_eq!(ids.len(), 100);
    assert_eq!((senders.len(), domains.len()), (5, 7));
    assert!(senders.contains("source@d4.sender.example") && domains.contains("d6.rcpt.example"));
    let saved = std::fs::read(&path).expect("a file of copies");
    let copies = saved
        .strip_prefix(b"mailbench copies 1 0000cafe\n")
        .expect("its first line");
    assert_eq!(copies, vec![1; 300]);
}

#[test]
fn in_groups_with_the_next_envelope_behind_a_content() {
    // The last answer is kept back until the next envelope has come, or QUIT.
    let flags = "-s 3 -m 60 --recipients 2 --pipelining";
    let (report, came) = run(manners(ALL, true), flags);
    check(
        &report,
        &[("messages", 60), ("copies", 120), ("connections", 3)],
    );
    check(
        &report,
        &[("steps/data/count", 60), ("steps/message/count", 60)],
    );
    assert_eq!(came.copies(), all(120));
    assert!(came.messages.iter().all(|message| !message.is_chunked));
}

#[test]
fn more_recipients_than_may_wait_for_their_answers() {
    let flags = "-s 1 -m 3 --recipients 1000 --pipelining";
    // Answers are not kept back, since the source has to hear some before it goes on; it is early all the same.
    let server = Server::start(manners(&["PIPELINING"], false));
    let output = start(server.address, flags)
        .wait_with_output()
        .expect("an end");
    check(
        &report(&output),
        &[
            ("messages", 3),
            ("copies", 3000),
            ("steps/rcpt/count", 3000),
        ],
    );
    let came = server.news.try_iter().filter_map(|news| match news {
        News::Message(message) => Some(message.recipients.len()),
        _ => None,
    });
    assert_eq!(came.collect::<Vec<_>>(), [1000; 3]);
}

#[test]
fn a_whole_message_in_one_group_by_bdat() {
    let (report, came) = run(manners(ALL, true), "-s 2 -m 50 -l 100k --pipelining --bdat");
    check(&report, &[("messages", 50), ("steps/final/count", 50)]);
    assert!(report["steps"].get("data").is_none(), "{report:#}");
    assert_eq!(came.copies(), all(50));
    let is_right = |message: &Message| message.is_chunked && message.content.len() == 102_400;
    assert!(came.messages.iter().all(is_right));
}

#[test]
fn bdat_command_by_command_and_data_where_it_is_not_offered() {
    let (report, came) = run(manners(ALL, false), "-s 2 -m 20 --bdat");
    check(&report, &[("messages", 20)]);
    assert_eq!(came.copies(), all(20));
    assert!(came.messages.iter().all(|message| message.is_chunked));
    let (report, came) = run(manners(&[], false), "-s 2 -m 20 --bdat --pipelining");
    check(&report, &[("messages", 20), ("steps/data/count", 20)]);
    assert_eq!(came.copies(), all(20));
}

#[test]
fn a_message_that_waits_for_a_session_is_late() {
    // The first answer takes 300 ms, and the last of 20 messages is due after 190: each waits for
    // at least 110, however fast the rest goes.
    let hold = saying(|command, copy| {
        if (command, copy) == (Command::End, 0) {
            std::thread::sleep(Duration::from_millis(300));
        }
        Say::Yes
    });
    let (report, came) = run(hold, "-s 1 -m 20 --rate 100");
    check(&report, &[("messages", 20), ("steps/message/count", 20)]);
    let shortest = report["steps"]["message"]["min"].as_u64().expect("a time");
    assert!(shortest >= 109_000, "{report:#}");
    assert_eq!(came.copies(), all(20));
}

#[test]
fn a_rate_is_shared_by_shards_and_sessions() {
    let flags = "-s 10 -m 300 --rate 1000 --shards 2 --live";
    let (report, came) = run(manners(ALL, false), flags);
    check(&report, &[("messages", 300), ("connections", 10)]);
    // No message goes before it is due: the last is so 299 ms after the first.
    assert!(
        report["seconds"].as_f64().expect("seconds") >= 0.295,
        "{report:#}"
    );
    assert_eq!(came.copies(), all(300));
}

#[test]
fn what_is_refused_is_counted_and_not_tried_again() {
    let moody = saying(|command, copy| match (command, copy % 5) {
        (Command::Recipient, 1) => Say::Line("450 4.2.1 later"),
        (Command::Recipient, 2) => Say::Line("550 5.1.1 nobody"),
        (Command::Data, 3) => Say::Line("451 4.3.0 not now"),
        (Command::End, 4) => Say::Line("554 5.7.1 no"),
        _ => Say::Yes,
    });
    let (report, came) = run(moody, "-s 3 -m 50");
    check(
        &report,
        &[
            ("messages", 10),
            ("deferred", 20),
            ("refused", 20),
            ("unsent", 0),
            ("broken", 0),
            ("steps/message/count", 10),
            ("answers/450 4.2.1 later", 10),
            ("answers/550 5.1.1 nobody", 10),
            ("answers/451 4.3.0 not now", 10),
            ("answers/554 5.7.1 no", 10),
        ],
    );
    let mut asked = came.asked.clone();
    asked.sort_unstable();
    assert_eq!(asked, all(50), "each was tried once");
}

#[test]
fn a_refused_recipient_is_no_copy() {
    let picky = saying(|command, copy| match (command, copy % 2) {
        (Command::Recipient, 1) => Say::Line("550 5.1.1 nobody"),
        _ => Say::Yes,
    });
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("acknowledged");
    let flags = format!("-s 2 -m 5 --recipients 4 --acknowledged {}", path.display());
    let (report, came) = run(picky, &flags);
    check(&report, &[("messages", 5), ("copies", 10), ("refused", 0)]);
    let even: Vec<u64> = (0..20).filter(|copy| copy % 2 == 0).collect();
    assert_eq!(came.copies(), even);
    let saved = std::fs::read(&path).expect("a file of copies");
    let line_len = saved
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a line")
        + 1;
    assert_eq!(saved[line_len..], [1, 0].repeat(10)[..19]);
}

#[test]
fn behind_421_the_message_goes_over_another_connection() {
    let count = std::sync::atomic::AtomicU64::new(0);
    let tired = saying(move |command, _| {
        let is_mail = command == Command::Mail;
        let nth = || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match is_mail && nth() % 10 == 9 {
            true => Say::Line("421 4.3.2 tired"),
            false => Say::Yes,
        }
    });
    let (report, came) = run(tired, "-s 2 -m 40");
    check(
        &report,
        &[
            ("messages", 40),
            ("deferred", 0),
            ("unsent", 0),
            ("broken", 4),
        ],
    );
    check(
        &report,
        &[
            ("answers/421 4.3.2 tired", 4),
            ("connections", came.connection_count),
        ],
    );
    assert_eq!(came.copies(), all(40));
}

#[test]
fn a_content_whose_answer_never_came_is_in_doubt() {
    let rude = saying(|command, copy| match (command, copy) {
        (Command::End, 7) => Say::HangUp,
        _ => Say::Yes,
    });
    let (report, came) = run(rude, "-s 1 -m 20");
    check(
        &report,
        &[
            ("messages", 19),
            ("in_doubt", 1),
            ("unsent", 0),
            ("broken", 1),
        ],
    );
    let others: Vec<u64> = (0..20).filter(|copy| *copy != 7).collect();
    assert_eq!(came.copies(), others);
}

#[test]
fn a_connection_ends_behind_its_messages() {
    for flags in ["", "--pipelining", "--pipelining --bdat"] {
        let manners = manners(ALL, !flags.is_empty());
        let (report, came) = run(manners, &format!("-s 1 -m 10 --per-connection 3 {flags}"));
        check(
            &report,
            &[("messages", 10), ("connections", 4), ("broken", 0)],
        );
        assert_eq!((came.connection_count, came.copies()), (4, all(10)));
    }
}

#[test]
fn logging_in() {
    const OFFERS: &[&str] = &["AUTH PLAIN LOGIN", "PIPELINING"];
    let (report, came) = run(manners(OFFERS, false), "-s 2 -m 4 --auth tim:secret");
    check(&report, &[("messages", 4)]);
    assert_eq!(came.logins, ["PLAIN AHRpbQBzZWNyZXQ="; 2]);
    for (offers, password, words) in [
        (OFFERS, "wrong", "AUTH is refused: 535 5.7.8 no such user"),
        (ALL, "secret", "does not offer AUTH PLAIN"),
    ] {
        let server = Server::start(manners(offers, false));
        let flags = format!("-s 2 -m 4 --auth tim:{password}");
        let output = start(server.address, &flags)
            .wait_with_output()
            .expect("an end");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains(words),
            "{errors}"
        );
        assert!(Came::to(&server).messages.is_empty());
    }
}

#[test]
fn nobody_there() {
    // Nobody listens at this port but a very old multiplexer.
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let output = start(nowhere, "-s 20").wait_with_output().expect("an end");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert_eq!(errors, "mailbench: 127.0.0.1:1: connection refused\n");
}

#[test]
fn nobody_who_wants_us() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    // Greets nobody: 554 to each.
    let thread = std::thread::Builder::new().spawn(move || {
        for mut stream in closed.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"554 5.3.2 not today\r\n");
        }
    });
    drop(thread.expect("a thread"));
    let output = start(address, "-s 2").wait_with_output().expect("an end");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("554 5.3.2 not today"), "{errors}");
}

#[test]
fn told_to_end_it_reports() {
    let server = Server::start(manners(ALL, false));
    let child = start(server.address, "-s 2 -m 100000 --rate 50");
    let mut message_count = 0;
    while message_count < 3 {
        let news = server.news.recv_timeout(Duration::from_secs(20));
        message_count += u32::from(matches!(news.expect("news"), News::Message(_)));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    let report = report(&child.wait_with_output().expect("an end"));
    let count = |name: &str| report[name].as_u64().expect("a count");
    assert!(count("messages") >= 3, "{report:#}");
    assert_eq!(count("messages") + count("unsent"), 100_000);
    assert_eq!(count("in_doubt") + count("broken"), 0);
}

#[test]
fn its_time_is_limited() {
    let (report, came) = run(manners(ALL, false), "-s 2 -m 100000 --rate 20 --limit-s 1");
    let messages = report["messages"].as_u64().expect("a count");
    check(&report, &[("unsent", 100_000 - messages), ("in_doubt", 0)]);
    assert_eq!(came.copies(), all(messages));
}

/// `mailbench sink` with these flags, and where it listens. It ends by itself when its time is over.
fn start_sink(flags: &str) -> (Child, SocketAddr) {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_mailbench"))
        .args(["sink", "--listen", "127.0.0.1:0", "--limit-s", "120"])
        .args(["--json", "-"])
        .args(flags.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mailbench");
    let mut line = String::new();
    let stderr = child.stderr.as_mut().expect("it is piped");
    let read = BufReader::new(stderr).read_line(&mut line);
    read.expect("a line");
    let address = line.trim_end().strip_prefix("mailbench: sink on ");
    let address = address.unwrap_or_else(|| panic!("it did not start: {line}"));
    (child, address.parse().expect("an address"))
}

/// Ends a sink; its report.
fn end_sink(child: Child) -> Value {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    report(&child.wait_with_output().expect("an end"))
}

#[test]
fn inside_tls() {
    for mode in ["starttls", "implicit"] {
        let (sink, address) = start_sink(&format!("--tls {mode}"));
        let flags = format!("--tls {mode} -s 3 -m 30 --per-connection 5 --size 20000 --pipelining");
        let output = start(address, &flags).wait_with_output().expect("an end");
        let sent = report(&output);
        check(&sent, &[("messages", 30), ("copies", 30), ("broken", 0)]);
        let connections = sent["connections"].as_u64().expect("a count");
        assert!(connections >= 6, "{mode}: {sent:#}");
        // Every connection has shaken hands.
        check(&sent, &[("steps/tls/count", connections)]);
        let came = end_sink(sink);
        check(&came, &[("copies", 30), ("duplicates", 0), ("unknown", 0)]);
    }
}

#[test]
fn nothing_goes_out_in_clear_text_where_tls_was_asked_for() {
    let (sink, address) = start_sink("--tls off");
    let output = start(address, "--tls starttls -s 1 -m 1").wait_with_output();
    let output = output.expect("an end");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("STARTTLS"), "{said}");
    check(&end_sink(sink), &[("messages", 0)]);
}
