//! xtext: text of any kind inside a parameter, with `+` and two hexadecimal digits for whatever a
//! parameter may not hold. Which parameters are written so, and what the text means, is not known here.

use crate::ascii::{self, HIGH, VALUE};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Encoded text: a view that is known to be well formed.
//= RFC 3461 section 4: xtext is visible ASCII without "+" and "=", and "+" with two upper-case hexadecimal digits
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Xtext<'i>(&'i str);

impl<'i> Xtext<'i> {
    /// Reads encoded text; `None` if it is not well formed. It may be empty.
    #[must_use]
    pub fn parse(text: &'i [u8]) -> Option<Self> {
        Self::check(text, VALUE)
    }

    /// The same where UTF-8 stands for itself.
    //= RFC 6533 section 3: in an SMTPUTF8 transaction an address in ORCPT may hold UTF-8 as it is
    #[must_use]
    pub fn parse_utf8(text: &'i [u8]) -> Option<Self> {
        Self::check(text, VALUE | HIGH)
    }

    /// What was read before, and kept as it was written.
    pub(crate) const fn known(text: &'i str) -> Self {
        Self(text)
    }

    fn check(text: &'i [u8], class: u8) -> Option<Self> {
        let mut rest = text;
        while let Some((&octet, behind)) = rest.split_first() {
            rest = match (octet, behind) {
                (b'+', [high, low, behind @ ..]) => {
                    digit(*high)?;
                    digit(*low)?;
                    behind
                }
                (b'+', _) => return None,
                _ if ascii::is(octet, class) => behind,
                _ => return None,
            };
        }
        core::str::from_utf8(text).ok().map(Self)
    }

    /// As it was written.
    #[must_use]
    pub const fn as_str(&self) -> &'i str {
        self.0
    }

    /// What it stands for: any octets at all.
    pub fn octets(&self) -> impl Iterator<Item = u8> + use<'i> {
        let mut rest = self.0.as_bytes();
        core::iter::from_fn(move || {
            let (&octet, behind) = rest.split_first()?;
            rest = behind;
            if let (b'+', [high, low, behind @ ..]) = (octet, behind) {
                rest = behind;
                let (high, low) = (digit(*high).unwrap_or(0), digit(*low).unwrap_or(0));
                return Some(high << 4 | low);
            }
            Some(octet)
        })
    }

    /// Appends what it stands for.
    pub fn decode(&self, out: &mut Vec<u8>) {
        out.extend(self.octets());
    }

    /// Is it empty?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the encoded form of any octets.
    pub fn encode(octets: &[u8], out: &mut Vec<u8>) {
        encode(octets, |octet| out.push(octet));
    }

    /// The same into a text, of which [`Xtext::parse`] makes a view.
    pub fn encode_str(octets: &[u8], out: &mut String) {
        encode(octets, |octet| out.push(char::from(octet)));
    }
}

/// Whatever it is given, it gives ASCII.
fn encode(octets: &[u8], mut put: impl FnMut(u8)) {
    for &octet in octets {
        if ascii::is(octet, VALUE) && octet != b'+' {
            put(octet);
        } else {
            put(b'+');
            put(hex(octet >> 4));
            put(hex(octet & 15));
        }
    }
}

const fn hex(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'A' + nibble - 10,
    }
}

const fn digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Xtext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Xtext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn well_formed_or_not() {
        for text in ["", "a", "a+2Bb", "+00", "x@y.example"] {
            assert!(Xtext::parse(text.as_bytes()).is_some(), "{text}");
        }
        for text in ["+", "+2", "+2b", "a=b", "a b", "+GG", "\x7f", "ü"] {
            assert!(Xtext::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Xtext::parse_utf8("ü".as_bytes()).is_some());
        assert!(Xtext::parse_utf8(b"\xff").is_none());
    }

    proptest! {
        #[test]
        fn there_and_back(octets in proptest::collection::vec(any::<u8>(), 0..50)) {
            let (mut encoded, mut back) = (Vec::new(), Vec::new());
            Xtext::encode(&octets, &mut encoded);
            Xtext::parse(&encoded).unwrap().decode(&mut back);
            prop_assert_eq!(octets, back);
        }
    }
}
