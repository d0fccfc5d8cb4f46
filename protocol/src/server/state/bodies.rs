//! What the octets behind DATA and BDAT change: where a body stands, how long it is, what of it is
//! thrown away, and how often its refusal is owed. Which move is made is decided in `body`.

use super::{NEVER, Phase, Session, Swallow};
use crate::body::{Dotted, Scan};
use crate::command::parse::{Bdat, Refusal};
use crate::reply::Reply;
use crate::server::Event;
use crate::time::Instant;

/// Behind code and status, where the caller's refusal is given again.
const REFUSED_TOO: &[u8] = b"Refused for this recipient too";

impl Session<'_> {
    /// A body's whole time runs from the first call behind its beginning.
    pub(in crate::server) fn start_body_clock(&mut self, now: Instant) {
        if self.body_until == NEVER {
            self.body_until = now.after(self.config.timeouts.body_total);
        }
    }

    pub(in crate::server) fn take_dotted<'i>(&mut self, input: &mut &'i [u8]) -> Dotted<'i> {
        self.scan.dotted(input)
    }

    pub(in crate::server) fn take_chunk<'i>(&mut self, input: &mut &'i [u8]) -> &'i [u8] {
        self.scan.chunk(&mut self.left, input)
    }

    /// The next body comes by DATA.
    pub(in crate::server) fn propose_data(&mut self) {
        self.chunked = false;
    }

    /// A chunk follows, wanted or not.
    pub(in crate::server) fn announce_chunk(&mut self, bdat: Bdat) {
        self.left = bdat.size;
        self.last_chunk = bdat.last;
        self.chunked = true;
    }

    pub(in crate::server) fn begin_chunk(&mut self) {
        self.phase = Phase::Chunk;
    }

    pub(in crate::server) fn end_chunk(&mut self) {
        self.phase = Phase::Chunks;
    }

    pub(super) fn begin_body(&mut self, phase: Phase) {
        self.phase = phase;
        self.scan = Scan::new();
        self.len = 0;
        self.body_until = NEVER;
    }

    /// LMTP: the body is there, and its recipients are answered one by one.
    pub(in crate::server) fn begin_answers(&mut self) {
        self.phase = Phase::Delivered;
        self.answered = 0;
    }

    /// The recipient whose answer is due.
    pub(in crate::server) const fn answered(&self) -> u32 {
        self.answered
    }

    /// Counts octets of the body, and says by how many it is now too long.
    pub(in crate::server) fn grow(&mut self, len: usize) -> u64 {
        self.progress();
        self.len = self.len.saturating_add(len as u64);
        self.len.saturating_sub(self.size_max())
    }

    /// How many replies the present body, or chunk of one, has: at least one.
    //= RFC 2033 section 4.2: behind the final dot, one reply for each successful RCPT
    //= RFC 2033 section 4.3: BDAT without LAST has one reply, BDAT with LAST one for each
    pub(super) fn answer_count(&self) -> u32 {
        if self.config.lmtp && (!self.chunked || self.last_chunk) {
            self.recipients.max(1)
        } else {
            1
        }
    }

    /// The transaction has failed within its body: the rest goes unread, then `reply` is given, as
    /// often as it is owed.
    pub(in crate::server) fn refuse_body(&mut self, rest: Swallow, reply: Refusal) {
        let owed = self.answer_count();
        self.phase = Phase::Idle;
        self.recipients = 0;
        self.excused = true;
        self.refuse_later(rest, reply);
        self.owed = owed;
    }

    /// First the rest goes unread, then `reply` is given once.
    pub(in crate::server) fn refuse_later(&mut self, rest: Swallow, reply: Refusal) {
        self.refusal = Some(reply);
        self.begin_swallow(rest);
    }

    pub(in crate::server) fn begin_swallow(&mut self, rest: Swallow) {
        self.swallow = rest;
        self.swallowed = 0;
        self.owed = 1;
    }

    /// Notes octets thrown away, and says whether that is more than anybody gets; of a chunk, what
    /// is still to come counts as well.
    pub(in crate::server) fn has_swallowed(&mut self, len: u64) -> bool {
        self.swallowed = self.swallowed.saturating_add(len);
        let to_come = match self.swallow {
            Swallow::Chunk => self.left,
            _ => 0,
        };
        self.swallowed.saturating_add(to_come) > self.config.limits.swallow_max
    }

    /// Throws away what is there of a chunk, and says whether that was all.
    pub(in crate::server) fn swallow_chunk(&mut self, input: &mut &[u8]) -> bool {
        let len = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        if len > 0 {
            *input = input.get(len..).unwrap_or_default();
            self.left -= len as u64;
            self.swallowed = self.swallowed.saturating_add(len as u64);
            self.progress();
        }
        self.left == 0
    }

    /// All is thrown away; gives what is to be said about it now, and comes back for the next of
    /// several answers.
    pub(in crate::server) fn end_swallow(&mut self) -> Option<Reply<'static>> {
        self.swallow = Swallow::Nothing;
        self.body_until = NEVER;
        self.progress();
        let reply = match (self.refusal, self.again) {
            (Some(refusal), _) => *refusal,
            (None, Some((code, status))) => Reply {
                code,
                status,
                text: REFUSED_TOO,
            },
            (None, None) => return None,
        };
        self.owed -= 1;
        if self.owed > 0 {
            self.swallow = Swallow::Answer;
        } else {
            self.refusal = None;
            self.again = None;
        }
        Some(reply)
    }

    /// Too much was to be thrown away: the refusal is given while the peer still sends.
    pub(in crate::server) fn give_up<'i>(&mut self, out: &mut alloc::vec::Vec<u8>) -> Event<'i> {
        let reply = self.refusal.unwrap_or(&Reply::UNSWALLOWED);
        self.close(reply, out)
    }
}
