//! What a silent connection costs: ten thousand of them, greeted, and a thousand whose content does not come.

use mailrail_tests::program::raise_descriptors;
use mailrail_tests::{Client, Server, Sink, message};

const CONNECTIONS: u64 = 10_000;
/// Of these so many begin a message.
const BEGUN: usize = 1_000;
/// Bytes of the server's resident memory, above those of the empty server.
const COST_MAX: u64 = 4096;

#[test]
fn ten_thousand_idle_connections_are_cheap() {
    if raise_descriptors(CONNECTIONS + 500).is_none() {
        return;
    }
    let sink = Sink::start();
    let server = Server::setup()
        .route("*", sink.address())
        .listener("client_timeout = \"10m\"")
        .start();
    // The empty server has worked before: what it sets up once is not a connection's cost.
    submit(&server, &sink, "before");
    let before = server.memory();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.client()).collect();
    let after = server.memory();
    let cost = after.saturating_sub(before) / CONNECTIONS;
    eprintln!(
        "idle: {CONNECTIONS} connections, {cost} bytes each \
         ({before} bytes before, {after} bytes with them)"
    );
    submit(&server, &sink, "meanwhile");
    for client in clients.iter_mut().step_by(997) {
        client.command("NOOP").expect(250);
    }
    assert!(
        cost <= COST_MAX,
        "{cost} bytes an idle connection, at most {COST_MAX} are allowed"
    );
    let before = server.memory();
    for client in &mut clients[..BEGUN] {
        client.command("MAIL FROM:<a@client.example>").expect(250);
        client.command("RCPT TO:<b@sink.example>").expect(250);
        client.command("DATA").expect(354);
    }
    let cost = server.memory().saturating_sub(before) / BEGUN as u64;
    eprintln!("idle: {BEGUN} messages whose content does not come, {cost} bytes each");
    assert!(
        cost <= COST_MAX,
        "{cost} bytes a message without content, at most {COST_MAX} are allowed"
    );
    for (client, content) in clients.iter_mut().zip(["hello\r\n.\r\n", ".\r\n"]) {
        client.send(content.as_bytes()).unwrap();
        client.reply().expect(250);
        assert!(sink.next().id.is_none());
    }
}

fn submit(server: &Server, sink: &Sink, id: &str) {
    let content = message::with_id(id, 4096);
    let reply = server
        .client()
        .submit("a@client.example", &["b@sink.example"], &content);
    reply.expect("a reply").expect(250);
    assert_eq!(sink.next().id.as_deref(), Some(id));
}
