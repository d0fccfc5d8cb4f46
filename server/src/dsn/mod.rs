//! The report to the sender that a message could not be delivered: bytes in, bytes out.
//!
//! Pure. It cannot be made for a null sender: a [`Report`] is addressed to a [`ReturnPath`]. Who calls it spools the
//! result like any other message, from the null sender ([`Report::envelope`]).

use crate::message::{Answer, Envelope, Id, ReturnPath, Timestamp};

/// A whole message up to this size is sent back with the report; of a longer one only the header section.
pub const MESSAGE_LEN_MAX: usize = 32 * 1024;
/// Longest header section that is sent back, in bytes.
pub const HEADER_LEN_MAX: usize = 16 * 1024;

/// A recipient that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The mailbox.
    pub recipient: &'a [u8],
    /// Why.
    pub reason: Reason,
    /// The last answer: the peer's if `remote` is there, else our own finding.
    pub answer: Answer<'a>,
    /// The host that gave the answer.
    pub remote: Option<&'a [u8]>,
    /// When it was last tried.
    pub last_attempt: Option<Timestamp>,
}

/// Why a recipient failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Refused for good.
    Refused,
    /// Too old: every attempt until then failed.
    Expired,
}

/// A report to be written.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The report's own id.
    pub id: Id,
    /// Our name.
    pub hostname: &'a [u8],
    /// The sender of the message that failed.
    pub to: ReturnPath<'a>,
    /// When the report is made.
    pub at: Timestamp,
    /// When the message was accepted.
    pub arrival: Timestamp,
    /// The id of the message that failed.
    pub original_id: Id,
    /// The recipients that failed, at least one.
    pub failures: &'a [Failure<'a>],
    /// The front of the message's content: all of it, or at least [`HEADER_LEN_MAX`] bytes.
    pub content: &'a [u8],
    /// How long the whole content is.
    pub content_len: u64,
}

impl Report<'_> {
    /// The report's envelope: from the null sender to the sender of what failed.
    pub fn envelope(&self) -> Envelope {
        let mut envelope = Envelope::new();
        let _fits = envelope.add_recipient(self.to.mailbox());
        envelope
    }

    /// Appends the whole report, header and body; its lines end with CRLF, and none is longer than 998 bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let _ = out;
        unimplemented!()
    }
}
