//! The commands that are policy alone: asked of the caller on the server's side, and sent by the
//! caller's wish on the client's. What they lead to is not known here.

use super::Verb;
use super::attributes::Attributes;
use crate::reply::Reply;

/// A command with an answer of its own and no part in a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Other<'i> {
    /// VRFY: a mailbox or a name, as written.
    Verify(&'i str),
    /// EXPN: a list's name, as written.
    Expand(&'i str),
    /// HELP, and about what; may be empty.
    Help(&'i str),
    /// NOOP (a server answers it on its own).
    Noop,
    /// ETRN: send what waits for these.
    Etrn(Etrn<'i>),
    /// XCLIENT: who the client before this one is. A positive answer begins the dialogue anew.
    XClient(Attributes<'i>),
    /// XFORWARD: where the next message came from.
    XForward(Attributes<'i>),
    /// A command that is not known here, its whole line without CRLF.
    Private(&'i str),
}

/// What ETRN asks for.
//= RFC 1985 section 5.2: a node's name, "@" with a domain and all below it, or "#" with a queue's name
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Etrn<'i> {
    /// Mail for this host.
    Node(&'i str),
    /// Mail for this domain and all below it.
    Subdomains(&'i str),
    /// What is in this queue.
    Queue(&'i str),
}

impl Other<'_> {
    /// The verb of its line.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Verify(_) => Verb::Verify,
            Self::Expand(_) => Verb::Expand,
            Self::Help(_) => Verb::Help,
            Self::Noop => Verb::Noop,
            Self::Etrn(_) => Verb::Etrn,
            Self::XClient(_) => Verb::XClient,
            Self::XForward(_) => Verb::XForward,
            Self::Private(_) => Verb::Unknown,
        }
    }

    /// What to answer where no policy says more.
    #[must_use]
    pub const fn default_reply(&self) -> Reply<'static> {
        match self {
            //= RFC 5321 section 3.5.3: a server that does not verify says 252
            Self::Verify(_) => Reply::CANNOT_VERIFY,
            Self::Help(_) => Reply::HELP,
            Self::Noop => Reply::OK,
            Self::Private(_) => Reply::UNKNOWN_COMMAND,
            _ => Reply::NOT_IMPLEMENTED,
        }
    }
}
