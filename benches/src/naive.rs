//! A decoder as one would write it first: octet by octet, with a copy. It shows what the engine's
//! saves; the tests' own twin, by the letter of the standard, is `naive_dotted` in
//! `protocol/tests/body.rs`.

use mailrail_protocol::body::Findings;

/// Takes the dots out of `input`, which ends with the line of a dot alone, into `content`.
pub fn decode(input: &[u8], content: &mut Vec<u8>) -> Findings {
    let mut findings = Findings::NONE;
    let mut line_len = 0;
    let mut before = [b'\r', b'\n'];
    let mut octets = input.iter().copied().peekable();
    while let Some(mut octet) = octets.next() {
        if before == *b"\r\n" && octet == b'.' {
            let Some(next) = octets.next() else { break };
            if next == b'\r' && octets.peek() == Some(&b'\n') {
                break;
            }
            findings.leading_dots |= next == b'.';
            octet = next;
        }
        findings.eight_bit |= octet > 127;
        findings.nul |= octet == 0;
        findings.bare_lf |= octet == b'\n' && before[1] != b'\r';
        findings.bare_cr |= before[1] == b'\r' && octet != b'\n';
        line_len += 1;
        if octet == b'\n' && before[1] == b'\r' {
            findings.longest_line = findings.longest_line.max(line_len - 2);
            line_len = 0;
        }
        content.push(octet);
        before = [before[1], octet];
    }
    findings.longest_line = findings.longest_line.max(line_len);
    findings.bare_cr |= before[1] == b'\r';
    findings.unterminated = line_len > 0;
    findings
}
