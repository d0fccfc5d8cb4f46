//! When two addresses are the same, though they may be written in different ways. What is not here
//! is what only a host can know: that it ignores case, or what stands behind a plus sign.

use super::{Domain, Literal, Mailbox, local_part};
use core::hash::{Hash, Hasher};

impl PartialEq for Mailbox<'_> {
    /// Written alike, octet for octet.
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Mailbox<'_> {}

impl Hash for Mailbox<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Mailbox<'_> {
    /// Do both mean the same mailbox?
    ///
    /// Local-parts are compared as they are meant, without quotes but with their case; domains as
    /// [`Domain::same_domain`] does.
    //= RFC 5321 section 2.4: the case of a local-part matters, that of a domain does not
    #[must_use]
    pub fn same_mailbox(&self, other: &Mailbox<'_>) -> bool {
        let local_parts = (self.local_part(), other.local_part());
        (local_parts.0 == local_parts.1
            || local_part::chars(local_parts.0).eq(local_part::chars(local_parts.1)))
            && self.domain().same_domain(&other.domain())
    }
}

impl Domain<'_> {
    /// Do both mean the same domain?
    ///
    /// Names are compared without case, and with the feature `idna` an A-label is the same as its
    /// U-label; without it, names beyond ASCII are compared as they are written, but for the case of
    /// their ASCII letters. Literals are compared by their addresses.
    //= RFC 5321 section 2.4: the case of a domain does not matter
    #[must_use]
    pub fn same_domain(&self, other: &Domain<'_>) -> bool {
        match (self, other) {
            (Self::Name(one), Domain::Name(two)) => {
                one.eq_ignore_ascii_case(two) || same_in_ascii(self, other)
            }
            (Self::Literal(one), Domain::Literal(two)) => same_literal(one, two),
            _ => false,
        }
    }
}

//= RFC 6531 section 3.7.1: a U-label and its A-label name the same domain
fn same_in_ascii(one: &Domain<'_>, two: &Domain<'_>) -> bool {
    // Two names of ASCII alone have been compared already.
    if one.is_ascii() && two.is_ascii() {
        return false;
    }
    match (one.to_ascii(), two.to_ascii()) {
        (Ok(one), Ok(two)) => one == two,
        _ => false,
    }
}

fn same_literal(one: &Literal<'_>, two: &Literal<'_>) -> bool {
    match (one, two) {
        (
            Literal::General { tag, content },
            Literal::General {
                tag: other_tag,
                content: other_content,
            },
        ) => tag.eq_ignore_ascii_case(other_tag) && content == other_content,
        _ => one == two,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Charset;

    fn same(one: &str, two: &str) -> bool {
        let read = |text| Mailbox::try_from(text).unwrap();
        let (one, two) = (read(one), read(two));
        assert_eq!(one.same_mailbox(&two), two.same_mailbox(&one));
        assert!(one.same_mailbox(&one) && two.same_mailbox(&two));
        one.same_mailbox(&two)
    }

    #[test]
    fn the_same_written_otherwise() {
        for (one, two) in [
            ("a@b", "a@B"),
            ("a@b", "\"a\"@b"),
            ("\"a b\"@c", "\"a\\ b\"@c"),
            ("\"\\a\"@b", "a@b"),
            ("a@[IPv6:2001:db8::1]", "a@[ipv6:2001:DB8:0::1]"),
            ("a@[192.0.2.1]", "a@[192.0.2.001]"),
            ("a@[x-y:z]", "a@[X-Y:z]"),
            ("ü@b", "\"ü\"@B"),
            ("a@ü.Example", "a@ü.example"),
        ] {
            assert!(same(one, two), "{one} {two}");
        }
    }

    #[test]
    fn not_the_same() {
        for (one, two) in [
            ("a@b", "A@b"),
            ("a@b", "a@c"),
            ("a@b", "a@b.c"),
            ("\"a \"@b", "a@b"),
            ("\"\"@b", "\"\\\"\"@b"),
            ("a@[192.0.2.1]", "a@[192.0.2.2]"),
            ("a@[192.0.2.1]", "a@[IPv6:::ffff:192.0.2.1]"),
            ("a@[192.0.2.1]", "a@192.0.2.1"),
            ("a@[x:z]", "a@[x:Z]"),
            ("a@ü.example", "a@u.example"),
        ] {
            assert!(!same(one, two), "{one} {two}");
        }
    }

    #[test]
    fn equal_is_written_alike() {
        let read = |text: &'static str| Mailbox::parse(text.as_bytes(), Charset::Ascii).unwrap();
        assert_eq!(read("a@b"), read("a@b"));
        assert_ne!(read("a@b"), read("a@B"));
        assert_ne!(read("a@b"), read("\"a\"@b"));
    }
}
