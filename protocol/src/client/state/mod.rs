//! The state of a session, and the only folder that changes it: here what holds a dialogue together
//! (transactions begun and given up, time, the end), in `opening` what comes before and between them, in
//! `sending` what goes out, in `answers` what comes in. What to send and how long to wait is decided in
//! `next` and `limits`; what was sent is remembered in `window`.

mod answers;
mod opening;
mod sending;

use super::limits::Domains;
use super::next::{self, Peer, Way, step};
use super::stage::{Answers, Phase, Stage};
use super::window::{Kind, Window};
use super::{Answer, Config, Event, Fate, Violation};
use crate::body::stuff::Edge;
use crate::command::write::{QUIT, RESET};
use crate::extension::Extensions;
use crate::limits::COMMAND_LINE_LEN_MAX;
use crate::reply::parse::Reader;
use crate::time::Instant;
use alloc::vec::Vec;

/// Octets of a peer's bytes that are shown with a violation.
const SHOWN_LEN_MAX: usize = 512;

/// One dialogue with a server: some 430 bytes, no heap, no buffer of its own.
#[derive(Debug)]
pub struct Session<'c> {
    config: &'c Config,
    extensions: Extensions,
    phase: Phase,
    window: Window,
    reader: Reader,
    /// When the last answer that was outstanding had come, there were bytes behind it.
    early: bool,
    /// For the oldest command of the window; set anew when that changes.
    deadline: Option<Instant>,
    encrypted: bool,
    authenticated: bool,
    /// As far as answers have come, the peer has a transaction open: only RSET gets it back.
    stale: bool,
    /// The peer has taken a message on this connection.
    proven: bool,
    /// MAIL commands on this connection.
    mail_count: u32,
    domains: Domains,
    /// A transaction had no room for a single recipient.
    domains_spent: bool,
    /// Chunks of a transaction that has failed, whose answers no longer matter.
    orphan_count: u8,
    /// The newest transaction, the only one that is still being sent.
    stage: Stage,
    way: Way,
    utf8: bool,
    recipients: Recipients,
    written_count: u16,
    /// Octets that the chunk still lacks.
    chunk_left: u64,
    chunk_is_last: bool,
    leading_dots: bool,
    edge: Edge,
    /// Of its content something has not left yet, whatever its stage says.
    unsent: bool,
    /// An older transaction was sent to its end and is not answered yet.
    behind: bool,
    older_recipients: Recipients,
    older_unsent: bool,
    /// The answers to the oldest transaction that is still open.
    answers: Answers,
}

const _: () = assert!(
    size_of::<Session<'_>>() <= 448,
    "many connections rest at once"
);

/// The recipients of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Recipients {
    /// That are sent.
    count: u16,
    /// That the envelope has.
    given_count: u16,
    /// Some are left over, and no event has told.
    untold: bool,
    /// More may join. They count as one that is not sent yet.
    open: bool,
}

impl<'c> Session<'c> {
    /// A session that waits for the greeting; it answers it with EHLO by itself.
    #[must_use]
    pub fn new(config: &'c Config, now: Instant) -> Self {
        let mut window = Window::new();
        window.push(Kind::Greeting, 0);
        Self {
            config,
            extensions: Extensions::NONE,
            phase: Phase::Opening,
            window,
            reader: Reader::default(),
            early: false,
            deadline: Some(now.after(config.timeouts.greeting)),
            encrypted: false,
            authenticated: false,
            stale: false,
            proven: false,
            mail_count: 0,
            domains: Domains::new(),
            domains_spent: false,
            orphan_count: 0,
            stage: Stage::None,
            way: Way::Data,
            utf8: false,
            recipients: Recipients::NONE,
            written_count: 0,
            chunk_left: 0,
            chunk_is_last: false,
            leading_dots: true,
            edge: Edge::LineStart,
            unsent: false,
            behind: false,
            older_recipients: Recipients::NONE,
            older_unsent: false,
            answers: Answers::NONE,
        }
    }

    /// The same on a connection that is encrypted from its first byte on.
    #[must_use]
    pub fn over_tls(config: &'c Config, now: Instant) -> Self {
        let mut session = Self::new(config, now);
        session.encrypted = true;
        session
    }

    /// What the peer offered; nothing before [`Event::Ready`].
    #[must_use]
    pub const fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// Is there TLS, as far as the session was told?
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Has AUTH succeeded, in the peer's words?
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// May `begin` be called? Between transactions, and, if the peer offers PIPELINING, as soon as
    /// the content was sent whole, when no more than this one transaction is unanswered; and as long as the
    /// peer's LIMITS permit a further transaction at all.
    //= RFC 2920 section 3.1: the end of the content may be followed by the next transaction's commands
    #[must_use]
    pub const fn can_begin(&self) -> bool {
        matches!(self.phase, Phase::Ready)
            && !self.is_used_up()
            && match self.stage {
                Stage::None => true,
                Stage::Ended => !self.behind && self.pipelines(),
                _ => false,
            }
    }

    /// Do the peer's LIMITS permit no further transaction on this connection? `can_begin` is false then for good:
    /// what is left to send needs another connection.
    //= RFC 9422 section 4.1: MAILMAX is the number of MAIL commands in one session
    #[must_use]
    pub const fn is_used_up(&self) -> bool {
        let mail_count_max = self.extensions.limits().mail_count_max;
        self.domains_spent || (mail_count_max != 0 && self.mail_count >= mail_count_max)
    }

    /// May `ask`, `auth` or `start_tls` be called? Between transactions, when nothing is unanswered that
    /// must be answered first. Where a transaction has failed, the peer still has it open: then `reset` comes
    /// first, and its answer.
    //= RFC 4954 section 4: AUTH is not permitted in a transaction
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.phase == Phase::Ready
            && self.stage == Stage::None
            && !self.stale
            && self.may_send(COMMAND_LINE_LEN_MAX)
    }

    /// Opens the next transaction: from now on `write` is called with its envelope.
    ///
    /// # Panics
    /// If `can_begin` says no.
    pub fn begin(&mut self) {
        assert!(
            self.can_begin(),
            "a transaction was begun inside another one"
        );
        self.behind = self.stage == Stage::Ended;
        self.older_recipients = core::mem::take(&mut self.recipients);
        self.older_unsent = core::mem::take(&mut self.unsent);
        self.stage = Stage::Begun;
    }

    /// Says whether of the content that `segments` was last asked for something has not left yet, be it its end
    /// alone. By itself the session takes for sent what it has given; who collects it to write it all at once,
    /// and calls `receive` while the peer takes no more, says `true` when the content begins, and `false` when
    /// everything was written, or [`end_has_left`](Self::end_has_left). In between an answer to it comes too
    /// early, as if `end_body` had not been called: a refusal is [`Event::Refused`], a success is none, and of a
    /// connection that ends nothing is in doubt.
    ///
    /// A second content may be collected behind the end of the first.
    pub const fn set_unsent(&mut self, unsent: bool) {
        self.unsent = unsent;
        self.older_unsent &= unsent;
    }

    /// Of the contents that were collected the oldest has left, with its end: where two are written at once, one
    /// call for each. Without it an answer to the first, while the peer takes no more of the second, would come
    /// too early.
    pub const fn end_has_left(&mut self) {
        match self.older_unsent {
            true => self.older_unsent = false,
            false => self.unsent = false,
        }
    }

    /// Gives up the newest transaction: `Over` will follow. `false` if it is too late, since the
    /// content is due, asked for, or on its way: then only hanging up can stop it. Between two chunks of the
    /// caller's it is not too late.
    ///
    /// Between transactions it sends RSET if the peer needs one. There is no need to: the next
    /// transaction sees to it by itself.
    //= RFC 3030 section 2: RSET before the last chunk takes back those that were sent
    pub fn reset(&mut self, out: &mut Vec<u8>) -> bool {
        match self.stage {
            Stage::Asked | Stage::Body | Stage::Ended => return false,
            Stage::GivenUp | Stage::Unsendable(_) => return true,
            Stage::Begun | Stage::Cleared => self.stage = Stage::GivenUp,
            // Nothing can be sent, or there is nothing to take back.
            Stage::None if self.phase != Phase::Ready => {}
            Stage::None if !self.stale || !self.window.is_empty() => {}
            Stage::None | Stage::Envelope | Stage::Due => {
                if self.stage != Stage::None {
                    self.stage = Stage::GivenUp;
                }
                if self.may_send(RESET.len()) {
                    self.send(Kind::Reset, RESET, out);
                }
            }
        }
        true
    }

    /// Appends QUIT, whose answer will be [`Event::Close`]; the answers before it still come. True
    /// if it has been sent, now or before. False in the middle of a transaction, of AUTH or of a question, and,
    /// for a peer without PIPELINING, while an answer is outstanding: ask again later, or hang up.
    pub fn quit(&mut self, out: &mut Vec<u8>) -> bool {
        let idle = matches!(self.stage, Stage::None | Stage::Ended);
        let quiet = self.window.is_empty() || self.pipelines();
        if self.phase == Phase::Ready && idle && quiet {
            self.send(Kind::Quit, QUIT, out);
            self.phase = Phase::Quitting;
        }
        self.phase == Phase::Quitting
    }

    /// When the peer's time is up; `None` while nothing is waited for.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// If the deadline has passed, the next event is [`Event::Broken`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        if let (true, Some(oldest)) = (late, self.window.oldest()) {
            self.deadline = None;
            self.phase = Phase::Ending(Violation::Silent(step(oldest)));
        }
    }

    /// What became of the transactions that no event has ended, oldest first; `None` for those
    /// that do not exist. To be asked when the connection has ended, for whatever reason.
    ///
    /// It is said of those recipients that no event has settled: in LMTP, after some [`Event::Delivered`], of the
    /// others that were taken. Recipients that `LeftOver` has named are not meant; if the connection ended
    /// before it could, they share the fate of the others, which errs on the safe side.
    #[must_use]
    pub fn fates(&self) -> [Option<Fate>; 2] {
        let (stage, answers, away) = (self.stage, self.answers, self.phase == Phase::TurnedAway);
        let sent = |stage, unsent| match stage {
            Stage::Ended if unsent => Stage::Body,
            stage => stage,
        };
        let stage = sent(stage, self.unsent);
        if self.behind {
            let older = sent(Stage::Ended, self.older_unsent);
            let older = older.fate(answers, self.older_recipients.count, away);
            let newest = stage.fate(Answers::NONE, self.recipients.count, away);
            return [older, newest];
        }
        [stage.fate(answers, self.recipients.count, away), None]
    }

    const fn peer(&self) -> Peer<'_> {
        Peer {
            extensions: &self.extensions,
            encrypted: self.encrypted,
            proven: self.proven,
            config: self.config,
        }
    }

    const fn pipelines(&self) -> bool {
        next::pipelines(&self.extensions, self.config)
    }

    /// May one more command of this length go out before the next answer?
    fn may_send(&self, len: usize) -> bool {
        self.window.is_empty() || (self.pipelines() && self.window.has_room(len))
    }

    fn send(&mut self, kind: Kind, line: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(line);
        self.window.push(kind, line.len());
    }

    /// Remembers the command that was written at `from`, or takes it back if it has no room yet.
    fn count(&mut self, kind: Kind, from: usize, out: &mut Vec<u8>) -> bool {
        let len = out.len() - from;
        if !self.may_send(len) {
            out.truncate(from);
            return false;
        }
        self.window.push(kind, len);
        true
    }

    /// The oldest transaction has ended.
    fn finish(&mut self) {
        self.answers = Answers::NONE;
        self.older_unsent = false;
        if !core::mem::take(&mut self.behind) {
            self.stage = Stage::None;
            self.unsent = false;
        }
    }

    /// The oldest transaction's content is on its way, and not all of it has left.
    const fn is_underway(&self) -> bool {
        match self.behind {
            true => self.older_unsent,
            false => self.unsent || matches!(self.stage, Stage::Body),
        }
    }

    fn close<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        self.phase = Phase::Closed;
        Event::Close(answer)
    }

    fn broken<'i>(&mut self, violation: Violation, bytes: &'i [u8]) -> Event<'i> {
        self.phase = Phase::Closed;
        self.deadline = None;
        Event::Broken(violation, bytes.get(..SHOWN_LEN_MAX).unwrap_or(bytes))
    }

    /// An answer that this command cannot have.
    #[cold]
    fn unexpected<'i>(&mut self, kind: Kind, answer: Answer<'i>) -> Event<'i> {
        self.broken(Violation::Unexpected(step(kind)), answer.raw())
    }
}

impl Recipients {
    const NONE: Self = Self {
        count: 0,
        given_count: 0,
        untold: false,
        open: false,
    };
}
