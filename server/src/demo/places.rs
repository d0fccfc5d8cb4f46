//! The made-up part of the world: domains, what their mail hosts do with mail, and the zone that says
//! where they are. Constants alone; nothing here runs.

use mailrail_runtime::dns::Name;
use mailrail_runtime::dns::server::{Record, Zone};
use std::net::Ipv4Addr;

/// The domain that all the mail comes from, and that bounces go back to.
pub(super) const HOME: &str = "sender.example";
/// How the server under demonstration calls itself.
pub(super) const SERVER: &str = "mx.demo.example";
/// How long the answers of the zone hold, in seconds: longer than any demonstration waits.
const TTL: u32 = 3600;

/// What happens to mail for a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Taken.
    Accept,
    /// Put off at RCPT the first time, taken the second.
    DeferRecipient,
    /// Put off at the end of the data the first time, taken the second.
    DeferContent,
    /// Refused for good at RCPT.
    RefuseRecipient,
    /// Refused for good at the end of the data.
    RefuseContent,
    /// Nobody there to take it, and the DNS says so.
    Nowhere,
    /// Takes the bounces.
    Home,
}

impl Manner {
    /// Whether mail can only come back.
    pub(super) const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::RefuseRecipient | Self::RefuseContent | Self::Nowhere
        )
    }
}

/// A domain.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) domain: &'static str,
    pub(super) manner: Manner,
    /// Its part of all messages, in hundredths.
    share: u64,
    way: Way,
}

/// What the DNS says of a domain.
#[derive(Debug)]
enum Way {
    /// MX records: preference, host, and the last octet of its address in 127.0.0.0/24.
    Exchangers(&'static [(u16, &'static str, u8)]),
    /// An address of its own and no MX record.
    Address(u8),
    /// A null MX record.
    NoMail,
    /// There is no such domain.
    Missing,
}

const fn place(domain: &'static str, manner: Manner, share: u64, way: Way) -> Place {
    Place {
        domain,
        manner,
        share,
        way,
    }
}

/// All of them. Nobody listens at 127.0.0.9, so mail for cedar.example always goes to its second host.
const PLACES: &[Place] = &[
    place(
        "alder.example",
        Manner::Accept,
        30,
        Way::Exchangers(&[(10, "mx1.alder.example", 2), (20, "mx2.alder.example", 3)]),
    ),
    place(
        "birch.example",
        Manner::Accept,
        24,
        Way::Exchangers(&[(10, "mx.birch.example", 3)]),
    ),
    place(
        "cedar.example",
        Manner::Accept,
        15,
        Way::Exchangers(&[(10, "dead.cedar.example", 9), (20, "mx.cedar.example", 2)]),
    ),
    place("elm.example", Manner::Accept, 15, Way::Address(3)),
    place(
        "later.example",
        Manner::DeferRecipient,
        5,
        Way::Exchangers(&[(10, "mx.later.example", 4)]),
    ),
    place(
        "busy.example",
        Manner::DeferContent,
        5,
        Way::Exchangers(&[(10, "mx.busy.example", 4)]),
    ),
    place(
        "gone.example",
        Manner::RefuseRecipient,
        2,
        Way::Exchangers(&[(10, "mx.gone.example", 5)]),
    ),
    place(
        "strict.example",
        Manner::RefuseContent,
        2,
        Way::Exchangers(&[(10, "mx.strict.example", 5)]),
    ),
    place("closed.example", Manner::Nowhere, 1, Way::NoMail),
    place("missing.example", Manner::Nowhere, 1, Way::Missing),
    place(
        HOME,
        Manner::Home,
        0,
        Way::Exchangers(&[(10, "mx.sender.example", 6)]),
    ),
];

/// Where sinks listen, all on one port.
pub(super) const SINKS: [Ipv4Addr; 5] = [
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
    Ipv4Addr::new(127, 0, 0, 4),
    Ipv4Addr::new(127, 0, 0, 5),
    Ipv4Addr::new(127, 0, 0, 6),
];

/// The domain that a number leads to, each by its share of all numbers.
pub(super) fn choose(number: u64) -> &'static Place {
    let mut rest = number % 100;
    for place in PLACES {
        match rest.checked_sub(place.share) {
            None => return place,
            Some(less) => rest = less,
        }
    }
    unreachable!("the shares are hundredths of the whole")
}

/// The domain of this name.
pub(super) fn find(domain: &str) -> Option<&'static Place> {
    PLACES
        .iter()
        .find(|place| place.domain.eq_ignore_ascii_case(domain))
}

/// What the DNS says.
pub(super) fn zone() -> Zone {
    let mut zone = Zone::new();
    zone.negative_ttl(TTL);
    let address = |octet| Record::A(Ipv4Addr::new(127, 0, 0, octet));
    for place in PLACES {
        match place.way {
            Way::Exchangers(hosts) => {
                for (preference, host, octet) in hosts {
                    zone.add(place.domain, TTL, Record::Mx(*preference, name(host)));
                    zone.add(host, TTL, address(*octet));
                }
            }
            Way::Address(octet) => {
                zone.add(place.domain, TTL, address(octet));
            }
            Way::NoMail => {
                //= RFC 7505 section 3: preference 0 and the root as the host
                zone.add(place.domain, TTL, Record::Mx(0, Name::root()));
            }
            Way::Missing => {}
        }
    }
    zone
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("constants are domain names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_hundredths_of_the_whole() {
        let sum: u64 = PLACES.iter().map(|place| place.share).sum();
        assert_eq!(sum, 100);
        let refused = (0..100).filter(|number| choose(*number).manner == Manner::Nowhere);
        assert_eq!(refused.count(), 2);
        assert!((0..1000).all(|number| choose(number).manner != Manner::Home));
    }

    #[test]
    fn domains_are_found_whatever_their_case() {
        assert_eq!(find("Busy.Example").unwrap().manner, Manner::DeferContent);
        assert!(find("busy.example.net").is_none());
        zone();
    }
}
