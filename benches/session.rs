//! What the server's session costs a message: a pipelined transaction, and bodies of three kinds.
//!
//! `cargo bench -p mailrail-benches --bench session`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::{Config, Event, Peer, Session};
use mailrail_protocol::time::Instant;
use std::hint::black_box;

const NOW: Instant = Instant::from_micros(0);

/// A session that has been greeted.
fn greeted<'c>(config: &'c Config, out: &mut Vec<u8>) -> Session<'c> {
    let mut session = Session::new(config, Peer::PLAIN, NOW);
    hear(&mut session, b"EHLO client.example\r\n", out);
    session
}

/// Answers everything in `input`, and returns the octets of the content.
fn hear(session: &mut Session<'_>, mut input: &[u8], out: &mut Vec<u8>) -> usize {
    let mut octets = 0;
    loop {
        match session.receive(NOW, &mut input, out) {
            Event::Connected(turn) => session.reply(turn, &Reply::GREETING, out),
            Event::Hello(_, turn) => session.reply(turn, &Reply::HELLO, out),
            Event::Mail(_, turn) => session.reply(turn, &Reply::SENDER_OK, out),
            Event::Recipient(_, turn) => session.reply(turn, &Reply::RECIPIENT_OK, out),
            Event::Data(turn) => session.reply(turn, &Reply::START_DATA, out),
            Event::EndOfData(turn) => session.reply(turn, &Reply::QUEUED, out),
            Event::Body(bytes) => octets += black_box(bytes).len(),
            Event::Other(other, turn) => session.reply(turn, &other.default_reply(), out),
            Event::NeedInput => return octets,
            Event::Answered(..) | Event::Reset => {}
            Event::StartTls(_)
            | Event::Auth(..)
            | Event::Sasl(..)
            | Event::EndOfDataFor(..)
            | Event::Handshake
            | Event::Close => unreachable!("not asked for"),
        }
    }
}

fn transaction(content: &[u8]) -> Vec<u8> {
    let mut input =
        b"MAIL FROM:<sender@client.example>\r\nRCPT TO:<user@mx.example>\r\nDATA\r\n".to_vec();
    input.extend_from_slice(content);
    input.extend_from_slice(b".\r\n");
    input
}

/// Lines of `line` until there are `len` octets.
fn lines(line: &[u8], len: usize) -> Vec<u8> {
    line.iter()
        .copied()
        .cycle()
        .take(len - len % line.len())
        .collect()
}

fn bench(criterion: &mut Criterion) {
    let config = Config::new("mx.example");
    let mut out = Vec::with_capacity(16 * 1024);
    let text = b"The quick brown fox jumps over the lazy dog, and on and on it goes.\r\n";
    let dots = b".The quick brown fox jumps over the lazy dog, and on and on it goes\r\n";

    let mut group = criterion.benchmark_group("transaction");
    let input = transaction(b"Subject: x\r\n\r\nx\r\n");
    group.bench_function("pipelined", |bencher| {
        let mut session = greeted(&config, &mut out);
        bencher.iter(|| {
            out.clear();
            hear(&mut session, black_box(&input), &mut out)
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("body");
    let bodies = [
        ("4 KiB of text", lines(text, 4 << 10)),
        ("1 MiB of text", lines(text, 1 << 20)),
        ("1 MiB, a dot before each line", lines(dots, 1 << 20)),
        ("1 MiB of short lines", lines(b"x\r\n", 1 << 20)),
    ];
    for (name, content) in &bodies {
        let input = transaction(content);
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(name),
            &input,
            |bencher, input| {
                let mut session = greeted(&config, &mut out);
                bencher.iter(|| {
                    out.clear();
                    hear(&mut session, black_box(input), &mut out)
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
