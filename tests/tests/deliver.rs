//! What comes of mail: delivered, deferred, bounced, expired; by routes and by MX.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use mailrail_tests::names::{self, Names};
use mailrail_tests::server::{Setup, free_address};
use mailrail_tests::{Answer, Received, Script, Server, Sink, message, wait};

fn impatient(sink: &Sink) -> Setup {
    Server::setup()
        .route("*", sink.address())
        .set("queue", "retry_interval = \"100ms\"")
        .set("queue", "max_retry_interval = \"200ms\"")
}

#[track_caller]
fn submit(server: &Server, sender: &str, recipients: &[&str], id: &str) {
    let reply = server
        .client()
        .submit(sender, recipients, &message::with_id(id, 500));
    reply.expect("a reply").expect(250);
}

/// Sends a line of text with these parameters of MAIL.
#[track_caller]
fn submit_with(server: &Server, parameters: &str, recipient: &str, text: &str) {
    let mut client = server.client();
    client
        .command(&format!("MAIL FROM:<sender@client.example> {parameters}"))
        .expect(250);
    client
        .command(&format!("RCPT TO:<{recipient}>"))
        .expect(250);
    client.command("DATA").expect(354);
    client
        .send(format!("Subject: x\r\n\r\n{text}\r\n.\r\n").as_bytes())
        .expect("a connection");
    client.reply().expect(250);
}

/// Waits until this many events of a type are in the log.
fn wait_for_events(server: &Server, kind: &str, count: usize) -> Vec<serde_json::Value> {
    wait::until(&format!("{count} {kind} events"), || {
        let events = server.events_of(kind);
        (events.len() >= count).then_some(events)
    })
}

/// Waits until each of these recipients stands in an event of a type that is of this kind.
fn wait_for_each(
    server: &Server,
    kind: &str,
    recipients: &[&str],
    is_meant: impl Fn(&serde_json::Value) -> bool,
) {
    wait::until(&format!("{kind} events of {recipients:?}"), || {
        let mut events = server.events();
        events.retain(|event| event["type"] == kind && is_meant(event));
        let told = serde_json::Value::from(events).to_string();
        let all = recipients.iter().all(|recipient| told.contains(recipient));
        all.then_some(())
    });
}

#[track_caller]
fn assert_bounce(received: &Received, to: &str, parts: &[&str]) {
    assert_eq!(received.sender, "", "a bounce has the null sender");
    assert_eq!(received.recipients, [to]);
    let text = String::from_utf8_lossy(&received.content);
    //= RFC 3464 section 2: a report is a multipart/report with a part for machines
    let all = ["multipart/report; report-type=", "delivery-status"];
    for part in all.iter().chain(parts) {
        let found = text
            .to_ascii_lowercase()
            .contains(&part.to_ascii_lowercase());
        assert!(found, "{part} is not in\n{text}");
    }
}

#[test]
fn a_refused_recipient_bounces() {
    let sink = Sink::with(Script::new(|step| match step.argument {
        argument if argument.contains("no@") => Answer::Say("550 5.1.1 no such user here"),
        _ => Answer::Accept,
    }));
    let server = impatient(&sink).start();
    submit(
        &server,
        "sender@client.example",
        &["no@sink.example"],
        "refused",
    );
    assert_bounce(
        &sink.next(),
        "sender@client.example",
        &[
            "Final-Recipient: rfc822; no@sink.example",
            "Action: failed",
            "Status: 5.1.1",
            "Diagnostic-Code: smtp; 550 5.1.1 no such user here",
            "X-Test-Id: refused",
            "Auto-Submitted: auto-replied",
        ],
    );
    let bounces = wait_for_events(&server, "Bounce", 1);
    assert_eq!(bounces[0]["sender"], "sender@client.example");
}

#[test]
fn a_refused_content_bounces() {
    let sink = Sink::with(Script::new(|step| match (step.verb, step.argument) {
        ("END", "refused") => Answer::Say("554 5.6.0 not this"),
        _ => Answer::Accept,
    }));
    let server = impatient(&sink).start();
    submit(
        &server,
        "sender@client.example",
        &["b@sink.example"],
        "refused",
    );
    // The report has the id header of the message within it, not in its own header.
    assert_bounce(
        &sink.next(),
        "sender@client.example",
        &["Status: 5.6.0", "554 5.6.0 not this"],
    );
}

/// A message from the null sender that fails is not answered: nobody bounces a bounce.
#[test]
fn the_null_sender_gets_no_bounce() {
    let sink = Sink::with(Script::new(|step| match step.argument {
        argument if argument.contains("no@") => Answer::Say("550 5.1.1 no such user here"),
        _ => Answer::Accept,
    }));
    let mut server = impatient(&sink).start();
    submit(&server, "", &["no@sink.example"], "null");
    wait_for_events(&server, "Bounce", 1);
    // A bounce that itself is refused ends there, too.
    submit(&server, "no@sink.example", &["no@sink.example"], "double");
    wait_for_events(&server, "Bounce", 3);
    submit(
        &server,
        "sender@client.example",
        &["yes@sink.example"],
        "marker",
    );
    assert_eq!(sink.next().id.as_deref(), Some("marker"));
    server.stop();
    assert_eq!(sink.already(), None);
    assert!(!server.queue().contains("@"), "{}", server.queue());
}

/// Of three recipients one is refused for good, one for now, and one is taken.
#[test]
fn each_recipient_has_its_own_fate() {
    let tries = AtomicUsize::new(0);
    let sink = Sink::with(Script::new(move |step| match (step.verb, step.argument) {
        ("RCPT", argument) if argument.contains("no@") => Answer::Say("550 5.1.1 never"),
        ("RCPT", argument) if argument.contains("later@") => {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Answer::Say("450 4.2.1 later"),
                _ => Answer::Accept,
            }
        }
        _ => Answer::Accept,
    }));
    let mut server = impatient(&sink).start();
    let recipients = ["no@sink.example", "later@sink.example", "yes@sink.example"];
    submit(&server, "sender@client.example", &recipients, "partial");
    let received: Vec<Received> = (0..3).map(|_| sink.next()).collect();
    let find = |recipient: &str| {
        let found = received
            .iter()
            .find(|received| received.recipients == [recipient]);
        found.unwrap_or_else(|| panic!("nothing for {recipient} in {received:?}"))
    };
    assert_eq!(find("yes@sink.example").id.as_deref(), Some("partial"));
    assert_eq!(find("later@sink.example").id.as_deref(), Some("partial"));
    let bounce = find("sender@client.example");
    assert_bounce(
        bounce,
        "sender@client.example",
        &["rfc822; no@sink.example", "Status: 5.1.1"],
    );
    let text = String::from_utf8_lossy(&bounce.content);
    assert!(!text.contains("rfc822; later@"), "{text}");
    server.stop();
    assert_eq!(sink.already(), None, "something was sent twice");
}

/// The next host takes two recipients a transaction, one domain and two transactions a connection: what has
/// no room is sent at once, on as many connections as it takes, and it is still the first attempt.
#[test]
fn limits_of_the_next_host_are_kept() {
    let sink = Sink::with(Script::accept().offering(&[
        "PIPELINING",
        "SIZE",
        "LIMITS MAILMAX=2 RCPTMAX=2 RCPTDOMAINMAX=1",
    ]));
    let mut server = impatient(&sink)
        .set("queue", "retry_interval = \"1h\"")
        .set("queue", "max_retry_interval = \"1h\"")
        .start();
    let recipients: Vec<String> = (0..7)
        .map(|n| format!("{n}@{}.example", if n < 5 { "a" } else { "b" }))
        .collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    submit(&server, "sender@client.example", &recipients, "limits");
    let mut received: Vec<Received> = Vec::new();
    while received
        .iter()
        .map(|one| one.recipients.len())
        .sum::<usize>()
        < recipients.len()
    {
        received.push(sink.next());
    }
    let mut all: Vec<&str> = received
        .iter()
        .flat_map(|one| one.recipients.iter().map(String::as_str))
        .collect();
    all.sort_unstable();
    assert_eq!(all, recipients, "each of them once");
    assert!(received.iter().all(|one| one.recipients.len() <= 2));
    for connection in 0..sink.connection_count() {
        let here = received.iter().filter(|one| one.connection == connection);
        let mut domains: Vec<&str> = here
            .clone()
            .flat_map(|one| &one.recipients)
            .filter_map(|recipient| recipient.split('@').next_back())
            .collect();
        domains.dedup();
        assert!(here.count() <= 2, "{received:?}");
        assert!(domains.len() <= 1, "{received:?}");
    }
    server.stop();
    assert_eq!(sink.already(), None, "something was sent twice");
    let events = server.events();
    let told = events.iter().filter(|event| event["type"] == "Delivery");
    for event in told {
        assert_eq!(event["num_attempts"], 1, "{event}");
    }
    assert!(
        !events
            .iter()
            .any(|event| event["type"] == "TransientFailure"),
        "{events:?}"
    );
}

/// Deferred twice, then taken; the log tells it.
#[test]
fn a_deferred_message_is_tried_again() {
    let sink = Sink::with(Script::at_first(2, "END", "451 4.3.0 later"));
    let server = impatient(&sink).start();
    submit(
        &server,
        "sender@client.example",
        &["b@sink.example"],
        "deferred",
    );
    assert_eq!(sink.next().id.as_deref(), Some("deferred"));
    assert_eq!(
        wait_for_events(&server, "Delivery", 1)[0]["num_attempts"],
        3
    );
    assert_eq!(wait_for_events(&server, "TransientFailure", 2).len(), 2);
    assert_eq!(wait_for_events(&server, "Reception", 1).len(), 1);
}

/// At each step the next host hangs up, with 421 and without a word: once is no harm.
#[test]
fn a_lost_connection_costs_nothing() {
    for verb in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"] {
        for answer in [Answer::Close("421 4.3.2 going down"), Answer::Drop] {
            let (count, first) = (AtomicUsize::new(0), answer.clone());
            let sink = Sink::with(Script::new(move |step| {
                if step.verb == verb && count.fetch_add(1, Ordering::Relaxed) == 0 {
                    return first.clone();
                }
                Answer::Accept
            }));
            let mut server = impatient(&sink).start();
            submit(
                &server,
                "sender@client.example",
                &["b@sink.example"],
                "lost",
            );
            assert_eq!(sink.next().id.as_deref(), Some("lost"), "{verb} {answer:?}");
            server.stop();
            assert_eq!(sink.already(), None, "{verb} {answer:?}: sent twice");
        }
    }
}

/// Nobody listens there; when the message is too old, its sender is told.
#[test]
fn what_gets_too_old_is_returned() {
    let sink = Sink::start();
    let server = impatient(&sink)
        .no_routes()
        .route("gone.example", free_address())
        .route("client.example", sink.address())
        .set("queue", "max_age = \"1s\"")
        .start();
    submit(&server, "sender@client.example", &["b@gone.example"], "old");
    let parts = [
        "Final-Recipient: rfc822; b@gone.example",
        "Action: failed",
        "Status: ",
    ];
    assert_bounce(&sink.next(), "sender@client.example", &parts);
    // Whether it was tried before that a slow machine may not have managed.
    wait_for_events(&server, "Expiration", 1);
}

/// One group of recipients in two batches: the last attempt of the second ends them all, and the sender hears
/// of each.
#[test]
fn nobody_of_a_group_gets_too_old_unheard() {
    let sink = Sink::with(Script::new(|step| match step.argument {
        argument if argument.contains("late@") => Answer::Say("451 4.3.0 not yet"),
        _ => Answer::Accept,
    }));
    let server = impatient(&sink)
        .set("queue", "max_age = \"1s\"")
        .set("delivery", "max_recipients_per_batch = 1")
        .start();
    let recipients = ["1late@sink.example", "2late@sink.example"];
    submit(&server, "sender@client.example", &recipients, "batches");
    let mut told = String::new();
    while !recipients.iter().all(|recipient| told.contains(recipient)) {
        told.push_str(&String::from_utf8_lossy(&sink.next().content));
    }
    // A report leaves before its event is told, and each answer has an event of its own.
    wait_for_each(&server, "Expiration", &recipients, |_| true);
}

/// One connection takes many messages, and no more than it may.
#[test]
fn connections_are_used_again() {
    let sink = Sink::start();
    let server = impatient(&sink)
        .set("delivery", "max_deliveries_per_connection = 10")
        .start();
    let mut client = server.client();
    let mut per_connection = std::collections::BTreeMap::<usize, usize>::new();
    for number in 0..40 {
        let content = message::with_id(&format!("{number}"), 100);
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
        *per_connection.entry(sink.next().connection).or_default() += 1;
        // While the answer is under way the connection is busy, and the next message may get another one.
        wait_for_events(&server, "Delivery", number + 1);
    }
    assert!(per_connection.len() <= 8, "{per_connection:?}");
    assert!(
        per_connection.values().all(|count| *count <= 10),
        "{per_connection:?}"
    );
}

/// A connection that has been idle is closed by the peer at times: the next message does not mind.
#[test]
fn an_idle_connection_that_was_closed_is_no_harm() {
    let sink = Sink::with(Script::new(|step| match step.verb {
        "END" => Answer::TakeAndDrop,
        _ => Answer::Accept,
    }));
    // The last host says nothing after it has taken the first message: the server has to try
    // again, and may not take silence for a yes.
    let server = impatient(&sink).start();
    submit(
        &server,
        "sender@client.example",
        &["b@sink.example"],
        "in doubt",
    );
    assert_eq!(sink.next().id.as_deref(), Some("in doubt"));
    assert_eq!(
        sink.next().id.as_deref(),
        Some("in doubt"),
        "a copy is owed after a doubt"
    );
}

/// What the next host cannot take is not forced on it: no 8-bit text without 8BITMIME, no
/// address in UTF-8 without SMTPUTF8.
#[test]
fn what_the_next_host_cannot_take_is_returned() {
    let sink = Sink::with(Script::accept().offering(&["PIPELINING"]));
    let server = impatient(&sink).start();
    submit_with(&server, "BODY=8BITMIME", "b@sink.example", "Grüße");
    assert_bounce(
        &sink.next(),
        "sender@client.example",
        &["Action: failed", "Status: 5.6.3"],
    );
    submit_with(&server, "SMTPUTF8", "bücher@sink.example", "x");
    assert_bounce(
        &sink.next(),
        "sender@client.example",
        // The report itself is in UTF-8, and its parts in base64.
        &[
            "report-type=global-delivery-status",
            "message/global-delivery-status",
        ],
    );
}

/// Two smart hosts: the second gets the mail when nobody listens at the first.
#[test]
fn smart_hosts_are_tried_in_turn() {
    let sink = Sink::start();
    let gone = free_address();
    let second = format!("via = [\"{gone}\", \"{}\"]", sink.address());
    let server = impatient(&sink)
        .no_routes()
        .route_lines(&format!("domain = \"*\"\n{second}"))
        .start();
    submit(
        &server,
        "sender@client.example",
        &["b@sink.example"],
        "second",
    );
    assert_eq!(sink.next().id.as_deref(), Some("second"));
}

/// The most exact route wins.
#[test]
fn routes_are_chosen_by_domain() {
    let (exact, below, any) = (Sink::start(), Sink::start(), Sink::start());
    let server = Server::setup()
        .route("*", any.address())
        .route(".sink.example", below.address())
        .route("sink.example", exact.address())
        .start();
    let recipients = ["a@sink.example", "b@deep.sink.example", "c@other.example"];
    submit(&server, "sender@client.example", &recipients, "split");
    assert_eq!(exact.next().recipients, ["a@sink.example"]);
    assert_eq!(below.next().recipients, ["b@deep.sink.example"]);
    assert_eq!(any.next().recipients, ["c@other.example"]);
}

/// A domain in UTF-8 goes the way of its A-labels.
#[test]
fn a_domain_in_utf8_has_the_route_of_its_a_labels() {
    let (named, any) = (Sink::start(), Sink::start());
    let server = Server::setup()
        .route("*", any.address())
        .route("xn--bcher-kva.example", named.address())
        .start();
    submit_with(&server, "SMTPUTF8", "b@Bücher.example", "x");
    assert_eq!(named.next().recipients, ["b@Bücher.example"]);
}

/// The hosts of a domain by preference, an address alone as the host of its domain, and a domain
/// that takes no mail.
#[test]
fn mail_finds_its_hosts_by_mx() {
    const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
    const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);
    // Both hosts share the port that mail hosts have in this test; nobody listens at the first.
    let port = free_address().port();
    let sink = Sink::on(SocketAddr::from((SECOND, port)), Script::accept());
    let names = Names::serve(|zone| {
        names::mail_host(zone, "two.example", 10, "first.two.example");
        names::mail_host(zone, "two.example", 20, "second.two.example");
        names::address(zone, "first.two.example", FIRST);
        names::address(zone, "second.two.example", SECOND);
        names::address(zone, "implicit.example", SECOND);
        names::mail_host(zone, "null.example", 0, ".");
        names::mail_host(zone, "client.example", 10, "second.two.example");
    });
    let server = Server::setup()
        .set("dns", &format!("servers = [\"{}\"]", names.address()))
        .set("delivery", &format!("port = {port}"))
        .set("delivery", "prohibited_hosts = []")
        .set("queue", "retry_interval = \"100ms\"")
        .set("queue", "max_retry_interval = \"200ms\"")
        .start();
    submit(
        &server,
        "sender@client.example",
        &["b@two.example"],
        "second",
    );
    assert_eq!(sink.next().recipients, ["b@two.example"]);
    //= RFC 5321 section 5.1: without MX records the domain's own address is its host
    submit(
        &server,
        "sender@client.example",
        &["b@implicit.example"],
        "implicit",
    );
    assert_eq!(sink.next().recipients, ["b@implicit.example"]);
    //= RFC 7505 section 3: a null MX takes no mail, and that is final
    submit(
        &server,
        "sender@client.example",
        &["b@null.example"],
        "null",
    );
    let parts = ["rfc822; b@null.example", "Status: 5.1.10"];
    assert_bounce(&sink.next(), "sender@client.example", &parts);
    submit(
        &server,
        "sender@client.example",
        &["b@nowhere.example"],
        "nowhere",
    );
    let parts = ["rfc822; b@nowhere.example", "Status: 5.1.2"];
    assert_bounce(&sink.next(), "sender@client.example", &parts);
}

/// An MX that leads to the loopback is somebody's joke.
#[test]
fn prohibited_hosts_are_not_spoken_to() {
    let sink = Sink::start();
    let names = Names::serve(|zone| {
        names::mail_host(zone, "joke.example", 10, "loopback.joke.example");
        names::address(zone, "loopback.joke.example", Ipv4Addr::LOCALHOST);
    });
    let server = Server::setup()
        .set("dns", &format!("servers = [\"{}\"]", names.address()))
        .set("delivery", &format!("port = {}", sink.address().port()))
        .set("queue", "retry_interval = \"100ms\"")
        .set("queue", "max_retry_interval = \"200ms\"")
        .route("client.example", sink.address())
        .start();
    let recipients = ["b@joke.example", "b@[127.0.0.1]"];
    for recipient in recipients {
        submit(&server, "sender@client.example", &[recipient], "joke");
    }
    // A DNS server that gets no time may come to be asked in vain before.
    wait_for_each(&server, "TransientFailure", &recipients, |event| {
        let answer = event["response"]["content"].as_str();
        answer.unwrap_or_default().contains("prohibited")
    });
    assert_eq!(sink.connection_count(), 0, "it was spoken to");
}
