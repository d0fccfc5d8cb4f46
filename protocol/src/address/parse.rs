//! The grammar of mailboxes, domains and paths, RFC 5321 section 4.1.2. It reads bytes as they
//! came and gives views of them; address literals have a file of their own.

use super::{Charset, Domain, ForwardPath, Mailbox, ReversePath, literal};
use crate::ascii::{self, ATEXT, HIGH, LET_DIG, QTEXT};
use crate::limits::{DOMAIN_LEN_MAX, LABEL_LEN_MAX, LOCAL_PART_LEN_MAX};

pub(super) fn whole_mailbox(text: &[u8], charset: Charset) -> Option<Mailbox<'_>> {
    let (mailbox, rest) = mailbox(text, charset, Lengths::Standard)?;
    rest.is_empty().then_some(mailbox)
}

pub(super) fn whole_domain(text: &[u8], charset: Charset) -> Option<Domain<'_>> {
    if text.first() == Some(&b'[') {
        let (literal, rest) = literal::parse(text)?;
        return rest.is_empty().then_some(Domain::Literal(literal));
    }
    if domain_len(text, charset)? != text.len() {
        return None;
    }
    Some(Domain::Name(core::str::from_utf8(text).ok()?))
}

/// How long the two parts of a mailbox may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lengths {
    //= RFC 5321 section 4.5.3.1: lengths of local-part and domain
    Standard,
    Any,
}

/// A reverse-path with its angle brackets, and what stands behind it.
pub(crate) fn reverse_path(text: &[u8], charset: Charset) -> Option<(ReversePath<'_>, &[u8])> {
    //= RFC 5321 section 4.1.1.2: the reverse-path may be null
    if let Some(rest) = text.strip_prefix(b"<>") {
        return Some((ReversePath::Null, rest));
    }
    let (mailbox, rest) = path(text, charset, Lengths::Standard)?;
    Some((ReversePath::Mailbox(mailbox), rest))
}

/// A forward-path with its angle brackets, and what stands behind it.
pub(crate) fn forward_path(text: &[u8], charset: Charset) -> Option<(ForwardPath<'_>, &[u8])> {
    //= RFC 5321 section 4.1.1.3: RCPT knows postmaster without a domain, in any case
    const POSTMASTER: &[u8] = b"<postmaster>";
    if let Some(rest) = ascii::strip_word(text, POSTMASTER) {
        let written = text.get(1..POSTMASTER.len() - 1)?;
        let written = core::str::from_utf8(written).ok()?;
        return Some((ForwardPath::Postmaster(written), rest));
    }
    let (mailbox, rest) = path(text, charset, Lengths::Standard)?;
    Some((ForwardPath::Mailbox(mailbox), rest))
}

/// `"<" [ source-route ":" ] mailbox ">"`
pub(super) fn path(
    text: &[u8],
    charset: Charset,
    lengths: Lengths,
) -> Option<(Mailbox<'_>, &[u8])> {
    let text = text.strip_prefix(b"<")?;
    let text = match text {
        [b'@', ..] => behind_source_route(text, charset)?,
        _ => text,
    };
    let (mailbox, rest) = mailbox(text, charset, lengths)?;
    Some((mailbox, rest.strip_prefix(b">")?))
}

//= RFC 5321 section 4.1.2: a source route must be understood, and should be ignored
fn behind_source_route(mut text: &[u8], charset: Charset) -> Option<&[u8]> {
    loop {
        let domain = text.strip_prefix(b"@")?;
        let rest = domain.get(domain_len(domain, charset)?..)?;
        match rest {
            [b',', rest @ ..] => text = rest,
            [b':', rest @ ..] => return Some(rest),
            _ => return None,
        }
    }
}

/// A mailbox at the front of `text`, and what stands behind it.
#[inline]
pub(super) fn mailbox(
    text: &[u8],
    charset: Charset,
    lengths: Lengths,
) -> Option<(Mailbox<'_>, &[u8])> {
    let at = match text {
        [b'"', ..] => quoted_string_len(text, charset)?,
        _ => dot_string_len(text, charset)?,
    };
    if at > LOCAL_PART_LEN_MAX && lengths == Lengths::Standard {
        return None;
    }
    let domain = text.get(at..)?.strip_prefix(b"@")?;
    let domain_len = match domain {
        [b'[', ..] => {
            let (_, rest) = literal::parse(domain)?;
            domain.len() - rest.len()
        }
        _ => name_len(domain, charset)?,
    };
    if domain_len > DOMAIN_LEN_MAX && lengths == Lengths::Standard {
        return None;
    }
    let (text, rest) = text.split_at_checked(at + 1 + domain_len)?;
    let text = core::str::from_utf8(text).ok()?;
    let at = u16::try_from(at).ok()?;
    Some((Mailbox { text, at }, rest))
}

/// Bytes above 127 are of this class where UTF-8 may stand; that they are UTF-8 is checked at the end.
//= RFC 6531 section 3.3: atext, qtextSMTP and sub-domain take UTF-8 as well
const fn high(charset: Charset) -> u8 {
    match charset {
        Charset::Ascii => 0,
        Charset::Utf8 => HIGH,
    }
}

/// `Atom *("." Atom)`
#[inline]
fn dot_string_len(text: &[u8], charset: Charset) -> Option<usize> {
    let class = ATEXT | high(charset);
    let mut len = 0;
    loop {
        let rest = text.get(len..)?;
        let atom = ascii::span(rest, class);
        if atom == 0 {
            return None;
        }
        len += atom;
        if rest.get(atom) != Some(&b'.') {
            return Some(len);
        }
        len += 1;
    }
}

/// `DQUOTE *( qtextSMTP / "\" printable ) DQUOTE`
fn quoted_string_len(text: &[u8], charset: Charset) -> Option<usize> {
    let class = QTEXT | high(charset);
    let mut len = 1;
    loop {
        let rest = text.get(len..)?;
        let plain = ascii::span(rest, class);
        len += plain;
        match rest.get(plain..)? {
            [b'"', ..] => return Some(len + 1),
            [b'\\', b' '..=b'~', ..] => len += 2,
            _ => return None,
        }
    }
}

/// `Domain`, within its length.
fn domain_len(text: &[u8], charset: Charset) -> Option<usize> {
    name_len(text, charset).filter(|&len| len <= DOMAIN_LEN_MAX)
}

/// `sub-domain *("." sub-domain)`, each with a letter or digit at both ends.
#[inline]
fn name_len(text: &[u8], charset: Charset) -> Option<usize> {
    let ends = LET_DIG | high(charset);
    let mut len = 0;
    let mut label_start = 0;
    loop {
        // Letters and digits, then perhaps hyphens, which must not be the label's end.
        let rest = text.get(len..)?;
        let run = ascii::span(rest, ends);
        if run == 0 {
            return None;
        }
        len += run;
        match rest.get(run) {
            Some(b'-') => {
                while text.get(len) == Some(&b'-') {
                    len += 1;
                }
            }
            next => {
                if len - label_start > LABEL_LEN_MAX && is_ascii(text, label_start, len) {
                    return None;
                }
                if next != Some(&b'.') {
                    return Some(len);
                }
                len += 1;
                label_start = len;
            }
        }
    }
}

/// Is this label of ASCII alone, so that its length here is its length in the DNS?
#[cold]
fn is_ascii(text: &[u8], label_start: usize, label_end: usize) -> bool {
    text.get(label_start..label_end)
        .is_some_and(<[u8]>::is_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Literal;
    use alloc::format;
    use alloc::string::{String, ToString};
    use proptest::prelude::*;

    fn accepts(text: &str) -> bool {
        Mailbox::parse(text.as_bytes(), Charset::Ascii).is_some()
    }

    #[test]
    fn mailboxes_that_are_right() {
        for text in [
            "a@b",
            "first.last@mx.example",
            "!#$%&'*+-/=?^_`{|}~@example.com",
            "\"\"@b",
            "\"a b\"@b",
            "\"a\\\"b\"@b",
            "\"a\\\\\"@b",
            "\"a@b\"@c",
            "\"<>,;:\"@b",
            "x@[192.0.2.1]",
            "x@[IPv6:2001:db8::1]",
            "x@[ipv6:::1]",
            "x@[IPv6:::ffff:192.0.2.1]",
            "x@[future:any!thing]",
            "x@a-b.c--d.9",
            "x@1.2.3.4",
            "x@xn--bcher-kva.example",
        ] {
            assert!(accepts(text), "{text}");
        }
    }

    #[test]
    fn mailboxes_that_are_wrong() {
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@b",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a b@c",
            "a@b c",
            "a@b@c",
            "a@-b",
            "a@b-",
            "a@b-.c",
            "a@.b",
            "a@b.",
            "a@b..c",
            "a@b_c",
            "\"a@b",
            "\"a\"b@c",
            "a\"b\"@c",
            "\"a\\",
            "\"a\\\"@b",
            "\"a\u{7f}\"@b",
            "\"a\t\"@b",
            "a@[",
            "a@[]",
            "a@[1.2.3]",
            "a@[1.2.3.256]",
            "a@[1.2.3.4.5]",
            "a@[1.2.3.4]x",
            "a@[1.2.3.4",
            "a@[::1]",
            "a@[IPv6:]",
            "a@[IPv6:::g]",
            "a@[IPv6:1:2:3:4:5:6:7:8:9]",
            "a@[-x:y]",
            "a@[x-:y]",
            "a@[x:]",
            "a@[x:a[b]",
            "a@[x:a b]",
            "a@[192.0.2.0001]",
            "(c)a@b",
            "a@b(c)",
            "<a@b>",
            "a,b@c",
            "a:b@c",
            "a;b@c",
            "a\0@b",
            "a@b\0",
            "a@b\r",
            "ü@b",
            "a@ü",
        ] {
            assert!(!accepts(text), "{text}");
        }
    }

    #[test]
    fn lengths_have_their_limits() {
        let local = "a".repeat(64);
        assert!(accepts(&format!("{local}@b")));
        assert!(!accepts(&format!("{local}a@b")));
        let label = "b".repeat(63);
        assert!(accepts(&format!("a@{label}")));
        assert!(!accepts(&format!("a@{label}b")));
        let domain = format!("{label}.{label}.{label}.{}", "b".repeat(63));
        assert_eq!(domain.len(), 255);
        assert!(accepts(&format!("a@{domain}")));
        let domain = format!("{label}.{label}.{label}.{}.b", "b".repeat(62));
        assert_eq!(domain.len(), 256);
        assert!(!accepts(&format!("a@{domain}")));
        let quoted = format!("\"{}\"", "q".repeat(62));
        assert!(accepts(&format!("{quoted}@b")));
        let quoted = format!("\"{}\"", "q".repeat(63));
        assert!(!accepts(&format!("{quoted}@b")));
        assert!(!accepts(&format!("a@[x:{}]", "y".repeat(300))));
    }

    #[test]
    fn utf8_where_it_may_stand() {
        for text in ["ü@b", "a@ü.example", "\"ü ü\"@b", "用户@例子.广告"] {
            assert!(
                Mailbox::parse(text.as_bytes(), Charset::Utf8).is_some(),
                "{text}"
            );
            assert!(
                Mailbox::parse(text.as_bytes(), Charset::Ascii).is_none(),
                "{text}"
            );
        }
        assert!(Mailbox::parse(b"\xff@b", Charset::Utf8).is_none());
        assert!(Mailbox::parse(b"a@\xc3", Charset::Utf8).is_none());
        assert!(Mailbox::parse("\"\\ü\"@b".as_bytes(), Charset::Utf8).is_none());
    }

    #[test]
    fn halves_are_where_they_belong() {
        let mailbox = Mailbox::parse(b"\"a@b\"@c.example", Charset::Ascii).unwrap();
        assert_eq!(mailbox.local_part(), "\"a@b\"");
        assert_eq!(mailbox.domain_str(), "c.example");
        assert_eq!(mailbox.domain(), Domain::Name("c.example"));
        let mailbox = Mailbox::parse(b"x@[192.0.2.1]", Charset::Ascii).unwrap();
        let literal = Literal::V4([192, 0, 2, 1].into());
        assert_eq!(mailbox.domain(), Domain::Literal(literal));
    }

    #[test]
    fn paths() {
        type Case = (&'static str, Option<(&'static str, &'static str)>);
        let cases: [Case; 14] = [
            ("<a@b>", Some(("a@b", ""))),
            ("<a@b> SIZE=1", Some(("a@b", " SIZE=1"))),
            ("<@c:a@b>", Some(("a@b", ""))),
            ("<@c,@d.e:a@b>x", Some(("a@b", "x"))),
            ("<POSTmaster>", Some(("POSTmaster", ""))),
            ("<postmaster@b>", Some(("postmaster@b", ""))),
            ("<>", None),
            ("a@b", None),
            ("<a@b", None),
            ("< a@b>", None),
            ("<@c a@b>", None),
            ("<@c,:a@b>", None),
            ("<@:a@b>", None),
            ("<@c:>", None),
        ];
        for (text, expected) in cases {
            let path = forward_path(text.as_bytes(), Charset::Ascii);
            let found = path.as_ref().map(|(path, rest)| (path.as_str(), *rest));
            let expected = expected.map(|(path, rest)| (path, rest.as_bytes()));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(
            reverse_path(b"<>x", Charset::Ascii),
            Some((ReversePath::Null, &b"x"[..]))
        );
        assert_eq!(reverse_path(b"<postmaster>", Charset::Ascii), None);
    }

    fn address() -> impl Strategy<Value = String> {
        let local = prop_oneof![
            "[a-z!#$%&'*+/=?^_`{|}~-]{1,8}(\\.[a-z0-9]{1,8}){0,3}",
            "\"([ !#-\\[\\]-~]|\\\\[ -~]){0,20}\"",
        ];
        let domain = prop_oneof![
            "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z0-9]{1,5}){0,3}",
            any::<[u8; 4]>().prop_map(|v4| Literal::V4(v4.into()).to_string()),
            any::<[u16; 8]>().prop_map(|v6| Literal::V6(v6.into()).to_string()),
            "\\[x-[a-z0-9]{1,5}:[!-Z^-~]{1,20}\\]",
        ];
        (local, domain).prop_map(|(local, domain)| format!("{local}@{domain}"))
    }

    /// The whole grammar once more, slowly: halves tried at every at sign.
    fn naive(text: &str) -> bool {
        fn atom(text: &str) -> bool {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
        }
        fn quoted(text: &str) -> bool {
            let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
                return false;
            };
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\\' => match chars.next() {
                        Some(' '..='~') => {}
                        _ => return false,
                    },
                    '"' => return false,
                    ' '..='~' => {}
                    _ => return false,
                }
            }
            text.len() >= 2
        }
        fn label(text: &str) -> bool {
            !text.is_empty()
                && text.len() <= 63
                && !text.starts_with('-')
                && !text.ends_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        }
        text.match_indices('@').any(|(at, _)| {
            let (local, domain) = (&text[..at], &text[at + 1..]);
            local.len() <= 64
                && domain.len() <= 255
                && (local.split('.').all(atom) || quoted(local))
                && domain.split('.').all(label)
        })
    }

    proptest! {
        #[test]
        fn there_and_back(text in address()) {
            let mailbox = Mailbox::parse(text.as_bytes(), Charset::Ascii).unwrap();
            prop_assert_eq!(mailbox.to_string(), text.clone());
            let domain = mailbox.domain().to_string();
            let again = format!("{}@{domain}", mailbox.local_part());
            let again = Mailbox::parse(again.as_bytes(), Charset::Ascii).unwrap();
            prop_assert_eq!(again.domain(), mailbox.domain());
            let owned = mailbox.to_owned();
            prop_assert_eq!(owned.as_mailbox(), mailbox);
        }

        #[test]
        fn same_as_naive(text in "[ab\"\\\\@.\\- _]{0,12}") {
            prop_assert_eq!(accepts(&text), naive(&text));
        }

        #[test]
        fn same_as_naive_near_the_grammar(text in address(), at in 0usize..40, with in "[\"@. -z]?") {
            let mut text = text;
            let at = at.min(text.len());
            if text.is_char_boundary(at) {
                text.insert_str(at, &with);
            }
            if !text.contains('[') {
                prop_assert_eq!(accepts(&text), naive(&text));
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for charset in [Charset::Ascii, Charset::Utf8] {
                let _ = Mailbox::parse(&bytes, charset);
                let _ = Domain::parse(&bytes, charset);
                let _ = forward_path(&bytes, charset);
                let _ = reverse_path(&bytes, charset);
            }
        }
    }
}
