//! A caller of `server::Session` that answers as it is told, and notes what it took. No peer lives
//! here.

use super::login::{Door, Opened};
use super::pipe::Pipe;
use super::tape::Tape;
use mailrail_protocol::limits::REPLY_LEN_MAX;
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::{Event, Expects, Other, Session, Tls, Turn};
use mailrail_protocol::time::Instant;

/// A transaction whose sender was taken.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The line of MAIL that says the same.
    pub(crate) mail: Vec<u8>,
    /// The line of RCPT, and whether it was taken.
    pub(crate) recipients: Vec<(Vec<u8>, bool)>,
    pub(crate) content: Vec<u8>,
    pub(crate) by_data: bool,
    /// Whether the message was taken, for each recipient that was.
    pub(crate) taken: Vec<bool>,
}

impl Entry {
    pub(crate) fn recipient_count(&self) -> usize {
        self.recipients.iter().filter(|(_, taken)| *taken).count()
    }
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Asked {
    Greeting,
    Hello,
    Other,
    Recipient,
}

pub(crate) struct Taker<'c> {
    pub(crate) session: Session<'c>,
    lmtp: bool,
    /// Not everything is answered with yes.
    refuses: bool,
    /// Something was refused, given up, or ended of this side's own will.
    pub(crate) has_refused: bool,
    unread: Pipe,
    pub(crate) out: Vec<u8>,
    door: Option<Door>,
    open: Option<Entry>,
    pub(crate) entries: Vec<Entry>,
    /// Commands outside of transactions, as they could be written.
    pub(crate) questions: Vec<Vec<u8>>,
    pub(crate) shakes_hands: bool,
    /// The last word is said.
    pub(crate) closed: bool,
}

const REFUSALS: [Reply<'static>; 6] = [
    Reply::LOCAL_ERROR,
    Reply::NO_SUCH_USER,
    Reply::RELAY_DENIED,
    Reply::STORAGE_FULL,
    Reply::NO_MAIL_HERE,
    Reply::SHUTTING_DOWN,
];

impl<'c> Taker<'c> {
    pub(crate) fn new(session: Session<'c>, lmtp: bool, refuses: bool) -> Self {
        Self {
            session,
            lmtp,
            refuses,
            has_refused: false,
            unread: Pipe::default(),
            out: Vec::new(),
            door: None,
            open: None,
            entries: Vec::new(),
            questions: Vec::new(),
            shakes_hands: false,
            closed: false,
        }
    }

    pub(crate) fn take(&mut self, octets: &[u8]) {
        self.unread.put(octets);
    }

    /// Takes one event, and answers it. False if nothing was left to do.
    pub(crate) fn step(&mut self, now: Instant, tape: &mut Tape<'_>) -> bool {
        if self.closed {
            return false;
        }
        if self.refuses && tape.hardly_ever() {
            self.session.shut_down();
            self.has_refused = true;
        }
        let unread = std::mem::take(&mut self.unread);
        let mut input = unread.rest();
        let before = self.out.len();
        let event = self.session.receive(now, &mut input, &mut self.out);
        let more = event != Event::NeedInput && event != Event::Handshake;
        if !more {
            assert!(self.session.deadline().is_some(), "a wait has an end");
        }
        self.handle(event, tape);
        let len = self.out.len() - before;
        assert!(len <= REPLY_LEN_MAX, "one step, one reply");
        let used = unread.rest().len() - input.len();
        self.unread = unread;
        self.unread.take(used);
        more && !self.closed
    }

    fn handle(&mut self, event: Event<'_>, tape: &mut Tape<'_>) {
        match event {
            Event::NeedInput | Event::Answered(..) => {}
            Event::Connected(turn) => {
                self.answer(turn, Asked::Greeting, Reply::GREETING, tape);
            }
            Event::Hello(hello, turn) => {
                assert_eq!(hello.name, "a.example");
                self.answer(turn, Asked::Hello, Reply::HELLO, tape);
            }
            Event::StartTls(turn) => {
                self.answer(turn, Asked::Other, Reply::START_TLS, tape);
            }
            Event::Handshake => self.shakes_hands = true,
            Event::Mail(mail, turn) => {
                assert!(self.open.is_none(), "a transaction inside another one");
                let mut entry = Entry::default();
                mail.write(&mut entry.mail);
                if self.answer(turn, Asked::Other, Reply::SENDER_OK, tape) {
                    self.open = Some(entry);
                }
            }
            Event::Recipient(recipient, turn) => {
                let mut line = Vec::new();
                recipient.write(&mut line);
                let taken = self.answer(turn, Asked::Recipient, Reply::RECIPIENT_OK, tape);
                self.entry().recipients.push((line, taken));
            }
            Event::Data(turn) => {
                assert!(self.entry().recipient_count() > 0, "somebody must have it");
                let before = self.out.len();
                if self.answer(turn, Asked::Other, Reply::START_DATA, tape) {
                    let by_data = self.out.len() > before;
                    self.entry().by_data = by_data;
                } else {
                    self.close_entry();
                }
            }
            Event::Body(bytes) => {
                self.entry().content.extend_from_slice(bytes);
                let in_body = matches!(self.session.expects(), Expects::Body { .. });
                if in_body && self.refuses && tape.hardly_ever() {
                    self.session.abort(&Reply::STORAGE_FULL);
                    self.has_refused = true;
                    self.close_entry();
                }
            }
            Event::EndOfData(turn) => {
                assert!(!self.lmtp, "LMTP answers for each recipient");
                let taken = self.answer(turn, Asked::Other, Reply::QUEUED, tape);
                let entry = self.entry();
                entry.taken = vec![taken; entry.recipient_count()];
                self.close_entry();
            }
            Event::EndOfDataFor(n, turn) => {
                assert!(self.lmtp, "SMTP answers once");
                assert_eq!(self.entry().taken.len(), n as usize, "in their order");
                let taken = self.answer(turn, Asked::Other, Reply::QUEUED, tape);
                let entry = self.entry();
                entry.taken.push(taken);
                if entry.taken.len() == entry.recipient_count() {
                    self.close_entry();
                }
            }
            Event::Reset => self.close_entry(),
            Event::Close => self.closed = true,
            Event::Auth(auth, turn) => {
                self.door = Some(Door::new(auth.mechanism));
                self.open_door(turn, auth.initial, tape);
            }
            Event::Sasl(response, turn) => self.open_door(turn, Some(response), tape),
            Event::Other(other, turn) => {
                let mut line = Vec::new();
                other.write(&mut line);
                self.questions.push(line);
                let yes = match other {
                    Other::XClient(_) => Reply::GREETING,
                    Other::XForward(_) | Other::Etrn(_) | Other::Expand(_) => Reply::OK,
                    other => other.default_reply(),
                };
                self.answer(turn, Asked::Other, yes, tape);
            }
        }
    }

    fn open_door(&mut self, turn: Turn, response: Option<&[u8]>, tape: &mut Tape<'_>) {
        let door = self.door.as_mut().expect("AUTH is under way");
        match door.receive(response) {
            Opened::Challenge(octets) => self.session.challenge(turn, &octets, &mut self.out),
            Opened::Reply(reply) => {
                self.door = None;
                self.has_refused |= !reply.is_positive();
                self.answer(turn, Asked::Other, *reply, tape);
            }
        }
    }

    fn entry(&mut self) -> &mut Entry {
        self.open.as_mut().expect("a transaction is open")
    }

    fn close_entry(&mut self) {
        self.entries.extend(self.open.take());
    }

    /// Says yes, or sometimes no. True for yes.
    fn answer(
        &mut self,
        turn: Turn,
        asked: Asked,
        yes: Reply<'static>,
        tape: &mut Tape<'_>,
    ) -> bool {
        assert_eq!(self.session.deadline(), None, "the turn is this side's");
        let often = asked == Asked::Recipient && self.refuses && tape.choice(4) == 3;
        let reply = if often || (self.refuses && tape.rarely()) {
            self.has_refused = true;
            REFUSALS[tape.choice(if often { 5 } else { 6 })]
        } else {
            yes
        };
        self.session.reply(turn, &reply, &mut self.out);
        reply.is_positive()
    }

    /// Both sides have shaken hands.
    pub(crate) fn tls_established(&mut self, tls: Tls) {
        assert!(self.out.is_empty(), "nothing is sent behind the answer");
        self.shakes_hands = false;
        self.session.tls_established(tls);
    }

    /// The connection has ended.
    pub(crate) fn settle(&mut self) {
        self.close_entry();
    }
}
