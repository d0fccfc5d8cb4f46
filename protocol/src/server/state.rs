//! The state of a session, and the only file that changes it. What leads to a change is read in
//! `step`; here stands what the change is.
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

use super::{Config, Event, Expects, Findings, Peer, Tls, Turn, greeting};
use crate::body::{Dotted, Scan};
use crate::command::Mail;
use crate::command::parse::{Bdat, Refusal};
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
pub(super) enum Swallow {
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
pub(super) enum Question {
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
pub(super) enum LastWord {
    Unspoken,
    ShuttingDown,
    TooManyErrors,
}

/// No moment at all.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// One peer's dialogue: about a hundred bytes, no heap, no buffer of its own.
///
/// The caller's input buffer must have room for [`crate::limits::COMMAND_LINE_LEN_MAX`] octets,
/// since an incomplete line stays in it.
#[derive(Debug)]
pub struct Session<'c> {
    pub(super) config: &'c Config,
    /// What is said when the swallowing ends.
    pub(super) refusal: Option<Refusal>,
    /// When the peer's time for this step is up; `NEVER` until it is asked to wait.
    deadline: Instant,
    /// When the time for the present body is up; `NEVER` outside one.
    body_until: Instant,
    /// When the connection began or the last message was taken; `NEVER` until the next call after
    /// that.
    since: Instant,
    /// Octets of the present chunk that are still to come.
    pub(super) left: u64,
    /// Octets of the present body.
    pub(super) len: u64,
    /// Octets thrown away behind the present refusal.
    swallowed: u64,
    scan: Scan,
    pub(super) recipients: u32,
    commands: u32,
    errors: u32,
    refusals: u32,
    serial: u32,
    /// Octets at the front of the input that are known to hold no line end.
    looked: u16,
    pub(super) phase: Phase,
    pub(super) swallow: Swallow,
    pub(super) open: Question,
    pub(super) last_word: LastWord,
    /// The present chunk is the last.
    pub(super) last_chunk: bool,
    /// The body came by BDAT.
    pub(super) chunked: bool,
    pub(super) smtputf8: bool,
    pub(super) tls: bool,
    /// A recipient of this transaction was refused.
    recipient_refused: bool,
    /// A transaction failed, so that what was pipelined behind it is no error of the peer's.
    excused: bool,
}

/// What the caller does and asks, beside [`Session::receive`].
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
            tls: peer.tls.is_some(),
            recipient_refused: false,
            excused: false,
        }
    }

    /// Answers the open turn. The reply is the verdict: a positive one moves the dialogue on, 421
    /// closes. A refused DATA or end of data ends the transaction, a refused MAIL begins none, and
    /// a refused recipient leaves the others alone.
    ///
    /// # Panics
    /// If `turn` is not the one that is open.
    pub fn reply(&mut self, turn: Turn, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let question = core::mem::replace(&mut self.open, Question::Nothing);
        assert!(
            question != Question::Nothing && turn.0 == self.serial,
            "a turn was answered that is not open"
        );
        if reply.is_positive() {
            self.granted(question, reply, out);
            return;
        }
        //= RFC 2034 section 4: neither the greeting nor the reply to EHLO carries a status
        match question {
            Question::Connected | Question::Ehlo | Question::Helo => reply.write_plain(out),
            _ => self.say(reply, out),
        }
        //= RFC 5321 section 3.8: 421 to any command says that the connection is closing
        if reply.code.get() == 421 {
            self.hang_up();
        } else {
            self.refused(question, reply);
        }
    }

    /// Answers the open turn of an AUTH exchange with 334 and this challenge, which the session
    /// writes in base64.
    ///
    /// # Panics
    /// If this turn is not the one that is open, or none of AUTH.
    pub fn challenge(&mut self, turn: Turn, challenge: &[u8], out: &mut Vec<u8>) {
        let _ = (turn, challenge, out);
        unimplemented!()
    }

    /// Has an AUTH exchange succeeded since the connection, or its TLS, began?
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        false
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

    /// When the peer's time is up. To be asked after [`Event::NeedInput`]; `None` while the turn is
    /// this side's.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.open == Question::Nothing && self.deadline != NEVER).then_some(self.deadline)
    }

    /// The deadline has passed: 421, and the next event is [`Event::Close`]. Too early a call
    /// changes nothing.
    //= RFC 5321 section 3.8: a server that has waited too long says 421 and closes
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.phase == Phase::Closed || self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.phase == Phase::Handshake {
            // Clear text would only confuse a handshake.
            self.hang_up();
        } else if self.body_until <= now {
            self.close(&Reply::TOO_LONG_BODY_TIME, out);
        } else {
            self.close(&Reply::TIMED_OUT, out);
        }
    }

    /// The handshake is done: the dialogue starts from zero.
    //= RFC 3207 section 4.2: all that was learned before the handshake is forgotten
    ///
    /// # Panics
    /// If no handshake was asked for.
    pub fn tls_established(&mut self, _tls: Tls) {
        assert!(self.phase == Phase::Handshake, "no handshake was asked for");
        self.phase = Phase::Greeted;
        self.tls = true;
        self.progress();
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
}

/// What verdicts change.
impl Session<'_> {
    fn granted(&mut self, question: Question, reply: &Reply<'_>, out: &mut Vec<u8>) {
        match question {
            Question::Connected => {
                greeting::write_greeting(self.config, reply, out);
                self.phase = Phase::Greeted;
            }
            Question::Ehlo | Question::Helo => {
                let extended = question == Question::Ehlo;
                greeting::write_hello(self.config, extended, self.tls, reply, out);
                self.phase = Phase::Idle;
            }
            //= RFC 5321 section 4.3.2: DATA is answered with 354, and nothing else lets it begin
            Question::Data => {
                let begins = reply.code.is_intermediate();
                self.say(if begins { reply } else { &Reply::START_DATA }, out);
                self.begin_body(Phase::Data);
            }
            Question::FirstChunk => self.begin_body(Phase::Chunk),
            _ => self.say(reply, out),
        }
        match question {
            Question::StartTls => self.phase = Phase::Handshake,
            Question::Mail => {
                self.phase = Phase::Envelope;
                self.excused = false;
            }
            Question::Recipient => self.recipients += 1,
            Question::EndOfData => {
                self.since = NEVER;
                self.commands = 0;
                self.errors = 0;
                self.refusals = 0;
            }
            _ => {}
        }
    }

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
            _ => {}
        }
        if reply.code.is_permanent() {
            self.refusals = self.refusals.saturating_add(1);
            if self.refusals >= self.config.limits.refusal_count_max {
                self.last_word = LastWord::TooManyErrors;
            }
        }
    }
}

/// The moves that `step` makes.
impl Session<'_> {
    pub(super) fn ask(&mut self, question: Question) -> Turn {
        self.serial = self.serial.wrapping_add(1);
        self.open = question;
        self.progress();
        Turn(self.serial)
    }

    /// The peer did something whole: its next wait has a time of its own.
    pub(super) fn progress(&mut self) {
        self.deadline = NEVER;
    }

    /// The time since the last message runs from the first call behind it.
    pub(super) fn start_idle_clock(&mut self, now: Instant) {
        if self.since == NEVER {
            self.since = now;
        }
    }

    /// A body's whole time runs from the first call behind its beginning.
    pub(super) fn start_body_clock(&mut self, now: Instant) {
        if self.body_until == NEVER {
            self.body_until = now.after(self.config.timeouts.body_total);
        }
    }

    /// The peer has to send something now, within this time and what is left of the whole.
    pub(super) fn wait<'i>(&mut self, now: Instant, time: Duration) -> Event<'i> {
        if self.deadline == NEVER {
            let whole = match self.body_until {
                NEVER => self.since.after(self.config.timeouts.idle_total),
                until => until,
            };
            self.deadline = now.after(time).min(whole);
        }
        Event::NeedInput
    }

    pub(super) fn take_line<'i>(&mut self, input: &mut &'i [u8]) -> Line<'i> {
        line::take(&mut self.looked, input)
    }

    pub(super) fn take_dotted<'i>(&mut self, input: &mut &'i [u8]) -> Dotted<'i> {
        self.scan.dotted(input)
    }

    pub(super) fn take_chunk<'i>(&mut self, input: &mut &'i [u8]) -> &'i [u8] {
        self.scan.chunk(&mut self.left, input)
    }

    /// Counts a command, and says whether it is one too many.
    pub(super) fn count_command(&mut self) -> bool {
        self.commands = self.commands.saturating_add(1);
        self.commands > self.config.limits.command_count_max
    }

    /// The same command will be read again.
    pub(super) fn uncount_command(&mut self) {
        self.commands = self.commands.saturating_sub(1);
    }

    pub(super) fn count_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
        if self.errors >= self.config.limits.error_count_max {
            self.last_word = LastWord::TooManyErrors;
        }
    }

    /// Behind a refusal a wrong order is no error: the peer sent it before it could know.
    //= RFC 2920 section 3.1: a client sends MAIL, RCPT and DATA without waiting for the replies
    pub(super) fn count_order_error(&mut self, reply: Refusal) {
        if !self.excused && reply.code.get() == 503 {
            self.count_error();
        }
    }

    /// What was pipelined behind a failed transaction is through.
    pub(super) fn forget_failure(&mut self) {
        self.excused = false;
    }

    /// A transaction that the caller may allow.
    pub(super) fn propose_mail(&mut self, mail: &Mail<'_>) {
        self.smtputf8 = mail.smtputf8;
        self.recipients = 0;
        self.recipient_refused = false;
    }

    pub(super) fn note_bad_recipient(&mut self) {
        self.recipient_refused = true;
    }

    /// The reply to DATA or BDAT in a transaction that has no recipient.
    //= RFC 5321 section 3.3: DATA without a valid recipient gets 554, or 503
    pub(super) const fn without_recipients(&self) -> Option<Refusal> {
        match (self.recipients, self.recipient_refused) {
            (0, true) => Some(&Reply::NO_VALID_RECIPIENTS),
            (0, false) => Some(&Reply::NEED_RECIPIENT),
            _ => None,
        }
    }

    /// The next body comes by DATA.
    pub(super) fn propose_data(&mut self) {
        self.chunked = false;
    }

    /// A chunk follows, wanted or not.
    pub(super) fn announce_chunk(&mut self, bdat: Bdat) {
        self.left = bdat.size;
        self.last_chunk = bdat.last;
        self.chunked = true;
    }

    pub(super) fn begin_chunk(&mut self) {
        self.phase = Phase::Chunk;
    }

    pub(super) fn end_chunk(&mut self) {
        self.phase = Phase::Chunks;
    }

    fn begin_body(&mut self, phase: Phase) {
        self.phase = phase;
        self.scan = Scan::new();
        self.len = 0;
        self.body_until = NEVER;
    }

    /// Counts octets of the body, and says by how many it is now too long.
    pub(super) fn grow(&mut self, len: usize) -> u64 {
        self.progress();
        self.len = self.len.saturating_add(len as u64);
        self.len.saturating_sub(self.size_max())
    }

    /// The transaction has failed within its body: the rest goes unread, then `reply` is given.
    pub(super) fn refuse_body(&mut self, rest: Swallow, reply: Refusal) {
        self.phase = Phase::Idle;
        self.recipients = 0;
        self.excused = true;
        self.refuse_later(rest, reply);
    }

    /// First the rest goes unread, then `reply` is given.
    pub(super) fn refuse_later(&mut self, rest: Swallow, reply: Refusal) {
        self.refusal = Some(reply);
        self.begin_swallow(rest);
    }

    pub(super) fn begin_swallow(&mut self, rest: Swallow) {
        self.swallow = rest;
        self.swallowed = 0;
    }

    /// Notes octets thrown away, and says whether that is more than anybody gets; of a chunk, what
    /// is still to come counts as well.
    pub(super) fn has_swallowed(&mut self, len: u64) -> bool {
        self.swallowed = self.swallowed.saturating_add(len);
        let to_come = match self.swallow {
            Swallow::Chunk => self.left,
            _ => 0,
        };
        self.swallowed.saturating_add(to_come) > self.config.limits.swallow_max
    }

    /// Throws away what is there of a chunk, and says whether that was all.
    pub(super) fn swallow_chunk(&mut self, input: &mut &[u8]) -> bool {
        let len = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        if len > 0 {
            *input = input.get(len..).unwrap_or_default();
            self.left -= len as u64;
            self.swallowed = self.swallowed.saturating_add(len as u64);
            self.progress();
        }
        self.left == 0
    }

    /// The line that was too long is through; a refusal that waits for a chunk still waits.
    pub(super) fn end_line(&mut self) {
        self.swallow = Swallow::Nothing;
        self.progress();
    }

    /// All is thrown away; gives what is to be said about it.
    pub(super) fn end_swallow(&mut self) -> Option<Refusal> {
        self.swallow = Swallow::Nothing;
        self.body_until = NEVER;
        self.progress();
        self.refusal.take()
    }

    pub(super) fn end_transaction(&mut self) {
        self.phase = Phase::Idle;
        self.recipients = 0;
        self.recipient_refused = false;
        self.refusal = None;
        self.body_until = NEVER;
        self.progress();
    }

    pub(super) const fn in_transaction(&self) -> bool {
        matches!(self.phase, Phase::Envelope | Phase::Chunks)
    }

    pub(super) const fn offers(&self, extension: Extension) -> bool {
        self.config.extensions.has(extension)
    }

    pub(super) fn size_max(&self) -> u64 {
        self.config.extensions.size_max().unwrap_or(u64::MAX)
    }

    pub(super) fn say(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        if self.offers(Extension::EnhancedStatusCodes) {
            reply.write(out);
        } else {
            reply.write_plain(out);
        }
    }

    /// The last word.
    pub(super) fn close<'i>(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Event<'i> {
        self.say(reply, out);
        self.hang_up()
    }

    /// No word at all.
    pub(super) fn hang_up<'i>(&mut self) -> Event<'i> {
        self.phase = Phase::Closed;
        self.swallow = Swallow::Nothing;
        self.progress();
        Event::Close
    }
}

const _: () = assert!(
    size_of::<Session<'static>>() <= 128,
    "an idle connection costs a session and no more"
);
