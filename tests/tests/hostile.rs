//! Bad input, of each kind that has brought a server down: the right reply, bounded memory, a
//! neighbour that notices nothing, and nothing accepted that is lost.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailrail_tests::program::SmallDisk;
use mailrail_tests::server::Setup;
use mailrail_tests::{Client, Script, Server, Sink, message, wait};

/// What all of it together may cost the server, in bytes of resident memory.
const MEMORY_MAX: u64 = 64 << 20;

/// Runs a case while a neighbour sends mail over one connection, and checks what is to be
/// checked after each. Hands out the server, and the sink that has had the neighbour's mail.
fn hostile(case: impl FnOnce(&Server)) -> (Server, Sink) {
    hostile_to(Server::setup(), case)
}

/// The same with another configuration.
fn hostile_to(setup: Setup, case: impl FnOnce(&Server)) -> (Server, Sink) {
    let sink = Sink::start();
    let server = setup
        .route("*", sink.address())
        .another_listener(&["client_timeout = \"1s\""])
        .start();
    let mut neighbour = server.client();
    let send = |client: &mut Client, id: &str| {
        let content = message::with_id(id, 1000);
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("the neighbour is not disturbed").expect(250);
    };
    send(&mut neighbour, "before");
    assert_eq!(sink.next().id.as_deref(), Some("before"));
    let before = server.memory();
    let finished = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&finished);
    let working = std::thread::Builder::new()
        .name("neighbour".to_owned())
        .spawn(move || {
            let mut sent = 0;
            while !flag.load(Ordering::Relaxed) || sent < 10 {
                sent += 1;
                send(&mut neighbour, &format!("neighbour-{sent}"));
            }
            sent
        })
        .expect("a thread");
    case(&server);
    finished.store(true, Ordering::Relaxed);
    let sent = working.join().expect("the neighbour is not disturbed");
    let mut missing: HashSet<String> = (1..=sent).map(|n| format!("neighbour-{n}")).collect();
    while !missing.is_empty() {
        missing.remove(&sink.next().id.expect("an id"));
    }
    let growth = server.memory().saturating_sub(before);
    assert!(
        growth < MEMORY_MAX,
        "the server has grown by {growth} bytes"
    );
    (server, sink)
}

/// Whoever still sends when the server has said its last word and closes is sent a reset, and that takes away
/// what he has not received yet, the last word with it.
fn is_cut(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
    // The end that is left when the sending side has heard of the reset first.
    matches!(error.kind(), ConnectionReset | UnexpectedEof)
}

#[test]
fn a_line_of_one_mebibyte() {
    hostile(|server| {
        let mut client = server.client();
        let mut writer = client.writer();
        let sending = std::thread::Builder::new().spawn(move || {
            // The server may have hung up before the end.
            let _ = writer
                .write_all(&vec![b'x'; 1 << 20])
                .and_then(|()| writer.write_all(b"\r\n"));
        });
        //= RFC 5321 section 4.5.3.1.9: a line that is too long is answered with 500
        let reply = client.reply();
        assert!(reply.code == 500 || reply.code == 421, "{reply:?}");
        sending.expect("a thread").join().expect("no panic");
        if reply.code == 500 {
            client.command("NOOP").expect(250);
        }
    });
}

#[test]
fn a_line_of_one_mebibyte_in_the_content() {
    hostile(|server| {
        let mut client = server.client();
        let mut content = message::with_id("long", 10);
        content.extend_from_slice(&vec![b'x'; 1 << 20]);
        content.extend_from_slice(b"\r\n");
        let reply = client.submit("a@client.example", &["c@sink.example"], &content);
        let reply = reply.expect("a reply");
        assert!([250, 500, 550, 554].contains(&reply.code), "{reply:?}");
        client.command("NOOP").expect(250);
    });
}

#[test]
fn a_hundred_thousand_pipelined_noops() {
    hostile(|server| {
        let mut client = server.client();
        let mut writer = client.writer();
        let sending = std::thread::Builder::new().spawn(move || {
            let _ = writer.write_all(&b"NOOP\r\n".repeat(100_000));
        });
        let mut answered = 0;
        while answered < 100_000 {
            match client.try_reply() {
                Ok(reply) if reply.code == 250 => answered += 1,
                Ok(reply) => {
                    reply.expect(421);
                    break;
                }
                Err(error) if is_cut(&error) => break,
                Err(error) => panic!("neither a reply nor the end: {error}"),
            }
        }
        sending.expect("a thread").join().expect("no panic");
        assert!(answered >= 100, "only {answered} were answered");
    });
}

/// A client that never reads: the server stops reading from it or hangs up, and does not collect replies.
#[test]
fn noops_without_reading_the_replies() {
    // One shard: whoever else is answered is answered by the one that could have read on instead.
    hostile_to(Server::setup().top("shards = 1"), |server| {
        let client = server.client();
        let mut other = server.client();
        let mut writer = client.writer();
        writer.set_nonblocking(true).expect("our own socket");
        let noops = b"NOOP\r\n".repeat(10_000);
        // Until the server has taken no more while it answered somebody else again and again, or as much as no server
        // should take.
        let (mut taken, mut answered) = (0, 0);
        while taken < 256 << 20 && answered < 50 {
            match writer.write(&noops) {
                Ok(count) => (taken, answered) = (taken + count, 0),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    other.command("NOOP").expect(250);
                    answered += 1;
                }
                // It hangs up after so many commands, where the buffers have room for all replies until then.
                Err(error) if is_cut(&error) => break,
                Err(error) => panic!("neither taken nor left: {error}"),
            }
        }
        assert!(
            taken < 256 << 20,
            "the server reads on though nobody takes its replies"
        );
    });
}

#[test]
fn nul_bytes() {
    hostile(|server| {
        let mut client = server.client();
        for line in [
            &b"\0\0\0\r\n"[..],
            b"NO\0OP\r\n",
            b"MAIL FROM:<a\0b@client.example>\r\n",
        ] {
            client.send(line).expect("a connection");
            let reply = client.reply();
            assert!(
                (500..=503).contains(&reply.code) || reply.code == 553,
                "{reply:?}"
            );
        }
        let mut content = message::with_id("nul", 10);
        content.extend_from_slice(b"a\0b\r\n");
        let reply = client.submit("a@client.example", &["c@sink.example"], &content);
        let reply = reply.expect("a reply");
        // Content with NUL is no text of any kind: taken as it is, or refused for good.
        assert!(
            reply.code == 250 || (550..=554).contains(&reply.code),
            "{reply:?}"
        );
        client.command("NOOP").expect(250);
    });
}

/// What looks like the end of the content to a careless reader is none, and is refused.
#[test]
fn bare_line_feeds_around_a_dot() {
    for smuggled in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n"] {
        hostile(|server| {
            let mut client = server.client();
            client.command("MAIL FROM:<a@client.example>").expect(250);
            client.command("RCPT TO:<c@sink.example>").expect(250);
            client.command("DATA").expect(354);
            let text =
                format!("Subject: x\r\n\r\nfirst{smuggled}MAIL FROM:<evil@client.example>\r\n");
            client.send(text.as_bytes()).expect("a connection");
            client
                .send(b"RCPT TO:<evil@sink.example>\r\nDATA\r\n")
                .expect("a connection");
            client.send(b"second\r\n.\r\n").expect("a connection");
            //= RFC 5321 section 4.1.1.4: only CRLF, dot, CRLF ends the content
            client.reply().expect_text(550, "5.6.11");
            // One reply, and no more: nothing of the content was taken for a command. Replies come in order,
            // so another one would stand before these.
            client.command("NOOP").expect(250);
            client.command("QUIT").expect(221);
            assert!(client.is_closed(), "{smuggled:?}");
        });
    }
}

#[test]
fn ten_thousand_recipients() {
    hostile(|server| {
        let mut client = server.client();
        client.command("MAIL FROM:<a@client.example>").expect(250);
        let mut writer = client.writer();
        let sending = std::thread::Builder::new().spawn(move || {
            for number in 0..10_000 {
                let line = format!("RCPT TO:<recipient{number}@sink.example>\r\n");
                if writer.write_all(line.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..10_000 {
            match client.try_reply() {
                Ok(reply) if reply.code == 250 => taken += 1,
                //= RFC 5321 section 4.5.3.1.10: too many recipients are answered with 452
                Ok(reply) if reply.code == 452 => refused += 1,
                Ok(reply) => {
                    reply.expect(421);
                    break;
                }
                Err(error) if is_cut(&error) => break,
                Err(error) => panic!("neither a reply nor the end: {error}"),
            }
        }
        sending.expect("a thread").join().expect("no panic");
        assert_eq!(taken, 1024, "the limit of the listener");
        assert!(refused >= 1, "nobody was refused");
    });
}

/// A command that never gets finished, byte by byte, and a content that does not.
#[test]
fn one_byte_at_a_time() {
    hostile(|server| {
        let impatient = server.listener(1);
        let mut in_command = Client::hello(impatient);
        let mut in_content = Client::hello(impatient);
        in_content
            .command("MAIL FROM:<a@client.example>")
            .expect(250);
        in_content.command("RCPT TO:<c@sink.example>").expect(250);
        in_content.command("DATA").expect(354);
        let pause = Duration::from_millis(100);
        let answered = wait::until("a client that is too slow is told so", || {
            // It may have hung up already, having said why.
            let _ = in_command.send(b"N");
            let _ = in_content.send(b"x");
            in_command
                .reply_within(pause)
                .expect("a word before the end")
        });
        //= RFC 5321 section 4.5.3.2: a server limits how long it waits for a command
        answered.expect_text(421, "4.4.2");
        assert!(in_command.is_closed());
    });
}

/// A client that goes away in the middle leaves nothing behind.
#[test]
fn a_connection_that_ends_in_the_content() {
    let (mut server, sink) = hostile(|server| {
        for end in ["DATA", "BDAT 100"] {
            let mut client = server.client();
            client.command("MAIL FROM:<a@client.example>").expect(250);
            client.command("RCPT TO:<c@sink.example>").expect(250);
            let text = format!("{end}\r\nSubject: half\r\n\r\nhalf a mess");
            client.send(text.as_bytes()).expect("a connection");
            client.end_of_input().expect("a connection");
            if end == "DATA" {
                client.reply().expect(354);
            }
            assert!(client.is_closed(), "the server has seen the end");
        }
    });
    // When it has stopped, it has told what it had to tell.
    server.stop();
    let received = server
        .events()
        .iter()
        .any(|event| event.to_string().contains("c@sink"));
    assert!(!received, "half a message was accepted");
    assert_eq!(sink.already(), None, "half a message was delivered");
}

/// More than SIZE allows, announced and not.
#[test]
fn content_that_is_too_large() {
    hostile(|server| {
        let mut client = server.client();
        //= RFC 1870 section 6.1: a size that is announced and too large is refused with 552
        client
            .command("MAIL FROM:<a@client.example> SIZE=5000000")
            .expect_text(552, "5.3.4");
        let content = message::with_id("large", 5_000_000);
        let reply = client.submit("a@client.example", &["c@sink.example"], &content);
        //= RFC 1870 section 6.3: a size that shows is refused with 552 after the content
        reply.expect("a reply").expect_text(552, "5.3.4");
        client.command("NOOP").expect(250);
    });
}

/// Mail is refused for now when the disk is full, what was accepted before arrives, and then
/// there is room again.
#[test]
fn a_full_disk() {
    let Some(disk) = SmallDisk::mount("24m") else {
        return;
    };
    let open = Arc::new(AtomicBool::new(false));
    let sink = Sink::with(Script::until_open(&open, "MAIL", "451 4.3.0 later"));
    let server = Server::setup()
        .route("*", sink.address())
        .data_dir(disk.path())
        .listener("max_message_size = \"1 MiB\"")
        .top("shards = 1")
        .set("spool", "segment_size = \"2 MiB\"")
        .set("queue", "retry_interval = \"200ms\"")
        .set("queue", "max_retry_interval = \"500ms\"")
        .start();
    let mut client = server.client();
    let mut promised = HashSet::new();
    for number in 0..1000 {
        let id = format!("full-{number}");
        let content = message::with_id(&id, 100_000);
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        let reply = reply.expect("a reply, also when the disk is full");
        if reply.code != 250 {
            //= RFC 5321 section 4.2.3: 452 says that there is no room for now
            reply.expect_text(452, "4.3.1");
            break;
        }
        promised.insert(id);
    }
    assert!(promised.len() < 1000, "the disk never filled");
    assert!(
        promised.len() > 20,
        "only {} messages fit on the disk",
        promised.len()
    );
    open.store(true, Ordering::Relaxed);
    while !promised.is_empty() {
        promised.remove(&sink.next().id.expect("an id"));
    }
    // Delivered mail has made room. The server may take a moment to see it.
    let content = message::with_id("after", 100_000);
    wait::until("mail is accepted again", || {
        let reply = server
            .client()
            .submit("a@client.example", &["b@sink.example"], &content);
        (reply.expect("a reply").code == 250).then_some(())
    });
    drop(server);
}
