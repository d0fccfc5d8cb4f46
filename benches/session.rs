//! What a session costs a command, on both sides of the dialogue, with the caller's loop and with
//! the replies written. Beside each the same octets through memchr for the line ends, and through
//! smtp-proto's parser, which has no session behind it: no order, no limits, no replies.
//!
//! `cargo bench -p mailrail-benches --bench session`; what each line means is in `README.md`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailrail_benches::{content, tell_conditions};
use mailrail_protocol::address::{Charset, Mailbox};
use mailrail_protocol::address::{ForwardPath, ReversePath};
use mailrail_protocol::client::{self, Next};
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::{Config, Event, Peer, Recipient, Session};
use mailrail_protocol::time::Instant;
use memchr::memchr_iter;
use smtp_proto::Request;
use std::hint::black_box;

const NOW: Instant = Instant::from_micros(0);

/// What a server is set to that is told the same things for hours.
fn config() -> Config {
    let mut config = Config::new("mx.example");
    config.limits.command_count_max = u32::MAX;
    config
}

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
            Event::Mail(mail, turn) => {
                black_box(mail);
                session.reply(turn, &Reply::SENDER_OK, out);
            }
            Event::Recipient(recipient, turn) => {
                black_box(recipient);
                session.reply(turn, &Reply::RECIPIENT_OK, out);
            }
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

/// MAIL, so many recipients, and RSET, until there are some hundreds of commands.
fn envelopes(recipients: usize) -> (Vec<u8>, usize) {
    let mut input = Vec::new();
    let mut commands = 0;
    while commands < 1000 {
        input.extend_from_slice(b"MAIL FROM:<first.sender@client.example.com> SIZE=12345\r\n");
        for number in 0..recipients {
            input
                .extend_from_slice(format!("RCPT TO:<user{number}@mx.example.net>\r\n").as_bytes());
        }
        input.extend_from_slice(b"RSET\r\n");
        commands += recipients + 2;
    }
    (input, commands)
}

fn transaction(content: &[u8]) -> Vec<u8> {
    let mut input =
        b"MAIL FROM:<sender@client.example>\r\nRCPT TO:<user@mx.example>\r\nDATA\r\n".to_vec();
    input.extend_from_slice(content);
    input.extend_from_slice(b".\r\n");
    input
}

fn line_ends(input: &[u8]) -> usize {
    memchr_iter(b'\n', input).fold(0, |_, end| black_box(end))
}

/// The commands read, and that is all.
fn smtp_proto(input: &[u8]) -> usize {
    let mut input = input.iter();
    let mut count = 0;
    while let Ok(request) = Request::parse(&mut input) {
        black_box(request);
        count += 1;
    }
    count
}

fn commands(criterion: &mut Criterion) {
    tell_conditions();
    let config = config();
    let mut out = Vec::with_capacity(256 * 1024);
    for recipients in [100, 1] {
        let (input, count) = envelopes(recipients);
        assert_eq!(smtp_proto(&input), count);
        let mut group = criterion.benchmark_group("session/commands");
        group.throughput(Throughput::ElementsAndBytes {
            elements: count as u64,
            bytes: input.len() as u64,
        });
        group.bench_function(BenchmarkId::new("server", recipients), |bencher| {
            let mut session = greeted(&config, &mut out);
            bencher.iter(|| {
                out.clear();
                hear(&mut session, black_box(&input), &mut out)
            });
            let mut replies = out.split_inclusive(|&octet| octet == b'\n');
            assert!(replies.all(|reply| reply.starts_with(b"250 ")));
        });
        group.bench_function(
            BenchmarkId::new("reference: smtp-proto", recipients),
            |bencher| {
                bencher.iter(|| smtp_proto(black_box(&input)));
            },
        );
        group.bench_function(
            BenchmarkId::new("reference: memchr", recipients),
            |bencher| {
                bencher.iter(|| line_ends(black_box(&input)));
            },
        );
        group.finish();
    }
}

fn transactions(criterion: &mut Criterion) {
    let config = config();
    let mut out = Vec::with_capacity(16 * 1024);
    let mut group = criterion.benchmark_group("session/transaction");
    let input = transaction(b"Subject: x\r\n\r\nx\r\n");
    group.throughput(Throughput::ElementsAndBytes {
        elements: 1,
        bytes: input.len() as u64,
    });
    group.bench_function("server", |bencher| {
        let mut session = greeted(&config, &mut out);
        bencher.iter(|| {
            out.clear();
            hear(&mut session, black_box(&input), &mut out)
        });
    });
    group.bench_function("reference: memchr", |bencher| {
        bencher.iter(|| line_ends(black_box(&input)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("session/transaction with 1 MiB");
    for kind in content::KINDS {
        let input = transaction(&kind.lines(1 << 20));
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_with_input(
            BenchmarkId::new("server", kind.name),
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

const RECIPIENT_COUNT: usize = 100;
const CONTENT: &[u8] = b"Subject: x\r\n\r\nx\r\n";

/// The replies of a server that takes it all: to MAIL, to each RCPT, to BDAT.
fn replies() -> Vec<u8> {
    let mut replies = b"250 2.1.0 Sender ok\r\n".to_vec();
    replies.extend_from_slice(&b"250 2.1.5 Recipient ok\r\n".repeat(RECIPIENT_COUNT));
    replies.extend_from_slice(b"250 2.0.0 Queued\r\n");
    replies
}

/// A client that has read the answer to its EHLO.
fn ready<'c>(config: &'c client::Config, out: &mut Vec<u8>) -> client::Session<'c> {
    let mut session = client::Session::new(config, NOW);
    let greeting = &b"220 mx.example ESMTP\r\n"[..];
    let hello = &b"250-mx.example\r\n250-PIPELINING\r\n250-SIZE\r\n250 CHUNKING\r\n"[..];
    for mut input in [greeting, hello] {
        session.receive(NOW, &mut input, out);
    }
    session
}

/// A whole transaction; returns how many recipients were taken.
fn send(
    session: &mut client::Session<'_>,
    envelope: &client::Envelope<'_>,
    mut replies: &[u8],
    out: &mut Vec<u8>,
) -> usize {
    let mut taken = 0;
    session.begin();
    loop {
        if session.write(envelope, out) == Next::Body {
            for piece in session.segments(CONTENT) {
                out.extend_from_slice(piece);
            }
            session.end_body(out);
        }
        match session.receive(NOW, &mut replies, out) {
            client::Event::Recipient(_, answer) => taken += usize::from(answer.is_positive()),
            client::Event::Sent(answer) => {
                assert!(answer.is_positive(), "{answer:?}");
                return taken;
            }
            client::Event::Mail(_) | client::Event::Answered => {}
            event => unreachable!("{event:?}"),
        }
    }
}

fn sending(criterion: &mut Criterion) {
    let config = client::Config::new("client.example");
    let mut out = Vec::with_capacity(16 * 1024);
    let texts: Vec<String> = (0..RECIPIENT_COUNT)
        .map(|number| format!("user{number}@mx.example.net"))
        .collect();
    let mailbox = |text: &'static str| Mailbox::parse(text.as_bytes(), Charset::Ascii);
    let from = ReversePath::Mailbox(mailbox("first.sender@client.example.com").expect("a mailbox"));
    let recipients: Vec<Recipient<'_>> = texts
        .iter()
        .map(|text| Mailbox::parse(text.as_bytes(), Charset::Ascii).expect("a mailbox"))
        .map(|mailbox| Recipient::new(ForwardPath::Mailbox(mailbox)))
        .collect();
    let mut envelope = client::Envelope::new(from, &recipients);
    envelope.mail.size = Some(CONTENT.len() as u64);
    let replies = replies();

    let mut group = criterion.benchmark_group("session/commands");
    // MAIL, each RCPT, BDAT: as many as there are replies.
    group.throughput(Throughput::ElementsAndBytes {
        elements: RECIPIENT_COUNT as u64 + 2,
        bytes: replies.len() as u64,
    });
    group.bench_function(BenchmarkId::new("client", RECIPIENT_COUNT), |bencher| {
        let mut session = ready(&config, &mut out);
        bencher.iter(|| {
            out.clear();
            let taken = send(&mut session, &envelope, black_box(&replies), &mut out);
            assert_eq!(taken, RECIPIENT_COUNT);
        });
    });
    group.bench_function(
        BenchmarkId::new(
            "reference: memchr over the client's replies",
            RECIPIENT_COUNT,
        ),
        |bencher| bencher.iter(|| line_ends(black_box(&replies))),
    );
    group.finish();
}

criterion_group! {
    name = benches;
    config = mailrail_benches::criterion();
    targets = commands, transactions, sending
}
criterion_main!(benches);
