//! What goes into a client's session and what comes out: the envelope, the events, and the words
//! for what went wrong. No state lives here.

use crate::address::ReversePath;
use crate::command::{Mail, Recipient};
use crate::extension::Extensions;
use crate::reply::parse::Answer;
use crate::reply::{Class, Status};
use core::fmt;

/// What one transaction has to say before its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Envelope<'e> {
    /// The sender and what is asked for the message as a whole. Without its `size`, which must be
    /// exact, there is no SIZE, and BDAT only in the caller's own chunks. Its `smtputf8` says that header
    /// fields hold UTF-8; that an address does, the session sees for itself.
    pub mail: Mail<'e>,
    /// Where the message shall go: one at least.
    pub recipients: &'e [Recipient<'e>],
    /// All of the recipients are known. While `false`, there may be none yet, more may be added behind those
    /// that are here, and the content is not asked for; so a proxy learns how each is answered before it
    /// knows the next. LIMITS are not heeded then: what is too much the peer refuses. An address that is
    /// not ASCII may join only if `mail.smtputf8` was set, or one was there, when the transaction began.
    pub complete: bool,
    /// A line of the content may start with a dot; `false` spares the search for them.
    pub leading_dots: bool,
}

impl<'e> Envelope<'e> {
    /// From here to there, with content of unknown size that is plain ASCII and may hold leading dots.
    #[must_use]
    pub const fn new(from: ReversePath<'e>, recipients: &'e [Recipient<'e>]) -> Self {
        Self {
            mail: Mail::new(from),
            recipients,
            complete: true,
            leading_dots: true,
        }
    }
}

/// What is to be done when [`super::Session::write`] has written what it could.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Next {
    /// Call `receive`.
    Wait,
    /// Send what was written and then the content by `segments`, in one write if you can; then call `end_body`.
    Body,
    /// The next piece of the content is due: announce it by `chunk`, send what that wrote, and the
    /// piece by `segments`. It may be put off: `receive` may be called instead.
    Chunk,
}

/// What happened. It borrows the input, never the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'i> {
    /// Nothing complete is left: send what was written, read, and call again.
    NeedInput,
    /// An answer that concerns the session alone. `write` may have more to say now.
    Answered,
    /// The peer has introduced itself: `begin` a transaction (or `start_tls` first).
    Ready(Extensions),
    /// Send what was written (nothing), shake hands, then call `tls_established`.
    Handshake,
    /// STARTTLS was refused; the dialogue goes on in clear text.
    TlsRefused(Answer<'i>),
    /// The peer's next word in an AUTH exchange, in base64 as it came, and perhaps empty: answer by `respond`,
    /// or by `cancel_auth` where it is no base64 or makes no sense.
    Challenge(&'i [u8]),
    /// AUTH has succeeded, as far as the peer says: a mechanism that proves the peer too has its own last word.
    /// The dialogue goes on where it was, without a second EHLO.
    //= RFC 4954 section 4: only a security layer begins the dialogue anew, and no mechanism here has one
    Authenticated(Answer<'i>),
    /// AUTH has failed, or was cancelled; the dialogue goes on.
    AuthRefused(Answer<'i>),
    /// How the command sent by `ask` was answered.
    Other(Answer<'i>),
    /// The peer's LIMITS leave no room for the recipients from this index on: nothing was sent of them, no event
    /// will mention them, and they want a transaction of their own. It comes once, before the transaction's
    /// first answer. Where the index is 0, `Over` follows, and the connection is used up.
    LeftOver(u16),
    /// How MAIL was answered. If not positively, `Over` follows.
    Mail(Answer<'i>),
    /// How the recipient of this index was answered.
    Recipient(u16, Answer<'i>),
    /// The peer waits for the content. `write` says [`Next::Body`] until it was sent.
    SendBody,
    /// The end of a transaction: how the message as a whole was answered, be it at DATA or after
    /// the content. It holds for all recipients that had a positive answer before.
    Sent(Answer<'i>),
    /// LMTP: how the message was answered for one of the recipients that were taken, counted from
    /// 0 in their order. `Over` follows the last.
    Delivered(u16, Answer<'i>),
    /// The end of a transaction that sent no content, or whose content was answered for each recipient: the sender was refused, or every recipient,
    /// as earlier events have told, or `reset` was called.
    Over,
    /// The end of a transaction: this peer cannot be given the message. Nothing of it was sent.
    Unsendable(Unsendable),
    /// The end of a transaction: it was refused while its content was still being sent, as `Sent`
    /// would have told. The connection is of no more use: hang up.
    Refused(Answer<'i>),
    /// The end of the connection: a 421, the answer to QUIT, or a refusal at greeting or EHLO.
    /// Send what was written, and hang up.
    Close(Answer<'i>),
    /// The end of the connection: the peer does not speak SMTP, or not in time. These are the
    /// bytes that showed it. Hang up.
    Broken(Violation, &'i [u8]),
    /// The end of the connection was told before.
    Closed,
}

/// Why a peer cannot be given a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Unsendable {
    /// It is larger than the peer's SIZE.
    TooLarge,
    /// It holds octets above 127, and the peer has no 8BITMIME.
    EightBit,
    /// It needs SMTPUTF8, and the peer has none.
    Utf8,
    /// It is binary, and the peer has no BINARYMIME, or no CHUNKING.
    Binary,
    /// It needs REQUIRETLS, and the peer has none, or there is no TLS.
    RequireTls,
    /// It must be given back if it is late, and the peer has no DELIVERBY, or wants more time.
    DeliverBy,
    /// It must be held, and the peer has no FUTURERELEASE, or not for so long.
    Hold,
}

impl Unsendable {
    /// The enhanced status that says the same in a report.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            //= RFC 3463 section 3.4: X.3.4 says that a message is larger than the receiver takes
            Self::TooLarge => Status::new(Class::Permanent, 3, 4),
            //= RFC 3463 section 3.7: X.6.3 says that content must be converted and cannot be
            Self::EightBit => Status::new(Class::Permanent, 6, 3),
            //= RFC 6531 section 3.5: X.6.7 says that an address needs SMTPUTF8
            Self::Utf8 => Status::new(Class::Permanent, 6, 7),
            Self::Binary => Status::new(Class::Permanent, 6, 3),
            //= RFC 8689 section 4.2.1: X.7.30 says that REQUIRETLS is needed
            Self::RequireTls => Status::new(Class::Permanent, 7, 30),
            //= RFC 2852 section 4.1.4: X.4.7 says that the time to deliver has run out
            Self::DeliverBy => Status::new(Class::Permanent, 4, 7),
            Self::Hold => Status::new(Class::Permanent, 5, 4),
        }
    }
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "it is larger than the peer takes",
            Self::EightBit => "it holds octets above 127, and the peer has no 8BITMIME",
            Self::Utf8 => "it needs SMTPUTF8, and the peer has none",
            Self::Binary => "it is binary, and the peer has no BINARYMIME, or no CHUNKING",
            Self::RequireTls => "it needs REQUIRETLS, and the peer has none, or there is no TLS",
            Self::DeliverBy => "the peer has no DELIVERBY, or wants more time",
            Self::Hold => "the peer has no FUTURERELEASE, or not for so long",
        })
    }
}

impl core::error::Error for Unsendable {}

/// What a peer did that makes the rest of a dialogue meaningless.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// A line that is no reply.
    Malformed,
    /// The lines of one reply have different codes.
    CodesDiffer,
    /// A reply of too many lines or octets.
    TooLong,
    /// A reply that nobody asked for, or that had come before anybody could.
    Unasked,
    /// A reply that this command cannot have.
    Unexpected(Step),
    /// No reply in time.
    Silent(Step),
    /// Clear text behind the answer to STARTTLS.
    BytesBehindStartTls,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a line that is no reply",
            Self::CodesDiffer => "the lines of one reply have different codes",
            Self::TooLong => "a reply of too many lines or octets",
            Self::Unasked => "a reply that nobody asked for, or one too early",
            Self::Unexpected(step) => return write!(f, "an impossible reply at {step}"),
            Self::Silent(step) => return write!(f, "no reply in time at {step}"),
            Self::BytesBehindStartTls => "clear text behind the answer to STARTTLS",
        })
    }
}

impl core::error::Error for Violation {}

/// Where in a dialogue something was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The greeting.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// AUTH and what follows it.
    Auth,
    /// A command sent by `ask`.
    Other,
    /// RSET.
    Reset,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA.
    Data,
    /// The end of the content.
    EndOfData,
    /// QUIT.
    Quit,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "the greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Other => "a command of the caller's",
            Self::Reset => "RSET",
            Self::Mail => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::EndOfData => "the end of the content",
            Self::Quit => "QUIT",
        })
    }
}

/// What became of a transaction when its connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Fate {
    /// Its content was not sent whole, or the peer said 421: whoever was not refused can be tried
    /// again at once, and no second copy will come of it.
    Unsent,
    /// Its content was sent to its end, and no answer came: the peer may have it, or not.
    InDoubt,
    /// Everything that was asked was answered: events have told.
    Answered,
}
