//! The sites: at which addresses mail is taken. Pure; who listens there is `shard`'s business.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Sites a sink can have.
const SITE_COUNT_MAX: usize = 65_536;

/// Addresses to listen at, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sites {
    /// In order: those that domains are spread over come first.
    pub(super) addresses: Vec<SocketAddr>,
    /// How many of them domains are spread over.
    pub(super) spread_count: usize,
}

impl Sites {
    /// The addresses of `--listen`, and of `--hosts`, which then have all the domains.
    ///
    /// # Errors
    /// What is wrong with `--hosts`, and what is allowed.
    pub(super) fn new(listen: &[SocketAddr], hosts: Option<&str>) -> Result<Self, String> {
        let first = listen.first().ok_or("--listen: at least one is needed")?;
        let mut addresses = Vec::new();
        if let Some(hosts) = hosts {
            addresses = parse_hosts(hosts, first.port())?;
        }
        let spread_count = addresses.len();
        for address in listen {
            // Any free port is another one each time.
            if address.port() == 0 && hosts.is_none() || !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        let spread_count = if hosts.is_some() {
            spread_count
        } else {
            addresses.len()
        };
        Ok(Self {
            addresses,
            spread_count,
        })
    }

    /// The addresses that domains are spread over; an address with several ports is one.
    pub(super) fn spread(&self) -> Vec<IpAddr> {
        let mut spread = Vec::new();
        for address in &self.addresses[..self.spread_count] {
            if !spread.contains(&address.ip()) {
                spread.push(address.ip());
            }
        }
        spread
    }
}

/// `127.1.0.1,50`
fn parse_hosts(text: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let wrong = || {
        format!(
            "--hosts {text}: allowed is FIRST,COUNT: an address of 127.0.0.0/8 and 1 to {SITE_COUNT_MAX}, \
             all of them in 127.0.0.0/8"
        )
    };
    let (first, count) = text.split_once(',').ok_or_else(wrong)?;
    let first: Ipv4Addr = first.trim().parse().map_err(|_| wrong())?;
    let count: usize = count.trim().parse().map_err(|_| wrong())?;
    let last = u32::try_from(count)
        .ok()
        .filter(|count| (1..=SITE_COUNT_MAX as u32).contains(count))
        .and_then(|count| u32::from(first).checked_add(count - 1))
        .map(Ipv4Addr::from)
        .ok_or_else(wrong)?;
    if !first.is_loopback() || !last.is_loopback() {
        return Err(wrong());
    }
    let numbers = u32::from(first)..=u32::from(last);
    let address = |number| SocketAddr::new(IpAddr::V4(Ipv4Addr::from(number)), port);
    Ok(numbers.map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(listen: &[&str], hosts: Option<&str>) -> Result<(Vec<String>, usize), String> {
        let listen: Vec<SocketAddr> = listen.iter().map(|one| one.parse().unwrap()).collect();
        let sites = Sites::new(&listen, hosts)?;
        let texts = sites.addresses.iter().map(ToString::to_string).collect();
        Ok((texts, sites.spread().len()))
    }

    #[test]
    fn each_address_once_and_hosts_first() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (listen, hosts, expected, spread) in [
            (&["127.0.0.1:25"][..], None, &["127.0.0.1:25"][..], 1),
            (
                &["127.0.0.1:25", "127.0.0.1:26", "[::1]:25", "127.0.0.1:25"],
                None,
                &["127.0.0.1:25", "127.0.0.1:26", "[::1]:25"],
                2,
            ),
            (
                &["127.0.0.1:25"],
                Some("127.0.0.255,3"),
                &[
                    "127.0.0.255:25",
                    "127.0.1.0:25",
                    "127.0.1.1:25",
                    "127.0.0.1:25",
                ],
                3,
            ),
            (
                &["127.1.0.1:25"],
                Some("127.1.0.1, 2"),
                &["127.1.0.1:25", "127.1.0.2:25"],
                2,
            ),
        ] {
            assert_eq!(sites(listen, hosts), Ok((texts(expected), spread)));
        }
    }

    #[test]
    fn hosts_that_are_none_are_told_what_is_allowed() {
        for hosts in [
            "127.0.0.1",
            "127.0.0.1,0",
            "127.0.0.1,x",
            "127.0.0.1,65537",
            "10.0.0.1,2",
            "127.255.255.255,2",
            "::1,2",
        ] {
            let why = sites(&["127.0.0.1:25"], Some(hosts)).expect_err(hosts);
            assert!(why.contains("FIRST,COUNT"), "{why}");
        }
        assert!(sites(&[], None).is_err());
    }
}
