//! Content of the kinds that mailers see, in any length. What it costs is measured elsewhere.

/// A kind of content.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What a figure is named after.
    pub name: &'static str,
    line: &'static [u8],
}

/// Seventy-six letters and what ends them, as most mailers break text.
const TEXT: &[u8] =
    b"The quick brown fox jumps over the lazy dog, and on and on and on it goes...\r\n";
const BASE64: &[u8] =
    b"UmVjZWl2ZWQ6IGZyb20gbXguZXhhbXBsZSAobXguZXhhbXBsZSBbMTkyLjAuMi4xXSkgYnkgYQ==\r\n";
const DOTS: &[u8] =
    b".The quick brown fox jumps over the lazy dog, and on and on and on it goes..\r\n";
/// Nothing but letters beyond ASCII, which is the worst for whoever hopes that there are few.
const UTF8: &str = "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäö\r\n";
const SHORT: &[u8] = b"x\r\n";
/// RFC 5322 section 2.1.1: the longest line that is allowed.
const LONG: &[u8; 1000] = &long();

const fn long() -> [u8; 1000] {
    let mut line = [b'x'; 1000];
    line[998] = b'\r';
    line[999] = b'\n';
    line
}

/// The kinds.
pub const KINDS: [Kind; 6] = [
    kind("text", TEXT),
    kind("base64", BASE64),
    kind("UTF-8", UTF8.as_bytes()),
    kind("998-octet lines", LONG),
    kind("short lines", SHORT),
    kind("dots", DOTS),
];

const fn kind(name: &'static str, line: &'static [u8]) -> Kind {
    Kind { name, line }
}

const _: () = assert!(
    TEXT.len() == 78 && BASE64.len() == 78 && UTF8.len() == 78 && DOTS.len() == 78,
    "lines of 76 octets"
);

impl Kind {
    /// Whole lines of this kind, as many as fit in `len` octets.
    #[must_use]
    pub fn lines(&self, len: usize) -> Vec<u8> {
        self.line.repeat(len / self.line.len())
    }
}
