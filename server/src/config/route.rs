//! Which domains go where without asking the DNS. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Domains and the smart hosts their mail goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which domains.
    pub domain: Pattern,
    /// Tried in this order; never empty.
    pub via: Vec<Via>,
    /// Connections to these hosts at once, over all shards.
    pub connection_limit: u32,
}

/// Which domains a route is for; names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// `example.net`: this domain alone.
    Exact(String),
    /// `.example.net`: all domains below it, and not itself. Held with the dot.
    Below(String),
    /// `*`: all the others.
    Any,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact(domain) | Self::Below(domain) => domain,
            Self::Any => "*",
        })
    }
}

/// A smart host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Name or address.
    pub host: Host,
    /// Its port; 25 unless said otherwise.
    pub port: u16,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// How a smart host is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By its address.
    Address(IpAddr),
    /// By a name that still has to be looked up; its A and AAAA, not its MX.
    Name(String),
}

/// All routes, ready for look-ups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    routes: Vec<Route>,
    exact: BTreeMap<Vec<u8>, usize>,
    below: BTreeMap<Vec<u8>, usize>,
    any: Option<usize>,
}

impl Routes {
    /// The route of a domain: the exact one, or else the longest `.suffix`, or else `*`.
    /// Upper and lower case of ASCII are the same.
    pub fn find(&self, domain: &[u8]) -> Option<&Route> {
        let _ = (domain, &self.exact, &self.below, self.any);
        unimplemented!()
    }

    /// As written, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Route> {
        self.routes.iter()
    }
}
