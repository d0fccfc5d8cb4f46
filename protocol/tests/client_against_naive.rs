//! The client against a peer that is as simple as can be and answers as the dice say: whatever it
//! says, the client must keep to the order of commands, and both must agree on what was taken.

mod client_dice;

use client_dice::random;
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{Config, Envelope, Event, Fate, Next, Recipient, Session};
use mailrail_protocol::time::Instant;
use proptest::prelude::*;

/// A message that somebody took: its sender, its recipients, its content.
type Taken = (String, Vec<String>, Vec<u8>);

/// What comes next from the client.
enum Expect {
    Line,
    Content,
    Chunk(usize),
}

/// Random verdicts; apart from that, RFC 5321 to the letter, and no leniency at all.
struct Peer {
    dice: u64,
    /// One in so many verdicts is a refusal.
    refusals: u64,
    pipelining: bool,
    chunking: bool,
    knows_ehlo: bool,
    /// It has said 421.
    gone: bool,
    unread: Vec<u8>,
    expect: Expect,
    /// The sender of the open transaction.
    sender: Option<String>,
    recipients: Vec<String>,
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
            Expect::Line => {
                let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") else {
                    return false;
                };
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                let line = String::from_utf8(line).expect("a command");
                self.command(line.trim_end(), out);
                // Without PIPELINING nothing may follow before the answer.
                assert!(
                    self.pipelining
                        || self.unread.is_empty()
                        || matches!(self.expect, Expect::Chunk(_)),
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
                let code = if self.recipients.is_empty() {
                    554
                } else {
                    self.verdict(250)
                };
                self.end(code, plain[2..].to_vec(), out);
                true
            }
            Expect::Chunk(len) => {
                if self.unread.len() < len {
                    return false;
                }
                let content: Vec<u8> = self.unread.drain(..len).collect();
                if self.sender.is_none() || self.recipients.is_empty() {
                    self.stuck = self.sender.is_some();
                    self.expect = Expect::Line;
                    self.say(503, out);
                    return true;
                }
                let code = self.verdict(250);
                self.stuck = code != 250;
                self.end(code, content, out);
                true
            }
        }
    }

    fn end(&mut self, code: u16, content: Vec<u8>, out: &mut Vec<u8>) {
        let sender = self.sender.take().expect("a sender");
        let recipients = std::mem::take(&mut self.recipients);
        if code == 250 {
            self.taken.push((sender, recipients, content));
        }
        self.expect = Expect::Line;
        self.say(code, out);
    }

    fn command(&mut self, line: &str, out: &mut Vec<u8>) {
        if line.starts_with("EHLO ") {
            if !self.knows_ehlo {
                return self.say(500, out);
            }
            let pipelining = if self.pipelining {
                "250-PIPELINING\r\n"
            } else {
                ""
            };
            let chunking = if self.chunking {
                "250-CHUNKING\r\n"
            } else {
                ""
            };
            out.extend(format!("250-mx\r\n{pipelining}{chunking}250 8BITMIME\r\n").bytes());
        } else if line.starts_with("HELO ") {
            self.say(250, out);
        } else if line == "RSET" {
            self.sender = None;
            self.recipients.clear();
            self.stuck = false;
            self.say(250, out);
        } else if let Some(sender) = line.strip_prefix("MAIL FROM:<") {
            assert!(self.sender.is_none(), "MAIL inside a transaction");
            assert!(!self.stuck, "MAIL after a BDAT that failed");
            let code = self.verdict(250);
            if code == 250 {
                self.sender = Some(sender.split('>').next().unwrap().into());
            }
            self.say(code, out);
        } else if let Some(recipient) = line.strip_prefix("RCPT TO:<") {
            let code = if self.sender.is_none() {
                503
            } else {
                self.verdict(250)
            };
            if code == 250 {
                self.recipients
                    .push(recipient.strip_suffix('>').unwrap().into());
            }
            self.say(code, out);
        } else if line == "DATA" {
            // RFC 2920 section 3.1 warns of servers that say 354 to a message for nobody.
            let careless = self.sender.is_some() && self.dice(2) == 0;
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
            let len = len
                .strip_suffix(" LAST")
                .expect("one chunk")
                .parse()
                .unwrap();
            self.expect = Expect::Chunk(len);
        } else if line == "QUIT" {
            self.say(221, out);
            self.gone = true;
        } else {
            panic!("no such command: {line:?}");
        }
    }
}

/// A message to send, and what the events have said of it.
struct Message {
    from: String,
    to: Vec<String>,
    content: Vec<u8>,
    size_known: bool,
    /// Answers to recipients: taken or not.
    answers: Vec<bool>,
}

impl Message {
    fn new(n: usize, dice: &mut u64) -> Self {
        let line_count = random(dice) % 6;
        let mut content = Vec::new();
        for _ in 0..line_count {
            let line = ["", ".", "..", "text", ".text", "a longer line of text."];
            content.extend(
                line[random(dice) as usize % line.len()]
                    .bytes()
                    .chain(*b"\r\n"),
            );
        }
        if random(dice).is_multiple_of(4) {
            content.extend(b"no line end");
        }
        Self {
            from: format!("{n}@a.example"),
            to: (0..1 + random(dice) % 3)
                .map(|to| format!("{to}@b.example"))
                .collect(),
            content,
            size_known: !random(dice).is_multiple_of(4),
            answers: Vec::new(),
        }
    }

    fn write(&self, session: &mut Session<'_>, out: &mut Vec<u8>) -> Next {
        let mailbox = |text: &str| Mailbox::parse(text.as_bytes(), Charset::Ascii).is_some();
        assert!(mailbox(&self.from));
        let recipients: Vec<_> = self
            .to
            .iter()
            .map(|to| Mailbox::parse(to.as_bytes(), Charset::Ascii).unwrap())
            .map(|to| Recipient::new(ForwardPath::Mailbox(to)))
            .collect();
        let from = Mailbox::parse(self.from.as_bytes(), Charset::Ascii).unwrap();
        let mut envelope = Envelope::new(ReversePath::Mailbox(from), &recipients);
        envelope.size = self.size_known.then_some(self.content.len() as u64);
        session.write(&envelope, out)
    }

    /// What a peer must have that took it.
    fn as_taken(&self, content: &[u8]) -> Taken {
        let to = self
            .to
            .iter()
            .zip(&self.answers)
            .filter(|(_, taken)| **taken);
        let mut own = self.content.clone();
        if own != content && !own.ends_with(b"\r\n") {
            own.extend(b"\r\n"); // by DATA the last line must end
        }
        (
            self.from.clone(),
            to.map(|(to, _)| to.clone()).collect(),
            own,
        )
    }
}

/// What the client's caller believes in the end.
#[derive(Debug, PartialEq)]
enum Belief {
    Taken,
    NotTaken,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    seed: u64,
    refusals: u64,
    pipelining: bool,
    chunking: bool,
    knows_ehlo: bool,
    at_once_max: u64,
    /// The connection is cut after so many steps.
    patience: usize,
}

fn dialogue(setting: Setting) {
    let mut dice = setting.seed;
    let mut config = Config::new("a.example");
    config.at_once_max = setting.at_once_max;
    let now = Instant::from_micros(0);
    let mut session = Session::new(&config, now);
    let mut peer = Peer {
        dice: setting.seed ^ 0x5555,
        refusals: setting.refusals,
        pipelining: setting.pipelining,
        chunking: setting.chunking,
        knows_ehlo: setting.knows_ehlo,
        gone: false,
        unread: Vec::new(),
        expect: Expect::Line,
        sender: None,
        recipients: Vec::new(),
        stuck: false,
        taken: Vec::new(),
    };
    let mut messages: Vec<Message> = (0..6).map(|n| Message::new(n, &mut dice)).collect();
    let mut beliefs: Vec<Belief> = Vec::new();
    // Messages `beliefs.len()..begun` are open.
    let mut begun = 0usize;
    let (mut to_peer, mut to_client) = (Vec::new(), b"220 mx\r\n".to_vec());
    let mut unread: Vec<u8> = Vec::new();
    let mut quit = false;

    'dialogue: for _ in 0..setting.patience {
        // Some bytes travel in each direction.
        let count = (random(&mut dice) as usize % 60).min(to_peer.len());
        peer.unread.extend(to_peer.drain(..count));
        peer.handle(&mut to_client);
        let count = (random(&mut dice) as usize % 60).min(to_client.len());
        unread.extend(to_client.drain(..count));

        loop {
            if let Some(message) = begun.checked_sub(1).map(|newest| &messages[newest])
                && message.write(&mut session, &mut to_peer) == Next::Body
            {
                let mut content = message.content.as_slice();
                while !content.is_empty() {
                    let (chunk, rest) =
                        content.split_at(1 + random(&mut dice) as usize % content.len());
                    session
                        .segments(chunk)
                        .for_each(|piece| to_peer.extend_from_slice(piece));
                    content = rest;
                }
                session.end_body(&mut to_peer);
                if random(&mut dice).is_multiple_of(2)
                    && begun < messages.len()
                    && session.can_begin()
                {
                    session.begin();
                    begun += 1;
                    continue;
                }
            }
            let mut input = unread.as_slice();
            let event = session.receive(now, &mut input, &mut to_peer);
            let used = unread.len() - input.len();
            let open = beliefs.len();
            let mut ended = false;
            match event {
                Event::NeedInput => break,
                Event::Answered | Event::SendBody | Event::Ready(_) => {}
                Event::Mail(answer) => {
                    assert!(messages[open].answers.is_empty());
                    assert!(answer.code.get() == 250 || !answer.is_positive());
                }
                Event::Recipient(n, answer) => {
                    assert_eq!(usize::from(n), messages[open].answers.len());
                    messages[open].answers.push(answer.is_positive());
                }
                Event::Sent(answer) => {
                    let taken = answer.is_positive();
                    beliefs.push(if taken {
                        Belief::Taken
                    } else {
                        Belief::NotTaken
                    });
                }
                Event::Over => {
                    assert!(
                        !messages[open].answers.contains(&true),
                        "an answer was forgotten"
                    );
                    beliefs.push(Belief::NotTaken);
                }
                Event::Close(_) => ended = true,
                other => panic!("this peer does nothing wrong: {other:?}"),
            }
            unread.drain(..used);
            assert!(beliefs.len() <= begun, "more ends than transactions");
            if ended {
                break 'dialogue;
            }
            if session.can_begin() && begun < messages.len() && begun == beliefs.len() {
                session.begin();
                begun += 1;
            } else if begun == messages.len() && begun == beliefs.len() && !quit {
                quit = session.quit(&mut to_peer);
            }
        }
    }

    for fate in session.fates().into_iter().flatten() {
        beliefs.push(match fate {
            Fate::Unsent | Fate::Answered => Belief::NotTaken,
            Fate::InDoubt => Belief::Unknown,
        });
    }
    assert_eq!(
        beliefs.len(),
        begun,
        "every transaction ends, by an event or by its fate"
    );
    // What is still on its way may arrive, or not.
    peer.unread.extend(to_peer);
    peer.handle(&mut to_client);
    let unknown = |from: &str| {
        let n: usize = from.split('@').next().unwrap().parse().unwrap();
        beliefs[n] == Belief::Unknown
    };
    let mut taken = peer.taken.iter().filter(|(from, ..)| !unknown(from));
    for (message, belief) in messages.iter().zip(&beliefs) {
        if *belief == Belief::Taken {
            let (from, to, content) = taken.next().expect("a message was lost");
            let expected = message.as_taken(content);
            assert_eq!((from, to, content), (&expected.0, &expected.1, &expected.2));
        }
    }
    assert!(
        taken.next().is_none(),
        "a message was taken that should not have been"
    );
    if setting.patience == usize::MAX {
        assert_eq!(
            beliefs.len(),
            if peer.gone && !quit {
                beliefs.len()
            } else {
                messages.len()
            }
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn both_agree(
        seed: u64,
        refusals in prop_oneof![Just(1u64), 2u64..6, Just(1000)],
        pipelining: bool,
        chunking: bool,
        knows_ehlo in proptest::bool::weighted(0.9),
        at_once_max in prop_oneof![Just(0u64), 0u64..60, Just(1000)],
        patience in prop_oneof![0usize..200, Just(usize::MAX)],
    ) {
        dialogue(Setting { seed, refusals, pipelining, chunking, knows_ehlo, at_once_max, patience });
    }

    /// Whatever a peer sends, the client neither panics nor writes without end.
    #[test]
    fn any_bytes(
        pieces in proptest::collection::vec(prop_oneof![
            Just(b"220 mx\r\n".to_vec()),
            Just(b"250 ok\r\n".to_vec()),
            Just(b"250-PIPELINING\r\n".to_vec()),
            Just(b"250-CHUNKING\r\n".to_vec()),
            Just(b"354 go\r\n".to_vec()),
            Just(b"550 5.1.1 no\r\n".to_vec()),
            Just(b"500 what\r\n".to_vec()),
            Just(b"421 bye\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..30),
        seed: u64,
    ) {
        let mut dice = seed;
        let config = Config::new("a.example");
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
                if message.write(&mut session, &mut out) == Next::Body {
                    session.segments(&message.content).for_each(drop);
                    session.end_body(&mut out);
                }
                if random(&mut dice).is_multiple_of(10) {
                    let _ = session.reset(&mut out);
                }
                if random(&mut dice).is_multiple_of(20) {
                    let _ = session.quit(&mut out);
                }
                let mut input = unread.as_slice();
                let event = session.receive(now, &mut input, &mut out);
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
