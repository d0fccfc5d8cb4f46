//! A caller of `client::Session` as it is meant to be: it sends its letters one after the other,
//! pipelines where it may, and notes what each event said. No peer lives here.

use super::letter::{Letter, Peer};
use super::login::Login;
use super::pipe::Pipe;
use super::tape::Tape;
use mailrail_protocol::client::{
    Answer, Event, Fate, Next, Other, Recipient, Session, Unsendable, Violation,
};
use mailrail_protocol::command::{Attribute, Attributes, Etrn, Value};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::time::Instant;

/// The most that `write` appends in one call: what the window holds, and the dot or QUIT behind it.
const WRITTEN_LEN_MAX: usize = 8 * 1024 + 4096;

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// By one answer for all.
    Sent(bool),
    Over,
    Unsendable(Unsendable),
    /// By the end of the connection.
    Fate(Fate),
}

/// What the events have said of one letter.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) peer: Peer,
    pub(crate) sender: Option<bool>,
    /// For each recipient in turn whether it was taken.
    pub(crate) answers: Vec<bool>,
    /// LMTP: for each that was taken whether the message was.
    pub(crate) delivered: Vec<bool>,
    /// Recipients from here on belong to another transaction.
    pub(crate) left_over: Option<usize>,
    pub(crate) ending: Option<Ending>,
    /// The caller has given it up.
    pub(crate) given_up: bool,
}

pub(crate) struct Giver<'c> {
    pub(crate) session: Session<'c>,
    letters: &'c [Letter],
    pub(crate) accounts: Vec<Account>,
    /// How many have ended: the next event is about the one behind them.
    over: usize,
    /// The content of the newest is due.
    sending: bool,
    /// How much of it was sent.
    sent: usize,
    /// The newest one's.
    recipients: Vec<Recipient<'c>>,
    unread: Pipe,
    pub(crate) out: Vec<u8>,
    quit: bool,
    tls_asked: bool,
    login: Option<Login>,
    login_count: usize,
    /// Commands outside of transactions, as they were written.
    pub(crate) questions: Vec<Vec<u8>>,
    pub(crate) answered: usize,
    /// Waits for the handshake.
    pub(crate) shakes_hands: bool,
    /// The connection is over, for this side.
    pub(crate) ended: bool,
    pub(crate) violation: Option<Violation>,
}

impl<'c> Giver<'c> {
    pub(crate) fn new(session: Session<'c>, letters: &'c [Letter]) -> Self {
        Self {
            session,
            letters,
            accounts: Vec::new(),
            over: 0,
            sending: false,
            sent: 0,
            recipients: Vec::new(),
            unread: Pipe::default(),
            out: Vec::new(),
            quit: false,
            tls_asked: false,
            login: None,
            login_count: 0,
            questions: Vec::new(),
            answered: 0,
            shakes_hands: false,
            ended: false,
            violation: None,
        }
    }

    pub(crate) fn take(&mut self, octets: &[u8]) {
        self.unread.put(octets);
    }

    /// Sends what is due, and reads at most one answer. False if nothing was left to do.
    pub(crate) fn step(&mut self, now: Instant, tape: &mut Tape<'_>) -> bool {
        if self.ended || self.shakes_hands {
            return false;
        }
        let before = (self.out.len(), self.sending, self.sent);
        self.write(tape);
        let wrote = (self.out.len(), self.sending, self.sent) != before;
        self.receive(now, tape) || wrote
    }

    fn write(&mut self, tape: &mut Tape<'_>) {
        let Some(newest) = self.accounts.len().checked_sub(1) else {
            return;
        };
        if !self.sending && newest >= self.over {
            let before = self.out.len();
            let envelope = self.letters[newest].envelope(&self.recipients);
            let next = self.session.write(&envelope, &mut self.out);
            let len = self.out.len();
            assert!(len - before <= WRITTEN_LEN_MAX, "the window has a bound");
            match next {
                Next::Wait => {
                    let again = self.session.write(&envelope, &mut self.out);
                    assert_eq!((again, self.out.len()), (next, len), "twice is once");
                }
                Next::Body => self.sending = true,
                Next::Chunk => self.send_chunk(newest, tape),
            }
        }
        if self.sending {
            self.send(newest, tape);
        }
    }

    /// One chunk of this side's own choice.
    fn send_chunk(&mut self, newest: usize, tape: &mut Tape<'_>) {
        let rest = &self.letters[newest].content[self.sent..];
        let len = if tape.rarely() {
            0
        } else {
            tape.len(rest.len()).min(rest.len())
        };
        let last = len == rest.len() && tape.choice(4) != 3;
        self.session.chunk(len as u64, last, &mut self.out);
        for piece in self.session.segments(&rest[..len]) {
            self.out.extend_from_slice(piece);
        }
        self.sent += len;
    }

    /// One piece of the content, or its end.
    fn send(&mut self, newest: usize, tape: &mut Tape<'_>) {
        let rest = &self.letters[newest].content[self.sent..];
        if rest.is_empty() {
            self.session.end_body(&mut self.out);
            self.sending = false;
            return;
        }
        let len = tape.len(rest.len());
        let before = self.out.len();
        for piece in self.session.segments(&rest[..len]) {
            assert!(!piece.is_empty());
            self.out.extend_from_slice(piece);
        }
        assert!(self.out.len() - before >= len);
        self.sent += len;
    }

    fn receive(&mut self, now: Instant, tape: &mut Tape<'_>) -> bool {
        let unread = std::mem::take(&mut self.unread);
        let mut input = unread.rest();
        let event = self.session.receive(now, &mut input, &mut self.out);
        let waits = event == Event::NeedInput;
        if waits {
            assert!(
                self.session.deadline().is_some() || self.may_rest(),
                "a wait has an end"
            );
        }
        self.note(event, tape);
        let used = unread.rest().len() - input.len();
        self.unread = unread;
        self.unread.take(used);
        if self.ended || self.shakes_hands || self.sending {
            return !waits;
        }
        self.go_on(tape) || !waits
    }

    /// Nothing is asked of the peer.
    fn may_rest(&self) -> bool {
        self.sending || self.over == self.accounts.len()
    }

    fn account(&mut self) -> &mut Account {
        &mut self.accounts[self.over]
    }

    fn note(&mut self, event: Event<'_>, tape: &mut Tape<'_>) {
        match event {
            Event::NeedInput | Event::Answered | Event::SendBody | Event::TlsRefused(_) => {}
            Event::Challenge(challenge) => {
                let login = self.login.as_mut().expect("AUTH is under way");
                match login.respond(challenge, tape) {
                    Some(response) => self.session.respond(response, &mut self.out),
                    None => self.session.cancel_auth(&mut self.out),
                }
            }
            Event::Authenticated(_) => {
                let login = self.login.take().expect("AUTH is under way");
                assert!(login.is_right(), "the wrong password was taken");
            }
            Event::AuthRefused(_) => self.login = None,
            Event::Other(_) => {
                self.answered += 1;
                assert!(self.answered <= self.questions.len(), "nothing was asked");
            }
            Event::Ready(offered) => assert_eq!(offered, self.session.extensions()),
            Event::Handshake => self.shakes_hands = true,
            Event::Mail(answer) => {
                let account = self.account();
                assert_eq!(account.sender, None, "a sender is answered for once");
                account.sender = Some(answer.is_positive());
            }
            Event::Recipient(n, answer) => {
                let account = self.account();
                assert_eq!(account.answers.len(), usize::from(n), "in their order");
                account.answers.push(answer.is_positive());
            }
            Event::Delivered(n, answer) => {
                let account = self.account();
                assert_eq!(account.delivered.len(), usize::from(n), "in their order");
                account.delivered.push(answer.is_positive());
            }
            Event::LeftOver(from) => {
                let account = self.account();
                assert_eq!((account.sender, account.left_over), (None, None));
                account.left_over = Some(usize::from(from));
            }
            Event::Sent(answer) => self.sent(answer),
            Event::Over => self.end(Ending::Over),
            Event::Unsendable(reason) => self.end(Ending::Unsendable(reason)),
            Event::Refused(answer) => {
                assert!(!answer.is_positive());
                self.sent(answer);
                self.ended = true;
            }
            Event::Close(_) => self.ended = true,
            Event::Broken(violation, _) => {
                self.violation = Some(violation);
                self.ended = true;
            }
            other => panic!("nothing of the kind was asked for: {other:?}"),
        }
    }

    fn sent(&mut self, answer: Answer<'_>) {
        assert!(!answer.code.is_intermediate());
        self.end(Ending::Sent(answer.is_positive()));
    }

    fn end(&mut self, ending: Ending) {
        let account = self.accounts.get_mut(self.over).expect("one that began");
        assert_eq!(account.ending, None);
        account.ending = Some(ending);
        self.over += 1;
        if self.over == self.accounts.len() {
            self.sending = false;
        }
    }

    /// What the caller does of its own will. True if it did something.
    fn go_on(&mut self, tape: &mut Tape<'_>) -> bool {
        let open = self.over < self.accounts.len();
        if open && tape.hardly_ever() {
            let newest = self.accounts.last_mut().expect("one is open");
            newest.given_up |= self.session.reset(&mut self.out);
            return true;
        }
        if !open && self.session.can_ask() && self.ask(tape) {
            return true;
        }
        let nothing_more = self.accounts.len() == self.letters.len() || self.session.is_used_up();
        if nothing_more {
            return (!open || tape.choice(2) == 1) && self.leave();
        }
        if !self.session.can_begin() || (open && tape.choice(3) == 2) {
            return false;
        }
        self.session.begin();
        self.recipients = self.letters[self.accounts.len()].recipients();
        self.sent = 0;
        self.accounts.push(Account {
            peer: Peer {
                offered: self.session.extensions(),
                encrypted: self.session.is_encrypted(),
            },
            ..Account::default()
        });
        true
    }

    /// True if something was asked that belongs to no transaction.
    fn ask(&mut self, tape: &mut Tape<'_>) -> bool {
        let offered = self.session.extensions();
        let quiet = self.session.deadline().is_none();
        if quiet && !self.tls_asked && offered.has(Extension::StartTls) {
            self.tls_asked = true;
            if !self.session.is_encrypted() && tape.choice(2) == 1 {
                self.session.start_tls(&mut self.out);
                return true;
            }
        }
        // A server that has seen too many of them fail hangs up.
        if !self.session.is_authenticated()
            && self.login_count < 5
            && tape.choice(4) == 3
            && let Some(login) = Login::new(offered.mechanisms(), tape)
        {
            let initial = login.initial();
            self.session.auth(login.mechanism(), initial, &mut self.out);
            self.login = Some(login);
            self.login_count += 1;
            return true;
        }
        // Likewise one that has answered too many with 500.
        self.questions.len() < 8 && tape.rarely() && self.question(tape)
    }

    fn question(&mut self, tape: &mut Tape<'_>) -> bool {
        let offered = self.session.extensions();
        let mut text = String::new();
        let name = (Attribute::Name, Value::Known(&b"a name"[..]));
        let address = (Attribute::Address, Value::Unavailable);
        let question = match tape.choice(8) {
            0 => Other::Noop,
            1 => Other::Verify("user"),
            2 => Other::Expand("list"),
            3 => Other::Help(["", "MAIL"][tape.choice(2)]),
            4 if offered.has(Extension::Etrn) => Other::Etrn(Etrn::Subdomains("a.example")),
            5 if offered.has(Extension::XClient) => {
                Other::XClient(Attributes::encode([name, address], &mut text).expect("two pairs"))
            }
            6 if offered.has(Extension::XForward) => {
                Other::XForward(Attributes::encode([name], &mut text).expect("a pair"))
            }
            _ => Other::Private("XPRIVATE command"),
        };
        let before = self.out.len();
        self.session.ask(&question, &mut self.out);
        self.questions.push(self.out[before..].to_vec());
        true
    }

    /// True if QUIT was sent just now.
    fn leave(&mut self) -> bool {
        let before = self.quit;
        self.quit = self.session.quit(&mut self.out);
        self.quit != before
    }

    /// Both sides have shaken hands.
    pub(crate) fn tls_established(&mut self) {
        assert!(self.out.is_empty(), "nothing is sent behind STARTTLS");
        self.shakes_hands = false;
        self.session.tls_established(&mut self.out);
    }

    /// The connection has ended: what is left has its fate.
    pub(crate) fn settle(&mut self) {
        let fates = self.session.fates();
        assert!(fates[0].is_some() || fates[1].is_none(), "oldest first");
        for fate in fates.into_iter().flatten() {
            self.end(Ending::Fate(fate));
        }
        assert_eq!(self.over, self.accounts.len(), "each has one end");
    }
}
