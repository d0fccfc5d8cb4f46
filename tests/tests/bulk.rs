//! Much at once: whole sessions in one write, large content, a thousand recipients of hundreds of
//! domains, a sink that is slow.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use mailrail_tests::{Answer, Client, Script, Server, Sink, message};

/// A client that pipelines everything, from EHLO to QUIT, and reads afterwards.
#[test]
fn whole_sessions_in_one_write() {
    const MESSAGES: usize = 300;
    let sink = Sink::start();
    let server = Server::setup().route("*", sink.address()).start();
    let mut client = Client::open(server.address()).expect("a connection");
    let mut input = b"EHLO client.example\r\n".to_vec();
    for number in 0..MESSAGES {
        let content = message::with_id(&format!("{number}"), number * 37);
        if number % 2 == 0 {
            input
                .extend_from_slice(b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@sink.example>\r\n");
            input.extend_from_slice(b"DATA\r\n");
            input.extend_from_slice(&message::stuffed(&content));
        } else {
            let size = content.len();
            let head = format!(
                "MAIL FROM:<a@client.example> SIZE={size}\r\nRCPT TO:<b@sink.example>\r\n\
                 BDAT {size} LAST\r\n"
            );
            input.extend_from_slice(head.as_bytes());
            input.extend_from_slice(&content);
        }
    }
    input.extend_from_slice(b"QUIT\r\n");
    let mut writer = client.writer();
    let sending = std::thread::Builder::new().spawn(move || writer.write_all(&input));
    client.reply().expect(220);
    client.reply().expect(250);
    for number in 0..MESSAGES {
        let replies = if number % 2 == 0 {
            &[250, 250, 354, 250][..]
        } else {
            &[250, 250, 250]
        };
        for code in replies {
            client.reply().expect(*code);
        }
    }
    client.reply().expect(221);
    assert!(client.is_closed());
    sending
        .expect("a thread")
        .join()
        .expect("no panic")
        .expect("everything was taken");
    let mut seen = vec![0; MESSAGES];
    for _ in 0..MESSAGES {
        let received = sink.next();
        let number: usize = received.id.expect("an id").parse().expect("a number");
        let sent = message::with_id(&format!("{number}"), number * 37);
        assert!(
            message::without_received(&received.content) == sent,
            "{number} has changed"
        );
        seen[number] += 1;
    }
    assert!(seen.iter().all(|count| *count == 1), "{seen:?}");
}

/// As large as the listener takes, both ways in and both ways out.
#[test]
fn the_largest_content() {
    let content = message::with_id("large", 4_190_000);
    for extensions in [
        &["PIPELINING", "8BITMIME"][..],
        &["PIPELINING", "8BITMIME", "CHUNKING"],
    ] {
        let sink = Sink::with(Script::accept().offering(extensions));
        let server = Server::setup().route("*", sink.address()).start();
        let mut client = server.client();
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
        client.command("MAIL FROM:<a@client.example>").expect(250);
        client.command("RCPT TO:<b@sink.example>").expect(250);
        for chunk in content.chunks(1_000_003) {
            client.chunk(chunk).expect(250);
        }
        client.command("BDAT 0 LAST").expect(250);
        for _ in 0..2 {
            let received = sink.next();
            assert!(
                message::without_received(&received.content) == content,
                "it has changed"
            );
        }
    }
}

/// One message, a thousand recipients, each served once.
#[test]
fn a_thousand_recipients_of_many_domains() {
    let sink = Sink::start();
    let server = Server::setup().route("*", sink.address()).start();
    let mut client = server.client();
    // 250 domains with one recipient each, and three with 250: more than one batch.
    let recipients: Vec<String> = (0..1000)
        .map(|number| match number % 4 {
            0 => format!("user@domain{number}.example"),
            part => format!("user{number}@large{part}.example"),
        })
        .collect();
    let all: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let content = message::with_id("many", 1000);
    client
        .submit("a@client.example", &all, &content)
        .expect("a reply")
        .expect(250);
    let mut served = BTreeMap::<String, usize>::new();
    while served.len() < 1000 {
        let received = sink.next();
        assert!(
            received.recipients.len() <= 100,
            "{} in a batch",
            received.recipients.len()
        );
        assert!(
            message::without_received(&received.content) == content,
            "it has changed"
        );
        for recipient in received.recipients {
            *served.entry(recipient).or_default() += 1;
        }
    }
    assert!(
        served.values().all(|count| *count == 1),
        "somebody was served twice"
    );
    assert!(
        recipients
            .iter()
            .all(|recipient| served.contains_key(recipient))
    );
    assert_eq!(sink.already(), None);
}

/// A sink that takes its time holds up nobody else.
#[test]
fn a_slow_sink_holds_up_nobody_else() {
    let slow = Sink::with(Script::new(|step| match step.verb {
        "END" => Answer::Slowly(Duration::from_millis(200)),
        _ => Answer::Accept,
    }));
    let quick = Sink::start();
    let server = Server::setup()
        .route_with("slow.example", slow.address(), "connection_limit = 2")
        .route("*", quick.address())
        .start();
    let mut client = server.client();
    for number in 0..20 {
        let content = message::with_id(&format!("slow-{number}"), 1000);
        let reply = client.submit("a@client.example", &["b@slow.example"], &content);
        reply.expect("a reply").expect(250);
    }
    for number in 0..100 {
        let content = message::with_id(&format!("quick-{number}"), 1000);
        let reply = client.submit("a@client.example", &["b@quick.example"], &content);
        reply.expect("a reply").expect(250);
    }
    for _ in 0..100 {
        quick.next();
    }
    for _ in 0..20 {
        slow.next();
    }
    assert!(
        slow.connection_count() <= 2,
        "{} connections",
        slow.connection_count()
    );
}
