//! What goes out in a transaction: MAIL, RCPT, DATA or BDAT, and the content.

use super::{Recipients, Session};
use crate::ascii::push_decimal;
use crate::body::stuff::Edge;
use crate::client::limits::{Domains, room};
use crate::client::next::{Way, plan, recipient};
use crate::client::stage::{Answers, Phase, Stage};
use crate::client::window::Kind;
use crate::client::{Envelope, Next, Segments};
use crate::command::write::{DATA, RESET};
use crate::extension::Limits;
use alloc::vec::Vec;

/// Octets in a BDAT command, whatever the length that it names.
const CHUNK_COMMAND_LEN_MAX: usize = "BDAT 18446744073709551615 LAST\r\n".len();

fn recipient_count(envelope: &Envelope<'_>) -> u16 {
    u16::try_from(envelope.recipients.len())
        .ok()
        .filter(|&count| count < u16::MAX)
        .expect("at most 65,534 recipients")
}

impl Session<'_> {
    /// Appends every command of the newest transaction that the peer is ready for. Calling it twice
    /// changes nothing.
    ///
    /// # Panics
    /// If the envelope has no recipients and is complete, if it has more than 65,534, or if it was changed since
    /// the last call in any other way than [`Envelope::complete`] allows.
    pub fn write(&mut self, envelope: &Envelope<'_>, out: &mut Vec<u8>) -> Next {
        if self.phase != Phase::Ready {
            return Next::Wait;
        }
        if matches!(self.stage, Stage::Begun | Stage::Cleared) && self.may_send(0) {
            self.open(envelope, out);
        }
        if self.stage == Stage::Envelope {
            self.write_recipients(envelope, out);
            if self.written_count == self.recipients.count && self.write_go(envelope, out) {
                return Next::Body;
            }
        }
        match self.stage {
            Stage::Body if self.way != Way::OwnChunks => Next::Body,
            Stage::Due if self.may_send_chunk() => Next::Chunk,
            _ => Next::Wait,
        }
    }

    /// MAIL, and RSET before it where the peer may have an older transaction open.
    fn open(&mut self, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
        assert!(
            !envelope.recipients.is_empty() || !envelope.complete,
            "a transaction has a recipient"
        );
        let (mail, way) = match plan(envelope, self.peer()) {
            Ok(planned) => planned,
            Err(reason) => {
                self.stage = Stage::Unsendable(reason);
                return;
            }
        };
        let (recipients, domains) = self.admit(envelope);
        if recipients.count == 0 {
            self.recipients = recipients;
            self.domains_spent = true;
            self.stage = Stage::GivenUp;
            return;
        }
        if self.stage == Stage::Begun {
            self.stage = Stage::Cleared;
            //= RFC 3030 section 2: after a BDAT that failed, or may yet fail, RSET clears the way
            let unsure = if self.behind {
                self.way != Way::Data
            } else {
                self.stale
            };
            if unsure {
                self.send(Kind::Reset, RESET, out);
            }
        }
        let from = out.len();
        mail.write(out);
        if !self.count(Kind::Mail, from, out) {
            return;
        }
        self.mail_count = self.mail_count.saturating_add(1);
        self.domains = domains;
        self.recipients = recipients;
        self.stage = Stage::Envelope;
        self.way = way;
        self.utf8 = mail.smtputf8;
        self.written_count = 0;
        self.leading_dots = envelope.leading_dots;
        self.edge = Edge::LineStart;
    }

    /// The recipients that there are, and the domains that will have been named.
    fn admit(&self, envelope: &Envelope<'_>) -> (Recipients, Domains) {
        let limits = match envelope.complete {
            true => self.extensions.limits(),
            false => Limits::default(),
        };
        let (count, domains) = room(envelope.recipients, limits, self.domains);
        let (count, given_count) = (count as u16, recipient_count(envelope));
        let recipients = Recipients {
            count: count + u16::from(!envelope.complete),
            given_count,
            untold: count < given_count,
            open: !envelope.complete,
        };
        (recipients, domains)
    }

    /// Counts the recipients that have joined.
    #[cold]
    fn join(&mut self, envelope: &Envelope<'_>) {
        let given_count = recipient_count(envelope);
        let joined = envelope
            .recipients
            .get(usize::from(self.recipients.given_count)..);
        let joined = joined.expect("recipients may join, and none may leave");
        assert!(
            self.utf8 || joined.iter().all(|joined| joined.to.as_str().is_ascii()),
            "a UTF-8 address joined a transaction without SMTPUTF8"
        );
        self.recipients = Recipients {
            count: given_count + u16::from(!envelope.complete),
            given_count,
            untold: false,
            open: !envelope.complete,
        };
    }

    fn write_recipients(&mut self, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
        if self.recipients.open {
            self.join(envelope);
        }
        assert!(
            envelope.recipients.len() == usize::from(self.recipients.given_count),
            "an envelope was changed inside its transaction"
        );
        let count = self.recipients.count - u16::from(self.recipients.open);
        let left = envelope
            .recipients
            .get(usize::from(self.written_count)..usize::from(count))
            .unwrap_or_default();
        for next in left {
            if self.newest().refused() || !self.may_send(0) {
                return;
            }
            let from = out.len();
            recipient(next, self.utf8, &self.extensions).write(out);
            if !self.count(Kind::Recipient, from, out) {
                return;
            }
            self.written_count += 1;
        }
    }

    /// DATA, or BDAT. True if the content may follow.
    fn write_go(&mut self, envelope: &Envelope<'_>, out: &mut Vec<u8>) -> bool {
        let answers = self.newest();
        let all_answered = answers.answered == self.written_count;
        if answers.nobody(self.recipients.count) {
            return false;
        }
        match (self.way, envelope.mail.size) {
            //= RFC 3030 section 2: BDAT follows when the answers to MAIL and RCPT are there
            (Way::Chunk | Way::OwnChunks, _) if !all_answered => {}
            (Way::OwnChunks, _) => self.stage = Stage::Due,
            (Way::Chunk | Way::ChunkAtOnce, Some(size)) => {
                if self.may_send(CHUNK_COMMAND_LEN_MAX) {
                    self.write_chunk(size, true, out);
                    return true;
                }
            }
            _ => {
                if self.may_send(DATA.len()) {
                    self.send(Kind::Data, DATA, out);
                    self.stage = Stage::Asked;
                }
            }
        }
        false
    }

    /// Announces the next piece of the content, where `write` says [`Next::Chunk`]: `len` octets, and whether
    /// they are the last ones. `segments` takes the piece; `end_body` is not needed. With PIPELINING the next
    /// piece may follow before this one is answered for, as far as the window permits.
    ///
    /// If a chunk is refused, that ends the transaction, and no more is due.
    ///
    /// # Panics
    /// If no chunk is due.
    //= RFC 3030 section 2: the last chunk may be empty
    pub fn chunk(&mut self, len: u64, last: bool, out: &mut Vec<u8>) {
        assert!(
            self.phase == Phase::Ready && self.stage == Stage::Due && self.may_send_chunk(),
            "a chunk where none is due"
        );
        self.write_chunk(len, last, out);
    }

    //= RFC 3030 section 2: BDAT, the number of octets, and LAST with the last of the chunks
    fn write_chunk(&mut self, len: u64, last: bool, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(b"BDAT ");
        push_decimal(out, len);
        out.extend_from_slice(if last { b" LAST\r\n" } else { b"\r\n" });
        let kind = if last { Kind::ChunkLast } else { Kind::Chunk };
        self.window.push(kind, out.len() - from);
        self.stage = Stage::Body;
        self.chunk_left = len;
        self.chunk_is_last = last;
        self.fill_chunk(0);
    }

    /// So many octets more of the chunk are on their way.
    fn fill_chunk(&mut self, len: u64) {
        self.chunk_left = self
            .chunk_left
            .checked_sub(len)
            .expect("content must not be longer than its envelope or its chunk says");
        if self.chunk_left == 0 {
            self.stage = if self.chunk_is_last {
                Stage::Ended
            } else {
                Stage::Due
            };
        }
    }

    /// A chunk of the caller's waits for the one before it, where the peer does not pipeline. In LMTP it always
    /// does: how often a refusal would be repeated behind the last chunk is not sure there.
    fn may_send_chunk(&self) -> bool {
        self.window.is_empty() || (!self.config.lmtp && self.may_send(CHUNK_COMMAND_LEN_MAX))
    }

    /// The answers to the newest transaction.
    const fn newest(&self) -> Answers {
        if self.behind {
            Answers::NONE
        } else {
            self.answers
        }
    }

    /// The pieces to send for this chunk of the content: slices of it, cut where a dot goes out twice.
    ///
    /// # Panics
    /// If no content is due, or if there is more of it than `Envelope::size` or `chunk` said.
    pub fn segments<'b>(&mut self, chunk: &'b [u8]) -> Segments<'b> {
        if chunk.is_empty() {
            return Segments::whole(chunk);
        }
        assert!(self.stage == Stage::Body, "content where none is due");
        self.deadline = None;
        if self.way != Way::Data {
            self.fill_chunk(chunk.len() as u64);
            //= RFC 3030 section 2: the octets of a chunk go out as they are
            return Segments::whole(chunk);
        }
        let edge = self.edge;
        self.edge = edge.after(chunk);
        if self.leading_dots {
            Segments::stuffed(edge, chunk)
        } else {
            Segments::whole(chunk)
        }
    }

    /// The content is complete: appends its end.
    ///
    /// # Panics
    /// If no content is due, or if there was less of it than `Envelope::size` or `chunk` said.
    pub fn end_body(&mut self, out: &mut Vec<u8>) {
        if self.way != Way::Data {
            assert!(
                !matches!(self.stage, Stage::Body | Stage::Due),
                "content must not be shorter than its envelope or its chunk says"
            );
            return;
        }
        assert!(
            self.stage == Stage::Body,
            "the end of content where none is due"
        );
        //= RFC 5321 section 4.1.1.4: the dot stands on a line of its own, so the last line must have ended
        let end: &[u8] = if self.edge == Edge::LineStart {
            b".\r\n"
        } else {
            b"\r\n.\r\n"
        };
        self.send(Kind::End, end, out);
        self.stage = Stage::Ended;
    }
}
