//! Which command may come when: a table. No state lives here, and no grammar.

use super::state::Phase;
use crate::command::Verb;
use crate::command::parse::Refusal;
use crate::reply::Reply;

/// What is said to a command that may not come; `None` where it may.
type Move = Option<Refusal>;

const YES: Move = None;
const EARLY: Move = Some(&Reply::NEED_HELLO);
const NO_MAIL: Move = Some(&Reply::NEED_MAIL);
const NESTED: Move = Some(&Reply::NESTED_MAIL);
const WRONG: Move = Some(&Reply::BAD_SEQUENCE);

/// Whatever is not listed may come at any time.
//= RFC 5321 section 4.1.4: EHLO first, then MAIL, RCPT, DATA; NOOP, HELP, VRFY, EXPN, RSET, QUIT always
//= RFC 3030 section 2: between chunks neither MAIL nor RCPT nor DATA is allowed
//= RFC 4954 section 4: AUTH within a transaction gets 503
/// XCLIENT and XFORWARD come before a transaction and not within it, with or without EHLO:
/// <https://www.postfix.org/XCLIENT_README.html>.
#[rustfmt::skip]
const fn row(verb: Verb) -> Option<[Move; 4]> {
    Some(match verb {
        //                             before EHLO  no MAIL yet  behind MAIL  between chunks
        Verb::Mail                 => [EARLY,       YES,         NESTED,      WRONG],
        Verb::Recipient            => [EARLY,       NO_MAIL,     YES,         WRONG],
        Verb::Data                 => [EARLY,       NO_MAIL,     YES,         WRONG],
        Verb::Bdat                 => [EARLY,       NO_MAIL,     YES,         YES  ],
        Verb::StartTls             => [EARLY,       YES,         WRONG,       WRONG],
        Verb::Auth | Verb::Etrn    => [EARLY,       YES,         WRONG,       WRONG],
        Verb::XClient
        | Verb::XForward           => [YES,         YES,         WRONG,       WRONG],
        _ => return None,
    })
}

/// The reply to a command that may not come in this phase; `None` if it may.
#[inline]
pub(super) fn out_of_order(phase: Phase, verb: Verb) -> Move {
    match (phase, verb) {
        // What nearly every command is: the table says the same.
        (Phase::Envelope, Verb::Recipient | Verb::Data) | (Phase::Idle, Verb::Mail) => None,
        _ => look_up(phase, verb),
    }
}

#[cold]
fn look_up(phase: Phase, verb: Verb) -> Move {
    //= RFC 5321 section 3.1: behind a 554 greeting, everything but QUIT gets 503
    if phase == Phase::Refused {
        return (verb != Verb::Quit).then_some(&Reply::NO_SERVICE);
    }
    let [greeted, idle, envelope, chunks] = row(verb)?;
    match phase {
        Phase::Greeted => greeted,
        Phase::Idle => idle,
        Phase::Envelope => envelope,
        _ => chunks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_cut_says_what_the_table_says() {
        for (phase, verb) in [
            (Phase::Envelope, Verb::Recipient),
            (Phase::Envelope, Verb::Data),
            (Phase::Idle, Verb::Mail),
        ] {
            assert_eq!(look_up(phase, verb), None);
        }
    }
}
