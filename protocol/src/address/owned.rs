//! Mailboxes and domains that own their text, for what outlives the bytes it was read from.

use super::{Charset, Domain, Mailbox, Malformed, local_part};
use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::borrow::Borrow;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

/// A mailbox with text of its own.
///
/// Equal, ordered and hashed as its text is, so that a map can be asked with a `&str`. Whether two
/// are the same mailbox, see [`Mailbox::same_mailbox`] and, for keys, [`Mailbox::canonical`].
///
/// ```
/// use mailrail_protocol::address::OwnedMailbox;
///
/// let mailbox: OwnedMailbox = "user@mx.example".parse()?;
/// assert_eq!(mailbox.as_mailbox().local_part(), "user");
/// let mailbox = OwnedMailbox::from_parts("first last", "mx.example").expect("it has a form");
/// assert_eq!(mailbox.as_str(), "\"first last\"@mx.example");
/// # Ok::<(), mailrail_protocol::address::Malformed>(())
/// ```
#[derive(Clone)]
pub struct OwnedMailbox {
    text: Box<str>,
    at: u16,
}

impl OwnedMailbox {
    /// Reads one mailbox, as [`Mailbox::parse`] does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Mailbox::parse(text.as_bytes(), Charset::Utf8).map(Self::from)
    }

    /// Puts a mailbox together from a local-part as it is meant, which is quoted where it must be, and
    /// a domain or literal as it is written. `None` where no such mailbox can be written: a control
    /// character, or too long a part.
    #[must_use]
    pub fn from_parts(local_part: &str, domain: &str) -> Option<Self> {
        let mut text = String::with_capacity(local_part.len() + 1 + domain.len());
        local_part::push_quoted(&mut text, local_part.chars());
        text.push('@');
        text.push_str(domain);
        // A domain that holds an at sign or a quote would be read as another mailbox.
        let mailbox = Mailbox::parse(text.as_bytes(), Charset::Utf8)?;
        let at = mailbox.at;
        (mailbox.domain_str() == domain).then(|| Self {
            text: text.into_boxed_str(),
            at,
        })
    }

    /// The view of it that everything else works with.
    #[must_use]
    pub fn as_mailbox(&self) -> Mailbox<'_> {
        Mailbox {
            text: &self.text,
            at: self.at,
        }
    }

    /// The whole, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<Mailbox<'_>> for OwnedMailbox {
    fn from(mailbox: Mailbox<'_>) -> Self {
        Self {
            text: mailbox.text.into(),
            at: mailbox.at,
        }
    }
}

impl<'a> From<&'a OwnedMailbox> for Mailbox<'a> {
    fn from(mailbox: &'a OwnedMailbox) -> Self {
        mailbox.as_mailbox()
    }
}

impl FromStr for OwnedMailbox {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text).ok_or(Malformed::MAILBOX)
    }
}

impl PartialEq<Mailbox<'_>> for OwnedMailbox {
    fn eq(&self, other: &Mailbox<'_>) -> bool {
        self.as_mailbox() == *other
    }
}

impl PartialEq<OwnedMailbox> for Mailbox<'_> {
    fn eq(&self, other: &OwnedMailbox) -> bool {
        *self == other.as_mailbox()
    }
}

/// A domain or an address literal with text of its own.
///
/// Equal, ordered and hashed as its text is. Whether two are the same domain, see
/// [`Domain::same_domain`]; for keys, [`Domain::to_ascii`] gives a text.
///
/// ```
/// use mailrail_protocol::address::{Domain, OwnedDomain};
///
/// let domain: OwnedDomain = "mx.example".parse()?;
/// assert_eq!(domain.as_domain(), Domain::Name("mx.example"));
/// # Ok::<(), mailrail_protocol::address::Malformed>(())
/// ```
#[derive(Clone)]
pub struct OwnedDomain {
    text: Box<str>,
}

impl OwnedDomain {
    pub(super) fn new(domain: Domain<'_>) -> Self {
        let text = match domain {
            Domain::Name(name) => name.to_owned(),
            Domain::Literal(literal) => literal.to_string(),
        };
        Self {
            text: text.into_boxed_str(),
        }
    }

    /// Reads one domain or literal, as [`Domain::parse`] does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Domain::parse(text.as_bytes(), Charset::Utf8).map(Self::new)
    }

    /// The view of it that everything else works with; a literal is read once more.
    #[must_use]
    pub fn as_domain(&self) -> Domain<'_> {
        let literal = match self.text.starts_with('[') {
            true => Domain::parse(self.text.as_bytes(), Charset::Utf8),
            false => None,
        };
        literal.unwrap_or(Domain::Name(&self.text))
    }

    /// The whole: a name as it was written, a literal in its usual form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<Domain<'_>> for OwnedDomain {
    fn from(domain: Domain<'_>) -> Self {
        Self::new(domain)
    }
}

impl<'a> From<&'a OwnedDomain> for Domain<'a> {
    fn from(domain: &'a OwnedDomain) -> Self {
        domain.as_domain()
    }
}

impl FromStr for OwnedDomain {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text).ok_or(Malformed::DOMAIN)
    }
}

/// What follows from the text alone, and so is the same for all that own one.
macro_rules! as_its_text {
    ($($name:ident),*) => {$(
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "<{}>", self.as_str())
            }
        }
    )*};
}

as_its_text!(OwnedMailbox, OwnedDomain);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    #[test]
    fn a_map_is_asked_with_a_text() {
        let mut map = BTreeMap::new();
        map.insert(OwnedMailbox::parse("a@b").unwrap(), 1);
        assert_eq!(map.get("a@b"), Some(&1));
        assert_eq!(map.get("a@B"), None);
    }

    #[test]
    fn put_together() {
        for (local_part, domain, expected) in [
            ("a.b", "c", Some("a.b@c")),
            ("a b", "c", Some("\"a b\"@c")),
            ("", "c", Some("\"\"@c")),
            ("a\"", "[192.0.2.1]", Some("\"a\\\"\"@[192.0.2.1]")),
            ("ü", "ü", Some("ü@ü")),
            ("a", "b@c", None),
            ("a", "b.", None),
            ("a", "", None),
            ("a\r\n", "b", None),
            ("a\0", "b", None),
        ] {
            let found = OwnedMailbox::from_parts(local_part, domain);
            assert_eq!(found.as_ref().map(OwnedMailbox::as_str), expected);
            if let Some(mailbox) = found {
                assert_eq!(mailbox.as_mailbox().local_part_unquoted(), local_part);
            }
        }
        assert_eq!(OwnedMailbox::from_parts(&"a".repeat(65), "b"), None);
        assert_eq!(OwnedMailbox::from_parts(&"\"".repeat(32), "b"), None);
    }

    #[test]
    fn domains() {
        let names: Vec<OwnedDomain> = ["Mx.Example", "[ipv6:::1]"]
            .into_iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(names[0].as_domain(), Domain::Name("Mx.Example"));
        assert_eq!(names[1].as_str(), "[IPv6:::1]");
        assert_eq!(names[1].as_domain().to_owned(), names[1]);
        assert_eq!(OwnedDomain::parse("b."), None);
    }
}
