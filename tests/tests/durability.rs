//! Durability classes: each listener has its own, the event log names it, and each keeps what it promises:
//! `fsync` and `write` survive the death of the process, `memory` an orderly end.

use mailrail_tests::{Answer, Client, Script, Server, Sink, message};

const CLASSES: [&str; 3] = ["fsync", "write", "memory"];

/// A server with a listener for each class, in their order.
fn server(sink: &Sink) -> Server {
    Server::setup()
        .route("*", sink.address())
        .listener("durability = \"fsync\"")
        .another_listener(&["durability = \"write\""])
        .another_listener(&["durability = \"memory\""])
        .set("queue", "retry_interval = \"100ms\"")
        // What was put off again and again on a slow machine is not put off for long.
        .set("queue", "max_retry_interval = \"200ms\"")
        .start()
}

/// Sends one message of this size to each listener.
fn submit_to_each(server: &Server, len: usize) -> Vec<String> {
    let submit = |(number, class): (usize, &&str)| {
        let id = format!("{class}-{len}");
        let content = message::with_id(&id, len);
        let mut client = Client::hello(server.listener(number));
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
        id
    };
    CLASSES.iter().enumerate().map(submit).collect()
}

fn ids(sink: &Sink, count: usize) -> Vec<String> {
    let mut ids: Vec<String> = (0..count).map(|_| sink.next().id.expect("an id")).collect();
    ids.sort();
    ids
}

#[test]
fn reception_and_delivery_name_the_class() {
    let sink = Sink::start();
    let mut server = server(&sink);
    let mut sent: Vec<String> = [500, 100_000]
        .into_iter()
        .flat_map(|len| submit_to_each(&server, len))
        .collect();
    sent.sort();
    assert_eq!(ids(&sink, sent.len()), sent);
    server.stop();
    for kind in ["Reception", "Delivery"] {
        let mut named: Vec<String> = server
            .events()
            .iter()
            .filter(|event| event["type"] == kind)
            .map(|event| event["durability"].as_str().expect("a class").to_owned())
            .collect();
        named.sort();
        let expected = ["fsync", "fsync", "memory", "memory", "write", "write"];
        assert_eq!(named, expected, "{kind}");
    }
}

/// Nothing is delivered before the last start, so what arrives then came from the disk.
#[test]
fn each_class_survives_an_orderly_end() {
    let sink = Sink::with(Script::new(|step| match step.verb {
        "RCPT" => Answer::Say("450 4.2.1 not now"),
        _ => Answer::Accept,
    }));
    let mut server = server(&sink);
    let mut sent = submit_to_each(&server, 700);
    sent.extend(submit_to_each(&server, 90_000));
    server.stop();
    let second = Sink::start();
    server.change(|setup| setup.no_routes().route("*", second.address()));
    server.start();
    sent.sort();
    assert_eq!(ids(&second, sent.len()), sent);
    server.stop();
}

#[test]
fn what_the_device_has_survives_kill_9() {
    let sink = Sink::with(Script::new(|step| match step.verb {
        "RCPT" => Answer::Say("450 4.2.1 not now"),
        _ => Answer::Accept,
    }));
    let mut server = server(&sink);
    for round in 0..20 {
        let mut client = Client::hello(server.listener(round % 2));
        let id = format!("round-{round}");
        let content = message::with_id(&id, if round % 3 == 0 { 70_000 } else { 900 });
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
    }
    server.kill();
    let second = Sink::start();
    server.change(|setup| setup.no_routes().route("*", second.address()));
    server.start();
    let mut sent: Vec<String> = (0..20).map(|round| format!("round-{round}")).collect();
    sent.sort();
    assert_eq!(ids(&second, sent.len()), sent);
    server.stop();
}

/// The class can be changed while the server runs; the address stays what it is.
#[test]
fn a_reload_changes_the_class() {
    let sink = Sink::start();
    let mut server = server(&sink);
    server.reconfigure(|setup| setup.listener("durability = \"memory\""));
    mailrail_tests::wait::until("the class has changed", || {
        let content = message::with_id("again", 300);
        let mut client = Client::hello(server.address());
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
        let events = server.events();
        let last = events.iter().rfind(|event| event["type"] == "Reception");
        last.filter(|event| event["durability"] == "memory")
            .map(drop)
    });
    server.stop();
}
