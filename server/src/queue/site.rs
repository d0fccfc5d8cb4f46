//! Which hosts take a domain's mail, in which order, and what their set is called. Pure.
//!
//! It looks nothing up: the records are arguments.

use super::schedule::mix;
use std::net::IpAddr;

/// Hosts of one plan; the others are the least preferred ones.
pub const HOST_COUNT_MAX: usize = 64;
/// Longest name of a site; the end of a longer one is replaced by its hash.
pub const SITE_LEN_MAX: usize = 512;

/// The hosts to try for a domain. Domains with equal plans share a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    site: String,
    /// Best first.
    hosts: Vec<Host>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Host {
    /// The preference of the record; equal ones are equally good.
    preference: u16,
    name: String,
}

/// Why a domain's mail can go nowhere. Permanent; written as `message::Answer` encodes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// There is no such domain.
    //= RFC 3463 section 3.2: X.1.2 bad destination system address
    #[error("550 5.1.2 the domain of the recipient does not exist")]
    NoSuchDomain,
    /// The domain says that it takes no mail.
    //= RFC 7505 section 4.2: X.1.10 with 556, recipient address has null MX
    #[error("556 5.1.10 the domain of the recipient does not accept mail")]
    NullMx,
    /// We are the best host ourselves, and know no other place for it.
    //= RFC 3463 section 3.5: X.4.6 routing loop detected
    #[error("554 5.4.6 mail for this domain would loop back to this server")]
    Loop,
    /// None of the names can be a host.
    //= RFC 3463 section 3.5: X.4.4 unable to route
    #[error("550 5.4.4 the domain of the recipient names no valid mail host")]
    NoHost,
    /// All addresses of all hosts are ones that mail may not go to.
    #[error("550 5.4.4 the mail hosts of the domain have no public address")]
    Prohibited,
}

/// The plan of a domain with MX records: (preference, host) in any order.
///
/// # Errors
/// When there is no host that may be tried.
pub fn exchangers<'a>(
    records: impl IntoIterator<Item = (u16, &'a str)>,
    hostname: &str,
) -> Result<Plan, NoWay> {
    let mut hosts = Vec::new();
    let (mut has_null, mut count) = (false, 0);
    for (preference, name) in records {
        count += 1;
        let name = name.strip_suffix('.').unwrap_or(name);
        has_null |= name.is_empty();
        //= RFC 5321 section 5.1: an exchanger is a host name, never an address
        if !name.is_empty() && name.parse::<IpAddr>().is_err() {
            hosts.push(Host {
                preference,
                name: name.to_ascii_lowercase(),
            });
        }
    }
    //= RFC 7505 section 3: a single record with the root as its host says that no mail is taken
    if has_null && count == 1 {
        return Err(NoWay::NullMx);
    }
    if hosts.is_empty() {
        return Err(NoWay::NoHost);
    }
    //= RFC 5321 section 5.1: if we are in the list, only hosts better than we are may be tried
    let us = hosts.iter().filter(|host| is_same(&host.name, hostname));
    if let Some(ours) = us.map(|host| host.preference).min() {
        hosts.retain(|host| host.preference < ours);
        if hosts.is_empty() {
            return Err(NoWay::Loop);
        }
    }
    hosts.sort_unstable();
    // A host with two preferences is tried at the better one.
    let mut unique: Vec<Host> = Vec::with_capacity(hosts.len().min(HOST_COUNT_MAX));
    for host in hosts {
        if unique.len() < HOST_COUNT_MAX && !unique.iter().any(|known| known.name == host.name) {
            unique.push(host);
        }
    }
    Ok(Plan::new("", unique))
}

/// The plan of a domain without MX records: the domain is its own host.
///
/// # Errors
/// When that host is this server.
pub fn implicit(domain: &str, hostname: &str) -> Result<Plan, NoWay> {
    //= RFC 5321 section 5.1: no MX record: as if there were one, with preference 0 and the domain itself
    exchangers([(0, domain)], hostname)
}

/// The plan of a route: these hosts (as they are to be reached, with port), tried in this order. Loops
/// are the operator's business.
pub fn smart_hosts<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Plan {
    let hosts = hosts.into_iter().take(HOST_COUNT_MAX).enumerate();
    let hosts = hosts.map(|(index, name)| Host {
        preference: index as u16,
        name: name.into(),
    });
    Plan::new("via ", hosts.collect())
}

/// Whether two host names are the same.
fn is_same(one: &str, other: &str) -> bool {
    let other = other.strip_suffix('.').unwrap_or(other);
    one.eq_ignore_ascii_case(other)
}

impl Plan {
    /// `hosts` are sorted by preference, and then by name.
    fn new(prefix: &str, hosts: Vec<Host>) -> Self {
        let mut site = String::from(prefix);
        let mut last = None;
        for Host { preference, name } in &hosts {
            // The same order is the same site, whatever the numbers are.
            match last.replace(*preference) {
                None => {}
                Some(last) if last == *preference => site.push(','),
                Some(_) => site.push(';'),
            }
            site.push_str(name);
        }
        if site.len() > SITE_LEN_MAX {
            let words = site.as_bytes().chunks(8).map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            });
            let hash = words.fold(site.len() as u64, mix);
            let end = site.floor_char_boundary(SITE_LEN_MAX - 17);
            site.truncate(end);
            site.push_str(&format!("~{hash:016x}"));
        }
        Self { site, hosts }
    }

    /// The name of the set of hosts: the same hosts in the same order of preference, the same name.
    /// Equally good ones are joined by `,`, others by `;`.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The hosts in the order of one attempt, equally good ones shuffled by `seed`.
    pub fn order(&self, seed: u64) -> Vec<&str> {
        //= RFC 5321 section 5.1: lowest preference first, equal ones in random order to spread the load
        let rank = |(index, host): &(usize, &Host)| (host.preference, mix(seed, *index as u64));
        let mut order: Vec<_> = self.hosts.iter().enumerate().collect();
        order.sort_by_key(rank);
        order.into_iter().map(|(_, host)| &*host.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: &str = "mx.us.example";

    #[test]
    fn names_of_sites() {
        for (records, site) in [
            (vec![(10, "mx.a.example")], "mx.a.example"),
            (vec![(0, "MX.a.Example.")], "mx.a.example"),
            (vec![(10, "b.x"), (10, "a.x")], "a.x,b.x"),
            (vec![(20, "a.x"), (10, "b.x")], "b.x;a.x"),
            // The numbers are not part of the name, the order is.
            (vec![(2, "a.x"), (1, "b.x"), (2, "c.x")], "b.x;a.x,c.x"),
            // Twice the same host: at its better place.
            (vec![(10, "a.x"), (20, "a.x"), (20, "b.x")], "a.x;b.x"),
            // What cannot be a host is left out.
            (vec![(10, "."), (20, "a.x")], "a.x"),
            (vec![(10, "192.0.2.1"), (10, "::1"), (20, "a.x")], "a.x"),
        ] {
            let plan = exchangers(records.iter().copied(), US);
            assert_eq!(plan.as_ref().map(Plan::site), Ok(site), "{records:?}");
        }
        assert_eq!(
            implicit("A.example", US).as_ref().map(Plan::site),
            Ok("a.example")
        );
        assert_eq!(smart_hosts(["b:25", "a:26"]).site(), "via b:25;a:26");
    }

    #[test]
    fn nowhere_to_go() {
        for (records, why) in [
            (vec![(0, ".")], NoWay::NullMx),
            (vec![(0, "")], NoWay::NullMx),
            (vec![(0, "."), (0, ".")], NoWay::NoHost),
            (vec![], NoWay::NoHost),
            (vec![(10, "192.0.2.1")], NoWay::NoHost),
            (vec![(10, US)], NoWay::Loop),
            (vec![(10, "MX.us.example."), (20, "a.x")], NoWay::Loop),
            (vec![(10, US), (10, "a.x")], NoWay::Loop),
        ] {
            assert_eq!(
                exchangers(records.iter().copied(), US),
                Err(why),
                "{records:?}"
            );
        }
        assert_eq!(implicit(US, "mx.us.example."), Err(NoWay::Loop));
    }

    #[test]
    fn only_hosts_better_than_we_are() {
        let records = [
            (5, "best.x"),
            (10, "better.x"),
            (20, US),
            (20, "alike.x"),
            (30, "worse.x"),
        ];
        let plan = exchangers(records, US).expect("two are better");
        assert_eq!(plan.order(1), ["best.x", "better.x"]);
        // The best of our own places counts.
        let records = [(5, "best.x"), (10, US), (15, "worse.x"), (20, US)];
        assert_eq!(
            exchangers(records, US).expect("one is better").order(1),
            ["best.x"]
        );
    }

    #[test]
    fn equally_good_ones_take_turns() {
        let records = [(10, "a.x"), (10, "b.x"), (10, "c.x"), (20, "d.x")];
        let plan = exchangers(records, US).expect("hosts");
        let mut firsts = std::collections::BTreeMap::new();
        for seed in 0..3000 {
            let order = plan.order(seed);
            assert_eq!(order, plan.order(seed), "the same seed, the same order");
            assert_eq!(order[3], "d.x", "the worse one is last");
            *firsts.entry(order[0]).or_insert(0) += 1;
        }
        assert_eq!(firsts.len(), 3);
        assert!(
            firsts.values().all(|count| (850..1150).contains(count)),
            "{firsts:?}"
        );
        assert_eq!(smart_hosts(["b:25", "a:26"]).order(7), ["b:25", "a:26"]);
    }

    #[test]
    fn a_great_many_hosts_are_cut_and_hashed() {
        let names: Vec<String> = (0..100).map(|n| format!("host-{n:03}.a.example")).collect();
        let plan = |last: &str| {
            let names = names.iter().take(40).map(String::as_str).chain([last]);
            exchangers(names.map(|name| (1, name)), US).expect("hosts")
        };
        let (one, other) = (plan("y.example"), plan("z.example"));
        assert_eq!(one.site().len(), SITE_LEN_MAX);
        assert_ne!(one.site(), other.site());
        assert_eq!(one.site()[..480], other.site()[..480]);
        let many = exchangers(names.iter().map(|name| (1, name.as_str())), US).expect("hosts");
        assert_eq!(many.order(1).len(), HOST_COUNT_MAX);
    }
}
