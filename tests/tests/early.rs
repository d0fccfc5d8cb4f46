//! Peers that answer in the middle of a content: the answer is heard at once, and nothing more is sent. All
//! time limits are an hour, so that what is not heard at once is not heard at all.

use mailrail_tests::{Answer, Early, Script, Server, Sink, Then, message, server::Setup, wait};
use std::sync::atomic::{AtomicBool, Ordering};

const BY_DATA: &[&str] = &["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"];
const BY_CHUNKS: &[&str] = &["PIPELINING", "8BITMIME", "CHUNKING", "ENHANCEDSTATUSCODES"];

/// More than all buffers between the server and a peer that does not read.
const LARGE: usize = 11 * 1024 * 1024;

fn sink(extensions: &'static [&'static str], line: &'static str, then: Then) -> Sink {
    let early = Early {
        after: 1000,
        line,
        then,
    };
    Sink::with(Script::accept().offering(extensions).early(early))
}

fn setup(sink: &Sink, home: &Sink) -> Setup {
    Server::setup()
        .top("shards = 1")
        .listener("max_message_size = \"12 MiB\"")
        .set("spool", "segment_size = \"20 MiB\"")
        .set("delivery", "data_timeout = \"1h\"")
        .set("queue", "retry_interval = \"100ms\"")
        .set("queue", "max_retry_interval = \"200ms\"")
        .route("client.example", home.address())
        .route("*", sink.address())
}

#[track_caller]
fn submit(server: &Server, id: &str, len: usize) {
    let content = message::with_id(id, len);
    let reply = server
        .client()
        .submit("from@client.example", &["to@sink.example"], &content);
    reply.expect("a reply").expect(250);
}

/// What the peer has said of the message, as the first event of this kind tells it.
#[track_caller]
fn first_answer(server: &Server, kind: &str) -> String {
    wait::until(&format!("an event {kind}"), || {
        let event = server.events_of(kind).into_iter().next()?;
        Some(event["response"].to_string())
    })
}

#[test]
fn a_refusal_is_heard_whatever_follows_it() {
    for extensions in [BY_DATA, BY_CHUNKS] {
        for then in [Then::Stop, Then::GoOn, Then::Reset] {
            let (sink, home) = (sink(extensions, "552 5.3.4 too big", then), Sink::start());
            let mut server = setup(&sink, &home).start();
            submit(&server, "large", LARGE);
            let answer = first_answer(&server, "Bounce");
            assert!(answer.contains("552"), "{then:?}: {answer}");
            assert!(answer.contains("too big"), "{then:?}: {answer}");
            let report = home.next();
            let report = String::from_utf8_lossy(&report.content).into_owned();
            assert!(report.contains("552 5.3.4 too big"), "{report}");

            // Who went on reading may get it on the same connection.
            submit(&server, "small", 100);
            let received = sink.next();
            assert_eq!(received.id.as_deref(), Some("small"));
            assert_eq!(received.by_bdat, extensions == BY_CHUNKS);
            if then != Then::GoOn {
                assert_eq!(received.connection, 1, "{then:?}: out of step");
            }
            server.stop();
            assert_eq!(sink.already(), None, "{then:?}");
            assert!(server.queue().contains("empty"), "{}", server.queue());
        }
    }
}

#[test]
fn a_deferral_is_heard_and_the_message_tried_again() {
    for (line, then) in [
        ("452 4.3.1 disk full", Then::Stop),
        ("452 4.3.1 disk full", Then::Reset),
        ("421 4.3.2 shutting down", Then::Stop),
        ("421 4.3.2 shutting down", Then::Reset),
    ] {
        for extensions in [BY_DATA, BY_CHUNKS] {
            let (sink, home) = (sink(extensions, line, then), Sink::start());
            let server = setup(&sink, &home).start();
            submit(&server, "large", LARGE);
            let answer = first_answer(&server, "TransientFailure");
            assert!(answer.contains(&line[..3]), "{line} {then:?}: {answer}");
            assert!(answer.contains(&line[10..]), "{line} {then:?}: {answer}");
            let received = sink.next();
            assert_eq!(received.connection, 1, "{line} {then:?}: out of step");
            assert_eq!(received.id.as_deref(), Some("large"));
        }
    }
}

/// The journal has nothing of a message whose end was not sent, and what was answered is no doubt.
#[test]
fn before_the_end_nothing_is_in_doubt() {
    for (line, then, told) in [
        ("", Then::Reset, "connection"),
        ("452 4.3.1 disk full", Then::Stop, "disk full"),
        ("452 4.3.1 disk full", Then::Reset, "disk full"),
    ] {
        for extensions in [BY_DATA, BY_CHUNKS] {
            let (sink, home) = (sink(extensions, line, then), Sink::start());
            let server = setup(&sink, &home)
                .set("delivery", "in_doubt = \"record\"")
                .set("delivery", "in_doubt_policy = \"hold\"")
                .start();
            submit(&server, "large", LARGE);
            let answer = first_answer(&server, "TransientFailure");
            assert!(answer.contains(told), "{line} {then:?}: {answer}");
            assert!(!answer.contains("doubt"), "{line} {then:?}: {answer}");
            // Held it would not come again.
            assert_eq!(sink.next().id.as_deref(), Some("large"), "{line} {then:?}");
        }
    }
}

/// A success in the middle of a content is none: the peer has taken something else.
#[test]
fn a_success_before_the_end_is_none() {
    for extensions in [BY_DATA, BY_CHUNKS] {
        let (sink, home) = (
            sink(extensions, "250 2.0.0 fine", Then::Stop),
            Sink::start(),
        );
        let server = setup(&sink, &home).start();
        submit(&server, "large", LARGE);
        first_answer(&server, "TransientFailure");
        assert_eq!(sink.next().id.as_deref(), Some("large"));
    }
}

/// A peer that greets and hangs up at each message is left alone after a few connections, as one that cannot
/// be reached is.
#[test]
fn who_says_nothing_of_messages_gets_no_connection_for_each() {
    const MESSAGES: usize = 40;
    let script = Script::new(|step| match step.verb {
        "MAIL" => Answer::Drop,
        _ => Answer::Accept,
    });
    let (sink, home) = (Sink::with(script), Sink::start());
    let server = setup(&sink, &home)
        .set("queue", "retry_interval = \"1h\"")
        .set("queue", "max_retry_interval = \"1h\"")
        .start();
    for number in 0..MESSAGES {
        submit(&server, &format!("small-{number}"), 100);
    }
    // The last one goes elsewhere, and shows that the others had their time.
    let content = message::with_id("marker", 100);
    let reply = server
        .client()
        .submit("from@client.example", &["to@client.example"], &content);
    reply.expect("a reply").expect(250);
    assert_eq!(home.next().id.as_deref(), Some("marker"));
    wait::until("three failures", || {
        (server.events_of("TransientFailure").len() >= 3).then_some(())
    });
    let count = sink.connection_count();
    assert!(count < MESSAGES / 2, "{count} connections");
}

/// A peer that ends each connection just as the second message comes is a good one: nobody waits for that.
#[test]
fn who_hangs_up_after_each_message_gets_all_of_them_at_once() {
    const MESSAGES: usize = 12;
    // Without PIPELINING nothing is on its way that such an end could take away.
    const EXTENSIONS: &[&str] = &["8BITMIME", "ENHANCEDSTATUSCODES"];
    for end in [Answer::Drop, Answer::Close("421 4.3.2 that was enough")] {
        let is_used = [const { AtomicBool::new(false) }; 256];
        let script = Script::new(move |step| {
            let is_second = || is_used[step.connection].swap(true, Ordering::Relaxed);
            match step.verb {
                "MAIL" if is_second() => end.clone(),
                _ => Answer::Accept,
            }
        });
        let (sink, home) = (Sink::with(script.offering(EXTENSIONS)), Sink::start());
        let mut server = setup(&sink, &home)
            .set("queue", "retry_interval = \"1h\"")
            .set("queue", "max_retry_interval = \"1h\"")
            .start();
        for number in 0..MESSAGES {
            submit(&server, &format!("small-{number}"), 100);
        }
        for _ in 0..MESSAGES {
            sink.next();
        }
        server.stop();
        assert_eq!(sink.already(), None, "none twice");
        let failures = server.events_of("TransientFailure");
        assert!(failures.is_empty(), "{failures:?}");
        assert!(server.queue().contains("empty"), "{}", server.queue());
    }
}
