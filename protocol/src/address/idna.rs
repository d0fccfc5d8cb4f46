//! Domains beyond ASCII, and the ASCII form that the DNS knows them by. The tables are the crate
//! `idna`'s, behind the feature of that name; without it, a name beyond ASCII has no such form.

use super::{Domain, Literal, Mailbox, OwnedMailbox, local_part};
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use core::fmt;

/// A domain that has no form in ASCII: it breaks the rules for such names, or the feature `idna` is
/// off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoAsciiForm;

impl fmt::Display for NoAsciiForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if cfg!(feature = "idna") {
            "the domain has no form in ASCII"
        } else {
            "the domain is not ASCII, and the feature `idna` is off"
        })
    }
}

impl core::error::Error for NoAsciiForm {}

impl<'a> Domain<'a> {
    /// The domain as the DNS knows it: U-labels turned into A-labels (UTS 46, not transitional),
    /// letters in lower case. Two names are the same domain if these are equal, so it is fit for a key.
    /// Borrowed where nothing has to change. A literal is written in its usual form.
    ///
    /// A name of ASCII alone is taken as it is, whatever its labels may say.
    ///
    /// ```
    /// # #[cfg(feature = "idna")] {
    /// use mailrail_protocol::address::Domain;
    ///
    /// let domain = Domain::Name("Bücher.example");
    /// assert_eq!(domain.to_ascii().as_deref(), Ok("xn--bcher-kva.example"));
    /// assert_eq!(Domain::Name("xn--bcher-kva.example").to_unicode(), "bücher.example");
    /// # }
    /// ```
    ///
    /// # Errors
    /// For a name that breaks the rules, or is longer in ASCII than the DNS takes; and for each name
    /// beyond ASCII without the feature `idna`.
    //= RFC 6531 section 3.7.1: for the DNS, U-labels are turned into A-labels
    pub fn to_ascii(&self) -> Result<Cow<'a, str>, NoAsciiForm> {
        match self {
            Self::Name(name) if name.is_ascii() => Ok(lower(name)),
            Self::Name(name) => uts46::to_ascii(name),
            Self::Literal(literal) => Ok(Cow::Owned(usual(literal))),
        }
    }

    /// The domain for people to read: A-labels turned into U-labels, letters in lower case. A name
    /// with a label that cannot be turned stays as it is but for the case of its ASCII letters, as does
    /// every name without the feature `idna`.
    #[must_use]
    pub fn to_unicode(&self) -> Cow<'a, str> {
        match self {
            Self::Name(name) => uts46::to_unicode(name).unwrap_or_else(|| lower(name)),
            Self::Literal(literal) => Cow::Owned(usual(literal)),
        }
    }
}

impl Mailbox<'_> {
    /// The one form that all writings of this mailbox have in common: the local-part quoted only
    /// where it must be, the domain as [`Domain::to_ascii`] gives it. Two mailboxes are the same
    /// ([`Mailbox::same_mailbox`]) if these are equal, so it is fit for a key.
    ///
    /// ```
    /// use mailrail_protocol::address::Mailbox;
    ///
    /// let mailbox = Mailbox::try_from("\"first.last\"@MX.Example")?;
    /// assert_eq!(mailbox.canonical().expect("it is ASCII").as_str(), "first.last@mx.example");
    /// # Ok::<(), mailrail_protocol::address::Malformed>(())
    /// ```
    ///
    /// # Errors
    /// As [`Domain::to_ascii`]. A local-part beyond ASCII is no error, and stays as it is.
    pub fn canonical(&self) -> Result<OwnedMailbox, NoAsciiForm> {
        let domain = self.domain().to_ascii()?;
        let chars = local_part::chars(self.local_part()).collect::<String>();
        OwnedMailbox::from_parts(&chars, &domain).ok_or(NoAsciiForm)
    }
}

/// A literal as everybody would write it.
fn usual(literal: &Literal<'_>) -> String {
    match *literal {
        Literal::General { tag, content } => {
            let tag = &*tag.to_ascii_lowercase();
            Literal::General { tag, content }.to_string()
        }
        _ => literal.to_string(),
    }
}

/// With the letters of ASCII in lower case.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(feature = "idna")]
mod uts46 {
    use super::{Cow, NoAsciiForm};
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

    //= RFC 6531 section 3.3: a U-label is a sub-domain of letters, digits and hyphens, and of UTF-8
    pub(super) fn to_ascii(name: &str) -> Result<Cow<'_, str>, NoAsciiForm> {
        Uts46::new()
            .to_ascii(
                name.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .map_err(|_| NoAsciiForm)
    }

    pub(super) fn to_unicode(name: &str) -> Option<Cow<'_, str>> {
        let (text, outcome) = Uts46::new().to_unicode(
            name.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
        );
        outcome.ok().map(|()| text)
    }
}

#[cfg(not(feature = "idna"))]
mod uts46 {
    use super::{Cow, NoAsciiForm};

    pub(super) const fn to_ascii(_: &str) -> Result<Cow<'_, str>, NoAsciiForm> {
        Err(NoAsciiForm)
    }

    pub(super) const fn to_unicode(_: &str) -> Option<Cow<'_, str>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascii(name: &str) -> Result<Cow<'_, str>, NoAsciiForm> {
        Domain::Name(name).to_ascii()
    }

    #[test]
    fn ascii_is_lower_case_alone() {
        assert!(matches!(
            ascii("mx.example"),
            Ok(Cow::Borrowed("mx.example"))
        ));
        assert_eq!(ascii("MX.Example").as_deref(), Ok("mx.example"));
        assert_eq!(
            ascii("XN--99999999.example").as_deref(),
            Ok("xn--99999999.example")
        );
        let literal = Domain::try_from("[ipv6:2001:DB8:0::1]").unwrap();
        assert_eq!(literal.to_ascii().as_deref(), Ok("[IPv6:2001:db8::1]"));
        assert_eq!(literal.to_unicode(), "[IPv6:2001:db8::1]");
        assert_eq!(Domain::Name("MX.Example").to_unicode(), "mx.example");
    }

    #[test]
    fn a_form_in_common() {
        for (text, expected) in [
            ("a@B", "a@b"),
            ("\"a\"@b", "a@b"),
            ("\"a\\ b\"@b", "\"a b\"@b"),
            ("a@[ipv6:0:0:0:0:0:0:0:1]", "a@[IPv6:::1]"),
            ("a@[X-Y:Z]", "a@[x-y:Z]"),
        ] {
            let mailbox = Mailbox::try_from(text).unwrap();
            assert_eq!(mailbox.canonical().unwrap().as_str(), expected);
        }
    }

    #[cfg(not(feature = "idna"))]
    #[test]
    fn beyond_ascii_there_is_no_form() {
        assert_eq!(ascii("bücher.example"), Err(NoAsciiForm));
        assert_eq!(
            Domain::Name("xn--bcher-kva.Example").to_unicode(),
            "xn--bcher-kva.example"
        );
        assert_eq!(
            Domain::Name("Bücher.Example").to_unicode(),
            "bücher.example"
        );
    }

    #[cfg(feature = "idna")]
    #[test]
    fn labels_both_ways() {
        for (unicode, expected) in [
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("例子.广告", "xn--fsqu00a.xn--4rr70v"),
            ("faß.example", "xn--fa-hia.example"),
            ("a。ü", "a.xn--tda"),
        ] {
            assert_eq!(ascii(unicode).as_deref(), Ok(expected), "{unicode}");
        }
        let read = Domain::Name("XN--BCHER-KVA.example").to_unicode();
        assert_eq!(read, "bücher.example");
        assert_eq!(
            Domain::Name("Bücher.Example").to_unicode(),
            "bücher.example"
        );
        assert_eq!(
            Domain::Name("xn--99999999.Example").to_unicode(),
            "xn--99999999.example"
        );
        assert_eq!(Domain::Name("mx.example").to_unicode(), "mx.example");
    }

    #[cfg(feature = "idna")]
    #[test]
    fn names_that_break_the_rules() {
        let long = "ü".repeat(60);
        for name in [
            "ü..a",
            "-ü.a",
            "ü\u{200d}.a",
            "ü.xn--99999999",
            "\u{2024}ü",
            &long[..],
        ] {
            assert_eq!(ascii(name), Err(NoAsciiForm), "{name}");
        }
    }

    #[cfg(feature = "idna")]
    #[test]
    fn the_same_domain_in_either_form() {
        let same = |one: &str, two: &str| Domain::Name(one).same_domain(&Domain::Name(two));
        assert!(same("bücher.example", "XN--bcher-KVA.example"));
        assert!(same("bücher.example", "Bücher.EXAMPLE"));
        assert!(!same("bücher.example", "bucher.example"));
        let mailbox = Mailbox::try_from("ü@bücher.example").unwrap();
        assert_eq!(
            mailbox.canonical().unwrap().as_str(),
            "ü@xn--bcher-kva.example"
        );
    }
}
