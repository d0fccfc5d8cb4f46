//! How many of a transaction's recipients a peer's LIMITS leave room for, and which domains were named
//! to it. Pure but for that memory; what becomes of the others is told by the session.

use super::Recipient;
use crate::extension::Limits;

/// Domains that are remembered.
const MEMORY_LEN: usize = 8;

/// The domains that were named on this connection: how many, and the last ones of them.
///
/// A domain that has been forgotten counts again when it comes back, so the count can be too high
/// and never too low. The work for each recipient is the same however high a limit the peer names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Domains {
    hashes: [u32; MEMORY_LEN],
    count: u32,
}

impl Domains {
    pub(super) const fn new() -> Self {
        Self {
            hashes: [0; MEMORY_LEN],
            count: 0,
        }
    }

    /// Is there room for this domain? Then it is one of those that were named.
    fn name(&mut self, domain: &str, count_max: u32) -> bool {
        let hash = hash(domain);
        let known = self.hashes.len().min(self.count as usize);
        if self.hashes.iter().take(known).any(|&other| other == hash) {
            return true;
        }
        if self.count >= count_max {
            return false;
        }
        if let Some(place) = self.hashes.get_mut(self.count as usize % MEMORY_LEN) {
            *place = hash;
        }
        self.count += 1;
        true
    }
}

/// How many recipients from the first on may be named in one transaction, and the domains that will
/// have been named on the connection then.
pub(super) fn room(
    recipients: &[Recipient<'_>],
    limits: Limits,
    mut domains: Domains,
) -> (usize, Domains) {
    //= RFC 9422 section 4.2: RCPTMAX is the number of RCPT commands in one transaction
    let recipients = match limits.recipient_count_max {
        0 => recipients,
        max => recipients.get(..max as usize).unwrap_or(recipients),
    };
    //= RFC 9422 section 4.3: RCPTDOMAINMAX is the number of different domains in one session
    let left_over = match limits.recipient_domain_count_max {
        0 => None,
        max => recipients.iter().position(|recipient| {
            let mailbox = recipient.to.mailbox();
            mailbox.is_some_and(|mailbox| !domains.name(mailbox.domain_str(), max))
        }),
    };
    (left_over.unwrap_or(recipients.len()), domains)
}

/// FNV-1a, 32 bits, without regard to case. Where two domains meet, be it on purpose, the peer refuses one
/// recipient too many, and no more comes of it.
//= RFC 5321 section 2.4: the case of a domain does not matter
fn hash(domain: &str) -> u32 {
    domain.bytes().fold(0x811c_9dc5, |hash, octet| {
        (hash ^ u32::from(octet.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Charset, ForwardPath, Mailbox};
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn limits(recipients: u32, domains: u32) -> Limits {
        Limits {
            recipient_count_max: recipients,
            recipient_domain_count_max: domains,
            ..Limits::default()
        }
    }

    fn with<R>(addresses: &[String], look: impl FnOnce(&[Recipient<'_>]) -> R) -> R {
        let recipients: Vec<_> = addresses
            .iter()
            .map(|text| {
                let mailbox = Mailbox::parse(text.as_bytes(), Charset::Ascii).unwrap();
                Recipient::new(ForwardPath::Mailbox(mailbox))
            })
            .collect();
        look(&recipients)
    }

    fn check(addresses: &[&str], limits: Limits, expected: usize) {
        let addresses: Vec<String> = addresses.iter().map(|&text| text.into()).collect();
        with(&addresses, |recipients| {
            assert_eq!(room(recipients, limits, Domains::new()).0, expected);
        });
    }

    #[test]
    fn none_named() {
        check(&["a@a.example", "a@b.example"], limits(0, 0), 2);
    }

    #[test]
    fn recipients() {
        check(&["a@a.example", "b@a.example"], limits(1, 0), 1);
        check(&["a@a.example", "b@a.example"], limits(2, 0), 2);
        check(
            &["a@a.example", "b@a.example"],
            limits(u32::MAX, u32::MAX),
            2,
        );
    }

    #[test]
    fn domains_without_case() {
        let three = ["a@A.example", "b@a.EXAMPLE", "c@b.example"];
        check(&three, limits(0, 1), 2);
        check(&three, limits(0, 2), 3);
        check(&three, limits(1, 1), 1);
    }

    #[test]
    fn postmaster_has_no_domain() {
        let postmaster = Recipient::new(ForwardPath::Postmaster("postmaster"));
        let recipients = [postmaster; 3];
        assert_eq!(room(&recipients, limits(0, 1), Domains::new()).0, 3);
    }

    proptest! {
        /// Never more domains in a session than the limit, and exactly the limit while memory lasts.
        #[test]
        fn same_as_naive(
            transactions in proptest::collection::vec(proptest::collection::vec(0u8..20, 1..30), 1..6),
            max in 1u32..25,
        ) {
            let mut domains = Domains::new();
            let mut named = BTreeSet::<u8>::new();
            for transaction in transactions {
                let addresses: Vec<String> = transaction.iter().map(|n| format!("x@{n}.example")).collect();
                let (count, after) = with(&addresses, |recipients| room(recipients, limits(0, max), domains));
                domains = after;
                named.extend(&transaction[..count]);
                prop_assert!(named.len() <= max as usize);
                if count < transaction.len() && max as usize <= MEMORY_LEN {
                    prop_assert_eq!(named.len(), max as usize);
                    prop_assert!(!named.contains(&transaction[count]));
                }
            }
        }
    }
}
