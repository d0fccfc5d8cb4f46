//! The tally: what one shard has taken, and the sum over the shards. Who tells it to whom is `output`'s.
//!
//! A shard writes to its own counters and nobody else does; the main thread reads them when it tells. The
//! copies of each run stay on the shard until it ends.

use crate::identity::{Copies, Name};
use crate::report::Told;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs that are told apart; mail of further ones is unknown mail.
const RUN_COUNT_MAX: usize = 256;

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Of the one thread that writes: so it need not be one step.
    pub(super) fn add(&self, count: u64) {
        let sum = self.get().wrapping_add(count);
        self.0.store(sum, Ordering::Relaxed);
    }

    pub(super) fn less(&self, count: u64) {
        self.add(count.wrapping_neg());
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Of one shard. Two lines of the cache: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    pub(super) messages: Counter,
    pub(super) copies: Counter,
    pub(super) duplicates: Counter,
    pub(super) deferred: Counter,
    pub(super) refused: Counter,
    pub(super) open: Counter,
    pub(super) connections: Counter,
    pub(super) closed: Counter,
    pub(super) unknown: Counter,
    pub(super) content_bytes: Counter,
}

/// The sum of all shards' counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) told: Told,
    pub(super) connections: u64,
    pub(super) closed: u64,
    pub(super) unknown: u64,
    pub(super) content_bytes: u64,
}

impl Sum {
    pub(super) fn of(shards: &[Arc<Counters>]) -> Self {
        let sum = |counter: fn(&Counters) -> &Counter| {
            shards.iter().map(|shard| counter(shard).get()).sum::<u64>()
        };
        Self {
            told: Told {
                messages: sum(|shard| &shard.messages),
                copies: sum(|shard| &shard.copies),
                duplicates: sum(|shard| &shard.duplicates),
                deferred: sum(|shard| &shard.deferred),
                refused: sum(|shard| &shard.refused),
                open: sum(|shard| &shard.open),
            },
            connections: sum(|shard| &shard.connections),
            closed: sum(|shard| &shard.closed),
            unknown: sum(|shard| &shard.unknown),
            content_bytes: sum(|shard| &shard.content_bytes),
        }
    }
}

/// What is kept of a run.
#[derive(Debug)]
struct Run {
    run: u32,
    received: Copies,
    /// RCPTs, whatever their answer.
    asked: Copies,
}

/// The tally of one shard.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counters: Arc<Counters>,
    runs: RefCell<Vec<Run>>,
    /// Where the last copy's run was: mostly there.
    last: Cell<usize>,
    span: Cell<Span>,
}

/// From the first connection to the last message taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    first_us: u64,
    last_us: u64,
}

impl Default for Span {
    fn default() -> Self {
        Self {
            first_us: u64::MAX,
            last_us: 0,
        }
    }
}

impl Span {
    pub(super) fn add(&mut self, other: Self) {
        self.first_us = self.first_us.min(other.first_us);
        self.last_us = self.last_us.max(other.last_us);
    }

    pub(super) fn seconds(self) -> f64 {
        self.last_us.saturating_sub(self.first_us) as f64 / 1e6
    }
}

/// What a shard leaves behind.
#[derive(Debug, Default)]
pub(super) struct Harvest {
    pub(super) runs: BTreeMap<u32, Copies>,
    pub(super) span: Span,
}

impl Harvest {
    /// Adds another shard's.
    pub(super) fn add(&mut self, other: Self) {
        self.span.add(other.span);
        for (run, copies) in other.runs {
            self.runs.entry(run).or_default().add(&copies);
        }
    }
}

impl Tally {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            counters,
            ..Self::default()
        }
    }

    /// A connection has come.
    pub(super) fn opened(&self, now_us: u64) {
        let mut span = self.span.get();
        span.first_us = span.first_us.min(now_us);
        self.span.set(span);
        self.counters.connections.add(1);
        self.counters.open.add(1);
    }

    /// How often RCPT has come with this name, this time included.
    pub(super) fn asked(&self, name: Name) -> u32 {
        let before = self.in_run(name.run, |run| run.asked.count(name.copy));
        u32::from(before.unwrap_or(0)) + 1
    }

    /// A copy was taken.
    pub(super) fn copy(&self, name: Option<Name>) {
        let before =
            name.and_then(|name| self.in_run(name.run, |run| run.received.count(name.copy)));
        let counters = &self.counters;
        counters.copies.add(1);
        match before {
            None => counters.unknown.add(1),
            Some(0) => {}
            Some(_) => counters.duplicates.add(1),
        }
    }

    /// Messages were taken, their copies having been counted one by one.
    pub(super) fn messages(&self, count: u64, content_bytes: u64, now_us: u64) {
        let mut span = self.span.get();
        span.last_us = span.last_us.max(now_us);
        self.span.set(span);
        self.counters.content_bytes.add(content_bytes);
        // Last, so that who reads a message has mostly read its copies.
        self.counters.messages.add(count);
    }

    /// All that was counted by name; the tally is empty then.
    pub(super) fn harvest(&self) -> Harvest {
        let runs = self.runs.take().into_iter();
        Harvest {
            runs: runs
                // A copy that was only asked for makes no run of it.
                .filter(|run| run.received != Copies::default())
                .map(|run| (run.run, run.received))
                .collect(),
            span: self.span.take(),
        }
    }

    /// `None`: it is one run too many.
    fn in_run<T>(&self, number: u32, act: impl FnOnce(&mut Run) -> T) -> Option<T> {
        let mut runs = self.runs.borrow_mut();
        if let Some(run) = runs.get_mut(self.last.get())
            && run.run == number
        {
            return Some(act(run));
        }
        let index = match runs.iter().position(|run| run.run == number) {
            Some(index) => index,
            None if runs.len() >= RUN_COUNT_MAX => return None,
            None => {
                runs.push(Run {
                    run: number,
                    received: Copies::default(),
                    asked: Copies::default(),
                });
                runs.len() - 1
            }
        };
        self.last.set(index);
        runs.get_mut(index).map(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(run: u32, copy: u64) -> Option<Name> {
        Some(Name { run, copy })
    }

    #[test]
    fn copies_are_counted_by_run() {
        let tally = Tally::default();
        tally.opened(5_000_000);
        for name in [
            name(1, 0),
            name(2, 0),
            name(1, 0),
            name(1, 3),
            None,
            name(1, 0),
        ] {
            tally.copy(name);
        }
        tally.messages(4, 4096, 7_500_000);
        let sum = Sum::of(&[Arc::clone(&tally.counters)]);
        assert_eq!((sum.told.messages, sum.told.copies), (4, 6));
        assert_eq!((sum.told.duplicates, sum.unknown), (2, 1));
        assert_eq!(
            (sum.told.open, sum.connections, sum.content_bytes),
            (1, 1, 4096)
        );
        let harvest = tally.harvest();
        let seen: Vec<_> = harvest
            .runs
            .iter()
            .map(|(run, copies)| (*run, copies.seen()))
            .collect();
        assert_eq!(seen, [(1, 2), (2, 1)]);
        assert!((harvest.span.seconds() - 2.5).abs() < 1e-9);
    }

    #[test]
    fn attempts_are_counted_apart_from_what_was_taken() {
        let tally = Tally::default();
        let first = Name { run: 9, copy: 4 };
        assert_eq!([tally.asked(first), tally.asked(first)], [1, 2]);
        assert_eq!(tally.asked(Name { run: 9, copy: 5 }), 1);
        assert!(tally.harvest().runs.is_empty());
    }

    #[test]
    fn a_run_too_many_is_unknown() {
        let tally = Tally::default();
        for run in 0..=RUN_COUNT_MAX as u32 {
            tally.copy(name(run, 0));
        }
        let sum = Sum::of(&[Arc::clone(&tally.counters)]);
        assert_eq!(
            (sum.told.copies, sum.unknown),
            (RUN_COUNT_MAX as u64 + 1, 1)
        );
    }

    #[test]
    fn shards_add_up_and_see_each_others_duplicates() {
        let (left, right) = (Tally::default(), Tally::default());
        left.copy(name(1, 7));
        right.copy(name(1, 7));
        right.copy(name(1, 8));
        right.opened(3);
        right.messages(2, 0, 1_000_003);
        let mut both = left.harvest();
        both.add(right.harvest());
        let run = &both.runs[&1];
        assert_eq!((run.seen(), run.duplicates()), (2, 1));
        assert!((both.span.seconds() - 1.0).abs() < 1e-9);
    }
}
