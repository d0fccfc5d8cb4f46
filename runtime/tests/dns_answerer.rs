//! The answerer, pure: each query's answer as our own client reads it, and bytes that are no query.

use mailrail_runtime::dns::Name;
use mailrail_runtime::dns::query::{
    self, Answer, Data, Fault as Seen, Kind, MESSAGE_LEN_MAX, PAYLOAD_LEN_MAX, Question, Reading,
    Transport,
};
use mailrail_runtime::dns::server::{Fault, Record, Zone, answer};
use proptest::prelude::*;
use std::time::Duration;

const ID: u16 = 7;

fn question(name: &str, kind: Kind) -> Question {
    Question {
        name: Name::parse(name).unwrap(),
        kind,
    }
}

fn zone() -> Zone {
    let mut zone = Zone::new();
    zone.add("a.example", 300, Record::A([192, 0, 2, 1].into()))
        .add(
            "www.example",
            200,
            Record::Cname(Name::parse("a.example").unwrap()),
        )
        .add(
            "to-gone.example",
            200,
            Record::Cname(Name::parse("gone.example").unwrap()),
        )
        .add("silent.example", 300, Record::A([192, 0, 2, 1].into()))
        .add("late.example", 300, Record::A([192, 0, 2, 1].into()))
        .add("empty.example", 300, Record::Txt(Vec::new()))
        .add("long.example", 300, Record::Txt(vec![b'x'; 3000]))
        .negative_ttl(40)
        .fault("silent.example", Fault::Silent)
        .fault("late.example", Fault::Delay(Duration::from_secs(9)))
        .fault("broken.example", Fault::Code(2))
        .fault("old.example", Fault::NoEdns);
    zone
}

fn ask(name: &str, kind: Kind, transport: Transport) -> Option<(Reading, Duration)> {
    let question = question(name, kind);
    let reply = answer(&zone(), &query::encode(&question, ID, true), transport)?;
    Some((
        query::read(&reply.bytes, transport, ID, &question),
        reply.delay,
    ))
}

#[test]
fn a_question_and_its_answer() {
    let found = |ttl| {
        let data = Data::Addresses([[192, 0, 2, 1].into()].into());
        Reading::Answer(Answer {
            data,
            ttl: Some(ttl),
        })
    };
    let none = |data| {
        Reading::Answer(Answer {
            data,
            ttl: Some(40),
        })
    };
    let text = |text: &[u8]| {
        Reading::Answer(Answer {
            data: Data::Texts([text.into()].into()),
            ttl: Some(300),
        })
    };
    let cases = [
        ("a.example", Kind::A, found(300)),
        ("A.EXAMPLE", Kind::A, found(300)),
        ("www.example", Kind::A, found(200)),
        ("a.example", Kind::Mx, none(Data::Empty)),
        ("www.example", Kind::Mx, none(Data::Empty)),
        ("example", Kind::A, none(Data::Empty)),
        ("ample", Kind::A, none(Data::NoSuchDomain)),
        ("gone.example", Kind::A, none(Data::NoSuchDomain)),
        ("to-gone.example", Kind::A, none(Data::NoSuchDomain)),
        ("below.a.example", Kind::A, none(Data::NoSuchDomain)),
        ("broken.example", Kind::A, Reading::Fault(Seen::Code(2))),
        ("old.example", Kind::A, Reading::Fault(Seen::Code(1))),
        ("empty.example", Kind::Txt, text(b"")),
        ("late.example", Kind::A, found(300)),
    ];
    for (name, kind, want) in cases {
        let delay = Duration::from_secs(if name == "late.example" { 9 } else { 0 });
        for transport in [Transport::Udp, Transport::Tcp] {
            assert_eq!(
                ask(name, kind, transport),
                Some((want.clone(), delay)),
                "{name}"
            );
        }
    }
    assert_eq!(ask("silent.example", Kind::A, Transport::Udp), None);
    assert_eq!(
        ask("long.example", Kind::Txt, Transport::Udp).unwrap().0,
        Reading::Truncated
    );
    assert_eq!(
        ask("long.example", Kind::Txt, Transport::Tcp).unwrap().0,
        text(&[b'x'; 3000])
    );
}

#[test]
fn without_edns_512_octets_and_no_more() {
    let mut zone = Zone::new();
    zone.add("a.example", 300, Record::Txt(vec![b'x'; 600]));
    let question = question("a.example", Kind::Txt);
    for (edns, truncated) in [(true, false), (false, true)] {
        let query = query::encode(&question, ID, edns);
        let reply = answer(&zone, &query, Transport::Udp).unwrap();
        let reading = query::read(&reply.bytes, Transport::Udp, ID, &question);
        assert_eq!(reading == Reading::Truncated, truncated, "EDNS: {edns}");
    }
}

#[test]
fn an_answer_is_never_answered() {
    let question = question("a.example", Kind::A);
    let reply = answer(&zone(), &query::encode(&question, ID, true), Transport::Udp).unwrap();
    assert_eq!(answer(&zone(), &reply.bytes, Transport::Udp), None);
}

fn check_any(query: &[u8]) -> Result<(), TestCaseError> {
    for (transport, len_max) in [
        (Transport::Udp, usize::from(u16::MAX)),
        (Transport::Tcp, MESSAGE_LEN_MAX),
    ] {
        if let Some(reply) = answer(&zone(), query, transport) {
            prop_assert!(reply.bytes.len() <= len_max);
            prop_assert_eq!(&reply.bytes[..2], &query[..2]);
            prop_assert_eq!(reply.bytes[2] & 0x80, 0x80);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes(query in prop::collection::vec(any::<u8>(), 0..PAYLOAD_LEN_MAX)) {
        check_any(&query)?;
    }

    #[test]
    fn a_query_gone_bad(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut query = query::encode(&question("a.example", Kind::A), ID, true);
        for (index, value) in changes {
            let index = index.index(query.len());
            query[index] = value;
        }
        check_any(&query)?;
    }
}
