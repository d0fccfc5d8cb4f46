//! Paths that break the standard in ways that some servers choose to bear: without angle brackets,
//! or with parts that are too long. Asked only where the strict grammar has refused; what is
//! borne is the caller's choice.

use super::parse::{self, Lengths};
use super::{Charset, ForwardPath, Mailbox, ReversePath};
use crate::ascii;

/// What is borne.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Latitude {
    /// A path without its angle brackets, up to the next space; a source route is not read then.
    pub(crate) missing_brackets: bool,
    /// A local-part or a domain of any length.
    pub(crate) any_length: bool,
}

/// A reverse-path, and what stands behind it. A path of no octets is not the null one.
#[cold]
pub(crate) fn reverse_path(
    text: &[u8],
    charset: Charset,
    latitude: Latitude,
) -> Option<(ReversePath<'_>, &[u8])> {
    let (mailbox, rest) = mailbox(text, charset, latitude)?;
    Some((ReversePath::Mailbox(mailbox), rest))
}

/// A forward-path, and what stands behind it.
#[cold]
pub(crate) fn forward_path(
    text: &[u8],
    charset: Charset,
    latitude: Latitude,
) -> Option<(ForwardPath<'_>, &[u8])> {
    const POSTMASTER: &[u8] = b"postmaster";
    if let Some((mailbox, rest)) = mailbox(text, charset, latitude) {
        return Some((ForwardPath::Mailbox(mailbox), rest));
    }
    if !latitude.missing_brackets {
        return None;
    }
    let rest = ascii::strip_word(text, POSTMASTER).filter(|rest| ends_word(rest))?;
    let written = core::str::from_utf8(text.get(..POSTMASTER.len())?).ok()?;
    Some((ForwardPath::Postmaster(written), rest))
}

fn mailbox(text: &[u8], charset: Charset, latitude: Latitude) -> Option<(Mailbox<'_>, &[u8])> {
    let lengths = if latitude.any_length {
        Lengths::Any
    } else {
        Lengths::Standard
    };
    if text.first() == Some(&b'<') {
        return parse::path(text, charset, lengths);
    }
    if !latitude.missing_brackets {
        return None;
    }
    parse::mailbox(text, charset, lengths).filter(|(_, rest)| ends_word(rest))
}

/// Does a path without brackets end here?
fn ends_word(rest: &[u8]) -> bool {
    matches!(rest, [] | [b' ', ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn read(text: &str, missing_brackets: bool, any_length: bool) -> Option<(&str, &[u8])> {
        let latitude = Latitude {
            missing_brackets,
            any_length,
        };
        forward_path(text.as_bytes(), Charset::Ascii, latitude)
            .map(|(path, rest)| (path.as_str(), rest))
    }

    #[test]
    fn without_brackets() {
        for (text, expected) in [
            ("a@b", Some(("a@b", &b""[..]))),
            ("a@b SIZE=1", Some(("a@b", b" SIZE=1"))),
            ("Postmaster", Some(("Postmaster", b""))),
            ("postmaster@b", Some(("postmaster@b", b""))),
            ("\"a b\"@c x", Some(("\"a b\"@c", b" x"))),
            ("a@b>", None),
            ("<a@b", None),
            ("a@b,c@d", None),
            ("postmasters", None),
            ("", None),
            ("@c:a@b", None),
        ] {
            assert_eq!(read(text, true, false), expected, "{text}");
            assert_eq!(read(text, false, true), None, "{text}");
        }
    }

    #[test]
    fn of_any_length() {
        let label = "b".repeat(63);
        let domain = [&label[..]; 5].join(".");
        for mailbox in [
            format!("{}@b", "a".repeat(65)),
            format!("\"{}\"@b", "a".repeat(65)),
            format!("a@{domain}"),
        ] {
            let path = format!("<{mailbox}>");
            assert_eq!(read(&path, false, true), Some((&mailbox[..], &b""[..])));
            assert_eq!(read(&path, true, false), None, "{path}");
        }
        // A label has the DNS's limit, whatever is borne.
        assert_eq!(read(&format!("<a@{label}b>"), false, true), None);
    }
}
