//! What is counted, one by one, with the name that stands in `benches/instructions.toml`.

use crate::{protocol, server};

/// Something whose instructions are counted.
#[derive(Clone, Copy, Debug)]
pub struct Routine {
    /// Its key in the file.
    pub name: &'static str,
    /// What one of the things is that a count is divided by.
    pub one: &'static str,
    /// Runs so many rounds, and says how many of these things there were in each.
    pub run: fn(rounds: u64) -> u64,
}

const fn routine(name: &'static str, one: &'static str, run: fn(u64) -> u64) -> Routine {
    Routine { name, one, run }
}

/// All of them, in the order of the file.
pub const ROUTINES: &[Routine] = &[
    routine("parse-ehlo", "command", protocol::parse_hello),
    routine("parse-mail", "command", protocol::parse_mail),
    routine("parse-rcpt", "command", protocol::parse_recipient),
    routine(
        "parse-ehlo-answer",
        "answer of 9 lines",
        protocol::parse_hello_answer,
    ),
    routine("parse-replies", "reply", protocol::parse_replies),
    routine(
        "server-session-rcpt",
        "command",
        protocol::server_recipients,
    ),
    routine(
        "server-session-mail-rcpt-rset",
        "command",
        protocol::server_envelopes,
    ),
    routine(
        "server-session-message",
        "message of 4 KiB by DATA",
        protocol::server_message,
    ),
    routine(
        "client-session-message",
        "message of 4 KiB by DATA",
        protocol::client_message,
    ),
    routine("body-decode-text", "KiB", |rounds| {
        protocol::decode("text", rounds)
    }),
    routine("body-decode-utf8", "KiB", |rounds| {
        protocol::decode("UTF-8", rounds)
    }),
    routine("body-decode-short-lines", "KiB", |rounds| {
        protocol::decode("short lines", rounds)
    }),
    routine("body-decode-dots", "KiB", |rounds| {
        protocol::decode("dots", rounds)
    }),
    routine("body-stuff-text", "KiB", |rounds| {
        protocol::stuff("text", rounds)
    }),
    routine("body-stuff-dots", "KiB", |rounds| {
        protocol::stuff("dots", rounds)
    }),
    routine("message-received", "Received field", server::received),
    routine("message-id", "id given and written", server::id),
    routine(
        "message-envelope",
        "envelope of 1 recipient written and read",
        server::envelope,
    ),
    routine("log-pack", "record of 4 KiB", server::pack),
    routine(
        "queue-deliver",
        "message inserted, taken, settled",
        server::deliver,
    ),
    routine("queue-retry", "message due, taken, put back", server::retry),
    routine(
        "lane-placement",
        "lane's key hashed",
        server::lane_placement,
    ),
];
