//! A reply as one line for a log or a report: code, status and the text of all lines, parted by
//! spaces. On the wire it is never shown like this.

use super::{Answer, Code, OwnedReply, Reply, Status};
use core::fmt::{self, Display, Formatter, Write};

impl Display for Reply<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        one_line(f, self.code, self.status, split(self.text))
    }
}

impl Display for Answer<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        one_line(f, self.code, self.status, self.lines())
    }
}

impl Display for OwnedReply {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.as_reply().fmt(f)
    }
}

/// The lines of a text, as [`Reply::text`] parts them; a last line end opens no further line.
pub(super) fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|&octet| octet == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn one_line<'l>(
    f: &mut Formatter<'_>,
    code: Code,
    status: Option<Status>,
    lines: impl Iterator<Item = &'l [u8]>,
) -> fmt::Result {
    code.fmt(f)?;
    if let Some(status) = status {
        write!(f, " {status}")?;
    }
    for line in lines.filter(|line| !line.is_empty()) {
        f.write_char(' ')?;
        // Octets that are no UTF-8 and characters that steer a terminal must not reach a log.
        for chunk in line.utf8_chunks() {
            for char in chunk.valid().chars() {
                f.write_char(if char.is_control() { ' ' } else { char })?;
            }
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::parse::Reader;
    use alloc::string::ToString;

    #[test]
    fn one_line_for_a_log() {
        assert_eq!(Reply::OK.to_string(), "250 2.0.0 Ok");
        assert_eq!(Reply::HELLO.to_string(), "250");
        let reply = Reply::NO_SUCH_USER.with_text("no\r\n\nreally\n");
        assert_eq!(reply.to_string(), "550 5.1.1 no really");
        let reply = Reply::NO_SUCH_USER.with_bytes(b"gr\xfc\xc3\x9f\x1b[2J\xc2\x9b1m");
        assert_eq!(reply.to_string(), "550 5.1.1 gr\u{fffd}ß [2J 1m");
    }

    #[test]
    fn an_answer_is_shown_alike() {
        let mut input = &b"550-5.1.1 no\r\n550-\r\n550 5.1.1 really\r\n"[..];
        let answer = Reader::default().take(&mut input).unwrap().unwrap();
        assert_eq!(answer.to_string(), "550 5.1.1 no really");
        assert_eq!(answer.to_owned().to_string(), answer.to_string());
    }
}
