//! One step of the dialogue: what is at the front of the input, and which move it leads to. The
//! moves themselves, and the state that they change, are in `state`; which command may come when
//! is in `order`.

use super::state::{LastWord, Phase, Question, Swallow};
use super::{Event, Session, Verdict, order};
use crate::body::Dotted;
use crate::command::parse::{self, Refusal};
use crate::command::{Hello, Verb};
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
            Phase::Refused | Phase::Greeted | Phase::Idle | Phase::Envelope | Phase::Chunks => {
                match self.last_word {
                    LastWord::TooManyErrors => self.close(&Reply::TOO_MANY_ERRORS, out),
                    //= RFC 5321 section 3.8: a server that must shut down says 421
                    LastWord::ShuttingDown if self.phase != Phase::Chunks => {
                        self.close(&Reply::SHUTTING_DOWN, out)
                    }
                    _ => self.line(now, input, out),
                }
            }
        }
    }

    fn line<'i>(&mut self, now: Instant, input: &mut &'i [u8], out: &mut Vec<u8>) -> Event<'i> {
        let whole = *input;
        match self.take_line(input) {
            Line::Incomplete => self.wait(now, self.config.timeouts.command),
            _ if self.count_command() => self.close(&Reply::TOO_MANY_COMMANDS, out),
            // The answer does not wait for the end, which may never come.
            Line::TooLong => {
                self.begin_swallow(Swallow::Line);
                self.answer(Verb::Unknown, &Reply::LINE_TOO_LONG, out)
            }
            //= RFC 5321 section 2.3.8: what stands behind a LF alone is the same line, not another command
            Line::BareLf => {
                self.begin_swallow(Swallow::Line);
                self.answer(Verb::Unknown, &Reply::BARE_LF, out)
            }
            Line::Complete(line) => {
                self.progress();
                match parse::verb(line) {
                    // First comes the end of the transaction; the same line is then read again.
                    //= RFC 5321 section 4.1.4: EHLO in a session resets it as RSET does
                    Ok((Verb::Ehlo | Verb::Helo, argument))
                        if self.in_transaction()
                            && parse::hello(true, argument, &self.config.strictness).is_ok() =>
                    {
                        self.uncount_command();
                        *input = whole;
                        self.reset()
                    }
                    Ok((verb, argument)) => self.command(now, verb, argument, input, out),
                    Err(refusal) if parse::is_http(line) => self.close(refusal, out),
                    Err(refusal) => self.answer(Verb::Unknown, refusal, out),
                }
            }
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
        if let Some(refusal) = order::out_of_order(self.phase, verb) {
            return self.answer_order(verb, refusal, out);
        }
        let took = match verb {
            Verb::Ehlo | Verb::Helo => {
                parse::hello(verb == Verb::Ehlo, argument, &self.config.strictness)
                    .map(|hello| self.hello(hello))
            }
            Verb::Mail => self.mail(argument),
            Verb::Recipient => self.recipient(argument),
            Verb::Verify | Verb::Expand | Verb::Etrn => parse::other(verb, argument)
                .map(|other| Event::Other(other, self.ask(Question::Other))),
            Verb::Noop => Err(&Reply::OK),
            Verb::Help => Err(&Reply::HELP),
            Verb::Auth | Verb::Lhlo | Verb::XClient | Verb::XForward => {
                Err(&Reply::NOT_IMPLEMENTED)
            }
            Verb::StartTls if self.tls || !self.offers(Extension::StartTls) => {
                Err(&Reply::NOT_IMPLEMENTED)
            }
            //= RFC 5321 section 4.1.1: DATA, RSET and QUIT take no argument
            //= RFC 3207 section 4: STARTTLS takes none either
            _ if !argument.is_empty() => Err(&Reply::BAD_ARGUMENT),
            //= RFC 3207 section 4.2: what came in clear text must never pass for what TLS protects
            Verb::StartTls if !input.is_empty() => {
                return self.close(&Reply::DATA_BEHIND_STARTTLS, out);
            }
            Verb::StartTls => Ok(Event::StartTls(self.ask(Question::StartTls))),
            Verb::Data => match self.without_recipients() {
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
        let mail = parse::mail(argument, &self.config.extensions, &self.config.strictness)?;
        self.propose_mail(&mail);
        Ok(Event::Mail(mail, self.ask(Question::Mail)))
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

    fn data<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Event<'i> {
        self.start_body_clock(now);
        match self.take_dotted(input) {
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
        let bdat = match parse::bdat(argument) {
            Ok(bdat) => bdat,
            // Nobody knows where the next command begins: going on would take a body for commands.
            Err(refusal) => return self.close(refusal, out),
        };
        self.announce_chunk(bdat);
        if self.phase == Phase::Chunks {
            return self.next_chunk(now, bdat.size, input, out);
        }
        let refusal = order::out_of_order(self.phase, Verb::Bdat);
        if let Some(refusal) = refusal.or_else(|| self.without_recipients()) {
            self.count_order_error(refusal);
            self.refuse_later(Swallow::Chunk, refusal);
            return self.swallow(now, input, out).unwrap_or(Event::NeedInput);
        }
        if bdat.size > self.size_max() {
            self.refuse_body(Swallow::Chunk, &Reply::TOO_LARGE);
            return Event::Reset;
        }
        Event::Data(self.ask(Question::FirstChunk))
    }

    fn next_chunk<'i>(
        &mut self,
        now: Instant,
        size: u64,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        if let Some(refusal) = self.refusal {
            self.refuse_body(Swallow::Chunk, refusal);
            return self.swallow(now, input, out).unwrap_or(Event::NeedInput);
        }
        //= RFC 1870 section 6.3: a message that grows past the limit is refused with 552
        if self.len.saturating_add(size) > self.size_max() {
            self.refuse_body(Swallow::Chunk, &Reply::TOO_LARGE);
            return Event::Reset;
        }
        self.begin_chunk();
        self.chunk(now, input, out)
    }

    fn chunk<'i>(&mut self, now: Instant, input: &mut &'i [u8], out: &mut Vec<u8>) -> Event<'i> {
        self.start_body_clock(now);
        if self.left > 0 {
            let slice = self.take_chunk(input);
            if slice.is_empty() {
                return self.wait(now, self.config.timeouts.body);
            }
            return self.stretch(slice, Swallow::Chunk);
        }
        if self.last_chunk {
            return self.end_body();
        }
        self.end_chunk();
        //= RFC 3030 section 2: each chunk is answered with 250
        self.answer(Verb::Bdat, &Reply::OK, out)
    }

    fn stretch<'i>(&mut self, slice: &'i [u8], rest: Swallow) -> Event<'i> {
        let excess = self.grow(slice.len());
        if excess > 0 {
            self.refuse_body(rest, &Reply::TOO_LARGE);
            // However the input is cut, the same octets count as thrown away.
            self.has_swallowed(excess);
            return Event::Reset;
        }
        Event::Body(slice)
    }

    fn end_body<'i>(&mut self) -> Event<'i> {
        let findings = self.findings();
        let bare = findings.bare_cr || findings.bare_lf;
        if (bare && self.config.strictness.bare_line_ends == Verdict::Reject)
            || (findings.nul && self.config.strictness.nul == Verdict::Reject)
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
        let more = match self.swallow {
            Swallow::Nothing => return None,
            Swallow::Answer => false,
            Swallow::Line => return self.swallow_line(now, input, out),
            Swallow::Data => loop {
                let before = input.len();
                let step = self.take_dotted(input);
                if self.has_swallowed((before - input.len()) as u64) {
                    return Some(self.give_up(out));
                }
                match step {
                    Dotted::End => break false,
                    Dotted::Slice(_) => self.progress(),
                    Dotted::NeedInput => break true,
                }
            },
            Swallow::Chunk => {
                if self.has_swallowed(0) {
                    return Some(self.give_up(out));
                }
                !self.swallow_chunk(input)
            }
        };
        if more {
            return Some(self.wait(now, self.config.timeouts.body));
        }
        let verb = if self.chunked { Verb::Bdat } else { Verb::Data };
        let reply = self.end_swallow()?;
        self.say(reply, out);
        Some(Event::Answered(verb, reply.code))
    }

    /// The rest of a line that was answered when it became too long.
    fn swallow_line<'i>(
        &mut self,
        now: Instant,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Event<'i>> {
        let before = input.len();
        let ended = line::skip(input);
        if self.has_swallowed((before - input.len()) as u64) {
            return Some(self.close(&Reply::UNSWALLOWED, out));
        }
        if !ended {
            return Some(self.wait(now, self.config.timeouts.command));
        }
        self.end_line();
        None
    }

    /// Too much was to be thrown away: the refusal is given while the peer still sends.
    fn give_up<'i>(&mut self, out: &mut Vec<u8>) -> Event<'i> {
        let reply = self.refusal.unwrap_or(&Reply::UNSWALLOWED);
        self.close(reply, out)
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
}
