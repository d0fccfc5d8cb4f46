//! The header fields we write in front of a message: Received. Bytes are pushed; nothing is formatted.
//!
//! What a peer said about itself is cleaned here, so that no hello name can end a line or open a comment.

use super::answer::cut;
use super::envelope::HELLO_LEN_MAX;
use super::literal::push_literal;
use super::{Id, Protocol, Timestamp};
use mailrail_protocol::limits::{DOMAIN_LEN_MAX, MAILBOX_LEN_MAX};
use std::net::IpAddr;

/// Column after which a line is folded.
//= RFC 5322 section 2.1.1: lines should have at most 78 characters
pub const COLUMN_MAX: usize = 78;

/// Longest Received field: room that surely holds one.
pub const RECEIVED_LEN_MAX: usize = HELLO_LEN_MAX + DOMAIN_LEN_MAX + MAILBOX_LEN_MAX + 256;

/// What a Received field tells.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The name the peer gave, as it came.
    pub hello: &'a [u8],
    /// Where it came from.
    pub peer: Option<IpAddr>,
    /// Our name.
    pub hostname: &'a [u8],
    /// How it came.
    pub protocol: Protocol,
    /// The message's id.
    pub id: Id,
    /// The recipient, if there is exactly one.
    //= RFC 5321 section 7.2: more than one would disclose blind copies
    pub single_recipient: Option<&'a [u8]>,
    /// When.
    pub at: Timestamp,
}

impl Received<'_> {
    /// Appends the field with its CRLF.
    pub fn write(&self, out: &mut Vec<u8>) {
        //= RFC 5321 section 4.4: from with the address in a comment, by, with, id, for; then the date
        let mut line = Folded::start(out, b"Received:");
        line.unit(|out| {
            out.extend_from_slice(b"from ");
            push_hello(out, self.hello, self.protocol.is_utf8());
        });
        if let Some(peer) = self.peer {
            line.unit(|out| {
                out.push(b'(');
                push_literal(out, peer);
                out.push(b')');
            });
        }
        line.unit(|out| {
            out.extend_from_slice(b"by ");
            out.extend_from_slice(cut(self.hostname, DOMAIN_LEN_MAX));
        });
        line.unit(|out| {
            out.extend_from_slice(b"with ");
            out.extend_from_slice(self.protocol.name().as_bytes());
        });
        let recipient = self
            .single_recipient
            .filter(|mailbox| self.may_be_named(mailbox));
        line.unit(|out| {
            out.extend_from_slice(b"id ");
            self.id.push(out);
            if recipient.is_none() {
                out.push(b';');
            }
        });
        if let Some(mailbox) = recipient {
            line.unit(|out| {
                out.extend_from_slice(b"for <");
                out.extend_from_slice(mailbox);
                out.extend_from_slice(b">;");
            });
        }
        line.unit(|out| self.at.push_date(out));
        out.extend_from_slice(b"\r\n");
    }

    /// A mailbox of the wire can stand in the field as it is, unless it needs UTF-8 that was not asked for.
    fn may_be_named(&self, mailbox: &[u8]) -> bool {
        let utf8 = self.protocol.is_utf8() && std::str::from_utf8(mailbox).is_ok();
        (1..=MAILBOX_LEN_MAX).contains(&mailbox.len())
            && mailbox
                .iter()
                .all(|byte| !byte.is_ascii_control() && (utf8 || byte.is_ascii()))
    }
}

/// A field that breaks before the unit that would not fit any more.
struct Folded<'o> {
    out: &'o mut Vec<u8>,
    line_start: usize,
}

impl<'o> Folded<'o> {
    fn start(out: &'o mut Vec<u8>, name: &[u8]) -> Self {
        let line_start = out.len();
        out.extend_from_slice(name);
        Self { out, line_start }
    }

    fn unit(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
        let space = self.out.len();
        self.out.push(b' ');
        push(self.out);
        if self.out.len() - self.line_start > COLUMN_MAX {
            //= RFC 5322 section 2.2.3: a line may break before white space
            self.out.splice(space..=space, *b"\r\n\t");
            self.line_start = space + 2;
        }
    }
}

/// The name a peer gave, or what is left of it when all is gone that no name has.
fn push_hello(out: &mut Vec<u8>, hello: &[u8], utf8: bool) {
    let hello = cut(hello, HELLO_LEN_MAX);
    if hello.is_empty() {
        out.extend_from_slice(b"unknown");
        return;
    }
    let utf8 = utf8 && std::str::from_utf8(hello).is_ok();
    let literal = hello.len() > 2 && hello.starts_with(b"[") && hello.ends_with(b"]");
    let last = hello.len() - 1;
    out.extend(hello.iter().enumerate().map(|(index, byte)| match byte {
        b'[' if literal && index == 0 => b'[',
        b']' if literal && index == last => b']',
        b':' if literal => b':',
        b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => *byte,
        0x80.. if utf8 => *byte,
        _ => b'?',
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FULL: Received<'static> = Received {
        hello: b"client.example",
        peer: Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1))),
        hostname: b"mx.example.com",
        protocol: Protocol::Esmtp,
        id: Id::from_bits(32),
        single_recipient: Some(b"user@example.net"),
        at: Timestamp::from_unix_millis(1_795_508_041_000),
    };

    fn field(received: &Received<'_>) -> String {
        let mut out = Vec::new();
        received.write(&mut out);
        assert!(out.len() <= RECEIVED_LEN_MAX, "{} bytes", out.len());
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn fields() {
        let v6 = Some("2001:db8::1".parse().expect("an address"));
        for (received, expected) in [
            (
                FULL,
                "Received: from client.example ([192.0.2.1]) by mx.example.com with ESMTP\r\n\
                 \tid 0000000000010 for <user@example.net>; Tue, 24 Nov 2026 08:14:01 +0000\r\n",
            ),
            (
                Received {
                    single_recipient: None,
                    peer: None,
                    protocol: Protocol::Smtp,
                    ..FULL
                },
                "Received: from client.example by mx.example.com with SMTP id 0000000000010;\r\n\
                 \tTue, 24 Nov 2026 08:14:01 +0000\r\n",
            ),
            (
                Received {
                    hello: b"[IPv6:2001:db8::1]",
                    peer: v6,
                    ..FULL
                },
                "Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1]) by mx.example.com\r\n\
                 \twith ESMTP id 0000000000010 for <user@example.net>;\r\n\
                 \tTue, 24 Nov 2026 08:14:01 +0000\r\n",
            ),
            (
                Received {
                    protocol: Protocol::Utf8Smtp,
                    hello: "bücher.example".as_bytes(),
                    single_recipient: Some("jörg@bücher.example".as_bytes()),
                    ..FULL
                },
                "Received: from bücher.example ([192.0.2.1]) by mx.example.com with UTF8SMTP\r\n\
                 \tid 0000000000010 for <jörg@bücher.example>; Tue, 24 Nov 2026 08:14:01 +0000\r\n",
            ),
        ] {
            assert_eq!(field(&received), expected);
        }
    }

    #[test]
    fn a_name_cannot_say_more_than_a_name() {
        for (hello, expected) in [
            (&b""[..], "from unknown ("),
            (b"a b", "from a?b ("),
            (b"a\r\nBcc: x", "from a??Bcc??x ("),
            (b"a) (b", "from a???b ("),
            (b"x; Mon", "from x??Mon ("),
            (b"[1.2.3.4]", "from [1.2.3.4] ("),
            (b"[a]b]", "from [a?b] ("),
            (b"[]", "from ?? ("),
            (b"b\xc3\xbc", "from b?? ("),
        ] {
            let written = field(&Received { hello, ..FULL });
            assert!(written.contains(expected), "{hello:?}: {written}");
        }
    }

    #[test]
    fn a_mailbox_that_needs_utf8_is_not_named_without() {
        let received = Received {
            single_recipient: Some("jörg@example.net".as_bytes()),
            ..FULL
        };
        assert!(!field(&received).contains("for"));
    }

    proptest! {
        #[test]
        fn always_one_field(
            hello: Vec<u8>, recipient in prop::option::of("[!-~]{1,300}"), utf8: bool, bits: u64, peer: [u8; 16],
        ) {
            let written = field(&Received {
                hello: &hello,
                single_recipient: recipient.as_ref().map(|text| text.as_bytes()),
                protocol: if utf8 { Protocol::Utf8Smtp } else { Protocol::Esmtp },
                id: Id::from_bits(bits),
                peer: Some(IpAddr::from(peer)),
                ..FULL
            });
            let lines: Vec<&str> = written.strip_suffix("\r\n").expect("a line's end").split("\r\n").collect();
            prop_assert!(lines[0].starts_with("Received: from ") || lines[0] == "Received:");
            for line in &lines[1..] {
                prop_assert!(line.starts_with('\t') && line.len() > 1);
            }
            for line in &lines {
                prop_assert!(!line.contains(['\r', '\n']));
                // Only a single unit may be longer.
                prop_assert!(line.len() <= COLUMN_MAX || line.matches(' ').count() <= 2, "{line}");
            }
            prop_assert!(lines.last().expect("a line").ends_with("; Tue, 24 Nov 2026 08:14:01 +0000")
                || lines.last() == Some(&"\tTue, 24 Nov 2026 08:14:01 +0000"));
        }
    }
}
