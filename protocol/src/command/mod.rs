//! The commands of SMTP as values: what a client says, understood. When a command is allowed, and
//! what answers it, is the sessions' business.

mod attributes;
pub(crate) mod date;
mod dsn;
mod other;
mod owned;
mod parameters;
pub mod parse;
mod strictness;
mod table;
mod timing;
pub mod write;

pub use attributes::{Attribute, AttributeSet, Attributes, Value};
pub use dsn::{Notify, OriginalRecipient, Return};
pub use other::{Etrn, Other};
pub use owned::{OwnedMail, OwnedRecipient};
pub use strictness::{Strictness, Verdict};
pub use timing::{DeliverBy, Hold, Priority, PriorityProfile};

use crate::address::{ForwardPath, ReversePath};
use crate::sasl::Mechanism;
use crate::xtext::Xtext;

/// The first word of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Verb {
    /// EHLO
    Ehlo,
    /// HELO
    Helo,
    /// LHLO, which LMTP has in place of both
    Lhlo,
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
    /// XCLIENT
    XClient,
    /// XFORWARD
    XForward,
    /// Anything else.
    Unknown,
}

/// EHLO or HELO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello<'i> {
    /// EHLO, and not HELO.
    pub extended: bool,
    /// How the client calls itself: visible ASCII, not empty, nothing more is sure.
    pub name: &'i str,
}

/// AUTH: an exchange begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Auth<'i> {
    /// Which one.
    pub mechanism: Mechanism,
    /// The initial response in base64, as it came; empty where `=` was written, `None` where nothing was.
    //= RFC 4954 section 4: an initial response of no octets is written as an equals sign
    pub initial: Option<&'i [u8]>,
}

/// Whoever reads a log shall not read passwords.
impl core::fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Auth")
            .field("mechanism", &self.mechanism)
            .field("initial_len", &self.initial.map(<[u8]>::len))
            .finish()
    }
}

/// What a message's lines may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum BodyKind {
    /// ASCII alone; also what holds when nothing was said.
    #[default]
    SevenBit,
    /// Octets above 127 too.
    EightBitMime,
    /// No lines at all: any octets.
    //= RFC 3030 section 3: BINARYMIME, which needs BDAT
    BinaryMime,
}

/// MAIL FROM and its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
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
    /// REQUIRETLS: the message may travel over authenticated TLS alone.
    pub require_tls: bool,
    /// RET; `None` when the parameter was not given.
    pub return_: Option<Return>,
    /// ENVID: the sender's own name for this transaction, of at most 100 octets.
    pub envelope_id: Option<Xtext<'i>>,
    /// AUTH: who handed the message in, as far as the client vouches for it.
    pub submitter: Option<Submitter<'i>>,
    /// BY
    pub deliver_by: Option<DeliverBy>,
    /// HOLDFOR or HOLDUNTIL
    pub hold: Option<Hold>,
    /// MT-PRIORITY
    pub priority: Option<Priority>,
}

/// AUTH of MAIL.
//= RFC 4954 section 5: AUTH=<> says that nobody is known, or is trusted enough
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Submitter<'i> {
    /// `<>`
    Unknown,
    /// A mailbox, encoded.
    Mailbox(Xtext<'i>),
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
            require_tls: false,
            return_: None,
            envelope_id: None,
            submitter: None,
            deliver_by: None,
            hold: None,
            priority: None,
        }
    }
}

/// RCPT TO and its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub struct Recipient<'i> {
    /// Where the message shall go.
    pub to: ForwardPath<'i>,
    /// NOTIFY; `None` when the parameter was not given.
    pub notify: Option<Notify>,
    /// ORCPT
    pub original: Option<OriginalRecipient<'i>>,
}

impl<'i> Recipient<'i> {
    /// To here, with no parameters.
    #[must_use]
    pub const fn new(to: ForwardPath<'i>) -> Self {
        Self {
            to,
            notify: None,
            original: None,
        }
    }
}
