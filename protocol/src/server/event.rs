//! What a session tells its caller, and the token that an answer costs. No state lives here.

use crate::command::{Hello, Mail, Recipient, Verb};
use crate::reply::Code;

/// It is this side's turn to speak: the peer waits.
///
/// Neither `Clone` nor `Copy`: it is spent by the one answer that it asks for.
#[must_use = "the peer waits for a reply"]
#[derive(PartialEq, Eq, Debug)]
pub struct Turn(pub(super) u32);

/// What happened. It borrows the input, never the session.
#[derive(PartialEq, Eq, Debug)]
pub enum Event<'i> {
    /// The first event of all: greet the peer, or send it away.
    Connected(Turn),
    /// Nothing complete is left: send what was written, read, and call again.
    NeedInput,
    /// The session replied on its own; there is nothing to do, but it is good to log.
    Answered(Verb, Code),
    /// EHLO or HELO; whatever transaction was open is over.
    Hello(Hello<'i>, Turn),
    /// STARTTLS: a positive answer leads to `Handshake`.
    StartTls(Turn),
    /// Send what was written, shake hands, then call `tls_established`.
    Handshake,
    /// MAIL FROM: a transaction begins if the answer is positive.
    Mail(Mail<'i>, Turn),
    /// RCPT TO.
    Recipient(Recipient<'i>, Turn),
    /// A command that is policy alone (VRFY, EXPN, ETRN, ...), with its argument.
    Other(Verb, &'i [u8], Turn),
    /// DATA, or the first BDAT: make room for a body. The positive answer is not written for BDAT.
    Data(Turn),
    /// A stretch of the body, without stuffed dots: always the last bytes of what this call consumed.
    Body(&'i [u8]),
    /// The body is complete: a positive answer takes responsibility for the message.
    EndOfData(Turn),
    /// Forget the transaction and whatever came of its body. If a reply is due, the session gives it.
    Reset,
    /// What was written is the last word: send it and hang up.
    Close,
}

/// What a session will read next, so that the caller can choose where to read to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expects {
    /// A command line.
    Line,
    /// A body.
    Body {
        /// Octets that are sure to follow in this chunk; `None` where only a dot will tell.
        left: Option<u64>,
    },
}

/// What the session must know of its peer from outside the dialogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Peer {
    /// The connection is encrypted from its first byte.
    pub tls: bool,
}

impl Peer {
    /// A peer in clear text.
    pub const PLAIN: Self = Self { tls: false };
    /// A peer behind TLS.
    pub const TLS: Self = Self { tls: true };
}
