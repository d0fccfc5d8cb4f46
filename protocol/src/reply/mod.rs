//! Replies: a code, an enhanced status, and text for a human. A reply encodes itself; which reply
//! answers what is decided elsewhere.

mod code;
mod display;
mod known;
mod meaning;
mod owned;
pub mod parse;
mod status;
mod write;

pub use code::{Category, Code};
pub use owned::OwnedReply;
pub use parse::Answer;
pub use status::{BadStatus, Class, Status};
pub(crate) use write::Lines;

/// A reply that this side gives: a view, `const` where its text is.
///
/// The text is bytes, since some of it is passed on from other hosts; it may have several lines,
/// and cannot break out of the reply whatever it holds (see [`Reply::write`]). Two replies are equal
/// when all three parts are, octet for octet. `Display` shows one line for a log.
///
/// ```
/// use mailrail_protocol::reply::{Code, Reply, Status};
///
/// const GREYLISTED: Reply<'_> = Reply::new(
///     Code::of(450),
///     Status::for_code(Code::of(450), 7, 1),
///     "Not now\nSee https://mx.example/why",
/// );
/// let mut out = Vec::new();
/// GREYLISTED.write(&mut out);
/// assert_eq!(out, b"450-4.7.1 Not now\r\n450 4.7.1 See https://mx.example/why\r\n");
/// assert_eq!(GREYLISTED.to_string(), "450 4.7.1 Not now See https://mx.example/why");
/// ```
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

    /// The same reply with another text that may be any bytes, as those of another host are.
    #[must_use]
    pub const fn with_bytes<'u>(&self, text: &'u [u8]) -> Reply<'u> {
        Reply {
            code: self.code,
            status: self.status,
            text,
        }
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(&self) -> OwnedReply {
        OwnedReply::from(self)
    }

    /// Does it let the dialogue move on?
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code.is_positive()
    }
}
