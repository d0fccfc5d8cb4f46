//! Domain names as this crate keeps them: checked, ASCII, lower case, no final dot. Pure.
//!
//! The wire may carry any bytes in a label. What is not a name of letters, digits, hyphens and
//! underscores never gets past this file, so the rest needs no escaping.

use hickory_proto::rr::Name as WireName;
use std::fmt;
use std::rc::Rc;

/// The longest name in its written form, without the final dot.
pub const NAME_LEN_MAX: usize = 253;
/// The longest label.
pub const LABEL_LEN_MAX: usize = 63;

/// A checked domain name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(Rc<str>);

impl Name {
    /// Takes the written form, with or without its final dot; U-labels become A-labels.
    /// The root is not a name here, see [`Name::root`].
    pub fn parse(text: &str) -> Option<Self> {
        if !text.is_ascii() {
            // Three octets and more of UTF-8 stand for at least one of the A-label, so a text longer
            // than this can never fit.
            if text.len() > 4 * NAME_LEN_MAX {
                return None;
            }
            return Self::from_wire(&WireName::from_utf8(text).ok()?)
                .filter(|name| !name.is_root());
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        //= RFC 1035 section 2.3.4: names have at most 255 octets on the wire, labels at most 63
        if text.is_empty() || text.len() > NAME_LEN_MAX {
            return None;
        }
        text.split('.')
            .all(is_label)
            .then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The root: in an MX record it says that there is no mail host.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The name without a final dot; the root is the empty string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name asked for to find the name of an address.
    pub fn reverse(address: std::net::IpAddr) -> Self {
        let text = match address {
            //= RFC 1035 section 3.5: the octets in reverse order below IN-ADDR.ARPA
            std::net::IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            //= RFC 3596 section 2.5: the nibbles in reverse order below IP6.ARPA
            std::net::IpAddr::V6(address) => {
                let mut text = String::with_capacity(72);
                for octet in address.octets().iter().rev() {
                    for nibble in [octet & 15, octet >> 4] {
                        text.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
                        text.push('.');
                    }
                }
                text + "ip6.arpa"
            }
        };
        Self(text.into())
    }

    pub(super) fn from_wire(name: &WireName) -> Option<Self> {
        let mut text = String::with_capacity(name.len());
        for label in name.iter() {
            let label = std::str::from_utf8(label)
                .ok()
                .filter(|label| is_label(label))?;
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(label);
        }
        text.make_ascii_lowercase();
        (text.len() <= NAME_LEN_MAX).then(|| Self(text.into()))
    }

    pub(super) fn to_wire(&self) -> WireName {
        let labels = self
            .0
            .split('.')
            .filter(|label| !label.is_empty())
            .map(str::as_bytes);
        // Cannot fail: `parse` and `from_wire` have checked both limits.
        WireName::from_labels(labels).expect("a checked name fits the wire")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

fn is_label(label: &str) -> bool {
    //= RFC 1123 section 2.1: letters, digits and hyphens. Besides, names in use have
    //= RFC 8552 section 1.1: underscores, and delegated reverse zones have
    //= RFC 2317 section 4: slashes
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
    (1..=LABEL_LEN_MAX).contains(&label.len()) && label.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_as_typed() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        let cases: &[(&str, Option<&str>)] = &[
            ("example.com", Some("example.com")),
            ("EXAMPLE.Com.", Some("example.com")),
            ("_dmarc.example.com", Some("_dmarc.example.com")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("BÜCHER.example", Some("xn--bcher-kva.example")),
            ("192.0.2.1", Some("192.0.2.1")),
            (&longest, Some(&longest)),
            (&label, Some(&label)),
            (&format!("{label}a"), None),
            (&format!("{longest}a"), None),
            ("", None),
            (".", None),
            ("..", None),
            ("a..b", None),
            (".a", None),
            ("a b", None),
            ("a\\.b", None),
            ("a\0b", None),
            ("[192.0.2.1]", None),
            ("a@b", None),
            ("ü b.example", None),
        ];
        for (text, want) in cases {
            assert_eq!(
                Name::parse(text).as_ref().map(Name::as_str),
                *want,
                "{text:?}"
            );
        }
    }

    #[test]
    fn reverse_names() {
        let cases = [
            ("192.0.2.10", "10.2.0.192.in-addr.arpa"),
            (
                "2001:db8::567:89ab",
                "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            ),
        ];
        for (address, want) in cases {
            let name = Name::reverse(address.parse().unwrap());
            assert_eq!(name.as_str(), want);
            assert_eq!(Name::parse(want), Some(name));
        }
    }

    #[test]
    fn the_wire_and_back() {
        for text in ["a", "mx.example.com", "_25._tcp.a"] {
            let name = Name::parse(text).unwrap();
            assert_eq!(Name::from_wire(&name.to_wire()), Some(name));
        }
        assert_eq!(Name::from_wire(&WireName::root()), Some(Name::root()));
        let odd = WireName::from_labels([&b"mail host"[..], b"example"]).unwrap();
        assert_eq!(Name::from_wire(&odd), None);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_not_and_what_parses_fits(text in "\\PC{0,300}") {
            if let Some(name) = Name::parse(&text) {
                prop_assert_eq!(Name::from_wire(&name.to_wire()), Some(name.clone()));
                prop_assert_eq!(Name::parse(name.as_str()), Some(name));
            }
        }
    }
}
