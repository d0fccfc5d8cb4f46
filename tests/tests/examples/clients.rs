//! The clients: delivery to smtp-sink and to servers of ours, refusals, LMTP and AUTH.

use mailrail_tests::examples::{Example, example};
use mailrail_tests::message;
use mailrail_tests::program::run;
use mailrail_tests::smtp_sink::SmtpSink;
use std::process::Output;

use super::{
    RECIPIENT, SENDER, assert_same, assert_success, lmtp::delivered, lmtp::maildirs,
    submission::Submission, submission::USER, text,
};

/// Runs a client example with this content on its standard input.
pub(super) fn send(
    name: &str,
    server: &str,
    to: &[&str],
    options: &[&str],
    content: &[u8],
) -> Output {
    let mut arguments = vec!["--server", server, "--from", SENDER];
    to.iter().for_each(|to| arguments.extend(["--to", to]));
    arguments.extend(options);
    run(&example(name), &arguments, content)
}

/// With everything that smtp-sink offers, and with less and less of it.
#[test]
fn the_clients_deliver_to_smtp_sink() {
    for offer in [&[][..], &["-p"], &["-E", "-N"], &["-8"], &["-e"], &["-P"]] {
        let Some(sink) = SmtpSink::start(offer) else {
            return;
        };
        let address = sink.address().to_string();
        let eight_bit = !offer
            .iter()
            .any(|option| ["-8", "-e", "-P"].contains(option));
        for name in ["blocking_client", "tokio_client"] {
            let awkward = message::awkward(name);
            let output = send(name, &address, &[RECIPIENT], &[], &awkward);
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
            let output = send(name, &address, &to, &["--no-chunking"], &plain);
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
        let address = sink.address().to_string();
        let content = message::awkward("lmtp");
        let to = ["b@mx.example", "c@mx.example"];
        let output = send("blocking_client", &address, &to, &["--lmtp"], &content);
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
        let address = sink.address().to_string();
        for name in ["blocking_client", "tokio_client"] {
            let output = send(name, &address, &[RECIPIENT], &[], b"Subject: no\n\nno\n");
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
