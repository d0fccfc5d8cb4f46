//! A caller of `client::Session` as it is meant to be, over messages made by dice: it sends them
//! all, pipelines where it may, and notes what it believes of each. No peer lives here.

use crate::client_dice::random;
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{
    BodyKind, Config, Envelope, Event, Fate, Next, Other, Recipient, Session,
};
use mailrail_protocol::command::{Notify, Return, parse};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::sasl::Mechanism;
use mailrail_protocol::time::Instant;

/// A message that a peer took: its sender, its recipients, its content.
pub(crate) type Taken = (String, Vec<String>, Vec<u8>);

/// A message to send, and what the events have said of it.
pub(crate) struct Message {
    from: String,
    to: Vec<String>,
    pub(crate) content: Vec<u8>,
    size_known: bool,
    eight_bit: bool,
    leading_dots: bool,
    wishes: bool,
    /// Answers to recipients: taken or not.
    answers: Vec<bool>,
    /// In LMTP, of those that were taken: delivered or not.
    delivered: Vec<bool>,
    /// From here on the recipients were left over.
    left_over: Option<usize>,
}

impl Message {
    pub(crate) fn new(n: usize, dice: &mut u64) -> Self {
        let line_count = random(dice) % 6;
        let mut content = Vec::new();
        for _ in 0..line_count {
            let line = [
                "",
                ".",
                "..",
                "text",
                ".text",
                "a longer line of text.",
                "gr\u{fc}n",
            ];
            let line = line[random(dice) as usize % line.len()];
            content.extend(line.bytes().chain(*b"\r\n"));
        }
        if random(dice).is_multiple_of(8) {
            content = content.repeat(200);
        }
        if random(dice).is_multiple_of(4) {
            content.extend(b"no line end");
        }
        let dots = content.starts_with(b".") || content.windows(3).any(|three| three == b"\r\n.");
        Self {
            from: format!("{n}@a.example"),
            to: (0..1 + random(dice) % 4)
                .map(|to| format!("{to}@{}.example", random(dice) % 3))
                .collect(),
            size_known: !random(dice).is_multiple_of(4),
            eight_bit: !content.is_ascii(),
            leading_dots: dots || random(dice).is_multiple_of(2),
            content,
            wishes: random(dice).is_multiple_of(2),
            answers: Vec::new(),
            delivered: Vec::new(),
            left_over: None,
        }
    }

    pub(crate) fn write(&self, session: &mut Session<'_>, out: &mut Vec<u8>) -> Next {
        let mailbox = |text| Mailbox::parse(text, Charset::Ascii).expect("a mailbox");
        let recipients: Vec<_> = self
            .to
            .iter()
            .map(|to| {
                let mut to = Recipient::new(ForwardPath::Mailbox(mailbox(to.as_bytes())));
                to.notify = self.wishes.then_some(Notify::FAILURE.with(Notify::DELAY));
                to
            })
            .collect();
        let from = ReversePath::Mailbox(mailbox(self.from.as_bytes()));
        let mut envelope = Envelope::new(from, &recipients);
        envelope.mail.size = self.size_known.then_some(self.content.len() as u64);
        envelope.leading_dots = self.leading_dots;
        envelope.mail.return_ = self.wishes.then_some(Return::Headers);
        if self.eight_bit {
            envelope.mail.body = Some(BodyKind::EightBitMime);
        }
        session.write(&envelope, out)
    }

    /// What is believed if nothing more comes: nobody has it, or those of LMTP.
    fn as_delivered(&self) -> Belief {
        if self.delivered.contains(&true) {
            Belief::Taken
        } else {
            Belief::NotTaken
        }
    }

    /// What a peer must have that took it and says that this is the content.
    fn as_taken(&self, content: &[u8]) -> Taken {
        let taken = self.to.iter().zip(&self.answers);
        let taken = taken.filter(|(_, taken)| **taken).map(|(to, _)| to);
        // Without LMTP one answer holds for all.
        let all = [self.delivered.is_empty()];
        let delivered = self.delivered.iter().chain(all.iter().cycle());
        let to = taken.zip(delivered).filter(|(_, delivered)| **delivered);
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

/// What the caller believes in the end.
#[derive(Debug, PartialEq)]
pub(crate) enum Belief {
    Taken,
    NotTaken,
    Unknown,
}

pub(crate) struct Caller<'c> {
    session: Session<'c>,
    dice: u64,
    messages: Vec<Message>,
    beliefs: Vec<Belief>,
    /// Messages from `beliefs.len()` up to here are open.
    begun: usize,
    /// Octets of the newest message's content that went in chunks of ours.
    sent_len: usize,
    unread: Vec<u8>,
    /// On its way to the peer.
    pub(crate) out: Vec<u8>,
    quit: bool,
    /// AUTH, or a question, waits for its answer.
    asking: bool,
    asked_count: usize,
    /// The connection has ended, by QUIT's answer or by a refusal.
    pub(crate) ended: bool,
}

impl<'c> Caller<'c> {
    pub(crate) fn new(config: &'c Config, message_count: usize, mut dice: u64) -> Self {
        Self {
            session: Session::new(config, Instant::from_micros(0)),
            messages: (0..message_count)
                .map(|n| Message::new(n, &mut dice))
                .collect(),
            dice,
            beliefs: Vec::new(),
            begun: 0,
            sent_len: 0,
            unread: Vec::new(),
            out: Vec::new(),
            quit: false,
            asking: false,
            asked_count: 0,
            ended: false,
        }
    }

    fn dice(&mut self, sides: u64) -> u64 {
        random(&mut self.dice) % sides
    }

    /// Takes in what has come, and goes on until more is needed.
    pub(crate) fn receive(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.unread.extend(bytes);
        while !self.ended {
            self.write();
            let mut input = self.unread.as_slice();
            let event = self
                .session
                .receive(Instant::from_micros(0), &mut input, &mut self.out);
            let used = self.unread.len() - input.len();
            let open = self.beliefs.len();
            match event {
                Event::NeedInput => return,
                Event::Answered | Event::SendBody | Event::Ready(_) => {}
                Event::Challenge(_) if random(&mut self.dice).is_multiple_of(4) => {
                    self.session.cancel_auth(&mut self.out)
                }
                Event::Challenge(_) => {
                    let response = vec![b'x'; random(&mut self.dice) as usize % 9];
                    self.session.respond(&response, &mut self.out);
                }
                Event::Authenticated(_) | Event::AuthRefused(_) | Event::Other(_) => {
                    assert!(self.asking, "nothing was asked");
                    self.asking = false;
                }
                Event::LeftOver(n) => {
                    let message = &mut self.messages[open];
                    assert!(message.answers.is_empty(), "it comes first");
                    assert_eq!(message.left_over, None, "it comes once");
                    assert!(usize::from(n) < message.to.len());
                    message.left_over = Some(usize::from(n));
                }
                Event::Delivered(n, answer) => {
                    let message = &mut self.messages[open];
                    assert_eq!(usize::from(n), message.delivered.len());
                    message.delivered.push(answer.is_positive());
                }
                Event::Mail(answer) => {
                    assert!(self.messages[open].answers.is_empty());
                    assert!(answer.code.get() == 250 || !answer.is_positive());
                }
                Event::Recipient(n, answer) => {
                    let message = &mut self.messages[open];
                    assert_eq!(usize::from(n), message.answers.len());
                    assert!(message.left_over.is_none_or(|from| usize::from(n) < from));
                    message.answers.push(answer.is_positive());
                }
                Event::Sent(answer) => self.beliefs.push(if answer.is_positive() {
                    Belief::Taken
                } else {
                    Belief::NotTaken
                }),
                Event::Over => {
                    let message = &self.messages[open];
                    let taken = message.answers.iter().filter(|taken| **taken).count();
                    assert_eq!(taken, message.delivered.len(), "an answer was lost");
                    self.beliefs.push(message.as_delivered());
                }
                Event::Unsendable(_) => self.beliefs.push(Belief::NotTaken),
                Event::Close(_) => self.ended = true,
                other => panic!("this peer does nothing wrong: {other:?}"),
            }
            self.unread.drain(..used);
            assert!(
                self.beliefs.len() <= self.begun,
                "more ends than transactions"
            );
            let nothing_open = self.begun == self.beliefs.len();
            if !nothing_open || self.asking {
                continue;
            }
            if self.dice(5) == 0 {
                assert!(self.session.reset(&mut self.out), "nothing is open");
            }
            if self.session.can_ask() && self.asked_count < 8 && self.dice(3) == 0 {
                self.ask();
            } else if self.session.can_begin() && self.begun < self.messages.len() {
                self.session.begin();
                self.begun += 1;
                self.sent_len = 0;
            } else if (self.begun == self.messages.len() || self.session.is_used_up()) && !self.quit
            {
                self.quit = self.session.quit(&mut self.out);
            }
        }
    }

    /// AUTH, if it is offered, or any other command.
    fn ask(&mut self) {
        self.asked_count += 1;
        self.asking = true;
        let offers = self.session.extensions();
        let may_auth = offers.mechanisms().has(Mechanism::Plain);
        if may_auth && !self.session.is_authenticated() && self.dice(2) == 0 {
            let initial = vec![b'x'; self.dice(500) as usize];
            let initial = (self.dice(3) > 0).then_some(initial.as_slice());
            let fits = self.session.auth(Mechanism::Plain, initial, &mut self.out);
            assert_eq!(fits, initial.is_none_or(|initial| initial.len() <= 372));
            return;
        }
        let line = ["XCLIENT NAME=c.example", "XFORWARD NAME=c.example"];
        let line = match self.dice(4) {
            0 if offers.has(Extension::XClient) => line[0],
            1 if offers.has(Extension::XForward) => line[1],
            2 => "VRFY somebody",
            _ => return self.session.ask(&Other::Noop, &mut self.out),
        };
        let (verb, argument) = parse::verb(line.as_bytes()).expect("a verb");
        let other = parse::other(verb, argument).expect("a command");
        self.session.ask(&other, &mut self.out);
    }

    /// All that may be written now, contents included.
    fn write(&mut self) {
        while let Some(newest) = self.begun.checked_sub(1) {
            match self.messages[newest].write(&mut self.session, &mut self.out) {
                Next::Wait => return,
                Next::Chunk => {
                    self.chunk(newest);
                    continue;
                }
                Next::Body => {}
            }
            let content = self.messages[newest].content.clone();
            let mut rest = content.as_slice();
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at(1 + self.dice(rest.len() as u64) as usize);
                self.session
                    .segments(chunk)
                    .for_each(|piece| self.out.extend_from_slice(piece));
                rest = behind;
            }
            self.session.end_body(&mut self.out);
            self.begin_behind();
        }
    }

    /// A chunk of a length of ours.
    fn chunk(&mut self, newest: usize) {
        let content = &self.messages[newest].content;
        let rest = content.len() - self.sent_len;
        let len = random(&mut self.dice) as usize % (rest + 1);
        let piece = &content[self.sent_len..self.sent_len + len];
        let last = len == rest && random(&mut self.dice).is_multiple_of(2);
        self.session.chunk(len as u64, last, &mut self.out);
        let pieces = self.session.segments(piece);
        pieces.for_each(|piece| self.out.extend_from_slice(piece));
        self.sent_len += len;
        if last {
            self.begin_behind();
        }
    }

    /// The next transaction, behind the content of this one.
    fn begin_behind(&mut self) {
        if self.dice(2) == 0 && self.begun < self.messages.len() && self.session.can_begin() {
            self.session.begin();
            self.begun += 1;
            self.sent_len = 0;
        }
    }

    /// The connection has ended. Compares what is believed with what the peer took, in its order.
    pub(crate) fn compare(&mut self, taken: &[Taken]) {
        for fate in self.session.fates().into_iter().flatten() {
            let message = &self.messages[self.beliefs.len()];
            self.beliefs.push(match fate {
                // In LMTP, apart from those that were told of.
                Fate::Unsent | Fate::Answered => message.as_delivered(),
                Fate::InDoubt => Belief::Unknown,
            });
        }
        assert_eq!(
            self.beliefs.len(),
            self.begun,
            "every transaction ends, by event or by fate"
        );
        let beliefs = &self.beliefs;
        let known = |from: &str| {
            let n: usize = from.split('@').next().unwrap().parse().unwrap();
            beliefs[n] != Belief::Unknown
        };
        let mut taken = taken.iter().filter(|(from, ..)| known(from));
        for (message, belief) in self.messages.iter().zip(beliefs) {
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
    }

    /// How many messages the caller is sure of, and how many there are, or could be on this connection.
    pub(crate) fn settled(&self) -> (usize, usize) {
        let all = if self.session.is_used_up() {
            self.begun
        } else {
            self.messages.len()
        };
        let sure = self
            .beliefs
            .iter()
            .filter(|belief| **belief != Belief::Unknown)
            .count();
        (sure, all)
    }
}
