//! What a session tells its caller, and the token that an answer costs. No state lives here.

use crate::command::{Auth, Hello, Mail, Other, Recipient, Verb};
use crate::reply::Code;
use core::fmt;

/// It is this side's turn to speak: the peer waits.
///
/// Neither `Clone` nor `Copy`: it is spent by the one answer that it asks for.
#[must_use = "the peer waits for a reply"]
#[derive(PartialEq, Eq, Debug)]
pub struct Turn(pub(super) u32);

/// What happened. It borrows the input, never the session.
#[derive(PartialEq, Eq)]
pub enum Event<'i> {
    /// The first event of all: greet the peer, or send it away.
    Connected(Turn),
    /// Nothing complete is left: send what was written, read, and call again. Octets may have been taken
    /// nevertheless: those of what is thrown away, such as too long a line.
    NeedInput,
    /// The session replied on its own; there is nothing to do, but it is good to log.
    Answered(Verb, Code),
    /// EHLO, HELO or LHLO; whatever transaction was open is over.
    Hello(Hello<'i>, Turn),
    /// STARTTLS: a positive answer leads to `Handshake`.
    StartTls(Turn),
    /// Send what was written, shake hands, then call `tls_established`.
    Handshake,
    /// AUTH: answer by `challenge`, by 235 or by a refusal; see [`crate::sasl::server`].
    Auth(Auth<'i>, Turn),
    /// The next response of the exchange, in base64 as it came; to be answered likewise. (A
    /// cancelled exchange is `Answered` with 501.)
    Sasl(&'i [u8], Turn),
    /// MAIL FROM: a transaction begins if the answer is positive.
    Mail(Mail<'i>, Turn),
    /// RCPT TO.
    Recipient(Recipient<'i>, Turn),
    /// A command that is policy alone (VRFY, EXPN, ETRN, ...).
    Other(Other<'i>, Turn),
    /// DATA, or the first BDAT: make room for a body. The positive answer is not written for BDAT.
    Data(Turn),
    /// A stretch of the body, without stuffed dots: always the last bytes of what this call consumed.
    Body(&'i [u8]),
    /// The body is complete: a positive answer takes responsibility for the message.
    EndOfData(Turn),
    /// The same in LMTP, once for each recipient that was taken, counted from 0 in their order.
    //= RFC 2033 section 4.2: one reply for each successful RCPT, in their order
    EndOfDataFor(u32, Turn),
    /// Forget the transaction and whatever came of its body. If a reply is due, the session gives it.
    Reset,
    /// What was written is the last word: send it and hang up.
    Close,
}

/// Whoever reads a log shall not read passwords.
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(turn) => write!(f, "Connected({turn:?})"),
            Self::NeedInput => f.write_str("NeedInput"),
            Self::Answered(verb, code) => write!(f, "Answered({verb:?}, {code})"),
            Self::Hello(hello, turn) => write!(f, "Hello({hello:?}, {turn:?})"),
            Self::StartTls(turn) => write!(f, "StartTls({turn:?})"),
            Self::Handshake => f.write_str("Handshake"),
            Self::Auth(auth, turn) => write!(f, "Auth({auth:?}, {turn:?})"),
            Self::Sasl(response, turn) => write!(f, "Sasl({} octets, {turn:?})", response.len()),
            Self::Mail(mail, turn) => write!(f, "Mail({mail:?}, {turn:?})"),
            Self::Recipient(recipient, turn) => write!(f, "Recipient({recipient:?}, {turn:?})"),
            Self::Other(other, turn) => write!(f, "Other({other:?}, {turn:?})"),
            Self::Data(turn) => write!(f, "Data({turn:?})"),
            Self::Body(octets) => write!(f, "Body({} octets)", octets.len()),
            Self::EndOfData(turn) => write!(f, "EndOfData({turn:?})"),
            Self::EndOfDataFor(recipient, turn) => {
                write!(f, "EndOfDataFor({recipient}, {turn:?})")
            }
            Self::Reset => f.write_str("Reset"),
            Self::Close => f.write_str("Close"),
        }
    }
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
    pub tls: Option<Tls>,
}

impl Peer {
    /// A peer in clear text.
    pub const PLAIN: Self = Self { tls: None };
    /// A peer behind TLS.
    pub const TLS: Self = Self {
        tls: Some(Tls::PLAIN),
    };

    /// A peer behind TLS, of which this is known.
    #[must_use]
    pub const fn behind(tls: Tls) -> Self {
        Self { tls: Some(tls) }
    }
}

/// What a handshake has brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Tls {
    /// The caller can name the connection's channel binding: mechanisms that end in -PLUS are offered.
    pub channel_binding: bool,
    /// The client has shown a certificate that the caller believes: EXTERNAL is offered.
    pub client_certificate: bool,
}

impl Tls {
    /// Encryption, and nothing more.
    pub const PLAIN: Self = Self {
        channel_binding: false,
        client_certificate: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::Mechanism;
    use alloc::format;

    #[test]
    fn no_password_in_a_log() {
        const SECRET: &[u8] = b"AHRpbQB0YW5zdGFhZg==";
        let auth = Auth {
            mechanism: Mechanism::Plain,
            initial: Some(SECRET),
        };
        let shown = [
            format!("{:?}", Event::Auth(auth, Turn(0))),
            format!("{:?}", Event::Sasl(SECRET, Turn(0))),
        ];
        let octets = format!("{SECRET:?}");
        let octets = octets.trim_matches(['[', ']']);
        for shown in shown {
            assert!(
                !shown.contains("AHRp") && !shown.contains(octets),
                "{shown}"
            );
        }
    }
}
