//! One command line: what is understood can be written, and is then understood the same; what is
//! understood by the strict is understood the same by those who bear more.

use mailrail_protocol::command::parse::{self, Bdat};
use mailrail_protocol::command::{Other, Strictness, Verb, Verdict, write};
use mailrail_protocol::extension::{self, Extension, Extensions, FutureRelease};
use mailrail_protocol::sasl::{Mechanism, Mechanisms};

/// The line, without its CRLF.
pub(crate) fn run(line: &[u8]) {
    let all = Extension::ALL.into_iter();
    let all = all
        .fold(Extensions::NONE, Extensions::with)
        .with_mechanisms(mechanisms())
        .with_future_release(FutureRelease {
            interval_max_s: 86_400,
            until_max: 4_000_000_000,
        });
    for offered in [
        all.with_size_max(1 << 20).with_deliver_by_min(60),
        all,
        Extensions::NONE,
    ] {
        let strict = check(line, &offered, &Strictness::STRICT);
        let lenient = check(line, &offered, &lenient());
        assert!(lenient || !strict, "strict understands more");
    }
    announcement(line, &all);
}

fn mechanisms() -> Mechanisms {
    let all = Mechanism::ALL.into_iter();
    all.fold(Mechanisms::NONE, Mechanisms::with)
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

/// Is the line understood?
fn check(line: &[u8], offered: &Extensions, strictness: &Strictness) -> bool {
    let Ok((verb, argument)) = parse::verb(line) else {
        return private(line);
    };
    let mut out = Vec::new();
    match verb {
        Verb::Ehlo | Verb::Helo | Verb::Lhlo => {
            let extended = verb != Verb::Helo;
            let Ok(hello) = parse::hello(extended, argument, strictness) else {
                return false;
            };
            match verb {
                Verb::Lhlo => write::lmtp_hello(hello.name, &mut out),
                _ => write::hello(hello.extended, hello.name, &mut out),
            }
            let argument = again(&out, verb);
            assert_eq!(parse::hello(extended, argument, strictness), Ok(hello));
        }
        Verb::Mail => {
            let Ok(mail) = parse::mail(argument, offered, strictness) else {
                return false;
            };
            let is_announced = mail.smtputf8 || strictness.utf8_unannounced.accepts();
            assert!(is_announced || mail.from.as_str().is_ascii());
            if *strictness == Strictness::STRICT {
                assert_eq!(parse::mail(argument, offered, &lenient()), Ok(mail));
            }
            mail.write(&mut out);
            let argument = again(&out, verb);
            assert_eq!(parse::mail(argument, offered, strictness), Ok(mail));
        }
        Verb::Recipient => {
            let mut understood = false;
            for smtputf8 in [false, true] {
                let found = parse::recipient(argument, smtputf8, offered, strictness);
                let Ok(recipient) = found else {
                    continue;
                };
                understood = true;
                if *strictness == Strictness::STRICT {
                    let found = parse::recipient(argument, smtputf8, offered, &lenient());
                    assert_eq!(found, Ok(recipient));
                }
                out.clear();
                recipient.write(&mut out);
                let argument = again(&out, verb);
                let found = parse::recipient(argument, smtputf8, offered, strictness);
                assert_eq!(found, Ok(recipient));
            }
            return understood;
        }
        Verb::Bdat => {
            let Ok(Bdat { size, last }) = parse::bdat(argument) else {
                return false;
            };
            write::chunk(size, last, &mut out);
            let argument = again(&out, verb);
            assert_eq!(parse::bdat(argument), Ok(Bdat { size, last }));
        }
        Verb::Auth => {
            let Ok(auth) = parse::auth(argument, offered.mechanisms()) else {
                return false;
            };
            assert!(offered.mechanisms().has(auth.mechanism));
            auth.write(&mut out);
            let argument = again(&out, verb);
            assert_eq!(parse::auth(argument, offered.mechanisms()), Ok(auth));
        }
        _ => {
            let Ok(other) = parse::other(verb, argument) else {
                return false;
            };
            if let Other::XClient(attributes) | Other::XForward(attributes) = other {
                let set = attributes.set();
                for (attribute, value) in attributes.iter() {
                    assert!(set.has(attribute));
                    assert_eq!(attributes.get(attribute), Some(value));
                }
            }
            other.write(&mut out);
            let argument = again(&out, verb);
            assert_eq!(parse::other(verb, argument), Ok(other));
        }
    }
    true
}

/// A line whose verb is not known, as the caller may know it.
fn private(line: &[u8]) -> bool {
    let Ok(other) = parse::other(Verb::Unknown, line) else {
        return false;
    };
    let mut out = Vec::new();
    other.write(&mut out);
    assert_eq!(out.strip_suffix(b"\r\n"), Some(line));
    true
}

/// The same octets as a line behind EHLO: whatever is read from it can be announced.
fn announcement(line: &[u8], all: &Extensions) {
    let found = extension::parse::parse([b"mx", line].into_iter());
    let mut out = Vec::new();
    found.write("mx", &mut out);
    assert!(out.starts_with(b"250"));
    for extension in Extension::ALL {
        assert!(!found.has(extension) || all.has(extension));
    }
}

/// Takes a written line apart: one line, of this verb.
fn again(out: &[u8], expected: Verb) -> &[u8] {
    let line = out.strip_suffix(b"\r\n").expect("a line ends with CRLF");
    let is_clean = |octet: &u8| *octet == b'\t' || !octet.is_ascii_control();
    assert!(line.iter().all(is_clean), "one line");
    let (verb, argument) = parse::verb(line).expect("what was written is understood");
    assert_eq!(verb, expected);
    argument
}
