//! XCLIENT and XFORWARD: what a proxy or a filter says of the client before it. Source:
//! <https://www.postfix.org/XCLIENT_README.html> and <https://www.postfix.org/XFORWARD_README.html>.
//! Whether it is believed is not known here.

/// What a pair is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Attribute {
    /// NAME: the client's host name.
    Name,
    /// ADDR: its address.
    Address,
    /// PORT: its port.
    Port,
    /// PROTO: SMTP or ESMTP.
    Protocol,
    /// HELO: how it called itself.
    Hello,
    /// LOGIN: as whom it authenticated (XCLIENT alone).
    Login,
    /// DESTADDR: the address it connected to (XCLIENT alone).
    DestinationAddress,
    /// DESTPORT: the port it connected to (XCLIENT alone).
    DestinationPort,
    /// IDENT: the message's name on the host before (XFORWARD alone).
    Ident,
    /// SOURCE: LOCAL or REMOTE (XFORWARD alone).
    Source,
}

/// A set of attributes, as the line behind EHLO names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct AttributeSet(u16);

impl AttributeSet {
    /// None.
    pub const NONE: Self = Self(0);

    /// The same set and `attribute`.
    #[must_use]
    pub const fn with(self, attribute: Attribute) -> Self {
        Self(self.0 | 1 << attribute as u16)
    }

    /// Is `attribute` in the set?
    #[must_use]
    pub const fn has(self, attribute: Attribute) -> bool {
        self.0 & (1 << attribute as u16) != 0
    }
}

/// The pairs of one command: a view that is known to be well formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Attributes<'i>(pub(super) &'i str);
