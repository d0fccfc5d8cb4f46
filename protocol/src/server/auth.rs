//! AUTH, RFC 4954 section 4: the command, and the responses behind it. What a mechanism says is `sasl`'s
//! business and the caller's; what changes is in `state`.
//!
//! Responses are the next lines, whenever they came: a client that has sent more behind AUTH than
//! AUTH has use for has sent responses, and no commands.

use super::state::{Question, Swallow};
use super::{Event, Session};
use crate::command::Verb;
use crate::command::parse::{self, Refusal};
use crate::line::{self, Line};
use crate::reply::Reply;
use crate::time::Instant;
use alloc::vec::Vec;

impl Session<'_> {
    pub(super) fn auth<'i>(&mut self, argument: &'i [u8]) -> Result<Event<'i>, Refusal> {
        let known = self.config.extensions.mechanisms();
        if known.is_empty() {
            return Err(&Reply::NOT_IMPLEMENTED);
        }
        if self.is_authenticated() {
            return Err(&Reply::ALREADY_AUTHENTICATED);
        }
        match parse::auth(argument, self.mechanisms()) {
            Ok(auth) => Ok(Event::Auth(auth, self.ask(Question::Auth))),
            // Behind TLS it would be there.
            Err(_) if self.tls.is_none() && parse::auth(argument, known).is_ok() => {
                Err(&Reply::ENCRYPTION_NEEDED)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// The next line of the exchange.
    pub(super) fn exchange<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        match self.take_response(input) {
            Line::Incomplete => self.wait(now, self.config.timeouts.command),
            _ if self.count_command() => self.close(&Reply::TOO_MANY_COMMANDS, out),
            Line::TooLong => self.fail_exchange(&Reply::AUTH_LINE_TOO_LONG, out),
            Line::BareLf if !self.config.strictness.bare_lf_in_commands.accepts() => {
                self.fail_exchange(&Reply::BARE_LF, out)
            }
            Line::BareLf => self.response(line::take_to_lf(input), out),
            Line::Complete(line) => self.response(line, out),
        }
    }

    fn response<'i>(&mut self, line: &'i [u8], out: &mut Vec<u8>) -> Event<'i> {
        self.progress();
        //= RFC 4954 section 4: an asterisk alone cancels the exchange
        if line == b"*" {
            self.end_exchange();
            return self.answer(Verb::Auth, &Reply::AUTH_CANCELLED, out);
        }
        Event::Sasl(line, self.ask(Question::Auth))
    }

    /// The line will never be a response: its rest is thrown away.
    fn fail_exchange<'i>(&mut self, reply: Refusal, out: &mut Vec<u8>) -> Event<'i> {
        self.end_exchange();
        self.begin_swallow(Swallow::Line);
        self.answer(Verb::Auth, reply, out)
    }
}
