//! Finding the end of a command line. Only CRLF ends a line; what the line means is `command`'s
//! business, and where the bytes come from is the caller's.

use memchr::{memchr, memmem};

/// What stands at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line<'i> {
    /// No end yet; nothing was taken.
    Incomplete,
    /// Too long to be understood; nothing was taken.
    TooLong,
    /// Its first LF has no CR before it; nothing was taken.
    BareLf,
    /// A line without its CRLF; it was taken.
    Complete(&'i [u8]),
}

/// Takes a line of at most `len_max` octets, its CRLF included, off the front of `input`.
///
/// `looked` says how far the same front was searched before, so that bytes that come one by one
/// are each looked at once.
//= RFC 5321 section 2.3.8: only CRLF ends a line, neither CR nor LF does alone
pub(crate) fn take<'i>(looked: &mut u16, len_max: usize, input: &mut &'i [u8]) -> Line<'i> {
    let whole = *input;
    let window = whole.get(..len_max).unwrap_or(whole);
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
    if window.len() == len_max {
        *looked = 0;
        return Line::TooLong;
    }
    *looked = window.len() as u16;
    Line::Incomplete
}

/// Takes what stands before the first LF, for whom a LF alone will do; the line loses it, and a CR
/// before it.
pub(crate) fn take_to_lf<'i>(input: &mut &'i [u8]) -> &'i [u8] {
    let lf = memchr(b'\n', input).unwrap_or(input.len());
    let (line, rest) = input.split_at_checked(lf).unwrap_or_default();
    *input = rest.get(1..).unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The same as [`skip`], for whom a LF alone will do.
pub(crate) fn skip_to_lf(input: &mut &[u8]) -> bool {
    let end = memchr(b'\n', input);
    *input = end.and_then(|end| input.get(end + 1..)).unwrap_or_default();
    end.is_some()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::COMMAND_LINE_LEN_MAX;
    use alloc::vec;

    fn take<'i>(looked: &mut u16, input: &mut &'i [u8]) -> Line<'i> {
        super::take(looked, COMMAND_LINE_LEN_MAX, input)
    }

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
    fn a_limit_that_grows_goes_on_where_it_was() {
        let line = [&[b'x'; 5000][..], b"\r\n"].concat();
        let mut looked = 0;
        for (len, limit) in [(2000, 2048), (2047, 2048), (4000, 6000), (5001, 6000)] {
            assert_eq!(
                super::take(&mut looked, limit, &mut &line[..len]),
                Line::Incomplete
            );
            assert_eq!(usize::from(looked), len);
        }
        let found = super::take(&mut looked, 6000, &mut &line[..]);
        assert_eq!(found, Line::Complete(&line[..5000]));
    }

    #[test]
    fn a_lf_alone_will_do() {
        for (input, line, rest) in [
            ("NOOP\nRSET\r\n", "NOOP", "RSET\r\n"),
            ("NOOP\r\nRSET", "NOOP", "RSET"),
            ("\n\n", "", "\n"),
            ("a\rb\r\r\n", "a\rb\r", ""),
        ] {
            let mut left = input.as_bytes();
            assert_eq!(take_to_lf(&mut left), line.as_bytes(), "{input:?}");
            assert_eq!(left, rest.as_bytes(), "{input:?}");
        }
    }

    #[test]
    fn skipping_to_a_lf() {
        for (input, found, left) in [
            ("abc\r", false, ""),
            ("a\nb", true, "b"),
            ("a\r\nb\n", true, "b\n"),
            ("", false, ""),
        ] {
            let mut rest = input.as_bytes();
            assert_eq!(skip_to_lf(&mut rest), found, "{input:?}");
            assert_eq!(rest, left.as_bytes(), "{input:?}");
        }
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
