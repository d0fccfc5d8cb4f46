//! What is asked of TLS to other hosts, and with whom it has failed. Pure: the handshake itself is `connect`'s.
//!
//! Where it is not required a host is told everything in clear text rather than nothing, and for a while it is
//! not asked again. What is remembered is this shard's and bounded.

use mailrail_runtime::tls::Connector;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How long a host with whom a handshake failed is spoken with in clear text, in microseconds.
const FAILED_MICROS: u64 = 15 * 60 * 1_000_000;
/// Hosts that are remembered.
const FAILED_COUNT_MAX: usize = 1024;

/// What delivery asks of TLS.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Who shakes hands; `None`: nobody.
    pub connector: Option<Connector>,
    /// Nothing is sent without.
    pub is_required: bool,
    failed: RefCell<BTreeMap<SocketAddr, u64>>,
}

/// What to do with a host that has answered EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Mail may follow.
    Go,
    /// TLS first.
    StartTls,
    /// Nothing may be sent to it.
    Refuse,
}

impl Security {
    /// What is asked, and by whom.
    pub fn new(connector: Option<Connector>, is_required: bool) -> Self {
        Self {
            connector,
            is_required,
            failed: RefCell::default(),
        }
    }

    /// What follows EHLO: `may_encrypt` unless it failed on the way here.
    pub fn after_hello(&self, is_offered: bool, is_secure: bool, may_encrypt: bool) -> Step {
        match (&self.connector, self.is_required) {
            _ if is_secure => Step::Go,
            (Some(_), _) if is_offered && may_encrypt => Step::StartTls,
            (_, true) => Step::Refuse,
            (_, false) => Step::Go,
        }
    }

    /// Whether TLS with this host is worth a try.
    pub fn may_encrypt(&self, host: SocketAddr, now_micros: u64) -> bool {
        let failed = self.failed.borrow();
        self.is_required || failed.get(&host).is_none_or(|until| *until <= now_micros)
    }

    /// A handshake with this host has failed. Whether it is tried again in clear text.
    pub fn failed(&self, host: SocketAddr, now_micros: u64) -> bool {
        if self.is_required {
            return false;
        }
        let mut failed = self.failed.borrow_mut();
        failed.retain(|_, until| *until > now_micros);
        if failed.len() < FAILED_COUNT_MAX {
            failed.insert(host, now_micros.saturating_add(FAILED_MICROS));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_hello() {
        let connector = Connector::opportunistic().expect("TLS");
        let disabled = Security::default();
        let opportunistic = Security::new(Some(connector.clone()), false);
        let required = Security::new(Some(connector), true);
        for (security, is_offered, is_secure, may_encrypt, expected) in [
            (&disabled, true, false, true, Step::Go),
            (&opportunistic, true, false, true, Step::StartTls),
            (&opportunistic, false, false, true, Step::Go),
            (&opportunistic, true, false, false, Step::Go),
            (&opportunistic, false, true, true, Step::Go),
            (&required, true, false, true, Step::StartTls),
            (&required, false, false, true, Step::Refuse),
            (&required, true, false, false, Step::Refuse),
            (&required, false, true, true, Step::Go),
        ] {
            let step = security.after_hello(is_offered, is_secure, may_encrypt);
            assert_eq!(
                step, expected,
                "{is_offered} {is_secure} {may_encrypt} {security:?}"
            );
        }
    }

    #[test]
    fn a_failure_is_remembered_for_a_while() {
        let security = Security::default();
        let host = |port| SocketAddr::from(([192, 0, 2, 1], port));
        assert!(security.may_encrypt(host(1), 0));
        assert!(security.failed(host(1), 0));
        assert!(!security.may_encrypt(host(1), FAILED_MICROS - 1));
        assert!(security.may_encrypt(host(2), 0));
        assert!(security.may_encrypt(host(1), FAILED_MICROS));
        for port in 1..=3000 {
            security.failed(host(port), 5);
        }
        assert_eq!(security.failed.borrow().len(), FAILED_COUNT_MAX);
        security.failed(host(1), 2 * FAILED_MICROS);
        assert_eq!(security.failed.borrow().len(), 1);
    }

    #[test]
    fn where_it_is_required_nothing_is_tried_without() {
        let security = Security::new(None, true);
        let host = SocketAddr::from(([192, 0, 2, 1], 25));
        assert!(!security.failed(host, 0));
        assert!(security.may_encrypt(host, 0));
    }
}
