//! Paths that own their text, for an envelope that outlives the bytes it was read from.

use super::{Charset, ForwardPath, Malformed, OwnedMailbox, ReversePath};
use alloc::boxed::Box;
use core::fmt;
use core::str::FromStr;

/// A reverse-path with text of its own. Equal when written alike.
///
/// ```
/// use mailrail_protocol::address::{OwnedReversePath, ReversePath};
///
/// let path: OwnedReversePath = "<bounces@a.example>".parse()?;
/// assert_eq!(path.as_str(), "bounces@a.example");
/// assert_eq!("<>".parse::<OwnedReversePath>()?.as_reverse_path(), ReversePath::Null);
/// # Ok::<(), mailrail_protocol::address::Malformed>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum OwnedReversePath {
    /// `<>`: nobody.
    Null,
    /// A mailbox.
    Mailbox(OwnedMailbox),
}

impl OwnedReversePath {
    /// Reads one reverse-path, as [`ReversePath::parse`] does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ReversePath::parse(text.as_bytes(), Charset::Utf8).map(Self::from)
    }

    /// The view of it that everything else works with.
    #[must_use]
    pub fn as_reverse_path(&self) -> ReversePath<'_> {
        match self {
            Self::Null => ReversePath::Null,
            Self::Mailbox(mailbox) => ReversePath::Mailbox(mailbox.as_mailbox()),
        }
    }

    /// The text between the angle brackets; empty for the null reverse-path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.as_reverse_path().as_str()
    }
}

impl From<ReversePath<'_>> for OwnedReversePath {
    fn from(path: ReversePath<'_>) -> Self {
        match path {
            ReversePath::Null => Self::Null,
            ReversePath::Mailbox(mailbox) => Self::Mailbox(mailbox.into()),
        }
    }
}

impl From<OwnedMailbox> for OwnedReversePath {
    fn from(mailbox: OwnedMailbox) -> Self {
        Self::Mailbox(mailbox)
    }
}

impl<'a> From<&'a OwnedReversePath> for ReversePath<'a> {
    fn from(path: &'a OwnedReversePath) -> Self {
        path.as_reverse_path()
    }
}

impl FromStr for OwnedReversePath {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text).ok_or(Malformed::REVERSE_PATH)
    }
}

impl AsRef<str> for OwnedReversePath {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for OwnedReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A forward-path with text of its own. Equal when written alike.
///
/// ```
/// use mailrail_protocol::address::OwnedForwardPath;
///
/// let path: OwnedForwardPath = "user@mx.example".parse()?;
/// assert_eq!(path.to_string(), "user@mx.example");
/// # Ok::<(), mailrail_protocol::address::Malformed>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum OwnedForwardPath {
    /// `<postmaster>`, in whatever case it was written.
    Postmaster(Box<str>),
    /// A mailbox.
    Mailbox(OwnedMailbox),
}

impl OwnedForwardPath {
    /// Reads one forward-path, as [`ForwardPath::parse`] does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ForwardPath::parse(text.as_bytes(), Charset::Utf8).map(Self::from)
    }

    /// The view of it that everything else works with.
    #[must_use]
    pub fn as_forward_path(&self) -> ForwardPath<'_> {
        match self {
            Self::Postmaster(written) => ForwardPath::Postmaster(written),
            Self::Mailbox(mailbox) => ForwardPath::Mailbox(mailbox.as_mailbox()),
        }
    }

    /// The text between the angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.as_forward_path().as_str()
    }
}

impl From<ForwardPath<'_>> for OwnedForwardPath {
    fn from(path: ForwardPath<'_>) -> Self {
        match path {
            ForwardPath::Postmaster(written) => Self::Postmaster(written.into()),
            ForwardPath::Mailbox(mailbox) => Self::Mailbox(mailbox.into()),
        }
    }
}

impl From<OwnedMailbox> for OwnedForwardPath {
    fn from(mailbox: OwnedMailbox) -> Self {
        Self::Mailbox(mailbox)
    }
}

impl<'a> From<&'a OwnedForwardPath> for ForwardPath<'a> {
    fn from(path: &'a OwnedForwardPath) -> Self {
        path.as_forward_path()
    }
}

impl FromStr for OwnedForwardPath {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text).ok_or(Malformed::FORWARD_PATH)
    }
}

impl AsRef<str> for OwnedForwardPath {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for OwnedForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["", "a@b", "\"a b\"@[192.0.2.1]", "ü@ü"] {
            let path: OwnedReversePath = text.parse().unwrap();
            assert_eq!(path.as_str(), text);
            assert_eq!(path.as_reverse_path().to_owned(), path);
            let bracketed = alloc::format!("<{path}>");
            assert_eq!(bracketed.parse(), Ok(path));
        }
        for text in ["postMaster", "a@b"] {
            let path: OwnedForwardPath = text.parse().unwrap();
            assert_eq!(path.as_str(), text);
            assert_eq!(path.as_forward_path().to_owned(), path);
            let bracketed = alloc::format!("<{path}>");
            assert_eq!(bracketed.parse(), Ok(path));
        }
    }

    #[test]
    fn what_is_no_path() {
        for text in ["a", "<a@b", "a@b>", "<<a@b>>", "<a@b> ", " a@b", "@c:a@b"] {
            assert_eq!(OwnedReversePath::parse(text), None, "{text:?}");
            assert_eq!(OwnedForwardPath::parse(text), None, "{text:?}");
        }
        assert_eq!(OwnedForwardPath::parse(""), None);
        assert_eq!(OwnedForwardPath::parse("<>"), None);
        assert_eq!(OwnedReversePath::parse("postmaster"), None);
    }
}
