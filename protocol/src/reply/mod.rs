//! Replies: a code, an enhanced status, and text for a human. A reply encodes itself; which reply
//! answers what is decided elsewhere.

mod known;
pub mod parse;
mod status;
mod write;

pub use status::{Class, Status};
pub(crate) use write::Lines;

/// The three digits that open a reply: 200 to 599.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Code(u16);

impl Code {
    /// `None` outside 200 to 599.
    //= RFC 5321 section 4.2: the first digit is 2 to 5, the second 0 to 5 in this standard; others may come
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 {
            Some(Self(code))
        } else {
            None
        }
    }

    /// For constants: a number out of range does not compile.
    ///
    /// # Panics
    /// Outside 200 to 599.
    #[must_use]
    pub const fn of(code: u16) -> Self {
        assert!(
            code >= 200 && code <= 599,
            "a reply code has a first digit of 2 to 5"
        );
        Self(code)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// 2xx or 3xx.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.0 < 400
    }

    /// 3xx: go on.
    #[must_use]
    pub const fn is_intermediate(self) -> bool {
        self.0 >= 300 && self.0 < 400
    }

    /// 4xx: try again later.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        self.0 >= 400 && self.0 < 500
    }

    /// 5xx: never.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        self.0 >= 500
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// A reply that this side gives.
///
/// The text is bytes, since some of it is passed on from other hosts; it may have several lines,
/// and cannot break out of the reply whatever it holds (see [`Reply::write`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Reply<'t> {
    /// The verdict.
    pub code: Code,
    /// The enhanced status; its class is written as the code's first digit.
    pub status: Option<Status>,
    /// For humans; lines are parted by LF or CRLF.
    pub text: &'t [u8],
}

impl<'t> Reply<'t> {
    /// A reply with an enhanced status.
    #[must_use]
    pub const fn new(code: Code, status: Status, text: &'t str) -> Self {
        Self {
            code,
            status: Some(status),
            text: text.as_bytes(),
        }
    }

    /// A reply without an enhanced status.
    #[must_use]
    pub const fn plain(code: Code, text: &'t str) -> Self {
        Self {
            code,
            status: None,
            text: text.as_bytes(),
        }
    }

    /// The same reply with another text.
    #[must_use]
    pub const fn with_text<'u>(&self, text: &'u str) -> Reply<'u> {
        Reply {
            code: self.code,
            status: self.status,
            text: text.as_bytes(),
        }
    }

    /// Does it let the dialogue move on?
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code.is_positive()
    }
}
