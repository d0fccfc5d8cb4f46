//! The destinations: names by number, their lines of due entries, and what was resolved for them.
//!
//! A destination is known as long as it has entries; the last few that have none are kept, so that a
//! domain that gets a message now and then is neither resolved nor allocated each time. It does not
//! know lanes but by number.

use super::slab::{Key, List, NONE, Slab, item};
use super::state::Line;
use super::{Settings, schedule};
use crate::message::Timestamp;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;

/// Names longer than this are not domains, and are told apart by their case.
const NAME_LEN_MAX: usize = 255;

/// What entries share that go the same way.
#[derive(Debug, Default)]
pub(super) struct Destination {
    pub(super) name: Rc<str>,
    /// Its due entries, first come first served.
    pub(super) line: Line,
    /// Its entries in all stages.
    entries: u32,
    /// Its lane, or `NONE`.
    pub(super) lane: u32,
    /// Until when that holds.
    pub(super) until: u64,
    /// It has been given to the caller to be resolved.
    pub(super) resolving: bool,
    /// It stands in its lane's ring: it has a lane, and its line is not empty.
    pub(super) in_ring: bool,
    /// It is not given to the caller again before this time, since too much was due to be postponed at once.
    pub(super) rests_until: u64,
    /// Such rests in a row.
    failures: u32,
    /// What was last said to its entries without an attempt of their own.
    pub(super) answer: Option<Rc<[u8]>>,
    previous: u32,
    next: u32,
    generation: u32,
}
item!(Destination, 64);

/// A ring of a lane, or the idle ones: a destination is in one of them at most.
pub(super) type Ring = List<Destination>;

/// All destinations of a shard.
#[derive(Debug)]
pub(super) struct Destinations {
    pub(super) slab: Slab<Destination>,
    names: HashMap<Rc<str>, u32, Seeded>,
    idle: Ring,
    /// When which rest ends, in the order they began where that is the same; a destination's other times than
    /// its `rests_until` mean nothing.
    rests: BinaryHeap<Reverse<(u64, u64, Key)>>,
    rest_count: u64,
}

impl Destinations {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            slab: Slab::new(),
            names: HashMap::with_hasher(Seeded(seed)),
            idle: Ring::default(),
            rests: BinaryHeap::new(),
            rest_count: 0,
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.slab.len()
    }

    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.slab.find(key)
    }

    pub(super) fn get(&self, destination: u32) -> &Destination {
        &self.slab[destination]
    }

    pub(super) fn get_mut(&mut self, destination: u32) -> &mut Destination {
        &mut self.slab[destination]
    }

    /// One more entry for this name.
    pub(super) fn add(&mut self, name: &str) -> u32 {
        //= RFC 5321 section 2.4: the case of a domain does not matter
        let mut lower = [0; NAME_LEN_MAX];
        let name = match lower.get_mut(..name.len()) {
            Some(lower) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                lower.copy_from_slice(name.as_bytes());
                lower.make_ascii_lowercase();
                str::from_utf8(lower).expect("the case of ASCII changes nothing else")
            }
            _ => name,
        };
        let destination = if let Some(&destination) = self.names.get(name) {
            if self.slab[destination].entries == 0 {
                self.idle.remove(&mut self.slab, destination);
            }
            destination
        } else {
            let name: Rc<str> = name.into();
            let destination = self.slab.insert(Destination {
                name: name.clone(),
                lane: NONE,
                ..Destination::default()
            });
            self.names.insert(name, destination);
            destination
        };
        self.slab[destination].entries += 1;
        destination
    }

    /// One entry less. Returns a destination that is no longer known, if there is one.
    pub(super) fn remove(&mut self, destination: u32, idle_max: u32) -> Option<Destination> {
        self.slab[destination].entries -= 1;
        if self.slab[destination].entries > 0 {
            return None;
        }
        self.idle.push_back(&mut self.slab, destination);
        if self.idle.len() <= idle_max {
            return None;
        }
        let oldest = self.idle.pop_front(&mut self.slab)?;
        let oldest = self.slab.remove(oldest);
        self.names.remove(&oldest.name);
        Some(oldest)
    }

    /// It could not be resolved, and more is due than is postponed at once: the others are asked for when it
    /// has rested.
    pub(super) fn rest(&mut self, destination: u32, now: Timestamp, settings: &Settings) {
        let this = &mut self.slab[destination];
        this.failures = this.failures.saturating_add(1);
        let rest = schedule::rest(
            settings.suspension,
            settings.curve.retry_interval,
            this.failures,
            settings.seed,
        );
        let until = now.plus_millis(rest).unix_millis();
        this.rests_until = until;
        self.rest_count += 1;
        let key = self.slab.key(destination);
        self.rests.push(Reverse((until, self.rest_count, key)));
    }

    /// It was resolved, or nothing is left to be asked for.
    pub(super) fn rest_no_more(&mut self, destination: u32) {
        let this = &mut self.slab[destination];
        (this.rests_until, this.failures) = (0, 0);
    }

    /// A destination that has rested.
    pub(super) fn pop_rested(&mut self, now: u64) -> Option<u32> {
        while let Some(&Reverse((until, _, key))) = self.rests.peek()
            && until <= now
        {
            self.rests.pop();
            if let Some(destination) = self.find(key)
                && self.slab[destination].rests_until == until
            {
                self.slab[destination].rests_until = 0;
                return Some(destination);
            }
        }
        None
    }

    /// No rest ends before this time.
    pub(super) fn next(&self) -> Option<u64> {
        self.rests.peek().map(|&Reverse((until, ..))| until)
    }

    /// The clock went back: nothing that was resolved is known to hold, and nobody rests longer than from
    /// now.
    pub(super) fn rewind(&mut self, now: Timestamp, settings: &Settings) {
        let rest_max = schedule::rest_max(settings.suspension, settings.curve.retry_interval);
        let rest_max = now.plus_millis(rest_max).unix_millis();
        for Reverse((until, number, key)) in std::mem::take(&mut self.rests) {
            if let Some(destination) = self.find(key)
                && self.slab[destination].rests_until == until
            {
                let until = until.min(rest_max);
                self.slab[destination].rests_until = until;
                self.rests.push(Reverse((until, number, key)));
            }
        }
        let mut position = 0;
        while let Some(destination) = self.slab.at(position) {
            if let Some(destination) = destination {
                let until = &mut self.slab[destination].until;
                *until = now.unix_millis().min(*until);
            }
            position += 1;
        }
    }
}

/// Hashes names with a seed: the same in each run of a test, another one in each server, so that no
/// sender can choose names that collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(pub(super) u64);

impl BuildHasher for Seeded {
    type Hasher = std::hash::DefaultHasher;

    fn build_hasher(&self) -> Self::Hasher {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u64(schedule::mix(self.0, 0));
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_destination_in_any_case() {
        let mut destinations = Destinations::new(1);
        let one = destinations.add("a.example");
        assert_eq!(destinations.add("A.Example"), one);
        assert_ne!(destinations.add("b.example"), one);
        assert_eq!(&*destinations.get(one).name, "a.example");
        let long = "A".repeat(300);
        let long = destinations.add(&long);
        assert_eq!(destinations.get(long).name.len(), 300);
    }

    #[test]
    fn the_last_idle_ones_are_kept() {
        let mut destinations = Destinations::new(1);
        let [a, b, c] = ["a", "b", "c"].map(|name| destinations.add(name));
        assert_eq!(destinations.add("b"), b);
        assert!(destinations.remove(b, 2).is_none(), "it has another entry");
        assert!(destinations.remove(b, 2).is_none());
        assert!(destinations.remove(a, 2).is_none());
        assert_eq!(destinations.add("b"), b, "back from the idle ones");
        assert!(destinations.remove(b, 2).is_none());
        let gone = destinations.remove(c, 2).map(|gone| gone.name);
        assert_eq!(gone.as_deref(), Some("a"), "idle for longest");
        assert_eq!(destinations.count(), 2);
    }
}
