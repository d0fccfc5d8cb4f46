//! Reading a header section: where it ends, and how many Received fields it has.
//!
//! A scan that takes the content in pieces as they come; it stops at the section's end, so a body costs nothing.

use memchr::memchr;

/// A message with more Received fields than this runs in circles.
//= RFC 5321 section 6.3: counting is the means; it advises 100, and no honest road is half as long
pub const RECEIVED_COUNT_MAX: u32 = 50;

const NAME: &[u8] = b"received";

/// The scan of one message's header section.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    place: Place,
    received_count: u32,
    /// Bytes before the present line; then, of the whole section.
    header_len: u64,
    /// Bytes of the present line that earlier pieces held.
    line_len: u64,
}

/// Where in a line the scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So many bytes of the line are those of `Received`.
    Name(usize),
    /// The name is whole; spaces may come before the colon.
    Colon,
    /// A CR opened the line: the section's end, if a LF follows.
    Empty,
    /// Nothing more matters in this line.
    Rest,
    /// The empty line was seen.
    Body,
}

impl Default for Place {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl Trace {
    /// Nothing seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece of the content.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut at = 0;
        let mut line_start = 0;
        while self.place != Place::Body && at < piece.len() {
            let byte = piece[at];
            match self.place {
                //= RFC 5322 section 2.1: an empty line ends the header section
                Place::Name(0) if byte == b'\r' => self.place = Place::Empty,
                Place::Name(0) | Place::Empty if byte == b'\n' => {
                    self.place = Place::Body;
                    return;
                }
                Place::Name(known) if byte.eq_ignore_ascii_case(&NAME[known]) => {
                    self.place = if known + 1 < NAME.len() {
                        Place::Name(known + 1)
                    } else {
                        Place::Colon
                    };
                }
                //= RFC 5322 section 4.5: an obsolete field may have spaces before its colon
                Place::Colon if byte == b' ' || byte == b'\t' => {}
                Place::Colon if byte == b':' => {
                    self.received_count += 1;
                    self.place = Place::Rest;
                }
                _ => {
                    self.place = Place::Rest;
                    let Some(end) = memchr(b'\n', &piece[at..]) else {
                        break;
                    };
                    at += end;
                    self.header_len += self.line_len + (at + 1 - line_start) as u64;
                    self.line_len = 0;
                    line_start = at + 1;
                    self.place = Place::Name(0);
                }
            }
            at += 1;
        }
        if self.place != Place::Body {
            self.line_len += (piece.len() - line_start) as u64;
        }
    }

    /// How many Received fields came so far.
    pub const fn received_count(&self) -> u32 {
        self.received_count
    }

    /// Whether there were more than [`RECEIVED_COUNT_MAX`]: answer 554 5.4.6.
    pub const fn is_loop(&self) -> bool {
        self.received_count > RECEIVED_COUNT_MAX
    }

    /// Whether the section has ended: what follows need not be fed.
    pub fn is_done(&self) -> bool {
        self.place == Place::Body
    }

    /// Length of the header section without the empty line, once its end was seen.
    pub fn header_len(&self) -> Option<u64> {
        self.is_done().then_some(self.header_len)
    }
}

/// The header section of `content`: whole lines, at most `len_max` bytes of them, without the empty line.
pub fn header_section(content: &[u8], len_max: usize) -> &[u8] {
    let mut len = 0;
    while let Some(end) = memchr(b'\n', &content[len..]) {
        let line = &content[len..=len + end];
        if line == b"\r\n" || line == b"\n" || len + line.len() > len_max {
            break;
        }
        len += line.len();
    }
    &content[..len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Count and section length line by line.
    fn naive(content: &[u8]) -> (u32, Option<u64>) {
        let (mut count, mut len) = (0, 0);
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            if line == b"\r\n" || line == b"\n" {
                return (count, Some(len));
            }
            len += line.len() as u64;
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let name = line[..colon].to_ascii_lowercase();
            let Some(spaces) = name.strip_prefix(b"received") else {
                continue;
            };
            count += u32::from(spaces.iter().all(|byte| matches!(byte, b' ' | b'\t')));
        }
        (count, None)
    }

    fn scan(pieces: &[&[u8]]) -> (u32, Option<u64>) {
        let mut trace = Trace::new();
        for piece in pieces {
            trace.feed(piece);
        }
        (trace.received_count(), trace.header_len())
    }

    fn check(content: &str, count: u32, header_len: Option<u64>) {
        let content = content.as_bytes();
        let bytes: Vec<&[u8]> = content.chunks(1).collect();
        assert_eq!(scan(&[content]), (count, header_len), "whole");
        assert_eq!(scan(&bytes), (count, header_len), "byte by byte");
        assert_eq!(naive(content), (count, header_len), "naive");
    }

    #[test]
    fn sections() {
        check("", 0, None);
        check("\r\nReceived: x\r\n", 0, Some(0));
        check("Received: x\r\n\r\nReceived: body\r\n", 1, Some(13));
        check(
            "RECEIVED: x\r\nreceived :y\r\nReceived-SPF: z\r\nreceive: a\r\n\r\n",
            2,
            Some(55),
        );
        check(
            "Received: x\r\n Received: folded\r\n\tReceived: too\r\n\r\n",
            1,
            Some(48),
        );
        check(
            "X-Received: x\r\nReceived x: y\r\nReceived\r\n: z\r\n\r\n",
            0,
            Some(45),
        );
        check("Received: no end", 1, None);
        check("\rReceived: x\r\n\r\n", 0, Some(14));
        check("a\r\n\r", 0, None);
    }

    #[test]
    fn fifty_one_is_a_loop() {
        let mut trace = Trace::new();
        trace.feed("Received: x\r\n".repeat(50).as_bytes());
        assert!(!trace.is_loop());
        trace.feed(b"Received: x\r\n");
        assert!(trace.is_loop());
    }

    #[test]
    fn sections_are_cut_between_lines() {
        let content = b"a: b\r\nc: d\r\n\r\nbody\r\n";
        assert_eq!(header_section(content, 100), b"a: b\r\nc: d\r\n");
        assert_eq!(header_section(content, 11), b"a: b\r\n");
        assert_eq!(header_section(content, 3), b"");
        assert_eq!(header_section(b"a: b\r\nno end", 100), b"a: b\r\n");
    }

    proptest! {
        #[test]
        fn same_as_naive(
            lines in prop::collection::vec("(Received|RECEIVED|received|X|)[ \t]{0,2}[:x]?[ a]{0,3}\r?\n?\r?\n", 0..9),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let content = lines.concat().into_bytes();
            let mut rest = content.as_slice();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(scan(&pieces), naive(&content));
            prop_assert_eq!(scan(&[&content]), naive(&content));
            if let (_, Some(len)) = naive(&content) {
                prop_assert_eq!(header_section(&content, usize::MAX).len() as u64, len);
            }
        }
    }
}
