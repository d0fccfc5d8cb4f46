//! Replies: a code, an enhanced status, and text for a human. A reply encodes itself; which reply
//! answers what is decided elsewhere.

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

/// `reply(code, subject, detail, text)`: the class follows from the code.
const fn reply(code: u16, subject: u16, detail: u16, text: &'static str) -> Reply<'static> {
    let code = Code::of(code);
    Reply::new(code, Status::for_code(code, subject, detail), text)
}

/// The replies that a server needs day by day.
impl Reply<'static> {
    /// To `Connected`: the session puts its host's name in front.
    pub const GREETING: Self = Self::plain(Code::of(220), "");
    /// To `Hello`: the session writes its name and its extensions.
    pub const HELLO: Self = Self::plain(Code::of(250), "");
    /// 250 2.0.0
    pub const OK: Self = reply(250, 0, 0, "Ok");
    /// 250 2.1.0
    pub const SENDER_OK: Self = reply(250, 1, 0, "Sender ok");
    /// 250 2.1.5
    pub const RECIPIENT_OK: Self = reply(250, 1, 5, "Recipient ok");
    /// 354
    pub const START_DATA: Self = Self::plain(Code::of(354), "End data with <CR><LF>.<CR><LF>");
    /// 250 2.0.0, to `EndOfData`
    pub const QUEUED: Self = reply(250, 0, 0, "Queued");
    /// 221 2.0.0
    pub const BYE: Self = reply(221, 0, 0, "Bye");
    /// 252 2.5.2
    pub const CANNOT_VERIFY: Self = reply(
        252,
        5,
        2,
        "Cannot verify, but will take mail and try to deliver it",
    );
    /// 214 2.0.0
    pub const HELP: Self = reply(214, 0, 0, "See RFC 5321");
    /// 220 2.0.0
    pub const START_TLS: Self = reply(220, 0, 0, "Ready to start TLS");

    /// 421 4.3.2
    pub const SHUTTING_DOWN: Self = reply(421, 3, 2, "Shutting down, try again later");
    /// 421 4.4.2
    pub const TIMED_OUT: Self = reply(421, 4, 2, "Too long without a command");
    /// 421 4.7.0
    pub const TOO_MANY_ERRORS: Self = reply(421, 7, 0, "Too many errors");
    /// 421 4.7.0
    pub const TOO_MANY_COMMANDS: Self = reply(421, 7, 0, "Too many commands without a message");
    /// 421 4.3.2
    pub const TOO_MANY_CONNECTIONS: Self = reply(421, 3, 2, "Too many connections");
    /// 421 4.7.0
    pub const TOO_LONG_BODY_TIME: Self = reply(421, 4, 2, "Too long for one message");
    /// 421 4.3.0
    pub const UNSWALLOWED: Self = reply(421, 3, 0, "Too much data behind a refusal");
    /// 451 4.3.0
    pub const LOCAL_ERROR: Self = reply(451, 3, 0, "Local error, try again later");
    /// 452 4.3.1
    pub const STORAGE_FULL: Self = reply(452, 3, 1, "Not enough storage, try again later");
    /// 452 4.5.3
    pub const TOO_MANY_RECIPIENTS: Self = reply(452, 5, 3, "Too many recipients");
    /// 454 4.7.0
    pub const TLS_UNAVAILABLE: Self = reply(454, 7, 0, "TLS is not available now");

    /// 500 5.5.1
    pub const UNKNOWN_COMMAND: Self = reply(500, 5, 1, "Unknown command");
    /// 500 5.5.2
    pub const BAD_LINE: Self = reply(500, 5, 2, "Syntax error");
    /// 500 5.5.2
    pub const LINE_TOO_LONG: Self = reply(500, 5, 2, "Line too long");
    /// 500 5.5.2
    pub const BARE_LF: Self = reply(500, 5, 2, "Lines end with CRLF");
    /// 501 5.5.4
    pub const BAD_ARGUMENT: Self = reply(501, 5, 4, "Syntax error in the arguments");
    /// 501 5.1.7
    pub const BAD_SENDER: Self = reply(501, 1, 7, "Bad sender address syntax");
    /// 501 5.1.3
    pub const BAD_RECIPIENT: Self = reply(501, 1, 3, "Bad recipient address syntax");
    /// 504 5.5.4
    pub const UNKNOWN_MECHANISM: Self = reply(504, 5, 4, "Unknown authentication mechanism");
    /// 502 5.5.1
    pub const NOT_IMPLEMENTED: Self = reply(502, 5, 1, "Command not implemented");
    /// 503 5.5.1
    pub const BAD_SEQUENCE: Self = reply(503, 5, 1, "Bad sequence of commands");
    /// 503 5.5.1
    pub const NEED_HELLO: Self = reply(503, 5, 1, "Say EHLO or HELO first");
    /// 503 5.5.1
    pub const NEED_MAIL: Self = reply(503, 5, 1, "Say MAIL first");
    /// 503 5.5.1
    pub const NESTED_MAIL: Self = reply(503, 5, 1, "The sender is already given");
    /// 503 5.5.1
    pub const NEED_RECIPIENT: Self = reply(503, 5, 1, "Say RCPT first");
    /// 554 5.5.1
    pub const NO_VALID_RECIPIENTS: Self = reply(554, 5, 1, "No valid recipients");
    /// 503 5.5.1
    pub const NO_SERVICE: Self = reply(503, 5, 1, "No service here: QUIT");
    /// 555 5.5.4
    pub const BAD_PARAMETER: Self = reply(555, 5, 4, "Parameter not recognized or not implemented");
    /// 550 5.6.7
    pub const NEED_SMTPUTF8: Self = reply(553, 6, 7, "A UTF-8 address needs SMTPUTF8");
    /// 552 5.3.4
    pub const TOO_LARGE: Self = reply(552, 3, 4, "Message too large");
    /// 550 5.6.11
    pub const BAD_LINE_ENDS: Self = reply(550, 6, 11, "Bare CR or LF, or NUL, in the message");
    /// 550 5.1.1
    pub const NO_SUCH_USER: Self = reply(550, 1, 1, "No such user");
    /// 550 5.7.1
    pub const RELAY_DENIED: Self = reply(550, 7, 1, "Relaying denied");
    /// 554 5.4.6
    pub const LOOP_DETECTED: Self = reply(554, 4, 6, "Too many hops");
    /// 554 5.3.2
    pub const NO_MAIL_HERE: Self = reply(554, 3, 2, "No mail service here");
    /// 554 5.6.0
    pub const DATA_BEHIND_STARTTLS: Self = reply(554, 7, 0, "Data behind STARTTLS");
}
