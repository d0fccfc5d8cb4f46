//! The commands of SMTP as values: what a client says, understood. When a command is allowed, and
//! what answers it, is the sessions' business.

mod parameters;
pub mod parse;
mod table;
pub mod write;

use crate::address::{ForwardPath, ReversePath};
use crate::reply::Reply;

/// The first word of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Verb {
    /// EHLO
    Ehlo,
    /// HELO
    Helo,
    /// MAIL FROM
    Mail,
    /// RCPT TO
    Recipient,
    /// DATA
    Data,
    /// BDAT
    Bdat,
    /// RSET
    Reset,
    /// NOOP
    Noop,
    /// QUIT
    Quit,
    /// VRFY
    Verify,
    /// EXPN
    Expand,
    /// HELP
    Help,
    /// ETRN
    Etrn,
    /// STARTTLS
    StartTls,
    /// AUTH
    Auth,
    /// Anything else.
    Unknown,
}

impl Verb {
    /// What to answer to [`crate::server::Event::Other`] where no policy says more.
    #[must_use]
    pub const fn default_reply(self) -> Reply<'static> {
        match self {
            //= RFC 5321 section 3.5.3: a server that does not verify says 252
            Self::Verify => Reply::CANNOT_VERIFY,
            _ => Reply::NOT_IMPLEMENTED,
        }
    }
}

/// EHLO or HELO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello<'i> {
    /// EHLO, and not HELO.
    pub extended: bool,
    /// How the client calls itself: visible ASCII, not empty, nothing more is sure.
    pub name: &'i str,
}

/// What a message's lines may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum BodyKind {
    /// ASCII alone; also what holds when nothing was said.
    #[default]
    SevenBit,
    /// Octets above 127 too.
    EightBitMime,
}

/// MAIL FROM and its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Mail<'i> {
    /// Where failures are reported to.
    pub from: ReversePath<'i>,
    /// SIZE: how long the client expects the message to be, in octets.
    pub size: Option<u64>,
    /// BODY; `None` when the parameter was not given.
    pub body: Option<BodyKind>,
    /// SMTPUTF8: addresses or header fields may hold UTF-8.
    pub smtputf8: bool,
}

impl<'i> Mail<'i> {
    /// From here, with no parameters.
    #[must_use]
    pub const fn new(from: ReversePath<'i>) -> Self {
        Self {
            from,
            size: None,
            body: None,
            smtputf8: false,
        }
    }
}

/// RCPT TO and its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Recipient<'i> {
    /// Where the message shall go.
    pub to: ForwardPath<'i>,
}

impl<'i> Recipient<'i> {
    /// To here, with no parameters.
    #[must_use]
    pub const fn new(to: ForwardPath<'i>) -> Self {
        Self { to }
    }
}
