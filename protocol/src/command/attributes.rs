//! XCLIENT and XFORWARD: what a proxy or a filter says of the client before it. Source:
//! <https://www.postfix.org/XCLIENT_README.html> and <https://www.postfix.org/XFORWARD_README.html>.
//! Whether it is believed is not known here.

use crate::xtext::Xtext;
use alloc::string::String;
use core::fmt;

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

impl Attribute {
    /// All that are known, in the order in which they are announced.
    pub const ALL: [Self; 10] = [
        Self::Name,
        Self::Address,
        Self::Port,
        Self::Protocol,
        Self::Hello,
        Self::Login,
        Self::DestinationAddress,
        Self::DestinationPort,
        Self::Ident,
        Self::Source,
    ];

    /// The word that names it.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Address => "ADDR",
            Self::Port => "PORT",
            Self::Protocol => "PROTO",
            Self::Hello => "HELO",
            Self::Login => "LOGIN",
            Self::DestinationAddress => "DESTADDR",
            Self::DestinationPort => "DESTPORT",
            Self::Ident => "IDENT",
            Self::Source => "SOURCE",
        }
    }

    /// The attribute that `word` names, in any case; `None` if it is not known here.
    #[must_use]
    pub fn of(word: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.keyword().as_bytes().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// A set of attributes, as the line behind EHLO names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AttributeSet(u16);

impl AttributeSet {
    /// None.
    pub const NONE: Self = Self(0);
    /// All that XCLIENT knows.
    pub const X_CLIENT: Self = Self::COMMON
        .with(Attribute::Login)
        .with(Attribute::DestinationAddress)
        .with(Attribute::DestinationPort);
    /// All that XFORWARD knows.
    pub const X_FORWARD: Self = Self::COMMON.with(Attribute::Ident).with(Attribute::Source);
    const COMMON: Self = Self::NONE
        .with(Attribute::Name)
        .with(Attribute::Address)
        .with(Attribute::Port)
        .with(Attribute::Protocol)
        .with(Attribute::Hello);

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

    /// Is all of `other` in the set?
    #[must_use]
    pub const fn has_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Is nothing in it?
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in it, in the order in which it is announced.
    pub fn iter(self) -> impl Iterator<Item = Attribute> {
        Attribute::ALL
            .into_iter()
            .filter(move |attribute| self.has(*attribute))
    }
}

impl fmt::Debug for AttributeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What is said of an attribute: `Value<Xtext>` as it is read, `Value<&[u8]>` for
/// [`Attributes::encode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Value<T> {
    /// This.
    Known(T),
    /// `[UNAVAILABLE]`: nobody knows.
    Unavailable,
    /// `[TEMPUNAVAIL]`: it could not be found out now.
    TemporarilyUnavailable,
}

const UNAVAILABLE: &str = "[UNAVAILABLE]";
const TEMPORARILY_UNAVAILABLE: &str = "[TEMPUNAVAIL]";

/// The pairs of one command: a view that is known to be well formed. Each attribute comes once at
/// most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Attributes<'i>(&'i str);

impl<'i> Attributes<'i> {
    /// Reads `NAME=value` pairs with spaces between them, of the attributes that are `known`. `None`
    /// for no pair, for what breaks the grammar, and for what is not known or comes twice.
    #[must_use]
    pub fn parse(text: &'i [u8], known: AttributeSet) -> Option<Self> {
        let mut found = AttributeSet::NONE;
        for word in words(text) {
            let (attribute, _) = pair(word)?;
            if !known.has(attribute) || found.has(attribute) {
                return None;
            }
            found = found.with(attribute);
        }
        let text = core::str::from_utf8(text).ok()?;
        (!found.is_empty()).then_some(Self(text))
    }

    /// Writes pairs into `text`, of which the result is a view. The values are taken as they are and
    /// encoded; of several pairs with the same attribute the first counts. `None` for no pair.
    #[must_use]
    pub fn encode<'v>(
        pairs: impl IntoIterator<Item = (Attribute, Value<&'v [u8]>)>,
        text: &'i mut String,
    ) -> Option<Self> {
        text.clear();
        let mut found = AttributeSet::NONE;
        for (attribute, value) in pairs {
            if found.has(attribute) {
                continue;
            }
            if !found.is_empty() {
                text.push(' ');
            }
            found = found.with(attribute);
            text.push_str(attribute.keyword());
            text.push('=');
            match value {
                Value::Unavailable => text.push_str(UNAVAILABLE),
                Value::TemporarilyUnavailable => text.push_str(TEMPORARILY_UNAVAILABLE),
                // What is known must not be read as if it were not.
                Value::Known([b'[', rest @ ..]) => {
                    text.push_str("+5B");
                    Xtext::encode_str(rest, text);
                }
                Value::Known(octets) => Xtext::encode_str(octets, text),
            }
        }
        (!found.is_empty()).then_some(Self(text))
    }

    /// As it was written.
    #[must_use]
    pub const fn as_str(&self) -> &'i str {
        self.0
    }

    /// The pairs, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = (Attribute, Value<Xtext<'i>>)> + use<'i> {
        words(self.0.as_bytes()).filter_map(pair)
    }

    /// What is said of `attribute`; `None` where nothing is.
    #[must_use]
    pub fn get(&self, attribute: Attribute) -> Option<Value<Xtext<'i>>> {
        self.iter()
            .find_map(|(each, value)| (each == attribute).then_some(value))
    }

    /// Of which attributes something is said.
    #[must_use]
    pub fn set(&self) -> AttributeSet {
        self.iter().fold(AttributeSet::NONE, |set, (attribute, _)| {
            set.with(attribute)
        })
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&octet| octet == b' ')
        .filter(|word| !word.is_empty())
}

fn pair(word: &[u8]) -> Option<(Attribute, Value<Xtext<'_>>)> {
    let at = word.iter().position(|&octet| octet == b'=')?;
    let (keyword, value) = word.split_at_checked(at)?;
    let attribute = Attribute::of(keyword)?;
    let value = value.strip_prefix(b"=")?;
    let value = if value.eq_ignore_ascii_case(UNAVAILABLE.as_bytes()) {
        Value::Unavailable
    } else if value.eq_ignore_ascii_case(TEMPORARILY_UNAVAILABLE.as_bytes()) {
        Value::TemporarilyUnavailable
    } else {
        Value::Known(Xtext::parse(value)?)
    };
    Some((attribute, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn parse(text: &str) -> Option<Attributes<'_>> {
        Attributes::parse(text.as_bytes(), AttributeSet::X_CLIENT)
    }

    #[test]
    fn pairs() {
        let text = "NAME=spike.example ADDR=IPV6:2001:db8::1  port=[UNAVAILABLE] helo=a+20b LOGIN=[tempunavail] PROTO=";
        let attributes = parse(text).unwrap();
        let known = |text: &'static str| Value::Known(Xtext::parse(text.as_bytes()).unwrap());
        let found: Vec<_> = attributes.iter().collect();
        assert_eq!(
            found,
            [
                (Attribute::Name, known("spike.example")),
                (Attribute::Address, known("IPV6:2001:db8::1")),
                (Attribute::Port, Value::Unavailable),
                (Attribute::Hello, known("a+20b")),
                (Attribute::Login, Value::TemporarilyUnavailable),
                (Attribute::Protocol, known("")),
            ]
        );
        assert_eq!(attributes.get(Attribute::Hello), Some(known("a+20b")));
        assert_eq!(attributes.get(Attribute::DestinationPort), None);
        assert!(AttributeSet::X_CLIENT.has_all(attributes.set()));
        assert!(!AttributeSet::X_FORWARD.has_all(attributes.set()));
    }

    #[test]
    fn no_pairs() {
        for text in [
            "",
            " ",
            "NAME",
            "NAMES=x",
            "=x",
            "NAME=x y",
            "NAME=x=y",
            "NAME=+2b",
            "NAME=x NAME=y",
            "NAME=x name=y",
            "NAME=ü",
            "NAME=x\tADDR=y",
            "IDENT=x",
            "SOURCE=LOCAL",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let forwarded = Attributes::parse(b"IDENT=x SOURCE=LOCAL", AttributeSet::X_FORWARD);
        assert!(forwarded.is_some());
        assert!(Attributes::parse(b"LOGIN=x", AttributeSet::X_FORWARD).is_none());
    }

    proptest! {
        #[test]
        fn there_and_back(
            pairs in proptest::collection::vec(
                (0usize..8, proptest::option::of(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)))),
                0..12,
            ),
        ) {
            let given: Vec<_> = pairs
                .iter()
                .map(|(index, value)| {
                    let value = match value {
                        None => Value::Unavailable,
                        Some(None) => Value::TemporarilyUnavailable,
                        Some(Some(octets)) => Value::Known(&octets[..]),
                    };
                    (Attribute::ALL[*index], value)
                })
                .collect();
            let mut text = String::new();
            let encoded = Attributes::encode(given.iter().copied(), &mut text);
            prop_assert_eq!(encoded.is_none(), given.is_empty());
            let Some(encoded) = encoded else { return Ok(()) };
            let read = Attributes::parse(encoded.as_str().as_bytes(), AttributeSet::X_CLIENT);
            prop_assert_eq!(read, Some(encoded));
            for attribute in Attribute::ALL {
                let given = given.iter().find(|(each, _)| *each == attribute);
                let mut octets = Vec::new();
                let found = encoded.get(attribute).map(|value| match value {
                    Value::Known(text) => {
                        text.decode(&mut octets);
                        Value::Known(&octets[..])
                    }
                    Value::Unavailable => Value::Unavailable,
                    Value::TemporarilyUnavailable => Value::TemporarilyUnavailable,
                });
                prop_assert_eq!(found, given.map(|(_, value)| *value));
            }
        }

        #[test]
        fn no_octets_break_it(text in "[NAMEPORTadr=+ \\[\\]0-9]{0,40}") {
            if let Some(attributes) = parse(&text) {
                prop_assert_eq!(attributes.iter().count(), words(text.as_bytes()).count());
            }
        }
    }
}
