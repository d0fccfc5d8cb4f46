//! The octets behind DATA and BDAT: what is at the front of the input, and which move it leads to.
//! What is thrown away is here too. The moves themselves are in `state`.

use super::state::{Phase, Question, Swallow};
use super::{Event, Session, Verdict, order};
use crate::body::Dotted;
use crate::command::Verb;
use crate::command::parse::{self, Refusal};
use crate::extension::Extension;
use crate::line;
use crate::reply::Reply;
use crate::time::Instant;
use alloc::vec::Vec;

/// Octets of a chunk that is worth its command: as many chunks of them as a message may have are no
/// dialogue without a message. Some clients send chunks of 8 KiB, however large the message is.
const CHUNK_LEN_UNCOUNTED: u64 = 1024;

impl Session<'_> {
    pub(super) fn data<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Event<'i> {
        self.start_body_clock(now);
        match self.take_dotted(input) {
            Dotted::NeedInput => self.wait(now, self.config.timeouts.body),
            Dotted::Slice(slice) => self.stretch(slice, Swallow::Data),
            Dotted::End => self.end_body(),
        }
    }

    //= RFC 3030 section 2: BDAT has its chunk behind it, whatever is thought of the command
    pub(super) fn bdat<'i>(
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
        if let Some(refusal) = self.refusal_of_bdat() {
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

    fn refusal_of_bdat(&self) -> Option<Refusal> {
        self.without_tls(Verb::Bdat)
            .or_else(|| order::out_of_order(self.phase, Verb::Bdat))
            .or_else(|| self.without_recipients())
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
        if size >= CHUNK_LEN_UNCOUNTED {
            self.uncount_command();
        }
        self.begin_chunk();
        self.chunk(now, input, out)
    }

    pub(super) fn chunk<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
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
        if let Some(refusal) = self.refusal_of_content() {
            self.refuse_body(Swallow::Answer, refusal);
            return Event::Reset;
        }
        if self.config.lmtp {
            self.begin_answers();
            return self.next_answer();
        }
        self.end_transaction();
        Event::EndOfData(self.ask(Question::EndOfData))
    }

    /// LMTP: asks for the next recipient's answer.
    //= RFC 2033 section 4.2: the replies come in the order of the RCPT commands
    pub(super) fn next_answer<'i>(&mut self) -> Event<'i> {
        let turn = self.ask(Question::EndOfDataFor);
        Event::EndOfDataFor(self.answered(), turn)
    }

    /// What strictness says to a whole body.
    fn refusal_of_content(&self) -> Option<Refusal> {
        //= RFC 3030 section 3: in BINARYMIME CR, LF and NUL are octets like others, and lines are no lines
        if self.binary {
            return None;
        }
        let (findings, strictness) = (self.findings(), &self.config.strictness);
        let bare = findings.bare_cr || findings.bare_lf;
        if (bare && strictness.bare_line_ends == Verdict::Reject)
            || (findings.nul && strictness.nul == Verdict::Reject)
        {
            return Some(&Reply::BAD_LINE_ENDS);
        }
        //= RFC 5321 section 4.5.3.1.6: the limit of a text line counts its CRLF
        let line_len = findings.longest_line.saturating_add(2);
        match strictness.text_line_len_max {
            Some(len_max) if line_len > len_max => Some(&Reply::LINE_OF_TEXT_TOO_LONG),
            _ => None,
        }
    }

    /// Goes on throwing away; `None` when that is done and nothing is to be said about it.
    pub(super) fn swallow<'i>(
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
        //= RFC 5321 section 3.8: 421 to any command says that the connection is closing
        if reply.code == Reply::SHUTTING_DOWN.code {
            return Some(self.close(&reply, out));
        }
        self.say(&reply, out);
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
        // A line has the same end, whether it is read or not.
        let ended = if self.config.strictness.bare_lf_in_commands.accepts() {
            line::skip_to_lf(input)
        } else {
            line::skip(input)
        };
        if self.has_swallowed((before - input.len()) as u64) {
            return Some(self.close(&Reply::UNSWALLOWED, out));
        }
        if !ended {
            return Some(self.wait(now, self.config.timeouts.command));
        }
        self.end_line();
        None
    }
}
