//! The state of a session, and the only files that change it: this one and those below it (`verdicts`:
//! what the caller's answers change; `moves`: what the peer's commands change; `bodies`: what the octets
//! behind DATA and BDAT change). What leads to a change is read in `step`, `auth` and `body`; here stands
//! what the change is.
//!
//! ```text
//!  Connecting ──220──► Greeted ──EHLO──► Idle ──MAIL──► Envelope ──DATA──► Data ──┐
//!      │554            ▲ ▲ TLS           ▲ ▲ ▲              │ BDAT                │ dot
//!      ▼               │ │          AUTH │ │ │ RSET, EHLO   ▼                     │
//!   Refused    XCLIENT ┘ Handshake       ▼ │ └──────────  Chunk ◄──► Chunks       │
//!                                 Exchange │                │ LAST                │
//!                                          └── Delivered ◄──┴─────────────────────┘
//! ```
//! From anywhere: 421 or QUIT to `Closed`. `Delivered` is LMTP's: there each recipient has an answer of its
//! own; SMTP goes from a body's end straight to `Idle`. What has to be thrown away on the way (`Swallow`)
//! is kept apart: the phase already says where the dialogue goes on behind it.

mod bodies;
mod moves;
mod verdicts;

use super::{Config, Expects, Findings, Peer, Tls};
use crate::body::Scan;
use crate::command::parse::Refusal;
use crate::extension::Extension;
use crate::reply::{Code, Reply, Status};
use crate::sasl::Mechanisms;
use crate::time::Instant;
use alloc::vec::Vec;

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
    /// Within AUTH: the next line is a response.
    Exchange,
    /// Behind MAIL.
    Envelope,
    /// In the body behind DATA.
    Data,
    /// In a chunk behind BDAT.
    Chunk,
    /// Between two chunks of one body.
    Chunks,
    /// LMTP behind a body: its recipients are answered one by one.
    Delivered,
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
    /// EHLO or LHLO
    Ehlo,
    Helo,
    StartTls,
    /// AUTH, and each response behind it
    Auth,
    Mail,
    Recipient,
    XClient,
    Other,
    Data,
    FirstChunk,
    EndOfData,
    EndOfDataFor,
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

/// One peer's dialogue: 144 octets at most, no heap, no buffer of its own.
///
/// The caller's input buffer must have room for [`Config::line_len_max`] octets, since an incomplete
/// line stays in it.
#[derive(Debug)]
pub struct Session<'c> {
    pub(super) config: &'c Config,
    /// What is said when the swallowing ends, `owed` times.
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
    /// Recipients that were answered behind a body, in LMTP.
    answered: u32,
    /// How many times a refusal behind a body is still to be given.
    owed: u32,
    /// Transactions since the dialogue began.
    mails: u32,
    commands: u32,
    errors: u32,
    refusals: u32,
    serial: u32,
    /// The caller's refusal of a body that was answered once already, in LMTP.
    again: Option<(Code, Option<Status>)>,
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
    /// BODY=BINARYMIME
    pub(super) binary: bool,
    pub(super) tls: Option<Tls>,
    authenticated: bool,
    /// A recipient of this transaction was refused.
    recipient_refused: bool,
    /// A transaction failed, so that what was pipelined behind it is no error of the peer's.
    excused: bool,
}

/// What the caller does and asks, beside [`Session::receive`] and the answers to its events.
impl<'c> Session<'c> {
    /// A session whose first event will be [`Event::Connected`](super::Event::Connected).
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
            answered: 0,
            owed: 0,
            mails: 0,
            commands: 0,
            errors: 0,
            refusals: 0,
            serial: 0,
            again: None,
            looked: 0,
            phase: Phase::Connecting,
            swallow: Swallow::Nothing,
            open: Question::Nothing,
            last_word: LastWord::Unspoken,
            last_chunk: false,
            chunked: false,
            smtputf8: false,
            binary: false,
            tls: peer.tls,
            authenticated: false,
            recipient_refused: false,
            excused: false,
        }
    }

    /// Has an AUTH exchange succeeded since the connection, its TLS, or the last XCLIENT began?
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// In the middle of a body: the rest is swallowed, up to `Limits::swallow_max`, and answered
    /// with `reply` (in LMTP once for each recipient); beyond that, `reply` is given at once and the
    /// connection closed. 421 closes it in any case.
    ///
    /// # Panics
    /// Outside a body, while a turn is open, or if the reply is positive: it would promise what is lost.
    pub fn abort(&mut self, reply: &'static Reply<'static>) {
        assert!(!reply.is_positive(), "an aborted message was not taken");
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
    /// Its [`Config::line_len_max`] may be larger.
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

    /// When the peer's time is up. To be asked after [`Event::NeedInput`](super::Event::NeedInput); `None`
    /// while the turn is this side's.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.open == Question::Nothing && self.deadline != NEVER).then_some(self.deadline)
    }

    /// The deadline has passed: 421, and the next event is [`Event::Close`](super::Event::Close). Too
    /// early a call changes nothing.
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

    /// The handshake is done, with this outcome: the dialogue starts from zero.
    //= RFC 3207 section 4.2: all that was learned before the handshake is forgotten
    ///
    /// # Panics
    /// If no handshake was asked for.
    pub fn tls_established(&mut self, tls: Tls) {
        assert!(self.phase == Phase::Handshake, "no handshake was asked for");
        self.phase = Phase::Greeted;
        self.tls = Some(tls);
        self.authenticated = false;
        self.excused = false;
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
                Phase::Refused
                    | Phase::Greeted
                    | Phase::Idle
                    | Phase::Exchange
                    | Phase::Handshake
                    | Phase::Closed
            )
    }
}

/// What `step`, `auth` and `body` ask.
impl Session<'_> {
    pub(super) const fn in_transaction(&self) -> bool {
        matches!(self.phase, Phase::Envelope | Phase::Chunks)
    }

    pub(super) const fn offers(&self, extension: Extension) -> bool {
        self.config.extensions.has(extension)
    }

    /// The mechanisms that this connection is offered.
    pub(super) const fn mechanisms(&self) -> Mechanisms {
        self.config.mechanisms(self.tls)
    }

    pub(super) fn size_max(&self) -> u64 {
        self.config.extensions.size_max().unwrap_or(u64::MAX)
    }

    /// The refusal of whatever wants AUTH first.
    pub(super) const fn unauthenticated(&self) -> Option<Refusal> {
        if self.config.auth_required && !self.authenticated {
            Some(&Reply::AUTHENTICATION_REQUIRED)
        } else {
            None
        }
    }

    /// The refusal of one transaction more.
    pub(super) const fn too_many_mails(&self) -> Option<Refusal> {
        if self.mails >= self.config.limits.mail_count_max {
            Some(&Reply::TOO_MANY_MAILS)
        } else {
            None
        }
    }

    /// The reply to DATA or BDAT in a transaction that has no recipient.
    //= RFC 5321 section 3.3: DATA without a valid recipient gets 554, or 503
    //= RFC 2033 section 4.2: in LMTP it gets 503
    pub(super) const fn without_recipients(&self) -> Option<Refusal> {
        match (self.recipients, self.recipient_refused) {
            (0, true) if !self.config.lmtp => Some(&Reply::NO_VALID_RECIPIENTS),
            (0, _) => Some(&Reply::NEED_RECIPIENT),
            _ => None,
        }
    }

    pub(super) fn say(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        if self.offers(Extension::EnhancedStatusCodes) {
            reply.write(out);
        } else {
            reply.write_plain(out);
        }
    }
}

const _: () = assert!(
    size_of::<Session<'static>>() <= 144,
    "an idle connection costs a session and no more"
);
