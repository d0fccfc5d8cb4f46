//! Mailboxes, domains and paths as SMTP writes them. What lives here is the form of an address;
//! whether it exists, or may be relayed to, is never asked here.

mod compare;
mod domain;
mod idna;
pub(crate) mod lenient;
mod literal;
mod local_part;
mod malformed;
mod owned;
mod owned_path;
mod parse;
mod path;

pub(crate) use parse::{forward_path, reverse_path};

pub use domain::Domain;
pub use idna::NoAsciiForm;
pub use literal::Literal;
pub use malformed::Malformed;
pub use owned::{OwnedDomain, OwnedMailbox};
pub use owned_path::{OwnedForwardPath, OwnedReversePath};
pub use path::{ForwardPath, ReversePath};

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
///
/// Two are equal (`==`) when they were written alike, octet for octet; whether they are the same
/// mailbox is what [`Mailbox::same_mailbox`] tells.
///
/// ```
/// use mailrail_protocol::address::{Charset, Domain, Mailbox};
///
/// let mailbox = Mailbox::parse(b"\"first last\"@Mx.Example", Charset::Ascii).expect("it is one");
/// assert_eq!(mailbox.local_part(), "\"first last\"");
/// assert_eq!(mailbox.local_part_unquoted(), "first last");
/// assert_eq!(mailbox.domain(), Domain::Name("Mx.Example"));
/// let other = Mailbox::parse(b"\"first\\ last\"@mx.example", Charset::Ascii).expect("it is one");
/// assert!(mailbox != other && mailbox.same_mailbox(&other));
/// ```
#[derive(Clone, Copy)]
pub struct Mailbox<'a> {
    text: &'a str,
    /// Where the at sign is that parts the two halves.
    at: u16,
}

impl<'a> Mailbox<'a> {
    /// Reads exactly one mailbox, without angle brackets; `None` if it breaks the grammar or a length.
    //= RFC 5321 section 4.1.2: Mailbox = Local-part "@" ( Domain / address-literal )
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
        .unwrap_or_else(|| Domain::Name(self.domain_str()))
    }

    /// Can it travel without SMTPUTF8?
    #[must_use]
    pub const fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(&self) -> OwnedMailbox {
        OwnedMailbox::from(*self)
    }
}

impl<'a> TryFrom<&'a str> for Mailbox<'a> {
    type Error = Malformed;

    fn try_from(text: &'a str) -> Result<Self, Malformed> {
        Self::parse(text.as_bytes(), Charset::Utf8).ok_or(Malformed::MAILBOX)
    }
}

impl AsRef<str> for Mailbox<'_> {
    fn as_ref(&self) -> &str {
        self.text
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

const _: () = assert!(
    limits::MAILBOX_LEN_MAX <= u16::MAX as usize,
    "the place of the at sign is kept in 16 bits"
);
