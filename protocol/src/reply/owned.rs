//! A reply that owns its text, for what outlives the bytes it was read from, and for texts that are
//! put together. How it is written is the borrowed reply's business.

use super::{Answer, Code, Reply, Status, display};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

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
#[derive(Clone, Debug)]
pub struct OwnedReply {
    /// The verdict.
    pub code: Code,
    /// The enhanced status.
    pub status: Option<Status>,
    /// The lines, parted by LF; within a line stands no LF.
    text: Vec<u8>,
    /// The first line was added, even if it is empty.
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
            self.push_one(line);
        }
    }

    /// Adds a line that has no LF in it.
    fn push_one(&mut self, line: &[u8]) {
        if self.has_line {
            self.text.push(b'\n');
        }
        self.has_line = true;
        self.text.extend_from_slice(line);
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

    /// The lines of the text: one at least, as on the wire, even if nothing is in it.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|&octet| octet == b'\n')
    }

    /// Does it let the dialogue move on?
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code.is_positive()
    }
}

impl PartialEq for OwnedReply {
    fn eq(&self, other: &Self) -> bool {
        self.as_reply() == other.as_reply()
    }
}

impl Eq for OwnedReply {}

impl Hash for OwnedReply {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_reply().hash(state);
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
            owned.push_one(line);
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
            && self.lines().eq(display::split(other.text))
    }
}

impl PartialEq<OwnedReply> for Reply<'_> {
    fn eq(&self, other: &OwnedReply) -> bool {
        other == self
    }
}

impl PartialEq<Answer<'_>> for OwnedReply {
    fn eq(&self, other: &Answer<'_>) -> bool {
        self.code == other.code && self.status == other.status && self.lines().eq(other.lines())
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
        assert_eq!(reply.lines().collect::<Vec<_>>(), [b""]);
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
        let bare = OwnedReply::new(Code::of(250), None);
        assert_eq!(bare.clone().with_line(""), bare);
        assert_ne!(bare.clone().with_line("").with_line(""), bare);
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

    #[test]
    fn a_text_may_look_like_a_status() {
        let owned = OwnedReply::new(Code::of(250), None).with_line("2.0.0 Ok");
        let mut out = vec![];
        owned.as_reply().write(&mut out);
        let answer = Reader::default().take(&mut &out[..]).unwrap().unwrap();
        assert_eq!(answer, OwnedReply::from(Reply::OK));
    }

    proptest! {
        #[test]
        fn written_and_read_it_is_the_same(
            code in prop_oneof![200u16..300, 400u16..600],
            subject in 0u16..1000,
            detail in 0u16..1000,
            lines in proptest::collection::vec(
                proptest::collection::vec(
                    any::<u8>().prop_filter("it would end the line", |octet| !b"\r\n".contains(octet)),
                    0..40,
                ),
                0..20,
            ),
        ) {
            let code = Code::of(code);
            let mut given = OwnedReply::new(code, Some(Status::for_code(code, subject, detail)));
            let mut expected = given.clone();
            let empty = |line: &&Vec<u8>| sent(line).is_empty();
            let end = lines.len() - lines.iter().rev().take_while(empty).count();
            for (n, line) in lines.iter().enumerate() {
                given.push_line(line);
                if n < end {
                    expected.push_line(sent(line).as_bytes());
                }
            }
            let mut out = vec![];
            given.as_reply().write(&mut out);
            let mut input = &out[..];
            let answer = Reader::default().take(&mut input).unwrap().unwrap();
            prop_assert_eq!(answer.to_owned(), expected.clone());
            prop_assert_eq!(answer, expected);
            prop_assert!(input.is_empty());
        }
    }
}
