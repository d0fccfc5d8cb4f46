//! Enhanced status codes, RFC 3463 section 2: the three numbers that say why. What the known ones
//! mean stands in a table of its own.

use super::Code;
use core::fmt;
use core::str::FromStr;

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
///
/// ```
/// use mailrail_protocol::reply::{Class, Status};
///
/// let status: Status = "5.1.1".parse()?;
/// assert_eq!(status.class, Class::Permanent);
/// assert_eq!(status.meaning(), Some("Bad destination mailbox address"));
/// assert_eq!(status.to_string(), "5.1.1");
/// assert!("1.1.1".parse::<Status>().is_err());
/// # Ok::<(), mailrail_protocol::reply::BadStatus>(())
/// ```
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

    /// Reads `class.subject.detail` and nothing else.
    //= RFC 3463 section 2: the class is 2, 4 or 5; subject and detail have one to three digits
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        take(text)
            .filter(|(_, rest)| rest.is_empty())
            .map(|(status, _)| status)
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

impl FromStr for Status {
    type Err = BadStatus;

    fn from_str(text: &str) -> Result<Self, BadStatus> {
        Self::parse(text.as_bytes()).ok_or(BadStatus)
    }
}

/// A text that is no enhanced status code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadStatus;

impl fmt::Display for BadStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an enhanced status code is 2, 4 or 5, and two numbers of up to three digits")
    }
}

impl core::error::Error for BadStatus {}

/// A status at the front of a text, and what stands behind it.
pub(super) fn take(text: &[u8]) -> Option<(Status, &[u8])> {
    let (&digit, rest) = text.split_first()?;
    let class = match digit {
        b'2' => Class::Success,
        b'4' => Class::Transient,
        b'5' => Class::Permanent,
        _ => return None,
    };
    let (subject, rest) = take_part(rest)?;
    let (detail, rest) = take_part(rest)?;
    Some((Status::new(class, subject, detail), rest))
}

/// A dot and one to three digits.
fn take_part(text: &[u8]) -> Option<(u16, &[u8])> {
    let (&b'.', digits) = text.split_first()? else {
        return None;
    };
    let len = digits
        .iter()
        .take(4)
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    if !(1..=3).contains(&len) {
        return None;
    }
    let (digits, rest) = digits.split_at_checked(len)?;
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_status() {
        for text in [
            "", "5", "5.1", "5.1.", "5..1", "5.1.1.1", "5.1.1 ", " 5.1.1", "3.1.1", "1.0.0",
            "5.1000.1", "5.1.1000", "5.a.1", "5.-1.1", "5.1.1x", "55.1.1",
        ] {
            assert_eq!(Status::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(class in 0usize..3, subject in 0u16..1000, detail in 0u16..1000) {
            let class = [Class::Success, Class::Transient, Class::Permanent][class];
            let status = Status::new(class, subject, detail);
            prop_assert_eq!(status.to_string().parse(), Ok(status));
        }
    }
}
