//! A small authoritative DNS answerer for tests and the demo: a zone in memory, over UDP and TCP.
//!
//! `answer` is pure; `serve` only carries bytes. Not a name server for the Internet.

use super::frame;
use super::name::Name;
use super::query::{ALIAS_COUNT_MAX, MESSAGE_LEN_MAX, Transport};
use crate::net::datagram::Bound;
use crate::net::listener::Listener;
use crate::net::stream::Stream;
use crate::shard::{self, Lane, Task};
use crate::{clock, timer};
use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT};
use hickory_proto::rr::{DNSClass, RData, Record as WireRecord, RecordType};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// What an answer over UDP may have without EDNS.
const PLAIN_LEN_MAX: usize = 512;
/// TCP connections at once.
const CONNECTION_COUNT_MAX: usize = 64;
/// A TCP connection that asks nothing for so long is closed. Micros.
const IDLE_MAX: u64 = 10_000_000;
/// How often to look for a port that is free both for UDP and TCP.
const BIND_TRY_COUNT: usize = 16;

/// What a name has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail host; the root name makes it a null MX.
    Mx(u16, Name),
    /// Another name for it.
    Cname(Name),
    /// Text; longer than 255 octets it is cut into strings.
    Txt(Vec<u8>),
    /// The name of an address.
    Ptr(Name),
}

/// What goes wrong with a name, for tests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// This response code (2 is SERVFAIL) and no records.
    Code(u16),
    /// FORMERR for queries with EDNS, the right answer for others.
    NoEdns,
    /// No answer at all.
    Silent,
    /// The right answer, late.
    Delay(Duration),
    /// Over UDP always the truncation bit.
    Truncate,
    /// These bytes after the right id.
    Garbage(Vec<u8>),
}

/// Records by name. It is authoritative for everything: what is not in it does not exist.
#[derive(Clone, Debug)]
pub struct Zone {
    nodes: BTreeMap<Name, Node>,
    negative_ttl: u32,
    follows_aliases: bool,
}

#[derive(Clone, Default, Debug)]
struct Node {
    records: Vec<(u32, Record)>,
    fault: Option<Fault>,
}

/// What to send back, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The message.
    pub bytes: Vec<u8>,
    /// How long to keep it back.
    pub delay: Duration,
}

impl Zone {
    /// An empty zone: NXDOMAIN for everything, good for a minute.
    pub fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            negative_ttl: 60,
            follows_aliases: true,
        }
    }

    /// Adds one record. Panics when `name` is none: zones are written by us.
    pub fn add(&mut self, name: &str, ttl: u32, record: Record) -> &mut Self {
        self.node(name).records.push((ttl, record));
        self
    }

    /// Makes a name misbehave. Panics when `name` is none.
    pub fn fault(&mut self, name: &str, fault: Fault) -> &mut Self {
        self.node(name).fault = Some(fault);
        self
    }

    /// How long answers without records hold, in seconds; 0: they come without an SOA record.
    pub fn negative_ttl(&mut self, ttl: u32) -> &mut Self {
        self.negative_ttl = ttl;
        self
    }

    /// Whether an answer holds what an alias leads to, or the alias only, as from a server that does
    /// not know the other zone.
    pub fn follow_aliases(&mut self, follows: bool) -> &mut Self {
        self.follows_aliases = follows;
        self
    }

    fn node(&mut self, name: &str) -> &mut Node {
        let name = Name::parse(name).expect("a zone holds domain names only");
        self.nodes.entry(name).or_default()
    }

    /// Whether `name` exists only since there are names below it.
    fn has_names_below(&self, name: &Name) -> bool {
        self.nodes.keys().any(|each| {
            each.as_str()
                .strip_suffix(name.as_str())
                .is_some_and(|head| head.ends_with('.'))
        })
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers one message; `None`: it deserves no answer. Pure.
pub fn answer(zone: &Zone, query: &[u8], transport: Transport) -> Option<Reply> {
    answer_in(zone, None, query, transport)
}

/// The same, where something goes wrong with this one question besides.
fn answer_in(
    zone: &Zone,
    mishap: Option<&Fault>,
    query: &[u8],
    transport: Transport,
) -> Option<Reply> {
    let (Some([id_high, id_low]), Some(flags)) = (query.first_chunk(), query.get(2)) else {
        return None;
    };
    if flags & 0b1000_0000 != 0 {
        return None; // An answer: two servers must never talk to each other.
    }
    let Ok(request) = Message::from_vec(query) else {
        let id = u16::from_be_bytes([*id_high, *id_low]);
        return reply(
            &Message::error_msg(id, OpCode::Query, ResponseCode::FormErr),
            PLAIN_LEN_MAX,
        );
    };
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.add_queries(request.queries.iter().cloned());
    //= RFC 6891 section 7: a response carries an OPT record exactly when the query did
    if request.edns.is_some() {
        let mut options = Edns::new();
        options.set_max_payload(super::query::PAYLOAD_LEN_MAX as u16);
        response.set_edns(options);
    }
    let len_max = match transport {
        Transport::Udp => usize::from(request.max_payload()).max(PLAIN_LEN_MAX),
        Transport::Tcp => MESSAGE_LEN_MAX,
    };
    let mut refuse = |code| {
        response.metadata.response_code = code;
        reply(&response, len_max)
    };
    if request.metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    let [question] = &*request.queries else {
        return refuse(ResponseCode::FormErr);
    };
    if question.query_class() != DNSClass::IN {
        return refuse(ResponseCode::Refused);
    }
    //= RFC 6891 section 6.1.3: BADVERS for a version that is not known
    if request.version() != 0 {
        return refuse(ResponseCode::BADVERS);
    }
    let name = Name::from_wire(question.name());
    let fault = name
        .as_ref()
        .and_then(|name| zone.nodes.get(name)?.fault.as_ref());
    let fault = mishap.or(fault);
    let mut delay = Duration::ZERO;
    match fault {
        Some(Fault::Silent) => return None,
        Some(Fault::Code(code)) => return refuse((*code).into()),
        Some(Fault::NoEdns) if request.edns.is_some() => return refuse(ResponseCode::FormErr),
        Some(Fault::Garbage(bytes)) => {
            let bytes = [&[*id_high, *id_low], &**bytes].concat();
            return Some(Reply { bytes, delay });
        }
        Some(Fault::Truncate) if transport == Transport::Udp => {
            return reply(&response.truncate(), len_max);
        }
        Some(Fault::Delay(by)) => delay = *by,
        Some(Fault::NoEdns | Fault::Truncate) | None => {}
    }
    response.metadata.authoritative = true;
    fill(&mut response, zone, name, question.query_type());
    Some(Reply {
        delay,
        ..reply(&response, len_max)?
    })
}

/// Puts the records for `name` into the response, or the reason why there are none.
fn fill(response: &mut Message, zone: &Zone, name: Option<Name>, wanted: RecordType) {
    let mut owner = name;
    // Two more than a client follows, so that a client's limit can be seen.
    for _ in 0..ALIAS_COUNT_MAX + 2 {
        let Some(name) = &owner else { break };
        let Some(node) = zone.nodes.get(name) else {
            break;
        };
        let mut alias = None;
        let mut is_found = false;
        for (ttl, record) in &node.records {
            let data = wire(record);
            let is_wanted = data.record_type() == wanted;
            if is_wanted || data.record_type() == RecordType::CNAME {
                response.add_answer(WireRecord::from_rdata(name.to_wire(), *ttl, data));
            }
            is_found |= is_wanted;
            if let Record::Cname(target) = record {
                alias = Some(target.clone());
            }
        }
        match alias {
            _ if is_found => return,
            Some(_) if !zone.follows_aliases => return,
            Some(target) => owner = Some(target),
            None => return deny(response, zone, ResponseCode::NoError),
        }
    }
    let exists = owner.is_some_and(|name| {
        zone.nodes.contains_key(&name) || name.is_root() || zone.has_names_below(&name)
    });
    deny(
        response,
        zone,
        if exists {
            ResponseCode::NoError
        } else {
            ResponseCode::NXDomain
        },
    );
}

fn deny(response: &mut Message, zone: &Zone, code: ResponseCode) {
    response.metadata.response_code = code;
    if zone.negative_ttl > 0 {
        //= RFC 2308 section 3: the SOA record in the authority section, its TTL the negative one
        let root = Name::root().to_wire();
        let soa = SOA::new(
            root.clone(),
            root.clone(),
            1,
            3600,
            600,
            86_400,
            zone.negative_ttl,
        );
        response.add_authority(WireRecord::from_rdata(
            root,
            zone.negative_ttl,
            RData::SOA(soa),
        ));
    }
}

fn wire(record: &Record) -> RData {
    match record {
        Record::A(address) => RData::A(A(*address)),
        Record::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Record::Mx(preference, host) => RData::MX(MX::new(*preference, host.to_wire())),
        Record::Cname(target) => RData::CNAME(CNAME(target.to_wire())),
        Record::Txt(text) if text.is_empty() => RData::TXT(TXT::from_bytes(vec![b""])),
        //= RFC 1035 section 3.3: a character-string has at most 255 octets
        Record::Txt(text) => RData::TXT(TXT::from_bytes(text.chunks(255).collect())),
        Record::Ptr(name) => RData::PTR(PTR(name.to_wire())),
    }
}

fn reply(message: &Message, len_max: usize) -> Option<Reply> {
    let mut bytes = message.to_vec().ok()?;
    if bytes.len() > len_max {
        bytes = message.truncate().to_vec().ok()?;
    }
    Some(Reply {
        bytes,
        delay: Duration::ZERO,
    })
}

/// A running answerer. Lives on one shard; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    shared: Rc<Shared>,
    _datagrams: Task<()>,
    _streams: Task<()>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    zone: RefCell<Zone>,
    query_count: Cell<u64>,
    connection_count: Cell<usize>,
}

impl Server {
    /// Where it listens, UDP and TCP alike.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Queries seen so far, UDP and TCP together.
    pub fn query_count(&self) -> u64 {
        self.shared.query_count.get()
    }

    /// Exchanges the zone.
    pub fn replace(&self, zone: Zone) {
        *self.shared.zone.borrow_mut() = zone;
    }
}

impl Shared {
    fn answer(&self, query: &[u8], transport: Transport) -> Option<Reply> {
        self.query_count.set(self.query_count.get() + 1);
        answer_in(&self.zone.borrow(), mishap().as_ref(), query, transport)
    }
}

/// What the weather of a seeded world does to the next question.
#[cfg(feature = "sim")]
fn mishap() -> Option<Fault> {
    use crate::sim::net::DnsMishap;
    crate::sim::here()?
        .network()
        .dns_mishap()
        .map(|mishap| match mishap {
            DnsMishap::Silent => Fault::Silent,
            DnsMishap::Failed => Fault::Code(ResponseCode::ServFail.into()),
            DnsMishap::Late(micros) => Fault::Delay(Duration::from_micros(micros)),
        })
}

#[cfg(not(feature = "sim"))]
fn mishap() -> Option<Fault> {
    None
}

/// Listens on `address` (port 0: any free one), and answers until the `Server` is dropped.
/// To be called on a shard.
pub fn serve(zone: Zone, address: SocketAddr) -> io::Result<Server> {
    let (bound, listener) = bind(address)?;
    let shared = Rc::new(Shared {
        address: bound.local()?,
        zone: RefCell::new(zone),
        query_count: Cell::new(0),
        connection_count: Cell::new(0),
    });
    let datagrams = answer_datagrams(shared.clone(), Rc::new(bound));
    let streams = answer_streams(shared.clone(), listener);
    Ok(Server {
        shared,
        _datagrams: shard::spawn(Lane::Background, datagrams),
        _streams: shard::spawn(Lane::Background, streams),
    })
}

fn bind(address: SocketAddr) -> io::Result<(Bound, Listener)> {
    let mut tries = BIND_TRY_COUNT;
    loop {
        tries -= 1;
        let bound = Bound::bind(address)?;
        match Listener::bind(bound.local()?) {
            Ok(listener) => return Ok((bound, listener)),
            // The free UDP port was no free TCP port: take another.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries > 0 => {
            }
            Err(error) => return Err(error),
        }
    }
}

async fn answer_datagrams(shared: Rc<Shared>, socket: Rc<Bound>) {
    let mut buffer = vec![0; MESSAGE_LEN_MAX];
    loop {
        let (len, from) = match socket.receive(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "DNS answerer cannot receive");
                timer::sleep(100_000).await;
                continue;
            }
        };
        let Some(reply) = shared.answer(&buffer[..len], Transport::Udp) else {
            continue;
        };
        if reply.delay.is_zero() {
            // What does not fit the socket is lost, as datagrams may be.
            let _ = socket.try_send(&reply.bytes, from);
            continue;
        }
        let socket = socket.clone();
        let late = async move {
            timer::sleep(reply.delay.as_micros() as u64).await;
            let _ = socket.try_send(&reply.bytes, from);
        };
        shard::spawn(Lane::Background, late).detach();
    }
}

async fn answer_streams(shared: Rc<Shared>, listener: Listener) {
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "DNS answerer cannot accept");
                continue;
            }
        };
        let count = &shared.connection_count;
        if count.get() < CONNECTION_COUNT_MAX {
            count.set(count.get() + 1);
            shard::spawn(Lane::Background, answer_stream(shared.clone(), stream)).detach();
        }
    }
}

async fn answer_stream(shared: Rc<Shared>, mut stream: Stream) {
    while let Ok(Some(query)) =
        frame::receive(&mut stream, MESSAGE_LEN_MAX, clock::after(IDLE_MAX)).await
    {
        let Some(reply) = shared.answer(&query, Transport::Tcp) else {
            break;
        };
        if !reply.delay.is_zero() {
            timer::sleep(reply.delay.as_micros() as u64).await;
        }
        if frame::send(&mut stream, &reply.bytes, clock::after(IDLE_MAX))
            .await
            .is_err()
        {
            break;
        }
    }
    shared
        .connection_count
        .set(shared.connection_count.get() - 1);
}
