//! The part before the at sign, without its quotes and with them. Whose mailbox it is, only its
//! host knows.

use super::Mailbox;
use crate::ascii::{self, ATEXT, HIGH};
use alloc::borrow::Cow;
use alloc::string::String;

impl<'a> Mailbox<'a> {
    /// The part before the at sign as it is meant: without the quotes and backslashes that only its
    /// writing needs. Borrowed unless there is a backslash.
    #[must_use]
    pub fn local_part_unquoted(&self) -> Cow<'a, str> {
        let written = self.local_part();
        let Some(inner) = inner(written) else {
            return Cow::Borrowed(written);
        };
        if !inner.contains('\\') {
            return Cow::Borrowed(inner);
        }
        let mut text = String::with_capacity(inner.len());
        text.extend(chars(written));
        Cow::Owned(text)
    }
}

/// What stands between the quotes, if it is quoted.
fn inner(written: &str) -> Option<&str> {
    written.strip_prefix('"')?.strip_suffix('"')
}

/// The characters that a local-part means.
//= RFC 5321 section 4.1.2: a quoted string and its unquoted form are the same, and so is a quoted pair
pub(super) fn chars(written: &str) -> impl Iterator<Item = char> {
    let quoted = inner(written);
    let mut chars = quoted.unwrap_or(written).chars();
    core::iter::from_fn(move || match chars.next()? {
        '\\' if quoted.is_some() => chars.next(),
        char => Some(char),
    })
}

/// Appends a local-part as it must be written: quoted only where it has to be.
//= RFC 5321 section 4.1.2: the quoted form is used only where it is needed
pub(super) fn push_quoted(out: &mut String, meant: impl Iterator<Item = char> + Clone) {
    let mut behind_dot = true;
    let is_dot_string = meant.clone().all(|char| {
        let is_dot = char == '.';
        let fits = !is_dot || !behind_dot;
        behind_dot = is_dot;
        fits && (is_dot || !char.is_ascii() || ascii::is(char as u8, ATEXT | HIGH))
    }) && !behind_dot;
    if is_dot_string {
        out.extend(meant);
        return;
    }
    out.push('"');
    for char in meant {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Charset;

    fn meant(text: &str) -> Cow<'_, str> {
        let mailbox = Mailbox::parse(text.as_bytes(), Charset::Utf8).unwrap();
        mailbox.local_part_unquoted()
    }

    #[test]
    fn without_quotes() {
        for (text, expected, borrowed) in [
            ("a.b@c", "a.b", true),
            ("\"a.b\"@c", "a.b", true),
            ("\"a b\"@c", "a b", true),
            ("\"\"@c", "", true),
            ("\"a\\ b\"@c", "a b", false),
            ("\"\\\"\\\\\"@c", "\"\\", false),
            ("ü@c", "ü", true),
        ] {
            let found = meant(text);
            assert_eq!(found, expected, "{text}");
            assert_eq!(matches!(found, Cow::Borrowed(_)), borrowed, "{text}");
        }
    }

    #[test]
    fn quoted_only_where_it_must_be() {
        for (meant, written) in [
            ("a.b", "a.b"),
            ("ü", "ü"),
            ("", "\"\""),
            (".a", "\".a\""),
            ("a.", "\"a.\""),
            ("a..b", "\"a..b\""),
            ("a b", "\"a b\""),
            ("a@b", "\"a@b\""),
            ("a\"\\", "\"a\\\"\\\\\""),
        ] {
            let mut out = String::new();
            push_quoted(&mut out, meant.chars());
            assert_eq!(out, written);
        }
    }
}
