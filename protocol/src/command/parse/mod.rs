//! From a command line to a command: grammar alone. Whether the command may come now is the
//! session's question; each refusal here is the reply that the grammar asks for.

use super::parameters::{self, Malformed, Parameter};
use super::{Auth, BodyKind, Hello, Mail, Other, Recipient, Strictness, Verb};
use crate::address::lenient::Latitude;
use crate::address::{self, Charset, Domain};
use crate::ascii;
use crate::extension::{Extension, Extensions};
use crate::limits::DOMAIN_LEN_MAX;
use crate::reply::Reply;
use crate::sasl::{Mechanism, Mechanisms};

/// Why a command is not understood: what to tell the peer.
pub type Refusal = &'static Reply<'static>;

/// The verb of a line (which has lost its CRLF) and its argument.
///
/// # Errors
/// Control characters in the line, or a first word that is none.
pub fn verb(line: &[u8]) -> Result<(Verb, &[u8]), Refusal> {
    if ascii::has_control(line) {
        return Err(&Reply::BAD_LINE);
    }
    //= RFC 5321 section 4.1.1: white space before the CRLF is tolerated
    let line = line.trim_ascii_end();
    let len = line
        .iter()
        .position(|&byte| byte == b' ')
        .unwrap_or(line.len());
    let (word, argument) = line.split_at_checked(len).unwrap_or((line, &[]));
    match Verb::of(word) {
        Verb::Unknown if word.is_empty() || !word.iter().all(u8::is_ascii_alphanumeric) => {
            Err(&Reply::BAD_LINE)
        }
        Verb::Unknown => Err(&Reply::UNKNOWN_COMMAND),
        verb => Ok((verb, argument.trim_ascii_start())),
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
    let is_name = !argument.is_empty()
        && argument.len() <= DOMAIN_LEN_MAX
        && argument.iter().all(u8::is_ascii_graphic);
    match core::str::from_utf8(argument) {
        Ok(name) if is_name => {
            //= RFC 5321 section 4.1.1.1: EHLO names the client's domain, or an address literal
            let right = strictness.hello_syntax.accepts()
                || Domain::parse(argument, Charset::Ascii).is_some();
            right
                .then_some(Hello { extended, name })
                .ok_or(&Reply::BAD_ARGUMENT)
        }
        _ => Err(&Reply::BAD_ARGUMENT),
    }
}

/// The argument of MAIL.
///
/// # Errors
/// What breaks the grammar, what was not offered, and a size beyond the limit.
pub fn mail<'i>(
    argument: &'i [u8],
    offered: &Extensions,
    strictness: &Strictness,
) -> Result<Mail<'i>, Refusal> {
    let charset = charset(offered, strictness);
    let text = behind_colon(argument, b"FROM", strictness)?;
    let (from, mut rest) = match address::reverse_path(text, charset) {
        Some(found) => found,
        None => address::lenient::reverse_path(text, charset, latitude(strictness))
            .ok_or(&Reply::BAD_SENDER)?,
    };
    let mut mail = Mail::new(from);
    while let Some(Parameter { keyword, value }) = next(&mut rest)? {
        let is = |word: &[u8]| keyword.eq_ignore_ascii_case(word);
        if is(b"SIZE") && offered.has(Extension::Size) {
            once(mail.size.is_none())?;
            //= RFC 1870 section 3: the value has one to twenty digits
            let size = value.and_then(ascii::parse_decimal);
            mail.size = Some(size.ok_or(&Reply::BAD_ARGUMENT)?);
        } else if is(b"BODY") && offered.has(Extension::EightBitMime) {
            once(mail.body.is_none())?;
            mail.body = Some(body_kind(value.ok_or(&Reply::BAD_ARGUMENT)?)?);
        } else if is(b"SMTPUTF8") && offered.has(Extension::SmtpUtf8) {
            //= RFC 6531 section 3.4: SMTPUTF8 takes no value
            once(!mail.smtputf8 && value.is_none())?;
            mail.smtputf8 = true;
        } else {
            //= RFC 5321 section 4.1.1.11: a parameter that was not offered gets 555
            return Err(&Reply::BAD_PARAMETER);
        }
    }
    //= RFC 6531 section 3.5: an address beyond ASCII without SMTPUTF8 is refused with 5.6.7
    if !mail.smtputf8 && !mail.from.as_str().is_ascii() && !strictness.utf8_unannounced.accepts() {
        return Err(&Reply::NEED_SMTPUTF8);
    }
    //= RFC 1870 section 6.1: a message that is announced as too large is refused at MAIL
    if let (Some(size), Some(size_max)) = (mail.size, offered.size_max())
        && size > size_max
    {
        return Err(&Reply::TOO_LARGE);
    }
    Ok(mail)
}

/// The argument of RCPT, in a transaction that began with SMTPUTF8 or without.
///
/// # Errors
/// What breaks the grammar, and what was not offered.
pub fn recipient<'i>(
    argument: &'i [u8],
    smtputf8: bool,
    offered: &Extensions,
    strictness: &Strictness,
) -> Result<Recipient<'i>, Refusal> {
    let charset = charset(offered, strictness);
    let text = behind_colon(argument, b"TO", strictness)?;
    let (to, mut rest) = match address::forward_path(text, charset) {
        Some(found) => found,
        None => address::lenient::forward_path(text, charset, latitude(strictness))
            .ok_or(&Reply::BAD_RECIPIENT)?,
    };
    if next(&mut rest)?.is_some() {
        return Err(&Reply::BAD_PARAMETER);
    }
    if !smtputf8 && !to.as_str().is_ascii() && !strictness.utf8_unannounced.accepts() {
        return Err(&Reply::NEED_SMTPUTF8);
    }
    Ok(Recipient::new(to))
}

/// The argument of VRFY, EXPN, HELP, NOOP, ETRN, XCLIENT or XFORWARD.
///
/// # Errors
/// What breaks the grammar, and other verbs.
pub fn other(verb: Verb, argument: &[u8]) -> Result<Other<'_>, Refusal> {
    let text = core::str::from_utf8(argument).map_err(|_| &Reply::BAD_ARGUMENT)?;
    if text.is_empty() {
        return Err(&Reply::BAD_ARGUMENT);
    }
    match verb {
        Verb::Verify => Ok(Other::Verify(text)),
        Verb::Expand => Ok(Other::Expand(text)),
        Verb::Etrn => Ok(Other::Etrn(super::Etrn::Node(text))),
        _ => Err(&Reply::NOT_IMPLEMENTED),
    }
}

/// The argument of AUTH, where these mechanisms are offered.
///
/// # Errors
/// What breaks the grammar, and a mechanism that is not offered.
//= RFC 4954 section 4: AUTH mechanism [initial-response]
pub fn auth(argument: &[u8], offered: Mechanisms) -> Result<Auth<'_>, Refusal> {
    let len = argument.iter().position(|&octet| octet == b' ');
    let len = len.unwrap_or(argument.len());
    let (word, rest) = argument.split_at_checked(len).unwrap_or((argument, b""));
    if word.is_empty() {
        return Err(&Reply::BAD_ARGUMENT);
    }
    let initial = match rest.trim_ascii_start() {
        b"" => None,
        //= RFC 4954 section 4: an initial response of no octets is written as an equals sign
        b"=" => Some(&b""[..]),
        initial if initial.iter().all(|&octet| is_base64(octet)) => Some(initial),
        _ => return Err(&Reply::BAD_ARGUMENT),
    };
    match Mechanism::of(word) {
        Some(mechanism) if offered.has(mechanism) => Ok(Auth { mechanism, initial }),
        //= RFC 4954 section 4: a mechanism that is not there gets 504
        _ => Err(&Reply::UNKNOWN_MECHANISM),
    }
}

const fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=')
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
    let (size, last) = match argument.iter().position(|&byte| byte == b' ') {
        Some(len) => {
            let (size, last) = argument.split_at_checked(len).unwrap_or_default();
            (size, Some(last.trim_ascii_start()))
        }
        None => (argument, None),
    };
    if last.is_some_and(|last| !last.eq_ignore_ascii_case(b"LAST")) {
        return Err(&Reply::BAD_ARGUMENT);
    }
    let size = ascii::parse_decimal(size).ok_or(&Reply::BAD_ARGUMENT)?;
    let last = last.is_some();
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

fn next<'i>(rest: &mut &'i [u8]) -> Result<Option<Parameter<'i>>, Refusal> {
    parameters::next(rest).map_err(|Malformed| &Reply::BAD_ARGUMENT)
}

fn once(first: bool) -> Result<(), Refusal> {
    if first {
        Ok(())
    } else {
        Err(&Reply::BAD_ARGUMENT)
    }
}

fn body_kind(value: &[u8]) -> Result<BodyKind, Refusal> {
    if value.eq_ignore_ascii_case(b"7BIT") {
        Ok(BodyKind::SevenBit)
    } else if value.eq_ignore_ascii_case(b"8BITMIME") {
        Ok(BodyKind::EightBitMime)
    } else {
        //= RFC 5321 section 4.1.1.11: what is not implemented gets 555
        Err(&Reply::BAD_PARAMETER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Code;

    const ALL: Extensions = Extensions::NONE
        .with_size_max(1000)
        .with(Extension::EightBitMime)
        .with(Extension::SmtpUtf8);

    fn mail_code(argument: &str, offered: Extensions) -> u16 {
        mail(argument.as_bytes(), &offered, &Strictness::STRICT)
            .map_or_else(|refusal| refusal.code.get(), |_| 250)
    }

    #[test]
    fn mail_is_read_whole() {
        let found = mail(
            b"from:<x@a.example> size=999 BODY=8bitmime SMTPUTF8",
            &ALL,
            &Strictness::STRICT,
        )
        .unwrap();
        assert_eq!(found.from.as_str(), "x@a.example");
        assert_eq!(found.size, Some(999));
        assert_eq!(found.body, Some(BodyKind::EightBitMime));
        assert!(found.smtputf8);
        assert_eq!(
            mail(b"FROM:<>", &ALL, &Strictness::STRICT)
                .unwrap()
                .from
                .as_str(),
            ""
        );
    }

    #[test]
    fn mail_is_refused_for_the_right_reason() {
        for (argument, code) in [
            ("FROM:<x@a>", 250),
            ("FROM: <x@a>", 501),
            ("FROM:<x@a> SIZE=1000", 250),
            ("FROM:<x@a> SIZE=1001", 552),
            ("FROM:<x@a> SIZE=99999999999999999999", 552),
            ("FROM:<x@a> SIZE=999999999999999999999", 501),
            ("FROM:<x@a> SIZE", 501),
            ("FROM:<x@a> SIZE=", 501),
            ("FROM:<x@a> SIZE=-1", 501),
            ("FROM:<x@a> SIZE=1 SIZE=1", 501),
            ("FROM:<x@a> BODY=7BIT", 250),
            ("FROM:<x@a> BODY=7BIT BODY=7BIT", 501),
            ("FROM:<x@a> BODY=BINARYMIME", 555),
            ("FROM:<x@a> BODY", 501),
            ("FROM:<x@a> SMTPUTF8=1", 501),
            ("FROM:<x@a> SMTPUTF8 SMTPUTF8", 501),
            ("FROM:<x@a> AUTH=<>", 555),
            ("FROM:<x@a>SIZE=1", 501),
            ("FROM:<ü@a>", 553),
            ("FROM:<ü@a> SMTPUTF8", 250),
            ("FROM:x@a", 501),
            ("TO:<x@a>", 501),
            ("", 501),
        ] {
            assert_eq!(mail_code(argument, ALL), code, "{argument}");
        }
    }

    #[test]
    fn what_is_not_offered_is_not_known() {
        for parameter in ["SIZE=1", "BODY=7BIT", "SMTPUTF8"] {
            let argument = alloc::format!("FROM:<x@a> {parameter}");
            assert_eq!(mail_code(&argument, Extensions::NONE), 555, "{argument}");
        }
        assert_eq!(mail_code("FROM:<ü@a>", Extensions::NONE), 501);
    }

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
}
