//! What one line costs: a command, the answer to EHLO, a reply. Beside each the same octets through
//! smtp-proto's parser, and through memchr for the line end, which is the least that anybody pays.
//!
//! `cargo bench -p mailrail-benches --bench parse`; what each line means is in `README.md`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailrail_benches::tell_conditions;
use mailrail_protocol::command::{Strictness, Verb, parse};
use mailrail_protocol::extension::{self, Extension, Extensions};
use mailrail_protocol::reply::parse::Reader;
use memchr::{memchr, memchr_iter};
use smtp_proto::{EhloResponse, Request, response::parser::ResponseReceiver};
use std::hint::black_box;

const OFFERED: Extensions = Extensions::NONE
    .with(Extension::Pipelining)
    .with_size_max(50 << 20)
    .with(Extension::EightBitMime)
    .with(Extension::SmtpUtf8)
    .with(Extension::Dsn);

const COMMANDS: [(&str, &[u8]); 5] = [
    ("EHLO", b"EHLO client.example.com\r\n"),
    ("MAIL", b"MAIL FROM:<first.sender@client.example.com>\r\n"),
    (
        "MAIL with SIZE and BODY",
        b"MAIL FROM:<first.sender@client.example.com> SIZE=123456 BODY=8BITMIME\r\n",
    ),
    ("RCPT", b"RCPT TO:<second.user@mx.example.net>\r\n"),
    (
        "RCPT with DSN",
        b"RCPT TO:<second.user@mx.example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;second.user@mx.example.net\r\n",
    ),
];

/// The line end, the verb, and its argument understood: what a session does with a line before it
/// thinks about it.
fn command(input: &[u8]) -> bool {
    let end = memchr(b'\n', input).expect("a line");
    let line = input[..end].strip_suffix(b"\r").expect("CRLF");
    let Ok((verb, argument)) = parse::verb(line) else {
        return false;
    };
    match verb {
        Verb::Ehlo => black_box(parse::hello(true, argument, &Strictness::STRICT)).is_ok(),
        Verb::Mail => black_box(parse::mail(argument, &OFFERED, &Strictness::STRICT)).is_ok(),
        Verb::Recipient => black_box(parse::recipient(
            argument,
            false,
            &OFFERED,
            &Strictness::STRICT,
        ))
        .is_ok(),
        _ => false,
    }
}

fn smtp_proto_command(input: &[u8]) -> bool {
    black_box(Request::parse(&mut input.iter())).is_ok()
}

const HELLO: &[u8] = b"250-mx.example.net greets client.example.com\r\n\
    250-PIPELINING\r\n\
    250-SIZE 52428800\r\n\
    250-STARTTLS\r\n\
    250-ENHANCEDSTATUSCODES\r\n\
    250-8BITMIME\r\n\
    250-DSN\r\n\
    250-SMTPUTF8\r\n\
    250 CHUNKING\r\n";

fn hello(mut input: &[u8]) -> Extensions {
    let answer = Reader::default().take(&mut input).expect("a reply");
    extension::parse::parse(answer.expect("a whole one").lines())
}

const REPLIES: &[u8] = b"250 2.1.0 Sender ok\r\n\
    250 2.1.5 Recipient ok\r\n\
    550-5.1.1 The mailbox does not exist;\r\n550 5.1.1 try another one\r\n\
    354 End data with <CR><LF>.<CR><LF>\r\n\
    250 2.0.0 Ok: queued as 4C1B2A7F01\r\n";
const REPLY_COUNT: u64 = 5;

fn replies(mut input: &[u8]) -> u64 {
    let mut reader = Reader::default();
    let mut count = 0;
    while let Some(answer) = reader.take(&mut input).expect("replies") {
        black_box(answer);
        count += 1;
    }
    count
}

fn smtp_proto_replies(input: &[u8]) -> u64 {
    let mut input = input.iter();
    let mut receiver = ResponseReceiver::default();
    let mut count = 0;
    while let Ok(response) = receiver.parse(&mut input) {
        black_box(response);
        receiver.reset();
        count += 1;
    }
    count
}

fn line_ends(input: &[u8]) -> usize {
    memchr_iter(b'\n', input).fold(0, |_, end| black_box(end))
}

fn bench(criterion: &mut Criterion) {
    tell_conditions();
    for (name, line) in COMMANDS {
        // A parser that refuses a line early would look fast.
        let reads = command(line) && smtp_proto_command(line);
        let mut group = criterion.benchmark_group(format!("parse/{name}"));
        group.throughput(Throughput::ElementsAndBytes {
            elements: 1,
            bytes: line.len() as u64,
        });
        if reads {
            group.bench_function("mailrail", |bencher| {
                bencher.iter(|| command(black_box(line)));
            });
        } else {
            eprintln!("parse/{name}: not read, not measured");
        }
        group.bench_function("reference: smtp-proto", |bencher| {
            bencher.iter(|| smtp_proto_command(black_box(line)));
        });
        group.bench_function("reference: memchr", |bencher| {
            bencher.iter(|| memchr(b'\n', black_box(line)));
        });
        group.finish();
    }

    let mut group = criterion.benchmark_group("parse/answer to EHLO");
    group.throughput(Throughput::ElementsAndBytes {
        elements: 1,
        bytes: HELLO.len() as u64,
    });
    group.bench_function("mailrail", |bencher| {
        bencher.iter(|| hello(black_box(HELLO)));
    });
    group.bench_function("reference: smtp-proto", |bencher| {
        bencher.iter(|| EhloResponse::parse(&mut black_box(HELLO).iter()).expect("an answer"));
    });
    group.bench_function("reference: memchr", |bencher| {
        bencher.iter(|| line_ends(black_box(HELLO)));
    });
    group.finish();

    assert_eq!(replies(REPLIES), REPLY_COUNT);
    assert_eq!(smtp_proto_replies(REPLIES), REPLY_COUNT);
    let mut group = criterion.benchmark_group("parse/replies");
    group.throughput(Throughput::ElementsAndBytes {
        elements: REPLY_COUNT,
        bytes: REPLIES.len() as u64,
    });
    group.bench_function(BenchmarkId::from_parameter("mailrail"), |bencher| {
        bencher.iter(|| replies(black_box(REPLIES)));
    });
    group.bench_function("reference: smtp-proto", |bencher| {
        bencher.iter(|| smtp_proto_replies(black_box(REPLIES)));
    });
    group.bench_function("reference: memchr", |bencher| {
        bencher.iter(|| line_ends(black_box(REPLIES)));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = mailrail_benches::criterion();
    targets = bench
}
criterion_main!(benches);
