//! The part for machines: one group of fields about the message, one for each recipient that failed.

use super::text::{Charset, fold_from, push_answer, push_clean};
use super::{Failure, Reason, Report};
use crate::message::answer::push_status;
use crate::message::{Class, Status};

/// Whether the fields need UTF-8: only an address can, since diagnostics are ASCII in either form.
//= RFC 6533 section 4.1: the global form is for what cannot be said in the traditional one
pub(super) fn needs_utf8(report: &Report<'_>) -> bool {
    report
        .failures
        .iter()
        .any(|failure| !failure.recipient.is_ascii())
}

/// Appends the fields.
//= RFC 3464 section 2.1: the message's fields, an empty line, and so on for each recipient
pub(super) fn push_fields(out: &mut Vec<u8>, report: &Report<'_>) {
    //= RFC 3464 section 2.2.2: Reporting-MTA must be there
    out.extend_from_slice(b"Reporting-MTA: dns; ");
    push_clean(out, report.hostname, Charset::Ascii);
    //= RFC 3464 section 2.2.5: when the message came to us
    out.extend_from_slice(b"\r\nArrival-Date: ");
    report.arrival.push_date(out);
    out.extend_from_slice(b"\r\n");
    for failure in report.failures {
        out.extend_from_slice(b"\r\n");
        push_recipient(out, failure);
    }
}

fn push_recipient(out: &mut Vec<u8>, failure: &Failure<'_>) {
    //= RFC 3464 section 2.3.2: the address as we knew it
    //= RFC 6533 section 3: address type utf-8 for one beyond ASCII
    let (kind, charset) = match failure.recipient.is_ascii() {
        true => (&b"rfc822; "[..], Charset::Ascii),
        false => (&b"utf-8; "[..], Charset::Utf8),
    };
    out.extend_from_slice(b"Final-Recipient: ");
    out.extend_from_slice(kind);
    push_clean(out, failure.recipient, charset);
    //= RFC 3464 section 2.3.3: failed, nothing will be tried any more
    out.extend_from_slice(b"\r\nAction: failed\r\nStatus: ");
    push_status(out, status(failure));
    out.extend_from_slice(b"\r\n");
    if let Some(remote) = failure.remote {
        //= RFC 3464 section 2.3.5: the host that said it
        out.extend_from_slice(b"Remote-MTA: dns; ");
        push_clean(out, remote, Charset::Ascii);
        out.extend_from_slice(b"\r\n");
    }
    //= RFC 3464 section 2.3.6: smtp for an SMTP reply as it came; what was no reply has a type of ours
    let kind = if failure.remote.is_some() && failure.answer.code != 0 {
        "smtp; "
    } else {
        "x-mailrail; "
    };
    out.extend_from_slice(b"Diagnostic-Code: ");
    out.extend_from_slice(kind.as_bytes());
    let start = out.len();
    push_answer(out, failure, Charset::Ascii);
    fold_from(out, start, b"\t");
    out.extend_from_slice(b"\r\n");
    if let Some(at) = failure.last_attempt {
        //= RFC 3464 section 2.3.7: when it was last tried
        out.extend_from_slice(b"Last-Attempt-Date: ");
        at.push_date(out);
        out.extend_from_slice(b"\r\n");
    }
}

fn status(failure: &Failure<'_>) -> Status {
    match failure.reason {
        //= RFC 3463 section 3.5: X.4.7, delivery time expired
        Reason::Expired => Status::new(Class::Transient, 4, 7),
        // Refused is refused, whatever class the peer wrote.
        Reason::Refused => Status {
            class: Class::Permanent,
            ..failure.answer.status_or_default()
        },
    }
}
