//! Runs a transcript against `client::Session`, its input cut as a test wants it. Nothing here
//! knows what a session should do: the transcripts say that.
//!
//! A transcript is read line by line; the first word says what a line is.
//!
//! ```text
//! # why this transcript exists
//! config pipelining=no            fields of the configuration (before anything else)
//! peer PIPELINING, SIZE 1000      greeting and EHLO in one line: what the peer offers
//! S 250 ok                        the peer sends this line        (S+ without a line end)
//! C RSET                          the client must send this line  (C+ without a line end)
//! ? Mail 250 ok                   the next event                  (?+ its beginning alone)
//! > message from=a@a.example to=b@b.example,c@b.example size=7 8bit utf8 plain
//! > body text\r\n                 a chunk of content;  > end, > reset, > quit, > tls, > established
//! @ +60s                          time passes;  @ deadline 60s, @ deadline none
//! whole                           the input of this transcript may not be cut
//! = fates InDoubt Unsent          what has become of what is open;  = begin yes
//! ```
//! Neighbouring `S` lines are one stretch of input, which arrives whole or in pieces. Before the
//! next stretch, act or moment, every octet sent and every event must have been expected.

use crate::client_dice::random;
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{
    Answer, BodyKind, Config, Envelope, Event, Next, Recipient, Session,
};
use mailrail_protocol::extension::{Extension, Extensions};
use mailrail_protocol::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// How the peer's bytes arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cuts {
    Whole,
    Bytes,
    Seeded(u64),
}

impl Cuts {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::Whole, Self::Bytes]
            .into_iter()
            .chain((1..=20).map(Self::Seeded))
    }

    /// Where the first piece of so many bytes ends.
    pub(crate) fn next(&mut self, len: usize) -> usize {
        match self {
            Self::Whole => len,
            Self::Bytes => 1,
            Self::Seeded(state) => 1 + random(state) as usize % len.min(40),
        }
    }
}

/// What a `> message` line says.
#[derive(Default)]
struct Message {
    from: String,
    to: Vec<String>,
    size: Option<u64>,
    eight_bit: bool,
    utf8: bool,
    plain: bool,
}

impl Message {
    fn parse(words: &str) -> Self {
        let mut message = Self::default();
        for word in words.split_whitespace() {
            match word.split_once('=') {
                Some(("from", from)) => message.from = from.into(),
                Some(("to", to)) => message.to = to.split(',').map(Into::into).collect(),
                Some(("count", count)) => {
                    let count: usize = count.parse().unwrap();
                    message.to = vec!["y@b.example".into(); count];
                }
                Some(("size", size)) => message.size = Some(size.parse().unwrap()),
                None if word == "8bit" => message.eight_bit = true,
                None if word == "utf8" => message.utf8 = true,
                None if word == "plain" => message.plain = true,
                _ => panic!("a message has no {word}"),
            }
        }
        message
    }

    fn with<R>(&self, look: impl FnOnce(&Envelope<'_>) -> R) -> R {
        let from = match self.from.as_str() {
            "" => ReversePath::Null,
            from => ReversePath::Mailbox(mailbox(from)),
        };
        let recipients: Vec<_> = self
            .to
            .iter()
            .map(|to| match to.as_str() {
                "postmaster" => Recipient::new(ForwardPath::Postmaster("postmaster")),
                to => Recipient::new(ForwardPath::Mailbox(mailbox(to))),
            })
            .collect();
        let mut envelope = Envelope::new(from, &recipients);
        envelope.mail.size = self.size;
        envelope.mail.body = self.eight_bit.then_some(BodyKind::EightBitMime);
        envelope.mail.smtputf8 = self.utf8;
        envelope.leading_dots = !self.plain;
        look(&envelope)
    }
}

fn mailbox(text: &str) -> Mailbox<'_> {
    Mailbox::parse(text.as_bytes(), Charset::Utf8).expect("a mailbox")
}

/// A session and everything around it.
struct Run<'c> {
    session: Session<'c>,
    now: Instant,
    message: Option<Message>,
    /// `Next::Body` has been told for this message.
    body_told: bool,
    /// An event has said that the connection has ended.
    ended: bool,
    unread: Vec<u8>,
    sent: VecDeque<u8>,
    events: VecDeque<String>,
}

/// Runs one transcript; panics with its line where it does not hold.
pub(crate) fn run(text: &str, mut cuts: Cuts) {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let config = config(&lines);
    let mut run = Run {
        session: Session::new(&config, Instant::from_micros(0)),
        now: Instant::from_micros(0),
        message: None,
        body_told: false,
        ended: false,
        unread: Vec::new(),
        sent: VecDeque::new(),
        events: VecDeque::new(),
    };
    let mut pending: Vec<u8> = Vec::new();
    for line in lines {
        let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !sign.starts_with('S') {
            run.feed(&std::mem::take(&mut pending), &mut cuts);
        }
        let at = || format!("at the line: {line}");
        if matches!(sign, ">" | "@" | "=") || (sign.starts_with('S') && pending.is_empty()) {
            run.nothing_left(&at());
        }
        match sign {
            "config" => {}
            "peer" => run.peer(rest, &config.hostname, &mut cuts),
            "S" => pending.extend(unescape(rest).into_iter().chain(*b"\r\n")),
            "S+" => pending.extend(unescape(rest)),
            "C" => run.expect_sent(&[unescape(rest).as_slice(), b"\r\n"].concat(), &at()),
            "C+" => run.expect_sent(&unescape(rest), &at()),
            "?+" => {
                let event = run.events.pop_front().unwrap_or_default();
                assert!(event.starts_with(rest), "{event} {}", at());
            }
            "whole" => {}
            "?" => assert_eq!(run.events.pop_front().as_deref(), Some(rest), "{}", at()),
            ">" => run.act(rest),
            "@" => run.time(rest, &at()),
            "=" => run.look(rest, &at()),
            _ => panic!("no such line: {line}"),
        }
    }
    run.feed(&pending, &mut cuts);
    run.nothing_left("at the end");
}

fn config(lines: &[&str]) -> Config {
    let mut config = Config::new("a.example");
    for word in lines
        .iter()
        .filter_map(|line| line.strip_prefix("config "))
        .flat_map(str::split_whitespace)
    {
        match word.split_once('=').unwrap() {
            ("pipelining", value) => config.pipelining = value == "yes",
            ("chunking", value) => config.chunking = value == "yes",
            ("at_once_max", value) => config.at_once_max = value.parse().unwrap(),
            ("at_once_proven_max", value) => config.at_once_proven_max = value.parse().unwrap(),
            ("hostname", value) => config.hostname = value.into(),
            (other, _) => panic!("no such field: {other}"),
        }
    }
    config
}

impl Run<'_> {
    /// Lets bytes arrive, piece by piece; the caller's loop runs after each.
    fn feed(&mut self, mut bytes: &[u8], cuts: &mut Cuts) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(cuts.next(bytes.len()));
            self.unread.extend_from_slice(piece);
            bytes = rest;
            self.turn();
        }
    }

    /// The loop that every caller has, up to the point where it would read.
    fn turn(&mut self) {
        let mut out = Vec::new();
        loop {
            if let Some(message) = &self.message {
                let next = message.with(|envelope| {
                    let next = self.session.write(envelope, &mut out);
                    let len = out.len();
                    let again = self.session.write(envelope, &mut out);
                    assert_eq!(len, out.len(), "writing twice must change nothing");
                    assert!(next == again || next == Next::Body);
                    next
                });
                if next == Next::Body && !self.body_told {
                    self.body_told = true;
                    self.events.push_back("Body".into());
                }
            }
            let mut input = self.unread.as_slice();
            let event = self.session.receive(self.now, &mut input, &mut out);
            let seen = show(&event);
            let stable = matches!(event, Event::NeedInput | Event::Handshake | Event::Closed);
            let handshake = matches!(event, Event::Handshake);
            let used = self.unread.len() - input.len();
            self.unread.drain(..used);
            if handshake && self.events.back().is_none_or(|last| last != "Handshake") {
                self.events.push_back("Handshake".into());
            }
            if stable {
                assert_eq!(
                    seen == "Closed",
                    self.ended,
                    "the end of the connection must be told once"
                );
                break;
            }
            if seen == "Answered" {
                continue;
            }
            assert!(!self.ended, "after the end of the connection: {seen}");
            self.ended = ["Close ", "Broken ", "Refused "]
                .iter()
                .any(|end| seen.starts_with(end));
            self.events.push_back(seen);
        }
        self.sent.extend(out);
    }

    fn peer(&mut self, extensions: &str, hostname: &str, cuts: &mut Cuts) {
        self.feed(b"220 mx.example\r\n", cuts);
        self.expect_sent(format!("EHLO {hostname}\r\n").as_bytes(), "at EHLO");
        let mut lines = vec!["mx.example"];
        lines.extend(
            extensions
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty()),
        );
        let last = lines.pop().unwrap();
        let mut answer: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
        answer += &format!("250 {last}\r\n");
        self.feed(answer.as_bytes(), cuts);
        assert!(self.events.pop_front().unwrap().starts_with("Ready"));
        self.nothing_left("after EHLO");
    }

    fn act(&mut self, act: &str) {
        let (verb, rest) = act.split_once(' ').unwrap_or((act, ""));
        let mut out = Vec::new();
        match verb {
            "message" => {
                self.message = Some(Message::parse(rest));
                self.body_told = false;
                self.session.begin();
            }
            "body" => {
                for piece in self.session.segments(&unescape(rest)) {
                    out.extend_from_slice(piece);
                }
            }
            "end" => self.session.end_body(&mut out),
            "reset" => assert!(self.session.reset(&mut out), "too late for reset"),
            "no-reset" => assert!(!self.session.reset(&mut out), "reset was not too late"),
            "quit" => assert!(self.session.quit(&mut out), "QUIT was not sent"),
            "no-quit" => assert!(!self.session.quit(&mut out), "QUIT was sent"),
            "tls" => self.session.start_tls(&mut out),
            "established" => self.session.tls_established(&mut out),
            _ => panic!("no such act: {act}"),
        }
        self.sent.extend(out);
        self.turn();
    }

    fn time(&mut self, what: &str, at: &str) {
        let seconds =
            |text: &str| Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap());
        match what.split_once(' ') {
            Some(("deadline", "none")) => assert_eq!(self.session.deadline(), None, "{at}"),
            Some(("deadline", left)) => {
                assert_eq!(
                    self.session.deadline(),
                    Some(self.now.after(seconds(left))),
                    "{at}"
                );
            }
            _ => {
                self.now = self.now.after(seconds(what.strip_prefix('+').unwrap()));
                self.session.handle_timeout(self.now);
                self.turn();
            }
        }
    }

    fn look(&self, what: &str, at: &str) {
        match what.split_once(' ').unwrap_or((what, "")) {
            ("fates", fates) => {
                let seen: Vec<String> = self
                    .session
                    .fates()
                    .into_iter()
                    .flatten()
                    .map(|fate| format!("{fate:?}"))
                    .collect();
                assert_eq!(seen.join(" "), fates, "{at}");
            }
            ("begin", answer) => assert_eq!(self.session.can_begin(), answer == "yes", "{at}"),
            _ => panic!("no such look: {what}"),
        }
    }

    fn expect_sent(&mut self, bytes: &[u8], at: &str) {
        let sent: Vec<u8> = self
            .sent
            .drain(..self.sent.len().min(bytes.len()))
            .collect();
        assert_eq!(
            sent.escape_ascii().to_string(),
            bytes.escape_ascii().to_string(),
            "{at}"
        );
    }

    fn nothing_left(&self, at: &str) {
        let sent: Vec<u8> = self.sent.iter().copied().collect();
        assert_eq!(
            sent.escape_ascii().to_string(),
            "",
            "sent, but not expected {at}"
        );
        assert_eq!(self.events, [""; 0], "happened, but not expected {at}");
    }
}

fn show(event: &Event<'_>) -> String {
    match event {
        Event::Ready(extensions) => format!("Ready{}", show_extensions(*extensions)),
        Event::TlsRefused(answer) => format!("TlsRefused {}", show_answer(answer)),
        Event::Mail(answer) => format!("Mail {}", show_answer(answer)),
        Event::Recipient(n, answer) => format!("Recipient {n} {}", show_answer(answer)),
        Event::Sent(answer) => format!("Sent {}", show_answer(answer)),
        Event::Refused(answer) => format!("Refused {}", show_answer(answer)),
        Event::Close(answer) => format!("Close {}", show_answer(answer)),
        Event::Unsendable(reason) => format!("Unsendable {reason:?} {}", reason.status()),
        Event::Broken(violation, bytes) => format!("Broken {violation:?} {}", bytes.escape_ascii())
            .trim_end()
            .into(),
        other => format!("{other:?}"),
    }
}

fn show_answer(answer: &Answer<'_>) -> String {
    let mut text = Vec::new();
    answer.append_text(&mut text);
    let status = answer
        .status
        .map(|status| format!("{status} "))
        .unwrap_or_default();
    format!("{} {status}{}", answer.code, text.escape_ascii())
        .trim_end()
        .into()
}

fn show_extensions(extensions: Extensions) -> String {
    let mut names = String::new();
    for extension in Extension::ALL {
        if extensions.has(extension) {
            names += " ";
            names += extension.keyword();
        }
    }
    if let Some(size_max) = extensions.size_max() {
        names += &format!(" size_max={size_max}");
    }
    names
}

/// `\r`, `\n`, `\t`, `\\` and `\xNN`; and `\*N*text*` for N times a text.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..place]);
        let mut used = place + 2;
        match &rest[place + 1..place + 2] {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            "t" => out.push(b'\t'),
            "\\" => out.push(b'\\'),
            "x" => {
                out.push(u8::from_str_radix(&rest[place + 2..place + 4], 16).unwrap());
                used += 2;
            }
            "*" => {
                let mut parts = rest[place + 2..].splitn(3, '*');
                let (count, what) = (parts.next().unwrap(), parts.next().unwrap());
                out.extend(unescape(what).repeat(count.parse().unwrap()));
                used += count.len() + what.len() + 2;
            }
            other => panic!("no such escape: {other}"),
        }
        rest = &rest[used..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
