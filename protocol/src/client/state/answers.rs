//! What comes in: which command a reply answers, and what it does to the transaction.

use super::Session;
use crate::client::next::timeout;
use crate::client::stage::{Phase, Stage};
use crate::client::window::Kind;
use crate::client::{Answer, Event, Violation};
use crate::reply::parse::Fault;
use crate::time::Instant;
use alloc::vec::Vec;

impl Session<'_> {
    /// Takes at most one reply off the front of `input`. An incomplete one is not consumed.
    ///
    /// While the content is being sent it may be called between two chunks, if there is something
    /// to read; it need not. Where chunks are collected before they are sent, see [`Session::set_unsent`].
    pub fn receive<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        match self.phase {
            Phase::Closed | Phase::TurnedAway => return Event::Closed,
            Phase::Ending(violation) => return self.broken(violation, &[]),
            Phase::Handshake => return Event::Handshake,
            Phase::Opening | Phase::Challenged | Phase::Ready | Phase::Quitting => {}
        }
        if let Some(event) = self.settle() {
            return event;
        }
        let before = *input;
        match self.reader.take(input) {
            Err(fault) => self.broken(violation(fault), before),
            Ok(Some(answer)) => {
                self.deadline = None;
                let more = !input.is_empty();
                self.digest(answer, more, out)
            }
            Ok(None) => {
                if let (None, Some(oldest)) = (self.deadline, self.window.oldest()) {
                    self.deadline = Some(now.after(timeout(oldest, self.config)));
                }
                Event::NeedInput
            }
        }
    }

    /// What no answer marks: recipients left over, and the end of some transactions.
    fn settle(&mut self) -> Option<Event<'static>> {
        let oldest = if self.behind {
            &mut self.older_recipients
        } else {
            &mut self.recipients
        };
        if core::mem::take(&mut oldest.untold) {
            return Some(Event::LeftOver(oldest.count));
        }
        if self.answers.delivered > 0 && self.is_delivered() {
            self.window.pop();
            self.finish();
            return Some(Event::Over);
        }
        if self.behind {
            return None;
        }
        if let Stage::Unsendable(reason) = self.stage {
            self.finish();
            return Some(Event::Unsendable(reason));
        }
        let dead = match self.stage {
            Stage::GivenUp => true,
            Stage::Envelope => self.answers.nobody(self.recipients.count),
            _ => false,
        };
        if !(dead && self.window.is_empty()) {
            return None;
        }
        self.finish();
        Some(Event::Over)
    }

    /// LMTP: the content was sent whole, and all answers behind it are there.
    fn is_delivered(&self) -> bool {
        self.answers.delivered == self.answers.taken
            && (self.behind || self.stage == Stage::Ended)
            && !self.is_underway()
    }

    /// What an answer does.
    fn digest<'i>(&mut self, answer: Answer<'i>, more: bool, out: &mut Vec<u8>) -> Event<'i> {
        //= RFC 5321 section 3.8: 421 may answer any command, and none: the server hangs up
        if answer.code.get() == 421 {
            self.phase = Phase::TurnedAway;
            return Event::Close(answer);
        }
        if core::mem::take(&mut self.early) {
            return self.said_early(answer);
        }
        let Some(kind) = self.window.oldest() else {
            return self.unasked(answer);
        };
        if kind == Kind::End && self.is_underway() {
            return self.said_early(answer);
        }
        if self.config.lmtp && matches!(kind, Kind::End | Kind::ChunkLast) && self.answers.taken > 0
        {
            return self.delivered(kind, answer, more);
        }
        self.window.pop();
        self.early = more && self.window.is_empty();
        let positive = answer.is_positive();
        if answer.code.is_intermediate() && !matches!(kind, Kind::Data | Kind::Auth | Kind::Quit) {
            return self.unexpected(kind, answer);
        }
        match kind {
            Kind::Recipient => self.recipient(answer),
            Kind::Mail => {
                self.answers.mail = Some(positive);
                self.stale |= positive;
                Event::Mail(answer)
            }
            Kind::Data if positive && !answer.code.is_intermediate() => {
                self.unexpected(kind, answer)
            }
            Kind::Data if positive => self.go(answer, out),
            Kind::Data if self.answers.taken > 0 => self.sent(answer),
            Kind::Data => {
                self.stage = Stage::GivenUp;
                Event::Answered
            }
            Kind::End => {
                self.stale = false;
                self.sent(answer)
            }
            Kind::EndOfNothing => self.taken_back(),
            // Refused before TLS or AUTH, as MAIL was: there is nothing to take back.
            //= RFC 3207 section 4: before TLS a server may say 530 to RSET as well
            Kind::Reset if positive || !self.stale => self.taken_back(),
            Kind::Reset => self.unexpected(kind, answer),
            Kind::Chunk | Kind::ChunkLast => self.chunk_answered(kind, answer),
            Kind::Quit => self.close(answer),
            _ => self.opened(kind, answer, more, out),
        }
    }

    /// The peer has forgotten the transaction that it had open.
    fn taken_back(&mut self) -> Event<'static> {
        self.stale = false;
        Event::Answered
    }

    /// An answer to nothing that is outstanding: only the content can be meant.
    fn unasked<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        if self.window.is_empty() && self.stage == Stage::Body && !answer.is_positive() {
            return self.refused(answer);
        }
        self.broken(Violation::Unasked, answer.raw())
    }

    /// An answer that had come, at least in part, when nothing was outstanding, or before the end of the content
    /// had left. What was sent since then it cannot mean, or a peer that answers once too often would be believed
    /// to have taken the next message. A refusal behind 354 means the content, whether or not that has been
    /// written meanwhile.
    //= RFC 5321 section 4.2: a reply answers a command, so that none can come before it
    #[cold]
    fn said_early<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        if self.window.oldest() == Some(Kind::End) && !answer.is_positive() {
            return self.refused(answer);
        }
        self.unasked(answer)
    }

    fn recipient<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        let recipient = self.answers.answered;
        self.answers.answered += 1;
        if self.answers.refused() {
            // Whatever it says, it has no sender: the refusal of MAIL has told all.
            return Event::Answered;
        }
        self.answers.taken += u16::from(answer.is_positive());
        Event::Recipient(recipient, answer)
    }

    /// 354.
    fn go<'i>(&mut self, answer: Answer<'i>, out: &mut Vec<u8>) -> Event<'i> {
        if self.answers.taken > 0 {
            self.stage = Stage::Body;
            return Event::SendBody;
        }
        //= RFC 2033 section 4.2: without a recipient DATA must fail; behind a dot as many answers would come as
        //= RFC 2033 section 4.2: there are recipients, none, and nobody could know which answer is whose
        if self.config.lmtp {
            return self.unexpected(Kind::Data, answer);
        }
        //= RFC 2920 section 3.1: with no recipient left, a 354 is followed by the dot alone
        self.send(Kind::EndOfNothing, b".\r\n", out);
        self.stage = Stage::GivenUp;
        Event::Answered
    }

    /// One of LMTP's answers behind the content.
    //= RFC 2033 section 4.2: one answer for each recipient that was taken, in their order
    fn delivered<'i>(&mut self, kind: Kind, answer: Answer<'i>, more: bool) -> Event<'i> {
        let positive = answer.is_positive();
        let early = self.is_underway();
        if answer.code.is_intermediate() || (positive && early) {
            return self.unexpected(kind, answer);
        }
        let nth = self.answers.delivered;
        if nth == self.answers.taken {
            return self.broken(Violation::Unasked, answer.raw());
        }
        self.answers.delivered += 1;
        let last = self.answers.delivered == self.answers.taken;
        self.early = more && last && self.window.count() == 1;
        self.proven |= positive;
        if positive || kind == Kind::End {
            self.stale = false;
        }
        Event::Delivered(nth, answer)
    }

    /// The answer to a chunk: of the older transaction if there are two.
    fn chunk_answered<'i>(&mut self, kind: Kind, answer: Answer<'i>) -> Event<'i> {
        let positive = answer.is_positive();
        if self.orphan_count > 0 {
            self.orphan_count -= 1;
            //= RFC 3030 section 2: chunks behind one that failed are thrown away
            return if positive && kind == Kind::ChunkLast {
                self.unexpected(kind, answer)
            } else {
                Event::Answered
            };
        }
        if self.is_underway() {
            // For this chunk it should not come before the last octet; a refusal is understood all the same.
            let is_newest = kind == Kind::ChunkLast || self.window.is_empty();
            return match positive {
                false => self.refused(answer),
                true if is_newest => self.unexpected(kind, answer),
                true => Event::Answered,
            };
        }
        if !self.behind && self.stage == Stage::GivenUp {
            return Event::Answered;
        }
        if kind == Kind::Chunk {
            if positive {
                return Event::Answered;
            }
            //= RFC 3030 section 2: one chunk that fails ends the transaction
            self.orphan_count = self.window.chunk_count();
            return self.sent(answer);
        }
        if positive {
            self.stale = false;
        }
        if self.answers.taken > 0 {
            return self.sent(answer);
        }
        //= RFC 2920 section 3.1: whatever follows when no recipient was taken, no message went anywhere
        self.finish();
        Event::Over
    }

    fn sent<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        self.proven |= answer.is_positive();
        self.finish();
        Event::Sent(answer)
    }

    fn refused<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        self.finish();
        self.phase = Phase::Closed;
        Event::Refused(answer)
    }
}

const fn violation(fault: Fault) -> Violation {
    match fault {
        Fault::Malformed => Violation::Malformed,
        Fault::CodesDiffer => Violation::CodesDiffer,
        Fault::TooLong => Violation::TooLong,
    }
}
