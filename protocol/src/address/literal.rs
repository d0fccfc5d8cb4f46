//! Address literals: what stands between the brackets of `user@[192.0.2.1]`,
//! RFC 5321 section 4.1.3.

use crate::ascii::{self, DCONTENT, LET_DIG};
use crate::limits::DOMAIN_LEN_MAX;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

impl Literal<'_> {
    /// The address; `None` for a kind that is not known here.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match *self {
            Self::V4(address) => Some(IpAddr::V4(address)),
            Self::V6(address) => Some(IpAddr::V6(address)),
            Self::General { .. } => None,
        }
    }
}

impl From<IpAddr> for Literal<'_> {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
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

/// A literal with its brackets, and what stands behind it.
pub(super) fn parse(text: &[u8]) -> Option<(Literal<'_>, &[u8])> {
    let inside = text.strip_prefix(b"[")?;
    // A literal ends at its first closing bracket, which none of the forms can hold.
    let len = inside
        .iter()
        .take(DOMAIN_LEN_MAX)
        .position(|&byte| byte == b']')?;
    let (inside, rest) = inside.split_at_checked(len)?;
    let literal = match inside.iter().position(|&byte| byte == b':') {
        Some(colon) => {
            let tag = inside.get(..colon)?;
            let content = inside.get(colon + 1..)?;
            tagged(tag, content)?
        }
        None => Literal::V4(v4(inside)?),
    };
    Some((literal, rest.get(1..)?))
}

fn tagged<'a>(tag: &'a [u8], content: &'a [u8]) -> Option<Literal<'a>> {
    let text = core::str::from_utf8(content).ok()?;
    //= RFC 5321 section 4.1.3: an IPv6 address is told by its tag
    if tag.eq_ignore_ascii_case(b"IPv6") {
        return Some(Literal::V6(text.parse().ok()?));
    }
    let is_tag = tag
        .iter()
        .all(|&byte| byte == b'-' || ascii::is(byte, LET_DIG))
        && ascii::is(*tag.first()?, LET_DIG)
        && ascii::is(*tag.last()?, LET_DIG);
    let is_content = !content.is_empty() && content.iter().all(|&byte| ascii::is(byte, DCONTENT));
    if !is_tag || !is_content {
        return None;
    }
    Some(Literal::General {
        tag: core::str::from_utf8(tag).ok()?,
        content: text,
    })
}

//= RFC 5321 section 4.1.3: four numbers of one to three digits, each at most 255
fn v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut parts = text.split(|&byte| byte == b'.');
    let mut octets = [0u8; 4];
    for octet in &mut octets {
        let part = parts.next()?;
        if part.len() > 3 {
            return None;
        }
        *octet = u8::try_from(ascii::parse_decimal(part)?).ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}
