//! Reports as whole texts, and read back by a small reader of MIME.

use super::*;
use crate::message::{Class, Status};
use proptest::prelude::*;

const SENT: Timestamp = Timestamp::from_unix_millis(1_795_508_041_000);
const LATER: Timestamp = Timestamp::from_unix_millis(1_795_508_161_000);
const UNKNOWN: Answer<'static> = Answer::new(
    550,
    Some(Status::new(Class::Permanent, 1, 1)),
    b"no such user",
);
const CONTENT: &[u8] = b"Received: from a\r\nSubject: Hi\r\n\r\nHello\r\n";

const REFUSED: Failure<'static> = Failure {
    recipient: b"user@b.example",
    reason: Reason::Refused,
    answer: UNKNOWN,
    remote: Some(b"mx.b.example"),
    last_attempt: Some(LATER),
};

fn report<'a>(failures: &'a [Failure<'a>], content: &'a [u8]) -> Report<'a> {
    Report {
        id: Id::from_bits(32),
        hostname: b"mx.example.com",
        to: ReturnPath::new(b"sender@a.example").expect("not null"),
        at: LATER,
        arrival: SENT,
        original_id: Id::from_bits(1),
        failures,
        content,
        content_len: content.len() as u64,
    }
}

fn written(report: &Report<'_>) -> String {
    let mut out = Vec::new();
    report.write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_report_as_it_is_sent() {
    let expected = "\
From: Mail Delivery System <MAILER-DAEMON@mx.example.com>
To: <sender@a.example>
Subject: Delivery Status Notification (Failure)
Date: Tue, 24 Nov 2026 08:16:01 +0000
Message-ID: <0000000000010@mx.example.com>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary=\"=_mailrail_0000000000010\"

This is a delivery report in MIME format.

--=_mailrail_0000000000010
Content-Type: text/plain; charset=us-ascii

This is the mail server mx.example.com.

Your message of Tue, 24 Nov 2026 08:14:01 +0000
(here known as 0000000000001) could not be delivered to this recipient:

<user@b.example>
    Refused by mx.b.example: 550 5.1.1 no such user

It will not be tried again.

--=_mailrail_0000000000010
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com
Arrival-Date: Tue, 24 Nov 2026 08:14:01 +0000

Final-Recipient: rfc822; user@b.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.b.example
Diagnostic-Code: smtp; 550 5.1.1 no such user
Last-Attempt-Date: Tue, 24 Nov 2026 08:16:01 +0000

--=_mailrail_0000000000010
Content-Type: message/rfc822

Received: from a
Subject: Hi

Hello

--=_mailrail_0000000000010--
";
    assert_eq!(
        written(&report(&[REFUSED], CONTENT)),
        expected.replace('\n', "\r\n")
    );
}

/// A report taken apart: the header's text, then of each part the content type, the encoding and the body.
struct Parts {
    header: String,
    parts: Vec<(String, bool, String)>,
}

fn read(text: &str) -> Parts {
    let (header, body) = text.split_once("\r\n\r\n").expect("a header");
    let boundary = header
        .split("boundary=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a boundary");
    let delimiter = format!("\r\n--{boundary}");
    let mut pieces = body.split(&delimiter);
    let _preamble = pieces.next();
    let mut parts: Vec<&str> = pieces.collect();
    assert_eq!(parts.pop(), Some("--\r\n"), "the end");
    let parts = parts
        .iter()
        .map(|part| {
            let (header, body) = part.split_once("\r\n\r\n").expect("a part's header");
            let mut fields = header.split("\r\n").filter(|line| !line.is_empty());
            let kind = fields
                .next()
                .and_then(|field| field.strip_prefix("Content-Type: "))
                .expect("a type");
            let encoding = fields.next();
            assert_eq!(fields.next(), None);
            assert!(
                matches!(encoding, None | Some("Content-Transfer-Encoding: base64")),
                "{encoding:?}"
            );
            (kind.to_owned(), encoding.is_some(), body.to_owned())
        })
        .collect();
    Parts {
        header: header.to_owned(),
        parts,
    }
}

/// The fields of each group of a delivery status, unfolded.
fn groups(body: &str) -> Vec<Vec<(String, String)>> {
    body.replace("\r\n\t", " ")
        .split("\r\n\r\n")
        .map(|group| {
            let lines = group.split("\r\n").filter(|line| !line.is_empty());
            let field = |line: &str| {
                line.split_once(": ")
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
            };
            lines
                .map(|line| field(line).unwrap_or_else(|| panic!("a field: {line}")))
                .collect()
        })
        .collect()
}

fn decode(text: &str) -> String {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for digit in text.bytes().filter_map(digit) {
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn each_recipient_has_its_own_fields() {
    let timeout = Answer::new(
        451,
        Some(Status::new(Class::Transient, 4, 1)),
        b"no answer from host",
    );
    let failures = [
        REFUSED,
        Failure {
            recipient: b"old@c.example",
            reason: Reason::Expired,
            answer: timeout,
            remote: None,
            ..REFUSED
        },
        Failure {
            answer: Answer::new(554, None, b"go\naway"),
            last_attempt: None,
            ..REFUSED
        },
        Failure {
            answer: Answer::new(550, Some(Status::new(Class::Transient, 2, 2)), b""),
            ..REFUSED
        },
    ];
    let parts = read(&written(&report(&failures, CONTENT)));
    let groups = groups(&parts.parts[1].2);
    let field = |group: usize, name: &str| {
        groups[group]
            .iter()
            .find(|field| field.0 == name)
            .map(|field| field.1.as_str())
    };
    assert_eq!(groups.len(), 5);
    for (group, status, remote, diagnostic) in [
        (
            1,
            "5.1.1",
            Some("dns; mx.b.example"),
            "smtp; 550 5.1.1 no such user",
        ),
        (
            2,
            "4.4.7",
            None,
            "x-mailrail; 451 4.4.1 no answer from host",
        ),
        (3, "5.0.0", Some("dns; mx.b.example"), "smtp; 554 go away"),
        (4, "5.2.2", Some("dns; mx.b.example"), "smtp; 550 4.2.2"),
    ] {
        assert_eq!(field(group, "Action"), Some("failed"));
        assert_eq!(field(group, "Status"), Some(status), "group {group}");
        assert_eq!(field(group, "Remote-MTA"), remote, "group {group}");
        assert_eq!(
            field(group, "Diagnostic-Code"),
            Some(diagnostic),
            "group {group}"
        );
    }
    assert_eq!(field(3, "Last-Attempt-Date"), None);
    let words = &parts.parts[0].2;
    assert!(words.contains("to these recipients:"));
    assert!(words.contains(
        "Given up after trying for too long. The last attempt: 451 4.4.1 no\r\n    answer from host"
    ));
}

#[test]
fn what_goes_back() {
    let long = [&b"Subject: Hi\r\n\r\n"[..], &[b'x'; MESSAGE_LEN_MAX]].concat();
    let endless = "X-Long: header\r\n".repeat(HEADER_LEN_MAX / 16 + 9);
    for (content, content_len, kind, is_base64, returned) in [
        (
            CONTENT,
            CONTENT.len(),
            "message/rfc822",
            false,
            "Received: from a\r\nSubject: Hi\r\n\r\nHello\r\n",
        ),
        (
            CONTENT,
            99_999,
            "text/rfc822-headers",
            false,
            "Received: from a\r\nSubject: Hi\r\n",
        ),
        (
            &long,
            long.len(),
            "text/rfc822-headers",
            false,
            "Subject: Hi\r\n",
        ),
        (
            "Subject: Hi\r\n\r\né\r\n".as_bytes(),
            18,
            "text/rfc822-headers",
            false,
            "Subject: Hi\r\n",
        ),
        (
            "Subject: é\r\n\r\n".as_bytes(),
            15,
            "message/global-headers",
            true,
            "Subject: é\r\n",
        ),
        (
            b"Subject: \xff\r\n\r\n",
            14,
            "text/rfc822-headers",
            true,
            "Subject: \u{FFFD}\r\n",
        ),
        (
            endless.as_bytes(),
            99_999,
            "text/rfc822-headers",
            false,
            &endless[..HEADER_LEN_MAX],
        ),
    ] {
        let report = Report {
            content_len: content_len as u64,
            ..report(&[REFUSED], content)
        };
        let parts = read(&written(&report)).parts;
        let [_, _, (found_kind, found_base64, body)] = &parts[..] else {
            panic!("three parts")
        };
        assert_eq!((found_kind.as_str(), *found_base64), (kind, is_base64));
        let body = if is_base64 {
            decode(body)
        } else {
            body.clone()
        };
        assert_eq!(body, returned);
    }
}

#[test]
fn without_a_header_nothing_goes_back() {
    let content = "é".repeat(9);
    assert_eq!(
        read(&written(&report(&[REFUSED], content.as_bytes())))
            .parts
            .len(),
        2
    );
}

#[test]
fn utf8_only_where_it_is_needed() {
    let recipient = "jörg@bücher.example".as_bytes();
    let failures = [Failure {
        recipient,
        answer: Answer {
            text: "nö".as_bytes(),
            ..UNKNOWN
        },
        ..REFUSED
    }];
    let text = written(&report(&failures, CONTENT));
    assert!(text.is_ascii(), "all of it in base64");
    let parts = read(&text);
    assert!(parts.header.contains("report-type=global-delivery-status;"));
    let [words, status, _] = &parts.parts[..] else {
        panic!("three parts")
    };
    assert_eq!(
        (words.0.as_str(), words.1),
        ("text/plain; charset=utf-8", true)
    );
    assert!(decode(&words.2).contains("<jörg@bücher.example>"));
    assert_eq!(
        (status.0.as_str(), status.1),
        ("message/global-delivery-status", true)
    );
    let groups = groups(&decode(&status.2));
    assert_eq!(
        groups[1][0],
        (
            "Final-Recipient".to_owned(),
            "utf-8; jörg@bücher.example".to_owned()
        )
    );
    //= RFC 6533 section 4.1: a diagnostic is ASCII in the global form too
    assert!(groups[1].contains(&(
        "Diagnostic-Code".to_owned(),
        "smtp; 550 5.1.1 n?".to_owned()
    )));
    assert!(!report(&failures, CONTENT).envelope().smtputf8);

    let to = ReturnPath::new(recipient).expect("not null");
    let report = Report {
        to,
        ..report(&[REFUSED], CONTENT)
    };
    assert!(
        read(&written(&report))
            .header
            .contains("To: <jörg@bücher.example>\r\n")
    );
    assert!(report.envelope().smtputf8);
}

#[test]
fn the_envelope_is_from_nobody_to_the_sender() {
    let envelope = report(&[REFUSED], CONTENT).envelope();
    assert_eq!(envelope.sender(), b"");
    assert!(envelope.recipients().eq([&b"sender@a.example"[..]]));
}

proptest! {
    #[test]
    fn whatever_they_said_it_stays_a_report(
        recipient: Vec<u8>, remote: Vec<u8>, words: Vec<u8>, content: Vec<u8>, code in 0u16..1000, hostname: Vec<u8>,
    ) {
        let answer = Answer::new(code, None, &words);
        let failures = [Failure { recipient: &recipient, answer, remote: Some(&remote), ..REFUSED }, REFUSED];
        let report = Report { hostname: &hostname, ..report(&failures, &content) };
        let mut out = Vec::new();
        report.write(&mut out);
        prop_assert!(is_seven_bit(&out));
        let text = String::from_utf8(out).expect("ASCII");
        let parts = read(&text);
        prop_assert_eq!(parts.header.split("\r\n").count(), 9);
        prop_assert!((2..=3).contains(&parts.parts.len()));
        let status = &parts.parts[1];
        let body = if status.1 { decode(&status.2) } else { status.2.clone() };
        let groups = groups(&body);
        prop_assert_eq!(groups.len(), 3);
        prop_assert_eq!(groups[1].len(), 6);
        prop_assert_eq!(groups[2].len(), 6);
    }
}
