//! A caller of `client::Session` as it is meant to be, over messages made by dice: it sends them
//! all, pipelines where it may, and notes what it believes of each. No peer lives here.

use crate::client_dice::random;
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{
    BodyKind, Config, Envelope, Event, Fate, Next, Recipient, Session,
};
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
    /// Answers to recipients: taken or not.
    answers: Vec<bool>,
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
            to: (0..1 + random(dice) % 3)
                .map(|to| format!("{to}@b.example"))
                .collect(),
            size_known: !random(dice).is_multiple_of(4),
            eight_bit: !content.is_ascii(),
            leading_dots: dots || random(dice).is_multiple_of(2),
            content,
            answers: Vec::new(),
        }
    }

    pub(crate) fn write(&self, session: &mut Session<'_>, out: &mut Vec<u8>) -> Next {
        let mailbox = |text| Mailbox::parse(text, Charset::Ascii).expect("a mailbox");
        let recipients: Vec<_> = self
            .to
            .iter()
            .map(|to| Recipient::new(ForwardPath::Mailbox(mailbox(to.as_bytes()))))
            .collect();
        let from = ReversePath::Mailbox(mailbox(self.from.as_bytes()));
        let mut envelope = Envelope::new(from, &recipients);
        envelope.mail.size = self.size_known.then_some(self.content.len() as u64);
        envelope.leading_dots = self.leading_dots;
        if self.eight_bit {
            envelope.mail.body = Some(BodyKind::EightBitMime);
        }
        session.write(&envelope, out)
    }

    /// What a peer must have that took it and says that this is the content.
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
    unread: Vec<u8>,
    /// On its way to the peer.
    pub(crate) out: Vec<u8>,
    quit: bool,
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
            unread: Vec::new(),
            out: Vec::new(),
            quit: false,
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
                Event::Mail(answer) => {
                    assert!(self.messages[open].answers.is_empty());
                    assert!(answer.code.get() == 250 || !answer.is_positive());
                }
                Event::Recipient(n, answer) => {
                    assert_eq!(usize::from(n), self.messages[open].answers.len());
                    self.messages[open].answers.push(answer.is_positive());
                }
                Event::Sent(answer) => self.beliefs.push(if answer.is_positive() {
                    Belief::Taken
                } else {
                    Belief::NotTaken
                }),
                Event::Over => {
                    assert!(
                        !self.messages[open].answers.contains(&true),
                        "an answer was lost"
                    );
                    self.beliefs.push(Belief::NotTaken);
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
            if self.session.can_begin() && self.begun < self.messages.len() && nothing_open {
                self.session.begin();
                self.begun += 1;
            } else if self.begun == self.messages.len() && nothing_open && !self.quit {
                self.quit = self.session.quit(&mut self.out);
            }
        }
    }

    /// All that may be written now, contents included.
    fn write(&mut self) {
        while let Some(newest) = self.begun.checked_sub(1)
            && self.messages[newest].write(&mut self.session, &mut self.out) == Next::Body
        {
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
            if self.dice(2) == 0 && self.begun < self.messages.len() && self.session.can_begin() {
                self.session.begin();
                self.begun += 1;
            }
        }
    }

    /// The connection has ended. Compares what is believed with what the peer took, in its order.
    pub(crate) fn compare(&mut self, taken: &[Taken]) {
        for fate in self.session.fates().into_iter().flatten() {
            self.beliefs.push(match fate {
                Fate::Unsent | Fate::Answered => Belief::NotTaken,
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

    /// How many messages the caller is sure of, and how many there are.
    pub(crate) fn settled(&self) -> (usize, usize) {
        let sure = self
            .beliefs
            .iter()
            .filter(|belief| **belief != Belief::Unknown)
            .count();
        (sure, self.messages.len())
    }
}
