//! The body decoder against a twin that reads one octet at a time: the same content, the same end
//! and the same findings, however the input is cut.

use mailrail_protocol::body::{Dotted, Findings, Scan};
use proptest::prelude::*;

/// What became of a body.
#[derive(PartialEq, Eq, Debug, Default)]
struct Decoded {
    content: Vec<u8>,
    /// Octets taken up to and with the end; `None` if there was none.
    end: Option<usize>,
    findings: Findings,
}

/// By the letter of the standard, slowly.
//= RFC 5321 section 4.5.2: a line that starts with a dot loses it, unless the dot is all there is
fn naive_dotted(input: &[u8]) -> Decoded {
    let mut content = Vec::new();
    let mut at = 0;
    let mut line_start = true;
    while at < input.len() {
        if line_start && input[at] == b'.' {
            match &input[at..] {
                [b'.', b'\r', b'\n', ..] => {
                    let findings = naive_findings(&content);
                    let end = Some(at + 3);
                    return Decoded {
                        content,
                        end,
                        findings,
                    };
                }
                [b'.'] | [b'.', b'\r'] => break,
                _ => at += 1,
            }
        }
        content.push(input[at]);
        at += 1;
        line_start = input[..at].ends_with(b"\r\n");
    }
    let findings = naive_findings(&content);
    let end = None;
    Decoded {
        content,
        end,
        findings,
    }
}

fn naive_findings(content: &[u8]) -> Findings {
    let mut findings = Findings::NONE;
    let mut line_len = 0;
    for (at, &byte) in content.iter().enumerate() {
        let before = content[..at].last();
        let after = content.get(at + 1);
        let line_start = at == 0 || content[..at].ends_with(b"\r\n");
        findings.leading_dots |= line_start && byte == b'.';
        findings.eight_bit |= byte >= 128;
        findings.nul |= byte == 0;
        findings.bare_cr |= byte == b'\r' && after != Some(&b'\n');
        findings.bare_lf |= byte == b'\n' && before != Some(&b'\r');
        line_len += 1;
        if byte == b'\n' && before == Some(&b'\r') {
            findings.longest_line = findings.longest_line.max(line_len - 2);
            line_len = 0;
        }
    }
    findings.longest_line = findings.longest_line.max(line_len);
    findings.unterminated = line_len > 0;
    findings
}

fn dotted(input: &[u8], cuts: &[usize]) -> Decoded {
    let mut scan = Scan::new();
    let mut decoded = Decoded::default();
    let mut from = 0;
    'input: for to in pieces(input.len(), cuts) {
        let mut rest = &input[from..to];
        loop {
            match scan.dotted(&mut rest) {
                Dotted::NeedInput => break,
                Dotted::Slice(slice) => {
                    assert!(!slice.is_empty());
                    decoded.content.extend_from_slice(slice);
                }
                Dotted::End => {
                    decoded.end = Some(to - rest.len());
                    break 'input;
                }
            }
        }
        assert!(rest.len() <= 2, "no more than a dot and a CR are left");
        from = to - rest.len();
    }
    decoded.findings = scan.findings();
    decoded
}

fn chunks(input: &[u8], cuts: &[usize]) -> Findings {
    let mut scan = Scan::new();
    let mut left = input.len() as u64;
    let mut from = 0;
    for to in pieces(input.len(), cuts) {
        let mut rest = &input[from..to];
        while !rest.is_empty() {
            let before = rest;
            let slice = scan.chunk(&mut left, &mut rest);
            assert_eq!(slice, &before[..slice.len()]);
        }
        from = to;
    }
    assert_eq!(left, 0);
    scan.findings()
}

/// The ends of the pieces that the lengths cut, the whole length last.
fn pieces(len: usize, cuts: &[usize]) -> Vec<usize> {
    let mut ends: Vec<usize> = cuts
        .iter()
        .scan(0, |at, cut| {
            *at += cut;
            Some(*at)
        })
        .take_while(|&end| end < len)
        .collect();
    ends.push(len);
    ends
}

fn check(input: &str, content: &str, end: bool) {
    let bytes = input.as_bytes();
    let whole = dotted(bytes, &[]);
    assert_eq!(whole.content, content.as_bytes(), "{input:?}");
    assert_eq!(whole.end.is_some(), end, "{input:?}");
    assert_eq!(whole, naive_dotted(bytes), "{input:?}");
    assert_eq!(dotted(bytes, &vec![1; bytes.len()]), whole, "{input:?}");
}

#[test]
fn the_end_is_crlf_dot_crlf_alone() {
    check(".\r\n", "", true);
    check("a\r\n.\r\n", "a\r\n", true);
    check("a\n.\r\n", "a\n.\r\n", false);
    check("a\r.\r\n", "a\r.\r\n", false);
    check("a\r\n.\n", "a\r\n\n", false);
    check("a\r\n.\r", "a\r\n", false);
    check("a\r\n.\r.\r\n", "a\r\n\r.\r\n", false);
    check("a\r\n.", "a\r\n", false);
    check("a\r\n..\r\n", "a\r\n.\r\n", false);
    check("a.\r\n.\r\n", "a.\r\n", true);
    check("\r\n.\r\n", "\r\n", true);
    check("\r\r\n.\r\n", "\r\r\n", true);
    check("a\r\n\n.\r\n", "a\r\n\n.\r\n", false);
}

#[test]
fn what_lies_behind_the_end_is_left_alone() {
    let decoded = dotted(b"a\r\n.\r\nMAIL \xff\0\r", &[]);
    assert_eq!(decoded.end, Some(6));
    assert!(!decoded.findings.eight_bit && !decoded.findings.nul && !decoded.findings.bare_cr);
}

#[test]
fn slices_are_cut_only_where_a_dot_is_dropped() {
    let body = b"one\r\ntwo\r\n..three\r\n.four\r\nfive\r\n.\r\n";
    let mut rest = &body[..];
    let mut scan = Scan::new();
    let mut slices = Vec::new();
    while let Dotted::Slice(slice) = scan.dotted(&mut rest) {
        slices.push(slice);
    }
    let expected: [&[u8]; 3] = [b"one\r\ntwo\r\n", b".three\r\n", b"four\r\nfive\r\n"];
    assert_eq!(slices, expected);
}

#[test]
fn one_slice_for_a_body_longer_than_a_block() {
    let mut body = b"x".repeat(70).repeat(3000);
    body.extend_from_slice(b"\r\n");
    let lines: Vec<u8> = b"0123456789\r\n".repeat(3000);
    body.extend_from_slice(&lines);
    let mut rest = &body[..];
    let mut scan = Scan::new();
    assert_eq!(scan.dotted(&mut rest), Dotted::Slice(&body[..]));
    assert_eq!(scan.findings(), naive_findings(&body));
}

/// Made of what matters to the decoder, so that everything meets everything.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        3 => Just(b".".to_vec()),
        2 => Just(b"\r".to_vec()),
        2 => Just(b"\n".to_vec()),
        3 => Just(b"ab".to_vec()),
        1 => Just(b"\0".to_vec()),
        1 => Just(b"\xc3\xbc".to_vec()),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The same pieces in anything from a crowd to solitude, so that each meets the borders of the
/// decoder's blocks of sixty-four octets in each place, alone and in company.
fn long_bodies() -> impl Strategy<Value = Vec<u8>> {
    let filler = prop_oneof![3 => 0usize..4, 3 => 0usize..140, 1 => 0usize..1000];
    let piece = prop_oneof![
        6 => Just(&b"\r\n"[..]),
        3 => Just(&b"\r\n."[..]),
        1 => Just(&b"\r\n.."[..]),
        2 => Just(&b"."[..]),
        1 => Just(&b"\r"[..]),
        1 => Just(&b"\n"[..]),
        1 => Just(&b"\t"[..]),
        1 => Just(&b"\0"[..]),
        1 => Just(&b"\xc3\xbc"[..]),
    ];
    proptest::collection::vec((filler, piece), 0..40).prop_map(|pieces| {
        let mut body = Vec::new();
        for (len, piece) in pieces {
            body.extend(std::iter::repeat_n(b'x', len));
            body.extend_from_slice(piece);
        }
        body
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn dots_as_naive(body in bodies(), cuts in proptest::collection::vec(1usize..6, 0..60)) {
        prop_assert_eq!(dotted(&body, &cuts), naive_dotted(&body));
    }

    #[test]
    fn chunks_as_naive(body in bodies(), cuts in proptest::collection::vec(1usize..6, 0..60)) {
        prop_assert_eq!(chunks(&body, &cuts), naive_findings(&body));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn dots_as_naive_over_blocks(body in long_bodies(), cuts in proptest::collection::vec(1usize..3000, 0..6)) {
        prop_assert_eq!(dotted(&body, &cuts), naive_dotted(&body));
    }

    #[test]
    fn chunks_as_naive_over_blocks(body in long_bodies(), cuts in proptest::collection::vec(1usize..3000, 0..6)) {
        prop_assert_eq!(chunks(&body, &cuts), naive_findings(&body));
    }
}
