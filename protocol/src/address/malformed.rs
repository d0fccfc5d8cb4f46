//! The error of what is read from a text: that it is not what it should be.

use core::fmt;

/// A text that is not what it was read as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    what: &'static str,
}

impl Malformed {
    pub(super) const MAILBOX: Self = Self { what: "a mailbox" };
    pub(super) const DOMAIN: Self = Self {
        what: "a domain or an address literal",
    };
    pub(super) const REVERSE_PATH: Self = Self {
        what: "a reverse-path",
    };
    pub(super) const FORWARD_PATH: Self = Self {
        what: "a forward-path",
    };
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {} by the grammar of RFC 5321", self.what)
    }
}

impl core::error::Error for Malformed {}
