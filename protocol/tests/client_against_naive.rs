//! The client against a peer that is as simple as can be and answers as the dice say: whatever it
//! says, the client must keep to the order of commands, and both must agree on what was taken.

mod client_caller;
mod client_dice;

use client_caller::{Caller, Message, Taken};
use client_dice::random;
use mailrail_protocol::client::{Config, Event, Next, Other, Session};
use mailrail_protocol::extension::Limits;
use mailrail_protocol::sasl::Mechanism;
use mailrail_protocol::time::Instant;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// More steps than any dialogue needs: one that is not over by then hangs.
const PATIENT: usize = 200_000;

/// What comes next from the client.
enum Expect {
    Line,
    Content,
    /// So many octets; are they the last ones?
    Chunk(usize, bool),
    /// A response, within AUTH; so many challenges have been said.
    Response(usize),
    /// An EHLO, and nothing else: XCLIENT was taken.
    Hello,
}

/// Random verdicts; apart from that, the standard to the letter, and no leniency at all.
struct Peer {
    dice: u64,
    /// One in so many verdicts is a refusal.
    refusals: u64,
    pipelining: bool,
    chunking: bool,
    knows_ehlo: bool,
    lmtp: bool,
    limits: Limits,
    authenticated: bool,
    mail_count: u32,
    rcpt_count: u32,
    domains: BTreeSet<String>,
    /// It has said 421.
    gone: bool,
    unread: Vec<u8>,
    expect: Expect,
    /// The sender of the open transaction.
    sender: Option<String>,
    recipients: Vec<String>,
    /// What came in chunks so far.
    chunks: Vec<u8>,
    /// A BDAT has failed: RSET must come.
    stuck: bool,
    taken: Vec<Taken>,
}

impl Peer {
    fn dice(&mut self, sides: u64) -> u64 {
        random(&mut self.dice) % sides
    }

    /// A positive code, or a refusal.
    fn verdict(&mut self, positive: u16) -> u16 {
        if self.dice(self.refusals) > 0 {
            return positive;
        }
        if self.dice(30) == 0 {
            return 421;
        }
        [450, 451, 550, 554][self.dice(4) as usize]
    }

    /// One or more lines, with or without text.
    fn say(&mut self, code: u16, out: &mut Vec<u8>) {
        self.gone |= code == 421;
        for _ in 0..self.dice(3) {
            out.extend(format!("{code}-{}.1.1 words\r\n", code / 100).bytes());
        }
        let text = ["", " ", " 2.0.0 ok", " ok \u{fc}"][self.dice(4) as usize];
        out.extend(format!("{code}{text}\r\n").bytes());
    }

    /// Handles everything that has come so far.
    fn handle(&mut self, out: &mut Vec<u8>) {
        while !self.gone && self.step(out) {}
    }

    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        match self.expect {
            Expect::Line | Expect::Response(_) | Expect::Hello => {
                let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") else {
                    return false;
                };
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                let line = String::from_utf8(line).expect("a command");
                match self.expect {
                    Expect::Response(count) => self.response(line.trim_end(), count, out),
                    Expect::Hello => {
                        assert!(
                            line.starts_with(['E', 'L']),
                            "XCLIENT is followed by EHLO: {line}"
                        );
                        self.expect = Expect::Line;
                        self.command(line.trim_end(), out);
                    }
                    _ => self.command(line.trim_end(), out),
                }
                // Without PIPELINING nothing may follow before the answer.
                assert!(
                    self.pipelining
                        || self.unread.is_empty()
                        || matches!(self.expect, Expect::Chunk(..)),
                    "commands were pipelined, but it was not offered"
                );
                true
            }
            Expect::Content => {
                let whole = [b"\r\n", self.unread.as_slice()].concat();
                let Some(end) = whole.windows(5).position(|five| five == b"\r\n.\r\n") else {
                    return false;
                };
                self.unread.drain(..end + 3);
                let content = &whole[..end + 2];
                // Every line that starts with a dot loses it; the CRLF in front was our own.
                let mut plain = Vec::new();
                for (n, octet) in content.iter().enumerate() {
                    if !(*octet == b'.' && n >= 2 && content[n - 2..n] == *b"\r\n") {
                        plain.push(*octet);
                    }
                }
                if self.recipients.is_empty() {
                    self.sender = None;
                    self.expect = Expect::Line;
                    self.say(554, out);
                } else {
                    self.end(plain[2..].to_vec(), out);
                }
                true
            }
            Expect::Chunk(len, last) => {
                if self.unread.len() < len {
                    return false;
                }
                let content: Vec<u8> = self.unread.drain(..len).collect();
                self.expect = Expect::Line;
                if self.stuck || self.sender.is_none() || self.recipients.is_empty() {
                    self.stuck |= self.sender.is_some();
                    self.say(503, out);
                    return true;
                }
                self.chunks.extend(content);
                if last {
                    self.stuck = true;
                    let content = std::mem::take(&mut self.chunks);
                    self.stuck = !self.end(content, out);
                    return true;
                }
                let code = self.verdict(250);
                self.stuck = code != 250;
                self.say(code, out);
                true
            }
        }
    }

    /// The content is there. True if somebody has it now.
    fn end(&mut self, content: Vec<u8>, out: &mut Vec<u8>) -> bool {
        let sender = self.sender.take().expect("a sender");
        let recipients = std::mem::take(&mut self.recipients);
        self.expect = Expect::Line;
        if !self.lmtp {
            let code = self.verdict(250);
            if code == 250 {
                self.taken.push((sender, recipients, content));
            }
            self.say(code, out);
            return code == 250;
        }
        let mut delivered = Vec::new();
        for recipient in recipients {
            let code = self.verdict(250);
            if code == 250 {
                delivered.push(recipient);
            }
            self.say(code, out);
            if self.gone {
                break;
            }
        }
        let somebody = !delivered.is_empty();
        if somebody {
            self.taken.push((sender, delivered, content));
        }
        somebody
    }

    /// Within AUTH.
    fn response(&mut self, line: &str, count: usize, out: &mut Vec<u8>) {
        assert!(self.unread.is_empty(), "something followed a response");
        self.expect = Expect::Line;
        if line == "*" {
            return self.say(501, out);
        }
        let base64 = |octet: u8| octet.is_ascii_alphanumeric() || b"+/=".contains(&octet);
        assert!(line.bytes().all(base64), "no base64: {line}");
        match self.dice(3) {
            0 if count < 4 => {
                self.expect = Expect::Response(count + 1);
                out.extend(b"334 Y2hhbGxlbmdl\r\n");
            }
            1 => self.say(535, out),
            _ => {
                self.authenticated = true;
                self.say(235, out);
            }
        }
    }

    fn command(&mut self, line: &str, out: &mut Vec<u8>) {
        if line.starts_with(if self.lmtp { "LHLO " } else { "EHLO " }) {
            if !self.knows_ehlo {
                return self.say(500, out);
            }
            out.extend(b"250-mx\r\n");
            for (offered, line) in [
                (self.pipelining, "PIPELINING"),
                (self.chunking, "CHUNKING"),
                (self.chunking, "DSN"),
                (self.pipelining, "XFORWARD NAME"),
            ] {
                if offered {
                    out.extend(format!("250-{line}\r\n").bytes());
                }
            }
            out.extend(b"250-AUTH PLAIN\r\n250-XCLIENT NAME\r\n250-LIMITS");
            for (name, limit) in [
                ("RCPTMAX", self.limits.recipient_count_max),
                ("MAILMAX", self.limits.mail_count_max),
                ("RCPTDOMAINMAX", self.limits.recipient_domain_count_max),
            ] {
                if limit > 0 {
                    out.extend(format!(" {name}={limit}").bytes());
                }
            }
            out.extend(b"\r\n250 8BITMIME\r\n");
        } else if let Some(argument) = line.strip_prefix("AUTH PLAIN") {
            assert!(!self.authenticated, "a second AUTH");
            assert!(self.sender.is_none(), "AUTH inside a transaction");
            assert!(line.len() + 2 <= 512);
            match argument.strip_prefix(' ') {
                Some(initial) if initial != "=" => self.response(initial, 0, out),
                Some(_) => self.response("", 0, out),
                None => {
                    assert!(self.unread.is_empty(), "something followed AUTH");
                    self.expect = Expect::Response(1);
                    out.extend(b"334 \r\n");
                }
            }
        } else if line == "NOOP" || line == "VRFY somebody" {
            assert!(self.unread.is_empty(), "something followed a question");
            let code = self.verdict(252);
            self.say(code, out);
        } else if line.starts_with("XFORWARD ") {
            let code = self.verdict(250);
            self.say(code, out);
        } else if line.starts_with("XCLIENT ") {
            assert!(self.unread.is_empty(), "something followed XCLIENT");
            assert!(self.sender.is_none(), "XCLIENT inside a transaction");
            let code = self.verdict(220);
            if code == 220 {
                self.expect = Expect::Hello;
                self.authenticated = false;
            }
            self.say(code, out);
        } else if line.starts_with("HELO ") {
            self.say(250, out);
        } else if line == "RSET" {
            self.sender = None;
            self.recipients.clear();
            self.chunks.clear();
            self.stuck = false;
            self.say(250, out);
        } else if let Some(sender) = line.strip_prefix("MAIL FROM:<") {
            assert!(self.sender.is_none(), "MAIL inside a transaction");
            assert!(!self.stuck, "MAIL after a BDAT that failed");
            self.mail_count += 1;
            self.rcpt_count = 0;
            let (count, max) = (self.mail_count, self.limits.mail_count_max);
            assert!(max == 0 || count <= max, "more transactions than MAILMAX");
            let (sender, parameters) = sender.split_once('>').unwrap();
            assert!(self.chunking || !parameters.contains("RET="), "{line}");
            let code = self.verdict(250);
            if code == 250 {
                self.sender = Some(sender.into());
            }
            self.chunks.clear();
            self.say(code, out);
        } else if let Some(recipient) = line.strip_prefix("RCPT TO:<") {
            let (recipient, parameters) = recipient.split_once('>').unwrap();
            assert!(self.chunking || parameters.is_empty(), "{line}");
            self.rcpt_count += 1;
            let (count, max) = (self.rcpt_count, self.limits.recipient_count_max);
            assert!(max == 0 || count <= max, "more recipients than RCPTMAX");
            let (_, domain) = recipient.split_once('@').unwrap();
            self.domains.insert(domain.into());
            let max = self.limits.recipient_domain_count_max as usize;
            assert!(max == 0 || self.domains.len() <= max, "RCPTDOMAINMAX");
            let code = if self.sender.is_none() {
                503
            } else {
                self.verdict(250)
            };
            if code == 250 {
                self.recipients.push(recipient.into());
            }
            self.say(code, out);
        } else if line == "DATA" {
            // RFC 2920 section 3.1 warns of servers that say 354 to a message for nobody.
            let careless = self.sender.is_some() && !self.lmtp && self.dice(2) == 0;
            let code = if self.recipients.is_empty() && !careless {
                503
            } else {
                self.verdict(354)
            };
            if code == 354 {
                self.expect = Expect::Content;
            }
            self.say(code, out);
        } else if let Some(len) = line.strip_prefix("BDAT ") {
            let last = len.ends_with(" LAST");
            let len = len.trim_end_matches(" LAST").parse().unwrap();
            self.expect = Expect::Chunk(len, last);
        } else if line == "QUIT" {
            self.say(221, out);
            self.gone = true;
        } else {
            panic!("no such command: {line:?}");
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    seed: u64,
    refusals: u64,
    pipelining: bool,
    chunking: bool,
    knows_ehlo: bool,
    lmtp: bool,
    own_chunks: bool,
    limits: (u32, u32, u32),
    at_once_max: u64,
    /// The connection is cut after so many steps.
    patience: usize,
}

fn dialogue(setting: Setting) {
    let mut dice = setting.seed;
    let mut config = Config::new("a.example");
    config.at_once_max = setting.at_once_max;
    config.lmtp = setting.lmtp;
    config.own_chunks = setting.own_chunks;
    let mut caller = Caller::new(&config, 6, setting.seed);
    let mut peer = Peer {
        dice: setting.seed ^ 0x5555,
        refusals: setting.refusals,
        pipelining: setting.pipelining,
        chunking: setting.chunking,
        knows_ehlo: setting.knows_ehlo,
        lmtp: setting.lmtp,
        limits: Limits {
            recipient_count_max: setting.limits.0,
            mail_count_max: setting.limits.1,
            recipient_domain_count_max: setting.limits.2,
        },
        authenticated: false,
        mail_count: 0,
        rcpt_count: 0,
        domains: BTreeSet::new(),
        gone: false,
        unread: Vec::new(),
        expect: Expect::Line,
        sender: None,
        recipients: Vec::new(),
        chunks: Vec::new(),
        stuck: false,
        taken: Vec::new(),
    };
    let mut to_client = b"220 mx\r\n".to_vec();
    for _ in 0..setting.patience {
        // Some bytes travel in each direction.
        let longest = [10, 60, 5000][random(&mut dice) as usize % 3];
        let count = (random(&mut dice) as usize % longest).min(caller.out.len());
        peer.unread.extend(caller.out.drain(..count));
        peer.handle(&mut to_client);
        let count = (random(&mut dice) as usize % longest).min(to_client.len());
        caller.receive(to_client.drain(..count));
        if caller.ended {
            break;
        }
    }
    // What is still on its way may arrive, or not.
    peer.unread.append(&mut caller.out);
    peer.handle(&mut to_client);
    caller.compare(&peer.taken);
    assert!(
        setting.patience < PATIENT || caller.ended,
        "the dialogue hangs"
    );
    if setting.patience == PATIENT && setting.refusals == u64::MAX {
        let (sure, all) = caller.settled();
        assert_eq!(
            sure, all,
            "a patient peer that refuses nothing gets every message"
        );
    }
}

/// No limit, or a low one.
fn limit() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0u32), 1u32..4]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn both_agree(
        seed: u64,
        refusals in prop_oneof![Just(1u64), 2u64..6, Just(u64::MAX)],
        pipelining: bool,
        chunking: bool,
        knows_ehlo in proptest::bool::weighted(0.9),
        lmtp in proptest::bool::weighted(0.3),
        own_chunks: bool,
        limits in (limit(), limit(), limit()),
        at_once_max in prop_oneof![Just(0u64), 0u64..60, Just(1000)],
        patience in prop_oneof![0usize..200, Just(PATIENT)],
    ) {
        dialogue(Setting {
            seed,
            refusals,
            pipelining,
            chunking,
            knows_ehlo: knows_ehlo || lmtp,
            lmtp,
            own_chunks,
            // What is not announced cannot be kept.
            limits: if knows_ehlo || lmtp { limits } else { (0, 0, 0) },
            at_once_max,
            patience,
        });
    }

    /// Whatever a peer sends, the client neither panics nor writes without end.
    #[test]
    fn any_bytes(
        pieces in proptest::collection::vec(prop_oneof![
            Just(b"220 mx\r\n".to_vec()),
            Just(b"250 ok\r\n".to_vec()),
            Just(b"250-PIPELINING\r\n".to_vec()),
            Just(b"250-CHUNKING\r\n".to_vec()),
            Just(b"250-LIMITS RCPTMAX=1 RCPTDOMAINMAX=2\r\n250-AUTH PLAIN\r\n250-BINARYMIME\r\n".to_vec()),
            Just(b"334 \r\n".to_vec()),
            Just(b"235 ok\r\n".to_vec()),
            Just(b"354 go\r\n".to_vec()),
            Just(b"550 5.1.1 no\r\n".to_vec()),
            Just(b"500 what\r\n".to_vec()),
            Just(b"421 bye\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..30),
        seed: u64,
        lmtp: bool,
    ) {
        let mut dice = seed;
        let mut config = Config::new("a.example");
        config.lmtp = lmtp;
        config.own_chunks = true;
        let now = Instant::from_micros(0);
        let mut session = Session::new(&config, now);
        let (mut unread, mut out) = (Vec::new(), Vec::new());
        let mut message = Message::new(0, &mut dice);
        for piece in pieces {
            unread.extend(piece);
            loop {
                if session.can_begin() && random(&mut dice).is_multiple_of(2) {
                    message = Message::new(0, &mut dice);
                    session.begin();
                }
                match message.write(&mut session, &mut out) {
                    Next::Wait => {}
                    Next::Body => {
                        session.segments(&message.content).for_each(drop);
                        session.end_body(&mut out);
                    }
                    Next::Chunk => {
                        let len = random(&mut dice) % 3;
                        let last = random(&mut dice).is_multiple_of(3);
                        session.chunk(len, last, &mut out);
                        session.segments(&b"xyz"[..len as usize]).for_each(drop);
                    }
                }
                if session.can_ask() && random(&mut dice).is_multiple_of(4) {
                    let offered = session.extensions().mechanisms().has(Mechanism::Plain);
                    if offered && !session.is_authenticated() {
                        session.auth(Mechanism::Plain, Some(b"x"), &mut out);
                    } else {
                        session.ask(&Other::Noop, &mut out);
                    }
                }
                if random(&mut dice).is_multiple_of(10) {
                    let _ = session.reset(&mut out);
                }
                if random(&mut dice).is_multiple_of(20) {
                    let _ = session.quit(&mut out);
                }
                let mut input = unread.as_slice();
                let event = session.receive(now, &mut input, &mut out);
                match event {
                    Event::Challenge(_) if random(&mut dice).is_multiple_of(2) => {
                        session.cancel_auth(&mut out);
                    }
                    Event::Challenge(challenge) => session.respond(challenge, &mut out),
                    _ => {}
                }
                let stop = matches!(event, Event::NeedInput | Event::Closed);
                let used = unread.len() - input.len();
                unread.drain(..used);
                if stop {
                    break;
                }
            }
            let _ = session.fates();
            prop_assert!(out.len() < 64 * 1024);
        }
    }
}
