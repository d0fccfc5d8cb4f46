//! What stands between the angle brackets of MAIL and RCPT. Their parameters are commands' business.

use super::{Charset, Mailbox, Malformed, OwnedForwardPath, OwnedReversePath, parse};
use core::fmt;

/// Where failures are reported to: the argument of MAIL FROM.
///
/// ```
/// use mailrail_protocol::address::{Charset, ReversePath};
///
/// let path = ReversePath::parse(b"<a@b.example>", Charset::Ascii).expect("it is one");
/// assert_eq!(path.as_str(), "a@b.example");
/// assert_eq!(ReversePath::parse(b"", Charset::Ascii), Some(ReversePath::Null));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ReversePath<'a> {
    /// `<>`: nobody; a message that must never cause another one.
    Null,
    /// A mailbox.
    Mailbox(Mailbox<'a>),
}

impl<'a> ReversePath<'a> {
    /// Reads exactly one reverse-path, with angle brackets or without; a source route, which only
    /// stands in brackets, is left out. No text at all is the null reverse-path, as
    /// [`ReversePath::as_str`] writes it.
    //= RFC 5321 section 4.1.1.2: the reverse-path may be null
    #[must_use]
    pub fn parse(text: &'a [u8], charset: Charset) -> Option<Self> {
        match text {
            [] => Some(Self::Null),
            [b'<', ..] => parse::reverse_path(text, charset)
                .filter(|(_, rest)| rest.is_empty())
                .map(|(path, _)| path),
            _ => Mailbox::parse(text, charset).map(Self::Mailbox),
        }
    }

    /// The mailbox, or `None` for the null reverse-path.
    #[must_use]
    pub const fn mailbox(&self) -> Option<Mailbox<'a>> {
        match *self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Is it the null reverse-path?
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text between the angle brackets; empty for the null reverse-path.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        match self {
            Self::Null => "",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(&self) -> OwnedReversePath {
        OwnedReversePath::from(*self)
    }
}

impl<'a> From<Mailbox<'a>> for ReversePath<'a> {
    fn from(mailbox: Mailbox<'a>) -> Self {
        Self::Mailbox(mailbox)
    }
}

impl<'a> TryFrom<&'a str> for ReversePath<'a> {
    type Error = Malformed;

    fn try_from(text: &'a str) -> Result<Self, Malformed> {
        Self::parse(text.as_bytes(), Charset::Utf8).ok_or(Malformed::REVERSE_PATH)
    }
}

impl AsRef<str> for ReversePath<'_> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for ReversePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a message shall go: the argument of RCPT TO.
///
/// ```
/// use mailrail_protocol::address::{Charset, ForwardPath};
///
/// let path = ForwardPath::parse(b"<@relay.example:a@b.example>", Charset::Ascii).expect("it is one");
/// assert_eq!(path.as_str(), "a@b.example");
/// let path = ForwardPath::parse(b"Postmaster", Charset::Ascii).expect("it is one");
/// assert_eq!(path, ForwardPath::Postmaster("Postmaster"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ForwardPath<'a> {
    /// `<postmaster>`, in whatever case it was written: this host's own.
    //= RFC 5321 section 4.5.1: postmaster is accepted without a domain, whatever its case
    Postmaster(&'a str),
    /// A mailbox.
    Mailbox(Mailbox<'a>),
}

impl<'a> ForwardPath<'a> {
    /// Reads exactly one forward-path, with angle brackets or without; a source route, which only
    /// stands in brackets, is left out.
    //= RFC 5321 section 4.1.1.3: source routes are accepted and ignored
    #[must_use]
    pub fn parse(text: &'a [u8], charset: Charset) -> Option<Self> {
        if text.first() == Some(&b'<') {
            return parse::forward_path(text, charset)
                .filter(|(_, rest)| rest.is_empty())
                .map(|(path, _)| path);
        }
        if text.eq_ignore_ascii_case(b"postmaster") {
            return core::str::from_utf8(text).ok().map(Self::Postmaster);
        }
        Mailbox::parse(text, charset).map(Self::Mailbox)
    }

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

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(&self) -> OwnedForwardPath {
        OwnedForwardPath::from(*self)
    }
}

impl<'a> From<Mailbox<'a>> for ForwardPath<'a> {
    fn from(mailbox: Mailbox<'a>) -> Self {
        Self::Mailbox(mailbox)
    }
}

impl<'a> TryFrom<&'a str> for ForwardPath<'a> {
    type Error = Malformed;

    fn try_from(text: &'a str) -> Result<Self, Malformed> {
        Self::parse(text.as_bytes(), Charset::Utf8).ok_or(Malformed::FORWARD_PATH)
    }
}

impl AsRef<str> for ForwardPath<'_> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for ForwardPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
