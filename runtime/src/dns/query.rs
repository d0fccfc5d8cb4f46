//! Questions to a name server, and what its answers mean. Pure: bytes and an id in, values out.
//!
//! Everything here is bounded: the message, the records taken from it, the aliases followed. No
//! caching, no retries: those are decided elsewhere.

use super::name::Name;
use super::{DnsError, Exchanger};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name as WireName, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};
use std::net::IpAddr;
use std::rc::Rc;

/// The largest answer asked for over UDP: fits one unfragmented packet nearly everywhere.
pub const PAYLOAD_LEN_MAX: usize = 1232;
/// The largest answer read over TCP. A mail domain's answers have a few hundred octets; a message of
/// the full 64 KiB only makes work.
pub const MESSAGE_LEN_MAX: usize = 16 * 1024;
/// Records of one kind taken from an answer, the rest is left.
pub const RECORD_COUNT_MAX: usize = 64;
/// Octets of one TXT record taken from an answer.
pub const TEXT_LEN_MAX: usize = 4096;
/// Aliases followed from one name, within an answer and by new queries alike.
pub const ALIAS_COUNT_MAX: usize = 8;

const HEADER_LEN: usize = 12;
const _: () = assert!(
    PAYLOAD_LEN_MAX < MESSAGE_LEN_MAX,
    "what fits UDP must fit TCP"
);
const _: () = assert!(
    TEXT_LEN_MAX * 2 < MESSAGE_LEN_MAX,
    "a text is a part of a message"
);

/// The kinds of records that are asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail hosts.
    Mx,
    /// Texts.
    Txt,
    /// Names of an address.
    Ptr,
}

impl Kind {
    fn record_type(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Mx => RecordType::MX,
            Self::Txt => RecordType::TXT,
            Self::Ptr => RecordType::PTR,
        }
    }
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Question {
    /// About which name.
    pub name: Name,
    /// For which records.
    pub kind: Kind,
}

/// What an answer says, in the form in which it is cached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    /// Addresses, in the server's order. Never empty.
    Addresses(Rc<[IpAddr]>),
    /// Mail hosts, sorted, each once. Empty when there are MX records but no one names a host; the
    /// root stands where a record names it.
    Exchangers(Rc<[Exchanger]>),
    /// Texts, each joined from its strings. Never empty.
    Texts(Rc<[Box<[u8]>]>),
    /// Names. Empty when no one is a host name.
    Names(Rc<[Name]>),
    /// The name exists, such records do not.
    Empty,
    /// The name does not exist.
    NoSuchDomain,
    /// The answer ends at this other name: ask for it.
    Alias(Name),
}

/// A definite answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What it says.
    pub data: Data,
    /// For how many seconds it holds; `None`: it may not be remembered.
    pub ttl: Option<u32>,
}

/// What is wrong with a server's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A response code other than NOERROR and NXDOMAIN.
    Code(u16),
    /// Not a DNS message, cut off, too long, or not one that makes sense.
    Malformed,
    /// It only points to other servers: this one does not resolve for us.
    Referral,
    /// Its aliases lead nowhere.
    AliasLoop,
}

impl Fault {
    /// Whether the server may have stumbled over EDNS only, so that it is worth asking without.
    pub fn blames_edns(self) -> bool {
        //= RFC 6891 section 6.2.2 and section 7: FORMERR from servers that do not know EDNS; NOTIMP
        // is met as well; BADVERS from those that know another version
        matches!(self, Self::Code(1 | 4 | 16))
    }
}

impl From<Fault> for DnsError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Code(code) => Self::ServerFailure(code),
            Fault::Malformed => Self::Malformed,
            Fault::Referral => Self::Referral,
            Fault::AliasLoop => Self::AliasLoop,
        }
    }
}

/// What a received message is to the one who asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Not an answer to this question: a late or a forged one. Keep waiting.
    Foreign,
    /// The answer did not fit: ask again over TCP.
    Truncated,
    /// A definite answer.
    Answer(Answer),
    /// This server cannot help.
    Fault(Fault),
}

/// Both families' answers as one list, IPv4 first. A failure of one family is forgiven when the other
/// has addresses; "no addresses" is only said when both answers say so.
pub fn unite(
    v4: Result<Data, DnsError>,
    v6: Result<Data, DnsError>,
) -> Result<Rc<[IpAddr]>, DnsError> {
    let list = |data: &Result<Data, DnsError>| match data {
        Ok(Data::Addresses(addresses)) => addresses.clone(),
        _ => Rc::default(),
    };
    let (some, more) = (list(&v4), list(&v6));
    match (some.is_empty(), more.is_empty()) {
        (false, false) => Ok(some.iter().chain(more.iter()).copied().collect()),
        (false, true) => Ok(some),
        (true, false) => Ok(more),
        //= RFC 4074 section 4.2: some servers wrongly say NXDOMAIN for one family, so that one such
        // answer beside a failure proves nothing
        (true, true) => v4.and(v6).map(|_| some),
    }
}

/// How a message came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// A stream, each message behind its length.
    Tcp,
}

/// The bytes of a query.
pub fn encode(question: &Question, id: u16, edns: bool) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(
        question.name.to_wire(),
        question.kind.record_type(),
    ));
    if edns {
        let mut options = Edns::new();
        options.set_max_payload(PAYLOAD_LEN_MAX as u16);
        message.set_edns(options);
    }
    message
        .to_vec()
        .expect("one checked question always fits a message")
}

/// Reads what came back for `question`, asked under `id`.
pub fn read(bytes: &[u8], transport: Transport, id: u16, question: &Question) -> Reading {
    //= RFC 5452 section 9.1: an answer counts only if its id and its question are ours; address and
    // port are checked by the connected socket
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Reading::Foreign;
    };
    let [id_high, id_low, flags, code, count_high, count_low, ..] = *header;
    let is_response = flags & 0b1000_0000 != 0;
    let op_code = flags >> 3 & 0b1111;
    if u16::from_be_bytes([id_high, id_low]) != id || !is_response || op_code != 0 {
        return Reading::Foreign;
    }
    match u16::from_be_bytes([count_high, count_low]) {
        1 if asks(bytes, question) => {}
        // A server that could not read our query may leave the question out.
        0 if code & 0b1111 != 0 => return Reading::Fault(Fault::Code((code & 0b1111).into())),
        _ => return Reading::Foreign,
    }
    let is_truncated = flags & 0b0000_0010 != 0;
    match transport {
        Transport::Udp if is_truncated || bytes.len() > PAYLOAD_LEN_MAX => {
            return Reading::Truncated;
        }
        Transport::Tcp if is_truncated || bytes.len() > MESSAGE_LEN_MAX => {
            return Reading::Fault(Fault::Malformed);
        }
        Transport::Udp | Transport::Tcp => {}
    }
    match Message::from_vec(bytes) {
        Ok(message) => interpret(&message, question),
        Err(_) => Reading::Fault(Fault::Malformed),
    }
}

fn asks(bytes: &[u8], question: &Question) -> bool {
    let mut decoder = BinDecoder::new(bytes).clone(HEADER_LEN as u16);
    let Ok(query) = Query::read(&mut decoder) else {
        return false;
    };
    query.query_type() == question.kind.record_type()
        && query.query_class() == DNSClass::IN
        && Name::from_wire(query.name()).is_some_and(|name| name == question.name)
}

fn interpret(message: &Message, question: &Question) -> Reading {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Reading::Fault(Fault::Code(code.into()));
    }
    let mut ttl = u32::MAX;
    let mut owner = question.name.to_wire();
    for _ in 0..=ALIAS_COUNT_MAX {
        if let Some((data, record_ttl)) = collect(message, &owner, question.kind) {
            return Reading::Answer(Answer {
                data,
                ttl: Some(ttl.min(record_ttl)),
            });
        }
        let Some((target, alias_ttl)) = alias(message, &owner) else {
            return absent(message, question, &owner, ttl);
        };
        ttl = ttl.min(alias_ttl);
        owner = target.clone();
    }
    Reading::Fault(Fault::AliasLoop)
}

/// No records of the kind at the end of the aliases: why?
fn absent(message: &Message, question: &Question, owner: &WireName, ttl: u32) -> Reading {
    let answer = |data, ttl| Reading::Answer(Answer { data, ttl });
    let negative_ttl = negative_ttl(message).map(|negative| negative.min(ttl));
    //= RFC 6604 section 3: with aliases, NXDOMAIN is about the last name
    if message.metadata.response_code == ResponseCode::NXDomain {
        return answer(Data::NoSuchDomain, negative_ttl);
    }
    //= RFC 2308 section 2.2: an SOA record says that the last name has no such records
    if negative_ttl.is_some() {
        return answer(Data::Empty, negative_ttl);
    }
    match Name::from_wire(owner) {
        Some(owner) if owner != question.name => answer(Data::Alias(owner), Some(ttl)),
        None => Reading::Fault(Fault::Malformed),
        //= RFC 2308 section 2.2.1: NS records without SOA, and no authority: a referral
        Some(_) if !message.metadata.authoritative && has_servers(message) => {
            Reading::Fault(Fault::Referral)
        }
        //= RFC 2308 section 5: a negative answer without SOA is not remembered
        Some(_) => answer(Data::Empty, None),
    }
}

fn records_of<'m>(message: &'m Message, owner: &WireName) -> impl Iterator<Item = &'m Record> {
    message
        .answers
        .iter()
        .filter(move |record| record.dns_class == DNSClass::IN && record.name == *owner)
}

/// All records of `kind` at `owner`, with the least time to live among them.
fn collect(message: &Message, owner: &WireName, kind: Kind) -> Option<(Data, u32)> {
    let records =
        || records_of(message, owner).filter(|each| each.record_type() == kind.record_type());
    let ttl = records().map(|record| lifetime(record.ttl)).min()?;
    let data = match kind {
        Kind::A | Kind::Aaaa => {
            let addresses: Rc<[IpAddr]> = records()
                .filter_map(address)
                .take(RECORD_COUNT_MAX)
                .collect();
            if addresses.is_empty() {
                Data::Empty
            } else {
                Data::Addresses(addresses)
            }
        }
        Kind::Mx => {
            let mut hosts: Vec<Exchanger> = records().filter_map(exchanger).collect();
            hosts.sort_unstable();
            hosts.dedup();
            hosts.truncate(RECORD_COUNT_MAX);
            Data::Exchangers(hosts.into())
        }
        Kind::Txt => Data::Texts(records().filter_map(text).take(RECORD_COUNT_MAX).collect()),
        Kind::Ptr => Data::Names(
            records()
                .filter_map(pointer)
                .take(RECORD_COUNT_MAX)
                .collect(),
        ),
    };
    Some((data, ttl))
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

fn exchanger(record: &Record) -> Option<Exchanger> {
    let RData::MX(mx) = &record.data else {
        return None;
    };
    let host = Name::from_wire(&mx.exchange).filter(|name| !name.as_str().contains('/'))?;
    Some(Exchanger {
        preference: mx.preference,
        host,
    })
}

fn text(record: &Record) -> Option<Box<[u8]>> {
    let RData::TXT(txt) = &record.data else {
        return None;
    };
    let mut joined = txt.txt_data.concat();
    joined.truncate(TEXT_LEN_MAX);
    Some(joined.into())
}

fn pointer(record: &Record) -> Option<Name> {
    let RData::PTR(pointer) = &record.data else {
        return None;
    };
    Name::from_wire(&pointer.0)
}

fn alias<'m>(message: &'m Message, owner: &WireName) -> Option<(&'m WireName, u32)> {
    records_of(message, owner).find_map(|record| match &record.data {
        RData::CNAME(target) => Some((&target.0, lifetime(record.ttl))),
        _ => None,
    })
}

fn negative_ttl(message: &Message) -> Option<u32> {
    message
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            //= RFC 2308 section 5: the lesser of the SOA's own TTL and its MINIMUM field
            RData::SOA(soa) => Some(lifetime(record.ttl).min(lifetime(soa.minimum))),
            _ => None,
        })
}

fn has_servers(message: &Message) -> bool {
    message
        .authorities
        .iter()
        .any(|record| record.record_type() == RecordType::NS)
}

fn lifetime(ttl: u32) -> u32 {
    //= RFC 2181 section 8: a TTL with its highest bit set is read as zero
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}
