//! The names of the mechanisms, and sets of them. What is said in them is in the files beside.

use core::fmt;

/// A mechanism that is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Mechanism {
    /// RFC 4616 section 2
    Plain,
    /// The old one of two prompts; no RFC: draft-murchison-sasl-login.
    Login,
    /// Google's, before there was OAUTHBEARER: <https://developers.google.com/gmail/imap/xoauth2-protocol>
    XOAuth2,
    /// RFC 7628 section 3
    OAuthBearer,
    /// RFC 7677 section 3
    ScramSha256,
    /// RFC 7677 section 3, bound to the TLS connection
    ScramSha256Plus,
    /// RFC 4422 appendix A: the client's certificate says it
    External,
}

impl Mechanism {
    /// All that are known, in the order in which they are announced: the strongest first.
    pub const ALL: [Self; 7] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::External,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::Plain,
        Self::Login,
    ];

    /// The word that names it.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::External => "EXTERNAL",
        }
    }

    /// Is it of the SCRAM family, for which the feature `scram` is needed?
    #[must_use]
    pub const fn is_scram(self) -> bool {
        matches!(self, Self::ScramSha256 | Self::ScramSha256Plus)
    }

    /// Can it be spoken as this crate was built? What cannot is offered by those alone who bring
    /// the mechanism themselves.
    #[must_use]
    pub const fn is_built(self) -> bool {
        cfg!(feature = "scram") || !self.is_scram()
    }

    /// The mechanism that `word` names, in any case; `None` if it is not known here.
    #[must_use]
    pub fn of(word: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.keyword().as_bytes().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// A set of mechanisms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mechanisms(u8);

impl Mechanisms {
    /// None.
    pub const NONE: Self = Self(0);

    /// All that can be spoken as this crate was built.
    pub const BUILT: Self = {
        let scram = Self::NONE
            .with(Mechanism::ScramSha256)
            .with(Mechanism::ScramSha256Plus);
        let others = Self::NONE
            .with(Mechanism::External)
            .with(Mechanism::OAuthBearer)
            .with(Mechanism::XOAuth2)
            .with(Mechanism::Plain)
            .with(Mechanism::Login);
        match cfg!(feature = "scram") {
            true => Self(others.0 | scram.0),
            false => others,
        }
    };

    /// The same set and `mechanism`.
    #[must_use]
    pub const fn with(self, mechanism: Mechanism) -> Self {
        Self(self.0 | 1 << mechanism as u8)
    }

    /// The same set without `mechanism`.
    #[must_use]
    pub const fn without(self, mechanism: Mechanism) -> Self {
        Self(self.0 & !(1 << mechanism as u8))
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Is `mechanism` in the set?
    #[must_use]
    pub const fn has(self, mechanism: Mechanism) -> bool {
        self.0 & (1 << mechanism as u8) != 0
    }

    /// Is nothing in it?
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Mechanisms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(Mechanism::ALL.iter().filter(|each| self.has(**each)))
            .finish()
    }
}
