//! The three digits of a reply, and what the first two of them say. Which code answers what is not
//! known here.

use super::Class;

/// The three digits that open a reply: 200 to 599.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Code(u16);

/// The second digit of a code: what the reply is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Category {
    /// x0x: the form of a command, or one that is not known.
    Syntax,
    /// x1x: information, such as help.
    Information,
    /// x2x: the connection itself.
    Connections,
    /// x5x: the mail system, as it took the action or did not.
    MailSystem,
}

impl Code {
    /// `None` outside 200 to 599.
    //= RFC 5321 section 4.2: the first digit is 2 to 5, the second 0 to 5 in this standard; others may come
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 {
            Some(Self(code))
        } else {
            None
        }
    }

    /// For constants: a number out of range does not compile.
    ///
    /// # Panics
    /// Outside 200 to 599.
    #[must_use]
    pub const fn of(code: u16) -> Self {
        assert!(
            code >= 200 && code <= 599,
            "a reply code has a first digit of 2 to 5"
        );
        Self(code)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// How it ended; `None` for 3xx, where nothing has ended yet.
    //= RFC 5321 section 4.2.1: the first digit says good, bad, or incomplete
    #[must_use]
    pub const fn class(self) -> Option<Class> {
        match self.0 {
            200..300 => Some(Class::Success),
            400..500 => Some(Class::Transient),
            500..600 => Some(Class::Permanent),
            _ => None,
        }
    }

    /// What it is about; `None` where the standard gives the second digit no meaning.
    //= RFC 5321 section 4.2.1: the second digit says which part of the system speaks
    #[must_use]
    pub const fn category(self) -> Option<Category> {
        match self.0 / 10 % 10 {
            0 => Some(Category::Syntax),
            1 => Some(Category::Information),
            2 => Some(Category::Connections),
            5 => Some(Category::MailSystem),
            _ => None,
        }
    }

    /// 2xx or 3xx.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.0 < 400
    }

    /// 3xx: go on.
    #[must_use]
    pub const fn is_intermediate(self) -> bool {
        self.0 >= 300 && self.0 < 400
    }

    /// 4xx: try again later.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        self.0 >= 400 && self.0 < 500
    }

    /// 5xx: never.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        self.0 >= 500
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Code> for u16 {
    fn from(code: Code) -> Self {
        code.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_have_their_meaning() {
        for number in 0..1000 {
            let Some(code) = Code::new(number) else {
                assert!(!(200..600).contains(&number));
                continue;
            };
            let ends = usize::from(code.class() == Some(Class::Success))
                + usize::from(code.is_intermediate())
                + usize::from(code.is_transient())
                + usize::from(code.is_permanent());
            assert_eq!(ends, 1, "{code}");
            assert_eq!(code.is_positive(), number < 400);
            assert_eq!(code.class().is_none(), code.is_intermediate());
        }
        assert_eq!(Code::of(354).category(), Some(Category::MailSystem));
        assert_eq!(Code::of(221).category(), Some(Category::Connections));
        assert_eq!(Code::of(214).category(), Some(Category::Information));
        assert_eq!(Code::of(500).category(), Some(Category::Syntax));
        assert_eq!(Code::of(235).category(), None);
    }
}
