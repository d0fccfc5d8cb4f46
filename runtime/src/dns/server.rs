//! A small authoritative DNS answerer for tests and the demo: a zone in memory, over UDP and TCP.
//!
//! `answer` is pure; `serve` only carries bytes. Not a name server for the Internet.

use super::Name;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

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
    /// Text.
    Txt(Vec<u8>),
    /// The name of an address.
    Ptr(Name),
}

/// What goes wrong with a name, for tests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// SERVFAIL.
    ServerFailure,
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
#[derive(Clone, Default, Debug)]
pub struct Zone {}

impl Zone {
    /// An empty zone: NXDOMAIN for everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one record.
    pub fn add(&mut self, name: &str, ttl: u32, record: Record) -> &mut Self {
        let _ = (name, ttl, record);
        unimplemented!()
    }

    /// Makes a name misbehave.
    pub fn fault(&mut self, name: &str, fault: Fault) -> &mut Self {
        let _ = (name, fault);
        unimplemented!()
    }
}

/// A running answerer; it stops when this is dropped.
pub struct Server {}

impl Server {
    /// Where it listens, UDP and TCP alike.
    pub fn address(&self) -> SocketAddr {
        unimplemented!()
    }

    /// Queries seen so far, UDP and TCP together.
    pub fn query_count(&self) -> u64 {
        unimplemented!()
    }

    /// Exchanges the zone.
    pub fn replace(&self, zone: Zone) {
        let _ = zone;
        unimplemented!()
    }
}

/// Listens on `address` (port 0: any free one), and answers until the `Server` is dropped.
pub fn serve(zone: Zone, address: SocketAddr) -> io::Result<Server> {
    let _ = (zone, address);
    unimplemented!()
}
