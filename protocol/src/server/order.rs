//! Which command may come when: a table. No state lives here, and no grammar.

use super::state::Phase;
use crate::command::Verb;
use crate::reply::Reply;
use Move::{No, Yes};

#[derive(Clone, Copy)]
enum Move {
    Yes,
    No(&'static Reply<'static>),
}

struct Row {
    verb: Verb,
    greeted: Move,
    idle: Move,
    envelope: Move,
    chunks: Move,
}

const fn row(verb: Verb, greeted: Move, idle: Move, envelope: Move, chunks: Move) -> Row {
    Row {
        verb,
        greeted,
        idle,
        envelope,
        chunks,
    }
}

const EARLY: Move = No(&Reply::NEED_HELLO);
const NO_MAIL: Move = No(&Reply::NEED_MAIL);
const NESTED: Move = No(&Reply::NESTED_MAIL);
const WRONG: Move = No(&Reply::BAD_SEQUENCE);

/// Whatever is not listed may come at any time.
//= RFC 5321 section 4.1.4: EHLO first, then MAIL, RCPT, DATA; NOOP, HELP, VRFY, EXPN, RSET, QUIT always
//= RFC 3030 section 2: between chunks neither MAIL nor RCPT nor DATA is allowed
#[rustfmt::skip]
const TABLE: &[Row] = &[
    //  verb             before EHLO  no MAIL yet  behind MAIL  between chunks
    row(Verb::Mail,      EARLY,       Yes,         NESTED,      WRONG),
    row(Verb::Recipient, EARLY,       NO_MAIL,     Yes,         WRONG),
    row(Verb::Data,      EARLY,       NO_MAIL,     Yes,         WRONG),
    row(Verb::Bdat,      EARLY,       NO_MAIL,     Yes,         Yes),
    row(Verb::StartTls,  EARLY,       Yes,         WRONG,       WRONG),
    row(Verb::Auth,      EARLY,       Yes,         WRONG,       WRONG),
    row(Verb::Etrn,      EARLY,       Yes,         WRONG,       WRONG),
];

/// The reply to a command that may not come in this phase; `None` if it may.
pub(super) fn out_of_order(phase: Phase, verb: Verb) -> Option<&'static Reply<'static>> {
    //= RFC 5321 section 3.1: behind a 554 greeting, everything but QUIT gets 503
    if phase == Phase::Refused {
        return (verb != Verb::Quit).then_some(&Reply::NO_SERVICE);
    }
    let row = TABLE.iter().find(|row| row.verb == verb)?;
    let allowed = match phase {
        Phase::Greeted => row.greeted,
        Phase::Idle => row.idle,
        Phase::Envelope => row.envelope,
        _ => row.chunks,
    };
    match allowed {
        Yes => None,
        No(reply) => Some(reply),
    }
}
