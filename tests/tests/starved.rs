//! Out of descriptors: what sessions may open ends before what the spool and deliveries need does, and a
//! server that has none left at all waits in peace.

use std::time::Duration;

use mailrail_tests::{Client, Reply, Server, Sink, message, wait};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// Few enough that a test can take them all, for two shards.
const DESCRIPTORS: u64 = 160;
/// Over how long the processor's time is measured,
const WATCHED: Duration = Duration::from_secs(4);
/// and how much of it a starved server may use: an eighth. One that spins uses all that it gets.
const SHARE: u32 = 8;

/// Said once by a shard that has none left for a connection.
const NONE_LEFT: &str = "connections cannot be accepted";

/// Connects, and keeps the connection whatever is said.
fn knock(server: &Server) -> (Client, Reply) {
    let mut client = Client::open(server.address()).expect("a connection");
    let reply = client.try_reply().expect("a first line");
    (client, reply)
}

#[track_caller]
fn submit(client: &mut Client, id: &str, recipient: &str, len: usize) {
    let content = message::with_id(id, len);
    let reply = client.submit("a@client.example", &[recipient], &content);
    reply.expect("a reply").expect(250);
}

/// What it uses while nobody asks anything of it.
fn processor_time(server: &Server) -> Duration {
    let before = server.processor_time();
    std::thread::sleep(WATCHED);
    server.processor_time() - before
}

/// Beside what a server uses that has nothing to do: timers, which an unoptimised build takes more for.
#[track_caller]
fn assert_at_peace(server: &Server, idle: Duration) {
    let used = processor_time(server);
    eprintln!("starved: {used:?} of processor time in {WATCHED:?}, idle {idle:?}");
    assert!(
        used < idle + WATCHED / SHARE,
        "{used:?} in {WATCHED:?}, idle {idle:?}"
    );
}

/// As many idle connections as anybody likes to open: those that fit are served, the others are told so,
/// and mail goes on, to more hosts and through more segments than there were before.
#[test]
fn idle_connections_take_nothing_from_spool_and_delivery() {
    const HOSTS: usize = 30;
    let sinks: Vec<Sink> = (0..HOSTS).map(|_| Sink::start()).collect();
    let setup = sinks
        .iter()
        .enumerate()
        .fold(Server::setup(), |setup, (number, sink)| {
            setup.route(&format!("host{number}.example"), sink.address())
        });
    let setup = setup
        .listener("max_message_size = \"1 MiB\"")
        .listener("client_timeout = \"5m\"")
        .set("spool", "segment_size = \"2 MiB\"");
    let mut server = setup.open_files(DESCRIPTORS).start();
    let idle = processor_time(&server);
    let (mut held, mut refused) = (Vec::new(), 0);
    for _ in 0..DESCRIPTORS {
        let (client, reply) = knock(&server);
        if reply.code == 220 {
            held.push(client);
        } else {
            //= RFC 5321 section 3.8: 421 is said by a server that closes the connection
            reply.expect_text(421, "4.3.2");
            refused += 1;
        }
    }
    eprintln!(
        "starved: {} idle connections, {refused} refused",
        held.len()
    );
    assert!(held.len() >= 20, "{} sessions", held.len());
    assert!(refused >= 20, "{refused} refused");
    assert_at_peace(&server, idle);

    let mut client = held.pop().expect("one of them");
    client.command("EHLO client.example").expect(250);
    for number in 0..4 * HOSTS {
        let recipient = format!("b@host{}.example", number % HOSTS);
        submit(&mut client, &number.to_string(), &recipient, 90_000);
    }
    for sink in &sinks {
        (0..4).for_each(|_| drop(sink.next()));
    }
    // And what idle senders give back is there for others.
    drop(held);
    wait::until("somebody else is greeted", || {
        (knock(&server).1.code == 220).then_some(())
    });
    assert!(!server.log().contains("Too many open files"));
    server.stop();
}

/// Not one descriptor left, and peers at the door: the server waits for better times without spinning,
/// serves whom it has, says so once, and goes on by itself.
#[test]
fn without_any_descriptor_it_waits_in_peace() {
    let sink = Sink::start();
    let mut server = Server::setup()
        .route("*", sink.address())
        .listener("client_timeout = \"5m\"")
        .set("queue", "retry_interval = \"200ms\"")
        .set("queue", "max_retry_interval = \"500ms\"")
        .start();
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    submit(&mut clients[0], "before", "b@sink.example", 1000);
    assert_eq!(sink.next().id.as_deref(), Some("before"));
    let idle = processor_time(&server);
    // No number below this one is free: nothing more can be opened.
    let process = i32::try_from(server.pid()).ok().and_then(Pid::from_raw);
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(4),
        ..before
    };
    let before = prlimit(process, Resource::Nofile, none).expect("the limit of our own child");
    let mut knocking: Vec<Client> = (0..20)
        .map(|_| Client::open(server.address()).expect("the kernel takes it"))
        .collect();
    wait::until("it says that it has none", || {
        server.log().contains(NONE_LEFT).then_some(())
    });
    assert_at_peace(&server, idle);
    for (number, client) in clients.iter_mut().enumerate() {
        submit(client, &number.to_string(), "b@sink.example", 1000);
    }
    let said = |server: &Server| server.log().matches(NONE_LEFT).count();
    assert!((1..=2).contains(&said(&server)), "{}", server.log());

    prlimit(process, Resource::Nofile, before).expect("it was allowed before");
    for client in &mut knocking {
        client.reply().expect(220);
    }
    (0..clients.len()).for_each(|_| drop(sink.next()));
    wait::until("the log says that it is over", || {
        let over = server
            .log()
            .matches("connections are accepted again")
            .count();
        (over == said(&server)).then_some(())
    });
    assert!((1..=2).contains(&said(&server)), "{}", server.log());
    drop((clients, knocking));
    server.stop();
}
