//! A spool in figures. Pure.

use super::line;
use crate::message::Timestamp;
use crate::spool::entry::Kind;
use crate::spool::recover::Recovered;
use mailrail_runtime::log::{IndexState, Item};
use std::fmt;

/// All kinds, in the order they are told.
const KINDS: [Kind; 6] = [
    Kind::Message,
    Kind::Settled,
    Kind::Deferred,
    Kind::Moved,
    Kind::InDoubt,
    Kind::Mark,
];

/// How many of something, and how many bytes they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12} {:>16} bytes", self.count, self.bytes)
    }
}

/// What was met.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) log_count: u64,
    segments: Sum,
    ended_count: u64,
    indexed_count: u64,
    spares: Sum,
    reserves: Sum,
    unfinished: Sum,
    batch_count: u64,
    records: [Sum; KINDS.len()],
    torn: Sum,
    messages: Sum,
    recipient_count: u64,
    in_doubt_count: u64,
    oldest: Option<Timestamp>,
    unknown_name_count: u64,
    // What follows is damage.
    holes: Sum,
    unreadable: Sum,
    short_count: u64,
    index_damaged_count: u64,
    senseless: Sum,
    set_aside: Sum,
}

impl Totals {
    pub(super) fn record(&mut self, kind: Option<Kind>, len: u32, is_senseless: bool) {
        let place = KINDS.iter().position(|one| Some(*one) == kind);
        if let Some(place) = place {
            self.records[place].add(u64::from(len));
        }
        if is_senseless {
            self.senseless.add(u64::from(len));
        }
    }

    pub(super) fn item(&mut self, item: &Item) {
        match item {
            Item::Segment(segment) => {
                self.segments.add(segment.file_len);
                self.ended_count += u64::from(segment.ended);
                self.batch_count += segment.batch_count;
                self.short_count += u64::from(segment.file_len < u64::from(segment.len));
                match segment.index {
                    IndexState::None => {}
                    IndexState::Whole => self.indexed_count += 1,
                    IndexState::Damaged => self.index_damaged_count += 1,
                }
                for hole in &segment.holes {
                    self.holes.add(u64::from(hole.len));
                }
                for torn in &segment.torn {
                    self.torn.add(u64::from(torn.len));
                }
            }
            Item::Unreadable { len, .. } => self.unreadable.add(*len),
            Item::Spare { len, .. } => self.spares.add(*len),
            Item::Reserve { len, .. } => self.reserves.add(*len),
            Item::Unfinished { len, .. } => self.unfinished.add(*len),
            Item::SetAside { len, .. } => self.set_aside.add(*len),
            _ => self.unknown_name_count += 1,
        }
    }

    /// What lives in the end.
    pub(super) fn waiting(&mut self, recovered: &Recovered) {
        for live in &recovered.messages {
            self.messages.add(u64::from(live.place().1.len));
            for group in live.groups() {
                let doubt = recovered.in_doubt(live.id, group.first);
                self.recipient_count += u64::from(group.open().count_ones());
                self.in_doubt_count += u64::from(doubt.count_ones());
            }
        }
        self.oldest = recovered.messages.iter().map(|live| live.accepted).min();
    }

    /// What is damaged, in words.
    pub(super) fn damage(&self) -> Option<String> {
        let mut found = Vec::new();
        let mut say = |count: u64, one: &str, many: &str| match count {
            0 => {}
            1 => found.push(format!("1 {one}")),
            count => found.push(format!("{count} {many}")),
        };
        say(self.holes.count, "damaged range", "damaged ranges");
        say(
            self.unreadable.count,
            "segment that cannot be read",
            "segments that cannot be read",
        );
        say(self.short_count, "segment cut short", "segments cut short");
        say(self.index_damaged_count, "damaged index", "damaged indexes");
        say(
            self.senseless.count,
            "record without sense",
            "records without sense",
        );
        say(
            self.set_aside.count,
            "file set aside by an earlier start",
            "files set aside by earlier starts",
        );
        (!found.is_empty()).then(|| format!("the spool is damaged: {}", found.join(", ")))
    }

    pub(super) fn in_one_line(&self) -> String {
        let record_count: u64 = self.records.iter().map(|sum| sum.count).sum();
        let damage = self.damage();
        format!(
            "{} logs, {} segments, {record_count} records; {} messages wait, {} recipients, {} in doubt; {}",
            self.log_count,
            self.segments.count + self.unreadable.count,
            self.messages.count,
            self.recipient_count,
            self.in_doubt_count,
            damage.as_deref().unwrap_or("all is whole"),
        )
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |f: &mut fmt::Formatter<'_>, name: &str, count: u64| {
            writeln!(f, "{name:<24}{count:>12}")
        };
        let sum = |f: &mut fmt::Formatter<'_>, name: &str, sum: Sum| writeln!(f, "{name:<24}{sum}");
        count(f, "logs", self.log_count)?;
        sum(f, "segments", self.segments)?;
        count(f, "  ended in order", self.ended_count)?;
        count(f, "  with an index", self.indexed_count)?;
        sum(f, "spare segments", self.spares)?;
        sum(f, "reserves", self.reserves)?;
        sum(f, "being prepared", self.unfinished)?;
        count(f, "batches", self.batch_count)?;
        for (kind, of_kind) in KINDS.iter().zip(self.records) {
            sum(f, &format!("{} records", line::name(*kind)), of_kind)?;
        }
        sum(f, "messages that wait", self.messages)?;
        count(f, "recipients that wait", self.recipient_count)?;
        count(f, "recipients in doubt", self.in_doubt_count)?;
        if let Some(oldest) = self.oldest {
            let mut text = Vec::new();
            oldest.push_rfc3339(&mut text);
            let text = String::from_utf8_lossy(&text).into_owned();
            writeln!(f, "{:<24}  {text}", "oldest accepted")?;
        }
        count(f, "foreign files", self.unknown_name_count)?;
        sum(f, "torn ends", self.torn)?;
        sum(f, "damaged ranges", self.holes)?;
        sum(f, "unreadable segments", self.unreadable)?;
        count(f, "segments cut short", self.short_count)?;
        count(f, "damaged indexes", self.index_damaged_count)?;
        sum(f, "records without sense", self.senseless)?;
        write!(f, "{:<24}{}", "files set aside", self.set_aside)
    }
}
