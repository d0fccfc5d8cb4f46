//! The argument of AUTH. What is said inside an exchange is `sasl`'s business.

use super::{Refusal, first_word};
use crate::command::Auth;
use crate::reply::Reply;
use crate::sasl::{Mechanism, Mechanisms};

/// The argument of AUTH, where these mechanisms are offered.
///
/// # Errors
/// What breaks the grammar, and a mechanism that is not offered.
//= RFC 4954 section 4: AUTH SP sasl-mech [SP initial-response]
pub fn auth(argument: &[u8], offered: Mechanisms) -> Result<Auth<'_>, Refusal> {
    let (word, rest) = first_word(argument);
    if word.is_empty() || !word.iter().all(|&octet| is_mechanism(octet)) {
        return Err(&Reply::BAD_ARGUMENT);
    }
    let Some(mechanism) = Mechanism::of(word).filter(|each| offered.has(*each)) else {
        //= RFC 4954 section 4: a mechanism that is not there gets 504
        return Err(&Reply::UNKNOWN_MECHANISM);
    };
    let initial = match rest {
        b"" => None,
        //= RFC 4954 section 4: an initial response of no octets is written as an equals sign
        b"=" => Some(&b""[..]),
        //= RFC 4954 section 4: what is not base64 gets 501 and 5.5.2
        _ if !rest.iter().all(|&octet| is_base64(octet)) => return Err(&Reply::BAD_BASE64),
        initial => Some(initial),
    };
    Ok(Auth { mechanism, initial })
}

//= RFC 4422 section 3.1: names of mechanisms are capitals, digits, hyphens and underscores
const fn is_mechanism(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')
}

/// Can it stand in base64? Whether the whole is base64 is seen when it is decoded.
pub(in crate::command) const fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: Mechanisms = Mechanisms::NONE
        .with(Mechanism::Plain)
        .with(Mechanism::ScramSha256);

    #[test]
    fn right() {
        for (argument, mechanism, initial) in [
            ("PLAIN", Mechanism::Plain, None),
            ("plain AGEAYg==", Mechanism::Plain, Some("AGEAYg==")),
            ("PLAIN  =", Mechanism::Plain, Some("")),
            ("Scram-Sha-256 a+/=", Mechanism::ScramSha256, Some("a+/=")),
        ] {
            let initial = initial.map(str::as_bytes);
            assert_eq!(
                auth(argument.as_bytes(), OFFERED),
                Ok(Auth { mechanism, initial })
            );
        }
    }

    #[test]
    fn wrong() {
        for (argument, code) in [
            ("", 501),
            ("=", 501),
            ("PL*AIN", 501),
            ("PLAIN a b", 501),
            ("PLAIN a!", 501),
            ("PLAIN ü", 501),
            ("LOGIN", 504),
            ("PLAINS", 504),
            ("SCRAM-SHA-256-PLUS", 504),
        ] {
            let refusal = auth(argument.as_bytes(), OFFERED).unwrap_err();
            assert_eq!(refusal.code.get(), code, "{argument}");
        }
        assert!(auth(b"PLAIN", Mechanisms::NONE).is_err());
    }
}
