//! The body of a message on the wire: dots and chunks taken away (`dot`, `chunk`), dots put in
//! (`stuff`). What a body says is nobody's business here, apart from the findings that the
//! pass over its bytes yields for nothing.

mod chunk;
mod dot;
mod grid;
mod scan;
pub mod stuff;

pub use dot::Dotted;
pub use scan::Scan;

/// What one pass over a body has seen. Lines are those of the content, without stuffed dots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Findings {
    /// A line starts with a dot: sending it by DATA needs stuffing.
    pub leading_dots: bool,
    /// An octet above 127.
    pub eight_bit: bool,
    /// An octet 0.
    pub nul: bool,
    /// A CR without its LF.
    pub bare_cr: bool,
    /// A LF without its CR.
    pub bare_lf: bool,
    /// The last line has no CRLF (only a body that came by BDAT can end so).
    pub unterminated: bool,
    /// Octets in the longest line, without its CRLF.
    pub longest_line: u32,
}

impl Findings {
    /// Those of an empty body.
    pub const NONE: Self = Self {
        leading_dots: false,
        eight_bit: false,
        nul: false,
        bare_cr: false,
        bare_lf: false,
        unterminated: false,
        longest_line: 0,
    };
}
