//! The arguments of the commands that are policy alone, and lines whose verb is not known here.

use super::Refusal;
use crate::ascii;
use crate::command::attributes::{AttributeSet, Attributes};
use crate::command::{Etrn, Other, Verb};
use crate::reply::Reply;

/// The argument of VRFY, EXPN, HELP, NOOP, ETRN, XCLIENT or XFORWARD; for [`Verb::Unknown`] a whole
/// line, whose verb the caller knows or will refuse.
///
/// Whether an extension is offered is not asked here, nor which attributes a server announced: see
/// [`Attributes::set`].
///
/// # Errors
/// What breaks the grammar, and other verbs.
pub fn other(verb: Verb, argument: &[u8]) -> Result<Other<'_>, Refusal> {
    if ascii::has_control(argument) {
        return Err(&Reply::BAD_ARGUMENT);
    }
    let text = core::str::from_utf8(argument).map_err(|_| &Reply::BAD_ARGUMENT)?;
    match verb {
        //= RFC 5321 section 4.1.1.8: HELP may come without an argument
        Verb::Help => Ok(Other::Help(text)),
        //= RFC 5321 section 4.1.1.9: what stands behind NOOP is passed over
        Verb::Noop => Ok(Other::Noop),
        _ if text.is_empty() => Err(&Reply::BAD_ARGUMENT),
        //= RFC 5321 section 4.1.1.6: VRFY has a string, a mailbox or a name
        Verb::Verify => Ok(Other::Verify(text)),
        //= RFC 5321 section 4.1.1.7: EXPN has a string, the name of a list
        Verb::Expand => Ok(Other::Expand(text)),
        Verb::Etrn => etrn(text).map(Other::Etrn),
        Verb::XClient => Attributes::parse(argument, AttributeSet::X_CLIENT)
            .map(Other::XClient)
            .ok_or(&Reply::BAD_ARGUMENT),
        Verb::XForward => Attributes::parse(argument, AttributeSet::X_FORWARD)
            .map(Other::XForward)
            .ok_or(&Reply::BAD_ARGUMENT),
        Verb::Unknown => Ok(Other::Private(text)),
        _ => Err(&Reply::NOT_IMPLEMENTED),
    }
}

//= RFC 1985 section 5.1: ETRN SP [option-character] node-name; bad syntax gets 501
fn etrn(text: &str) -> Result<Etrn<'_>, Refusal> {
    let (etrn, name) = match text.split_at_checked(1) {
        Some(("@", name)) => (Etrn::Subdomains(name), name),
        Some(("#", name)) => (Etrn::Queue(name), name),
        _ => (Etrn::Node(text), text),
    };
    let is_name = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic());
    is_name.then_some(etrn).ok_or(&Reply::BAD_ARGUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right() {
        for (verb, argument, expected) in [
            (Verb::Verify, "x <x@a>", Other::Verify("x <x@a>")),
            (Verb::Verify, "ü SMTPUTF8", Other::Verify("ü SMTPUTF8")),
            (Verb::Expand, "list", Other::Expand("list")),
            (Verb::Help, "", Other::Help("")),
            (Verb::Help, "MAIL", Other::Help("MAIL")),
            (Verb::Noop, "whatever", Other::Noop),
            (Verb::Noop, "", Other::Noop),
            (
                Verb::Etrn,
                "a.example",
                Other::Etrn(Etrn::Node("a.example")),
            ),
            (Verb::Etrn, "@a", Other::Etrn(Etrn::Subdomains("a"))),
            (Verb::Etrn, "#q-1", Other::Etrn(Etrn::Queue("q-1"))),
            (Verb::Unknown, "XDEBUG 1", Other::Private("XDEBUG 1")),
        ] {
            assert_eq!(other(verb, argument.as_bytes()), Ok(expected), "{argument}");
        }
        let client = other(Verb::XClient, b"NAME=a ADDR=192.0.2.1");
        assert!(matches!(client, Ok(Other::XClient(_))));
        let forward = other(Verb::XForward, b"IDENT=1 SOURCE=LOCAL");
        assert!(matches!(forward, Ok(Other::XForward(_))));
    }

    #[test]
    fn wrong() {
        for (verb, argument) in [
            (Verb::Verify, &b""[..]),
            (Verb::Verify, b"\xff"),
            (Verb::Verify, b"a\rb"),
            (Verb::Expand, b""),
            (Verb::Etrn, b""),
            (Verb::Etrn, b"@"),
            (Verb::Etrn, b"#"),
            (Verb::Etrn, b"a b"),
            (Verb::Etrn, "ü".as_bytes()),
            (Verb::XClient, b""),
            (Verb::XClient, b"NAME"),
            (Verb::XClient, b"IDENT=1"),
            (Verb::XForward, b"LOGIN=a"),
            (Verb::Unknown, b""),
            (Verb::Unknown, b"X\nY"),
        ] {
            let refusal = other(verb, argument).unwrap_err();
            assert_eq!(refusal.code.get(), 501, "{verb:?} {argument:?}");
        }
        assert_eq!(other(Verb::Mail, b"x").unwrap_err().code.get(), 502);
    }
}
