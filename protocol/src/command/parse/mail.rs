//! The argument of MAIL: a path and its parameters.

use super::{Refusal, behind_colon, charset, latitude, next, once};
use crate::address::{self, Charset, Mailbox};
use crate::ascii;
use crate::command::parameters::Parameter;
use crate::command::{
    BodyKind, DeliverBy, Hold, Mail, Priority, Return, Strictness, Submitter, date,
};
use crate::extension::{Extension, Extensions};
use crate::limits::{ENVELOPE_ID_LEN_MAX, MAILBOX_LEN_MAX, SUBMITTER_LEN_MAX};
use crate::reply::Reply;
use crate::xtext::Xtext;

/// The argument of MAIL.
///
/// # Errors
/// What breaks the grammar, what was not offered, and what is beyond a limit that was announced.
pub fn mail<'i>(
    argument: &'i [u8],
    offered: &Extensions,
    strictness: &Strictness,
) -> Result<Mail<'i>, Refusal> {
    let charset = charset(offered, strictness);
    let text = behind_colon(argument, b"FROM", strictness)?;
    let (from, rest) = match address::reverse_path(text, charset) {
        Some(found) => found,
        None => address::lenient::reverse_path(text, charset, latitude(strictness))
            .ok_or(&Reply::BAD_SENDER)?,
    };
    let announced = from.as_str().is_ascii() || strictness.utf8_unannounced.accepts();
    if rest.is_empty() {
        //= RFC 6531 section 3.5: an address beyond ASCII without SMTPUTF8 is refused with 550 and 5.6.7
        return if announced {
            Ok(Mail::new(from))
        } else {
            Err(&Reply::SENDER_NEEDS_SMTPUTF8)
        };
    }
    let mut mail = Mail::new(from);
    parameters(&mut mail, rest, offered)?;
    if announced || mail.smtputf8 {
        Ok(mail)
    } else {
        Err(&Reply::SENDER_NEEDS_SMTPUTF8)
    }
}

/// Those that come with every second message are looked for first.
fn parameters<'i>(
    mail: &mut Mail<'i>,
    mut rest: &'i [u8],
    offered: &Extensions,
) -> Result<(), Refusal> {
    while let Some(Parameter { keyword, value }) = next(&mut rest)? {
        let is = |word: &[u8]| keyword.eq_ignore_ascii_case(word);
        if is(b"SIZE") && offered.has(Extension::Size) {
            once(mail.size.is_none())?;
            //= RFC 1870 section 3: the value has one to twenty digits
            let size = value.and_then(ascii::parse_decimal);
            mail.size = Some(size.ok_or(&Reply::BAD_ARGUMENT)?);
        } else if is(b"BODY") && (offered.has(Extension::EightBitMime) || offers_binary(offered)) {
            once(mail.body.is_none())?;
            mail.body = Some(body_kind(value.ok_or(&Reply::BAD_ARGUMENT)?, offered)?);
        } else if is(b"SMTPUTF8") && offered.has(Extension::SmtpUtf8) {
            //= RFC 6531 section 3.4: SMTPUTF8 takes no value
            once(!mail.smtputf8 && value.is_none())?;
            mail.smtputf8 = true;
        } else {
            rare_parameter(mail, Parameter { keyword, value }, offered)?;
        }
    }
    //= RFC 1870 section 6.1: a message that is announced as too large is refused at MAIL
    if let (Some(size), Some(size_max)) = (mail.size, offered.size_max())
        && size > size_max
    {
        return Err(&Reply::TOO_LARGE);
    }
    Ok(())
}

/// All the others, and those that nobody knows.
#[cold]
fn rare_parameter<'i>(
    mail: &mut Mail<'i>,
    parameter: Parameter<'i>,
    offered: &Extensions,
) -> Result<(), Refusal> {
    const WRONG: Refusal = &Reply::BAD_ARGUMENT;
    let Parameter { keyword, value } = parameter;
    let is = |word: &[u8], extension| keyword.eq_ignore_ascii_case(word) && offered.has(extension);
    if is(b"RET", Extension::Dsn) {
        //= RFC 3461 section 5.1: a parameter that is not valid, or comes twice, gets 501
        once(mail.return_.is_none())?;
        mail.return_ = Some(value.and_then(return_).ok_or(WRONG)?);
    } else if is(b"ENVID", Extension::Dsn) {
        once(mail.envelope_id.is_none())?;
        mail.envelope_id = Some(value.and_then(envelope_id).ok_or(WRONG)?);
    } else if is(b"AUTH", Extension::Auth) {
        once(mail.submitter.is_none())?;
        let submitter = value.and_then(|value| submitter(value, offered));
        mail.submitter = Some(submitter.ok_or(WRONG)?);
    } else if is(b"REQUIRETLS", Extension::RequireTls) {
        //= RFC 8689 section 3: REQUIRETLS takes no value
        once(!mail.require_tls && value.is_none())?;
        mail.require_tls = true;
    } else if is(b"BY", Extension::DeliverBy) {
        once(mail.deliver_by.is_none())?;
        mail.deliver_by = Some(deliver_by(value.ok_or(WRONG)?, offered)?);
    } else if is(b"HOLDFOR", Extension::FutureRelease) {
        //= RFC 4865 section 4.2: more than one of HOLDFOR and HOLDUNTIL gets 501
        once(mail.hold.is_none())?;
        mail.hold = Some(hold_for(value.ok_or(WRONG)?, offered)?);
    } else if is(b"HOLDUNTIL", Extension::FutureRelease) {
        once(mail.hold.is_none())?;
        mail.hold = Some(hold_until(value.ok_or(WRONG)?, offered)?);
    } else if is(b"MT-PRIORITY", Extension::MtPriority) {
        //= RFC 6710 section 4.1: a priority that is not valid, or comes twice, gets 501 and 5.5.2
        let first = mail.priority.is_none();
        let priority = value.and_then(priority).filter(|_| first);
        mail.priority = Some(priority.ok_or(&Reply::BAD_PRIORITY)?);
    } else {
        //= RFC 5321 section 4.1.1.11: a parameter that was not offered gets 555
        return Err(&Reply::BAD_PARAMETER);
    }
    Ok(())
}

//= RFC 3030 section 3: BINARYMIME is there only together with CHUNKING
const fn offers_binary(offered: &Extensions) -> bool {
    offered.has(Extension::BinaryMime) && offered.has(Extension::Chunking)
}

//= RFC 6152 section 2: BODY is 7BIT or 8BITMIME
//= RFC 3030 section 3: or BINARYMIME, where that is offered
fn body_kind(value: &[u8], offered: &Extensions) -> Result<BodyKind, Refusal> {
    let (kind, known) = if value.eq_ignore_ascii_case(b"7BIT") {
        (BodyKind::SevenBit, true)
    } else if value.eq_ignore_ascii_case(b"8BITMIME") {
        (BodyKind::EightBitMime, offered.has(Extension::EightBitMime))
    } else {
        let is_binary = value.eq_ignore_ascii_case(b"BINARYMIME");
        (BodyKind::BinaryMime, is_binary && offers_binary(offered))
    };
    //= RFC 5321 section 4.1.1.11: what is not implemented gets 555
    known.then_some(kind).ok_or(&Reply::BAD_PARAMETER)
}

//= RFC 3461 section 4.3: FULL or HDRS, in any case
fn return_(value: &[u8]) -> Option<Return> {
    if value.eq_ignore_ascii_case(b"FULL") {
        Some(Return::Full)
    } else if value.eq_ignore_ascii_case(b"HDRS") {
        Some(Return::Headers)
    } else {
        None
    }
}

//= RFC 3461 section 4.4: ENVID is xtext of at most 100 characters, which stands for printable ASCII
fn envelope_id(value: &[u8]) -> Option<Xtext<'_>> {
    if value.len() > ENVELOPE_ID_LEN_MAX {
        return None;
    }
    Xtext::parse(value).filter(|id| id.octets().all(|octet| matches!(octet, b' '..=b'~')))
}

//= RFC 4954 section 5: AUTH is <>, or a mailbox as xtext
fn submitter<'i>(value: &'i [u8], offered: &Extensions) -> Option<Submitter<'i>> {
    if value == b"<>" {
        return Some(Submitter::Unknown);
    }
    if value.len() > SUBMITTER_LEN_MAX {
        return None;
    }
    let text = Xtext::parse(value)?;
    let mut decoded = [0; MAILBOX_LEN_MAX];
    let mut len = 0;
    for octet in text.octets() {
        *decoded.get_mut(len)? = octet;
        len += 1;
    }
    let charset = if offered.has(Extension::SmtpUtf8) {
        Charset::Utf8
    } else {
        Charset::Ascii
    };
    Mailbox::parse(decoded.get(..len)?, charset)?;
    Some(Submitter::Mailbox(text))
}

//= RFC 2852 section 4: by-time ";" by-mode [by-trace]
fn deliver_by(value: &[u8], offered: &Extensions) -> Result<DeliverBy, Refusal> {
    let by = DeliverBy::parse(value).ok_or(&Reply::BAD_ARGUMENT)?;
    if by.notify {
        return Ok(by);
    }
    //= RFC 2852 section 4: a time of zero or less with the mode R gets 501 and 5.5.4
    let seconds = u32::try_from(by.seconds).unwrap_or(0);
    if seconds == 0 {
        return Err(&Reply::DELIVER_BY_PASSED);
    }
    //= RFC 2852 section 3: a time below the announced one with the mode R is refused for good
    if seconds < offered.deliver_by_min() {
        return Err(&Reply::BAD_PARAMETER);
    }
    Ok(by)
}

//= RFC 4865 section 3: one to nine digits, of which the first is not zero
fn hold_for(value: &[u8], offered: &Extensions) -> Result<Hold, Refusal> {
    let seconds = (value.len() <= 9 && !value.starts_with(b"0"))
        .then(|| ascii::parse_decimal(value))
        .flatten()
        .and_then(|seconds| u32::try_from(seconds).ok())
        .ok_or(&Reply::BAD_ARGUMENT)?;
    //= RFC 4865 section 4.2: what is beyond the announced interval gets 501 and 5.5.4
    if seconds > offered.future_release().interval_max_s {
        return Err(&Reply::HOLD_OUT_OF_RANGE);
    }
    Ok(Hold::For(seconds))
}

//= RFC 4865 section 3: a date and a time in UTC
fn hold_until(value: &[u8], offered: &Extensions) -> Result<Hold, Refusal> {
    let moment = date::parse(value).ok_or(&Reply::BAD_ARGUMENT)?;
    //= RFC 4865 section 4.2: what is later than the announced moment gets 501 and 5.5.4
    if moment > offered.future_release().until_max {
        return Err(&Reply::HOLD_OUT_OF_RANGE);
    }
    Ok(Hold::Until(moment))
}

//= RFC 6710 section 7: one digit, and a hyphen before all but zero where it is negative
fn priority(value: &[u8]) -> Option<Priority> {
    let number = match *value {
        [digit @ b'0'..=b'9'] => (digit - b'0') as i8,
        [b'-', digit @ b'1'..=b'9'] => -((digit - b'0') as i8),
        _ => return None,
    };
    Priority::new(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Verdict;
    use crate::extension::FutureRelease;

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
            ("FROM:<ü@a>", 550),
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

    const FUTURE: FutureRelease = FutureRelease {
        interval_max_s: 86_400,
        until_max: 2_000_000_000,
    };
    const RARE: Extensions = ALL
        .with(Extension::Chunking)
        .with(Extension::BinaryMime)
        .with(Extension::Dsn)
        .with(Extension::Auth)
        .with(Extension::RequireTls)
        .with_deliver_by_min(60)
        .with_future_release(FUTURE)
        .with(Extension::MtPriority);

    #[test]
    fn everything_at_once() {
        let argument = "FROM:<x@a> BODY=binarymime requiretls ret=hdrs ENVID=a+20b AUTH=y+2Bz@b \
                        BY=+60;rT HOLDFOR=86400 MT-PRIORITY=-9 SIZE=1 SMTPUTF8";
        let found = mail(argument.as_bytes(), &RARE, &Strictness::STRICT).unwrap();
        assert_eq!(found.body, Some(BodyKind::BinaryMime));
        assert!(found.require_tls && found.smtputf8);
        assert_eq!(found.return_, Some(Return::Headers));
        assert_eq!(found.envelope_id.unwrap().as_str(), "a+20b");
        let submitter = Xtext::parse(b"y+2Bz@b").map(Submitter::Mailbox);
        assert_eq!(found.submitter, submitter);
        let by = DeliverBy {
            seconds: 60,
            notify: false,
            trace: true,
        };
        assert_eq!(found.deliver_by, Some(by));
        assert_eq!(found.hold, Some(Hold::For(86_400)));
        assert_eq!(found.priority, Priority::new(-9));
    }

    #[test]
    fn rare_parameters() {
        for (parameters, code) in [
            ("BODY=8BITMIME", 250),
            ("BODY=BINARYMIME", 250),
            ("BODY=16BITMIME", 555),
            ("RET=FULL", 250),
            ("RET", 501),
            ("RET=ALL", 501),
            ("RET=FULL RET=FULL", 501),
            ("ENVID=x", 250),
            ("ENVID", 501),
            ("ENVID=", 501),
            ("ENVID=x ENVID=x", 501),
            ("ENVID=x+0A", 501),
            ("ENVID=x+FC", 501),
            ("ENVID=x+2b", 501),
            ("ENVID=ü", 501),
            ("AUTH=<>", 250),
            ("AUTH=x@a", 250),
            ("AUTH=+C3+BC@a", 250),
            ("AUTH", 501),
            ("AUTH=x", 501),
            ("AUTH=+00@a", 501),
            ("AUTH=x@a+", 501),
            ("AUTH=<x@a>", 501),
            ("AUTH=<> AUTH=<>", 501),
            ("REQUIRETLS", 250),
            ("REQUIRETLS=YES", 501),
            ("REQUIRETLS REQUIRETLS", 501),
            ("BY=60;R", 250),
            ("BY=59;R", 555),
            ("BY=59;N", 250),
            ("BY=0;N", 250),
            ("BY=-999999999;NT", 250),
            ("BY=0;R", 501),
            ("BY=-60;R", 501),
            ("BY=1000000000;N", 501),
            ("BY=;N", 501),
            ("BY=+;N", 501),
            ("BY=+-1;N", 501),
            ("BY=60", 501),
            ("BY=60;", 501),
            ("BY=60;X", 501),
            ("BY=60;RR", 501),
            ("BY=60;RTT", 501),
            ("BY=60;R BY=60;R", 501),
            ("HOLDFOR=1", 250),
            ("HOLDFOR=86401", 501),
            ("HOLDFOR=0", 501),
            ("HOLDFOR=01", 501),
            ("HOLDFOR=-1", 501),
            ("HOLDFOR=1000000000", 501),
            ("HOLDFOR", 501),
            ("HOLDUNTIL=2033-05-18T03:33:20Z", 250),
            ("HOLDUNTIL=2033-05-18T03:33:21Z", 501),
            ("HOLDUNTIL=2033-05-18", 501),
            ("HOLDUNTIL=1", 501),
            ("HOLDUNTIL", 501),
            ("HOLDFOR=1 HOLDFOR=1", 501),
            ("HOLDFOR=1 HOLDUNTIL=2033-05-18T03:33:20Z", 501),
            ("HOLDUNTIL=2033-05-18T03:33:20Z HOLDFOR=1", 501),
            ("MT-PRIORITY=0", 250),
            ("MT-PRIORITY=9", 250),
            ("MT-PRIORITY=-1", 250),
            ("MT-PRIORITY=-0", 501),
            ("MT-PRIORITY=+1", 501),
            ("MT-PRIORITY=10", 501),
            ("MT-PRIORITY=01", 501),
            ("MT-PRIORITY=", 501),
            ("MT-PRIORITY", 501),
            ("MT-PRIORITY=1 MT-PRIORITY=1", 501),
            ("NOTIFY=NEVER", 555),
            ("HOLD=1", 555),
        ] {
            let argument = alloc::format!("FROM:<x@a> {parameters}");
            assert_eq!(mail_code(&argument, RARE), code, "{argument}");
            if code == 250 && !parameters.starts_with("BODY=8") {
                assert_eq!(mail_code(&argument, ALL), 555, "{argument}");
            }
        }
    }

    #[test]
    fn lengths() {
        let id = |len| alloc::format!("FROM:<x@a> ENVID={}", "i".repeat(len));
        assert_eq!(mail_code(&id(100), RARE), 250);
        assert_eq!(mail_code(&id(101), RARE), 501);
        let submitter = |len| alloc::format!("FROM:<x@a> AUTH={}@b", "s".repeat(len));
        assert_eq!(mail_code(&submitter(64), RARE), 250);
        assert_eq!(mail_code(&submitter(65), RARE), 501);
        assert_eq!(mail_code(&submitter(600), RARE), 501);
    }

    #[test]
    fn binary_needs_chunks() {
        let alone = Extensions::NONE.with(Extension::BinaryMime);
        assert_eq!(mail_code("FROM:<x@a> BODY=BINARYMIME", alone), 555);
        let both = alone.with(Extension::Chunking);
        assert_eq!(mail_code("FROM:<x@a> BODY=BINARYMIME", both), 250);
        assert_eq!(mail_code("FROM:<x@a> BODY=8BITMIME", both), 555);
    }

    #[test]
    fn what_can_be_borne() {
        let bears = |change: fn(&mut Strictness), argument: &str| {
            let mut strictness = Strictness::STRICT;
            change(&mut strictness);
            let refused = mail(argument.as_bytes(), &ALL, &Strictness::STRICT).is_err();
            assert!(refused, "{argument}");
            mail(argument.as_bytes(), &ALL, &strictness).is_ok()
        };
        const YES: Verdict = Verdict::Accept;
        for argument in ["FROM: <x@a>", "FROM :<x@a>", "FROM  :  <x@a>  SIZE=1"] {
            assert!(bears(|rules| rules.spaces_around_colon = YES, argument));
            assert!(!bears(|rules| rules.missing_brackets = YES, argument));
        }
        for argument in ["FROM:x@a", "FROM:x@a SIZE=1"] {
            assert!(bears(|rules| rules.missing_brackets = YES, argument));
            assert!(!bears(|rules| rules.spaces_around_colon = YES, argument));
        }
        for argument in ["FROM:", "FROM: ", "FROM <x@a>", "FROM:x", "FROM:<x@a"] {
            assert!(!bears(|rules| *rules = all(), argument), "{argument}");
        }
        assert!(bears(|rules| rules.utf8_unannounced = YES, "FROM:<ü@a>"));
        let long = alloc::format!("FROM:<{}@a>", "x".repeat(65));
        assert!(bears(|rules| rules.address_lengths = YES, &long));
    }

    fn all() -> Strictness {
        Strictness {
            spaces_around_colon: Verdict::Accept,
            missing_brackets: Verdict::Accept,
            utf8_unannounced: Verdict::Accept,
            address_lengths: Verdict::Accept,
            ..Strictness::STRICT
        }
    }
}
