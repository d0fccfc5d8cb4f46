//! The parameters behind a path, as written: `keyword` or `keyword=value`. What they mean is
//! decided where the command is read.

use crate::ascii::{self, HIGH, LET_DIG, VALUE};

/// One parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parameter<'i> {
    pub(super) keyword: &'i [u8],
    pub(super) value: Option<&'i [u8]>,
}

/// Takes the next parameter off the front of `text`: `Ok(None)` at the end, `Err` if it breaks the
/// grammar.
//= RFC 5321 section 4.1.2: esmtp-keyword and, behind an equals sign, esmtp-value; spaces part them
pub(super) fn next<'i>(text: &mut &'i [u8]) -> Result<Option<Parameter<'i>>, Malformed> {
    let rest = text.trim_ascii_start();
    if rest.is_empty() {
        return Ok(None);
    }
    if rest.len() == text.len() {
        return Err(Malformed);
    }
    let len = rest
        .iter()
        .position(|&byte| byte != b'-' && !ascii::is(byte, LET_DIG))
        .unwrap_or(rest.len());
    let (keyword, rest) = rest.split_at_checked(len).ok_or(Malformed)?;
    if !keyword
        .first()
        .is_some_and(|&byte| ascii::is(byte, LET_DIG))
    {
        return Err(Malformed);
    }
    let Some(rest) = rest.strip_prefix(b"=") else {
        *text = rest;
        let value = None;
        return Ok(Some(Parameter { keyword, value }));
    };
    //= RFC 6531 section 3.3: values of parameters take UTF-8 as well
    let len = ascii::span(rest, VALUE | HIGH);
    let (value, rest) = rest.split_at_checked(len).ok_or(Malformed)?;
    if value.is_empty() {
        return Err(Malformed);
    }
    *text = rest;
    let value = Some(value);
    Ok(Some(Parameter { keyword, value }))
}

/// It breaks the grammar of parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn all(text: &str) -> Option<Vec<(&str, Option<&str>)>> {
        let mut rest = text.as_bytes();
        let mut found = Vec::new();
        loop {
            match next(&mut rest) {
                Ok(None) => return Some(found),
                Ok(Some(parameter)) => {
                    let text = |bytes| core::str::from_utf8(bytes).unwrap();
                    found.push((text(parameter.keyword), parameter.value.map(text)));
                }
                Err(Malformed) => return None,
            }
        }
    }

    #[test]
    fn right() {
        assert_eq!(all(""), Some(Vec::new()));
        assert_eq!(all("  "), Some(Vec::new()));
        assert_eq!(all(" A"), Some([("A", None)].into()));
        assert_eq!(
            all(" A-1=b+20  C=d"),
            Some([("A-1", Some("b+20")), ("C", Some("d"))].into())
        );
    }

    #[test]
    fn wrong() {
        for text in [
            "A", " -A", " A=", " =b", " A==b", " A=b=c", " A_B", " A=b\x01", "\0",
        ] {
            assert_eq!(all(text), None, "{text:?}");
        }
    }
}
