//! Reading what a server announced. What follows from it for a message is the client's business.

use super::{Extension, Extensions};
use crate::ascii::parse_decimal;

/// The extensions that the answer to EHLO names: its lines without their codes, the first of which
/// is the server's name and its greeting. What is not known here is passed over.
pub fn parse<'i>(lines: impl Iterator<Item = &'i [u8]>) -> Extensions {
    lines.skip(1).fold(Extensions::NONE, with_line)
}

/// One line: a keyword in whatever case, and its parameters behind a space.
//= RFC 5321 section 4.1.1.1: keywords and their parameters are parted by spaces, case does not matter
fn with_line(extensions: Extensions, line: &[u8]) -> Extensions {
    let mut words = line
        .split(|&octet| octet == b' ')
        .filter(|word| !word.is_empty());
    let Some(keyword) = words.next() else {
        return extensions;
    };
    let known = Extension::ALL
        .into_iter()
        .find(|known| keyword.eq_ignore_ascii_case(known.keyword().as_bytes()));
    match known {
        None => extensions,
        //= RFC 1870 section 4: without a number, or with 0, no limit is named
        Some(Extension::Size) => {
            extensions.with_size_max(words.next().and_then(parse_decimal).unwrap_or(0))
        }
        Some(extension) => extensions.with(extension),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: Extensions) {
        assert_eq!(parse(lines.iter().map(|line| line.as_bytes())), expected);
    }

    #[test]
    fn the_first_line_is_a_name() {
        check(&["PIPELINING"], Extensions::NONE);
        check(&[], Extensions::NONE);
    }

    #[test]
    fn all_that_are_known() {
        check(
            &[
                "mx.example at your service",
                "PIPELINING",
                "SIZE 1000",
                "8bitmime",
                "EnhancedStatusCodes",
                "CHUNKING ",
                "SMTPUTF8",
                "STARTTLS",
                "DSN",
                "AUTH PLAIN LOGIN",
                "X-SOMETHING a b",
                "",
                " ",
            ],
            Extensions::NONE
                .with(Extension::Pipelining)
                .with_size_max(1000)
                .with(Extension::EightBitMime)
                .with(Extension::EnhancedStatusCodes)
                .with(Extension::Chunking)
                .with(Extension::SmtpUtf8)
                .with(Extension::StartTls)
                .with(Extension::Dsn)
                .with(Extension::Auth),
        );
    }

    #[test]
    fn a_size_without_a_limit() {
        for line in [
            "SIZE",
            "SIZE 0",
            "SIZE many",
            "SIZE -1",
            "SIZE 99999999999999999999999",
        ] {
            check(&["mx", line], Extensions::NONE.with_size_max(0));
        }
        check(&["mx", "SIZE  7 x"], Extensions::NONE.with_size_max(7));
    }

    #[test]
    fn a_keyword_is_a_whole_word() {
        check(
            &["mx", "PIPELININGS", "X8BITMIME", "CHUNKING=1"],
            Extensions::NONE,
        );
    }
}
