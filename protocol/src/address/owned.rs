//! A mailbox that owns its text, for what outlives the bytes it was read from.

use super::{Charset, Mailbox};
use alloc::boxed::Box;
use core::fmt;

/// A mailbox with text of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OwnedMailbox {
    text: Box<str>,
    at: u16,
}

impl OwnedMailbox {
    pub(super) fn new(mailbox: Mailbox<'_>) -> Self {
        Self {
            text: mailbox.text.into(),
            at: mailbox.at,
        }
    }

    /// Reads one mailbox, as [`Mailbox::parse`] does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Mailbox::parse(text.as_bytes(), Charset::Utf8).map(Self::new)
    }

    /// The view of it that everything else works with.
    #[must_use]
    pub fn as_mailbox(&self) -> Mailbox<'_> {
        Mailbox {
            text: &self.text,
            at: self.at,
        }
    }
}

impl fmt::Display for OwnedMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for OwnedMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_mailbox().fmt(f)
    }
}
