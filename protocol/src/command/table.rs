//! The verbs of SMTP: the word of each on the wire.

use super::Verb;
use core::fmt;

/// One verb and its word.
struct Row {
    verb: Verb,
    word: &'static str,
}

const fn row(word: &'static str, verb: Verb) -> Row {
    Row { verb, word }
}

/// Every verb that is known.
const TABLE: &[Row] = &[
    row("RCPT", Verb::Recipient),
    row("MAIL", Verb::Mail),
    row("DATA", Verb::Data),
    row("BDAT", Verb::Bdat),
    row("EHLO", Verb::Ehlo),
    row("QUIT", Verb::Quit),
    row("RSET", Verb::Reset),
    row("NOOP", Verb::Noop),
    row("HELO", Verb::Helo),
    row("STARTTLS", Verb::StartTls),
    row("AUTH", Verb::Auth),
    row("VRFY", Verb::Verify),
    row("EXPN", Verb::Expand),
    row("HELP", Verb::Help),
    row("ETRN", Verb::Etrn),
    row("LHLO", Verb::Lhlo),
    row("XCLIENT", Verb::XClient),
    row("XFORWARD", Verb::XForward),
];

/// Four octets as one number.
const fn four(word: [u8; 4]) -> u32 {
    u32::from_be_bytes(word)
}

const RCPT: u32 = four(*b"RCPT");
const MAIL: u32 = four(*b"MAIL");
const DATA: u32 = four(*b"DATA");
const BDAT: u32 = four(*b"BDAT");
const EHLO: u32 = four(*b"EHLO");
const QUIT: u32 = four(*b"QUIT");
const RSET: u32 = four(*b"RSET");
const NOOP: u32 = four(*b"NOOP");
const HELO: u32 = four(*b"HELO");
const AUTH: u32 = four(*b"AUTH");
const VRFY: u32 = four(*b"VRFY");
const EXPN: u32 = four(*b"EXPN");
const HELP: u32 = four(*b"HELP");
const ETRN: u32 = four(*b"ETRN");
const LHLO: u32 = four(*b"LHLO");

impl Verb {
    /// The verb that `word` stands for, in any case.
    ///
    /// Nearly every verb has four letters: they are compared as one number, without the bit that
    /// parts small letters from capitals (which makes no other octet a letter).
    //= RFC 5321 section 2.4: verbs are not case sensitive
    #[inline]
    #[must_use]
    pub fn of(word: &[u8]) -> Self {
        let Ok(word) = <[u8; 4]>::try_from(word) else {
            return Self::of_long(word);
        };
        match four(word) & 0xDFDF_DFDF {
            RCPT => Self::Recipient,
            MAIL => Self::Mail,
            DATA => Self::Data,
            BDAT => Self::Bdat,
            EHLO => Self::Ehlo,
            QUIT => Self::Quit,
            RSET => Self::Reset,
            NOOP => Self::Noop,
            HELO => Self::Helo,
            AUTH => Self::Auth,
            VRFY => Self::Verify,
            EXPN => Self::Expand,
            HELP => Self::Help,
            ETRN => Self::Etrn,
            LHLO => Self::Lhlo,
            _ => Self::Unknown,
        }
    }

    /// The same for every other length.
    #[cold]
    fn of_long(word: &[u8]) -> Self {
        TABLE
            .iter()
            .find(|row| row.word.as_bytes().eq_ignore_ascii_case(word))
            .map_or(Self::Unknown, |row| row.verb)
    }

    /// The word on the wire; empty for `Unknown`.
    #[must_use]
    pub fn word(self) -> &'static str {
        TABLE
            .iter()
            .find(|row| row.verb == self)
            .map_or("", |row| row.word)
    }
}

/// Its word; `?` for `Unknown`.
impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.word() {
            "" => "?",
            word => word,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn word_there_and_back() {
        for row in TABLE {
            assert_eq!(Verb::of(row.word.as_bytes()), row.verb);
            assert_eq!(Verb::of(row.word.to_lowercase().as_bytes()), row.verb);
            assert_eq!(row.verb.word(), row.word);
        }
        assert_eq!(Verb::of(b"XYZZ"), Verb::Unknown);
        assert_eq!(Verb::of(b""), Verb::Unknown);
    }

    /// Each verb with each of its octets replaced by each other octet.
    #[test]
    fn same_as_the_table_for_every_neighbour() {
        for row in TABLE {
            for at in 0..row.word.len() {
                for octet in 0..=u8::MAX {
                    let mut word = Vec::from(row.word);
                    word[at] = octet;
                    assert_eq!(Verb::of(&word), Verb::of_long(&word), "{word:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn same_as_the_table(word in "[A-Za-z]{0,5}") {
            prop_assert_eq!(Verb::of(word.as_bytes()), Verb::of_long(word.as_bytes()));
        }
    }
}
