//! What a sender asks of delivery status notifications, RFC 3461 section 4. Who sends one, and what it
//! says, is not known here.

use crate::ascii::{self, ATEXT};
use crate::xtext::Xtext;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

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
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
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

    /// The same wishes and `other`: `Notify::SUCCESS.with(Notify::DELAY)`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
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

/// The value of the parameter, as it is written.
impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_never() {
            return f.write_str("NEVER");
        }
        let wanted = Self::WORDS.iter().filter(|(_, each)| self.has(*each));
        for (index, (word, _)) in wanted.enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notify({self})")
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

    /// Is it of the type `utf-8`, of RFC 6533 section 3?
    #[must_use]
    pub const fn is_utf8(&self) -> bool {
        self.address_type.eq_ignore_ascii_case("utf-8")
    }

    /// Writes an address into `text`, of which the result is a view: as `rfc822` where it is ASCII,
    /// and as `utf-8` otherwise. `utf8` says whether the server offers SMTPUTF8; another one gets ASCII
    /// alone. `None` for control characters, which no report may hold.
    #[must_use]
    pub fn encode(address: &str, utf8: bool, text: &'i mut String) -> Option<Self> {
        text.clear();
        if address.is_ascii() {
            Xtext::encode_str(address.as_bytes(), text);
            return Self::new("rfc822", Xtext::parse(text.as_bytes())?);
        }
        for c in address.chars() {
            //= RFC 6533 section 3: what xtext would encode, and the backslash, is written as \x{HEXPOINT}
            let stands = match c {
                '\\' | '+' | '=' => false,
                c if c.is_control() => return None,
                c => c.is_ascii_graphic() || (utf8 && !c.is_ascii()),
            };
            if stands {
                text.push(c);
            } else {
                // Writing into a text cannot fail.
                let _ = write!(text, "\\x{{{:02X}}}", u32::from(c));
            }
        }
        Self::new("utf-8", Xtext::parse_utf8(text.as_bytes())?)
    }

    /// Appends the address as it was before it was encoded. Whatever stands for a control character, or
    /// for nothing, is left as it was written.
    pub fn decode(&self, out: &mut String) {
        let octets: Vec<u8> = self.address.octets().collect();
        let text = core::str::from_utf8(&octets).unwrap_or(self.address.as_str());
        if !self.is_utf8() {
            out.push_str(text);
            return;
        }
        let mut rest = text;
        while let Some(at) = rest.find("\\x{") {
            let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, ""));
            out.push_str(plain);
            rest = match hex_point(escape) {
                Some((c, behind)) => {
                    out.push(c);
                    behind
                }
                None => {
                    out.push('\\');
                    escape.get(1..).unwrap_or_default()
                }
            };
        }
        out.push_str(rest);
    }
}

/// The character that `\x{HEXPOINT}` at the front of `text` stands for, and what is behind it.
//= RFC 6533 section 3: HEXPOINT is two to six hexadecimal digits, in capitals
fn hex_point(text: &str) -> Option<(char, &str)> {
    let (digits, behind) = text.strip_prefix("\\x{")?.split_once('}')?;
    let is_hex = |octet: u8| matches!(octet, b'0'..=b'9' | b'A'..=b'F');
    if !(2..=6).contains(&digits.len()) || !digits.bytes().all(is_hex) {
        return None;
    }
    let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    (!c.is_control()).then_some((c, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn wishes_are_shown_as_they_are_written() {
        assert_eq!(Notify::NEVER.to_string(), "NEVER");
        let two = Notify::DELAY.with(Notify::SUCCESS);
        assert_eq!(two.to_string(), "SUCCESS,DELAY");
    }

    #[test]
    fn addresses_are_encoded_for_their_server() {
        for (address, utf8, kind, expected) in [
            ("x@a.example", true, "rfc822", "x@a.example"),
            ("x+y=z@a", false, "rfc822", "x+2By+3Dz@a"),
            ("\"x y\"@a", false, "rfc822", "\"x+20y\"@a"),
            ("ü@a", true, "utf-8", "ü@a"),
            ("ü@a", false, "utf-8", "\\x{FC}@a"),
            ("ü+€@a", false, "utf-8", "\\x{FC}\\x{2B}\\x{20AC}@a"),
            (
                "\"ü \\\\\"@a",
                true,
                "utf-8",
                "\"ü\\x{20}\\x{5C}\\x{5C}\"@a",
            ),
        ] {
            let mut text = String::new();
            let found = OriginalRecipient::encode(address, utf8, &mut text).unwrap();
            assert_eq!(found.address_type(), kind, "{address}");
            assert_eq!(found.address().as_str(), expected, "{address}");
        }
        assert!(OriginalRecipient::encode("a\n@b", true, &mut String::new()).is_none());
        assert!(OriginalRecipient::encode("ü\n@b", true, &mut String::new()).is_none());
    }

    #[test]
    fn what_stands_for_nothing_is_left() {
        for (written, expected) in [
            ("\\x{FC}@a", "ü@a"),
            ("\\x{0A}@a", "\\x{0A}@a"),
            ("\\x{D800}", "\\x{D800}"),
            ("\\x{fc}", "\\x{fc}"),
            ("\\x{C}", "\\x{C}"),
            ("\\x{1000000}", "\\x{1000000}"),
            ("\\x{", "\\x{"),
            ("\\x{\\x{41}", "\\x{A"),
            ("+C3+BC", "ü"),
            ("+FF", "+FF"),
        ] {
            let address = Xtext::parse(written.as_bytes()).unwrap();
            let original = OriginalRecipient::new("utf-8", address).unwrap();
            let mut decoded = String::new();
            original.decode(&mut decoded);
            assert_eq!(decoded, expected, "{written}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(address in "[^\\p{Cc}]{0,20}|[a-zü+=\\\\{}x@ ]{0,20}", utf8: bool) {
            let (mut text, mut decoded) = (String::new(), String::new());
            let original = OriginalRecipient::encode(&address, utf8, &mut text).unwrap();
            prop_assert!(utf8 || original.address().as_str().is_ascii());
            original.decode(&mut decoded);
            prop_assert_eq!(decoded, address);
        }
    }
}
