//! One pass over the bytes of a body: where its lines end, where one starts with a dot, and what
//! it holds that a mailer must know of. Framing (dots, chunks) is in the files beside this one.

use super::Findings;
use super::grid::{BLOCK_LEN, Block, Places};

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
        self.pass::<false>(bytes);
    }

    /// Looks at `bytes` up to the first dot that a line starts with, and says how many they are.
    pub(super) fn look_until_dot(&mut self, bytes: &[u8]) -> usize {
        self.pass::<true>(bytes)
    }

    fn pass<const STOP: bool>(&mut self, bytes: &[u8]) -> usize {
        let mut pass = Pass::new(self);
        let (blocks, rest) = bytes.as_chunks::<BLOCK_LEN>();
        let mut seen = 0;
        for block in blocks {
            let len = pass.block::<STOP>(block, BLOCK_LEN);
            seen += len;
            if STOP && len < BLOCK_LEN {
                pass.end(self);
                return seen;
            }
        }
        if !rest.is_empty() {
            // Filled up with an octet that means nothing.
            let mut block = [b'a'; BLOCK_LEN];
            if let Some(front) = block.get_mut(..rest.len()) {
                front.copy_from_slice(rest);
            }
            seen += pass.block::<STOP>(&block, rest.len());
        }
        pass.end(self);
        seen
    }
}

/// The state of the scan in the form that blocks want it.
struct Pass {
    after_cr: bool,
    line_start: bool,
    /// Octets of the unfinished line.
    line_len: u64,
    longest: u64,
    findings: Findings,
}

impl Pass {
    #[inline(always)]
    fn new(scan: &Scan) -> Self {
        Self {
            after_cr: scan.at == At::AfterCr,
            line_start: scan.at == At::LineStart,
            line_len: u64::from(scan.line_len),
            longest: u64::from(scan.findings.longest_line),
            findings: scan.findings,
        }
    }

    #[inline(always)]
    fn end(self, scan: &mut Scan) {
        scan.findings = self.findings;
        scan.findings.longest_line = u32::try_from(self.longest).unwrap_or(u32::MAX);
        scan.line_len = u32::try_from(self.line_len).unwrap_or(u32::MAX);
        scan.at = match (self.line_start, self.after_cr) {
            (true, _) => At::LineStart,
            (_, true) => At::AfterCr,
            _ => At::Middle,
        };
    }

    /// Looks at the first `len` octets of a block, one at least, up to a dot at the start of a line
    /// if it has to stop there, and says how many it has looked at. Behind `len` there must be
    /// nothing of interest.
    #[inline(always)]
    fn block<const STOP: bool>(&mut self, block: &Block, len: usize) -> usize {
        if self.line_start && block.first() == Some(&b'.') {
            if STOP {
                return 0;
            }
            self.findings.leading_dots = true;
        }
        // As signed numbers: what lies beyond ASCII is negative.
        let special = Places::matching(block, |octet| octet.cast_signed() <= b'\r' as i8);
        if self.after_cr {
            return self.special_block::<STOP>(block, special, len);
        }
        if special.is_none() {
            self.line_len += len as u64;
            self.line_start = false;
            return len;
        }
        // Nearly all of the others hold the end of one line, and nothing else that is special.
        if let Some(cr) = special.pair()
            && block.get(cr..cr + 2) == Some(b"\r\n")
        {
            let end = cr + 2;
            let mut seen = len;
            if block.get(end) == Some(&b'.') {
                if STOP {
                    seen = end;
                } else {
                    self.findings.leading_dots = true;
                }
            }
            self.longest = self.longest.max(self.line_len + cr as u64);
            self.line_len = (seen - end) as u64;
            self.line_start = seen == end;
            return seen;
        }
        self.special_block::<STOP>(block, special, len)
    }

    /// The same for a block with anything in it.
    #[inline(always)]
    fn special_block<const STOP: bool>(
        &mut self,
        block: &Block,
        special: Places,
        len: usize,
    ) -> usize {
        let lf = Places::of(b'\n', block);
        let cr = Places::of(b'\r', block);
        let after_cr = cr.next(self.after_cr);
        //= RFC 5321 section 2.3.8: only CRLF ends a line; a LF alone is no line end
        let line_ends = lf & after_cr;
        let mut ends = line_ends.in_order();
        let mut seen = len;
        let dots = Places::of(b'.', block) & line_ends.next(false);
        if !dots.is_none() {
            if STOP {
                seen = dots.in_order().trailing_zeros() as usize;
                ends &= (1 << seen) - 1;
            } else {
                self.findings.leading_dots = true;
            }
        }
        if ends == 0 {
            self.line_len += len as u64;
            self.line_start = false;
        } else {
            if self.longest < BLOCK_LEN as u64 {
                self.longest = longest_within(ends, self.longest);
            }
            let first = u64::from(ends.trailing_zeros());
            let end = 64 - u64::from(ends.leading_zeros());
            // The line's CR may be the last octet of the block before.
            self.longest = self.longest.max(self.line_len + first - 1);
            self.line_len = seen as u64 - end;
            self.line_start = self.line_len == 0;
        }
        if lf != after_cr || special != lf | cr {
            let seen = Places::first(seen);
            let findings = &mut self.findings;
            findings.bare_lf |= !(lf & !after_cr & seen).is_none();
            findings.bare_cr |= !(after_cr & !lf & seen).is_none();
            findings.nul |= !(Places::of(0, block) & seen).is_none();
            let high = Places::matching(block, |octet| !octet.is_ascii());
            findings.eight_bit |= !(high & seen).is_none();
        }
        self.after_cr = cr.has(seen - 1);
        seen
    }
}

/// The longest line among those that begin and end in one block, or `longest` if that is longer.
fn longest_within(ends: u64, longest: u64) -> u64 {
    let first = ends.trailing_zeros();
    let last = 63 - ends.leading_zeros();
    // Each line end covers as many places as a line that is no news has up to its own end, CRLF
    // included; a longer line leaves one of its places bare.
    let reach = longest + 2;
    let mut covered = ends;
    let mut len = 1;
    while len * 2 <= reach {
        covered |= covered << len;
        len *= 2;
    }
    covered |= covered << (reach - len);
    let within = (1 << last) - (1 << first);
    if within & !covered == 0 {
        return longest;
    }
    let mut longest = longest;
    let mut before = first;
    let mut rest = ends & (ends - 1);
    while rest != 0 {
        let end = rest.trailing_zeros();
        longest = longest.max(u64::from(end - before) - 2);
        before = end;
        rest &= rest - 1;
    }
    longest
}
