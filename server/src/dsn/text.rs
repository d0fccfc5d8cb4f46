//! Cleaning and folding of what others said, for a report: one line's worth of it, no control characters.

use super::Failure;
use crate::message::answer::push_status;
use crate::message::decimal::push_padded;

/// Column at which text is broken, if a space comes.
const COLUMN_MAX: usize = 76;

/// Which characters may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Charset {
    /// Others become a question mark.
    Ascii,
    /// All of them; bytes that are none become a question mark.
    Utf8,
}

/// Appends `text` without its control characters.
pub(super) fn push_clean(out: &mut Vec<u8>, text: &[u8], charset: Charset) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                _ if character.is_control() => out.push(b' '),
                _ if charset == Charset::Ascii && !character.is_ascii() => out.push(b'?'),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.push(b'?');
        }
    }
}

/// Appends the answer as the peer said it: code, status, text.
pub(super) fn push_answer(out: &mut Vec<u8>, failure: &Failure<'_>, charset: Charset) {
    let answer = &failure.answer;
    if answer.code != 0 {
        push_padded(out, u64::from(answer.code), 3);
        out.push(b' ');
    }
    if let Some(status) = answer.status {
        push_status(out, status);
        out.push(b' ');
    }
    push_clean(out, answer.text, charset);
}

/// Breaks the text from `start` on where it gets too wide: each space that is followed by a word beyond the column
/// becomes a line's end and `indent`. Several spaces become one.
pub(super) fn fold_from(out: &mut Vec<u8>, start: usize, indent: &[u8]) {
    let text = out.split_off(start);
    let line_start = out
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let mut column = start - line_start;
    let mut is_first = true;
    for word in text
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
    {
        if is_first {
            is_first = false;
        } else if column + 1 + word.len() > COLUMN_MAX {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(indent);
            column = indent.len();
        } else {
            out.push(b' ');
            column += 1;
        }
        out.extend_from_slice(word);
        column += word.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clean(text: &[u8], charset: Charset) -> String {
        let mut out = Vec::new();
        push_clean(&mut out, text, charset);
        String::from_utf8(out).expect("UTF-8")
    }

    fn folded(text: &str) -> String {
        let mut out = b"first line\r\nName: ".to_vec();
        let start = out.len();
        out.extend_from_slice(text.as_bytes());
        fold_from(&mut out, start, b"\t");
        String::from_utf8(out.split_off(start)).expect("UTF-8")
    }

    #[test]
    fn others_words_are_cleaned() {
        for (text, ascii, utf8) in [
            (&b"plain"[..], "plain", "plain"),
            (b"two\r\nlines\0", "two  lines ", "two  lines "),
            ("größer".as_bytes(), "gr??er", "größer"),
            ("a\u{85}b".as_bytes(), "a b", "a b"),
            (b"broken \xc3 and \xff", "broken ? and ?", "broken ? and ?"),
        ] {
            assert_eq!(clean(text, Charset::Ascii), ascii);
            assert_eq!(clean(text, Charset::Utf8), utf8);
        }
    }

    #[test]
    fn text_is_folded_at_spaces_only() {
        assert_eq!(folded("short"), "short");
        assert_eq!(folded("  two   spaces "), "two spaces");
        let (long, fits) = ("x".repeat(100), "y".repeat(60));
        assert_eq!(folded(&long), long);
        assert_eq!(
            folded(&format!("{fits} {fits}")),
            format!("{fits}\r\n\t{fits}")
        );
        assert_eq!(
            folded(&format!("a {long} b")),
            format!("a\r\n\t{long}\r\n\tb")
        );
    }

    proptest! {
        #[test]
        fn folding_keeps_the_words(text in "[a-z ]{0,300}") {
            let folded = folded(&text);
            prop_assert!(folded.split_whitespace().eq(text.split_whitespace()));
            for line in folded.split("\r\n") {
                prop_assert!(line.len() <= COLUMN_MAX || !line.trim().contains(' '), "{line}");
            }
        }
    }
}
