//! A reply that owns its text, for what outlives the bytes it was read from, and for texts that are
//! put together. How it is written is the borrowed reply's business.

use super::{Answer, Code, Reply, Status, display};
use alloc::vec::Vec;

/// A reply with a text of its own.
///
/// Two are equal when code, status and all lines are; it can be compared with a [`Reply`] and with
/// an [`Answer`] in the same sense. `Display` shows one line for a log.
///
/// ```
/// use mailrail_protocol::reply::{Code, OwnedReply, Status};
///
/// let status: Status = "5.7.1".parse()?;
/// let reply = OwnedReply::new(Code::of(550), Some(status))
///     .with_line("Listed by bl.example")
///     .with_line("See https://bl.example/?ip=192.0.2.1");
/// let mut out = Vec::new();
/// reply.as_reply().write(&mut out);
/// assert_eq!(
///     out,
///     b"550-5.7.1 Listed by bl.example\r\n550 5.7.1 See https://bl.example/?ip=192.0.2.1\r\n"
/// );
/// assert_eq!(reply.to_string(), "550 5.7.1 Listed by bl.example See https://bl.example/?ip=192.0.2.1");
/// # Ok::<(), mailrail_protocol::reply::BadStatus>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct OwnedReply {
    /// The verdict.
    pub code: Code,
    /// The enhanced status.
    pub status: Option<Status>,
    /// The lines, parted by LF; within a line stands no LF.
    text: Vec<u8>,
    /// There is a first line, even if it is empty.
    has_line: bool,
}

impl OwnedReply {
    /// A reply without text as yet.
    #[must_use]
    pub const fn new(code: Code, status: Option<Status>) -> Self {
        Self {
            code,
            status,
            text: Vec::new(),
            has_line: false,
        }
    }

    /// The same with one more line behind; a text that has line ends makes several.
    #[must_use]
    pub fn with_line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.push_line(line.as_ref());
        self
    }

    /// Adds a line; a text that has line ends makes several.
    pub fn push_line(&mut self, line: &[u8]) {
        for line in display::split(line) {
            if self.has_line {
                self.text.push(b'\n');
            }
            self.has_line = true;
            self.text.extend_from_slice(line);
        }
    }

    /// The view of it that is written and compared.
    #[must_use]
    pub fn as_reply(&self) -> Reply<'_> {
        Reply {
            code: self.code,
            status: self.status,
            text: &self.text,
        }
    }

    /// The lines of the text; none where nothing was added.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text
            .split(|&octet| octet == b'\n')
            .filter(|_| self.has_line)
    }

    /// Does it let the dialogue move on?
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code.is_positive()
    }
}

impl From<&Reply<'_>> for OwnedReply {
    fn from(reply: &Reply<'_>) -> Self {
        let mut owned = Self::new(reply.code, reply.status);
        owned.push_line(reply.text);
        owned
    }
}

impl From<Reply<'_>> for OwnedReply {
    fn from(reply: Reply<'_>) -> Self {
        Self::from(&reply)
    }
}

impl From<&Answer<'_>> for OwnedReply {
    fn from(answer: &Answer<'_>) -> Self {
        let mut owned = Self::new(answer.code, answer.status);
        for line in answer.lines() {
            owned.push_line(line);
        }
        owned
    }
}

impl From<Answer<'_>> for OwnedReply {
    fn from(answer: Answer<'_>) -> Self {
        Self::from(&answer)
    }
}

impl PartialEq<Reply<'_>> for OwnedReply {
    fn eq(&self, other: &Reply<'_>) -> bool {
        self.code == other.code
            && self.status == other.status
            && display::split(&self.text).eq(display::split(other.text))
    }
}

impl PartialEq<OwnedReply> for Reply<'_> {
    fn eq(&self, other: &OwnedReply) -> bool {
        other == self
    }
}

impl PartialEq<Answer<'_>> for OwnedReply {
    fn eq(&self, other: &Answer<'_>) -> bool {
        self.code == other.code
            && self.status == other.status
            && display::split(&self.text).eq(other.lines())
    }
}

impl PartialEq<OwnedReply> for Answer<'_> {
    fn eq(&self, other: &OwnedReply) -> bool {
        other == self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::parse::Reader;
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn built_line_by_line() {
        let mut reply = OwnedReply::new(Code::of(250), None);
        assert_eq!(reply.lines().count(), 0);
        assert_eq!(reply, Reply::HELLO);
        reply.push_line(b"");
        reply.push_line(b"a\r\nb\n");
        assert_eq!(
            reply.lines().collect::<Vec<_>>(),
            [&b""[..], &b"a"[..], &b"b"[..]]
        );
    }

    #[test]
    fn comparisons_are_of_what_is_said() {
        let owned = OwnedReply::from(Reply::NO_SUCH_USER);
        assert_eq!(owned, Reply::NO_SUCH_USER);
        assert_ne!(owned, Reply::RELAY_DENIED);
        assert_ne!(owned, Reply::NO_SUCH_USER.with_text("No such user!"));
        let mut input = &b"550 5.1.1 No such user\r\n"[..];
        let answer = Reader::default().take(&mut input).unwrap().unwrap();
        assert_eq!(answer, owned);
        assert_eq!(answer.to_owned(), owned);
    }

    /// What of a line goes over the wire.
    fn sent(line: &[u8]) -> String {
        line.iter()
            .filter_map(|&octet| match octet {
                b'\t' => Some(' '),
                0..32 | 127 => None,
                128.. => Some('?'),
                _ => Some(char::from(octet)),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn written_and_read_it_is_the_same(
            code in 200u16..600,
            status in proptest::option::of((0u16..1000, 0u16..1000)),
            lines in proptest::collection::vec(
                proptest::collection::vec(
                    prop_oneof![Just(b' '), Just(b'.'), b'0'..=b'9', 32u8..127, any::<u8>()],
                    0..60,
                ),
                0..60,
            ),
        ) {
            let code = Code::of(code);
            let status = status
                .filter(|_| !code.is_intermediate())
                .map(|(subject, detail)| Status::for_code(code, subject, detail));
            let mut reply = OwnedReply::new(code, status);
            // A line end within a line would part it: of that the writer has a test of its own.
            let lines: Vec<Vec<u8>> = lines
                .into_iter()
                .map(|line| line.into_iter().filter(|octet| !b"\r\n".contains(octet)).collect())
                .collect();
            for line in &lines {
                reply.push_line(line);
            }
            let mut out = vec![];
            reply.as_reply().write(&mut out);
            let mut input = &out[..];
            let answer = Reader::default().take(&mut input).unwrap().unwrap();
            prop_assert!(input.is_empty());
            prop_assert_eq!(answer.code, code);
            if status.is_some() {
                prop_assert_eq!(answer.status, status);
            }
            let mut expected: Vec<String> = lines.iter().map(|line| sent(line)).collect();
            while expected.last().is_some_and(String::is_empty) {
                expected.pop();
            }
            if expected.is_empty() {
                expected.push(String::new());
            }
            let looks_like_status = expected[0].starts_with(['2', '4', '5']);
            if out.len() < crate::limits::REPLY_LEN_MAX - crate::limits::REPLY_LINE_LEN_MAX
                && (status.is_some() || !looks_like_status)
            {
                let read: Vec<String> = answer
                    .lines()
                    .map(|line| String::from_utf8(line.to_vec()).unwrap())
                    .collect();
                if status.is_some() || !expected.iter().any(|line| line.starts_with(['2', '4', '5'])) {
                    prop_assert_eq!(read, expected);
                }
            }
        }
    }
}
