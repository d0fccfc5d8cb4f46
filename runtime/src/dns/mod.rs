//! DNS for a mail server: who takes mail for a domain, and at which addresses.
//!
//! Decisions are pure and live in `name`, `query` (what to send, what an answer means), `cache` (given
//! `now`), `servers` (whom to ask next) and `mx` (what the records say about mail). Only `client` awaits,
//! and it decides nothing. `server` is a small authoritative answerer for tests and
//! for the demo. No policy of mail lives here: prohibited hosts and shuffling are the caller's.

pub mod cache;
mod client;
mod frame;
pub mod mx;
pub mod name;
pub mod query;
pub mod server;
pub mod servers;

use std::fmt;
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
    /// How long a lookup waits for fresh data while it has stale data in hand.
    pub stale_wait: Duration,
    /// Questions open at once on this shard.
    pub in_flight_max: usize,
    /// The limits of this shard's cache.
    pub cache: cache::Limits,
}

impl Options {
    /// These servers, and sensible limits.
    pub fn with_servers(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            timeout: Duration::from_secs(3),
            attempts: 2,
            timeout_total: Duration::from_secs(15),
            //= RFC 8767 section 5: after 1.8 seconds whoever waits gets the stale answer
            stale_wait: Duration::from_millis(1800),
            in_flight_max: 2_000,
            cache: cache::Limits::default(),
        }
    }
}

/// What a resolver has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Questions put to the cache, aliases included.
    pub questions: u64,
    /// Of those, answered from it at once.
    pub hits: u64,
    /// Of those, answered with old data since no server answered, or not soon enough.
    pub stale: u64,
    /// Queries sent over UDP.
    pub datagrams: u64,
    /// Queries sent over TCP.
    pub streams: u64,
    /// Questions that no server answered.
    pub failures: u64,
}

/// Asks recursive servers and remembers their answers.
/// Lives on one shard, cheap to clone (`Rc`); in-flight queries end by their deadline after the last
/// clone is gone.
#[derive(Clone)]
pub struct Resolver {
    client: Rc<client::Client>,
}

impl Resolver {
    /// A resolver with an empty cache. Sends nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            client: Rc::new(client::Client::new(options)),
        }
    }

    /// The hosts that take mail for `domain`.
    pub async fn mx(&self, domain: &str) -> Result<Mx, DnsError> {
        self.client.mx(domain).await
    }

    /// All addresses of `host`, IPv4 first; the empty list when it certainly has none (or does not
    /// exist). One family's failure is forgiven when the other has addresses.
    pub async fn addresses(&self, host: &str) -> Result<Rc<[IpAddr]>, DnsError> {
        self.client.addresses(host).await
    }

    /// All TXT records of `name`, each with its strings joined; the empty list when it has none.
    pub async fn texts(&self, name: &str) -> Result<Rc<[Box<[u8]>]>, DnsError> {
        self.client.texts(name).await
    }

    /// The names that the reverse zone gives to `address`; unproven: look each up again.
    pub async fn names(&self, address: IpAddr) -> Result<Rc<[Name]>, DnsError> {
        self.client.names(address).await
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        self.client.counts()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
