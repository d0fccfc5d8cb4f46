//! What a sender asks of delivery status notifications, RFC 3461. Who sends one, and what it
//! says, is not known here.

use crate::xtext::Xtext;

/// RET: how much of the message a report of failure brings back.
//= RFC 3461 section 4.3: RET=FULL or RET=HDRS
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Return {
    /// FULL: all of it.
    Full,
    /// HDRS: its header alone.
    Headers,
}

/// NOTIFY: what a sender wants to be told about a recipient.
//= RFC 3461 section 4.1: NEVER alone, or one or more of SUCCESS, FAILURE and DELAY
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Notify(u8);

impl Notify {
    /// Nothing at all.
    pub const NEVER: Self = Self(0);
    /// That it was delivered.
    pub const SUCCESS: Self = Self(1);
    /// That it could not be delivered.
    pub const FAILURE: Self = Self(2);
    /// That it is late.
    pub const DELAY: Self = Self(4);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Is all of `other` wanted?
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Is nothing wanted?
    #[must_use]
    pub const fn is_never(self) -> bool {
        self.0 == 0
    }
}

/// ORCPT: the address that the sender wrote first, whatever became of it since.
//= RFC 3461 section 4.2: ORCPT=addr-type;xtext
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct OriginalRecipient<'i> {
    /// `rfc822` nearly always, or `utf-8`; an atom.
    pub address_type: &'i str,
    /// The address, encoded.
    pub address: Xtext<'i>,
}
