//! The state of a session, and the only file that changes it.
//!
//! ```text
//!  Connecting ──220──► Greeted ──EHLO──► Idle ──MAIL──► Envelope ──DATA──► Data ──┐
//!      │554              ▲ TLS            ▲ ▲              │ BDAT                 │ dot
//!      ▼                 │                │ │ RSET, EHLO   ▼                      │
//!   Refused          Handshake            │ └──────────  Chunk ◄──► Chunks        │
//!                                         └────────────────┴── LAST ──────────────┘
//! ```
//! From anywhere: 421 or QUIT to `Closed`. What has to be thrown away on the way (`Swallow`) is
//! kept apart: the phase already says where the dialogue goes on behind it.

use super::{Config, Event, Expects, Findings, Peer, Turn, Verdict, step};
use crate::body::{Dotted, Scan};
use crate::command::parse::{self, Bdat, Refusal};
use crate::command::{Hello, Verb};
use crate::extension::Extension;
use crate::line::{self, Line};
use crate::reply::Reply;
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

/// Where the dialogue stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The greeting is not given yet.
    Connecting,
    /// The greeting sent the peer away: only QUIT is left.
    Refused,
    /// Before EHLO.
    Greeted,
    /// No transaction is open.
    Idle,
    /// Behind MAIL.
    Envelope,
    /// In the body behind DATA.
    Data,
    /// In a chunk behind BDAT.
    Chunk,
    /// Between two chunks of one body.
    Chunks,
    /// Between STARTTLS and the end of the handshake.
    Handshake,
    /// The last word is said.
    Closed,
}

/// What is thrown away before the dialogue goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Swallow {
    /// Nothing.
    Nothing,
    /// The rest of a line.
    Line,
    /// A body up to its dot.
    Data,
    /// The rest of a chunk.
    Chunk,
    /// Nothing more: the refusal is due.
    Answer,
}

/// Whose answer the open turn waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Question {
    Nothing,
    Connected,
    Ehlo,
    Helo,
    StartTls,
    Mail,
    Recipient,
    Other,
    Data,
    FirstChunk,
    EndOfData,
}

/// Why the session ends at the next boundary between commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LastWord {
    Unspoken,
    ShuttingDown,
    TooManyErrors,
}

/// No moment at all.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// One peer's dialogue: about a hundred bytes, no heap, no buffer of its own.
///
/// The caller's input buffer must have room for [`crate::limits::COMMAND_LINE_LEN_MAX`] octets, since an
/// incomplete line stays in it.
#[derive(Debug)]
pub struct Session<'c> {
    config: &'c Config,
    /// What is said when the swallowing ends.
    refusal: Option<Refusal>,
    /// When the peer's time for this step is up; `NEVER` until it is asked to wait.
    deadline: Instant,
    /// When the time for the present body is up; `NEVER` outside one.
    body_until: Instant,
    /// When the connection began or the last message was taken; `NEVER` until the next call after that.
    since: Instant,
    /// Octets of the present chunk that are still to come.
    left: u64,
    /// Octets of the present body.
    len: u64,
    /// Octets thrown away behind the present refusal.
    swallowed: u64,
    scan: Scan,
    recipients: u32,
    commands: u32,
    errors: u32,
    refusals: u32,
    serial: u32,
    /// Octets at the front of the input that are known to hold no line end.
    looked: u16,
    phase: Phase,
    swallow: Swallow,
    open: Question,
    last_word: LastWord,
    /// The present chunk is the last.
    last_chunk: bool,
    /// The body came by BDAT.
    chunked: bool,
    smtputf8: bool,
    tls: bool,
    /// A recipient of this transaction was refused.
    recipient_refused: bool,
    /// A transaction failed, so that what was pipelined behind it is no error of the peer's.
    excused: bool,
}

impl<'c> Session<'c> {
    /// A session whose first event will be [`Event::Connected`].
    #[must_use]
    pub fn new(config: &'c Config, peer: Peer, now: Instant) -> Self {
        Self {
            config,
            refusal: None,
            deadline: NEVER,
            body_until: NEVER,
            since: now,
            left: 0,
            len: 0,
            swallowed: 0,
            scan: Scan::new(),
            recipients: 0,
            commands: 0,
            errors: 0,
            refusals: 0,
            serial: 0,
            looked: 0,
            phase: Phase::Connecting,
            swallow: Swallow::Nothing,
            open: Question::Nothing,
            last_word: LastWord::Unspoken,
            last_chunk: false,
            chunked: false,
            smtputf8: false,
            tls: peer.tls,
            recipient_refused: false,
            excused: false,
        }
    }

    /// Takes at most one command, or one stretch of body, off the front of `input`, and writes at
    /// most one reply.
    ///
    /// # Panics
    /// If the turn of the event before was dropped without a reply.
    pub fn receive<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        assert!(
            self.open == Question::Nothing,
            "a turn was dropped without a reply"
        );
        if self.since == NEVER {
            self.since = now;
        }
        if self.swallow != Swallow::Nothing {
            match self.swallow(now, input, out) {
                Some(event) => return event,
                None => self.swallow = Swallow::Nothing,
            }
        }
        match self.phase {
            Phase::Closed => Event::Close,
            Phase::Connecting => Event::Connected(self.ask(Question::Connected)),
            Phase::Handshake => self.handshake(now, input),
            Phase::Data => self.data(now, input),
            Phase::Chunk => self.chunk(now, input, out),
            Phase::Refused | Phase::Greeted | Phase::Idle | Phase::Envelope | Phase::Chunks => {
                match self.last_word {
                    LastWord::TooManyErrors => self.close(&Reply::TOO_MANY_ERRORS, out),
                    //= RFC 5321 section 3.8: a server that must shut down says 421
                    LastWord::ShuttingDown if self.phase != Phase::Chunks => {
                        self.close(&Reply::SHUTTING_DOWN, out)
                    }
                    _ => self.command(now, input, out),
                }
            }
        }
    }

    /// Answers the open turn. The reply is the verdict: a positive one moves the dialogue on, 421
    /// closes.
    ///
    /// What a verdict of the caller's moves: a refused DATA or end of data ends the transaction, a refused MAIL
    /// begins none, and a refused recipient leaves the others alone.
    ///
    /// # Panics
    /// If `turn` is not the one that is open.
    pub fn reply(&mut self, turn: Turn, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let question = core::mem::replace(&mut self.open, Question::Nothing);
        assert!(
            question != Question::Nothing && turn.0 == self.serial,
            "a turn was answered that is not open"
        );
        //= RFC 2034 section 4: neither the greeting nor the reply to EHLO carries a status
        let greets = matches!(
            question,
            Question::Connected | Question::Ehlo | Question::Helo
        );
        if !reply.is_positive() {
            if greets {
                reply.write_plain(out);
            } else {
                self.say(reply, out);
            }
            //= RFC 5321 section 3.8: 421 to any command says that the connection is closing
            if reply.code.get() == 421 {
                self.hang_up();
            } else {
                self.refused(question, reply);
            }
            return;
        }
        match question {
            Question::Nothing => {}
            Question::Connected => {
                step::write_greeting(self.config, reply, out);
                self.phase = Phase::Greeted;
            }
            Question::Ehlo | Question::Helo => {
                let extended = question == Question::Ehlo;
                step::write_hello(self.config, extended, self.tls, reply, out);
                self.phase = Phase::Idle;
            }
            Question::StartTls => {
                self.say(reply, out);
                self.phase = Phase::Handshake;
            }
            Question::Mail => {
                self.say(reply, out);
                self.phase = Phase::Envelope;
                self.excused = false;
            }
            Question::Recipient => {
                self.say(reply, out);
                self.recipients += 1;
            }
            Question::Other => self.say(reply, out),
            Question::Data => {
                //= RFC 5321 section 4.3.2: DATA is answered with 354, and nothing else lets it begin
                if reply.code.is_intermediate() {
                    self.say(reply, out);
                } else {
                    self.say(&Reply::START_DATA, out);
                }
                self.begin_body(Phase::Data);
            }
            Question::FirstChunk => self.begin_body(Phase::Chunk),
            Question::EndOfData => {
                self.say(reply, out);
                self.since = NEVER;
                self.commands = 0;
                self.errors = 0;
                self.refusals = 0;
            }
        }
    }

    /// In the middle of a body: the rest is swallowed, up to `Limits::swallow_max`, and answered
    /// with `reply`; beyond that, `reply` is given at once and the connection closed.
    ///
    /// # Panics
    /// Outside a body, or while a turn is open.
    pub fn abort(&mut self, reply: &'static Reply<'static>) {
        assert!(
            self.open == Question::Nothing,
            "an open turn is answered, not aborted"
        );
        match self.phase {
            Phase::Data => self.refuse_body(Swallow::Data, reply),
            Phase::Chunk => self.refuse_body(Swallow::Chunk, reply),
            // The next chunk will hear of it.
            Phase::Chunks => self.refusal = Some(reply),
            Phase::Closed => {}
            _ => panic!("there is no body to abort"),
        }
    }

    /// From now on another configuration holds (after PROXY or XCLIENT, or for this kind of peer).
    pub fn set_config(&mut self, config: &'c Config) {
        self.config = config;
    }

    /// What comes next. `Body` is said only where the caller will get it.
    #[must_use]
    pub fn expects(&self) -> Expects {
        match (self.swallow, self.phase) {
            (Swallow::Nothing, Phase::Data) => Expects::Body { left: None },
            (Swallow::Nothing, Phase::Chunk) => Expects::Body {
                left: Some(self.left),
            },
            _ => Expects::Line,
        }
    }

    /// What the present body has shown so far; the last one's until the next begins.
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.scan.findings()
    }

    /// When the peer's time is up. To be asked after [`Event::NeedInput`]; `None` while the turn is this side's.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.open == Question::Nothing && self.deadline != NEVER).then_some(self.deadline)
    }

    /// The deadline has passed: 421, and the next event is [`Event::Close`]. Too early a call changes nothing.
    //= RFC 5321 section 3.8: a server that has waited too long says 421 and closes
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.phase == Phase::Closed || self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.phase == Phase::Handshake {
            // Clear text would only confuse a handshake.
            self.hang_up();
            return;
        }
        let reply = if self.body_until <= now {
            &Reply::TOO_LONG_BODY_TIME
        } else {
            &Reply::TIMED_OUT
        };
        self.close(reply, out);
    }

    /// The handshake is done: the dialogue starts from zero.
    //= RFC 3207 section 4.2: all that was learned before the handshake is forgotten
    ///
    /// # Panics
    /// If no handshake was asked for.
    pub fn tls_established(&mut self) {
        assert!(self.phase == Phase::Handshake, "no handshake was asked for");
        self.phase = Phase::Greeted;
        self.tls = true;
        self.deadline = NEVER;
    }

    /// 421 at the next boundary between commands; a body that is under way is still taken.
    pub fn shut_down(&mut self) {
        if self.last_word == LastWord::Unspoken {
            self.last_word = LastWord::ShuttingDown;
        }
    }

    /// No transaction is open and no turn is owed: cutting the connection now harms nothing.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.open == Question::Nothing
            && self.swallow == Swallow::Nothing
            && matches!(
                self.phase,
                Phase::Refused | Phase::Greeted | Phase::Idle | Phase::Handshake | Phase::Closed
            )
    }

    fn command<'i>(&mut self, now: Instant, input: &mut &'i [u8], out: &mut Vec<u8>) -> Event<'i> {
        let whole = *input;
        let line = match line::take(&mut self.looked, input) {
            Line::Complete(line) => line,
            Line::Incomplete => return self.wait(now, self.config.timeouts.command),
            Line::TooLong => {
                self.begin_swallow(Swallow::Line);
                return self.swallow(now, input, out).unwrap_or(Event::NeedInput);
            }
        };
        self.deadline = NEVER;
        self.commands = self.commands.saturating_add(1);
        if self.commands > self.config.limits.command_count_max {
            return self.close(&Reply::TOO_MANY_COMMANDS, out);
        }
        let (verb, argument) = match parse::verb(line) {
            Ok(parsed) => parsed,
            Err(refusal) => return self.answer(Verb::Unknown, refusal, out),
        };
        if verb == Verb::Bdat {
            return self.bdat(now, argument, input, out);
        }
        if let Some(refusal) = step::out_of_order(self.phase, verb) {
            return self.answer_order(verb, refusal, out);
        }
        let took = match verb {
            Verb::Ehlo | Verb::Helo => {
                let hello = parse::hello(verb == Verb::Ehlo, argument);
                if hello.is_ok() && self.in_transaction() {
                    // First the end of the transaction; the same line is read again for the rest.
                    self.commands -= 1;
                    *input = whole;
                    return self.reset();
                }
                hello.map(|hello| self.hello(hello))
            }
            Verb::Mail => parse::mail(argument, &self.config.extensions).map(|mail| {
                self.smtputf8 = mail.smtputf8;
                self.recipients = 0;
                self.recipient_refused = false;
                Event::Mail(mail, self.ask(Question::Mail))
            }),
            Verb::Recipient => {
                let offered = &self.config.extensions;
                match parse::recipient(argument, self.smtputf8, offered) {
                    //= RFC 5321 section 4.5.3.1.10: too many recipients get 452, those before stay
                    Ok(_) if self.recipients >= self.config.limits.recipient_count_max => {
                        Err(&Reply::TOO_MANY_RECIPIENTS)
                    }
                    Ok(to) => Ok(Event::Recipient(to, self.ask(Question::Recipient))),
                    Err(refusal) => {
                        self.recipient_refused = true;
                        Err(refusal)
                    }
                }
            }
            Verb::Verify | Verb::Expand | Verb::Etrn if argument.is_empty() => {
                Err(&Reply::BAD_ARGUMENT)
            }
            Verb::Verify | Verb::Expand | Verb::Etrn => {
                Ok(Event::Other(verb, argument, self.ask(Question::Other)))
            }
            Verb::Noop => Err(&Reply::OK),
            Verb::Help => Err(&Reply::HELP),
            Verb::Auth => Err(&Reply::NOT_IMPLEMENTED),
            Verb::StartTls if self.tls || !self.offers(Extension::StartTls) => {
                Err(&Reply::NOT_IMPLEMENTED)
            }
            //= RFC 5321 section 4.1.1: DATA, RSET, QUIT and STARTTLS take no argument
            _ if !argument.is_empty() => Err(&Reply::BAD_ARGUMENT),
            //= RFC 3207 section 4.2: what came in clear text behind STARTTLS must never be taken for what TLS protects
            Verb::StartTls if !input.is_empty() => {
                return self.close(&Reply::DATA_BEHIND_STARTTLS, out);
            }
            Verb::StartTls => Ok(Event::StartTls(self.ask(Question::StartTls))),
            Verb::Data => match self.without_recipients() {
                Some(refusal) => return self.answer_order(verb, refusal, out),
                None => {
                    self.chunked = false;
                    Ok(Event::Data(self.ask(Question::Data)))
                }
            },
            Verb::Reset if self.in_transaction() => {
                self.say(&Reply::OK, out);
                return self.reset();
            }
            Verb::Reset => {
                self.excused = false;
                Err(&Reply::OK)
            }
            Verb::Quit => return self.close(&Reply::BYE, out),
            Verb::Bdat | Verb::Unknown => Err(&Reply::UNKNOWN_COMMAND),
        };
        match took {
            Ok(event) => event,
            Err(reply) => self.answer(verb, reply, out),
        }
    }

    fn hello<'i>(&mut self, hello: Hello<'i>) -> Event<'i> {
        self.excused = false;
        let question = if hello.extended {
            Question::Ehlo
        } else {
            Question::Helo
        };
        Event::Hello(hello, self.ask(question))
    }

    fn handshake<'i>(&mut self, now: Instant, input: &[u8]) -> Event<'i> {
        if !input.is_empty() {
            // It was read before the handshake began, so it came in clear text.
            return self.hang_up();
        }
        self.wait(now, self.config.timeouts.command);
        Event::Handshake
    }

    fn data<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Event<'i> {
        self.start_body_clock(now);
        match self.scan.dotted(input) {
            Dotted::NeedInput => self.wait(now, self.config.timeouts.body),
            Dotted::Slice(slice) => self.stretch(slice, Swallow::Data),
            Dotted::End => self.end_body(),
        }
    }

    //= RFC 3030 section 2: BDAT has its chunk behind it, whatever is thought of the command
    fn bdat<'i>(
        &mut self,
        now: Instant,
        argument: &[u8],
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        if !self.offers(Extension::Chunking) {
            return self.answer(Verb::Bdat, &Reply::NOT_IMPLEMENTED, out);
        }
        let Bdat { size, last } = match parse::bdat(argument) {
            Ok(bdat) => bdat,
            // Nobody knows where the next command begins: going on would take a body for commands.
            Err(refusal) => return self.close(refusal, out),
        };
        self.left = size;
        self.last_chunk = last;
        self.chunked = true;
        let refusal = step::out_of_order(self.phase, Verb::Bdat).or_else(|| {
            if self.phase == Phase::Chunks {
                return self.refusal;
            }
            self.without_recipients()
        });
        if let Some(refusal) = refusal {
            if self.phase == Phase::Chunks {
                self.refuse_body(Swallow::Chunk, refusal);
            } else {
                self.count_order_error(refusal);
                self.begin_swallow(Swallow::Chunk);
                self.refusal = Some(refusal);
            }
            return self.swallow_on(now, input, out);
        }
        let len = if self.phase == Phase::Chunks {
            self.len
        } else {
            0
        };
        //= RFC 1870 section 6.3: a message that grows past the limit is refused with 552
        if len.saturating_add(size) > self.size_max() {
            self.refuse_body(Swallow::Chunk, &Reply::TOO_LARGE);
            return Event::Reset;
        }
        if self.phase == Phase::Chunks {
            self.phase = Phase::Chunk;
            return self.chunk(now, input, out);
        }
        Event::Data(self.ask(Question::FirstChunk))
    }

    fn chunk<'i>(&mut self, now: Instant, input: &mut &'i [u8], out: &mut Vec<u8>) -> Event<'i> {
        self.start_body_clock(now);
        if self.left > 0 {
            let slice = self.scan.chunk(&mut self.left, input);
            if slice.is_empty() {
                return self.wait(now, self.config.timeouts.body);
            }
            return self.stretch(slice, Swallow::Chunk);
        }
        if self.last_chunk {
            return self.end_body();
        }
        self.phase = Phase::Chunks;
        //= RFC 3030 section 2: each chunk is answered with 250
        self.answer(Verb::Bdat, &Reply::OK, out)
    }

    fn stretch<'i>(&mut self, slice: &'i [u8], behind: Swallow) -> Event<'i> {
        self.deadline = NEVER;
        self.len += slice.len() as u64;
        if self.len > self.size_max() {
            self.refuse_body(behind, &Reply::TOO_LARGE);
            // However the input is cut, the same octets count as thrown away.
            self.swallowed = self.len - self.size_max();
            return Event::Reset;
        }
        Event::Body(slice)
    }

    fn end_body<'i>(&mut self) -> Event<'i> {
        let findings = self.scan.findings();
        let bare = findings.bare_cr || findings.bare_lf;
        if (bare && self.config.bare_line_ends == Verdict::Reject)
            || (findings.nul && self.config.nul == Verdict::Reject)
        {
            self.refuse_body(Swallow::Answer, &Reply::BAD_LINE_ENDS);
            return Event::Reset;
        }
        self.end_transaction();
        Event::EndOfData(self.ask(Question::EndOfData))
    }

    /// Goes on throwing away; `None` when that is done and nothing is to be said about it.
    fn swallow<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<Event<'i>> {
        let whole_len = input.len();
        match self.swallow {
            Swallow::Nothing => return None,
            Swallow::Answer => {}
            Swallow::Line => {
                let ended = line::skip(input);
                if self.has_swallowed(whole_len - input.len()) {
                    return Some(self.close(&Reply::LINE_TOO_LONG, out));
                }
                if !ended {
                    return Some(self.wait(now, self.config.timeouts.command));
                }
                self.swallow = Swallow::Nothing;
                self.deadline = NEVER;
                self.commands = self.commands.saturating_add(1);
                return Some(self.answer(Verb::Unknown, &Reply::LINE_TOO_LONG, out));
            }
            Swallow::Data => loop {
                let before = input.len();
                let step = self.scan.dotted(input);
                if self.has_swallowed(before - input.len()) {
                    return Some(self.give_up(out));
                }
                match step {
                    Dotted::End => break,
                    Dotted::Slice(_) => self.deadline = NEVER,
                    Dotted::NeedInput => return Some(self.wait(now, self.config.timeouts.body)),
                }
            },
            Swallow::Chunk => {
                if self.has_swallowed(0) {
                    return Some(self.give_up(out));
                }
                let len = usize::try_from(self.left).map_or(whole_len, |left| left.min(whole_len));
                if len > 0 {
                    *input = input.get(len..).unwrap_or_default();
                    self.left -= len as u64;
                    self.swallowed += len as u64;
                    self.deadline = NEVER;
                }
                if self.left > 0 {
                    return Some(self.wait(now, self.config.timeouts.body));
                }
            }
        }
        self.swallow = Swallow::Nothing;
        self.deadline = NEVER;
        self.body_until = NEVER;
        let verb = if self.chunked { Verb::Bdat } else { Verb::Data };
        let reply = self.refusal.take()?;
        self.say(reply, out);
        Some(Event::Answered(verb, reply.code))
    }

    /// Notes octets thrown away, and says whether that is more than anybody gets; for a chunk, what
    /// is still to come counts as well.
    fn has_swallowed(&mut self, len: usize) -> bool {
        self.swallowed = self.swallowed.saturating_add(len as u64);
        let to_come = match self.swallow {
            Swallow::Chunk => self.left,
            _ => 0,
        };
        self.swallowed.saturating_add(to_come) > self.config.limits.swallow_max
    }

    fn begin_swallow(&mut self, what: Swallow) {
        self.swallow = what;
        self.swallowed = 0;
    }

    /// Goes on behind a BDAT whose chunk is thrown away.
    fn swallow_on<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        self.swallow(now, input, out).unwrap_or(Event::NeedInput)
    }

    /// The transaction has failed within its body: the rest goes unread, then `reply` is given.
    fn refuse_body(&mut self, rest: Swallow, reply: Refusal) {
        self.phase = Phase::Idle;
        self.recipients = 0;
        self.excused = true;
        self.refusal = Some(reply);
        self.begin_swallow(rest);
    }

    /// Too much was to be thrown away: the refusal is given while the peer still sends.
    fn give_up<'i>(&mut self, out: &mut Vec<u8>) -> Event<'i> {
        let reply = self.refusal.take().unwrap_or(&Reply::UNSWALLOWED);
        self.close(reply, out)
    }

    /// What a refusal of the caller's changes.
    fn refused(&mut self, question: Question, reply: &Reply<'_>) {
        match question {
            Question::Connected => self.phase = Phase::Refused,
            Question::Mail => self.excused = true,
            Question::Recipient => self.recipient_refused = true,
            Question::Data => {
                self.end_transaction();
                self.excused = true;
            }
            Question::FirstChunk => {
                self.end_transaction();
                self.excused = true;
                self.begin_swallow(Swallow::Chunk);
            }
            Question::Ehlo
            | Question::Helo
            | Question::StartTls
            | Question::Other
            | Question::EndOfData
            | Question::Nothing => {}
        }
        if reply.code.is_permanent() {
            self.refusals = self.refusals.saturating_add(1);
            if self.refusals >= self.config.limits.refusal_count_max {
                self.last_word = LastWord::TooManyErrors;
            }
        }
    }

    fn begin_body(&mut self, phase: Phase) {
        self.phase = phase;
        self.scan = Scan::new();
        self.len = 0;
        self.body_until = NEVER;
    }

    /// A body's whole time runs from the first call behind its beginning.
    fn start_body_clock(&mut self, now: Instant) {
        if self.body_until == NEVER {
            self.body_until = now.after(self.config.timeouts.body_total);
        }
    }

    fn end_transaction(&mut self) {
        self.phase = Phase::Idle;
        self.recipients = 0;
        self.recipient_refused = false;
        self.refusal = None;
        self.deadline = NEVER;
        self.body_until = NEVER;
    }

    fn reset<'i>(&mut self) -> Event<'i> {
        self.end_transaction();
        self.excused = false;
        Event::Reset
    }

    const fn in_transaction(&self) -> bool {
        matches!(self.phase, Phase::Envelope | Phase::Chunks)
    }

    /// The reply to DATA or BDAT in a transaction that has no recipient.
    //= RFC 5321 section 3.3: DATA without a valid recipient gets 554, or 503
    const fn without_recipients(&self) -> Option<Refusal> {
        match (self.recipients, self.recipient_refused) {
            (0, true) => Some(&Reply::NO_VALID_RECIPIENTS),
            (0, false) => Some(&Reply::NEED_RECIPIENT),
            _ => None,
        }
    }

    const fn offers(&self, extension: Extension) -> bool {
        self.config.extensions.has(extension)
    }

    fn size_max(&self) -> u64 {
        self.config.extensions.size_max().unwrap_or(u64::MAX)
    }

    fn ask(&mut self, question: Question) -> Turn {
        self.serial = self.serial.wrapping_add(1);
        self.open = question;
        self.deadline = NEVER;
        Turn(self.serial)
    }

    /// The peer has to send something now, within this time and what is left of the whole.
    fn wait<'i>(&mut self, now: Instant, time: Duration) -> Event<'i> {
        if self.deadline == NEVER {
            let whole = match self.body_until {
                NEVER => self.since.after(self.config.timeouts.idle_total),
                until => until,
            };
            self.deadline = now.after(time).min(whole);
        }
        Event::NeedInput
    }

    /// The session's own answer to a command.
    fn answer<'i>(&mut self, verb: Verb, reply: Refusal, out: &mut Vec<u8>) -> Event<'i> {
        self.say(reply, out);
        if reply.code.is_permanent() {
            self.count_error();
        }
        Event::Answered(verb, reply.code)
    }

    /// The same for a command that came in a wrong order.
    fn answer_order<'i>(&mut self, verb: Verb, reply: Refusal, out: &mut Vec<u8>) -> Event<'i> {
        self.say(reply, out);
        self.count_order_error(reply);
        Event::Answered(verb, reply.code)
    }

    /// Behind a refusal a wrong order is no error: the peer sent it before it could know.
    //= RFC 2920 section 3.1: a client sends MAIL, RCPT and DATA without waiting for the replies
    fn count_order_error(&mut self, reply: Refusal) {
        if !self.excused && reply.code.get() == 503 {
            self.count_error();
        }
    }

    fn count_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
        if self.errors >= self.config.limits.error_count_max {
            self.last_word = LastWord::TooManyErrors;
        }
    }

    fn say(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        if self.offers(Extension::EnhancedStatusCodes) {
            reply.write(out);
        } else {
            reply.write_plain(out);
        }
    }

    fn close<'i>(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Event<'i> {
        self.say(reply, out);
        self.hang_up()
    }

    fn hang_up<'i>(&mut self) -> Event<'i> {
        self.phase = Phase::Closed;
        self.swallow = Swallow::Nothing;
        self.deadline = NEVER;
        Event::Close
    }
}

const _: () = assert!(
    size_of::<Session<'static>>() <= 136,
    "an idle connection costs a session and no more"
);
