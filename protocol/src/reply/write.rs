//! From a reply to the bytes that a server sends. What to say is decided elsewhere; that it stays
//! one reply, whatever its text, is decided here.

use super::Reply;
use crate::ascii::{self, CONTROL, push_decimal};
use crate::limits::{REPLY_LEN_MAX, REPLY_LINE_LEN_MAX};
use alloc::vec::Vec;

impl Reply<'_> {
    /// Appends the reply, its enhanced status included.
    ///
    /// The text is parted at its line ends and loses every other control character, so that no
    /// text can ever forge a second reply; what is not ASCII becomes a question mark, long lines are
    /// continued, and what goes beyond [`REPLY_LEN_MAX`] is cut off.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut lines = Lines::new(self, true, out);
        lines.text(self.text);
        lines.end();
    }

    /// The same without the enhanced status.
    pub(crate) fn write_plain(&self, out: &mut Vec<u8>) {
        let mut lines = Lines::new(self, false, out);
        lines.text(self.text);
        lines.end();
    }
}

/// A reply being written, line by line. Each line is written as if another followed; the last one
/// learns at the end that none did.
pub(crate) struct Lines<'o> {
    out: &'o mut Vec<u8>,
    /// The code, as digits.
    code: [u8; 3],
    /// The enhanced status and a space, if there is one.
    status: [u8; STATUS_LEN_MAX],
    status_len: usize,
    /// Where the reply began in `out`.
    start: usize,
    /// Where the current line's hyphen is.
    hyphen: usize,
    /// Is the present line still without text?
    fresh: bool,
}

/// Octets of `2.123.123 `.
const STATUS_LEN_MAX: usize = 10;

impl<'o> Lines<'o> {
    pub(crate) fn new(reply: &Reply<'_>, with_status: bool, out: &'o mut Vec<u8>) -> Self {
        let code = reply.code.get();
        let digit = |place: u16| b'0' + (code / place % 10) as u8;
        let code = [digit(100), digit(10), digit(1)];
        let start = out.len();
        let mut status = [0; STATUS_LEN_MAX];
        let mut status_len = 0;
        //= RFC 2034 section 4: replies of 2xx, 4xx and 5xx carry a status whose class is the first digit
        if let Some(given) = reply.status.filter(|_| with_status && code[0] != b'3') {
            // Written once into `out`, kept, and taken back: continuation lines repeat it.
            out.push(code[0]);
            out.push(b'.');
            push_decimal(out, u64::from(given.subject % 1000));
            out.push(b'.');
            push_decimal(out, u64::from(given.detail % 1000));
            out.push(b' ');
            let written = out.get(start..).unwrap_or_default();
            status_len = written.len();
            for (slot, byte) in status.iter_mut().zip(written) {
                *slot = *byte;
            }
            out.truncate(start);
        }
        let mut lines = Self {
            out,
            code,
            status,
            status_len,
            start,
            hyphen: start,
            fresh: true,
        };
        lines.open();
        lines
    }

    fn open(&mut self) {
        self.out.extend_from_slice(&self.code);
        self.hyphen = self.out.len();
        self.out.push(b'-');
        let status = self.status.get(..self.status_len).unwrap_or_default();
        self.out.extend_from_slice(status);
        self.fresh = true;
    }

    /// Appends to the present line what is known to be clean and short.
    pub(crate) fn word(&mut self, word: &str) {
        self.out.extend_from_slice(word.as_bytes());
        self.fresh = false;
    }

    /// Appends a number to the present line.
    pub(crate) fn number(&mut self, number: u64) {
        push_decimal(self.out, number);
        self.fresh = false;
    }

    /// Ends the present line and opens another.
    pub(crate) fn next(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.open();
    }

    /// Octets that the present line still has room for.
    fn room(&self) -> usize {
        let len = self.code.len() + (self.out.len() - self.hyphen) + b"\r\n".len();
        REPLY_LINE_LEN_MAX.saturating_sub(len)
    }

    /// Appends text of any kind and origin; it goes on where the present line stands.
    pub(crate) fn text(&mut self, text: &[u8]) {
        // The usual case by far: one short clean line.
        if text.len() <= self.room() && ascii::is_printable(text) {
            self.out.extend_from_slice(text);
            self.fresh &= text.is_empty();
            return;
        }
        let mut opens = false;
        for line in text.split(|&byte| byte == b'\n' || byte == b'\r') {
            for &byte in line.iter().filter(|&&byte| !ascii::is(byte, CONTROL)) {
                if (opens && !self.fresh) || self.room() == 0 {
                    if self.out.len() - self.start + REPLY_LINE_LEN_MAX > REPLY_LEN_MAX {
                        return;
                    }
                    self.next();
                }
                opens = false;
                self.out.push(if byte.is_ascii() { byte } else { b'?' });
                self.fresh = false;
            }
            opens = true;
        }
    }

    /// Ends the reply.
    //= RFC 5321 section 4.2.1: all lines but the last have a hyphen behind the code
    pub(crate) fn end(self) {
        if let Some(hyphen) = self.out.get_mut(self.hyphen) {
            *hyphen = b' ';
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{Code, Status};
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    fn written(reply: &Reply<'_>) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_line() {
        assert_eq!(written(&Reply::OK), "250 2.0.0 Ok\r\n");
        assert_eq!(
            written(&Reply::BAD_LINE_ENDS),
            "550 5.6.11 Bare CR or LF, or NUL, in the message\r\n"
        );
        assert_eq!(written(&Reply::plain(Code::of(250), "")), "250 \r\n");
    }

    #[test]
    fn no_status_on_3xx() {
        let status = Status::for_code(Code::of(250), 0, 0);
        let reply = Reply::new(Code::of(354), status, "go on");
        assert_eq!(written(&reply), "354 go on\r\n");
    }

    #[test]
    fn the_class_is_the_codes() {
        let status = Status::for_code(Code::of(250), 7, 1);
        assert_eq!(
            written(&Reply::new(Code::of(451), status, "no")),
            "451 4.7.1 no\r\n"
        );
    }

    #[test]
    fn lines_are_continued() {
        let reply = Reply::NO_SUCH_USER.with_text("one\ntwo\r\nthree\r\n");
        assert_eq!(
            written(&reply),
            "550-5.1.1 one\r\n550-5.1.1 two\r\n550 5.1.1 three\r\n"
        );
    }

    #[test]
    fn text_cannot_forge_a_reply() {
        let reply = Reply::NO_SUCH_USER.with_text("x\r\n250 2.0.0 Ok\r\n");
        assert_eq!(written(&reply), "550-5.1.1 x\r\n550 5.1.1 250 2.0.0 Ok\r\n");
        let reply = Reply::NO_SUCH_USER.with_text("a\0b\u{1b}[31mc\u{7f}ü");
        assert_eq!(written(&reply), "550 5.1.1 ab[31mc??\r\n");
    }

    proptest! {
        #[test]
        fn always_one_whole_reply(text in proptest::collection::vec(any::<u8>(), 0..6000)) {
            let reply = Reply { text: &text, ..Reply::RELAY_DENIED };
            let mut out = vec![];
            reply.write(&mut out);
            prop_assert!(out.len() <= REPLY_LEN_MAX);
            let body = out.strip_suffix(b"\r\n").unwrap();
            let lines: Vec<&[u8]> = body.split(|&byte| byte == b'\n').collect();
            let (last, others) = lines.split_last().unwrap();
            prop_assert!(last.starts_with(b"550 5.7.1 "));
            for line in others {
                prop_assert!(line.starts_with(b"550-5.7.1 ") && line.ends_with(b"\r"));
            }
            for line in &lines {
                prop_assert!(line.len() < REPLY_LINE_LEN_MAX);
                let text = line.strip_suffix(b"\r").unwrap_or(line);
                prop_assert!(text.iter().all(|byte| (32..127).contains(byte)));
            }
        }
    }
}
