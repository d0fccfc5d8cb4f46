//! The header that SCRAM and OAUTHBEARER open with, and the quoting of names in it. What a
//! mechanism makes of the header is in its own file.

use alloc::string::String;

/// What stands before the mechanism's own message.
//= RFC 5801 section 4: a flag for channel binding, then who the client wants to act as, each with a comma
pub(super) struct Header<'m> {
    /// `n`, `y`, or `p=` and the kind of binding.
    pub(super) flag: &'m str,
    /// Quoted; empty if nothing was said.
    pub(super) authorization: &'m str,
    /// The whole of it, with its last comma.
    #[cfg_attr(not(feature = "scram"), expect(dead_code))]
    pub(super) text: &'m str,
}

/// Parts a message into its header and what follows; `None` if it has no header.
pub(super) fn read(message: &str) -> Option<(Header<'_>, &str)> {
    let (flag, behind) = message.split_once(',')?;
    let (authorization, rest) = behind.split_once(',')?;
    let text = message.strip_suffix(rest)?;
    //= RFC 5802 section 5: a message that starts with anything else than "n", "y" or "p" is invalid
    let known = match flag.strip_prefix("p=") {
        Some(kind) => is_binding_kind(kind),
        None => flag == "n" || flag == "y",
    };
    //= RFC 5802 section 7: an identity that is written has one character at least
    let authorization = match authorization {
        "" => "",
        written => written.strip_prefix("a=").filter(|name| !name.is_empty())?,
    };
    let header = Header {
        flag,
        authorization,
        text,
    };
    known.then_some((header, rest))
}

/// Is it the name of a kind of channel binding?
//= RFC 5802 section 7: cb-name is of letters, digits, dots and hyphens
pub(super) fn is_binding_kind(kind: &str) -> bool {
    !kind.is_empty()
        && kind
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || octet == b'.' || octet == b'-')
}

/// The name that is quoted in `quoted`; `None` if it is quoted wrongly. An empty one stays empty.
//= RFC 5802 section 5.1: a name holds no comma, and "=" only as the start of "=2C" or "=3D"
pub(super) fn unquote(quoted: &str) -> Option<String> {
    let mut parts = quoted.split('=');
    let mut name = String::with_capacity(quoted.len());
    name.push_str(parts.next()?);
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        name.push(sign);
        name.push_str(rest);
    }
    (!quoted.contains([',', '\0'])).then_some(name)
}

/// Appends `name`, quoted.
pub(super) fn quote(name: &str, out: &mut String) {
    for character in name.chars() {
        match character {
            ',' => out.push_str("=2C"),
            '=' => out.push_str("=3D"),
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers() {
        for (message, flag, authorization, rest) in [
            ("n,,", "n", "", ""),
            ("y,,n=u", "y", "", "n=u"),
            (
                "p=tls-exporter,a=x=2Cy,n=u,r=1",
                "p=tls-exporter",
                "x=2Cy",
                "n=u,r=1",
            ),
        ] {
            let (header, behind) = read(message).unwrap();
            assert_eq!(
                (header.flag, header.authorization, behind),
                (flag, authorization, rest)
            );
        }
        for message in [
            "", "n", "n,", ",,", "x,,", "N,,", "p,,", "p=,,", "p=a b,,", "n,a=,", "n,x,", "n,b=x,",
            "F,n,,", " n,,",
        ] {
            assert!(read(message).is_none(), "{message:?}");
        }
    }

    #[test]
    fn quoted_wrongly() {
        for quoted in [
            "=", "a=", "=2", "=2c", "=3d", "==2C", "=00", "a,b", "a\0b", "=2C=",
        ] {
            assert_eq!(unquote(quoted), None, "{quoted:?}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(name in "[a-c,=23CD\u{e4}]{0,12}") {
            let mut quoted = String::new();
            quote(&name, &mut quoted);
            prop_assert!(!quoted.contains(','));
            prop_assert_eq!(unquote(&quoted), Some(name));
        }
    }
}
