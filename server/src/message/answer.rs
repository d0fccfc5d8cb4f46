//! What was last said about a recipient: code, enhanced status, text. As it is stored and told on.
//!
//! The text may be a peer's: any bytes. Whoever writes it somewhere cleans it for that place.

use super::decimal::{parse_u64, push_u64};
use mailrail_protocol::reply::{Class, Status};

/// Longest answer that is kept, in bytes: the rest of a longer one is dropped.
pub const ANSWER_LEN_MAX: usize = 512;

/// Appends `5.1.1`.
pub fn push_status(out: &mut Vec<u8>, status: Status) {
    push_u64(out, status.class as u64);
    out.push(b'.');
    push_u64(out, u64::from(status.subject));
    out.push(b'.');
    push_u64(out, u64::from(status.detail));
}

/// The status that all of `text` spells.
pub fn parse_status(text: &[u8]) -> Option<Status> {
    //= RFC 3463 section 2: class 2, 4 or 5; subject and detail have up to three digits
    let mut parts = text.split(|byte| *byte == b'.');
    let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || subject.len() > 3 || detail.len() > 3 {
        return None;
    }
    let class = match class {
        b"2" => Class::Success,
        b"4" => Class::Transient,
        b"5" => Class::Permanent,
        _ => return None,
    };
    Some(Status::new(
        class,
        parse_u64(subject)? as u16,
        parse_u64(detail)? as u16,
    ))
}

/// Code, status and text. The code is 0 where no code was ever heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer<'a> {
    /// The SMTP code; what we would say ourselves (451, 550) where the failure is our own finding.
    pub code: u16,
    /// The enhanced status, where there was one.
    pub status: Option<Status>,
    /// The text without code and status; its lines are joined with LF.
    pub text: &'a [u8],
}

impl<'a> Answer<'a> {
    /// An answer.
    pub const fn new(code: u16, status: Option<Status>, text: &'a [u8]) -> Self {
        Self { code, status, text }
    }

    /// Appends `450 4.2.1 text`, at most [`ANSWER_LEN_MAX`] bytes of it, and says how many.
    pub fn encode(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        push_u64(out, u64::from(self.code));
        out.push(b' ');
        if let Some(status) = self.status {
            push_status(out, status);
            out.push(b' ');
        }
        let room = ANSWER_LEN_MAX - (out.len() - start);
        out.extend_from_slice(cut(self.text, room));
        out.len() - start
    }

    /// Reads what [`encode`](Self::encode) wrote. Anything else becomes a text without a code.
    pub fn decode(bytes: &'a [u8]) -> Self {
        let mut parts = bytes.splitn(2, |byte| *byte == b' ');
        let (Some(code), Some(rest)) = (parts.next().and_then(parse_u64), parts.next()) else {
            return Self::new(0, None, bytes);
        };
        let Ok(code) = u16::try_from(code) else {
            return Self::new(0, None, bytes);
        };
        let word_len = rest
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(rest.len());
        match parse_status(&rest[..word_len]) {
            Some(status) if word_len < rest.len() => {
                Self::new(code, Some(status), &rest[word_len + 1..])
            }
            _ => Self::new(code, None, rest),
        }
    }

    /// The status: the one that was said, or the plainest one of the code's class.
    pub fn status_or_default(&self) -> Status {
        //= RFC 3463 section 3.1: X.0.0 where only the class is known
        let class = match self.code / 100 {
            2 => Class::Success,
            5 => Class::Permanent,
            _ => Class::Transient,
        };
        self.status.unwrap_or(Status {
            class,
            subject: 0,
            detail: 0,
        })
    }
}

/// The front of `text`, at most `len_max` bytes, not ending within a UTF-8 character.
pub(crate) fn cut(text: &[u8], len_max: usize) -> &[u8] {
    if text.len() <= len_max {
        return text;
    }
    let mut end = len_max;
    // At most three bytes back: where there is no character start among them the text is not UTF-8 anyway.
    while end > 0 && len_max - end < 4 && text[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    if len_max - end < 4 {
        &text[..end]
    } else {
        &text[..len_max]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        let status = Status::new(Class::Transient, 2, 1);
        for (answer, text) in [
            (
                Answer::new(450, Some(status), b"busy, later"),
                &b"450 4.2.1 busy, later"[..],
            ),
            (Answer::new(421, None, b"bye"), b"421 bye"),
            (Answer::new(421, None, b""), b"421 "),
            (
                Answer::new(550, Some(Status::new(Class::Permanent, 7, 999)), b""),
                b"550 5.7.999 ",
            ),
            (
                Answer::new(250, None, b"\xff\n\0 2.0.0"),
                b"250 \xff\n\0 2.0.0",
            ),
        ] {
            let mut out = Vec::new();
            assert_eq!(answer.encode(&mut out), text.len());
            assert_eq!(out, text);
            assert_eq!(Answer::decode(&out), answer);
        }
    }

    #[test]
    fn not_a_status() {
        for text in [
            "", "5", "5.1", "5.1.1.1", "3.1.1", "5.1000.1", "5..1", "5.1.x", " 5.1.1", "55.1.1",
        ] {
            assert_eq!(parse_status(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = "€".repeat(400);
        let mut out = Vec::new();
        let len = Answer::new(550, None, text.as_bytes()).encode(&mut out);
        assert!(
            (ANSWER_LEN_MAX - 2..=ANSWER_LEN_MAX).contains(&len),
            "{len}"
        );
        assert!(std::str::from_utf8(&out).is_ok());
        assert_eq!(cut(&[0x80; 9], 5), &[0x80; 5], "no UTF-8: cut where asked");
    }

    #[test]
    fn default_status_has_the_class_of_the_code() {
        for (code, class) in [
            (250, Class::Success),
            (451, Class::Transient),
            (550, Class::Permanent),
            (0, Class::Transient),
        ] {
            assert_eq!(
                Answer::new(code, None, b"").status_or_default(),
                Status::new(class, 0, 0)
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode(bytes: Vec<u8>) {
            let _ = Answer::decode(&bytes);
            prop_assert!(cut(&bytes, 7).len() <= 7);
        }
    }
}
