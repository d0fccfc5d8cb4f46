//! Answers of a name server, to each kind of question, and queries to our answerer: read or
//! refused, and what is read stays within its limits.

use mailrail_runtime::dns::Name;
use mailrail_runtime::dns::mx;
use mailrail_runtime::dns::query::{
    self, Data, Kind, Question, RECORD_COUNT_MAX, Reading, TEXT_LEN_MAX, Transport,
};
use mailrail_runtime::dns::server::{Record, Zone, answer};

/// A message, of which only the id is made right.
pub(crate) fn run(bytes: &[u8]) {
    let Some(id) = bytes.first_chunk().map(|id| u16::from_be_bytes(*id)) else {
        return;
    };
    let name = Name::parse("a.example").expect("a name");
    for kind in [Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Ptr] {
        let question = Question {
            name: name.clone(),
            kind,
        };
        for transport in [Transport::Udp, Transport::Tcp] {
            if let Reading::Answer(answer) = query::read(bytes, transport, id, &question) {
                check(kind, &answer.data);
            }
        }
    }
    let mut zone = Zone::new();
    zone.add("a.example", 300, Record::Mx(10, name.clone()))
        .add("www.example", 300, Record::Cname(name));
    for transport in [Transport::Udp, Transport::Tcp] {
        if let Some(reply) = answer(&zone, bytes, transport) {
            assert_eq!(reply.bytes[..2], bytes[..2], "the query's id");
        }
    }
}

fn check(kind: Kind, data: &Data) {
    match (kind, data) {
        (Kind::A, Data::Addresses(list)) => {
            assert!((1..=RECORD_COUNT_MAX).contains(&list.len()));
            assert!(list.iter().all(|address| address.is_ipv4()));
        }
        (Kind::Aaaa, Data::Addresses(list)) => {
            assert!((1..=RECORD_COUNT_MAX).contains(&list.len()));
            assert!(list.iter().all(|address| address.is_ipv6()));
        }
        (Kind::Mx, Data::Exchangers(list)) => {
            assert!(list.len() <= RECORD_COUNT_MAX);
            assert!(list.is_sorted());
            assert!(list.iter().all(|each| is_checked(&each.host)));
        }
        (Kind::Txt, Data::Texts(list)) => {
            assert!((1..=RECORD_COUNT_MAX).contains(&list.len()));
            assert!(list.iter().all(|text| text.len() <= TEXT_LEN_MAX));
        }
        (Kind::Ptr, Data::Names(list)) => {
            assert!(list.len() <= RECORD_COUNT_MAX);
            assert!(list.iter().all(is_checked));
        }
        (_, Data::Empty | Data::NoSuchDomain) => {}
        (_, Data::Alias(name)) => assert!(is_checked(name)),
        (kind, data) => panic!("asked for {kind:?}, got {data:?}"),
    }
    if kind == Kind::Mx && !matches!(data, Data::Alias(_)) {
        let _ = mx::decide(data);
    }
}

fn is_checked(name: &Name) -> bool {
    name.is_root() || Name::parse(name.as_str()).as_ref() == Some(name)
}
