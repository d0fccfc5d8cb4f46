//! Address literals: what stands between the brackets of `user@[192.0.2.1]`.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// An address in brackets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Literal<'a> {
    /// `[192.0.2.1]`
    V4(Ipv4Addr),
    /// `[IPv6:2001:db8::1]`
    V6(Ipv6Addr),
    /// `[tag:content]` of a kind that is not known here.
    General {
        /// The kind, as a standard would name it.
        tag: &'a str,
        /// The rest.
        content: &'a str,
    },
}

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => write!(f, "[{address}]"),
            Self::V6(address) => write!(f, "[IPv6:{address}]"),
            Self::General { tag, content } => write!(f, "[{tag}:{content}]"),
        }
    }
}
