//! The service extensions that the two sides know, as a set. How a set is announced, and how an
//! announcement is read, is in the two files below.

pub mod advertise;
pub mod parse;

use crate::command::{AttributeSet, PriorityProfile, date};
use crate::sasl::Mechanisms;
use core::fmt;

/// A service extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Extension {
    /// RFC 2920 section 2
    Pipelining,
    /// RFC 1870 section 3
    Size,
    /// RFC 6152 section 2
    EightBitMime,
    /// RFC 2034 section 3
    EnhancedStatusCodes,
    /// RFC 3030 section 2
    Chunking,
    /// RFC 6531 section 3.1
    SmtpUtf8,
    /// RFC 3207 section 2
    StartTls,
    /// RFC 3461 section 2
    Dsn,
    /// RFC 4954 section 3, with [`Extensions::mechanisms`]
    Auth,
    /// RFC 3030 section 3
    BinaryMime,
    /// RFC 8689 section 2
    RequireTls,
    /// RFC 9422 section 3, with [`Extensions::limits`]
    Limits,
    /// RFC 2852 section 3, with [`Extensions::deliver_by_min`]
    DeliverBy,
    /// RFC 4865 section 3, with [`Extensions::future_release`]
    FutureRelease,
    /// RFC 6710 section 3, with [`Extensions::priority_profile`]
    MtPriority,
    /// RFC 1985 section 3
    Etrn,
    /// RFC 5321 section 4.1.1.6
    Verify,
    /// RFC 5321 section 4.1.1.7
    Expand,
    /// RFC 5321 section 4.1.1.8
    Help,
    /// <https://www.postfix.org/XCLIENT_README.html>, with [`Extensions::x_client`]
    XClient,
    /// <https://www.postfix.org/XFORWARD_README.html>, with [`Extensions::x_forward`]
    XForward,
}

impl Extension {
    /// All that are known, in the order in which they are announced.
    pub const ALL: [Self; 21] = [
        Self::Pipelining,
        Self::Size,
        Self::EightBitMime,
        Self::EnhancedStatusCodes,
        Self::Chunking,
        Self::SmtpUtf8,
        Self::StartTls,
        Self::Dsn,
        Self::Auth,
        Self::BinaryMime,
        Self::RequireTls,
        Self::Limits,
        Self::DeliverBy,
        Self::FutureRelease,
        Self::MtPriority,
        Self::Etrn,
        Self::Verify,
        Self::Expand,
        Self::Help,
        Self::XClient,
        Self::XForward,
    ];

    /// The word that announces it.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Pipelining => "PIPELINING",
            Self::Size => "SIZE",
            Self::EightBitMime => "8BITMIME",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::Chunking => "CHUNKING",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::StartTls => "STARTTLS",
            Self::Dsn => "DSN",
            Self::Auth => "AUTH",
            Self::BinaryMime => "BINARYMIME",
            Self::RequireTls => "REQUIRETLS",
            Self::Limits => "LIMITS",
            Self::DeliverBy => "DELIVERBY",
            Self::FutureRelease => "FUTURERELEASE",
            Self::MtPriority => "MT-PRIORITY",
            Self::Etrn => "ETRN",
            Self::Verify => "VRFY",
            Self::Expand => "EXPN",
            Self::Help => "HELP",
            Self::XClient => "XCLIENT",
            Self::XForward => "XFORWARD",
        }
    }

    /// The extension that `word` announces, in any case; `None` if it is not known here.
    #[must_use]
    pub fn of(word: &[u8]) -> Option<Self> {
        // A server's answer is nine lines long or more, and there are 21 keywords: only those of the
        // right length are compared.
        let candidates: &[Self] = match word.len() {
            3 => &[Self::Dsn],
            4 => &[
                Self::Size,
                Self::Auth,
                Self::Help,
                Self::Etrn,
                Self::Verify,
                Self::Expand,
            ],
            6 => &[Self::Limits],
            7 => &[Self::XClient],
            8 => &[
                Self::EightBitMime,
                Self::Chunking,
                Self::SmtpUtf8,
                Self::StartTls,
                Self::XForward,
            ],
            9 => &[Self::DeliverBy],
            10 => &[Self::Pipelining, Self::BinaryMime, Self::RequireTls],
            11 => &[Self::MtPriority],
            13 => &[Self::FutureRelease],
            19 => &[Self::EnhancedStatusCodes],
            _ => &[],
        };
        candidates
            .iter()
            .find(|known| word.eq_ignore_ascii_case(known.keyword().as_bytes()))
            .copied()
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// The largest number of nine digits, which is what times may have.
const NINE_DIGITS: u32 = 999_999_999;
/// The largest number of six digits, which is what LIMITS may name.
const SIX_DIGITS: u32 = 999_999;

/// What LIMITS names; 0 where a limit is not named.
//= RFC 9422 section 4: RCPTMAX, MAILMAX and RCPTDOMAINMAX
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct Limits {
    /// RCPTMAX: recipients in one transaction.
    pub recipient_count_max: u32,
    /// MAILMAX: transactions in one connection.
    pub mail_count_max: u32,
    /// RCPTDOMAINMAX: different domains among the recipients of one transaction.
    pub recipient_domain_count_max: u32,
}

impl Limits {
    /// What each is called, in the order in which they are announced.
    const NAMES: [&'static str; 3] = ["RCPTMAX", "MAILMAX", "RCPTDOMAINMAX"];

    /// Those that are named.
    fn named(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let limits = [
            self.recipient_count_max,
            self.mail_count_max,
            self.recipient_domain_count_max,
        ];
        Self::NAMES
            .into_iter()
            .zip(limits)
            .filter(|(_, limit)| *limit != 0)
    }
}

/// What FUTURERELEASE names: how far ahead a message may be held.
//= RFC 4865 section 3: the longest interval in seconds, and the last moment
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct FutureRelease {
    /// Seconds from now.
    pub interval_max_s: u32,
    /// Seconds since the start of 1970, UTC.
    pub until_max: u64,
}

const fn nine_digits(seconds: u32) -> u32 {
    if seconds > NINE_DIGITS {
        NINE_DIGITS
    } else {
        seconds
    }
}

/// A set of extensions, with what the lines behind EHLO say of each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Extensions {
    bits: u32,
    /// Octets; 0 where no limit is named.
    size_max: u64,
    future_release: FutureRelease,
    limits: Limits,
    /// Seconds; 0 where none is named.
    deliver_by_min: u32,
    mechanisms: Mechanisms,
    x_client: AttributeSet,
    x_forward: AttributeSet,
    priority_profile: PriorityProfile,
}

/// Each extension with what belongs to it.
impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        for each in Extension::ALL.into_iter().filter(|each| self.has(*each)) {
            match each {
                Extension::Size => set.entry(&(each, self.size_max)),
                Extension::Auth => set.entry(&(each, self.mechanisms)),
                Extension::Limits => set.entry(&(each, self.limits)),
                Extension::DeliverBy => set.entry(&(each, self.deliver_by_min)),
                Extension::FutureRelease => set.entry(&(each, self.future_release)),
                Extension::MtPriority => set.entry(&(each, self.priority_profile)),
                Extension::XClient => set.entry(&(each, self.x_client)),
                Extension::XForward => set.entry(&(each, self.x_forward)),
                _ => set.entry(&each),
            };
        }
        set.finish()
    }
}

impl Extensions {
    /// None at all: what HELO leaves.
    pub const NONE: Self = Self {
        bits: 0,
        size_max: 0,
        future_release: FutureRelease {
            interval_max_s: 0,
            until_max: 0,
        },
        limits: Limits {
            recipient_count_max: 0,
            mail_count_max: 0,
            recipient_domain_count_max: 0,
        },
        deliver_by_min: 0,
        mechanisms: Mechanisms::NONE,
        x_client: AttributeSet::NONE,
        x_forward: AttributeSet::NONE,
        priority_profile: PriorityProfile::Unnamed,
    };

    /// The same set and `extension`.
    ///
    /// AUTH, LIMITS and FUTURERELEASE say nothing without what belongs to them, and BINARYMIME nothing
    /// without CHUNKING: they are not announced then.
    #[must_use]
    pub const fn with(mut self, extension: Extension) -> Self {
        self.bits |= 1 << extension as u8;
        self
    }

    /// The same set without `extension`.
    #[must_use]
    pub const fn without(mut self, extension: Extension) -> Self {
        self.bits &= !(1 << extension as u8);
        self
    }

    /// What both sets have, with what this one says of each, and the smaller of the two limits of SIZE: what a
    /// proxy offers of its own when the next host offers `other`.
    #[must_use]
    pub const fn and(mut self, other: Self) -> Self {
        self.bits &= other.bits;
        if self.size_max == 0 || (other.size_max != 0 && other.size_max < self.size_max) {
            self.size_max = other.size_max;
        }
        self
    }

    /// The same set and SIZE, with this limit in octets; 0 names none.
    //= RFC 1870 section 4: zero says that there is no fixed maximum
    #[must_use]
    pub const fn with_size_max(mut self, size_max: u64) -> Self {
        self.size_max = size_max;
        self.with(Extension::Size)
    }

    /// The same set and AUTH, with these mechanisms.
    #[must_use]
    pub const fn with_mechanisms(mut self, mechanisms: Mechanisms) -> Self {
        self.mechanisms = mechanisms;
        self.with(Extension::Auth)
    }

    /// The same set and LIMITS. What is too large to be named, beyond 999,999, is not.
    //= RFC 9422 section 4: the values have one to six digits, and zero is none
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        const fn named(limit: u32) -> u32 {
            if limit > SIX_DIGITS { 0 } else { limit }
        }
        self.limits = Limits {
            recipient_count_max: named(limits.recipient_count_max),
            mail_count_max: named(limits.mail_count_max),
            recipient_domain_count_max: named(limits.recipient_domain_count_max),
        };
        self.with(Extension::Limits)
    }

    /// The same set and DELIVERBY, with the shortest time in seconds that is taken, of nine digits at
    /// most; 0 names none.
    #[must_use]
    pub const fn with_deliver_by_min(mut self, seconds: u32) -> Self {
        self.deliver_by_min = nine_digits(seconds);
        self.with(Extension::DeliverBy)
    }

    /// The same set and FUTURERELEASE, with an interval of nine digits at most and a moment before the
    /// year 10000.
    #[must_use]
    pub const fn with_future_release(mut self, future_release: FutureRelease) -> Self {
        self.future_release = FutureRelease {
            interval_max_s: nine_digits(future_release.interval_max_s),
            until_max: if future_release.until_max > date::LAST {
                date::LAST
            } else {
                future_release.until_max
            },
        };
        self.with(Extension::FutureRelease)
    }

    /// The same set and MT-PRIORITY, with this profile.
    #[must_use]
    pub const fn with_priority_profile(mut self, profile: PriorityProfile) -> Self {
        self.priority_profile = profile;
        self.with(Extension::MtPriority)
    }

    /// The same set and XCLIENT, with these attributes.
    #[must_use]
    pub const fn with_x_client(mut self, attributes: AttributeSet) -> Self {
        self.x_client = attributes;
        self.with(Extension::XClient)
    }

    /// The same set and XFORWARD, with these attributes.
    #[must_use]
    pub const fn with_x_forward(mut self, attributes: AttributeSet) -> Self {
        self.x_forward = attributes;
        self.with(Extension::XForward)
    }

    /// Is `extension` in the set?
    #[must_use]
    pub const fn has(&self, extension: Extension) -> bool {
        self.bits & (1 << extension as u8) != 0
    }

    /// The size in octets that SIZE names as the limit of a message.
    #[must_use]
    pub const fn size_max(&self) -> Option<u64> {
        if self.has(Extension::Size) && self.size_max != 0 {
            Some(self.size_max)
        } else {
            None
        }
    }

    /// The mechanisms of AUTH; none where AUTH is not offered.
    #[must_use]
    pub const fn mechanisms(&self) -> Mechanisms {
        if self.has(Extension::Auth) {
            self.mechanisms
        } else {
            Mechanisms::NONE
        }
    }

    /// What LIMITS names; nothing where it is not offered.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        if self.has(Extension::Limits) {
            self.limits
        } else {
            Self::NONE.limits
        }
    }

    /// The shortest time in seconds that DELIVERBY takes; 0 where none is named.
    #[must_use]
    pub const fn deliver_by_min(&self) -> u32 {
        if self.has(Extension::DeliverBy) {
            self.deliver_by_min
        } else {
            0
        }
    }

    /// What FUTURERELEASE names; nothing where it is not offered.
    #[must_use]
    pub const fn future_release(&self) -> FutureRelease {
        if self.has(Extension::FutureRelease) {
            self.future_release
        } else {
            Self::NONE.future_release
        }
    }

    /// The profile that MT-PRIORITY names.
    #[must_use]
    pub const fn priority_profile(&self) -> PriorityProfile {
        if self.has(Extension::MtPriority) {
            self.priority_profile
        } else {
            PriorityProfile::Unnamed
        }
    }

    /// Is `extension` in the set, with all that its line must say?
    pub(crate) const fn can_announce(&self, extension: Extension) -> bool {
        self.has(extension)
            && match extension {
                //= RFC 4954 section 3: AUTH is followed by the mechanisms
                Extension::Auth => !self.mechanisms.is_empty(),
                //= RFC 3030 section 3: BINARYMIME is there only together with CHUNKING
                Extension::BinaryMime => self.has(Extension::Chunking),
                //= RFC 9422 section 3: LIMITS is followed by one limit at least
                Extension::Limits => {
                    self.limits.recipient_count_max != 0
                        || self.limits.mail_count_max != 0
                        || self.limits.recipient_domain_count_max != 0
                }
                //= RFC 4865 section 3: FUTURERELEASE is followed by an interval above zero and a moment
                Extension::FutureRelease => self.future_release.interval_max_s != 0,
                _ => true,
            }
    }

    /// The attributes that XCLIENT takes; none where it is not offered.
    #[must_use]
    pub const fn x_client(&self) -> AttributeSet {
        if self.has(Extension::XClient) {
            self.x_client
        } else {
            AttributeSet::NONE
        }
    }

    /// The attributes that XFORWARD takes; none where it is not offered.
    #[must_use]
    pub const fn x_forward(&self) -> AttributeSet {
        if self.has(Extension::XForward) {
            self.x_forward
        } else {
            AttributeSet::NONE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::Mechanism;
    use alloc::format;

    #[test]
    fn a_set_is_shown_by_its_words() {
        let offered = Extensions::NONE
            .with_size_max(7)
            .with(Extension::Dsn)
            .with_mechanisms(Mechanisms::NONE.with(Mechanism::Plain));
        assert_eq!(format!("{offered:?}"), "{(Size, 7), Dsn, (Auth, {Plain})}");
    }

    #[test]
    fn every_keyword_is_found() {
        for extension in Extension::ALL {
            let keyword = extension.keyword();
            assert_eq!(Extension::of(keyword.as_bytes()), Some(extension));
            assert_eq!(
                Extension::of(keyword.to_lowercase().as_bytes()),
                Some(extension)
            );
            assert_eq!(Extension::of(&keyword.as_bytes()[1..]), None);
        }
        for word in ["", "HEAD", "PIPELINERS", "FUTURERELEASES"] {
            assert_eq!(Extension::of(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn what_both_have() {
        const ONE: Extensions = Extensions::NONE
            .with(Extension::Pipelining)
            .with(Extension::Dsn);
        const OTHER: Extensions = Extensions::NONE
            .with(Extension::Dsn)
            .with(Extension::Chunking);
        assert_eq!(ONE.and(OTHER), Extensions::NONE.with(Extension::Dsn));
        for (one, other, both) in [(0, 0, 0), (0, 7, 7), (7, 0, 7), (7, 5, 5), (5, 7, 5)] {
            let (one, other) = (ONE.with_size_max(one), OTHER.with_size_max(other));
            let both = Extensions::NONE.with(Extension::Dsn).with_size_max(both);
            assert_eq!(one.and(other), both);
        }
        let without = ONE.with_size_max(7).and(OTHER);
        assert_eq!(without.size_max(), None);
    }
}
