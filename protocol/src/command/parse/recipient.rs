//! The argument of RCPT: a path and its parameters.

use super::{Refusal, behind_colon, charset, latitude, next, once};
use crate::address::{self, Charset};
use crate::command::parameters::Parameter;
use crate::command::{Notify, OriginalRecipient, Recipient, Strictness};
use crate::extension::{Extension, Extensions};
use crate::limits::ORIGINAL_RECIPIENT_LEN_MAX;
use crate::reply::Reply;
use crate::xtext::Xtext;

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
    let (to, rest) = match address::forward_path(text, charset) {
        Some(found) => found,
        None => address::lenient::forward_path(text, charset, latitude(strictness))
            .ok_or(&Reply::BAD_RECIPIENT)?,
    };
    let mut recipient = Recipient::new(to);
    if !rest.is_empty() {
        parameters(&mut recipient, rest, offered, charset)?;
    }
    //= RFC 6531 section 3.5: an address beyond ASCII without SMTPUTF8 is refused with 553 and 5.6.7
    if !smtputf8 && !to.as_str().is_ascii() && !strictness.utf8_unannounced.accepts() {
        return Err(&Reply::NEED_SMTPUTF8);
    }
    Ok(recipient)
}

#[cold]
fn parameters<'i>(
    recipient: &mut Recipient<'i>,
    mut rest: &'i [u8],
    offered: &Extensions,
    charset: Charset,
) -> Result<(), Refusal> {
    while let Some(Parameter { keyword, value }) = next(&mut rest)? {
        let is = |word: &[u8]| keyword.eq_ignore_ascii_case(word) && offered.has(Extension::Dsn);
        if is(b"NOTIFY") {
            //= RFC 3461 section 5.1: a parameter that is not valid, or comes twice, gets 501
            once(recipient.notify.is_none())?;
            let notify = value.and_then(notify).ok_or(&Reply::BAD_ARGUMENT)?;
            recipient.notify = Some(notify);
        } else if is(b"ORCPT") {
            once(recipient.original.is_none())?;
            let original = value.and_then(|value| original(value, charset));
            recipient.original = Some(original.ok_or(&Reply::BAD_ARGUMENT)?);
        } else {
            //= RFC 5321 section 4.1.1.11: a parameter that was not offered gets 555
            return Err(&Reply::BAD_PARAMETER);
        }
    }
    Ok(())
}

//= RFC 3461 section 4.1: NEVER by itself, or SUCCESS, FAILURE and DELAY with commas between
fn notify(value: &[u8]) -> Option<Notify> {
    if value.eq_ignore_ascii_case(b"NEVER") {
        return Some(Notify::NEVER);
    }
    value
        .split(|&octet| octet == b',')
        .try_fold(Notify::NEVER, |wanted, word| {
            let word = Notify::WORDS
                .iter()
                .find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()));
            word.map(|(_, each)| wanted.with(*each))
        })
}

//= RFC 3461 section 4.2: addr-type ";" xtext
fn original(value: &[u8], charset: Charset) -> Option<OriginalRecipient<'_>> {
    if value.len() > ORIGINAL_RECIPIENT_LEN_MAX {
        return None;
    }
    let at = value.iter().position(|&octet| octet == b';')?;
    let (address_type, address) = value.split_at_checked(at)?;
    let address = address.strip_prefix(b";")?;
    let address_type = core::str::from_utf8(address_type).ok()?;
    //= RFC 6533 section 3: UTF-8 may stand for itself in the type utf-8, where SMTPUTF8 is offered
    let address = if charset == Charset::Utf8 && address_type.eq_ignore_ascii_case("utf-8") {
        Xtext::parse_utf8(address)?
    } else {
        Xtext::parse(address)?
    };
    OriginalRecipient::new(address_type, address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const DSN: Extensions = Extensions::NONE.with(Extension::Dsn);

    fn read<'i>(argument: &'i str, offered: &Extensions) -> Result<Recipient<'i>, u16> {
        recipient(argument.as_bytes(), false, offered, &Strictness::STRICT)
            .map_err(|refusal| refusal.code.get())
    }

    #[test]
    fn notify_and_original() {
        let found = read("TO:<x@a> NOTIFY=success,Delay ORCPT=rfc822;y+2Bz@b", &DSN).unwrap();
        assert_eq!(found.notify, Some(Notify::SUCCESS.with(Notify::DELAY)));
        let original = found.original.unwrap();
        assert_eq!(original.address_type(), "rfc822");
        assert_eq!(original.address().as_str(), "y+2Bz@b");
        let found = read("TO:<x@a> notify=never", &DSN).unwrap();
        assert!(found.notify.unwrap().is_never());
        let found = read("TO:<Postmaster> NOTIFY=FAILURE,FAILURE", &DSN).unwrap();
        assert_eq!(found.notify, Some(Notify::FAILURE));
    }

    #[test]
    fn refused_for_the_right_reason() {
        for (parameters, code) in [
            ("NOTIFY", 501),
            ("NOTIFY=", 501),
            ("NOTIFY=NEVER,DELAY", 501),
            ("NOTIFY=DELAY,NEVER", 501),
            ("NOTIFY=DELAY,", 501),
            ("NOTIFY=,DELAY", 501),
            ("NOTIFY=ALWAYS", 501),
            ("NOTIFY=DELAY NOTIFY=DELAY", 501),
            ("ORCPT", 501),
            ("ORCPT=x@a", 501),
            ("ORCPT=;x@a", 501),
            ("ORCPT=rfc 822;x@a", 501),
            ("ORCPT=rfc(822);x@a", 501),
            ("ORCPT=rfc822;x@a ORCPT=rfc822;x@a", 501),
            ("ORCPT=rfc822;x+0D+0Ay", 501),
            ("ORCPT=rfc822;x+FCy", 501),
            ("ORCPT=rfc822;x+2by", 501),
            ("ORCPT=rfc822;ü@a", 501),
            ("ORCPT=utf-8;ü@a", 501),
            ("SIZE=1", 555),
            ("RET=FULL", 555),
            ("FOO", 555),
        ] {
            let argument = format!("TO:<x@a> {parameters}");
            assert_eq!(read(&argument, &DSN), Err(code), "{argument}");
        }
        for parameters in ["NOTIFY=NEVER", "ORCPT=rfc822;x@a"] {
            let argument = format!("TO:<x@a> {parameters}");
            assert_eq!(read(&argument, &Extensions::NONE), Err(555), "{argument}");
        }
    }

    #[test]
    fn the_type_utf8() {
        let both = DSN.with(Extension::SmtpUtf8);
        for (address, offered) in [
            ("utf-8;\\x{FC}@a", &DSN),
            ("UTF-8;ü@a", &both),
            ("utf-8;ü@a", &both),
        ] {
            let argument = format!("TO:<x@a> ORCPT={address}");
            let found = read(&argument, offered).unwrap().original.unwrap();
            assert!(found.is_utf8());
        }
        assert_eq!(read("TO:<x@a> ORCPT=rfc822;ü@a", &both), Err(501));
        assert_eq!(read("TO:<x@a> ORCPT=utf-8;x+0A", &both), Err(501));
        assert_eq!(read("TO:<x@a> ORCPT=utf-8;\u{7f}", &both), Err(501));
    }

    #[test]
    fn lengths() {
        for (len, right) in [(500, true), (501, false)] {
            let address = "y".repeat(len - "rfc822;".len());
            let argument = format!("TO:<x@a> ORCPT=rfc822;{address}");
            assert_eq!(read(&argument, &DSN).is_ok(), right, "{len}");
        }
    }
}
