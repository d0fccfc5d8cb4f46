//! One pass over the bytes of a body: where its lines end, where one starts with a dot, and what
//! it holds that a mailer must know of. Framing (dots, chunks) is in the files beside this one.

use super::Findings;
use memchr::memchr_iter;

/// Octets looked at in one go: small enough that the second of the two loops finds them in the
/// first-level cache, so that memory is read once.
const BLOCK_LEN: usize = 4096;

/// Where in its line a body has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    /// Behind a CRLF, or before the first octet.
    LineStart,
    /// Within a line.
    Middle,
    /// Within a line, behind a CR that may become a line end.
    AfterCr,
}

/// The state of the pass over one body, however it is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scan {
    findings: Findings,
    /// Octets of the unfinished line, a CR at its end included.
    line_len: u32,
    pub(super) at: At,
}

impl Default for Scan {
    fn default() -> Self {
        Self::new()
    }
}

impl Scan {
    /// Before the first octet of a body.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            findings: Findings::NONE,
            line_len: 0,
            at: At::LineStart,
        }
    }

    /// What was seen so far, taken as if the body ended here.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let mut findings = self.findings;
        findings.longest_line = findings.longest_line.max(self.line_len);
        findings.unterminated = self.at != At::LineStart;
        findings.bare_cr |= self.at == At::AfterCr;
        findings
    }

    /// Notes that a line of the content begins with a dot.
    pub(super) fn note_leading_dot(&mut self) {
        self.findings.leading_dots = true;
    }

    /// Looks at all of `bytes`; no dot has a meaning here.
    pub(super) fn look(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK_LEN) {
            self.block::<false>(block);
        }
    }

    /// Looks at `bytes` up to the first dot that a line starts with, and says how many they are.
    pub(super) fn look_until_dot(&mut self, bytes: &[u8]) -> usize {
        let mut seen = 0;
        for block in bytes.chunks(BLOCK_LEN) {
            let len = self.block::<true>(block);
            seen += len;
            if len < block.len() {
                break;
            }
        }
        seen
    }

    fn block<const STOP: bool>(&mut self, block: &[u8]) -> usize {
        if self.at == At::LineStart && block.first() == Some(&b'.') {
            if STOP {
                return 0;
            }
            self.findings.leading_dots = true;
        }
        let cr_before = self.at == At::AfterCr;
        let mut line_len = self.line_len as usize;
        let mut longest = self.findings.longest_line as usize;
        let mut line_start = 0;
        let mut len = block.len();
        for lf in memchr_iter(b'\n', block) {
            let after_cr = match lf.checked_sub(1) {
                Some(before) => block.get(before) == Some(&b'\r'),
                None => cr_before,
            };
            //= RFC 5321 section 2.3.8: only CRLF ends a line; a LF alone is no line end
            if !after_cr {
                self.findings.bare_lf = true;
                continue;
            }
            let next = lf + 1;
            longest = longest.max(line_len.saturating_add(next - line_start) - 2);
            line_len = 0;
            line_start = next;
            if block.get(next) == Some(&b'.') {
                if STOP {
                    len = next;
                    break;
                }
                self.findings.leading_dots = true;
            }
        }
        let seen = block.get(..len).unwrap_or_default();
        let census = Census::take(seen);
        self.findings.eight_bit |= census.all_bits > 127;
        self.findings.nul |= census.lowest == 0;
        self.findings.bare_cr |= census.bare_cr != 0;
        self.findings.bare_cr |= cr_before && seen.first().is_some_and(|&first| first != b'\n');
        self.at = match seen.last() {
            Some(_) if line_start == len => At::LineStart,
            Some(b'\r') => At::AfterCr,
            Some(_) => At::Middle,
            None => self.at,
        };
        self.findings.longest_line = longest.min(u32::MAX as usize) as u32;
        let line_len = line_len.saturating_add(len - line_start);
        self.line_len = line_len.min(u32::MAX as usize) as u32;
        len
    }
}

/// What needs no order of the octets: written so that the compiler makes vector code of it.
struct Census {
    all_bits: u8,
    lowest: u8,
    bare_cr: u8,
}

impl Census {
    fn take(bytes: &[u8]) -> Self {
        let mut census = Self {
            all_bits: 0,
            lowest: u8::MAX,
            bare_cr: 0,
        };
        let Some((&last, but_last)) = bytes.split_last() else {
            return census;
        };
        let but_first = bytes.get(1..).unwrap_or_default();
        for (&byte, &next) in but_last.iter().zip(but_first) {
            census.all_bits |= byte;
            census.lowest = census.lowest.min(byte);
            census.bare_cr |= u8::from(byte == b'\r') & u8::from(next != b'\n');
        }
        census.all_bits |= last;
        census.lowest = census.lowest.min(last);
        census
    }
}
