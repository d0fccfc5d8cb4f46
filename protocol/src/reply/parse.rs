//! From the bytes that a server sent to a reply. What a reply means for the command that it
//! answers is the client's business; where the bytes come from is the caller's.

use super::{Class, Code, OwnedReply, Status, status};
use crate::limits::{REPLY_LEN_MAX, REPLY_LINE_COUNT_MAX};
use alloc::vec::Vec;
use core::fmt;

/// Octets in a whole reply of a peer's that is still read, all its lines together.
//= RFC 4954 section 4: a challenge may be a line of 12,288 octets
pub const ANSWER_LEN_MAX: usize = 12 * 1024;

/// Lines in a reply of a peer's that is still read.
pub const ANSWER_LINE_COUNT_MAX: u8 = 128;

const _: () = assert!(
    REPLY_LEN_MAX <= ANSWER_LEN_MAX && REPLY_LINE_COUNT_MAX <= ANSWER_LINE_COUNT_MAX,
    "what this crate writes, this crate must read"
);
const _: () = assert!(
    ANSWER_LEN_MAX <= u16::MAX as usize,
    "places in a reply are kept in 16 bits"
);

/// A reply that the peer gave: a view of the bytes it sent.
///
/// Two are equal when the same octets came. To compare what was said, see [`OwnedReply`]. `Display`
/// shows one line for a log.
///
/// ```
/// use mailrail_protocol::reply::Reply;
/// use mailrail_protocol::reply::parse::Reader;
///
/// let mut input = &b"550-5.1.1 No such\r\n550 5.1.1 user\r\n250 next"[..];
/// let answer = Reader::default().take(&mut input)?.expect("it is whole");
/// assert_eq!(answer.code.get(), 550);
/// assert_eq!(answer.status, Reply::NO_SUCH_USER.status);
/// assert_eq!(answer.to_string(), "550 5.1.1 No such user");
/// assert_eq!(input, b"250 next");
/// # Ok::<(), mailrail_protocol::reply::parse::Fault>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Answer<'i> {
    /// The verdict.
    pub code: Code,
    /// The enhanced status of its first line, if that has one of the code's class.
    pub status: Option<Status>,
    /// All of its lines as they came, the last line end left out.
    raw: &'i [u8],
}

impl<'i> Answer<'i> {
    /// 2xx or 3xx?
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code.is_positive()
    }

    /// The bytes as they came, codes and line ends included, the last line end left out.
    #[must_use]
    pub const fn raw(&self) -> &'i [u8] {
        self.raw
    }

    /// The text of each line, without code and enhanced status. Any octet but LF may be in it.
    #[must_use]
    pub const fn lines(&self) -> Lines<'i> {
        Lines {
            rest: Some(self.raw),
        }
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(&self) -> OwnedReply {
        OwnedReply::from(self)
    }

    /// Appends the text, its lines joined by spaces, control characters made spaces: one line for
    /// a log or a report. Octets above 127 stay as they came.
    pub fn append_text(&self, out: &mut Vec<u8>) {
        for (n, line) in self.lines().enumerate() {
            if n > 0 {
                out.push(b' ');
            }
            out.extend(line.iter().map(|&octet| match octet {
                0..32 | 127 => b' ',
                _ => octet,
            }));
        }
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.raw.escape_ascii())
    }
}

/// The lines of an [`Answer`].
#[derive(Clone, Debug)]
pub struct Lines<'i> {
    rest: Option<&'i [u8]>,
}

impl<'i> Iterator for Lines<'i> {
    type Item = &'i [u8];

    fn next(&mut self) -> Option<&'i [u8]> {
        let rest = self.rest?;
        let line = match memchr::memchr(b'\n', rest) {
            Some(end) => {
                self.rest = rest.get(end + 1..);
                rest.get(..end)?
            }
            None => {
                self.rest = None;
                rest
            }
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = line.get(4..).unwrap_or_default();
        let class = line.first().copied().and_then(class_of);
        Some(class.map_or(text, |class| split_status(text, class).1))
    }
}

/// Why bytes are no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A line that does not open with three digits and a space or a hyphen.
    Malformed,
    /// The lines of one reply have different codes.
    CodesDiffer,
    /// Too many lines or octets.
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a reply",
            Self::CodesDiffer => "the lines of one reply have different codes",
            Self::TooLong => "too long a reply",
        })
    }
}

impl core::error::Error for Fault {}

/// Reads replies off the front of what is unread, and remembers how far it has looked, so that
/// replies which arrive byte by byte cost no more than others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reader {
    /// Where in the unread bytes the line begins that is not complete yet.
    line_start: u16,
    /// Up to where there is no line end behind `line_start`.
    looked: u16,
    /// Lines before `line_start`.
    line_count: u8,
}

impl Reader {
    /// Takes one reply off `input`, if it is there in whole. If not, nothing is taken, and the
    /// next call has to bring the same bytes and more.
    ///
    /// A lone LF ends a line, too: some servers send it, and in replies it can hide nothing.
    ///
    /// # Errors
    /// When the bytes are no reply, or too long a one; nothing is taken then either.
    pub fn take<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Answer<'i>>, Fault> {
        let unread = *input;
        loop {
            let rest = unread.get(usize::from(self.looked)..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', rest) else {
                if unread.len() > ANSWER_LEN_MAX {
                    return Err(Fault::TooLong);
                }
                self.looked = unread.len() as u16;
                return Ok(None);
            };
            let next = usize::from(self.looked) + end + 1;
            if next > ANSWER_LEN_MAX {
                return Err(Fault::TooLong);
            }
            let line = unread
                .get(usize::from(self.line_start)..next)
                .unwrap_or_default();
            let (code, last) = parse_line(line)?;
            //= RFC 5321 section 4.2.1: every line of a reply has the same code
            if !unread.starts_with(line.get(..3).unwrap_or_default()) {
                return Err(Fault::CodesDiffer);
            }
            if last {
                *self = Self::default();
                let (reply, behind) = unread.split_at_checked(next).unwrap_or((unread, &[]));
                *input = behind;
                return Ok(Some(answer(code, reply)));
            }
            self.line_count += 1;
            if self.line_count >= ANSWER_LINE_COUNT_MAX {
                return Err(Fault::TooLong);
            }
            self.line_start = next as u16;
            self.looked = next as u16;
        }
    }
}

/// The code of one line, and whether it is the last one.
//= RFC 5321 section 4.2: three digits, then a hyphen where lines follow, or a space, or nothing
fn parse_line(line: &[u8]) -> Result<(Code, bool), Fault> {
    let (&[a, b, c], rest) = line.split_first_chunk().ok_or(Fault::Malformed)?;
    if !(a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit()) {
        return Err(Fault::Malformed);
    }
    let number = [a, b, c]
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    let code = Code::new(number).ok_or(Fault::Malformed)?;
    match rest {
        [b'-', ..] => Ok((code, false)),
        [b' ', ..] | b"\r\n" | b"\n" => Ok((code, true)),
        _ => Err(Fault::Malformed),
    }
}

/// A whole reply, line end included, as a view.
fn answer(code: Code, reply: &[u8]) -> Answer<'_> {
    let raw = reply.strip_suffix(b"\n").unwrap_or(reply);
    let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
    let first = memchr::memchr(b'\n', raw)
        .and_then(|end| raw.get(..end))
        .unwrap_or(raw);
    let text = first
        .strip_suffix(b"\r")
        .unwrap_or(first)
        .get(4..)
        .unwrap_or_default();
    let status = class_of(reply.first().copied().unwrap_or_default())
        .and_then(|class| split_status(text, class).0);
    Answer { code, status, raw }
}

//= RFC 2034 section 4: the class is the reply's first digit, and 3xx replies have no status
const fn class_of(digit: u8) -> Option<Class> {
    match digit {
        b'2' => Some(Class::Success),
        b'4' => Some(Class::Transient),
        b'5' => Some(Class::Permanent),
        _ => None,
    }
}

/// The enhanced status in front of a text, if there is one of this class, and the text behind it.
fn split_status(text: &[u8], class: Class) -> (Option<Status>, &[u8]) {
    parse_status(text, class).map_or((None, text), |(status, rest)| (Some(status), rest))
}

//= RFC 2034 section 4: the status opens the text, and one space or more part it from the rest
fn parse_status(text: &[u8], class: Class) -> Option<(Status, &[u8])> {
    if *text.first()? != b'0' + class as u8 {
        return None;
    }
    let (status, rest) = status::take(text)?;
    match rest {
        [] => Some((status, rest)),
        [b' ', rest @ ..] => Some((status, rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    fn take(bytes: &[u8]) -> Result<Option<(Answer<'_>, &[u8])>, Fault> {
        let mut input = bytes;
        let answer = Reader::default().take(&mut input)?;
        Ok(answer.map(|answer| (answer, input)))
    }

    #[track_caller]
    fn check(bytes: &str, code: u16, status: Option<(u16, u16)>, lines: &[&str], rest: &str) {
        let (answer, behind) = take(bytes.as_bytes()).unwrap().unwrap();
        assert_eq!(answer.code.get(), code);
        assert_eq!(
            answer.status.map(|status| (status.subject, status.detail)),
            status
        );
        let texts: Vec<&[u8]> = answer.lines().collect();
        let wanted: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(texts, wanted);
        assert_eq!(behind, rest.as_bytes());
    }

    #[test]
    fn one_line() {
        check("250 ok\r\n", 250, None, &["ok"], "");
        check("250 ok\r\n354 go\r\n", 250, None, &["ok"], "354 go\r\n");
        check("250\r\n", 250, None, &[""], "");
        check("250 \r\n", 250, None, &[""], "");
        check("250 ok\n", 250, None, &["ok"], "");
    }

    #[test]
    fn many_lines() {
        check("250-a\r\n250-\r\n250 b\r\n", 250, None, &["a", "", "b"], "");
        check("250-a\r\n250\r\n", 250, None, &["a", ""], "");
    }

    #[test]
    fn with_a_status() {
        check("550 5.1.1 no\r\n", 550, Some((1, 1)), &["no"], "");
        check(
            "550-5.1.1 no\r\n550 5.1.1 really\r\n",
            550,
            Some((1, 1)),
            &["no", "really"],
            "",
        );
        check("250 2.0.0\r\n", 250, Some((0, 0)), &[""], "");
        check("450 4.7.123 x\r\n", 450, Some((7, 123)), &["x"], "");
    }

    #[test]
    fn what_only_looks_like_a_status() {
        check("550 4.1.1 no\r\n", 550, None, &["4.1.1 no"], "");
        check("354 3.0.0 go\r\n", 354, None, &["3.0.0 go"], "");
        check("250 2.0 ok\r\n", 250, None, &["2.0 ok"], "");
        check("250 2.0.0.1 ok\r\n", 250, None, &["2.0.0.1 ok"], "");
        check("250 2.0.1234 ok\r\n", 250, None, &["2.0.1234 ok"], "");
        check("250 2..1 ok\r\n", 250, None, &["2..1 ok"], "");
    }

    #[test]
    fn no_reply_at_all() {
        for bytes in [
            "\r\n",
            "25\r\n",
            "hello\r\n",
            "150 x\r\n",
            "600 x\r\n",
            "250x\r\n",
            "250\tx\r\n",
            " 250 x\r\n",
            "250-a\r\nb\r\n",
            "2\u{663}0 x\r\n",
        ] {
            assert_eq!(take(bytes.as_bytes()), Err(Fault::Malformed), "{bytes:?}");
        }
        assert_eq!(take(b"250-a\r\n550 b\r\n"), Err(Fault::CodesDiffer));
    }

    #[test]
    fn not_yet_complete() {
        for bytes in ["", "2", "250 ok", "250 ok\r", "250-ok\r\n", "250-ok\r\n250"] {
            assert_eq!(take(bytes.as_bytes()), Ok(None), "{bytes:?}");
        }
    }

    #[test]
    fn limits_in_octets_and_lines() {
        let mut line = vec![b'a'; ANSWER_LEN_MAX];
        line[..4].copy_from_slice(b"250 ");
        line[ANSWER_LEN_MAX - 2..].copy_from_slice(b"\r\n");
        assert!(take(&line).unwrap().is_some());
        line.insert(4, b'a');
        assert_eq!(take(&line), Err(Fault::TooLong));
        assert_eq!(take(&line[..ANSWER_LEN_MAX]), Ok(None));
        assert_eq!(take(&vec![b'2'; ANSWER_LEN_MAX + 1]), Err(Fault::TooLong));

        let reply = |lines: u8| "250-a\r\n".repeat(usize::from(lines) - 1) + "250 a\r\n";
        assert!(
            take(reply(ANSWER_LINE_COUNT_MAX).as_bytes())
                .unwrap()
                .is_some()
        );
        assert_eq!(
            take(reply(ANSWER_LINE_COUNT_MAX + 1).as_bytes()),
            Err(Fault::TooLong)
        );
    }

    #[test]
    fn text_in_one_line() {
        let (answer, _) = take(b"550-5.1.1 gr\xfc\xdfe,\t\x1b[1m\r\n550 5.1.1 no\r\n")
            .unwrap()
            .unwrap();
        let mut text = Vec::new();
        answer.append_text(&mut text);
        assert_eq!(text, b"gr\xfc\xdfe,  [1m no");
    }

    /// Line by line over a copy, with no memory between calls.
    fn naive(bytes: &[u8]) -> Option<(u16, usize, usize)> {
        let mut lines = 0;
        let mut used = 0;
        for line in bytes.split_inclusive(|&octet| octet == b'\n') {
            if !line.ends_with(b"\n") {
                return None;
            }
            lines += 1;
            used += line.len();
            if line[3] != b'-' {
                let code = core::str::from_utf8(&line[..3]).unwrap().parse().unwrap();
                return Some((code, lines, used));
            }
        }
        None
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(
            code in 200u16..600,
            texts in proptest::collection::vec("[a-z0-9. \\-]{0,20}", 1..6),
            steps in proptest::collection::vec(1usize..9, 1..80),
        ) {
            let mut bytes = String::new();
            for (n, text) in texts.iter().enumerate() {
                let sign = if n + 1 == texts.len() { ' ' } else { '-' };
                bytes += &alloc::format!("{code}{sign}{text}\r\n");
            }
            bytes += "250 next";
            let bytes = bytes.as_bytes();
            let mut reader = Reader::default();
            let mut given = 0;
            for step in steps.into_iter().cycle() {
                given = (given + step).min(bytes.len());
                let mut input = &bytes[..given];
                let answer = reader.take(&mut input).unwrap();
                let seen = answer.map(|answer| {
                    (answer.code.get(), answer.lines().count(), given - input.len())
                });
                prop_assert_eq!(seen, naive(&bytes[..given]));
                if seen.is_some() {
                    break;
                }
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(prop_oneof![
            Just(b'2'), Just(b'5'), Just(b'0'), Just(b'-'), Just(b' '), Just(b'.'), Just(b'\r'), Just(b'\n'), any::<u8>(),
        ], 0..200)) {
            let mut input = bytes.as_slice();
            while let Ok(Some(answer)) = Reader::default().take(&mut input) {
                prop_assert!(answer.lines().count() > 0);
            }
        }
    }
}
