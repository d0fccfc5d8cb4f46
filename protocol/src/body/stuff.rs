//! Dot stuffing on the way out: where a chunk of content must be cut so that a leading dot goes
//! over the wire twice. Nothing is copied: the pieces are slices of the chunk, and the doubled
//! dot is simply in two of them. What the dot means to a receiver is in `dot`.

use memchr::memmem::Finder;

/// Where in a line the content stands between two chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    /// At the start of a line: nothing was sent yet, or the last octets were CRLF.
    LineStart,
    /// The last octet was a CR, which the next one may complete to a line end.
    AfterCr,
    /// Inside a line.
    Inside,
}

impl Edge {
    /// Where the content stands once `chunk` has followed.
    #[must_use]
    pub const fn after(self, chunk: &[u8]) -> Self {
        match (self, chunk) {
            (_, [.., b'\r', b'\n']) | (Self::AfterCr, [b'\n']) => Self::LineStart,
            (_, [.., b'\r']) => Self::AfterCr,
            (edge, []) => edge,
            _ => Self::Inside,
        }
    }
}

/// The pieces of one chunk to write, in order: the chunk itself, cut where a dot is doubled.
#[derive(Clone, Debug)]
pub struct Segments<'b> {
    rest: &'b [u8],
    /// How far into `rest` the search for the next line start with a dot has to begin.
    from: usize,
    scan: Option<Scan>,
}

#[derive(Clone, Debug)]
struct Scan {
    finder: Finder<'static>,
    edge: Edge,
}

impl<'b> Segments<'b> {
    /// The whole chunk as it is: a chunk of BDAT, or content without leading dots.
    #[must_use]
    pub const fn whole(chunk: &'b [u8]) -> Self {
        Self {
            rest: chunk,
            from: 0,
            scan: None,
        }
    }

    /// The chunk with its leading dots doubled, when what was sent before ended at `edge`.
    #[must_use]
    pub fn stuffed(edge: Edge, chunk: &'b [u8]) -> Self {
        let scan = Scan {
            finder: Finder::new(b"\r\n."),
            edge,
        };
        Self {
            rest: chunk,
            from: 0,
            scan: Some(scan),
        }
    }
}

impl<'b> Iterator for Segments<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(dot) = self.dot() else {
            return Some(core::mem::take(&mut self.rest));
        };
        // The dot closes this piece and opens the next one.
        //= RFC 5321 section 4.5.2: a line that starts with a dot gets one more in front
        let piece = self.rest.get(..=dot)?;
        self.rest = self.rest.get(dot..)?;
        self.from = 1;
        Some(piece)
    }
}

impl Segments<'_> {
    /// The place of the next dot to double, if there is one.
    fn dot(&mut self) -> Option<usize> {
        let scan = self.scan.as_mut()?;
        // At the border the line end lies in the chunk before, wholly or with its CR.
        let border = match (core::mem::replace(&mut scan.edge, Edge::Inside), self.rest) {
            (Edge::LineStart, [b'.', ..]) => Some(0),
            (Edge::AfterCr, [b'\n', b'.', ..]) => Some(1),
            _ => None,
        };
        border.or_else(|| {
            let found = scan.finder.find(self.rest.get(self.from..)?)?;
            Some(self.from + found + 2)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Dotted, Scan};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn stuff(chunks: &[&[u8]]) -> Vec<u8> {
        let mut edge = Edge::LineStart;
        let mut out = Vec::new();
        for chunk in chunks {
            for piece in Segments::stuffed(edge, chunk) {
                out.extend_from_slice(piece);
            }
            edge = edge.after(chunk);
        }
        out
    }

    /// Octet by octet, with the two octets before kept in hand.
    fn naive(content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut before = [b'\r', b'\n'];
        for &octet in content {
            if octet == b'.' && before == *b"\r\n" {
                out.push(b'.');
            }
            out.push(octet);
            before = [before[1], octet];
        }
        out
    }

    #[track_caller]
    fn check(chunks: &[&str], wire: &str) {
        let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
        assert_eq!(stuff(&chunks), wire.as_bytes());
        assert_eq!(naive(&chunks.concat()), wire.as_bytes());
    }

    #[test]
    fn a_dot_in_front_is_doubled() {
        check(&[".a\r\n"], "..a\r\n");
        check(&["a\r\n.b\r\n"], "a\r\n..b\r\n");
        check(&["."], "..");
        check(&[".\r\n.\r\n.\r\n"], "..\r\n..\r\n..\r\n");
        check(&["...\r\n"], "....\r\n");
    }

    #[test]
    fn a_dot_elsewhere_is_not() {
        check(&["a.b\r\n"], "a.b\r\n");
        check(&["a\n.b\r.c\r\n"], "a\n.b\r.c\r\n");
        check(&["\r\r\n.a"], "\r\r\n..a");
    }

    #[test]
    fn the_line_end_lies_in_the_chunk_before() {
        check(&["a\r\n", ".b"], "a\r\n..b");
        check(&["a\r", "\n.b"], "a\r\n..b");
        check(&["a\r", "\n", ".b"], "a\r\n..b");
        check(&["a\r", "", "\n", "", ".b"], "a\r\n..b");
        check(&["a\r", ".\n.b"], "a\r.\n.b");
        check(&["a\n", ".b"], "a\n.b");
    }

    #[test]
    fn nothing_to_double_is_one_piece() {
        let chunk = b"From: a\r\n\r\ntext. more\r\n";
        assert_eq!(
            Segments::stuffed(Edge::LineStart, chunk).collect::<Vec<_>>(),
            [&chunk[..]]
        );
        assert_eq!(
            Segments::whole(b"\r\n.\r\n").collect::<Vec<_>>(),
            [b"\r\n.\r\n"]
        );
        assert_eq!(Segments::stuffed(Edge::LineStart, b"").count(), 0);
    }

    proptest! {
        #[test]
        fn same_as_naive_in_any_cut(
            content in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..60),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
            places.extend([0, content.len()]);
            places.sort_unstable();
            let chunks: Vec<&[u8]> = places.windows(2).map(|pair| &content[pair[0]..pair[1]]).collect();
            let mut wire = stuff(&chunks);
            prop_assert_eq!(&wire, &naive(&content));

            // And the receiver's half takes out what was put in.
            wire.extend_from_slice(b"\r\n.\r\n");
            let (mut scan, mut input, mut back) = (Scan::new(), wire.as_slice(), Vec::new());
            loop {
                match scan.dotted(&mut input) {
                    Dotted::Slice(slice) => back.extend_from_slice(slice),
                    Dotted::End => break,
                    Dotted::NeedInput => prop_assert!(false, "the end was lost"),
                }
            }
            prop_assert_eq!(back, [&content, &b"\r\n"[..]].concat());
        }
    }
}
