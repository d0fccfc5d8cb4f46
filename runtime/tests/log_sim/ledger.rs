//! What was promised of a log: a naive picture of a log's content, kept beside it, and never asked by it. Pure.
//!
//! Items are records of [`ITEM`], each with an id of its own; a record of [`SETTLED`] ends one. An item that is
//! carried on from an old segment is appended again under its id.

use mailrail_runtime::log::{CommitError, Durability, Position, RecordView};
use std::collections::BTreeMap;

pub(crate) const ITEM: u8 = 1;
pub(crate) const SETTLED: u8 = 2;

/// How sure it is that something is there at the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing was said about it, or that it failed: it may be there or not.
    Unsure,
    /// It was said to be with the device: a power cut may lose it.
    Written,
    /// It was promised.
    Promised,
    /// It never may be seen again.
    Over,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) len: usize,
    pub(crate) position: Position,
    pub(crate) known: Known,
    /// Its commit failed in this life.
    pub(crate) failed: bool,
    /// Whether its end was noted in this life.
    pub(crate) noted: bool,
    /// How sure its end is; `Over` does not occur.
    pub(crate) settled: Option<Known>,
    /// A bit of what is written about it has changed: everything may be.
    pub(crate) rotten: bool,
    /// Everywhere something was written about it.
    pub(crate) written: Vec<Position>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) items: BTreeMap<u64, Item>,
    pub(crate) violations: Vec<String>,
    pub(crate) counts: Counts,
}

/// That what should be tried was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) lives: u64,
    pub(crate) appended: u64,
    pub(crate) promised: u64,
    pub(crate) failed: u64,
    pub(crate) full: u64,
    pub(crate) carried: u64,
    pub(crate) freed: u64,
    pub(crate) recovered: u64,
    pub(crate) torn: u64,
    pub(crate) quarantined: u64,
    pub(crate) refused_to_open: u64,
    pub(crate) rotten: u64,
    pub(crate) read_back: u64,
}

impl Counts {
    /// Each of them.
    fn all(&mut self) -> [&mut u64; 13] {
        let Self {
            lives,
            appended,
            promised,
            failed,
            full,
            carried,
            freed,
            recovered,
            torn,
            quarantined,
            refused_to_open,
            rotten,
            read_back,
        } = self;
        [
            lives,
            appended,
            promised,
            failed,
            full,
            carried,
            freed,
            recovered,
            torn,
            quarantined,
            refused_to_open,
            rotten,
            read_back,
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = *other;
        for (sum, count) in self.all().into_iter().zip(other.all()) {
            *sum += *count;
        }
    }

    /// That nothing of it passed by because it never happened.
    pub(crate) fn assert_all_tried(mut self) {
        let is_tried = self.all().into_iter().all(|count| *count > 0);
        assert!(is_tried, "{self:?}");
    }
}

/// So much of an item's front is handed out at a start.
pub(crate) const fn head_len(id: u64) -> usize {
    match id % 4 {
        0 => usize::MAX,
        _ => (id as usize * 37) % 300,
    }
}

/// The bytes of an item.
pub(crate) fn content(id: u64, len: usize) -> Vec<u8> {
    let mut word = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&word.to_le_bytes());
        word = word.rotate_left(7).wrapping_add(id);
    }
    bytes.truncate(len);
    bytes
}

impl Ledger {
    pub(crate) fn violate(&mut self, what: String) {
        self.violations.push(what);
    }

    pub(crate) fn appended(&mut self, id: u64, len: usize, position: Position) {
        self.counts.appended += 1;
        let item = Item {
            len,
            position,
            known: Known::Unsure,
            failed: false,
            noted: false,
            settled: None,
            rotten: false,
            written: vec![position],
        };
        assert!(self.items.insert(id, item).is_none(), "ids are new");
    }

    pub(crate) fn item(&mut self, id: u64) -> &mut Item {
        self.items.get_mut(&id).expect("it was appended")
    }

    /// The word about an item came.
    pub(crate) fn word(&mut self, id: u64, durability: Durability, word: Result<(), CommitError>) {
        match word {
            Ok(()) => self.counts.promised += 1,
            Err(_) => self.counts.failed += 1,
        }
        let item = self.item(id);
        match (word, durability) {
            // It may have been carried on meanwhile.
            _ if item.known == Known::Promised => {}
            (Err(_), _) => item.failed = true,
            (Ok(()), Durability::Memory) => {}
            (Ok(()), Durability::Write) => item.known = Known::Written,
            (Ok(()), Durability::Fsync) => item.known = Known::Promised,
        }
    }

    /// Those that count as there while a process runs.
    pub(crate) fn live(&self) -> impl Iterator<Item = (u64, &Item)> {
        self.items
            .iter()
            .map(|(id, item)| (*id, item))
            .filter(|(_, item)| item.known != Known::Over && !item.noted && !item.failed)
    }

    /// A process has ended; `loses`: the disk may have lost what was not synced.
    pub(crate) fn ended(&mut self, loses: bool) {
        for item in self.items.values_mut() {
            item.noted = false;
            item.failed = false;
            if loses && item.known == Known::Written {
                item.known = Known::Unsure;
            }
        }
    }

    /// A bit at this place of a segment has changed: what lies there may be lost.
    pub(crate) fn rotted(&mut self, segment: u32, offset: u64) {
        let hit = |position: &Position| {
            let start = u64::from(position.offset);
            // The header in front of the payload, and what fills it up to a multiple of eight.
            let end = start + 32 + u64::from(position.len).next_multiple_of(8);
            position.segment == segment && (start..end).contains(&offset)
        };
        for item in self.items.values_mut() {
            item.rotten |= item.written.iter().any(hit);
        }
        self.counts.rotten += 1;
    }

    /// Everything a start has handed out.
    pub(crate) fn recovered(&mut self, found: &Found) {
        self.counts.recovered += found.items.len() as u64;
        for what in &found.violations {
            self.violations.push(what.clone());
        }
        let mut lines = Vec::new();
        for (id, (position, head)) in &found.items {
            let Some(item) = self.items.get_mut(id) else {
                lines.push(format!("{id} was never appended"));
                continue;
            };
            if content(*id, item.len)[..head_len(*id).min(item.len)] != *head {
                lines.push(format!("{id} is not what was appended"));
            }
            let is_settled = found.settled.contains_key(id);
            if item.known == Known::Over && !is_settled && !item.rotten {
                lines.push(format!("{id} came back: {item:?}"));
            }
            item.position = *position;
        }
        for (id, item) in &mut self.items {
            let is_there = found.items.contains_key(id) && !found.settled.contains_key(id);
            // Segments go in their order: while an older one is there, so is all that lay in this one.
            let is_freed = found
                .first
                .is_none_or(|first| first > item.position.segment);
            let is_missing = !found.items.contains_key(id) && !found.settled.contains_key(id);
            match (is_there, item.settled) {
                (true, Some(Known::Promised)) if !item.rotten => {
                    lines.push(format!("{id} was settled and came back: {item:?}"));
                }
                (false, None)
                    if matches!(item.known, Known::Promised | Known::Written) && !item.rotten =>
                {
                    lines.push(format!("{id} is lost: {item:?}"));
                }
                (false, Some(_))
                    if is_missing && !is_freed && item.known == Known::Promised && !item.rotten =>
                {
                    lines.push(format!("{id} is lost with its end: {item:?}"));
                }
                _ => {}
            }
            // What was handed out was made sure before.
            if is_there {
                item.known = Known::Promised;
                item.settled = None;
            } else {
                item.known = Known::Over;
            }
        }
        self.violations.extend(lines);
    }
}

/// What a start hands out, gathered.
#[derive(Debug, Default)]
pub(crate) struct Found {
    items: BTreeMap<u64, (Position, Vec<u8>)>,
    settled: BTreeMap<u64, Position>,
    /// The oldest segment of which anything was handed out.
    first: Option<u32>,
    last: Option<(u32, u32)>,
    violations: Vec<String>,
}

impl Found {
    pub(crate) fn see(&mut self, view: &RecordView<'_>) {
        let place = Some((view.position.segment, view.position.offset));
        if place <= self.last {
            self.violations.push(format!("{view:?} is out of order"));
        }
        self.last = place;
        self.first.get_or_insert(view.position.segment);
        match view.kind {
            ITEM => {
                self.items
                    .insert(view.id, (view.position, view.head.to_vec()));
            }
            SETTLED => {
                self.settled.insert(view.id, view.position);
            }
            kind => self
                .violations
                .push(format!("nothing of kind {kind} was appended")),
        }
    }
}
