//! What the DNS says of the recipients' domains, and of the senders', so that reports find their way. Pure;
//! who answers is the runtime.

use mailrail_runtime::dns::Name;
use mailrail_runtime::dns::server::{Record, Zone};
use std::net::IpAddr;

/// How long answers hold, in seconds: longer than any load.
const TTL_S: u32 = 86_400;
/// Domains a zone can have.
pub(super) const DOMAIN_COUNT_MAX: u32 = 1_000_000;

/// Domain i, `dI.rcpt.example`, lies on site i modulo their number, and so does `dI.sender.example`. All
/// domains of a site have the one MX record `mx.sS.sites.example`, whose address is the site's.
pub(super) fn zone(sites: &[IpAddr], domain_count: u32) -> Zone {
    let mut zone = Zone::new();
    zone.negative_ttl(TTL_S);
    for (index, site) in sites.iter().enumerate() {
        let record = match site {
            IpAddr::V4(address) => Record::A(*address),
            IpAddr::V6(address) => Record::Aaaa(*address),
        };
        zone.add(&host(index), TTL_S, record);
    }
    let hosts: Vec<Name> = (0..sites.len())
        .map(|index| Name::parse(&host(index)).expect("letters, digits and dots"))
        .collect();
    for (domain, host) in (0..domain_count).zip(hosts.iter().cycle()) {
        for kind in ["rcpt", "sender"] {
            let record = Record::Mx(10, host.clone());
            zone.add(&format!("d{domain}.{kind}.example"), TTL_S, record);
        }
    }
    zone
}

fn host(site: usize) -> String {
    format!("mx.s{site}.sites.example")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailrail_runtime::dns::server::answer;

    /// The query that a stub resolver sends, without EDNS.
    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, kind, 0, 1]);
        bytes
    }

    fn answered(zone: &Zone, name: &str, kind: u8) -> (u8, usize, Vec<u8>) {
        let udp = mailrail_runtime::dns::query::Transport::Udp;
        let bytes = answer(zone, &query(name, kind), udp)
            .expect("an answer")
            .bytes;
        (bytes[3] & 15, usize::from(bytes[7]), bytes)
    }

    #[test]
    fn domains_are_spread_over_the_sites() {
        let sites = ["127.1.0.1", "127.1.0.2", "::1"].map(|site| site.parse().unwrap());
        let zone = zone(&sites, 7);
        const MX: u8 = 15;
        for (domain, site) in [(0, 0), (1, 1), (2, 2), (3, 0), (6, 0)] {
            for kind in ["rcpt", "sender"] {
                let (code, count, bytes) =
                    answered(&zone, &format!("d{domain}.{kind}.example"), MX);
                assert_eq!((code, count), (0, 1));
                let label = format!("\u{2}mx\u{2}s{site}\u{5}sites");
                assert!(
                    bytes
                        .windows(label.len())
                        .any(|window| window == label.as_bytes())
                );
            }
        }
        assert_eq!(answered(&zone, "d7.rcpt.example", MX).0, 3);
        let (code, count, bytes) = answered(&zone, "mx.s1.sites.example", 1);
        assert_eq!((code, count), (0, 1));
        assert!(bytes.ends_with(&[0, 4, 127, 1, 0, 2]));
        let (code, count, _) = answered(&zone, "mx.s2.sites.example", 28);
        assert_eq!((code, count), (0, 1));
        assert_eq!(answered(&zone, "mx.s2.sites.example", 1).1, 0);
    }
}
