//! Classes of characters that the grammars share, words compared without case, and numbers in
//! decimal. No grammar rule lives here.

use alloc::vec::Vec;

/// ALPHA / DIGIT
pub(crate) const LET_DIG: u8 = 1;
//= RFC 5322 section 3.2.3: atext, what an atom may hold
pub(crate) const ATEXT: u8 = 2;
//= RFC 5321 section 4.1.2: qtextSMTP, what a quoted string may hold without a backslash
pub(crate) const QTEXT: u8 = 4;
//= RFC 5321 section 4.1.3: dcontent, what a general address literal may hold
pub(crate) const DCONTENT: u8 = 8;
//= RFC 5321 section 4.1.2: esmtp-value, visible ASCII but no equals sign
pub(crate) const VALUE: u8 = 16;
/// A control character: it has no place in a command line or in a reply's text.
pub(crate) const CONTROL: u8 = 32;
/// Beyond ASCII.
pub(crate) const HIGH: u8 = 64;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut rest: &mut [u8] = &mut classes;
    let mut byte = 0u8;
    while let [class, tail @ ..] = rest {
        *class = class_of(byte);
        rest = tail;
        byte = byte.wrapping_add(1);
    }
    classes
}

const fn class_of(byte: u8) -> u8 {
    let mut class = 0;
    if byte.is_ascii_alphanumeric() {
        class |= LET_DIG | ATEXT;
    }
    if matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'/'
            | b'='
            | b'?'
            | b'^'
            | b'_'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | b'~'
    ) {
        class |= ATEXT;
    }
    if matches!(byte, 32..=33 | 35..=91 | 93..=126) {
        class |= QTEXT;
    }
    if matches!(byte, 33..=90 | 94..=126) {
        class |= DCONTENT;
    }
    if matches!(byte, 33..=60 | 62..=126) {
        class |= VALUE;
    }
    if byte.is_ascii_control() {
        class |= CONTROL;
    }
    if !byte.is_ascii() {
        class |= HIGH;
    }
    class
}

/// Is `byte` in one of these classes?
#[inline]
pub(crate) fn is(byte: u8, classes: u8) -> bool {
    CLASSES
        .get(usize::from(byte))
        .is_some_and(|class| class & classes != 0)
}

/// The same octet eight times, and the highest bit of each.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// Is the highest bit of an octet set in what `of` makes of eight octets? The last eight may be
/// looked at twice; `None` if there are fewer than eight.
#[inline(always)]
fn any_word(text: &[u8], of: impl Fn(u64) -> u64) -> Option<bool> {
    let last = u64::from_le_bytes(*text.last_chunk()?);
    let (words, _) = text.as_chunks();
    let mut found = of(last);
    for &word in words {
        found |= of(u64::from_le_bytes(word));
    }
    Some(found & HIGHS != 0)
}

/// Is there a control character other than a tab?
#[inline]
pub(crate) fn has_control(text: &[u8]) -> bool {
    // A borrow leaves an octet only where one is found, so that the whole is exact.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let found = any_word(text, |word| {
        word.wrapping_sub(ONES * 32) & !word | zeros(word ^ (ONES * 127))
    });
    found != Some(false) && has_control_but_tab(text)
}

/// The same octet by octet, for few of them, and for those that may be tabs.
fn has_control_but_tab(text: &[u8]) -> bool {
    text.iter()
        .any(|&byte| byte.is_ascii_control() && byte != b'\t')
}

/// Is all of it visible ASCII and spaces?
#[inline]
pub(crate) fn is_printable(text: &[u8]) -> bool {
    // Below a space, beyond ASCII, or DEL.
    let found = any_word(text, |word| {
        word.wrapping_sub(ONES * 32) | word | word.wrapping_add(ONES)
    });
    match found {
        Some(found) => !found,
        None => is_printable_octets(text),
    }
}

/// The same octet by octet.
fn is_printable_octets(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// How many bytes at the front are in one of these classes?
#[inline]
pub(crate) fn span(text: &[u8], classes: u8) -> usize {
    text.iter()
        .position(|&byte| !is(byte, classes))
        .unwrap_or(text.len())
}

/// Takes `word` off the front of `text`, whatever its case.
pub(crate) fn strip_word<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}

/// Appends `number` in decimal, without the formatting machinery.
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut len = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        len += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - len..).unwrap_or_default());
}

/// Reads a decimal number of 1 to 20 digits and nothing else; what is beyond 64 bits counts as the
/// largest number.
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then(|| number.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_there_and_back() {
        for number in [0, 7, 10, 255, 65_536, 1_234_567_890_123, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, number);
            assert_eq!(parse_decimal(&out), Some(number));
        }
    }

    #[test]
    fn decimal_is_digits_alone() {
        for wrong in ["", "-1", "+1", " 1", "1 ", "0x1", "123456789012345678901"] {
            assert_eq!(parse_decimal(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse_decimal(b"99999999999999999999"), Some(u64::MAX));
    }

    #[test]
    fn every_byte_has_its_classes() {
        for byte in 0..=u8::MAX {
            assert_eq!(is(byte, HIGH), byte > 127);
            assert_eq!(is(byte, CONTROL), byte < 32 || byte == 127);
            assert_eq!(is(byte, LET_DIG), byte.is_ascii_alphanumeric());
            assert_eq!(is_printable(&[byte]), !is(byte, HIGH | CONTROL));
            assert_eq!(has_control(&[byte]), is(byte, CONTROL) && byte != b'\t');
        }
    }

    #[test]
    fn each_byte_in_each_place_of_a_word() {
        for byte in 0..=u8::MAX {
            for place in 0..11 {
                for filler in [b'a', b' ', b'~', b'\t', 0x80, 0xff] {
                    let mut text = [filler; 11];
                    text[place] = byte;
                    assert_eq!(has_control(&text), has_control_but_tab(&text), "{text:?}");
                    assert_eq!(is_printable(&text), is_printable_octets(&text), "{text:?}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn words_as_octets(text: Vec<u8>) {
            proptest::prop_assert_eq!(has_control(&text), has_control_but_tab(&text));
            proptest::prop_assert_eq!(is_printable(&text), is_printable_octets(&text));
        }
    }
}
