//! Enhanced status codes, RFC 3463 section 2: the three numbers that say why.

use super::Code;
use core::fmt;

/// The first number: how it ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Class {
    /// 2: done.
    Success = 2,
    /// 4: try again later.
    Transient = 4,
    /// 5: never.
    Permanent = 5,
}

/// An enhanced status code.
//= RFC 3463 section 2: class, subject and detail, the latter two of up to three digits
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Status {
    /// How it ended.
    pub class: Class,
    /// What it is about.
    pub subject: u16,
    /// The matter itself.
    pub detail: u16,
}

impl Status {
    /// A status of these three numbers.
    #[must_use]
    pub const fn new(class: Class, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }

    /// The class follows from the code's first digit.
    //= RFC 2034 section 4: the class must agree with the reply's first digit
    #[must_use]
    pub const fn for_code(code: Code, subject: u16, detail: u16) -> Self {
        let class = match code.get() {
            0..=399 => Class::Success,
            400..=499 => Class::Transient,
            _ => Class::Permanent,
        };
        Self::new(class, subject, detail)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class as u8, self.subject, self.detail)
    }
}
