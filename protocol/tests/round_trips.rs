//! What one side writes the other reads back: replies, commands and announcements. No session lives
//! here.

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::command::{BodyKind, Mail, Recipient, Strictness, Verb, parse};
use mailrail_protocol::extension::Extensions;
use mailrail_protocol::reply::parse::Reader;
use mailrail_protocol::reply::{Code, Reply, Status};
use mailrail_protocol::server::Config;
use proptest::prelude::*;

fn everything() -> Extensions {
    Config::new("mx.example").extensions
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{1,10}@[a-z]{1,10}\\.[a-z]{2,3}",
        "\"[a-z .@<>]{1,10}\"@[a-z]{1,10}\\.[a-z]{2,3}",
        "[a-z]{1,5}\\.[a-z]{1,5}@\\[192\\.0\\.2\\.[1-9]\\]",
        "[äöü]{1,5}@[a-z]{1,10}\\.[a-z]{2,3}",
    ]
}

proptest! {
    #[test]
    fn replies(
        code in 200u16..600,
        status in proptest::option::of((0u16..1000, 0u16..1000)),
        lines in proptest::collection::vec("[A-Za-z(<>)]([A-Za-z .,:@-]{0,60}[a-z])?", 1..6),
    ) {
        let code = Code::new(code).unwrap();
        let status = status.map(|(subject, detail)| Status::for_code(code, subject, detail));
        let text = lines.join("\r\n");
        let reply = Reply { code, status, text: text.as_bytes() };
        let mut wire = Vec::new();
        reply.write(&mut wire);
        let mut input = wire.as_slice();
        let answer = Reader::default().take(&mut input).unwrap().unwrap();
        prop_assert!(input.is_empty());
        prop_assert_eq!(answer.code, code);
        prop_assert_eq!(answer.status, status.filter(|_| !code.is_intermediate()));
        let read: Vec<&[u8]> = answer.lines().collect();
        let written: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn mail(
        from in proptest::option::of(address()),
        size in proptest::option::of(0u64..50 * 1024 * 1024),
        body in prop_oneof![Just(None), Just(Some(BodyKind::SevenBit)), Just(Some(BodyKind::EightBitMime))],
        smtputf8: bool,
    ) {
        let from = from.as_deref().map(|from| Mailbox::parse(from.as_bytes(), Charset::Utf8).unwrap());
        let mut mail = Mail::new(from.map_or(ReversePath::Null, ReversePath::Mailbox));
        (mail.size, mail.body) = (size, body);
        mail.smtputf8 = smtputf8 || !mail.from.as_str().is_ascii();
        let mut wire = Vec::new();
        mail.write(&mut wire);
        let (verb, argument) = parse::verb(wire.strip_suffix(b"\r\n").unwrap()).unwrap();
        prop_assert_eq!(verb, Verb::Mail);
        prop_assert_eq!(parse::mail(argument, &everything(), &Strictness::STRICT).unwrap(), mail);
    }
}

#[test]
fn a_recipient() {
    for text in [
        "y@b.example",
        "\"y <z>\"@[IPv6:2001:db8::1]",
        "gr\u{fc}n@b.example",
    ] {
        let to = Mailbox::parse(text.as_bytes(), Charset::Utf8).unwrap();
        let mut wire = Vec::new();
        Recipient::new(ForwardPath::Mailbox(to)).write(&mut wire);
        assert_eq!(wire, format!("RCPT TO:<{text}>\r\n").as_bytes());
    }
    let mut wire = Vec::new();
    Recipient::new(ForwardPath::Postmaster("PostMaster")).write(&mut wire);
    assert_eq!(wire, b"RCPT TO:<PostMaster>\r\n");
}
