//! A body behind DATA against a twin that reads one octet at a time, in pieces of a length that
//! the first octet says; and content stuffed on its way out, which comes back as it was.

use mailrail_protocol::body::stuff::{Edge, Segments};
use mailrail_protocol::body::{Dotted, Findings, Scan};

/// The length of the pieces, then the body.
pub(crate) fn run(bytes: &[u8]) {
    let Some((&piece_len, bytes)) = bytes.split_first() else {
        return;
    };
    let piece_len = usize::from(piece_len) + 1;
    let want = naive(bytes);
    for piece_len in [1, piece_len, bytes.len().max(1)] {
        assert_eq!(decode(bytes, piece_len).0, want);
    }
    come_back(bytes, piece_len);
}

/// The content, and where the body ended.
type Body = (Vec<u8>, Option<usize>);

//= RFC 5321 section 4.5.2: a line that starts with a dot loses it, unless the dot is all there is
fn naive(input: &[u8]) -> Body {
    let (mut content, mut at, mut line_start) = (Vec::new(), 0, true);
    while at < input.len() {
        if line_start && input[at] == b'.' {
            match &input[at..] {
                [b'.', b'\r', b'\n', ..] => return (content, Some(at + 3)),
                [b'.'] | [b'.', b'\r'] => break,
                _ => at += 1,
            }
        }
        content.push(input[at]);
        at += 1;
        line_start = input[..at].ends_with(b"\r\n");
    }
    (content, None)
}

fn decode(input: &[u8], piece_len: usize) -> (Body, Findings) {
    let (mut scan, mut content) = (Scan::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    while end < input.len() {
        end = (end + piece_len).min(input.len());
        let mut rest = &input[start..end];
        loop {
            match scan.dotted(&mut rest) {
                Dotted::NeedInput => break,
                Dotted::Slice(slice) => {
                    assert!(!slice.is_empty(), "a slice holds something");
                    content.extend_from_slice(slice);
                }
                Dotted::End => return ((content, Some(end - rest.len())), scan.findings()),
            }
        }
        assert!(rest.len() <= 2, "no more than a dot and a CR are left");
        start = end - rest.len();
    }
    ((content, None), scan.findings())
}

fn come_back(content: &[u8], piece_len: usize) {
    let (mut wire, mut edge) = (Vec::new(), Edge::LineStart);
    for chunk in content.chunks(piece_len) {
        for piece in Segments::stuffed(edge, chunk) {
            wire.extend_from_slice(piece);
        }
        edge = edge.after(chunk);
    }
    let mut want = content.to_vec();
    if edge != Edge::LineStart {
        wire.extend_from_slice(b"\r\n");
        want.extend_from_slice(b"\r\n");
    }
    let len = wire.len() + 3;
    wire.extend_from_slice(b".\r\n");
    let (body, findings) = decode(&wire, piece_len);
    assert_eq!(body, (want, Some(len)));
    let doubled = len - 3 > content.len() + 2 * usize::from(edge != Edge::LineStart);
    assert_eq!(findings.leading_dots, doubled);
}
