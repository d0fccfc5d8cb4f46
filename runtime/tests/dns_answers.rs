//! What DNS answers mean: a table of messages, and bytes that are none. No sockets here.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, TXT};
use hickory_proto::rr::{DNSClass, Name as WireName, RData, Record, RecordType};
use mailrail_runtime::dns::query::{
    self, ALIAS_COUNT_MAX, Answer, Data, Fault, Kind, MESSAGE_LEN_MAX, PAYLOAD_LEN_MAX, Question,
    RECORD_COUNT_MAX, Reading, Transport, read,
};
use mailrail_runtime::dns::{DnsError, Exchanger, Name};
use proptest::prelude::*;
use std::net::IpAddr;

const ID: u16 = 0x1234;

fn name(text: &str) -> Name {
    if text == "." {
        Name::root()
    } else {
        Name::parse(text).unwrap()
    }
}

/// Any octets may stand between the dots.
fn wire_name(text: &str) -> WireName {
    WireName::from_labels(
        text.split('.')
            .filter(|label| !label.is_empty())
            .map(str::as_bytes),
    )
    .unwrap()
}

fn question(kind: Kind) -> Question {
    Question {
        name: name("a.example"),
        kind,
    }
}

/// One record from its line: owner, seconds to live, type, data.
fn record(line: &str) -> Record {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [owner, ttl, kind, data @ ..] = &*words else {
        panic!("{line}")
    };
    let data = match (*kind, data) {
        ("A", [address]) => RData::A(A(address.parse().unwrap())),
        ("AAAA", [address]) => RData::AAAA(AAAA(address.parse().unwrap())),
        ("MX", [preference, host]) => {
            RData::MX(MX::new(preference.parse().unwrap(), wire_name(host)))
        }
        ("CNAME", [target]) => RData::CNAME(CNAME(wire_name(target))),
        ("PTR", [target]) => RData::PTR(PTR(wire_name(target))),
        ("NS", [target]) => RData::NS(NS(wire_name(target))),
        ("TXT", strings) => RData::TXT(TXT::from_bytes(
            strings.iter().map(|text| text.as_bytes()).collect(),
        )),
        ("SOA", [minimum]) => {
            let root = WireName::root();
            RData::SOA(SOA::new(
                root.clone(),
                root,
                1,
                2,
                3,
                4,
                minimum.parse().unwrap(),
            ))
        }
        _ => panic!("{line}"),
    };
    Record::from_rdata(wire_name(owner), ttl.parse().unwrap(), data)
}

/// An answer to `question` under `ID`: lines before `--` are its answer section, after it authority.
fn message(question: &Question, code: u16, lines: &[&str]) -> Message {
    let kind = match question.kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Mx => RecordType::MX,
        Kind::Txt => RecordType::TXT,
        Kind::Ptr => RecordType::PTR,
    };
    let mut message = Message::response(ID, OpCode::Query);
    message.metadata.response_code = code.into();
    message.add_query(Query::query(
        wire_name(&format!("{}.", question.name)),
        kind,
    ));
    let mut sections = lines.split(|line| *line == "--");
    message.add_answers(
        sections
            .next()
            .into_iter()
            .flatten()
            .map(|line| record(line)),
    );
    message.add_authorities(
        sections
            .next()
            .into_iter()
            .flatten()
            .map(|line| record(line)),
    );
    if code > 15 {
        message.set_edns(Edns::new());
    }
    message
}

fn check(kind: Kind, code: u16, lines: &[&str], want: &Reading) {
    let question = question(kind);
    let bytes = message(&question, code, lines).to_vec().unwrap();
    for transport in [Transport::Udp, Transport::Tcp] {
        assert_eq!(
            read(&bytes, transport, ID, &question),
            *want,
            "{kind:?} {code} {lines:#?}"
        );
    }
}

fn answer(ttl: u32, data: Data) -> Reading {
    Reading::Answer(Answer {
        data,
        ttl: Some(ttl),
    })
}

fn fault(fault: Fault) -> Reading {
    Reading::Fault(fault)
}

fn addresses(list: &[&str]) -> Data {
    Data::Addresses(
        list.iter()
            .map(|text| text.parse::<IpAddr>().unwrap())
            .collect(),
    )
}

fn exchangers(list: &[(u16, &str)]) -> Data {
    Data::Exchangers(
        list.iter()
            .map(|&(preference, host)| Exchanger {
                preference,
                host: name(host),
            })
            .collect(),
    )
}

#[test]
fn addresses_of_the_asked_name_only() {
    use Kind::{A, Aaaa};
    let one = || answer(60, addresses(&["192.0.2.1"]));
    check(A, 0, &["a.example. 60 A 192.0.2.1"], &one());
    check(A, 0, &["A.EXAMPLE. 60 A 192.0.2.1"], &one());
    check(
        A,
        0,
        &["b.example. 60 A 192.0.2.9", "a.example. 60 A 192.0.2.1"],
        &one(),
    );
    check(
        A,
        0,
        &["a.example. 60 AAAA ::1", "a.example. 60 A 192.0.2.1"],
        &one(),
    );
    check(
        Aaaa,
        0,
        &["a.example. 9 AAAA 2001:db8::1"],
        &answer(9, addresses(&["2001:db8::1"])),
    );
    check(
        A,
        0,
        &["a.example. 60 A 192.0.2.2", "a.example. 30 A 192.0.2.1"],
        &answer(30, addresses(&["192.0.2.2", "192.0.2.1"])),
    );
}

#[test]
fn a_ttl_with_its_highest_bit_is_zero() {
    //= RFC 2181 section 8: such a TTL is read as zero
    let lines = ["a.example. 2147483648 A 192.0.2.1"];
    check(Kind::A, 0, &lines, &answer(0, addresses(&["192.0.2.1"])));
}

#[test]
fn mail_hosts_sorted_lower_cased_and_each_once() {
    check(
        Kind::Mx,
        0,
        &[
            "a.example. 60 MX 20 Z.Example.",
            "a.example. 50 MX 10 y.example.",
            "a.example. 60 MX 10 B.example.",
            "a.example. 60 MX 10 b.example.",
        ],
        &answer(
            50,
            exchangers(&[(10, "b.example"), (10, "y.example"), (20, "z.example")]),
        ),
    );
    check(
        Kind::Mx,
        0,
        &["a.example. 60 MX 0 ."],
        &answer(60, exchangers(&[(0, ".")])),
    );
    check(
        Kind::Mx,
        0,
        &[
            "a.example. 60 MX 10 bad!host.example.",
            "a.example. 60 MX 20 good.example.",
        ],
        &answer(60, exchangers(&[(20, "good.example")])),
    );
    check(
        Kind::Mx,
        0,
        &["a.example. 60 MX 10 bad\0.example."],
        &answer(60, exchangers(&[])),
    );
}

#[test]
fn texts_are_joined_and_names_checked() {
    check(
        Kind::Txt,
        0,
        &["a.example. 60 TXT v=spf1 -all", "a.example. 60 TXT x"],
        &answer(
            60,
            Data::Texts([b"v=spf1-all"[..].into(), b"x"[..].into()].into()),
        ),
    );
    check(
        Kind::Ptr,
        0,
        &[
            "a.example. 60 PTR Host.example.",
            "a.example. 60 PTR bad!.example.",
        ],
        &answer(60, Data::Names([name("host.example")].into())),
    );
}

#[test]
fn aliases_within_the_answer() {
    let chain = [
        "b.example. 50 A 192.0.2.1",
        "a.example. 40 CNAME b.example.",
    ];
    check(Kind::A, 0, &chain, &answer(40, addresses(&["192.0.2.1"])));
    let open = ["a.example. 40 CNAME b.example."];
    check(
        Kind::A,
        0,
        &open,
        &answer(40, Data::Alias(name("b.example"))),
    );
    //= RFC 2308 section 2.2: SOA: the last name has no such records
    let closed = ["a.example. 40 CNAME b.example.", "--", "example. 30 SOA 20"];
    check(Kind::A, 0, &closed, &answer(20, Data::Empty));
    //= RFC 6604 section 3: the code is about the last name
    check(Kind::A, 3, &closed, &answer(20, Data::NoSuchDomain));
    check(
        Kind::A,
        0,
        &["a.example. 40 CNAME a\0b.example."],
        &fault(Fault::Malformed),
    );
}

#[test]
fn aliases_are_bounded() {
    let ring = [
        "a.example. 1 CNAME b.example.",
        "b.example. 1 CNAME a.example.",
    ];
    check(Kind::A, 0, &ring, &fault(Fault::AliasLoop));
    check(
        Kind::A,
        0,
        &["a.example. 1 CNAME a.example."],
        &fault(Fault::AliasLoop),
    );
    let check_chain = |count: usize, want: Reading| {
        let mut lines = vec!["a.example. 1 CNAME n0.example.".to_owned()];
        lines.extend((1..count).map(|n| format!("n{}.example. 1 CNAME n{n}.example.", n - 1)));
        lines.push(format!("n{}.example. 1 A 192.0.2.1", count - 1));
        check(
            Kind::A,
            0,
            &lines.iter().map(String::as_str).collect::<Vec<_>>(),
            &want,
        );
    };
    check_chain(ALIAS_COUNT_MAX, answer(1, addresses(&["192.0.2.1"])));
    check_chain(ALIAS_COUNT_MAX + 1, fault(Fault::AliasLoop));
}

#[test]
fn nothing_there_and_for_how_long() {
    //= RFC 2308 section 5: the lesser of the SOA's TTL and its minimum
    check(
        Kind::A,
        0,
        &["--", "example. 30 SOA 20"],
        &answer(20, Data::Empty),
    );
    check(
        Kind::A,
        0,
        &["--", "example. 10 SOA 20"],
        &answer(10, Data::Empty),
    );
    check(
        Kind::A,
        3,
        &["--", "example. 30 SOA 20"],
        &answer(20, Data::NoSuchDomain),
    );
    //= RFC 2308 section 5: without SOA it is not remembered
    let forget = |data| Reading::Answer(Answer { data, ttl: None });
    check(Kind::A, 3, &[], &forget(Data::NoSuchDomain));
    check(Kind::A, 0, &[], &forget(Data::Empty));
    //= RFC 2308 section 2.2.1: NS without SOA is a referral, unless the server is the authority
    check(
        Kind::A,
        0,
        &["--", "example. 30 NS ns.example."],
        &fault(Fault::Referral),
    );
    let both = ["--", "example. 9 NS ns.example.", "example. 9 SOA 9"];
    check(Kind::A, 0, &both, &answer(9, Data::Empty));
}

#[test]
fn codes_are_faults_never_absence() {
    for code in [1, 2, 4, 5, 6, 9, 16, 23] {
        check(
            Kind::Mx,
            code,
            &["--", "example. 30 SOA 20"],
            &fault(Fault::Code(code)),
        );
    }
    for code in 0..30 {
        assert_eq!(
            Fault::Code(code).blames_edns(),
            [1, 4, 16].contains(&code),
            "{code}"
        );
    }
}

#[test]
fn only_our_own_question_is_answered() {
    type Change = fn(&mut Message);
    let changes: &[(&str, Change)] = &[
        ("id", |message| message.metadata.id ^= 1),
        ("a query", |message| {
            message.metadata.message_type = MessageType::Query
        }),
        ("operation", |message| {
            message.metadata.op_code = OpCode::Notify
        }),
        ("name", |message| {
            message.queries[0].name = wire_name("b.example.")
        }),
        ("type", |message| {
            message.queries[0].query_type = RecordType::AAAA
        }),
        ("class", |message| {
            message.queries[0].query_class = DNSClass::CH
        }),
        ("no question", |message| message.queries.clear()),
        ("two questions", |message| {
            let again = message.queries[0].clone();
            message.add_query(again);
        }),
    ];
    let ours = question(Kind::A);
    let good = message(&ours, 0, &["a.example. 60 A 192.0.2.1"]);
    for (what, change) in changes {
        let mut forged = good.clone();
        change(&mut forged);
        let bytes = forged.to_vec().unwrap();
        assert_eq!(
            read(&bytes, Transport::Udp, ID, &ours),
            Reading::Foreign,
            "{what}"
        );
    }
    let mut no_question = good.clone();
    no_question.queries.clear();
    no_question.metadata.response_code = ResponseCode::FormErr;
    let bytes = no_question.to_vec().unwrap();
    assert_eq!(
        read(&bytes, Transport::Udp, ID, &ours),
        fault(Fault::Code(1))
    );
    let mut other_class = good;
    other_class.answers[0].dns_class = DNSClass::CH;
    let bytes = other_class.to_vec().unwrap();
    let nothing = Reading::Answer(Answer {
        data: Data::Empty,
        ttl: None,
    });
    assert_eq!(
        read(&bytes, Transport::Udp, ID, &ours),
        nothing,
        "a record of another class"
    );
}

#[test]
fn cut_and_oversized() {
    let ours = question(Kind::A);
    let mut cut = message(&ours, 0, &["a.example. 60 A 192.0.2.1"]);
    cut.metadata.truncation = true;
    let bytes = cut.to_vec().unwrap();
    assert_eq!(read(&bytes, Transport::Udp, ID, &ours), Reading::Truncated);
    assert_eq!(
        read(&bytes, Transport::Tcp, ID, &ours),
        fault(Fault::Malformed)
    );
    // Cut in the middle of a record with the bit set: still only "ask again".
    assert_eq!(
        read(&bytes[..bytes.len() - 3], Transport::Udp, ID, &ours),
        Reading::Truncated
    );

    let line = "a.example. 60 A 192.0.2.1";
    let many = message(&ours, 0, &[line; 200]).to_vec().unwrap();
    assert!(many.len() > PAYLOAD_LEN_MAX);
    assert_eq!(read(&many, Transport::Udp, ID, &ours), Reading::Truncated);
    let reading = read(&many, Transport::Tcp, ID, &ours);
    let Reading::Answer(Answer {
        data: Data::Addresses(list),
        ..
    }) = reading
    else {
        panic!("200 addresses fit a stream");
    };
    assert_eq!(list.len(), RECORD_COUNT_MAX);
    let huge = message(&ours, 0, &[line; 2000]).to_vec().unwrap();
    assert!(huge.len() > MESSAGE_LEN_MAX);
    assert_eq!(
        read(&huge, Transport::Tcp, ID, &ours),
        fault(Fault::Malformed)
    );
}

#[test]
fn every_cut_of_a_good_answer() {
    let ours = question(Kind::Mx);
    let bytes = message(&ours, 0, &["a.example. 60 MX 10 b.example."])
        .to_vec()
        .unwrap();
    let question_end = 12 + "a.example".len() + 2 + 4;
    for len in 0..bytes.len() {
        let want = if len < question_end {
            Reading::Foreign
        } else {
            fault(Fault::Malformed)
        };
        assert_eq!(
            read(&bytes[..len], Transport::Udp, ID, &ours),
            want,
            "{len} octets"
        );
    }
}

#[test]
fn names_that_point_to_themselves() {
    let ours = question(Kind::A);
    let mut bytes = query::encode(&ours, ID, false);
    bytes[2] |= 0x80;
    bytes[7] = 1;
    let here = 0xC000 | bytes.len() as u16;
    bytes.extend(here.to_be_bytes());
    bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    assert_eq!(
        read(&bytes, Transport::Udp, ID, &ours),
        fault(Fault::Malformed)
    );
}

#[test]
fn a_query_on_the_wire() {
    let plain = query::encode(&question(Kind::Mx), ID, false);
    let want =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x0f\x00\x01";
    assert_eq!(plain, want);
    let edns = query::encode(&question(Kind::Mx), ID, true);
    //= RFC 6891 section 6.1.2: root, type 41, 1232 octets, version 0, no options
    let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
    assert_eq!(edns[12..], [&want[12..], opt].concat());
    assert_eq!(edns[10..12], [0, 1]);
}

#[test]
fn two_families_are_one_list() {
    use DnsError::Timeout;
    let v4 = || Ok(addresses(&["192.0.2.1"]));
    let v6 = || Ok(addresses(&["2001:db8::1"]));
    let list = |texts: &[&str]| match addresses(texts) {
        Data::Addresses(list) => Ok(list),
        _ => unreachable!(),
    };
    assert_eq!(
        query::unite(v4(), v6()),
        list(&["192.0.2.1", "2001:db8::1"])
    );
    assert_eq!(query::unite(v4(), Err(Timeout)), list(&["192.0.2.1"]));
    assert_eq!(query::unite(Err(Timeout), v6()), list(&["2001:db8::1"]));
    assert_eq!(query::unite(v4(), Ok(Data::Empty)), list(&["192.0.2.1"]));
    assert_eq!(query::unite(Ok(Data::Empty), Ok(Data::Empty)), list(&[]));
    assert_eq!(
        query::unite(Ok(Data::NoSuchDomain), Ok(Data::NoSuchDomain)),
        list(&[])
    );
    for absent in [Data::Empty, Data::NoSuchDomain] {
        assert_eq!(query::unite(Ok(absent.clone()), Err(Timeout)), Err(Timeout));
        assert_eq!(query::unite(Err(Timeout), Ok(absent)), Err(Timeout));
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for transport in [Transport::Udp, Transport::Tcp] {
            read(&bytes, transport, ID, &question(Kind::Mx));
        }
    }

    /// Bytes behind a right header and question reach the decoder of records.
    #[test]
    fn any_bytes_behind_our_question(
        flags in any::<[u8; 2]>(),
        counts in any::<[u8; 3]>(),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        for kind in [Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Ptr] {
            let ours = question(kind);
            let mut bytes = query::encode(&ours, ID, false);
            bytes[2..4].copy_from_slice(&[flags[0] & 0b0000_0101 | 0x80, flags[1]]);
            for (section, count) in counts.iter().enumerate() {
                bytes[7 + 2 * section] = count % 4;
            }
            bytes.extend(&rest);
            prop_assert_ne!(read(&bytes, Transport::Tcp, ID, &ours), Reading::Foreign);
        }
    }

    /// A good answer with a few octets changed.
    #[test]
    fn bytes_gone_bad(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let ours = question(Kind::Mx);
        let lines = [
            "a.example. 60 CNAME b.example.",
            "b.example. 60 MX 10 c.example.",
            "b.example. 60 MX 20 d.example.",
            "--",
            "example. 30 SOA 20",
        ];
        let mut bytes = message(&ours, 0, &lines).to_vec().unwrap();
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Reading::Answer(Answer { data: Data::Exchangers(hosts), .. }) =
            read(&bytes, Transport::Tcp, ID, &ours)
        {
            prop_assert!(hosts.len() <= 2);
        }
    }
}
