//! What the session says and asks that depends on no more than its arguments: which command may
//! come when, and the two replies that name the host. No state lives here.

use super::Config;
use super::state::Phase;
use crate::command::Verb;
use crate::extension::Extension;
use crate::reply::{Lines, Reply};
use alloc::vec::Vec;

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

/// `220 host ESMTP text`
//= RFC 5321 section 4.2: a greeting opens with the host's name
pub(super) fn write_greeting(config: &Config, reply: &Reply<'_>, out: &mut Vec<u8>) {
    let mut lines = Lines::new(reply, false, out);
    lines.text(config.hostname.as_bytes());
    lines.word(" ESMTP");
    let text = match reply.text {
        [] => config.greeting.as_bytes(),
        text => text,
    };
    if !text.is_empty() {
        lines.word(" ");
        lines.text(text);
    }
    lines.end();
}

/// `250 host`, and behind EHLO a line for each extension.
pub(super) fn write_hello(
    config: &Config,
    extended: bool,
    tls: bool,
    reply: &Reply<'_>,
    out: &mut Vec<u8>,
) {
    let mut lines = Lines::new(reply, false, out);
    lines.text(config.hostname.as_bytes());
    if !reply.text.is_empty() {
        lines.word(" ");
        lines.text(reply.text);
    }
    if extended {
        let mut extensions = config.extensions;
        //= RFC 3207 section 4.2: STARTTLS is not offered where TLS is on
        if tls {
            extensions = extensions.without(Extension::StartTls);
        }
        extensions.advertise(&mut lines);
    }
    lines.end();
}
