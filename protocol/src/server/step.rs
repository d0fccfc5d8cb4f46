//! One step of the dialogue: what is at the front of the input, and which move it leads to. The
//! moves themselves, and the state that they change, are in `state`; which command may come when
//! is in `order`; what stands behind AUTH, DATA and BDAT is read in `auth` and `body`.

use super::state::{LastWord, Phase, Question, Swallow};
use super::{Event, Session, order};
use crate::command::parse::{self, Refusal};
use crate::command::{Hello, Mail, Other, Verb};
use crate::extension::Extension;
use crate::line::{self, Line};
use crate::reply::Reply;
use crate::time::Instant;
use alloc::vec::Vec;

impl Session<'_> {
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
        self.start_idle_clock(now);
        if self.swallow != Swallow::Nothing
            && let Some(event) = self.swallow(now, input, out)
        {
            return event;
        }
        match self.phase {
            Phase::Closed => Event::Close,
            Phase::Connecting => Event::Connected(self.ask(Question::Connected)),
            Phase::Handshake => self.handshake(now, input),
            Phase::Data => self.data(now, input),
            Phase::Chunk => self.chunk(now, input, out),
            Phase::Delivered => self.next_answer(),
            Phase::Refused
            | Phase::Greeted
            | Phase::Idle
            | Phase::Exchange
            | Phase::Envelope
            | Phase::Chunks => match self.last_word {
                LastWord::TooManyErrors => self.close(&Reply::TOO_MANY_ERRORS, out),
                //= RFC 5321 section 3.8: a server that must shut down says 421
                LastWord::ShuttingDown if self.phase != Phase::Chunks => {
                    self.close(&Reply::SHUTTING_DOWN, out)
                }
                _ if self.phase == Phase::Exchange => self.exchange(now, input, out),
                _ => self.line(now, input, out),
            },
        }
    }

    fn line<'i>(&mut self, now: Instant, input: &mut &'i [u8], out: &mut Vec<u8>) -> Event<'i> {
        let whole = *input;
        match self.take_line(input) {
            Line::Incomplete => self.wait(now, self.config.timeouts.command),
            _ if self.count_command() => self.close(&Reply::TOO_MANY_COMMANDS, out),
            Line::Complete(line) => self.command_line(now, line, whole, input, out),
            // The answer does not wait for the end, which may never come.
            Line::TooLong => {
                self.begin_swallow(Swallow::Line);
                self.answer(Verb::Unknown, &Reply::LINE_TOO_LONG, out)
            }
            Line::BareLf if self.config.strictness.bare_lf_in_commands.accepts() => {
                let line = line::take_to_lf(input);
                self.command_line(now, line, whole, input, out)
            }
            //= RFC 5321 section 2.3.8: what stands behind a LF alone is the same line, not another command
            Line::BareLf => {
                self.begin_swallow(Swallow::Line);
                self.answer(Verb::Unknown, &Reply::BARE_LF, out)
            }
        }
    }

    /// `whole` is the input from this line on, `input` what is behind it.
    fn command_line<'i>(
        &mut self,
        now: Instant,
        line: &'i [u8],
        whole: &'i [u8],
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        self.progress();
        match parse::verb(line) {
            // First comes the end of the transaction; the same line is then read again.
            //= RFC 5321 section 4.1.4: EHLO in a session resets it as RSET does
            Ok((verb @ (Verb::Ehlo | Verb::Helo | Verb::Lhlo), argument))
                if self.in_transaction() && self.read_hello(verb, argument).is_ok() =>
            {
                self.uncount_command();
                *input = whole;
                self.reset()
            }
            Ok((verb, argument)) => self.command(now, verb, argument, input, out),
            Err(refusal) => self.unknown(line, refusal, out),
        }
    }

    fn command<'i>(
        &mut self,
        now: Instant,
        verb: Verb,
        argument: &'i [u8],
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        if verb == Verb::Bdat {
            return self.bdat(now, argument, input, out);
        }
        if let Some(refusal) = self.without_tls(verb) {
            return self.answer(verb, refusal, out);
        }
        if let Some(refusal) = order::out_of_order(self.phase, verb) {
            return self.answer_order(verb, refusal, out);
        }
        let took = match verb {
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => self
                .read_hello(verb, argument)
                .map(|hello| self.hello(hello)),
            Verb::Mail => self.mail(argument).inspect_err(|_| self.note_failure()),
            Verb::Recipient => self.recipient(argument),
            Verb::Noop => Err(&Reply::OK),
            Verb::Verify
            | Verb::Expand
            | Verb::Help
            | Verb::Etrn
            | Verb::XClient
            | Verb::XForward => self.other(verb, argument),
            Verb::Auth => self.auth(argument),
            Verb::StartTls if !self.offers(Extension::StartTls) => Err(&Reply::NOT_IMPLEMENTED),
            //= RFC 3207 section 4.2: TLS is started once
            Verb::StartTls if self.tls.is_some() => Err(&Reply::ALREADY_TLS),
            //= RFC 5321 section 4.1.1: DATA, RSET and QUIT take no argument
            //= RFC 3207 section 4: STARTTLS takes none either
            _ if !argument.is_empty() => Err(&Reply::BAD_ARGUMENT),
            //= RFC 3207 section 4.2: what came in clear text must never pass for what TLS protects
            Verb::StartTls if !input.is_empty() => {
                return self.close(&Reply::DATA_BEHIND_STARTTLS, out);
            }
            Verb::StartTls => Ok(Event::StartTls(self.ask(Question::StartTls))),
            Verb::Data => match self.refusal_of_data() {
                Some(refusal) => return self.answer_order(verb, refusal, out),
                None => {
                    self.propose_data();
                    Ok(Event::Data(self.ask(Question::Data)))
                }
            },
            Verb::Reset if self.in_transaction() => {
                self.say(&Reply::OK, out);
                return self.reset();
            }
            Verb::Reset => {
                self.forget_failure();
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

    /// The refusal of what must not come before TLS, where TLS is insisted on. XCLIENT may come: it is
    /// a proxy's, which has taken TLS away.
    #[inline]
    pub(super) fn without_tls(&self, verb: Verb) -> Option<Refusal> {
        if !self.config.tls_required || self.tls.is_some() {
            return None;
        }
        //= RFC 3207 section 4: NOOP, EHLO, STARTTLS and QUIT are never refused so
        //= RFC 5321 section 4.1.1.5: nor is RSET, which is always answered with 250
        match verb {
            Verb::Noop
            | Verb::Ehlo
            | Verb::Lhlo
            | Verb::StartTls
            | Verb::Reset
            | Verb::Quit
            | Verb::XClient => None,
            _ => Some(&Reply::TLS_REQUIRED),
        }
    }

    /// The argument of whichever greeting this server knows.
    //= RFC 2033 section 4.1: LMTP has LHLO, and knows neither EHLO nor HELO
    fn read_hello<'i>(&self, verb: Verb, argument: &'i [u8]) -> Result<Hello<'i>, Refusal> {
        if (verb == Verb::Lhlo) != self.config.lmtp {
            return Err(&Reply::UNKNOWN_COMMAND);
        }
        parse::hello(verb != Verb::Helo, argument, &self.config.strictness)
    }

    fn hello<'i>(&mut self, hello: Hello<'i>) -> Event<'i> {
        self.forget_failure();
        let question = if hello.extended {
            Question::Ehlo
        } else {
            Question::Helo
        };
        Event::Hello(hello, self.ask(question))
    }

    fn mail<'i>(&mut self, argument: &'i [u8]) -> Result<Event<'i>, Refusal> {
        if let Some(refusal) = self.unauthenticated() {
            return Err(refusal);
        }
        let mail = parse::mail(argument, &self.config.extensions, &self.config.strictness)?;
        if let Some(refusal) = self.refusal_of_mail(&mail) {
            return Err(refusal);
        }
        self.propose_mail(&mail);
        Ok(Event::Mail(mail, self.ask(Question::Mail)))
    }

    /// What the grammar cannot know of a transaction.
    fn refusal_of_mail(&self, mail: &Mail<'_>) -> Option<Refusal> {
        //= RFC 8689 section 2: REQUIRETLS is for sessions within TLS, where alone it is offered
        if mail.require_tls && self.tls.is_none() {
            return Some(&Reply::REQUIRE_TLS_WITHOUT_TLS);
        }
        self.too_many_mails()
    }

    fn recipient<'i>(&mut self, argument: &'i [u8]) -> Result<Event<'i>, Refusal> {
        let recipient = parse::recipient(
            argument,
            self.smtputf8,
            &self.config.extensions,
            &self.config.strictness,
        )
        .inspect_err(|_| self.note_bad_recipient())?;
        //= RFC 5321 section 4.5.3.1.10: too many recipients get 452, those before stay
        if self.recipients >= self.config.limits.recipient_count_max {
            return Err(&Reply::TOO_MANY_RECIPIENTS);
        }
        Ok(Event::Recipient(recipient, self.ask(Question::Recipient)))
    }

    //= RFC 3030 section 3: BINARYMIME cannot be used with DATA
    fn refusal_of_data(&self) -> Option<Refusal> {
        if self.binary {
            Some(&Reply::NOT_BY_DATA)
        } else {
            self.without_recipients()
        }
    }

    /// The commands that are policy alone.
    #[cold]
    fn other<'i>(&mut self, verb: Verb, argument: &'i [u8]) -> Result<Event<'i>, Refusal> {
        let refusal = match verb {
            // Nobody need answer it; who wants to says so.
            Verb::Help if !self.offers(Extension::Help) => Some(&Reply::HELP),
            Verb::Etrn if !self.offers(Extension::Etrn) => Some(&Reply::NOT_IMPLEMENTED),
            Verb::XClient if !self.offers(Extension::XClient) => Some(&Reply::NOT_IMPLEMENTED),
            Verb::XForward if !self.offers(Extension::XForward) => Some(&Reply::NOT_IMPLEMENTED),
            Verb::Verify | Verb::Expand | Verb::Etrn => self.unauthenticated(),
            _ => None,
        };
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let other = parse::other(verb, argument)?;
        let (question, unknown) = match &other {
            Other::XClient(said) => (
                Question::XClient,
                !self.config.extensions.x_client().has_all(said.set()),
            ),
            Other::XForward(said) => (
                Question::Other,
                !self.config.extensions.x_forward().has_all(said.set()),
            ),
            _ => (Question::Other, false),
        };
        // <https://www.postfix.org/XCLIENT_README.html>: what is not announced is bad syntax.
        if unknown {
            return Err(&Reply::BAD_ARGUMENT);
        }
        Ok(Event::Other(other, self.ask(question)))
    }

    /// A line that is no command known here.
    #[cold]
    fn unknown<'i>(&mut self, line: &'i [u8], refusal: Refusal, out: &mut Vec<u8>) -> Event<'i> {
        if parse::is_http(line) {
            return self.close(refusal, out);
        }
        let is_private = self.config.private_commands
            && self.phase != Phase::Refused
            && *refusal == Reply::UNKNOWN_COMMAND;
        if !is_private {
            return self.answer(Verb::Unknown, refusal, out);
        }
        if let Some(refusal) = self.without_tls(Verb::Unknown) {
            return self.answer(Verb::Unknown, refusal, out);
        }
        match parse::other(Verb::Unknown, line) {
            Ok(other) => Event::Other(other, self.ask(Question::Other)),
            Err(refusal) => self.answer(Verb::Unknown, refusal, out),
        }
    }

    fn reset<'i>(&mut self) -> Event<'i> {
        self.end_transaction();
        self.forget_failure();
        Event::Reset
    }

    fn handshake<'i>(&mut self, now: Instant, input: &[u8]) -> Event<'i> {
        if !input.is_empty() {
            // It was read before the handshake began, so it came in clear text.
            return self.hang_up();
        }
        self.wait(now, self.config.timeouts.command);
        Event::Handshake
    }

    /// The session's own answer to a command.
    pub(super) fn answer<'i>(
        &mut self,
        verb: Verb,
        reply: Refusal,
        out: &mut Vec<u8>,
    ) -> Event<'i> {
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
}
