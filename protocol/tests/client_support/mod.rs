//! Runs a transcript against `client::Session`, its input cut as a test wants it. Nothing here
//! knows what a session should do: the transcripts say that.
//!
//! A transcript is read line by line; the first word says what a line is.
//!
//! ```text
//! # why this transcript exists
//! config pipelining=no            fields of the configuration (before anything else)
//! tls                             the connection is encrypted from its first byte on
//! peer PIPELINING, SIZE 1000      greeting and EHLO in one line: what the peer offers
//! S 250 ok                        the peer sends this line        (S+ without a line end)
//! C RSET                          the client must send this line  (C+ without a line end)
//! ? Mail 250 ok                   the next event                  (?+ its beginning alone)
//! > message from=a@a.example to=b@b.example,c@b.example size=7 8bit utf8 plain
//!                                 see `message` for all its words
//! > body text\r\n                 a chunk of content;  > end, > reset, > quit, > tls, > established
//! > unsent yes                    the content that begins is only collected;  > unsent no  it has left
//! > left                          the oldest that was collected has
//! > chunk 5 last                  announces a chunk, where `? Chunk` has told that one is due
//! > auth PLAIN text               with an initial response (`\` for an empty one, nothing for none)
//! > auth-long PLAIN text          the same, where it is too long to go along
//! > respond text;  > cancel       to a challenge;  > ask VRFY y  any other command
//! @ +60s                          time passes;  @ deadline 60s, @ deadline none
//! whole                           the input of this transcript may not be cut
//! = fates InDoubt Unsent          what has become of what is open
//! = begin yes                     also: ask, used-up, encrypted, authenticated
//! ```
//! Neighbouring `S` lines are one stretch of input, which arrives whole or in pieces. Before the
//! next stretch, act or moment, every octet sent and every event must have been expected.

mod message;
mod show;

use crate::client_dice::random;
use mailrail_protocol::client::{Config, Event, Next, Session};
use mailrail_protocol::command::{Verb, parse};
use mailrail_protocol::sasl::Mechanism;
use mailrail_protocol::time::Instant;
use message::Message;
use show::{show, unescape};
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

/// A session and everything around it.
struct Run<'c> {
    session: Session<'c>,
    now: Instant,
    message: Option<Message>,
    /// `Next::Body`, or `Next::Chunk`, has been told for this message, or this chunk.
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
    let is_encrypted = lines.contains(&"tls");
    let now = Instant::from_micros(0);
    let mut run = Run {
        session: if is_encrypted {
            Session::over_tls(&config, now)
        } else {
            Session::new(&config, now)
        },
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
            "config" | "tls" => {}
            "peer" => run.peer(rest, &config, &mut cuts),
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
            ("own_chunks", value) => config.own_chunks = value == "yes",
            ("lmtp", value) => config.lmtp = value == "yes",
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
                if next != Next::Wait && !self.body_told {
                    self.body_told = true;
                    self.events.push_back(format!("{next:?}"));
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

    fn peer(&mut self, extensions: &str, config: &Config, cuts: &mut Cuts) {
        self.feed(b"220 mx.example\r\n", cuts);
        let verb = if config.lmtp { "LHLO" } else { "EHLO" };
        let hello = format!("{verb} {}\r\n", config.hostname);
        self.expect_sent(hello.as_bytes(), "at EHLO");
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
            "unsent" => self.session.set_unsent(rest == "yes"),
            "left" => self.session.end_has_left(),
            "reset" => assert!(self.session.reset(&mut out), "too late for reset"),
            "no-reset" => assert!(!self.session.reset(&mut out), "reset was not too late"),
            "quit" => assert!(self.session.quit(&mut out), "QUIT was not sent"),
            "no-quit" => assert!(!self.session.quit(&mut out), "QUIT was sent"),
            "tls" => self.session.start_tls(&mut out),
            "established" => self.session.tls_established(&mut out),
            "chunk" => {
                let (len, last) = rest.split_once(' ').unwrap_or((rest, ""));
                self.body_told = false;
                self.session
                    .chunk(len.parse().unwrap(), last == "last", &mut out);
            }
            "auth" | "auth-long" => {
                let (mechanism, initial) = rest.split_once(' ').unzip();
                let mechanism = Mechanism::of(mechanism.unwrap_or(rest).as_bytes()).unwrap();
                let initial = initial.map(|text| unescape(text.trim_end_matches('\\')));
                let fits = self.session.auth(mechanism, initial.as_deref(), &mut out);
                assert_eq!(fits, verb == "auth", "does the response fit?");
            }
            "respond" => {
                let response = unescape(rest.trim_end_matches('\\'));
                self.session.respond(&response, &mut out);
            }
            "cancel" => self.session.cancel_auth(&mut out),
            "ask" => self.ask(rest, &mut out),
            _ => panic!("no such act: {act}"),
        }
        self.sent.extend(out);
        self.turn();
    }

    fn ask(&mut self, line: &str, out: &mut Vec<u8>) {
        let unknown = (Verb::Unknown, line.as_bytes());
        let (verb, argument) = parse::verb(line.as_bytes()).unwrap_or(unknown);
        let other = parse::other(verb, argument).expect("a command");
        self.session.ask(&other, out);
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
            (what, answer) => {
                let seen = match what {
                    "begin" => self.session.can_begin(),
                    "ask" => self.session.can_ask(),
                    "used-up" => self.session.is_used_up(),
                    "encrypted" => self.session.is_encrypted(),
                    "authenticated" => self.session.is_authenticated(),
                    _ => panic!("no such look: {what}"),
                };
                assert_eq!(seen, answer == "yes", "{at}");
            }
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
