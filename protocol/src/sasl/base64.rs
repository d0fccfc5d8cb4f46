//! Base64 as SASL's messages travel in SMTP: the one alphabet, padded, canonical. No line is ever
//! broken, and nothing that is not base64 is skipped. What the octets mean is not known here.

use alloc::vec::Vec;

/// Octets that `octet_count` octets have when encoded, their padding included.
#[must_use]
pub const fn encoded_len(octet_count: usize) -> usize {
    octet_count.div_ceil(3) * 4
}

/// Appends the encoded form of any octets.
//= RFC 4648 section 4: three octets become four of 64 characters, a rest is padded with "="
pub fn encode(octets: &[u8], out: &mut Vec<u8>) {
    out.reserve(encoded_len(octets.len()));
    let (groups, rest) = octets.as_chunks::<3>();
    for &[a, b, c] in groups {
        out.extend_from_slice(&[
            symbol(a >> 2),
            symbol(a << 4 | b >> 4),
            symbol(b << 2 | c >> 6),
            symbol(c),
        ]);
    }
    match *rest {
        [a] => out.extend_from_slice(&[symbol(a >> 2), symbol(a << 4), b'=', b'=']),
        [a, b] => out.extend_from_slice(&[
            symbol(a >> 2),
            symbol(a << 4 | b >> 4),
            symbol(b << 2),
            b'=',
        ]),
        _ => {}
    }
}

/// Appends what `text` stands for; false, and `out` is as it was, if `text` is not base64.
///
/// For every list of octets there is exactly one text that is taken, so that two who compare texts
/// and two who compare octets come to the same result.
//= RFC 4648 section 3.3: a text with a character outside of the alphabet is refused
//= RFC 4954 section 4: a line that is not base64 is refused, and "=" may only stand at its end
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let sound = decode_groups(text, out);
    if !sound {
        out.truncate(before);
    }
    sound
}

fn decode_groups(text: &[u8], out: &mut Vec<u8>) -> bool {
    let (groups, odd) = text.as_chunks::<4>();
    if !odd.is_empty() {
        return false;
    }
    let Some((last, groups)) = groups.split_last() else {
        return true;
    };
    out.reserve(text.len() / 4 * 3);
    for &[a, b, c, d] in groups {
        let (a, b, c, d) = (value(a), value(b), value(c), value(d));
        if (a | b | c | d) > 63 {
            return false;
        }
        out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
    }
    //= RFC 4648 section 3.5: the bits that padding leaves over have to be zero
    match *last {
        [a, b, b'=', b'='] => {
            let (a, b) = (value(a), value(b));
            out.push(a << 2 | b >> 4);
            (a | b) <= 63 && b & 0b1111 == 0
        }
        [a, b, c, b'='] => {
            let (a, b, c) = (value(a), value(b), value(c));
            out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2]);
            (a | b | c) <= 63 && c & 0b11 == 0
        }
        [a, b, c, d] => {
            let (a, b, c, d) = (value(a), value(b), value(c), value(d));
            out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
            (a | b | c | d) <= 63
        }
    }
}

/// The character for the low six bits.
const fn symbol(bits: u8) -> u8 {
    let bits = bits & 63;
    match bits {
        0..=25 => b'A' + bits,
        26..=51 => b'a' + bits - 26,
        52..=61 => b'0' + bits - 52,
        62 => b'+',
        _ => b'/',
    }
}

/// The six bits of a character; 255 if it is none of the 64.
const fn value(symbol: u8) -> u8 {
    match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 255,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn encoded(octets: &[u8]) -> String {
        let mut out = Vec::new();
        encode(octets, &mut out);
        assert_eq!(out.len(), encoded_len(octets.len()));
        String::from_utf8(out).unwrap()
    }

    fn decoded(text: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        let sound = decode(text, &mut out);
        let behind = out.strip_prefix(b"before").unwrap();
        assert!(sound || behind.is_empty());
        sound.then(|| behind.to_vec())
    }

    //= RFC 4648 section 10: the test vectors
    #[test]
    fn vectors() {
        for (octets, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encoded(octets.as_bytes()), text);
            assert_eq!(decoded(text.as_bytes()).as_deref(), Some(octets.as_bytes()));
        }
    }

    #[test]
    fn refused() {
        for text in [
            "=", "==", "====", "A", "AA", "AAA", "AA=", "A===", "=AAA", "A=AA", "AA=A", "AA==AAAA",
            "AAA=AAAA", "AB==", "AAB=", "AA==\n", "AAAA\r\n", " AAAA", "AA A", "AA-A", "AA_A",
            "AAAA=", "AAAA====", "A\0AA", "AA\u{e4}", "*",
        ] {
            assert_eq!(decoded(text.as_bytes()), None, "{text:?}");
        }
    }

    /// One bit after the other, and the reverse by trying: slow, and without a thought in common.
    mod naive {
        use super::*;

        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

        pub(super) fn encode(octets: &[u8]) -> Vec<u8> {
            let mut bits: Vec<bool> = octets
                .iter()
                .flat_map(|octet| (0..8).rev().map(move |at| octet >> at & 1 == 1))
                .collect();
            while !bits.len().is_multiple_of(6) {
                bits.push(false);
            }
            let mut text: Vec<u8> = bits
                .chunks(6)
                .map(|six| ALPHABET[six.iter().fold(0, |sum, bit| sum * 2 + usize::from(*bit))])
                .collect();
            while !text.len().is_multiple_of(4) {
                text.push(b'=');
            }
            text
        }

        /// The octets whose encoding is `text`, if there are any.
        pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
            let symbols = text.iter().take_while(|symbol| **symbol != b'=');
            let bits: Vec<bool> = symbols
                .map(|symbol| ALPHABET.iter().position(|known| known == symbol))
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .flat_map(|value| (0..6).rev().map(move |at| value >> at & 1 == 1))
                .collect();
            let octets: Vec<u8> = bits
                .chunks_exact(8)
                .map(|eight| eight.iter().fold(0, |sum, bit| sum * 2 + u8::from(*bit)))
                .collect();
            (encode(&octets) == text).then_some(octets)
        }
    }

    proptest! {
        #[test]
        fn same_as_naive(octets in proptest::collection::vec(any::<u8>(), 0..70)) {
            let text = encoded(&octets);
            prop_assert_eq!(text.as_bytes(), naive::encode(&octets));
            prop_assert_eq!(decoded(text.as_bytes()), Some(octets));
        }

        #[test]
        fn takes_what_naive_takes(text in "[A-Da-d0-3+/]{0,9}={0,3}[A-D=\\-\u{e4} ]{0,2}") {
            prop_assert_eq!(decoded(text.as_bytes()), naive::decode(text.as_bytes()));
        }

        #[test]
        fn any_octets(text in proptest::collection::vec(any::<u8>(), 0..9)) {
            prop_assert_eq!(decoded(&text), naive::decode(&text));
        }
    }
}
