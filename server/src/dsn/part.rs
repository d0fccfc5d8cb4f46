//! A body part: its header and the encoding it needs. What is not plain 7-bit text goes in base64, so that the report
//! passes any host whatever it reports about.

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes of input for a line of base64.
//= RFC 2045 section 6.8: lines of at most 76 characters
const BASE64_LINE_LEN: usize = 57;

/// Longest line that may stand as it is.
//= RFC 5321 section 4.5.3.1.6: a text line has 1000 octets with its CRLF
const LINE_LEN_MAX: usize = 998;

/// Whether `text` can stand as it is: ASCII without NUL, CRLF the only line end, no line too long.
//= RFC 2045 section 2.7: what 7bit data is
pub(super) fn is_seven_bit(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        // What stands behind the last LF ends with the text; every other line has to end with CR.
        let line = if lines.peek().is_some() {
            line.strip_suffix(b"\r")
        } else {
            Some(line)
        };
        let is_plain = |byte: &u8| byte.is_ascii() && !matches!(byte, 0 | b'\r');
        if !line.is_some_and(|line| line.len() <= LINE_LEN_MAX && line.iter().all(is_plain)) {
            return false;
        }
    }
    true
}

/// Appends the delimiter of a part and its header, then its body as it is or in base64.
pub(super) fn push_part(out: &mut Vec<u8>, boundary: &[u8], content_type: &[u8], body: &[u8]) {
    push_delimiter(out, boundary);
    out.extend_from_slice(b"\r\nContent-Type: ");
    out.extend_from_slice(content_type);
    if is_seven_bit(body) {
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
    } else {
        out.extend_from_slice(b"\r\nContent-Transfer-Encoding: base64\r\n\r\n");
        push_base64(out, body);
    }
}

/// Appends the delimiter after the last part.
pub(super) fn push_end(out: &mut Vec<u8>, boundary: &[u8]) {
    push_delimiter(out, boundary);
    out.extend_from_slice(b"--\r\n");
}

fn push_delimiter(out: &mut Vec<u8>, boundary: &[u8]) {
    //= RFC 2046 section 5.1.1: the line end before a delimiter belongs to the delimiter
    out.extend_from_slice(b"\r\n--");
    out.extend_from_slice(boundary);
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    for line in bytes.chunks(BASE64_LINE_LEN) {
        for three in line.chunks(3) {
            let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            let digit = |place: u32| BASE64[(bits >> (6 * place) & 63) as usize];
            let mut four = [digit(3), digit(2), digit(1), digit(0)];
            four[three.len() + 1..].fill(b'=');
            out.extend_from_slice(&four);
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base64(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_base64(&mut out, bytes);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn base64_of_known_texts() {
        //= RFC 4648 section 10: test vectors
        for (text, expected) in [
            ("", ""),
            ("f", "Zg==\r\n"),
            ("fo", "Zm8=\r\n"),
            ("foo", "Zm9v\r\n"),
            ("foob", "Zm9vYg==\r\n"),
            ("fooba", "Zm9vYmE=\r\n"),
            ("foobar", "Zm9vYmFy\r\n"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert!(base64(&[255; 200]).lines().all(|line| line.len() <= 76));
    }

    #[test]
    fn what_may_stand_as_it_is() {
        let (long, longer) = ("x".repeat(998), "x".repeat(999));
        for (text, expected) in [
            ("", true),
            ("a\r\nb\r\n", true),
            ("no end", true),
            ("a\nb", false),
            ("a\rb", false),
            ("a\r", false),
            ("a\r\r\n", false),
            ("a\0", false),
            ("é", false),
            (&long, true),
            (&longer, false),
            (&format!("{long}\r\n{long}\r\n"), true),
        ] {
            assert_eq!(is_seven_bit(text.as_bytes()), expected, "{text:?}");
        }
    }

    /// Bit by bit.
    fn naive_decode(text: &str) -> Vec<u8> {
        let digits = text
            .bytes()
            .filter_map(|byte| BASE64.iter().position(|digit| *digit == byte));
        let bits: Vec<bool> = digits
            .flat_map(|digit| (0..6).rev().map(move |place| digit >> place & 1 == 1))
            .collect();
        bits.chunks_exact(8)
            .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit)))
            .collect()
    }

    proptest! {
        #[test]
        fn base64_comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(naive_decode(&base64(&bytes)), bytes);
        }
    }
}
