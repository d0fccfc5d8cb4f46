//! Content of every shape around every limit that a buffer may have, sent in pieces of every
//! size: it arrives byte for byte. `CUTS_SEED=7 CUTS_ROUNDS=1000` for others, or more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailrail_tests::message::{self, Chance, ID_HEADER};
use mailrail_tests::{Client, Script, Server, Sink};

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |given| given.parse().expect("a number"))
}

/// Lengths at which buffers, chunks and records end.
const LIMITS: [usize; 8] = [512, 4096, 8192, 16_384, 32_768, 65_536, 73_728, 139_264];

/// A header with the id, and lines that like to begin with dots, up to exactly `len` bytes.
fn content(id: &str, len: usize, chance: &mut Chance) -> Vec<u8> {
    const STARTS: [&[u8]; 8] = [b".", b"..", b"", b"x", b".x", b" .", b"..x", b"\xc3\xa4."];
    let mut content = format!("{ID_HEADER}: {id}\r\n\r\n").into_bytes();
    while content.len() + 2 < len {
        content.extend_from_slice(STARTS[index(chance, STARTS.len())]);
        let long = if chance.below(4) == 0 { 900 } else { 8 };
        content.extend(std::iter::repeat_n(b'a', index(chance, long)));
        if content.len() + 2 >= len {
            content.truncate(len - 2);
            // What was cut may not end in half a letter or a bare CR.
            let last = content.len() - 1;
            content[last] = b'.';
        }
        content.extend_from_slice(b"\r\n");
    }
    content
}

fn index(chance: &mut Chance, limit: usize) -> usize {
    usize::try_from(chance.below(limit as u64)).expect("a small number")
}

/// Around a limit, near it, or anything. The Received field and the envelope stand before the
/// content, so what ends at a limit begins some way before it.
fn length(chance: &mut Chance) -> usize {
    let limit = LIMITS[index(chance, LIMITS.len())];
    let len = match chance.below(3) {
        0 => (limit + index(chance, 1200)).saturating_sub(600),
        1 => limit - 2 + index(chance, 5),
        _ => index(chance, 200_000),
    };
    len.max(60)
}

/// Sends `bytes` in pieces: of one size, or of many.
fn send_in_pieces(client: &mut Client, bytes: &[u8], chance: &mut Chance) {
    let largest = match chance.below(4) {
        0 => 3,
        1 => 100,
        2 => 10_000,
        _ => bytes.len(),
    };
    // Small pieces for some of it only: each is a system call on both sides.
    let mut rest = bytes;
    let mut small_left = 500;
    while !rest.is_empty() {
        let piece = if small_left > 0 {
            1 + index(chance, largest)
        } else {
            rest.len()
        };
        small_left -= i32::from(small_left > 0);
        let (now, later) = rest.split_at(piece.min(rest.len()));
        client.send(now).expect("a connection");
        rest = later;
    }
}

fn run(by_chunks_in: bool, extensions_out: &'static [&'static str]) {
    let rounds = setting("CUTS_ROUNDS", 60);
    let seed = setting("CUTS_SEED", 1);
    let sink = Sink::with(Script::accept().offering(extensions_out));
    let server = Server::setup().route("*", sink.address()).start();
    let mut client = server.client();
    for round in 0..rounds {
        let mut chance = Chance::new(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let len = length(&mut chance);
        let id = format!("cut-{round}");
        let content = content(&id, len, &mut chance);
        client
            .send(b"MAIL FROM:<a@client.example> BODY=8BITMIME\r\n")
            .expect("a connection");
        client
            .send(b"RCPT TO:<b@sink.example>\r\n")
            .expect("a connection");
        if by_chunks_in {
            let mut wire = Vec::new();
            let cut = index(&mut chance, content.len());
            let halves = [&content[..cut], &content[cut..]];
            wire.extend_from_slice(format!("BDAT {}\r\n", halves[0].len()).as_bytes());
            wire.extend_from_slice(halves[0]);
            wire.extend_from_slice(format!("BDAT {} LAST\r\n", halves[1].len()).as_bytes());
            wire.extend_from_slice(halves[1]);
            send_in_pieces(&mut client, &wire, &mut chance);
        } else {
            let mut wire = b"DATA\r\n".to_vec();
            wire.extend_from_slice(&message::stuffed(&content));
            send_in_pieces(&mut client, &wire, &mut chance);
        }
        client.reply().expect(250);
        client.reply().expect(250);
        client.reply().expect(if by_chunks_in { 250 } else { 354 });
        client.reply().expect(250);
        let received = sink.next();
        assert_eq!(received.id.as_deref(), Some(&*id), "seed {seed}");
        let arrived = message::without_received(&received.content);
        if arrived != content {
            let at = arrived.iter().zip(&content).position(|(a, b)| a != b);
            let (found, wanted) = (arrived.len(), content.len());
            panic!("seed {seed}, round {round}: {found} of {wanted} bytes, differs at {at:?}");
        }
    }
}

#[test]
fn data_in_data_out() {
    run(false, &["PIPELINING", "8BITMIME"]);
}

#[test]
fn data_in_chunks_out() {
    run(false, &["PIPELINING", "8BITMIME", "CHUNKING"]);
}

#[test]
fn chunks_in_data_out() {
    run(true, &["8BITMIME"]);
}

#[test]
fn chunks_in_chunks_out() {
    run(true, &["8BITMIME", "CHUNKING"]);
}

/// What waited over a restart comes from the disk.
#[test]
fn from_the_disk() {
    let rounds = setting("CUTS_ROUNDS", 60);
    let seed = setting("CUTS_SEED", 1);
    let open = Arc::new(AtomicBool::new(false));
    let sink = Sink::with(Script::until_open(&open, "MAIL", "451 4.3.0 not yet"));
    let mut server = Server::setup()
        .route("*", sink.address())
        .set("queue", "retry_interval = \"1s\"")
        .set("queue", "max_retry_interval = \"1s\"")
        .start();
    let mut sent = HashMap::new();
    let mut client = server.client();
    for round in 0..rounds {
        let mut chance = Chance::new(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let id = format!("disk-{round}");
        let len = length(&mut chance);
        let content = content(&id, len, &mut chance);
        let reply = client.submit("a@client.example", &["b@sink.example"], &content);
        reply.expect("a reply").expect(250);
        sent.insert(id, content);
    }
    if seed.is_multiple_of(2) {
        server.kill();
    } else {
        server.stop();
    }
    open.store(true, Ordering::Relaxed);
    server.start();
    while !sent.is_empty() {
        let received = sink.next();
        let content = sent
            .remove(&received.id.expect("an id"))
            .expect("each once");
        assert!(
            message::without_received(&received.content) == content,
            "it has changed"
        );
    }
}
