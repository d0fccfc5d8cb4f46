//! Preparing names and passwords so that what two keyboards write alike is alike: SASLprep.

use alloc::borrow::Cow;

/// A name or a password in the form in which two of them are compared, by SASLprep; `None` if it holds
/// what may not be in one, or nothing.
///
/// Printable ASCII is as it was. Anything else is normalised if the feature `saslprep` is on, and
/// refused if it is not.
//= RFC 4013 section 2: mapping, normalization form KC, prohibited output, bidirectional characters
//= RFC 5802 section 2.2: whoever does not implement SASLprep takes nothing but ASCII
#[must_use]
pub fn prepare(text: &str) -> Option<Cow<'_, str>> {
    if text.is_empty() {
        None
    } else if text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
        Some(Cow::Borrowed(text))
    } else {
        beyond_ascii(text)
    }
}

#[cfg(feature = "saslprep")]
fn beyond_ascii(text: &str) -> Option<Cow<'_, str>> {
    stringprep::saslprep(text)
        .ok()
        .filter(|prepared| !prepared.is_empty())
}

#[cfg(not(feature = "saslprep"))]
fn beyond_ascii(_: &str) -> Option<Cow<'_, str>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_is_as_it_was() {
        assert_eq!(prepare("user").as_deref(), Some("user"));
        assert_eq!(prepare("USER, = ~").as_deref(), Some("USER, = ~"));
        assert_eq!(prepare(""), None);
        assert_eq!(prepare("a\x07"), None);
        assert_eq!(prepare("a\x7f"), None);
    }

    //= RFC 4013 section 3: the examples
    #[cfg(feature = "saslprep")]
    #[test]
    fn examples() {
        assert_eq!(prepare("I\u{ad}X").as_deref(), Some("IX"));
        assert_eq!(prepare("\u{aa}").as_deref(), Some("a"));
        assert_eq!(prepare("\u{2168}").as_deref(), Some("IX"));
        assert_eq!(prepare("\u{627}\u{31}"), None);
        assert_eq!(prepare("\u{ad}"), None);
    }

    #[cfg(not(feature = "saslprep"))]
    #[test]
    fn refused_beyond_ascii() {
        assert_eq!(prepare("\u{e4}"), None);
    }
}
