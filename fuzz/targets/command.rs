//! One command line: what is understood can be written, and is then understood the same.

use mailrail_protocol::command::parse::{self, Bdat};
use mailrail_protocol::command::{Strictness, Verb, Verdict, write};
use mailrail_protocol::extension::{Extension, Extensions};

/// The line, without its CRLF.
pub(crate) fn run(line: &[u8]) {
    let all = Extension::ALL
        .iter()
        .fold(Extensions::NONE, |all, each| all.with(*each));
    for offered in [all.with_size_max(1 << 20), all, Extensions::NONE] {
        for strictness in [Strictness::STRICT, lenient()] {
            check(line, &offered, &strictness);
        }
    }
}

/// All that can be borne.
fn lenient() -> Strictness {
    let mut strictness = Strictness::STRICT;
    for verdict in [
        &mut strictness.bare_line_ends,
        &mut strictness.nul,
        &mut strictness.bare_lf_in_commands,
        &mut strictness.spaces_around_colon,
        &mut strictness.missing_brackets,
        &mut strictness.utf8_unannounced,
        &mut strictness.hello_syntax,
        &mut strictness.address_lengths,
    ] {
        *verdict = Verdict::Accept;
    }
    strictness
}

fn check(line: &[u8], offered: &Extensions, strictness: &Strictness) {
    let Ok((verb, argument)) = parse::verb(line) else {
        return;
    };
    let mut out = Vec::new();
    match verb {
        Verb::Ehlo | Verb::Helo => {
            let Ok(hello) = parse::hello(verb == Verb::Ehlo, argument, strictness) else {
                return;
            };
            write::hello(hello.extended, hello.name, &mut out);
            let (_, argument) = again(&out, verb);
            assert_eq!(
                parse::hello(verb == Verb::Ehlo, argument, strictness),
                Ok(hello)
            );
        }
        Verb::Mail => {
            let Ok(mail) = parse::mail(argument, offered, strictness) else {
                return;
            };
            assert!(
                mail.smtputf8
                    || strictness.utf8_unannounced.accepts()
                    || mail.from.as_str().is_ascii()
            );
            mail.write(&mut out);
            let (_, argument) = again(&out, verb);
            assert_eq!(parse::mail(argument, offered, strictness), Ok(mail));
        }
        Verb::Recipient => {
            for smtputf8 in [false, true] {
                let Ok(recipient) = parse::recipient(argument, smtputf8, offered, strictness)
                else {
                    continue;
                };
                out.clear();
                recipient.write(&mut out);
                let (_, argument) = again(&out, verb);
                assert_eq!(
                    parse::recipient(argument, smtputf8, offered, strictness),
                    Ok(recipient)
                );
            }
        }
        Verb::Bdat => {
            let Ok(bdat) = parse::bdat(argument) else {
                return;
            };
            write::chunk_last(bdat.size, &mut out);
            let (_, argument) = again(&out, verb);
            let last = Bdat { last: true, ..bdat };
            assert_eq!(parse::bdat(argument), Ok(last));
        }
        _ => {}
    }
}

/// Takes a written line apart: one line, and its verb.
fn again(out: &[u8], verb: Verb) -> (Verb, &[u8]) {
    let line = out.strip_suffix(b"\r\n").expect("a line ends with CRLF");
    assert!(
        !line.iter().any(|byte| b"\r\n\0".contains(byte)),
        "one line"
    );
    let parts = parse::verb(line).expect("what was written is understood");
    assert_eq!(parts.0, verb);
    parts
}
