//! What a peer may do. Pure: the answer to a command follows from the listener's settings and from
//! the peer's address alone.

use crate::config::Relay;
use mailrail_protocol::address::ForwardPath;
use mailrail_protocol::reply::{Code, Reply, Status};
use std::net::IpAddr;

/// After so many messages the connection is ended.
const TOO_MANY_MESSAGES: Reply<'static> = Reply::new(
    Code::of(421),
    Status::for_code(Code::of(421), 7, 0),
    "Enough messages on one connection, come again",
);

/// What this peer may do: made once a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    may_relay: bool,
    message_count_max: u32,
}

impl Policy {
    /// The policy for a peer at this address.
    pub fn new(relay: &Relay, peer: IpAddr, message_count_max: u32) -> Self {
        Self {
            may_relay: relay.allows(peer),
            message_count_max,
        }
    }

    /// The answer to MAIL after `message_count` messages on this connection.
    pub fn mail(&self, message_count: u32) -> &'static Reply<'static> {
        if message_count >= self.message_count_max {
            &TOO_MANY_MESSAGES
        } else {
            &Reply::SENDER_OK
        }
    }

    /// The answer to RCPT.
    ///
    /// Whoever is no relay host is refused whatever the address looks like, so that no form of an
    /// address (source route, percent sign, quotes, literal) can open the relay.
    pub fn recipient(&self, _to: &ForwardPath<'_>) -> &'static Reply<'static> {
        if self.may_relay {
            &Reply::RECIPIENT_OK
        } else {
            &Reply::RELAY_DENIED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailrail_protocol::address::{Charset, Mailbox};

    fn policy(peer: &str) -> Policy {
        let config = crate::config::Config::embedded();
        Policy::new(&config.relay, peer.parse().unwrap(), 2)
    }

    #[test]
    fn strangers_are_refused_in_every_form_of_an_address() {
        let stranger = policy("192.0.2.1");
        for text in [
            "a@example.net",
            "a%example.net@mx.example",
            "\"a@example.net\"@mx.example",
            "a@[192.0.2.7]",
            "a@[IPv6:2001:db8::1]",
        ] {
            let to = ForwardPath::Mailbox(
                Mailbox::parse(text.as_bytes(), Charset::Ascii).expect("a valid address"),
            );
            assert_eq!(stranger.recipient(&to), &Reply::RELAY_DENIED, "{text}");
            assert_eq!(
                policy("127.0.0.9").recipient(&to),
                &Reply::RECIPIENT_OK,
                "{text}"
            );
        }
        let postmaster = ForwardPath::Postmaster("postmaster");
        assert_eq!(stranger.recipient(&postmaster), &Reply::RELAY_DENIED);
    }

    #[test]
    fn messages_on_one_connection_are_limited() {
        let peer = policy("127.0.0.1");
        assert!(peer.mail(1).is_positive());
        assert_eq!(peer.mail(2).code.get(), 421);
    }
}
