//! What stands behind the at sign: a name or an address. What the DNS knows of it is never asked.

use super::{Charset, Literal, Malformed, OwnedDomain, parse};
use core::fmt;
use core::net::IpAddr;

/// What stands behind the at sign, or behind EHLO.
///
/// Two names are equal (`==`) when they were written alike; two literals when they are the same
/// address. Whether two names are the same domain is what [`Domain::same_domain`] tells.
///
/// ```
/// use mailrail_protocol::address::{Charset, Domain};
///
/// let name = Domain::parse(b"MX.Example", Charset::Ascii).expect("it is one");
/// assert!(name.same_domain(&Domain::Name("mx.example")));
/// assert_eq!(name.to_ascii().as_deref(), Ok("mx.example"));
/// let literal = Domain::parse(b"[192.0.2.1]", Charset::Ascii).expect("it is one");
/// assert_eq!(literal.address(), Some([192, 0, 2, 1].into()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Domain<'a> {
    /// A name, for the DNS to look up; case as it was written.
    Name(&'a str),
    /// An address in brackets.
    Literal(Literal<'a>),
}

impl<'a> Domain<'a> {
    /// Reads exactly one domain or address literal; `None` if it breaks the grammar or a length. A
    /// dot at the end breaks it.
    //= RFC 5321 section 4.1.2: Domain = sub-domain *("." sub-domain)
    #[must_use]
    pub fn parse(text: &'a [u8], charset: Charset) -> Option<Self> {
        parse::whole_domain(text, charset)
    }

    /// The address in the brackets; `None` for a name, and for a literal of another kind.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::Literal(literal) => literal.address(),
        }
    }

    /// Can it travel without SMTPUTF8?
    #[must_use]
    pub const fn is_ascii(&self) -> bool {
        match self {
            Self::Name(name) => name.is_ascii(),
            Self::Literal(_) => true,
        }
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(&self) -> OwnedDomain {
        OwnedDomain::new(*self)
    }
}

impl<'a> TryFrom<&'a str> for Domain<'a> {
    type Error = Malformed;

    fn try_from(text: &'a str) -> Result<Self, Malformed> {
        Self::parse(text.as_bytes(), Charset::Utf8).ok_or(Malformed::DOMAIN)
    }
}

impl From<IpAddr> for Domain<'_> {
    fn from(address: IpAddr) -> Self {
        Self::Literal(address.into())
    }
}

impl fmt::Display for Domain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Literal(literal) => literal.fmt(f),
        }
    }
}
