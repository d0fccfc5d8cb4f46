//! The report to the sender that a message could not be delivered: bytes in, bytes out.
//!
//! Pure. It cannot be made for a null sender: a [`Report`] is addressed to a [`ReturnPath`]. Who calls it spools the
//! result like any other message, from the null sender ([`Report::envelope`]).

mod part;
mod status;
mod text;

use crate::message::trace::header_section;
use crate::message::{Answer, Envelope, Id, Protocol, ReturnPath, Timestamp};
use part::{is_seven_bit, push_end, push_part};
use text::{Charset, fold_from, push_answer, push_clean};

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
    /// The front of the message's content: all of it, or at least [`MESSAGE_LEN_MAX`] bytes.
    pub content: &'a [u8],
    /// How long the whole content is.
    pub content_len: u64,
}

impl Report<'_> {
    /// The report's envelope: from the null sender to the sender of what failed.
    //= RFC 5321 section 4.5.5: reports are sent with a null reverse-path
    pub fn envelope(&self) -> Envelope {
        let mut envelope = Envelope::new();
        envelope.protocol = Protocol::Internal;
        envelope.smtputf8 = !self.to.mailbox().is_ascii();
        let fits = envelope.add_recipient(self.to.mailbox());
        assert!(fits, "one recipient fits");
        envelope
    }

    /// Appends the whole report, header and body. Its lines end with CRLF and have at most 998 bytes; it is ASCII but
    /// for the `To` field of a sender that is not.
    pub fn write(&self, out: &mut Vec<u8>) {
        assert!(!self.failures.is_empty(), "a report without a failure");
        let mut boundary = *b"=_mailrail_0000000000000";
        boundary[11..].copy_from_slice(&self.id.text());
        let is_global = status::needs_utf8(self);

        self.push_header(out, &boundary, is_global);
        let mut body = Vec::new();
        self.push_words(&mut body);
        let content_type = if body.is_ascii() {
            &b"text/plain; charset=us-ascii"[..]
        } else {
            b"text/plain; charset=utf-8"
        };
        push_part(out, &boundary, content_type, &body);

        body.clear();
        status::push_fields(&mut body, self);
        let content_type = if is_global {
            &b"message/global-delivery-status"[..]
        } else {
            b"message/delivery-status"
        };
        push_part(out, &boundary, content_type, &body);

        if let Some((content_type, returned)) = self.returned() {
            push_part(out, &boundary, content_type, returned);
        }
        push_end(out, &boundary);
    }

    fn push_header(&self, out: &mut Vec<u8>, boundary: &[u8], is_global: bool) {
        out.extend_from_slice(b"From: Mail Delivery System <MAILER-DAEMON@");
        push_clean(out, self.hostname, Charset::Ascii);
        out.extend_from_slice(b">\r\nTo: <");
        push_clean(out, self.to.mailbox(), Charset::Utf8);
        out.extend_from_slice(b">\r\nSubject: Delivery Status Notification (Failure)\r\nDate: ");
        self.at.push_date(out);
        out.extend_from_slice(b"\r\nMessage-ID: <");
        self.id.push(out);
        out.push(b'@');
        push_clean(out, self.hostname, Charset::Ascii);
        //= RFC 3834 section 5: says that no human wrote it, so that no machine answers it
        out.extend_from_slice(b">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
        //= RFC 3464 section 2: multipart/report, its type that of the second part
        //= RFC 6522 section 3: report-type is the subtype of the second part
        out.extend_from_slice(b"Content-Type: multipart/report; report-type=");
        out.extend_from_slice(if is_global {
            b"global-delivery-status"
        } else {
            b"delivery-status"
        });
        out.extend_from_slice(b";\r\n\tboundary=\"");
        out.extend_from_slice(boundary);
        out.extend_from_slice(b"\"\r\n\r\nThis is a delivery report in MIME format.\r\n");
    }

    /// The part for humans.
    fn push_words(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"This is the mail server ");
        push_clean(out, self.hostname, Charset::Ascii);
        out.extend_from_slice(b".\r\n\r\nYour message of ");
        self.arrival.push_date(out);
        out.extend_from_slice(b"\r\n(here known as ");
        self.original_id.push(out);
        out.extend_from_slice(match self.failures {
            [_] => b") could not be delivered to this recipient:\r\n",
            _ => b") could not be delivered to these recipients:\r\n",
        });
        for failure in self.failures {
            out.extend_from_slice(b"\r\n<");
            push_clean(out, failure.recipient, Charset::Utf8);
            out.extend_from_slice(b">\r\n    ");
            let start = out.len();
            match failure.reason {
                Reason::Refused if failure.remote.is_some() => {
                    out.extend_from_slice(b"Refused by ")
                }
                Reason::Refused => {}
                Reason::Expired if failure.remote.is_some() => {
                    out.extend_from_slice(
                        b"Given up after trying for too long. The last answer came from ",
                    );
                }
                Reason::Expired => {
                    out.extend_from_slice(b"Given up after trying for too long. The last attempt: ")
                }
            }
            if let Some(remote) = failure.remote {
                push_clean(out, remote, Charset::Ascii);
                out.extend_from_slice(b": ");
            }
            push_answer(out, failure, Charset::Utf8);
            fold_from(out, start, b"    ");
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\nIt will not be tried again.\r\n");
    }

    /// What of the message goes back, and as what.
    fn returned(&self) -> Option<(&'static [u8], &[u8])> {
        let is_whole = self.content.len() as u64 == self.content_len;
        if is_whole && self.content.len() <= MESSAGE_LEN_MAX && is_seven_bit(self.content) {
            return Some((b"message/rfc822", self.content));
        }
        //= RFC 6522 section 4: text/rfc822-headers, the header section of the message
        let header = header_section(self.content, HEADER_LEN_MAX);
        if header.is_empty() {
            return None;
        }
        //= RFC 6533 section 4.3: message/global-headers if there is UTF-8 among them
        let is_utf8 = !header.is_ascii() && std::str::from_utf8(header).is_ok();
        Some((
            if is_utf8 {
                b"message/global-headers"
            } else {
                b"text/rfc822-headers"
            },
            header,
        ))
    }
}

#[cfg(test)]
mod tests;
