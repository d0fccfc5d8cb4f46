//! The moves of the dialogue between bodies: turns, clocks, counts, lines, the transaction's
//! beginning and end. Which move is made is decided in `step` and `auth`.

use super::{LastWord, NEVER, Phase, Question, Session, Swallow};
use crate::command::parse::Refusal;
use crate::command::{BodyKind, Mail};
use crate::limits::{AUTH_LINE_LEN_MAX, COMMAND_LINE_LEN_MAX};
use crate::line::{self, Line};
use crate::reply::Reply;
use crate::server::{Event, Turn};
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

impl Session<'_> {
    pub(in crate::server) fn ask(&mut self, question: Question) -> Turn {
        self.serial = self.serial.wrapping_add(1);
        self.open = question;
        self.progress();
        Turn(self.serial)
    }

    /// The peer did something whole: its next wait has a time of its own.
    pub(in crate::server) fn progress(&mut self) {
        self.deadline = NEVER;
    }

    /// The time since the last message runs from the first call behind it.
    pub(in crate::server) fn start_idle_clock(&mut self, now: Instant) {
        if self.since == NEVER {
            self.since = now;
        }
    }

    /// The peer has to send something now, within this time and what is left of the whole.
    pub(in crate::server) fn wait<'i>(&mut self, now: Instant, time: Duration) -> Event<'i> {
        if self.deadline == NEVER {
            let whole = match self.body_until {
                NEVER => self.since.after(self.config.timeouts.idle_total),
                until => until,
            };
            self.deadline = now.after(time).min(whole);
        }
        Event::NeedInput
    }

    pub(in crate::server) fn take_line<'i>(&mut self, input: &mut &'i [u8]) -> Line<'i> {
        let len_max = match **input {
            // No other command begins so: the usual line pays one comparison.
            [b'A' | b'a', ..] => self.line_len_max(input),
            _ => COMMAND_LINE_LEN_MAX,
        };
        line::take(&mut self.looked, len_max, input)
    }

    /// Octets that the line at the front of the input may have.
    //= RFC 4954 section 4: lines of AUTH may be longer than other commands
    #[cold]
    fn line_len_max(&self, input: &[u8]) -> usize {
        let is_auth = input
            .get(..5)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH "));
        if is_auth && !self.mechanisms().is_empty() {
            AUTH_LINE_LEN_MAX
        } else {
            COMMAND_LINE_LEN_MAX
        }
    }

    pub(in crate::server) fn take_response<'i>(&mut self, input: &mut &'i [u8]) -> Line<'i> {
        line::take(&mut self.looked, AUTH_LINE_LEN_MAX, input)
    }

    /// The line that was too long is through; a refusal that waits for a chunk still waits.
    pub(in crate::server) fn end_line(&mut self) {
        self.swallow = Swallow::Nothing;
        self.progress();
    }

    /// Counts a command, and says whether it is one too many.
    pub(in crate::server) fn count_command(&mut self) -> bool {
        self.commands = self.commands.saturating_add(1);
        self.commands > self.config.limits.command_count_max
    }

    /// The same command will be read again, or is none of those that are counted.
    pub(in crate::server) fn uncount_command(&mut self) {
        self.commands = self.commands.saturating_sub(1);
    }

    pub(in crate::server) fn count_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
        if self.errors >= self.config.limits.error_count_max {
            self.last_word = LastWord::TooManyErrors;
        }
    }

    /// Behind a refusal a wrong order is no error: the peer sent it before it could know.
    //= RFC 2920 section 3.1: a client sends MAIL, RCPT and DATA without waiting for the replies
    pub(in crate::server) fn count_order_error(&mut self, reply: Refusal) {
        let is_error = match reply.code.get() {
            503 => !self.excused && !self.lacks_refused_recipients(reply),
            code => code == Reply::TLS_REQUIRED.code.get(),
        };
        if is_error {
            self.count_error();
        }
    }

    /// Is it said for want of recipients, all of which were refused?
    fn lacks_refused_recipients(&self, reply: Refusal) -> bool {
        self.recipient_refused && *reply == Reply::NEED_RECIPIENT
    }

    /// A transaction has failed: what was pipelined behind it comes nevertheless.
    pub(in crate::server) fn note_failure(&mut self) {
        self.excused = true;
    }

    /// What was pipelined behind a failed transaction is through.
    pub(in crate::server) fn forget_failure(&mut self) {
        self.excused = false;
    }

    /// A transaction that the caller may allow.
    pub(in crate::server) fn propose_mail(&mut self, mail: &Mail<'_>) {
        self.smtputf8 = mail.smtputf8;
        self.binary = mail.body == Some(BodyKind::BinaryMime);
        self.recipients = 0;
        self.recipient_refused = false;
    }

    pub(in crate::server) fn note_bad_recipient(&mut self) {
        self.recipient_refused = true;
    }

    pub(in crate::server) fn end_transaction(&mut self) {
        self.phase = Phase::Idle;
        self.recipients = 0;
        self.recipient_refused = false;
        self.refusal = None;
        self.body_until = NEVER;
        self.progress();
    }

    /// The exchange of AUTH has failed, or was given up.
    pub(in crate::server) fn end_exchange(&mut self) {
        self.phase = Phase::Idle;
    }

    /// The last word.
    pub(in crate::server) fn close<'i>(
        &mut self,
        reply: &Reply<'_>,
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        self.say(reply, out);
        self.hang_up()
    }

    /// No word at all.
    pub(in crate::server) fn hang_up<'i>(&mut self) -> Event<'i> {
        self.phase = Phase::Closed;
        self.swallow = Swallow::Nothing;
        self.progress();
        Event::Close
    }
}
