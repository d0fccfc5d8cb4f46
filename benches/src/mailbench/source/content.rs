//! What contents consist of behind their header: one block of lines, made once and sent by slices, whatever
//! the size. No line begins with a dot, so that nothing has to be stuffed.

use super::message::HEADER_LEN_MAX;
use super::plan::{Purpose, SIZE_MIN, draw};

/// Letters in a line, as in base64.
const LETTER_COUNT: usize = 76;
const LINE_LEN: usize = LETTER_COUNT + 2;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// A last line, of which any end is a line too.
const LAST: [u8; LINE_LEN + 1] = {
    let mut line = [b'x'; LINE_LEN + 1];
    line[LINE_LEN - 1] = b'\r';
    line[LINE_LEN] = b'\n';
    line
};

/// The lines. Shared by all shards.
#[derive(Debug)]
pub(super) struct Content {
    lines: Box<[u8]>,
}

impl Content {
    /// Enough for contents of this size; what stands in it follows from the seed.
    pub(super) fn new(size_max: usize, seed: u64) -> Self {
        let line_count = size_max.div_ceil(LINE_LEN);
        let mut lines = Vec::with_capacity(line_count * LINE_LEN);
        for number in 0..line_count as u64 {
            for word in 0..(LETTER_COUNT as u64).div_ceil(8) {
                let bits = draw(seed, Purpose::Content, number * 16 + word);
                let letters = bits
                    .to_le_bytes()
                    .map(|byte| ALPHABET[usize::from(byte % 64)]);
                let left = LETTER_COUNT - 8 * word as usize;
                lines.extend_from_slice(&letters[..left.min(8)]);
            }
            lines.extend_from_slice(b"\r\n");
        }
        let lines = lines.into_boxed_slice();
        Self { lines }
    }

    /// Two slices of `len` bytes together, whole lines both.
    pub(super) fn slices(&self, len: usize) -> (&[u8], &[u8]) {
        debug_assert!(len >= 2, "a line has an end");
        let mut rest = len % LINE_LEN;
        // One byte is no line: it is added to the line before it.
        if rest == 1 {
            rest += LINE_LEN;
        }
        (&self.lines[..len - rest], &LAST[LAST.len() - rest..])
    }
}

const _: () = assert!(
    HEADER_LEN_MAX + 2 <= SIZE_MIN,
    "the smallest content has a body"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_made_of_whole_lines() {
        let content = Content::new(1000, 1);
        for len in 2..=1000 {
            let (body, tail) = content.slices(len);
            let whole = [body, tail].concat();
            assert_eq!(whole.len(), len);
            assert!(whole.ends_with(b"\r\n"), "{len}");
            for line in whole[..len - 2].split(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                assert!(!line.starts_with(b".") && !line.contains(&b'\r'), "{len}");
                assert!(line.len() <= 77 && line.is_ascii(), "{len}");
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        let lines = |seed| Content::new(5000, seed).lines;
        assert_eq!(lines(1), lines(1));
        assert_ne!(lines(1), lines(2));
    }
}
