//! Decimal numbers pushed as bytes, without formatting machinery.

/// Appends `number` in decimal.
pub fn push_u64(out: &mut Vec<u8>, number: u64) {
    push_padded(out, number, 1);
}

/// Appends `number` in decimal, with leading zeros up to `width` digits.
pub fn push_padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    const DIGIT_COUNT_MAX: usize = 20; // u64::MAX has 20 digits
    let mut digits = [b'0'; DIGIT_COUNT_MAX];
    let mut at = DIGIT_COUNT_MAX;
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let start = at.min(DIGIT_COUNT_MAX - width.min(DIGIT_COUNT_MAX));
    out.extend_from_slice(&digits[start..]);
}

/// The number that `text` spells: digits only, at least one, no overflow.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges() {
        for (number, width, text) in [
            (0, 1, "0"),
            (0, 0, ""),
            (7, 3, "007"),
            (1234, 3, "1234"),
            (u64::MAX, 1, "18446744073709551615"),
            (1, 99, "00000000000000000001"),
        ] {
            let mut out = Vec::new();
            push_padded(&mut out, number, width);
            assert_eq!(out, text.as_bytes(), "{number} in {width}");
        }
        for text in ["", " 1", "-1", "1a", "18446744073709551616"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn same_as_format(number: u64) {
            let mut out = Vec::new();
            push_u64(&mut out, number);
            prop_assert_eq!(&out, &number.to_string().into_bytes());
            prop_assert_eq!(parse_u64(&out), Some(number));
        }
    }
}
