//! From a command line to a command: grammar alone. Whether the command may come now is the
//! session's question; each refusal here is the reply that the grammar asks for.
//!
//! First [`verb`] parts the word from its argument, then the function for that verb reads it. DATA, RSET,
//! QUIT and STARTTLS have none: their argument must be empty.
//!
//! ```
//! use mailrail_protocol::command::{BodyKind, Strictness, Verb, parse};
//! use mailrail_protocol::extension::{Extension, Extensions};
//! use mailrail_protocol::reply::Reply;
//!
//! let offered = Extensions::NONE.with(Extension::Size).with(Extension::EightBitMime);
//! let (verb, argument) = parse::verb(b"mail FROM:<a@b.example> SIZE=42 BODY=8BITMIME")?;
//! assert_eq!(verb, Verb::Mail);
//! let mail = parse::mail(argument, &offered, &Strictness::STRICT)?;
//! assert_eq!(mail.from.as_str(), "a@b.example");
//! assert_eq!((mail.size, mail.body), (Some(42), Some(BodyKind::EightBitMime)));
//!
//! // What was not offered is refused.
//! let (_, argument) = parse::verb(b"RCPT TO:<c@d.example> NOTIFY=SUCCESS")?;
//! let refused = parse::recipient(argument, false, &offered, &Strictness::STRICT);
//! assert_eq!(refused, Err(&Reply::BAD_PARAMETER));
//! # Ok::<(), parse::Refusal>(())
//! ```

mod auth;
mod mail;
mod other;
mod recipient;

pub use auth::auth;
pub(super) use auth::is_base64;
pub use mail::mail;
pub use other::other;
pub use recipient::recipient;

use super::parameters::{self, Malformed, Parameter};
use super::{Hello, Strictness, Verb};
use crate::address::lenient::Latitude;
use crate::address::{Charset, Domain};
use crate::ascii;
use crate::extension::{Extension, Extensions};
use crate::limits::DOMAIN_LEN_MAX;
use crate::reply::Reply;

/// Why a command is not understood: what to tell the peer.
pub type Refusal = &'static Reply<'static>;

/// The verb of a line (which has lost its CRLF) and its argument. It never returns [`Verb::Unknown`]: that is a
/// refusal here, after which [`other`] may be asked about the whole line.
///
/// # Errors
/// Control characters in the line, or a first word that is none or is not known.
#[inline]
pub fn verb(line: &[u8]) -> Result<(Verb, &[u8]), Refusal> {
    if ascii::has_control(line) {
        return Err(&Reply::BAD_LINE);
    }
    //= RFC 5321 section 4.1.1: white space before the CRLF is tolerated
    let line = line.trim_ascii_end();
    let (word, argument) = match line.split_at_checked(4) {
        Some((word, [])) => (word, &b""[..]),
        Some((word, [b' ', argument @ ..])) => (word, argument),
        _ => return long_verb(line),
    };
    match Verb::of(word) {
        Verb::Unknown => long_verb(line),
        verb => Ok((verb, argument.trim_ascii_start())),
    }
}

/// The same where the first word has not four letters, or is not known.
#[cold]
fn long_verb(line: &[u8]) -> Result<(Verb, &[u8]), Refusal> {
    let (word, argument) = first_word(line);
    match Verb::of(word) {
        Verb::Unknown if word.is_empty() || !word.iter().all(u8::is_ascii_alphanumeric) => {
            Err(&Reply::BAD_LINE)
        }
        Verb::Unknown => Err(&Reply::UNKNOWN_COMMAND),
        verb => Ok((verb, argument)),
    }
}

/// Does a browser talk, which was lured here? What follows would be commands of somebody else's
/// choice.
#[must_use]
pub fn is_http(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 5] = [b"GET ", b"POST ", b"PUT ", b"CONNECT ", b"OPTIONS "];
    METHODS
        .iter()
        .any(|method| ascii::strip_word(line, method).is_some())
}

/// The argument of EHLO, HELO or LHLO: `extended` is false for HELO alone.
///
/// # Errors
/// No name, several words, or one that is too long or breaks the grammar; where
/// [`Strictness::hello_syntax`] accepts, any visible ASCII will do.
pub fn hello<'i>(
    extended: bool,
    argument: &'i [u8],
    strictness: &Strictness,
) -> Result<Hello<'i>, Refusal> {
    //= RFC 5321 section 4.1.1.1: EHLO names the client's domain, or an address literal
    if let Some(Domain::Name(name)) = Domain::parse(argument, Charset::Ascii) {
        return Ok(Hello { extended, name });
    }
    odd_hello(extended, argument, strictness)
}

/// A literal, or something else.
#[cold]
fn odd_hello<'i>(
    extended: bool,
    argument: &'i [u8],
    strictness: &Strictness,
) -> Result<Hello<'i>, Refusal> {
    let is_name = !argument.is_empty()
        && argument.len() <= DOMAIN_LEN_MAX
        && argument.iter().all(u8::is_ascii_graphic);
    let is_right =
        || strictness.hello_syntax.accepts() || Domain::parse(argument, Charset::Ascii).is_some();
    match core::str::from_utf8(argument) {
        Ok(name) if is_name && is_right() => Ok(Hello { extended, name }),
        _ => Err(&Reply::BAD_ARGUMENT),
    }
}

/// The argument of BDAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bdat {
    /// Octets in the chunk that follows the line.
    pub size: u64,
    /// It is the message's last.
    pub last: bool,
}

/// The argument of BDAT.
///
/// # Errors
/// What breaks the grammar: then nobody knows where the next command begins.
//= RFC 3030 section 2: BDAT SP chunk-size [ SP LAST ]
pub fn bdat(argument: &[u8]) -> Result<Bdat, Refusal> {
    let (size, last) = first_word(argument);
    if !last.is_empty() && !last.eq_ignore_ascii_case(b"LAST") {
        return Err(&Reply::BAD_ARGUMENT);
    }
    let size = ascii::parse_decimal(size).ok_or(&Reply::BAD_ARGUMENT)?;
    let last = !last.is_empty();
    Ok(Bdat { size, last })
}

//= RFC 6531 section 3.1: only a server that offers SMTPUTF8 knows of UTF-8 in addresses
const fn charset(offered: &Extensions, strictness: &Strictness) -> Charset {
    if offered.has(Extension::SmtpUtf8) || strictness.utf8_unannounced.accepts() {
        Charset::Utf8
    } else {
        Charset::Ascii
    }
}

const fn latitude(strictness: &Strictness) -> Latitude {
    Latitude {
        missing_brackets: strictness.missing_brackets.accepts(),
        any_length: strictness.address_lengths.accepts(),
    }
}

/// What stands behind `FROM:` or `TO:`.
//= RFC 5321 section 3.3: spaces are not permitted on either side of the colon
fn behind_colon<'i>(
    argument: &'i [u8],
    word: &[u8],
    strictness: &Strictness,
) -> Result<&'i [u8], Refusal> {
    let text = ascii::strip_word(argument, word).ok_or(&Reply::BAD_ARGUMENT)?;
    match text {
        [b':', text @ ..] if text.first() != Some(&b' ') => Ok(text),
        _ if strictness.spaces_around_colon.accepts() => text
            .trim_ascii_start()
            .strip_prefix(b":")
            .map(<[u8]>::trim_ascii_start)
            .ok_or(&Reply::BAD_ARGUMENT),
        _ => Err(&Reply::BAD_ARGUMENT),
    }
}

/// What stands before the first space, and what stands behind it and its like.
fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let len = text.iter().position(|&octet| octet == b' ');
    let (word, rest) = text
        .split_at_checked(len.unwrap_or(text.len()))
        .unwrap_or((text, &[]));
    (word, rest.trim_ascii_start())
}

fn next<'i>(rest: &mut &'i [u8]) -> Result<Option<Parameter<'i>>, Refusal> {
    parameters::next(rest).map_err(|Malformed| &Reply::BAD_ARGUMENT)
}

/// A parameter comes once at most.
//= RFC 5321 section 4.1.1.11: what is wrong in a parameter gets 501
fn once(first: bool) -> Result<(), Refusal> {
    if first {
        Ok(())
    } else {
        Err(&Reply::BAD_ARGUMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Code;

    #[test]
    fn bdat_is_exact() {
        let right = |size, last| Ok(Bdat { size, last });
        assert_eq!(bdat(b"0"), right(0, false));
        assert_eq!(bdat(b"10 LAST"), right(10, true));
        assert_eq!(bdat(b"10 last"), right(10, true));
        for wrong in [
            "", "x", "-1", "1x", "1 LASTX", "1 2", "LAST", "1 LAST x", "0x10", "+1",
        ] {
            let refusal = bdat(wrong.as_bytes()).unwrap_err();
            assert_eq!(refusal.code, Code::of(501), "{wrong}");
        }
    }

    #[test]
    fn a_verb_is_a_word() {
        let code = |line: &[u8]| verb(line).map(|(verb, _)| verb).map_err(|r| r.status);
        let bad = Err(Reply::BAD_LINE.status);
        assert_eq!(code(b"noop"), Ok(Verb::Noop));
        assert_eq!(code(b"NOOP  x "), Ok(Verb::Noop));
        assert_eq!(code(b"NOOPX"), Err(Reply::UNKNOWN_COMMAND.status));
        assert_eq!(code(b"NOOP\0"), bad);
        assert_eq!(code(b"NOOP\nRSET"), bad);
        assert_eq!(code(b"NOOP\rRSET"), bad);
        assert_eq!(code(b""), bad);
        assert_eq!(code(b" NOOP"), bad);
        assert_eq!(code(b"\x16\x03\x01"), bad);
    }

    #[test]
    fn names_behind_hello() {
        let mut lenient = Strictness::STRICT;
        lenient.hello_syntax = crate::command::Verdict::Accept;
        for (name, strict, borne) in [
            ("a.example", true, true),
            ("localhost", true, true),
            ("[192.0.2.1]", true, true),
            ("[IPv6:2001:db8::1]", true, true),
            ("under_score", false, true),
            ("localhost.", false, true),
            ("[192.0.2]", false, true),
            ("-", false, true),
            ("a b", false, false),
            ("ü.example", false, false),
            ("", false, false),
        ] {
            let is_ok = |rules| hello(true, name.as_bytes(), rules).is_ok();
            assert_eq!(is_ok(&Strictness::STRICT), strict, "{name}");
            assert_eq!(is_ok(&lenient), borne, "{name}");
        }
        assert!(hello(false, &[b'a'; 256], &lenient).is_err());
    }
}
