//! The client against a peer that is as simple as can be and answers as the dice say: whatever it
//! says, the client must keep to the order of commands, and both must agree on what was taken.

mod client_caller;
mod client_dice;

use client_caller::{Caller, Message, Taken};
use client_dice::random;
use mailrail_protocol::client::{Config, Event, Next, Session};
use mailrail_protocol::time::Instant;
use proptest::prelude::*;

/// More steps than any dialogue needs: one that is not over by then hangs.
const PATIENT: usize = 200_000;

/// What comes next from the client.
enum Expect {
    Line,
    Content,
    Chunk(usize),
}

/// Random verdicts; apart from that, the standard to the letter, and no leniency at all.
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
    let mut caller = Caller::new(&config, 6, setting.seed);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn both_agree(
        seed: u64,
        refusals in prop_oneof![Just(1u64), 2u64..6, Just(u64::MAX)],
        pipelining: bool,
        chunking: bool,
        knows_ehlo in proptest::bool::weighted(0.9),
        at_once_max in prop_oneof![Just(0u64), 0u64..60, Just(1000)],
        patience in prop_oneof![0usize..200, Just(PATIENT)],
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
