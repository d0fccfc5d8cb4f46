//! Which slot a message id is in: open addressing, eight bytes a place.
//!
//! Each place keeps half of the id's hash, so that growing and most misses never look at a message.

use super::slab::NONE;

/// At most this share of the places is taken, in sixteenths.
const LOAD_MAX: usize = 12;
const PLACES_MIN: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    slot: u32,
}

const VACANT: Place = Place {
    hash: 0,
    slot: NONE,
};

/// Slots by hash. It does not know the ids: the caller says whether a slot is the right one.
#[derive(Debug)]
pub(super) struct Index {
    places: Vec<Place>,
    len: usize,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            places: vec![VACANT; PLACES_MIN],
            len: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.len() * size_of::<Place>()
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.places.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        if (self.len + 1) * 16 > self.places.len() * LOAD_MAX {
            let larger = vec![VACANT; self.places.len() * 2];
            for place in std::mem::replace(&mut self.places, larger) {
                if place.slot != NONE {
                    self.put(place);
                }
            }
        }
        self.put(Place { hash, slot });
        self.len += 1;
    }

    fn put(&mut self, place: Place) {
        let mut at = self.home(place.hash);
        while self.places[at].slot != NONE {
            at = self.after(at);
        }
        self.places[at] = place;
    }

    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        while self.places[at].slot != NONE {
            let place = self.places[at];
            if place.hash == hash && is_it(place.slot) {
                return Some(place.slot);
            }
            at = self.after(at);
        }
        None
    }

    pub(super) fn remove(&mut self, hash: u32, slot: u32) {
        let mut hole = self.home(hash);
        while self.places[hole].slot != slot {
            assert!(self.places[hole].slot != NONE, "what is removed was there");
            hole = self.after(hole);
        }
        // Close the gap: what lies behind it in the same run moves up, unless that is before its home.
        let mask = self.places.len() - 1;
        let mut at = self.after(hole);
        while self.places[at].slot != NONE {
            let home = self.home(self.places[at].hash);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.places[hole] = self.places[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.places[hole] = VACANT;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn same_as_naive(steps in prop::collection::vec((any::<bool>(), 0u32..300, 0u32..8), 0..600)) {
            let (mut index, mut naive) = (Index::new(), HashMap::new());
            for (insert, slot, crowd) in steps {
                // Few different hashes at both ends of the table: long runs that wrap around.
                let hash = if slot % 2 == 0 { u32::MAX - crowd } else { crowd };
                if insert {
                    naive.entry(slot).or_insert_with(|| {
                        index.insert(hash, slot);
                        hash
                    });
                } else if let Some(hash) = naive.remove(&slot) {
                    index.remove(hash, slot);
                }
                prop_assert_eq!(index.len, naive.len());
            }
            for slot in 0..300 {
                let hash = naive.get(&slot).copied();
                let found = index.find(hash.unwrap_or(7), |found| found == slot);
                prop_assert_eq!(found, hash.map(|_| slot));
            }
        }
    }
}
