//! Finding the end of a command line. Only CRLF ends a line; what the line means is `command`'s
//! business, and where the bytes come from is the caller's.

use crate::limits::COMMAND_LINE_LEN_MAX;
use memchr::{memchr, memmem};

/// What stands at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line<'i> {
    /// No end yet; nothing was taken.
    Incomplete,
    /// Too long to be understood; nothing was taken.
    TooLong,
    /// It holds a LF without its CR, and will never be a command; nothing was taken.
    BareLf,
    /// A line without its CRLF; it was taken.
    Complete(&'i [u8]),
}

/// Takes a line off the front of `input`.
///
/// `looked` says how far the same front was searched before, so that bytes that come one by one
/// are each looked at once.
//= RFC 5321 section 2.3.8: only CRLF ends a line, neither CR nor LF does alone
pub(crate) fn take<'i>(looked: &mut u16, input: &mut &'i [u8]) -> Line<'i> {
    let whole = *input;
    let window = whole.get(..COMMAND_LINE_LEN_MAX).unwrap_or(whole);
    let from = usize::from(*looked);
    if let Some(lf) = memchr(b'\n', window.get(from..).unwrap_or_default()) {
        *looked = 0;
        let (line, rest) = whole.split_at_checked(from + lf + 1).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Line::BareLf;
        };
        *input = rest;
        return Line::Complete(line);
    }
    if window.len() == COMMAND_LINE_LEN_MAX {
        *looked = 0;
        return Line::TooLong;
    }
    *looked = window.len() as u16;
    Line::Incomplete
}

/// Throws the front of `input` away up to the next CRLF and says whether there was one. A CR at
/// the end stays, since its LF may follow.
pub(crate) fn skip(input: &mut &[u8]) -> bool {
    match memmem::find(input, b"\r\n") {
        Some(end) => {
            *input = input.get(end + 2..).unwrap_or_default();
            true
        }
        None => {
            *input = match input {
                [.., b'\r'] => b"\r",
                _ => b"",
            };
            false
        }
    }
}

const _: () = assert!(
    COMMAND_LINE_LEN_MAX <= u16::MAX as usize,
    "how far a line was searched is kept in 16 bits"
);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_byte_is_searched_once() {
        let mut looked = 0;
        for (input, then) in [(&b"NOOP"[..], 4), (b"NOOP\r", 5), (b"NOOP\ra\r", 7)] {
            let mut rest = input;
            assert_eq!(take(&mut looked, &mut rest), Line::Incomplete);
            assert_eq!((usize::from(looked), rest), (then, input));
        }
        let mut rest = &b"NOOP\ra\r\nRSET"[..];
        assert_eq!(take(&mut looked, &mut rest), Line::Complete(b"NOOP\ra"));
        assert_eq!((looked, rest), (0, &b"RSET"[..]));
    }

    #[test]
    fn a_bare_lf_ends_no_line() {
        for input in ["\n", "NOOP\n", "NOOP\nRSET\r\n", "\r\r \n\r\n"] {
            let mut rest = input.as_bytes();
            assert_eq!(take(&mut 0, &mut rest), Line::BareLf, "{input:?}");
            assert_eq!(rest, input.as_bytes());
        }
    }

    #[test]
    fn the_limit_is_exact() {
        for (len, complete) in [(2046, true), (2047, false), (5000, false)] {
            let mut line = vec![b'x'; len];
            line.extend_from_slice(b"\r\n");
            let found = take(&mut 0, &mut &line[..]);
            assert_eq!(matches!(found, Line::Complete(_)), complete, "{len}");
            assert_eq!(found == Line::TooLong, !complete, "{len}");
        }
        assert_eq!(take(&mut 0, &mut &[b'x'; 2047][..]), Line::Incomplete);
        assert_eq!(take(&mut 0, &mut &[b'x'; 2048][..]), Line::TooLong);
    }

    #[test]
    fn skipping_keeps_a_cr_that_may_end_a_line() {
        for (input, found, left) in [
            ("abc", false, ""),
            ("abc\r", false, "\r"),
            ("a\nb\rc", false, ""),
            ("\r\r", false, "\r"),
            ("\r\n", true, ""),
            ("ab\r\r\ncd\r\n", true, "cd\r\n"),
        ] {
            let mut rest = input.as_bytes();
            assert_eq!(skip(&mut rest), found, "{input:?}");
            assert_eq!(rest, left.as_bytes(), "{input:?}");
        }
    }
}
