//! The two replies that name the host: the greeting, and the one to EHLO, HELO or LHLO. No state
//! lives here.

use super::{Config, Tls};
use crate::reply::{Lines, Reply};
use alloc::vec::Vec;

/// `220 host ESMTP text`
//= RFC 5321 section 4.2: a greeting opens with the host's name
pub(super) fn write_greeting(config: &Config, reply: &Reply<'_>, out: &mut Vec<u8>) {
    let mut lines = Lines::new(reply, false, out);
    lines.text(config.hostname.as_bytes());
    lines.word(if config.lmtp { " LMTP" } else { " ESMTP" });
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
    tls: Option<Tls>,
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
        config.offered(tls).advertise(&mut lines);
    }
    lines.end();
}
