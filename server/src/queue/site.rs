//! Which hosts take a domain's mail, in which order, and what their set is called. Pure.
//!
//! It looks nothing up: records and addresses are arguments.

use crate::config::Network;
use std::net::IpAddr;

/// The hosts to try for a domain. Domains with equal plans share a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    site: String,
    hosts: Vec<Host>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    rank: u16,
    name: String,
}

/// Why a domain's mail can go nowhere. Permanent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// There is no such domain.
    #[error("550 5.1.2 the domain does not exist")]
    NoSuchDomain,
    /// The domain says that it takes no mail.
    #[error("556 5.1.10 the domain does not accept mail")]
    NullMx,
    /// We are the best host ourselves, and know no other place for it.
    #[error("554 5.4.6 mail for the domain would loop back to this server")]
    Loop,
    /// None of the names can be a host.
    #[error("550 5.4.4 the domain names no valid mail host")]
    NoHost,
}

/// The plan of a domain with MX records: (preference, host) in any order.
///
/// # Errors
/// When there is no host that may be tried.
pub fn exchangers<'a>(
    records: impl IntoIterator<Item = (u16, &'a str)>,
    hostname: &str,
) -> Result<Plan, NoWay> {
    let _ = (records.into_iter().count(), hostname);
    unimplemented!()
}

/// The plan of a domain without MX records: the domain is its own host.
///
/// # Errors
/// When that host is this server.
pub fn implicit(domain: &str, hostname: &str) -> Result<Plan, NoWay> {
    let _ = (domain, hostname);
    unimplemented!()
}

/// The plan of a route: these hosts, tried in this order. Loops are the operator's business.
pub fn smart_hosts<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Plan {
    let _ = hosts.into_iter().count();
    unimplemented!()
}

impl Plan {
    /// The name of the set of hosts: the same hosts in the same order of preference, the same name.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The hosts in the order of one attempt, equally good ones shuffled by `seed`.
    pub fn order(&self, seed: u64) -> Vec<&str> {
        let _ = (seed, self.hosts.first().map(|host| (host.rank, &host.name)));
        unimplemented!()
    }
}

/// Those of a host's addresses that mail may go to.
pub fn permitted(addresses: &[IpAddr], prohibited: &[Network]) -> impl Iterator<Item = IpAddr> {
    addresses
        .iter()
        .copied()
        .filter(|address| !prohibited.iter().any(|network| network.contains(*address)))
}
