//! A row of the queue's listing: as it goes over the socket (one line of JSON), and as an operator
//! reads it. Pure.

use crate::message::{Id, Timestamp};
use crate::shard::Listed;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Recipients of a message that wait together, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) id: String,
    /// Milliseconds since 1970.
    pub(super) accepted: u64,
    pub(super) sender: String,
    pub(super) recipients: Vec<String>,
    pub(super) attempts: u16,
    /// Milliseconds since 1970.
    pub(super) next: u64,
    pub(super) state: String,
    pub(super) last_answer: String,
}

impl Row {
    pub(super) fn new(listed: &Listed) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            id: listed.id.to_string(),
            accepted: listed.accepted.unix_millis(),
            sender: text(&listed.sender),
            recipients: listed.recipients.iter().map(|bytes| text(bytes)).collect(),
            attempts: listed.attempt,
            next: listed.next.unix_millis(),
            state: listed.state.to_owned(),
            last_answer: text(&listed.last_answer),
        }
    }

    /// The row as an operator reads it at `now`.
    pub(super) fn told(&self, now: Timestamp) -> Told<'_> {
        Told { row: self, now }
    }
}

/// Ids order rows that come from several shards.
pub(super) fn id_of(row: &Row) -> Option<Id> {
    row.id.parse().ok()
}

pub(super) struct Told<'r> {
    row: &'r Row,
    now: Timestamp,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, now } = self;
        let now = now.unix_millis();
        write!(
            f,
            "{}  age {}  attempts {}  ",
            Plain(&row.id),
            Span(now.saturating_sub(row.accepted)),
            row.attempts
        )?;
        match row.next.checked_sub(now) {
            Some(wait @ 1..) => writeln!(f, "next in {}  {}", Span(wait), Plain(&row.state))?,
            _ => writeln!(f, "next now  {}", Plain(&row.state))?,
        }
        writeln!(f, "    from <{}>", Plain(&row.sender))?;
        for recipient in &row.recipients {
            writeln!(f, "    to   <{}>", Plain(recipient))?;
        }
        if !row.last_answer.is_empty() {
            writeln!(f, "    last {}", Plain(&row.last_answer))?;
        }
        Ok(())
    }
}

/// Text of a peer's: what could steer a terminal is shown escaped.
struct Plain<'t>(&'t str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            if letter.is_control() {
                write!(f, "{}", letter.escape_default())?;
            } else {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// A time span in its two largest units.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        match seconds {
            0..60 => write!(f, "{seconds}s"),
            60..3600 => write!(f, "{}m{}s", seconds / 60, seconds % 60),
            3600..86400 => write!(f, "{}h{}m", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{}d{}h", seconds / 86400, seconds / 3600 % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_by_people() {
        let row = Row {
            id: "0000000000001".into(),
            accepted: 1_000_000,
            sender: "a@b.example".into(),
            recipients: vec!["x@y.example".into(), "z@y.example".into()],
            attempts: 2,
            next: 1_000_000 + 3_725_000,
            state: "scheduled".into(),
            last_answer: "450 4.2.1 busy\x1b[2J".into(),
        };
        let told = row.told(Timestamp::from_unix_millis(1_065_000)).to_string();
        assert_eq!(
            told,
            "0000000000001  age 1m5s  attempts 2  next in 1h1m  scheduled\n\
             \x20   from <a@b.example>\n\
             \x20   to   <x@y.example>\n\
             \x20   to   <z@y.example>\n\
             \x20   last 450 4.2.1 busy\\u{1b}[2J\n"
        );
    }

    #[test]
    fn spans_have_two_units() {
        for (millis, text) in [
            (0, "0s"),
            (59_999, "59s"),
            (60_000, "1m0s"),
            (86_399_000, "23h59m"),
            (90_000_000, "1d1h"),
        ] {
            assert_eq!(Span(millis).to_string(), text);
        }
    }
}
