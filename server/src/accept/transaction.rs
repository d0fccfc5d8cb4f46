//! A transaction: what was said, and the body under way, laid out as it will be stored. No socket and no
//! session lives here.

use super::{Incoming, Submission};
use crate::message::header::Received;
use crate::message::trace::Trace;
use crate::message::{Durability, Envelope, Flags, Id, META_LEN, Meta, Timestamp};
use mailrail_protocol::server::Findings;
use mailrail_runtime::log;
use mailrail_runtime::tls::TlsInfo;
use std::cell::RefCell;
use std::net::SocketAddr;

/// Envelopes kept for reuse on a shard.
const SPARE_COUNT_MAX: usize = 64;
/// Lines longer than this, without their end, break the standard; they are noted, not refused.
//= RFC 5321 section 4.5.3.1.6: a text line has at most 1000 octets with its CRLF
const LINE_LEN_MAX: u32 = 998;

/// A transaction: what was said, and what came of its body.
#[derive(Default)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    pub(super) body: Option<Body>,
}

/// A body under way.
pub(super) struct Body {
    pub(super) incoming: Incoming,
    pub(super) id: Id,
    accepted: Timestamp,
    envelope_len: u32,
    received_len: u16,
}

thread_local! {
    // Envelopes keep their memory from one message to the next, but no idle session holds one.
    #[expect(clippy::vec_box, reason = "they move between sessions, which hold a pointer")]
    static SPARE: RefCell<Vec<Box<Transaction>>> = const { RefCell::new(Vec::new()) };
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Transaction {
    /// An empty one, with the memory of an earlier one where there is some.
    pub(super) fn take() -> Box<Self> {
        SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Whether a body is to come, and nothing of it is here.
    pub(super) fn is_expected(&self) -> bool {
        let body = self.body.as_ref();
        body.is_some_and(|body| !body.incoming.has_begun())
    }

    /// The content is there, or its end: makes room for it, if that has not been done.
    pub(super) fn begin_body(&mut self, hostname: &str) {
        if let Some(body) = &mut self.body {
            body.begin(&mut self.envelope, hostname.as_bytes());
        }
    }

    /// It is over: its memory is for the next.
    pub(super) fn give_back(transaction: &mut Option<Box<Self>>) {
        if let Some(mut transaction) = transaction.take() {
            transaction.body = None;
            transaction.envelope.clear();
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_COUNT_MAX {
                    spare.push(transaction);
                }
            });
        }
    }
}

impl Body {
    /// A body that is to come; it holds no memory yet.
    pub(super) fn expected(id: Id, accepted: Timestamp) -> Self {
        Self {
            incoming: Incoming::default(),
            id,
            accepted,
            envelope_len: 0,
            received_len: 0,
        }
    }

    /// Makes room for its content, if that has not been done: in front of it stand what the log, the spool and the
    /// trace need.
    pub(super) fn begin(&mut self, envelope: &mut Envelope, hostname: &[u8]) {
        if self.incoming.has_begun() {
            return;
        }
        self.incoming.begin(log::ROOM);
        HEAD.with_borrow_mut(|head| {
            head.clear();
            head.extend_from_slice(&[0; META_LEN]);
            envelope.encode(head);
            let content_offset = head.len();
            let mut recipients = envelope.recipients();
            let received = Received {
                hello: envelope.hello(),
                peer: envelope.peer,
                hostname,
                protocol: envelope.protocol,
                id: self.id,
                single_recipient: match (recipients.next(), recipients.next()) {
                    (Some(only), None) => Some(only),
                    _ => None,
                },
                at: self.accepted,
            };
            received.write(head);
            self.incoming.append(head);
            self.envelope_len = (content_offset - META_LEN) as u32;
            self.received_len = (head.len() - content_offset) as u16;
        });
    }

    /// Whether it has been here, or elsewhere, too often.
    pub(super) fn is_loop(&self) -> bool {
        let front = log::ROOM + META_LEN + self.envelope_len as usize;
        let mut skip = front + usize::from(self.received_len);
        let mut trace = Trace::new();
        for slice in self.incoming.slices() {
            let skipped = skip.min(slice.len());
            skip -= skipped;
            trace.feed(&slice[skipped..]);
        }
        trace.is_loop()
    }

    /// It is complete, and this was found in it.
    pub(super) fn finish<'s>(
        self,
        envelope: &'s Envelope,
        peer: SocketAddr,
        findings: &Findings,
        durability: Durability,
        tls: Option<TlsInfo>,
    ) -> Submission<'s> {
        let content_offset = META_LEN as u32 + self.envelope_len;
        let payload_len = self.incoming.stored_len() - log::ROOM as u64;
        let meta = Meta {
            accepted: self.accepted,
            durability,
            flags: Flags::none()
                .with_if(findings.leading_dots, Flags::LEADING_DOTS)
                .with_if(findings.eight_bit, Flags::EIGHT_BIT)
                .with_if(findings.nul, Flags::NUL)
                .with_if(findings.bare_cr, Flags::BARE_CR)
                .with_if(findings.bare_lf, Flags::BARE_LF)
                .with_if(findings.longest_line > LINE_LEN_MAX, Flags::LONG_LINE)
                .with_if(findings.unterminated, Flags::NO_LAST_CRLF),
            envelope_len: self.envelope_len,
            content_offset,
            content_len: (payload_len - u64::from(content_offset)) as u32,
            received_len: self.received_len,
        };
        Submission {
            id: self.id,
            meta,
            envelope,
            peer,
            tls,
            content: self.incoming.finish(log::ROOM, &meta.encode()),
        }
    }
}
