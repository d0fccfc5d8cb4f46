//! DNS for a mail server: who takes mail for a domain, and at which addresses.
//!
//! Decisions are pure and live in `name`, `query` (what to send, what an answer means), `cache` (given
//! `now`), `servers` (whom to ask next), `mx` (what the records say about mail) and `resolv_conf`. Only
//! `client` awaits, and it decides nothing. `server` is a small authoritative answerer for tests and
//! for the demo. No policy of mail lives here: prohibited hosts and shuffling are the caller's.

pub mod cache;
pub mod mx;
pub mod name;
pub mod query;
pub mod resolv_conf;
pub mod server;
pub mod servers;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

pub use mx::{Exchanger, Mx};
pub use name::Name;

/// Why a lookup gave no answer. A definite "there is none" is not an error: see [`Mx`], and the empty
/// list of [`Resolver::addresses`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DnsError {
    /// What was asked for can never be a name in the DNS. Permanent.
    #[error("not a domain name")]
    BadName,
    /// No server answered in time, or none could be reached.
    #[error("no name server answered in time")]
    Timeout,
    /// Servers answered, and each said that it could not or would not (SERVFAIL, REFUSED, ...).
    #[error("the name servers could not answer (last response code {0})")]
    ServerFailure(u16),
    /// Servers answered with something that is not a usable DNS message.
    #[error("the name servers sent malformed answers")]
    Malformed,
    /// Servers answered that others should be asked: they do not resolve for us.
    #[error("the name servers do not resolve for us")]
    Referral,
    /// A chain of aliases that loops or is longer than we follow.
    #[error("too long a chain of CNAME records")]
    AliasLoop,
    /// The domain has MX records, and no one of them names a host.
    #[error("no MX record of the domain names a valid host")]
    NoUsableExchanger,
    /// More questions are open on this shard than `Options::in_flight_max`.
    #[error("too many DNS queries in flight")]
    Busy,
}

impl DnsError {
    /// Whether the same question may have an answer later.
    pub fn is_temporary(self) -> bool {
        !matches!(self, Self::BadName)
    }
}

/// What a [`Resolver`] needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Recursive servers, asked in this order, the last good one first.
    pub servers: Vec<SocketAddr>,
    /// How long one server gets for one try.
    pub timeout: Duration,
    /// How many times round the servers.
    pub attempts: u32,
    /// The limit of a whole lookup, all tries and aliases together.
    pub timeout_total: Duration,
    /// Questions open at once on this shard.
    pub in_flight_max: usize,
    /// Entries in this shard's cache.
    pub cache_entries_max: usize,
    /// Bytes in this shard's cache, names and records, as counted by `cache`.
    pub cache_bytes_max: usize,
}

/// Asks recursive servers and remembers their answers.
/// Lives on one shard, cheap to clone (`Rc`); in-flight queries end by their deadline after the last
/// clone is gone.
#[derive(Clone)]
pub struct Resolver {}

impl Resolver {
    /// A resolver with an empty cache. Sends nothing yet.
    pub fn new(options: Options) -> Self {
        let _ = options;
        unimplemented!()
    }

    /// The hosts that take mail for `domain`.
    pub async fn mx(&self, domain: &str) -> Result<Mx, DnsError> {
        let _ = domain;
        unimplemented!()
    }

    /// All addresses of `host`, IPv4 first; the empty list when it certainly has none (or does not
    /// exist). One family's failure is forgiven when the other has addresses.
    pub async fn addresses(&self, host: &str) -> Result<Rc<[IpAddr]>, DnsError> {
        let _ = host;
        unimplemented!()
    }
}
