//! An event as a line of JSON, pushed as bytes.
//!
//! The names are those that readers of KumoMTA's records know. Peers' bytes that are no UTF-8 become U+FFFD.

use super::classify::{Category, classify};
use super::{Attempt, Event, PeerName, Reception, Recipients, Rejection};
use crate::message::decimal::push_u64;
use crate::message::literal::push_address;
use crate::message::{Answer, Id, Timestamp};
use mailrail_runtime::tls::TlsInfo;

pub(super) fn push_line(event: &Event<'_>, out: &mut Vec<u8>) {
    match event {
        Event::Reception(reception) => push_reception(reception, out),
        Event::Delivery(attempt) => push_attempt("Delivery", attempt, None, out),
        Event::TransientFailure(attempt) => {
            push_attempt(
                "TransientFailure",
                attempt,
                Some(classify(&attempt.response)),
                out,
            );
        }
        Event::Bounce(attempt) => {
            push_attempt("Bounce", attempt, Some(classify(&attempt.response)), out)
        }
        Event::Expiration(attempt) => {
            push_attempt("Expiration", attempt, Some(Category::MessageExpired), out);
        }
        Event::AdminBounce(attempt) => {
            push_attempt("AdminBounce", attempt, Some(Category::Other), out)
        }
        Event::Rejection(rejection) => push_rejection(rejection, out),
    }
    out.extend_from_slice(b"}\n");
}

fn push_reception(reception: &Reception<'_>, out: &mut Vec<u8>) {
    let envelope = reception.envelope;
    push_front("Reception", reception.at, out);
    push_id(reception.id, out);
    push_text(",\"sender\":", envelope.sender(), out);
    push_recipients(Recipients::All(envelope), out);
    push_number(",\"size\":", reception.size, out);
    push_text(
        ",\"reception_protocol\":",
        envelope.protocol().name().as_bytes(),
        out,
    );
    push_response(&reception.response, out);
    if let Some(address) = envelope.peer() {
        push_peer(
            &PeerName {
                name: envelope.hello(),
                address,
            },
            out,
        );
    }
    push_created(reception.at, out);
    push_text(
        ",\"durability\":",
        reception.durability.name().as_bytes(),
        out,
    );
    push_tls(reception.tls, out);
}

fn push_attempt(name: &str, attempt: &Attempt<'_>, category: Option<Category>, out: &mut Vec<u8>) {
    push_front(name, attempt.at, out);
    push_id(attempt.id, out);
    push_text(",\"sender\":", attempt.sender, out);
    push_recipients(attempt.recipients, out);
    push_text(",\"queue\":", attempt.queue, out);
    push_text(",\"site\":", attempt.site, out);
    push_number(",\"size\":", attempt.size, out);
    push_response(&attempt.response, out);
    if let Some(peer) = &attempt.peer {
        push_peer(peer, out);
    }
    push_created(attempt.created, out);
    push_number(",\"num_attempts\":", u64::from(attempt.attempt_count), out);
    push_number(
        ",\"latency_ms\":",
        attempt.at.millis_since(attempt.created),
        out,
    );
    if let Some(category) = category {
        push_text(
            ",\"bounce_classification\":",
            category.name().as_bytes(),
            out,
        );
    }
    push_text(
        ",\"durability\":",
        attempt.durability.name().as_bytes(),
        out,
    );
    push_tls(attempt.tls, out);
}

fn push_rejection(rejection: &Rejection<'_>, out: &mut Vec<u8>) {
    push_front("Rejection", rejection.at, out);
    if let Some(sender) = rejection.sender {
        push_text(",\"sender\":", sender, out);
    }
    if let Some(recipient) = rejection.recipient {
        push_text(",\"recipient\":", recipient, out);
    }
    push_text(
        ",\"reception_protocol\":",
        rejection.protocol.name().as_bytes(),
        out,
    );
    push_response(&rejection.response, out);
    push_peer(&rejection.peer, out);
}

fn push_front(name: &str, at: Timestamp, out: &mut Vec<u8>) {
    push_text("{\"type\":", name.as_bytes(), out);
    push_number(",\"timestamp\":", at.unix_seconds(), out);
    out.extend_from_slice(b",\"event_time\":\"");
    at.push_rfc3339(out);
    out.push(b'"');
}

fn push_created(created: Timestamp, out: &mut Vec<u8>) {
    push_number(",\"created\":", created.unix_seconds(), out);
}

fn push_id(id: Id, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"id\":\"");
    id.push(out);
    out.push(b'"');
}

/// One recipient is a string, several are an array.
fn push_recipients(recipients: Recipients<'_>, out: &mut Vec<u8>) {
    match recipients {
        Recipients::One(mailbox) => push_list(std::iter::once(mailbox), out),
        Recipients::All(envelope) => push_list(envelope.recipients(), out),
        Recipients::Some {
            envelope,
            first,
            bits,
        } => {
            let count = envelope.recipient_count();
            let set = (0..128).filter(move |bit| bits & 1 << bit != 0);
            let index = set
                .map(move |bit| usize::from(first) + bit)
                .take_while(move |index| *index < count);
            push_list(index.map(move |index| envelope.recipient(index)), out);
        }
    }
}

fn push_list<'a>(mailboxes: impl Iterator<Item = &'a [u8]> + Clone, out: &mut Vec<u8>) {
    let several = mailboxes.clone().nth(1).is_some();
    let mut name = if several {
        ",\"recipient\":["
    } else {
        ",\"recipient\":"
    };
    for mailbox in mailboxes {
        push_text(name, mailbox, out);
        name = ",";
    }
    if several {
        out.push(b']');
    }
}

fn push_response(response: &Answer<'_>, out: &mut Vec<u8>) {
    push_number(",\"response\":{\"code\":", u64::from(response.code), out);
    match response.status {
        Some(status) => {
            push_number(",\"enhanced_code\":{\"class\":", status.class as u64, out);
            push_number(",\"subject\":", u64::from(status.subject), out);
            push_number(",\"detail\":", u64::from(status.detail), out);
            out.push(b'}');
        }
        None => out.extend_from_slice(b",\"enhanced_code\":null"),
    }
    push_text(",\"content\":", response.text, out);
    out.push(b'}');
}

fn push_peer(peer: &PeerName<'_>, out: &mut Vec<u8>) {
    push_text(",\"peer_address\":{\"name\":", peer.name, out);
    out.extend_from_slice(b",\"addr\":\"");
    push_address(out, peer.address);
    out.extend_from_slice(b"\"}");
}

/// Only where there was some.
fn push_tls(tls: Option<TlsInfo>, out: &mut Vec<u8>) {
    if let Some(tls) = tls {
        push_text(",\"tls_protocol_version\":", tls.version.as_bytes(), out);
        push_text(",\"tls_cipher\":", tls.cipher.as_bytes(), out);
    }
}

/// Appends a name as it stands and a number.
fn push_number(name: &str, number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    push_u64(out, number);
}

/// Appends a name as it stands and a string.
fn push_text(name: &str, text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
    match std::str::from_utf8(text) {
        Ok(text) => push_escaped(text, out),
        Err(_) => {
            for chunk in text.utf8_chunks() {
                push_escaped(chunk.valid(), out);
                if !chunk.invalid().is_empty() {
                    out.extend_from_slice("\u{FFFD}".as_bytes());
                }
            }
        }
    }
    out.push(b'"');
}

//= RFC 8259 section 7: quotation mark, reverse solidus and the control characters are escaped
fn push_escaped(text: &str, out: &mut Vec<u8>) {
    let needs = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(needs) {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain);
        match after[0] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(byte >> 4),
                    digit(byte & 15),
                ]);
            }
        }
        rest = &after[1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Class, answer::parse_status};
    use crate::message::{Durability, Envelope, EnvelopeView, Protocol, Status};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::net::IpAddr;

    const AT: Timestamp = Timestamp::from_unix_millis(1_795_508_041_123);
    const CREATED: Timestamp = Timestamp::from_unix_millis(1_795_508_040_000);
    const OK: Answer<'static> = Answer::new(250, Some(Status::new(Class::Success, 0, 0)), b"ok");

    fn stored(recipients: &[&str]) -> Vec<u8> {
        let mut envelope = Envelope::new();
        envelope.peer = Some(IpAddr::from([192, 0, 2, 1]));
        envelope.set_hello(b"client.example");
        envelope.set_sender(b"s@s.example");
        for recipient in recipients {
            assert!(envelope.add_recipient(recipient.as_bytes()));
        }
        let mut bytes = Vec::new();
        envelope.encode(&mut bytes);
        bytes
    }

    fn attempt<'a>(recipients: Recipients<'a>) -> Attempt<'a> {
        Attempt {
            at: AT,
            created: CREATED,
            id: Id::from_bits(32),
            sender: b"s@s.example",
            recipients,
            queue: b"a.example",
            site: b"mx.a.example",
            size: 4096,
            response: OK,
            peer: Some(PeerName {
                name: b"mx.a.example",
                address: IpAddr::from([192, 0, 2, 9]),
            }),
            attempt_count: 1,
            durability: Durability::Fsync,
            tls: None,
        }
    }

    fn line(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        event.push_line(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn value(event: &Event<'_>) -> Value {
        let line = line(event);
        let text = line.strip_suffix('\n').expect("one line");
        assert!(!text.contains('\n'), "one line: {text}");
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn a_delivery() {
        assert_eq!(
            line(&Event::Delivery(attempt(Recipients::One(b"a@a.example")))),
            "{\"type\":\"Delivery\",\"timestamp\":1795508041,\"event_time\":\"2026-11-24T08:14:01.123Z\",\
             \"id\":\"0000000000010\",\"sender\":\"s@s.example\",\"recipient\":\"a@a.example\",\
             \"queue\":\"a.example\",\"site\":\"mx.a.example\",\"size\":4096,\
             \"response\":{\"code\":250,\"enhanced_code\":{\"class\":2,\"subject\":0,\"detail\":0},\
             \"content\":\"ok\"},\"peer_address\":{\"name\":\"mx.a.example\",\"addr\":\"192.0.2.9\"},\
             \"created\":1795508040,\"num_attempts\":1,\"latency_ms\":1123,\"durability\":\"fsync\"}\n"
        );
    }

    #[test]
    fn a_reception() {
        let bytes = stored(&["b@b.example", "a@a.example"]);
        let envelope = EnvelopeView::decode(&bytes).expect("what was encoded");
        let event = Event::Reception(Reception {
            at: AT,
            id: Id::from_bits(32),
            envelope,
            size: 17,
            durability: Durability::Memory,
            response: OK,
            tls: Some(TlsInfo {
                version: "TLSv1.3",
                cipher: "TLS_AES_128_GCM_SHA256",
                is_resumed: false,
            }),
        });
        let expected = json!({
            "type": "Reception", "timestamp": 1_795_508_041, "event_time": "2026-11-24T08:14:01.123Z",
            "id": "0000000000010", "sender": "s@s.example", "recipient": ["a@a.example", "b@b.example"],
            "size": 17, "reception_protocol": "ESMTP",
            "response": {"code": 250, "enhanced_code": {"class": 2, "subject": 0, "detail": 0}, "content": "ok"},
            "peer_address": {"name": "client.example", "addr": "192.0.2.1"},
            "created": 1_795_508_041, "durability": "memory",
            "tls_protocol_version": "TLSv1.3", "tls_cipher": "TLS_AES_128_GCM_SHA256",
        });
        assert_eq!(value(&event), expected);
    }

    #[test]
    fn a_rejection() {
        let event = Event::Rejection(Rejection {
            at: AT,
            sender: Some(b""),
            recipient: None,
            peer: PeerName {
                name: b"\xff\"\\\x01\n\x7f",
                address: "2001:db8::1".parse().expect("an address"),
            },
            protocol: Protocol::Smtp,
            response: Answer::new(550, None, b"no"),
        });
        let expected = json!({
            "type": "Rejection", "timestamp": 1_795_508_041, "event_time": "2026-11-24T08:14:01.123Z",
            "sender": "", "reception_protocol": "SMTP",
            "response": {"code": 550, "enhanced_code": null, "content": "no"},
            "peer_address": {"name": "\u{FFFD}\"\\\u{1}\n\u{7f}", "addr": "2001:db8::1"},
        });
        assert_eq!(value(&event), expected);
    }

    #[test]
    fn failures_have_a_category() {
        let recipients = Recipients::One(b"a@a.example");
        let unknown = Answer::new(550, parse_status(b"5.1.1"), b"no such user");
        let failed = Attempt {
            response: unknown,
            peer: None,
            ..attempt(recipients)
        };
        for (event, name, category) in [
            (Event::Bounce(failed), "Bounce", "bad-mailbox"),
            (
                Event::TransientFailure(failed),
                "TransientFailure",
                "bad-mailbox",
            ),
            (Event::Expiration(failed), "Expiration", "message-expired"),
            (Event::AdminBounce(failed), "AdminBounce", "other"),
        ] {
            let value = value(&event);
            assert_eq!(value["type"], name);
            assert_eq!(value["bounce_classification"], category);
            assert_eq!(value.get("peer_address"), None);
        }
    }

    #[test]
    fn the_recipients_whose_bit_is_set() {
        let bytes = stored(&["a@a.example", "b@b.example", "c@b.example", "d@b.example"]);
        let envelope = EnvelopeView::decode(&bytes).expect("what was encoded");
        for (bits, expected) in [
            (1, json!("b@b.example")),
            (5, json!(["b@b.example", "d@b.example"])),
            (
                u128::MAX,
                json!(["b@b.example", "c@b.example", "d@b.example"]),
            ),
        ] {
            let event = Event::Delivery(attempt(Recipients::Some {
                envelope,
                first: 1,
                bits,
            }));
            assert_eq!(value(&event)["recipient"], expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text: Vec<u8>, control in "[\0-\x1f\"\\\\a]{0,9}") {
            for text in [&text[..], control.as_bytes()] {
                let response = Answer { text, ..OK };
                let event = Event::Delivery(Attempt { response, ..attempt(Recipients::One(text)) });
                let value = value(&event);
                let expected = String::from_utf8_lossy(text);
                prop_assert_eq!(value["response"]["content"].as_str(), Some(&*expected));
                prop_assert_eq!(value["recipient"].as_str(), Some(&*expected));
            }
        }
    }
}
