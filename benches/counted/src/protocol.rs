//! Routines of the engine: lines parsed, sessions on both sides, bodies decoded and stuffed.

use crate::content;
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::body::stuff::{Edge, Segments};
use mailrail_protocol::body::{Dotted, Scan};
use mailrail_protocol::client::{self, Next};
use mailrail_protocol::command::{Recipient, Strictness, Verb, parse};
use mailrail_protocol::extension::{self, Extension, Extensions};
use mailrail_protocol::reply::Reply;
use mailrail_protocol::reply::parse::Reader;
use mailrail_protocol::server::{Config, Event, Peer, Session};
use mailrail_protocol::time::Instant;
use memchr::memchr;
use std::hint::black_box;

const NOW: Instant = Instant::from_micros(0);

const OFFERED: Extensions = Extensions::NONE
    .with(Extension::Pipelining)
    .with_size_max(50 << 20)
    .with(Extension::EightBitMime)
    .with(Extension::SmtpUtf8)
    .with(Extension::Dsn);

/// The line end, the verb and its argument, as a session reads a line before it thinks about it.
fn parse_line(input: &[u8]) -> bool {
    let Some(line) = memchr(b'\n', input).and_then(|end| input[..end].strip_suffix(b"\r")) else {
        return false;
    };
    let Ok((verb, argument)) = parse::verb(line) else {
        return false;
    };
    let strict = &Strictness::STRICT;
    match verb {
        Verb::Ehlo => black_box(parse::hello(true, argument, strict)).is_ok(),
        Verb::Mail => black_box(parse::mail(argument, &OFFERED, strict)).is_ok(),
        Verb::Recipient => black_box(parse::recipient(argument, false, &OFFERED, strict)).is_ok(),
        _ => false,
    }
}

fn parse_rounds(line: &[u8], rounds: u64) -> u64 {
    for _ in 0..rounds {
        assert!(parse_line(black_box(line)), "refusing a line is cheap");
    }
    1
}

pub(crate) fn parse_hello(rounds: u64) -> u64 {
    parse_rounds(b"EHLO client.example.com\r\n", rounds)
}

pub(crate) fn parse_mail(rounds: u64) -> u64 {
    let line = b"MAIL FROM:<first.sender@client.example.com> SIZE=123456 BODY=8BITMIME\r\n";
    parse_rounds(line, rounds)
}

pub(crate) fn parse_recipient(rounds: u64) -> u64 {
    parse_rounds(b"RCPT TO:<second.user@mx.example.net>\r\n", rounds)
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

pub(crate) fn parse_hello_answer(rounds: u64) -> u64 {
    for _ in 0..rounds {
        let mut input = black_box(HELLO);
        let answer = Reader::default().take(&mut input).expect("a reply");
        let offered = extension::parse::parse(answer.expect("a whole one").lines());
        assert!(
            black_box(offered).has(Extension::Chunking),
            "all lines are read"
        );
    }
    1
}

const REPLIES: &[u8] = b"250 2.1.0 Sender ok\r\n\
    250 2.1.5 Recipient ok\r\n\
    550-5.1.1 The mailbox does not exist;\r\n550 5.1.1 try another one\r\n\
    354 End data with <CR><LF>.<CR><LF>\r\n\
    250 2.0.0 Ok: queued as 4C1B2A7F01\r\n";
const REPLY_COUNT: u64 = 5;

pub(crate) fn parse_replies(rounds: u64) -> u64 {
    let mut reader = Reader::default();
    for _ in 0..rounds {
        let mut input = black_box(REPLIES);
        let mut count = 0;
        while let Some(answer) = reader.take(&mut input).expect("replies") {
            black_box(answer);
            count += 1;
        }
        assert_eq!(count, REPLY_COUNT);
    }
    REPLY_COUNT
}

/// A session that hears `input` in each round.
fn server(input: &[u8], rounds: u64) {
    let mut config = Config::new("mx.example");
    config.limits.command_count_max = u32::MAX;
    let mut session = Session::new(&config, Peer::PLAIN, NOW);
    let mut out = Vec::with_capacity(64 * 1024);
    hear(&mut session, b"EHLO client.example\r\n", &mut out);
    for _ in 0..rounds {
        out.clear();
        hear(&mut session, black_box(input), &mut out);
    }
}

fn hear(session: &mut Session<'_>, mut input: &[u8], out: &mut Vec<u8>) {
    loop {
        match session.receive(NOW, &mut input, out) {
            Event::Connected(turn) => session.reply(turn, &Reply::GREETING, out),
            Event::Hello(_, turn) => session.reply(turn, &Reply::HELLO, out),
            Event::Mail(_, turn) => session.reply(turn, &Reply::SENDER_OK, out),
            Event::Recipient(_, turn) => session.reply(turn, &Reply::RECIPIENT_OK, out),
            Event::Data(turn) => session.reply(turn, &Reply::START_DATA, out),
            Event::EndOfData(turn) => session.reply(turn, &Reply::QUEUED, out),
            Event::Body(bytes) => {
                black_box(bytes);
            }
            Event::Answered(..) | Event::Reset => {}
            Event::NeedInput => return,
            event => unreachable!("{event:?}"),
        }
    }
}

pub(crate) fn server_recipients(rounds: u64) -> u64 {
    let mut input = b"MAIL FROM:<first.sender@client.example.com>\r\n".to_vec();
    for number in 0..100 {
        input.extend_from_slice(format!("RCPT TO:<user{number}@mx.example.net>\r\n").as_bytes());
    }
    input.extend_from_slice(b"RSET\r\n");
    server(&input, rounds);
    102
}

pub(crate) fn server_envelopes(rounds: u64) -> u64 {
    let input = b"MAIL FROM:<first.sender@client.example.com> SIZE=12345\r\n\
        RCPT TO:<user1@mx.example.net>\r\nRSET\r\n";
    server(input, rounds);
    3
}

fn kind(name: &str) -> content::Kind {
    let found = content::KINDS.into_iter().find(|kind| kind.name == name);
    found.expect("a kind of content")
}

pub(crate) fn server_message(rounds: u64) -> u64 {
    let envelope = b"MAIL FROM:<first.sender@client.example.com> SIZE=4096\r\n\
        RCPT TO:<user1@mx.example.net>\r\nDATA\r\n";
    let input = [&envelope[..], &kind("text").lines(4096), b".\r\n"].concat();
    server(&input, rounds);
    1
}

pub(crate) fn client_message(rounds: u64) -> u64 {
    let config = client::Config::new("client.example");
    let mut session = client::Session::new(&config, NOW);
    let mut out = Vec::with_capacity(16 * 1024);
    let greeting = &b"220 mx.example ESMTP\r\n"[..];
    let hello = &b"250-mx.example\r\n250-PIPELINING\r\n250 SIZE\r\n"[..];
    for mut input in [greeting, hello] {
        session.receive(NOW, &mut input, &mut out);
    }
    let mailbox = |text: &'static str| Mailbox::parse(text.as_bytes(), Charset::Ascii);
    let from = ReversePath::Mailbox(mailbox("first.sender@client.example.com").expect("a mailbox"));
    let to = ForwardPath::Mailbox(mailbox("user1@mx.example.net").expect("a mailbox"));
    let recipients = [Recipient::new(to)];
    let content = kind("text").lines(4096);
    let mut envelope = client::Envelope::new(from, &recipients);
    envelope.mail.size = Some(content.len() as u64);
    for _ in 0..rounds {
        out.clear();
        let taken = send(&mut session, &envelope, &content, &mut out);
        assert_eq!(taken, 1);
    }
    1
}

/// What the peer says to an envelope, and to the content behind it.
const ANSWERS: [&[u8]; 2] = [
    b"250 2.1.0 Sender ok\r\n250 2.1.5 Recipient ok\r\n354 Go on\r\n",
    b"250 2.0.0 Queued\r\n",
];

fn send(
    session: &mut client::Session<'_>,
    envelope: &client::Envelope<'_>,
    content: &[u8],
    out: &mut Vec<u8>,
) -> usize {
    let mut taken = 0;
    let mut answers = ANSWERS.into_iter();
    let mut input = &[][..];
    session.begin();
    loop {
        if session.write(envelope, out) == Next::Body {
            for piece in session.segments(content) {
                black_box(piece);
            }
            session.end_body(out);
        }
        match session.receive(NOW, &mut input, out) {
            client::Event::NeedInput => input = black_box(answers.next().expect("one more")),
            client::Event::Recipient(_, answer) => taken += usize::from(answer.is_positive()),
            client::Event::Sent(answer) => {
                assert!(answer.is_positive(), "{answer:?}");
                return taken;
            }
            client::Event::Mail(_) | client::Event::Answered | client::Event::SendBody => {}
            event => unreachable!("{event:?}"),
        }
    }
}

/// Of a body, in KiB.
const BODY_KIB: u64 = 64;

/// A body behind DATA.
pub(crate) fn decode(name: &str, rounds: u64) -> u64 {
    let content = kind(name).lines((BODY_KIB as usize) << 10);
    let wire = [&content[..], b".\r\n"].concat();
    for _ in 0..rounds {
        let mut scan = Scan::new();
        let mut input = black_box(&wire[..]);
        while let Dotted::Slice(slice) = scan.dotted(&mut input) {
            black_box(slice);
        }
        black_box(scan.findings());
    }
    BODY_KIB
}

/// The pieces of a body that go out.
pub(crate) fn stuff(name: &str, rounds: u64) -> u64 {
    let content = kind(name).lines((BODY_KIB as usize) << 10);
    for _ in 0..rounds {
        for piece in Segments::stuffed(Edge::LineStart, black_box(&content)) {
            black_box(piece);
        }
    }
    BODY_KIB
}
