//! From a reply to the bytes that a server sends. What to say is decided elsewhere; that it stays
//! one reply, whatever its text, is decided here.

use super::{Code, Reply, Status};
use crate::ascii::{self, push_decimal};
use crate::limits::{REPLY_LEN_MAX, REPLY_LINE_COUNT_MAX, REPLY_LINE_LEN_MAX};
use alloc::vec::Vec;

impl Reply<'_> {
    /// Appends the reply, its enhanced status included.
    ///
    /// The text is parted at its line ends (CRLF, LF, CR) and loses every other control character, so
    /// that no text can ever forge a second reply; a tab becomes a space and what is not ASCII a
    /// question mark. A line above [`REPLY_LINE_LEN_MAX`] octets is continued in a next one; what goes
    /// beyond [`REPLY_LEN_MAX`] octets or [`REPLY_LINE_COUNT_MAX`] lines is cut off. Empty lines stay,
    /// but for those at the end.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        if !self.write_usual(out) {
            self.write_any(out);
        }
    }

    /// Nearly every reply: one short line, clean, with a status of single digits. False if this is
    /// no such reply, and then nothing is written.
    #[inline]
    fn write_usual(&self, out: &mut Vec<u8>) -> bool {
        let (
            Some(Status {
                subject: subject @ 0..10,
                detail: detail @ 0..10,
                ..
            }),
            false,
        ) = (self.status, self.code.is_intermediate())
        else {
            return false;
        };
        if self.text.len() > USUAL_TEXT_LEN_MAX || !ascii::is_printable(self.text) {
            return false;
        }
        let [class, ten, one] = digits(self.code);
        let (subject, detail) = (b'0' + subject as u8, b'0' + detail as u8);
        let head = [
            class, ten, one, b' ', class, b'.', subject, b'.', detail, b' ',
        ];
        out.reserve(head.len() + self.text.len() + b"\r\n".len());
        out.extend_from_slice(&head);
        out.extend_from_slice(self.text);
        out.extend_from_slice(b"\r\n");
        true
    }

    fn write_any(&self, out: &mut Vec<u8>) {
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

/// Octets of text that are sure to fit in one line, whatever stands before them.
const USUAL_TEXT_LEN_MAX: usize = REPLY_LINE_LEN_MAX / 2;

/// The code as it is written.
fn digits(code: Code) -> [u8; 3] {
    let digit = |place: u16| b'0' + (code.get() / place % 10) as u8;
    [digit(100), digit(10), digit(1)]
}

/// A reply being written, line by line. Each line is written as if another followed; the last one
/// learns at the end that none did.
pub(crate) struct Lines<'o> {
    out: &'o mut Vec<u8>,
    /// The code, as digits.
    code: [u8; 3],
    /// What stands behind it in each line.
    status: Option<Status>,
    /// Where the reply began in `out`.
    start: usize,
    /// Where the current line's hyphen is.
    hyphen: usize,
    /// Lines begun.
    line_count: u8,
}

impl<'o> Lines<'o> {
    pub(crate) fn new(reply: &Reply<'_>, with_status: bool, out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        let mut lines = Self {
            out,
            code: digits(reply.code),
            //= RFC 2034 section 4: replies of 2xx, 4xx and 5xx carry a status whose class is the first digit
            status: match reply.status {
                Some(status) if with_status && !reply.code.is_intermediate() => Some(status),
                _ => None,
            },
            start,
            hyphen: start,
            line_count: 0,
        };
        lines.open();
        lines
    }

    fn open(&mut self) {
        self.out.extend_from_slice(&self.code);
        self.hyphen = self.out.len();
        self.out.push(b'-');
        if let Some(status) = self.status {
            let [class, ..] = self.code;
            self.out.extend_from_slice(&[class, b'.']);
            push_part(self.out, status.subject);
            self.out.push(b'.');
            push_part(self.out, status.detail);
            self.out.push(b' ');
        }
        self.line_count = self.line_count.saturating_add(1);
    }

    /// Appends to the present line what is known to be clean and short.
    pub(crate) fn word(&mut self, word: &str) {
        self.out.extend_from_slice(word.as_bytes());
    }

    /// Appends a number to the present line.
    pub(crate) fn number(&mut self, number: u64) {
        push_decimal(self.out, number);
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

    /// Is there room for one more line in the reply?
    fn has_room(&self) -> bool {
        self.out.len() - self.start + REPLY_LINE_LEN_MAX <= REPLY_LEN_MAX
            && self.line_count < REPLY_LINE_COUNT_MAX
    }

    /// Appends text of any kind and origin; it goes on where the present line stands.
    #[inline]
    pub(crate) fn text(&mut self, text: &[u8]) {
        // The usual case by far: one short clean line.
        if text.len() <= self.room() && ascii::is_printable(text) {
            self.out.extend_from_slice(text);
        } else {
            self.any_text(text);
        }
    }

    #[cold]
    fn any_text(&mut self, text: &[u8]) {
        // Line ends that are written as soon as something stands behind them.
        let mut ends = 0usize;
        let mut previous = 0;
        for &byte in text {
            match byte {
                b'\n' if previous == b'\r' => {}
                b'\n' | b'\r' => ends += 1,
                b'\t' | b' '..=b'~' | 128.. => {
                    while ends > 0 || self.room() == 0 {
                        if !self.has_room() {
                            return;
                        }
                        self.next();
                        ends = ends.saturating_sub(1);
                    }
                    self.out.push(match byte {
                        b'\t' => b' ',
                        128.. => b'?',
                        _ => byte,
                    });
                }
                _ => {}
            }
            previous = byte;
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

/// One of the two latter numbers of a status: up to three digits.
//= RFC 3463 section 2: subject and detail have one to three digits
fn push_part(out: &mut Vec<u8>, part: u16) {
    match part {
        0..10 => out.push(b'0' + part as u8),
        _ => push_decimal(out, u64::from(part % 1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let reply = Reply::NO_SUCH_USER.with_text("a\0b\u{1b}[31mc\u{7f}ü\td");
        assert_eq!(written(&reply), "550 5.1.1 ab[31mc?? d\r\n");
        let reply = Reply::NO_SUCH_USER.with_text("x\r250 ok\n\r\n\r\0\n");
        assert_eq!(written(&reply), "550-5.1.1 x\r\n550 5.1.1 250 ok\r\n");
    }

    #[test]
    fn empty_lines_stay() {
        let reply = Reply::plain(Code::of(214), "\nsee\n\r\nrfc\n\n");
        assert_eq!(written(&reply), "214-\r\n214-see\r\n214-\r\n214 rfc\r\n");
    }

    #[test]
    fn never_more_lines_than_are_read() {
        let text = "a\n".repeat(500);
        let lines = written(&Reply::plain(Code::of(214), &text));
        assert_eq!(lines.lines().count(), usize::from(REPLY_LINE_COUNT_MAX));
        let text = "\n".repeat(500) + "a";
        let lines = written(&Reply::plain(Code::of(214), &text));
        assert_eq!(lines.lines().count(), usize::from(REPLY_LINE_COUNT_MAX));
        assert!(lines.ends_with("\r\n214 \r\n"));
    }

    proptest! {
        #[test]
        fn the_usual_reply_is_the_same_in_the_usual_way(
            code in 200u16..600,
            subject in 0u16..12,
            detail in 0u16..12,
            text in "[ -~]{0,300}|[ -~]{0,20}\\PC{0,3}",
        ) {
            let code = Code::of(code);
            let text = text.as_bytes();
            let reply = Reply { text, ..Reply::new(code, Status::for_code(code, subject, detail), "") };
            let (mut one, mut other) = (vec![], vec![]);
            reply.write(&mut one);
            reply.write_any(&mut other);
            prop_assert_eq!(one, other);
        }

        #[test]
        fn always_one_whole_reply(text in proptest::collection::vec(
            prop_oneof![8 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(b'\r')],
            0..6000,
        )) {
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
            prop_assert!(lines.len() <= usize::from(REPLY_LINE_COUNT_MAX));
            for line in &lines {
                prop_assert!(line.len() < REPLY_LINE_LEN_MAX);
                let text = line.strip_suffix(b"\r").unwrap_or(line);
                prop_assert!(text.iter().all(|byte| (32..127).contains(byte)));
            }
        }
    }
}
