//! Reading what a server announced. What follows from it for a message is the client's business.

use super::{Extension, Extensions, FutureRelease, Limits, NINE_DIGITS, SIX_DIGITS};
use crate::ascii::{parse_decimal, strip_word};
use crate::command::{Attribute, AttributeSet, PriorityProfile, date};
use crate::sasl::{Mechanism, Mechanisms};

/// The extensions that the answer to EHLO names: its lines without their codes, the first of which
/// is the server's name and its greeting. What is not known here is passed over.
pub fn parse<'i>(lines: impl Iterator<Item = &'i [u8]>) -> Extensions {
    let found = lines.skip(1).fold(Extensions::NONE, with_line);
    //= RFC 3030 section 3: BINARYMIME is there only together with CHUNKING
    if found.has(Extension::Chunking) {
        found
    } else {
        found.without(Extension::BinaryMime)
    }
}

/// One line: a keyword in whatever case, and its parameters behind a space.
//= RFC 5321 section 4.1.1.1: keywords and their parameters are parted by spaces, case does not matter
fn with_line(extensions: Extensions, line: &[u8]) -> Extensions {
    let mut words = line
        .split(|&octet| octet == b' ')
        .filter(|word| !word.is_empty());
    let Some(keyword) = words.next() else {
        return extensions;
    };
    let Some(known) = Extension::of(keyword) else {
        // Servers older than the standard write AUTH=, often in a line beside the right one.
        return match strip_word(keyword, b"AUTH=") {
            Some(first) => with_mechanisms(extensions, core::iter::once(first).chain(words)),
            None => extensions,
        };
    };
    match known {
        //= RFC 1870 section 4: without a number, or with 0, no limit is named
        Extension::Size => {
            extensions.with_size_max(words.next().and_then(parse_decimal).unwrap_or(0))
        }
        Extension::Auth => with_mechanisms(extensions, words),
        //= RFC 9422 section 3.7: where the line breaks the grammar, it is as if there were none
        Extension::Limits => match limits(words) {
            Some(limits) => extensions.with_limits(limits),
            None => extensions,
        },
        //= RFC 2852 section 2: a number may follow, and behind a comma what the future brings
        Extension::DeliverBy => {
            let first = words.next().unwrap_or_default();
            let number = first.split(|&octet| octet == b',').next();
            let seconds = number.and_then(|digits| small(digits, NINE_DIGITS));
            extensions.with_deliver_by_min(seconds.unwrap_or(0))
        }
        //= RFC 4865 section 3: both parameters are required
        Extension::FutureRelease => {
            let interval = words.next().and_then(|digits| small(digits, NINE_DIGITS));
            match (interval, words.next().and_then(date::parse)) {
                (Some(interval_max_s @ 1..), Some(until_max)) => {
                    extensions.with_future_release(FutureRelease {
                        interval_max_s,
                        until_max,
                    })
                }
                _ => extensions,
            }
        }
        //= RFC 6710 section 3: a client may use the extension whose policy it does not know
        Extension::MtPriority => {
            let profile = words.next().map(PriorityProfile::of);
            extensions.with_priority_profile(profile.unwrap_or_default())
        }
        Extension::XClient => extensions.with_x_client(attributes(words, AttributeSet::X_CLIENT)),
        Extension::XForward => {
            extensions.with_x_forward(attributes(words, AttributeSet::X_FORWARD))
        }
        extension => extensions.with(extension),
    }
}

/// Several lines add up.
fn with_mechanisms<'i>(
    extensions: Extensions,
    words: impl Iterator<Item = &'i [u8]>,
) -> Extensions {
    let found = words.filter_map(Mechanism::of);
    extensions.with_mechanisms(found.fold(extensions.mechanisms(), Mechanisms::with))
}

//= RFC 9422 section 3: limit-name [ "=" limit-value ], with spaces between
fn limits<'i>(words: impl Iterator<Item = &'i [u8]>) -> Option<Limits> {
    let mut limits = None;
    for word in words {
        let limits = limits.get_or_insert_with(Limits::default);
        let at = word.iter().position(|&octet| octet == b'=');
        let (name, value) = word.split_at_checked(at.unwrap_or(word.len()))?;
        let is_name = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        let is_value = |octet: &u8| octet.is_ascii_graphic() && *octet != b';';
        if name.is_empty() || !name.iter().all(is_name) || !value.iter().all(is_value) {
            return None;
        }
        if value == b"=" {
            return None;
        }
        let slot = match Limits::NAMES
            .iter()
            .position(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        {
            Some(0) => &mut limits.recipient_count_max,
            Some(1) => &mut limits.mail_count_max,
            Some(2) => &mut limits.recipient_domain_count_max,
            _ => continue,
        };
        //= RFC 9422 section 3.7: a value that breaks its grammar is as if its limit were not named
        let value = value.strip_prefix(b"=").unwrap_or_default();
        if !value.starts_with(b"0")
            && let Some(limit) = small(value, SIX_DIGITS)
        {
            *slot = limit;
        }
    }
    limits
}

fn attributes<'i>(words: impl Iterator<Item = &'i [u8]>, known: AttributeSet) -> AttributeSet {
    words
        .filter_map(Attribute::of)
        .filter(|attribute| known.has(*attribute))
        .fold(AttributeSet::NONE, AttributeSet::with)
}

/// A number that is not above `max`.
fn small(digits: &[u8], max: u32) -> Option<u32> {
    let number = u32::try_from(parse_decimal(digits)?).ok()?;
    (number <= max).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: Extensions) {
        assert_eq!(parse(lines.iter().map(|line| line.as_bytes())), expected);
    }

    #[test]
    fn the_first_line_is_a_name() {
        check(&["PIPELINING"], Extensions::NONE);
        check(&[], Extensions::NONE);
    }

    #[test]
    fn all_that_are_known() {
        check(
            &[
                "mx.example at your service",
                "PIPELINING",
                "SIZE 1000",
                "8bitmime",
                "EnhancedStatusCodes",
                "CHUNKING ",
                "SMTPUTF8",
                "STARTTLS",
                "DSN",
                "AUTH PLAIN LOGIN",
                "X-SOMETHING a b",
                "",
                " ",
            ],
            Extensions::NONE
                .with(Extension::Pipelining)
                .with_size_max(1000)
                .with(Extension::EightBitMime)
                .with(Extension::EnhancedStatusCodes)
                .with(Extension::Chunking)
                .with(Extension::SmtpUtf8)
                .with(Extension::StartTls)
                .with(Extension::Dsn)
                .with_mechanisms(PLAIN.with(Mechanism::Login)),
        );
    }

    const PLAIN: Mechanisms = Mechanisms::NONE.with(Mechanism::Plain);

    #[test]
    fn a_size_without_a_limit() {
        for line in [
            "SIZE",
            "SIZE 0",
            "SIZE many",
            "SIZE -1",
            "SIZE 99999999999999999999999",
        ] {
            check(&["mx", line], Extensions::NONE.with_size_max(0));
        }
        check(&["mx", "SIZE  7 x"], Extensions::NONE.with_size_max(7));
    }

    #[test]
    fn a_keyword_is_a_whole_word() {
        check(
            &["mx", "PIPELININGS", "X8BITMIME", "CHUNKING=1"],
            Extensions::NONE,
        );
    }

    #[test]
    fn mechanisms_of_old_and_new_lines() {
        let plain = Extensions::NONE.with_mechanisms(PLAIN);
        let both = Extensions::NONE.with_mechanisms(PLAIN.with(Mechanism::Login));
        check(&["mx", "AUTH plain GSSAPI"], plain);
        check(&["mx", "AUTH=PLAIN"], plain);
        check(&["mx", "auth=PLAIN login"], both);
        check(&["mx", "AUTH LOGIN", "AUTH=LOGIN PLAIN"], both);
        check(&["mx", "AUTH=LOGIN", "AUTH PLAIN"], both);
        let none = Extensions::NONE.with(Extension::Auth);
        check(&["mx", "AUTH GSSAPI NTLM"], none);
        check(&["mx", "AUTH"], none);
    }

    #[test]
    fn limits_that_are_named() {
        let limits = |recipients, mails, domains| {
            Extensions::NONE.with_limits(Limits {
                recipient_count_max: recipients,
                mail_count_max: mails,
                recipient_domain_count_max: domains,
            })
        };
        for (line, expected) in [
            ("LIMITS RCPTMAX=20 MAILMAX=5", limits(20, 5, 0)),
            ("limits rcptdomainmax=1", limits(0, 0, 1)),
            ("LIMITS RCPTMAX=20 FUTURE FOO=x=y", limits(20, 0, 0)),
            ("LIMITS RCPTMAX=999999", limits(999_999, 0, 0)),
            ("LIMITS RCPTMAX=1000000 MAILMAX=2", limits(0, 2, 0)),
            ("LIMITS RCPTMAX=0 MAILMAX=2", limits(0, 2, 0)),
            ("LIMITS RCPTMAX=07 MAILMAX=2", limits(0, 2, 0)),
            ("LIMITS RCPTMAX MAILMAX=2", limits(0, 2, 0)),
            ("LIMITS RCPTMAX=many MAILMAX=2", limits(0, 2, 0)),
            ("LIMITS FUTURE", limits(0, 0, 0)),
            ("LIMITS", Extensions::NONE),
            ("LIMITS RCPTMAX=1;MAILMAX=2", Extensions::NONE),
            ("LIMITS RCPTMAX= MAILMAX=2", Extensions::NONE),
            ("LIMITS MAILMAX=2 =1", Extensions::NONE),
            ("LIMITS MAILMAX=2 A.B=1", Extensions::NONE),
        ] {
            check(&["mx", line], expected);
        }
    }

    #[test]
    fn times() {
        let by = |seconds| Extensions::NONE.with_deliver_by_min(seconds);
        check(&["mx", "DELIVERBY"], by(0));
        check(&["mx", "DELIVERBY 60"], by(60));
        check(&["mx", "DELIVERBY 60,more"], by(60));
        check(&["mx", "DELIVERBY soon"], by(0));
        check(&["mx", "DELIVERBY 1000000000"], by(0));
        let future = Extensions::NONE.with_future_release(FutureRelease {
            interval_max_s: 60,
            until_max: 1_000_000_000,
        });
        for line in [
            "FUTURERELEASE 60 2001-09-09T01:46:40Z",
            "futurerelease 60 2001-09-09T02:46:40+01:00",
        ] {
            check(&["mx", line], future);
        }
        for line in [
            "FUTURERELEASE",
            "FUTURERELEASE 60",
            "FUTURERELEASE 0 2001-09-09T01:46:40Z",
            "FUTURERELEASE 60 soon",
            "FUTURERELEASE 2001-09-09T01:46:40Z 60",
        ] {
            check(&["mx", line], Extensions::NONE);
        }
    }

    #[test]
    fn names_of_policies_and_attributes() {
        let with = |profile| Extensions::NONE.with_priority_profile(profile);
        check(&["mx", "MT-PRIORITY"], with(PriorityProfile::Unnamed));
        check(&["mx", "MT-PRIORITY mixer"], with(PriorityProfile::Mixer));
        check(&["mx", "MT-PRIORITY other"], with(PriorityProfile::Unnamed));
        let set = AttributeSet::NONE
            .with(Attribute::Name)
            .with(Attribute::Address);
        let client = Extensions::NONE.with_x_client(set);
        check(&["mx", "XCLIENT addr NAME IDENT COLOUR"], client);
        let forward = Extensions::NONE.with_x_forward(set.with(Attribute::Ident));
        check(&["mx", "XFORWARD NAME ADDR IDENT LOGIN"], forward);
    }

    #[test]
    fn binary_needs_chunks() {
        check(&["mx", "BINARYMIME"], Extensions::NONE);
        let both = Extensions::NONE
            .with(Extension::Chunking)
            .with(Extension::BinaryMime);
        check(&["mx", "BINARYMIME", "CHUNKING"], both);
    }
}
