//! Mailboxes, domains and paths as SMTP writes them. What lives here is the form of an address;
//! whether it exists, or may be relayed to, is never asked here.

pub(crate) mod lenient;
mod literal;
mod owned;
mod parse;

pub(crate) use parse::{forward_path, reverse_path};

pub use literal::Literal;
pub use owned::OwnedMailbox;

use crate::limits;
use core::fmt;

/// May an address hold characters beyond ASCII?
//= RFC 6531 section 3.3: UTF-8 in addresses belongs to SMTPUTF8 transactions alone
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Charset {
    /// ASCII alone.
    Ascii,
    /// ASCII and UTF-8.
    Utf8,
}

/// A mailbox, `local-part@domain`: a view of its text that is known to obey the grammar.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mailbox<'a> {
    text: &'a str,
    /// Where the at sign is that parts the two halves.
    at: u16,
}

impl<'a> Mailbox<'a> {
    /// Reads exactly one mailbox, without angle brackets; `None` if it breaks the grammar or a length.
    #[must_use]
    pub fn parse(text: &'a [u8], charset: Charset) -> Option<Self> {
        parse::whole_mailbox(text, charset)
    }

    /// The whole, as it was written.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The part before the at sign as it was written; a quoted one has its quotes.
    #[must_use]
    pub fn local_part(&self) -> &'a str {
        self.text.get(..usize::from(self.at)).unwrap_or_default()
    }

    /// The part behind the at sign as it was written; a literal has its brackets.
    #[must_use]
    pub fn domain_str(&self) -> &'a str {
        self.text
            .get(usize::from(self.at) + 1..)
            .unwrap_or_default()
    }

    /// The part behind the at sign, understood.
    #[must_use]
    pub fn domain(&self) -> Domain<'a> {
        // The text was checked when the mailbox was made: only a literal has to be read again.
        match self.domain_str() {
            text if text.starts_with('[') => Domain::parse(text.as_bytes(), Charset::Utf8),
            _ => None,
        }
        .unwrap_or(Domain::Name(self.domain_str()))
    }

    /// Can it travel without SMTPUTF8?
    #[must_use]
    pub const fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(&self) -> OwnedMailbox {
        OwnedMailbox::new(*self)
    }
}

impl fmt::Display for Mailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for Mailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

/// What stands behind the at sign, or behind EHLO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Domain<'a> {
    /// A name, for the DNS to look up; case as it was written.
    Name(&'a str),
    /// An address in brackets.
    Literal(Literal<'a>),
}

impl<'a> Domain<'a> {
    /// Reads exactly one domain or address literal.
    #[must_use]
    pub fn parse(text: &'a [u8], charset: Charset) -> Option<Self> {
        parse::whole_domain(text, charset)
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

/// Where failures are reported to: the argument of MAIL FROM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ReversePath<'a> {
    /// `<>`: nobody; a message that must never cause another one.
    Null,
    /// A mailbox.
    Mailbox(Mailbox<'a>),
}

impl<'a> ReversePath<'a> {
    /// The mailbox, or `None` for the null reverse-path.
    #[must_use]
    pub const fn mailbox(&self) -> Option<Mailbox<'a>> {
        match *self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// The text between the angle brackets; empty for the null reverse-path.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        match self {
            Self::Null => "",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }
}

impl fmt::Display for ReversePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a message shall go: the argument of RCPT TO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ForwardPath<'a> {
    /// `<postmaster>`, in whatever case it was written: this host's own.
    //= RFC 5321 section 4.5.1: postmaster is accepted without a domain, whatever its case
    Postmaster(&'a str),
    /// A mailbox.
    Mailbox(Mailbox<'a>),
}

impl<'a> ForwardPath<'a> {
    /// The mailbox, or `None` for the host's postmaster.
    #[must_use]
    pub const fn mailbox(&self) -> Option<Mailbox<'a>> {
        match *self {
            Self::Postmaster(_) => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// The text between the angle brackets, without a source route.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        match self {
            Self::Postmaster(written) => written,
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }
}

impl fmt::Display for ForwardPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const _: () = assert!(
    limits::MAILBOX_LEN_MAX <= u16::MAX as usize,
    "the place of the at sign is kept in 16 bits"
);
