//! The verbs of SMTP: the word of each on the wire.

use super::Verb;

/// One verb and its word.
struct Row {
    verb: Verb,
    word: &'static str,
}

const fn row(word: &'static str, verb: Verb) -> Row {
    Row { verb, word }
}

/// The most frequent first.
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

impl Verb {
    /// The verb that `word` stands for, in any case.
    //= RFC 5321 section 2.4: verbs are not case sensitive
    #[must_use]
    pub fn of(word: &[u8]) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
