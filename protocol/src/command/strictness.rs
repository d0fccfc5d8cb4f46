//! How exactly a peer must obey the grammar: strict by default, each rule to be loosened alone.
//! What a rule is good for stands beside it; where it is applied, in the parsers.

/// What to do with what should not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Verdict {
    /// Refuse it.
    Reject,
    /// Take it as it is.
    Accept,
}

impl Verdict {
    /// Is it taken?
    #[must_use]
    pub const fn accepts(self) -> bool {
        matches!(self, Self::Accept)
    }
}

/// What a server thinks of each thing that the standard forbids and that is seen nevertheless.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub struct Strictness {
    /// A CR or LF alone in a body: taken by one server and made a line end by the next, it smuggles.
    //= RFC 5321 section 2.3.8: CR and LF stand in mail only together
    pub bare_line_ends: Verdict,
    /// An octet 0 in a body.
    pub nul: Verdict,
    /// A command line that ends with LF alone.
    pub bare_lf_in_commands: Verdict,
    /// Spaces on either side of the colon of MAIL FROM and RCPT TO.
    //= RFC 5321 section 3.3: spaces are not permitted on either side of the colon
    pub spaces_around_colon: Verdict,
    /// A path without its angle brackets.
    pub missing_brackets: Verdict,
    /// UTF-8 in addresses of a transaction without SMTPUTF8.
    pub utf8_unannounced: Verdict,
    /// A name behind EHLO that is neither a domain nor an address literal.
    pub hello_syntax: Verdict,
    /// A local-part above 64 octets, or a domain above 255; what the line holds is the limit then.
    //= RFC 5321 section 4.5.3.1: lengths of local-part and domain
    pub address_lengths: Verdict,
    /// Octets in a line of text, its CRLF included, beyond which a body is refused; `None` for no limit.
    //= RFC 5321 section 4.5.3.1.6: a text line is at most 1000 octets, which many clients ignore
    pub text_line_len_max: Option<u32>,
}

impl Strictness {
    /// The standard, to the letter; only the length of text lines is free.
    pub const STRICT: Self = Self {
        bare_line_ends: Verdict::Reject,
        nul: Verdict::Reject,
        bare_lf_in_commands: Verdict::Reject,
        spaces_around_colon: Verdict::Reject,
        missing_brackets: Verdict::Reject,
        utf8_unannounced: Verdict::Reject,
        hello_syntax: Verdict::Reject,
        address_lengths: Verdict::Reject,
        text_line_len_max: None,
    };

    /// What harms nobody is taken: odd names behind EHLO and spaces behind the colon.
    pub const USUAL: Self = Self {
        spaces_around_colon: Verdict::Accept,
        hello_syntax: Verdict::Accept,
        ..Self::STRICT
    };
}

impl Default for Strictness {
    fn default() -> Self {
        Self::STRICT
    }
}
