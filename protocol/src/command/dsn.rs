//! What a sender asks of delivery status notifications, RFC 3461. Who sends one, and what it
//! says, is not known here.

use crate::ascii::{self, ATEXT};
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

    /// The words of all but NEVER, as they are written.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("SUCCESS", Self::SUCCESS),
        ("FAILURE", Self::FAILURE),
        ("DELAY", Self::DELAY),
    ];

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
    address_type: &'i str,
    address: Xtext<'i>,
}

impl<'i> OriginalRecipient<'i> {
    /// An address of this type: `rfc822` nearly always, or `utf-8`. `None` where the type is no atom,
    /// or the address stands for characters that no report may hold.
    #[must_use]
    pub fn new(address_type: &'i str, address: Xtext<'i>) -> Option<Self> {
        //= RFC 3461 section 4.2: addr-type is an atom
        let is_atom = !address_type.is_empty()
            && ascii::span(address_type.as_bytes(), ATEXT) == address_type.len();
        //= RFC 3461 section 4.2: the address holds printable ASCII alone before it is encoded
        //= RFC 6533 section 3: the type utf-8 takes UTF-8 as well
        let is_utf8 = address_type.eq_ignore_ascii_case("utf-8");
        let is_printable = address
            .octets()
            .all(|octet| matches!(octet, b' '..=b'~') || (is_utf8 && !octet.is_ascii()));
        let original = Self {
            address_type,
            address,
        };
        (is_atom && is_printable).then_some(original)
    }

    /// The type, as it was written; case does not matter.
    #[must_use]
    pub const fn address_type(&self) -> &'i str {
        self.address_type
    }

    /// The address, encoded.
    #[must_use]
    pub const fn address(&self) -> Xtext<'i> {
        self.address
    }

    /// Is it of the type `utf-8`, of RFC 6533?
    #[must_use]
    pub const fn is_utf8(&self) -> bool {
        self.address_type.eq_ignore_ascii_case("utf-8")
    }
}
