//! Start, stop and change of mind: SIGTERM lets open mail finish, SIGHUP reads the configuration
//! again, and a wrong one changes nothing.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mailrail_tests::{Answer, Client, Script, Server, Sink, message, wait};

#[track_caller]
fn submit(server: &Server, id: &str) {
    let content = message::with_id(id, 500);
    let reply = server
        .client()
        .submit("a@client.example", &["b@sink.example"], &content);
    reply.expect("a reply").expect(250);
}

#[test]
fn sigterm_lets_an_open_message_finish() {
    let sink = Sink::start();
    let mut server = Server::setup().route("*", sink.address()).start();
    let mut idle = server.client();
    let mut open = server.client();
    open.command("MAIL FROM:<a@client.example>").expect(250);
    open.command("RCPT TO:<b@sink.example>").expect(250);
    open.command("DATA").expect(354);
    let content = message::with_id("open", 500);
    let (half, rest) = content.split_at(300);
    open.send(half).expect("a connection");
    server.terminate();
    //= RFC 5321 section 3.8: a server that shuts down says 421
    idle.reply().expect_text(421, "4.3.2");
    assert!(idle.is_closed());
    open.send(rest).expect("a connection");
    open.send(b".\r\n").expect("a connection");
    open.reply().expect(250);
    open.reply().expect_text(421, "4.3.2");
    assert!(open.is_closed());
    let status = server.wait();
    assert!(status.success(), "{status}");
    assert!(Client::open(server.address()).is_err(), "it still listens");
    server.start();
    assert_eq!(sink.next().id.as_deref(), Some("open"));
}

/// A content that never ends does not hold the server for ever.
#[test]
fn sigterm_does_not_wait_for_ever() {
    let sink = Sink::start();
    let mut server = Server::setup()
        .route("*", sink.address())
        .top("stop_timeout = \"500ms\"")
        .start();
    let mut open = server.client();
    open.command("MAIL FROM:<a@client.example>").expect(250);
    open.command("RCPT TO:<b@sink.example>").expect(250);
    open.command("DATA").expect(354);
    open.send(b"Subject: half\r\n").expect("a connection");
    server.stop();
    let last = open.try_reply();
    assert!(last.is_err() || last.is_ok_and(|reply| reply.code == 421));
    server.start();
    submit(&server, "next");
    assert_eq!(
        sink.next().id.as_deref(),
        Some("next"),
        "half a message was kept"
    );
}

/// A peer that always has another message ready is never waited for, and is told all the same.
#[test]
fn sigterm_is_heard_by_a_sender_that_never_pauses() {
    let sink = Sink::start();
    let mut server = Server::setup()
        .route("*", sink.address())
        .top("stop_timeout = \"10m\"")
        .listener("max_messages_per_connection = 1000000")
        .start();
    let mut busy = server.client();
    let mut writer = busy.writer();
    let flood = std::thread::Builder::new()
        .name("flood".into())
        .spawn(move || {
            let content = message::with_id("flood", 300);
            let mut text = format!(
                "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@sink.example>\r\nBDAT {} LAST\r\n",
                content.len()
            )
            .into_bytes();
            text.extend_from_slice(&content);
            // It ends with the connection.
            while writer.write_all(&text.repeat(100)).is_ok() {}
        })
        .expect("a thread");
    for _ in 0..30 {
        busy.reply().expect(250);
    }
    server.terminate();
    let last = loop {
        match busy.try_reply() {
            Ok(reply) if reply.code == 250 => {}
            last => break last,
        }
    };
    // Bytes that nobody reads any more may cut the connection before the last reply is read.
    assert!(last.is_err() || last.is_ok_and(|reply| reply.code == 421));
    let status = server.wait();
    assert!(status.success(), "{status}");
    flood.join().expect("the flood ends");
}

/// SIGINT is the same wish; and a stopped server's mail waits for the next start.
#[test]
fn waiting_mail_survives_a_stop() {
    // Until it is stopped: however late that is, everything waits.
    let gate = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&gate);
    let sink = Sink::with(Script::new(move |step| {
        if step.verb == "MAIL" && !open.load(Ordering::Relaxed) {
            return Answer::Say("451 4.3.0 later");
        }
        Answer::Accept
    }));
    let mut server = Server::setup()
        .route("*", sink.address())
        .set("queue", "retry_interval = \"1s\"")
        .start();
    submit(&server, "waiting");
    let failures = |server: &Server| {
        let events = server.events();
        let failures = events
            .iter()
            .filter(|event| event["type"] == "TransientFailure");
        failures.count()
    };
    wait::until("the first attempt", || {
        (failures(&server) > 0).then_some(())
    });
    server.interrupt();
    let status = server.wait();
    assert!(status.success(), "{status}");
    let before = failures(&server);
    gate.store(true, Ordering::Relaxed);
    server.start();
    assert_eq!(sink.next().id.as_deref(), Some("waiting"));
    let delivery = wait::until("the delivery in the log", || {
        server
            .events()
            .into_iter()
            .find(|event| event["type"] == "Delivery")
    });
    assert_eq!(
        delivery["num_attempts"],
        before + 1,
        "the attempts before the stop count: {delivery}"
    );
}

#[test]
fn an_outcome_under_way_is_not_lost_by_a_stop() {
    let slow = Script::new(|step| match step.verb {
        "END" => Answer::Slowly(Duration::from_millis(300)),
        _ => Answer::Accept,
    });
    let sink = Sink::with(slow);
    let mut server = Server::setup().route("*", sink.address()).start();
    submit(&server, "slow");
    assert_eq!(sink.next().id.as_deref(), Some("slow"));
    // The sink has it, and has not said so yet.
    server.stop();
    server.start();
    submit(&server, "marker");
    assert_eq!(
        sink.next().id.as_deref(),
        Some("marker"),
        "the first one was sent again"
    );
}

#[test]
fn sighup_changes_where_mail_goes() {
    let (first, second) = (Sink::start(), Sink::start());
    let mut server = Server::setup().route("*", first.address()).start();
    let mut kept = server.client();
    submit(&server, "before");
    assert_eq!(first.next().id.as_deref(), Some("before"));
    server.reconfigure(|setup| setup.no_routes().route("*", second.address()));
    wait::until("mail goes to the second sink", || {
        submit(&server, "after");
        second.next_before(wait::Deadline::after(Duration::from_millis(200)))
    });
    kept.command("NOOP").expect(250);
}

#[test]
fn a_wrong_file_changes_nothing_and_says_why() {
    let sink = Sink::start();
    let mut server = Server::setup().route("*", sink.address()).start();
    server.reconfigure_as("hostname = \"mx.test.example\"\nshards = \"many\"\n");
    wait::until("the log says why", || {
        let log = server.log();
        (log.contains("mailrail.toml:2: shards: expected a whole number")).then_some(())
    });
    submit(&server, "still");
    assert_eq!(sink.next().id.as_deref(), Some("still"));
    // What cannot change under way is named, and the rest of the file counts.
    server.reconfigure(|setup| setup.top("shards = 1"));
    wait::until("the log names what needs a restart", || {
        server
            .log()
            .contains("shards: 2 stays in use until a restart")
            .then_some(())
    });
    submit(&server, "after");
    assert_eq!(sink.next().id.as_deref(), Some("after"));
    server.stop();
}

/// The data directory belongs to one server at a time.
#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let sink = Sink::start();
    let server = Server::setup().route("*", sink.address()).start();
    let text = std::fs::read_to_string(server.config_path()).expect("the file");
    let other = mailrail_tests::server::free_address().to_string();
    let text = text.replace(&server.address().to_string(), &other);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("second.toml");
    std::fs::write(&path, text).expect("a file");
    let output = mailrail_tests::server::run(&["serve", "--config", &path.to_string_lossy()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let data_dir = server.data_dir();
    assert!(
        error.contains(&*data_dir.to_string_lossy()),
        "the directory is not named: {error}"
    );
    submit(&server, "undisturbed");
    assert_eq!(sink.next().id.as_deref(), Some("undisturbed"));
}

/// A restart with fewer shards, or with more: mail that waits belongs to a log, not to a shard.
#[test]
fn the_number_of_shards_may_change() {
    let sink = Sink::with(Script::new({
        let count = AtomicUsize::new(0);
        move |step| match step.verb {
            "MAIL" if count.fetch_add(1, Ordering::Relaxed) < 40 => Answer::Say("451 4.3.0 later"),
            _ => Answer::Accept,
        }
    }));
    let mut server = Server::setup()
        .route("*", sink.address())
        .set("queue", "retry_interval = \"1s\"")
        .top("shards = 3")
        .start();
    for number in 0..40 {
        submit(&server, &format!("{number}"));
    }
    for shards in [1, 2] {
        server.stop();
        server.change(|setup| setup.top(&format!("shards = {shards}")));
        server.start();
    }
    let mut ids: Vec<usize> = (0..40)
        .map(|_| {
            sink.next()
                .id
                .and_then(|id| id.parse().ok())
                .expect("an id")
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..40).collect::<Vec<_>>());
    // Of three logs two have a shard; the third is empty now.
    let spool = server.data_dir().join("spool");
    wait::until("the empty log is deleted", || {
        (!spool.join("log-2").exists()).then_some(())
    });
    assert!(spool.join("log-0").exists() && spool.join("log-1").exists());
    server.stop();
    assert_eq!(sink.already(), None);
}

/// What no server of ours has left there is refused at the start, and by name.
#[test]
fn an_id_that_ends_all_ids_is_refused() {
    let mut server = Server::setup().start();
    server.stop();
    let name = server.data_dir().join("spool/ids-after-fzzzzzzzzzzzz");
    std::fs::write(&name, b"").expect("a file");
    assert!(server.try_start().is_err(), "it started");
    let log = server.log();
    assert!(log.contains("fzzzzzzzzzzzz"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    std::fs::remove_file(&name).expect("it is there");
    server.start();
}
