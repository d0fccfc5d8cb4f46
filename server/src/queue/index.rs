//! Which slot a message id is in: chains threaded through a slab, from a table that grows by a place a
//! message.
//!
//! The table is never copied. When there are more items than places one chain is parted in two, so a
//! million messages arrive without a pause, and an item costs one place of four bytes and one link.

use super::slab::{Item, NONE, Slab};

/// Places of one piece of the table; pieces never move, and are kept.
const PIECE_LEN: u32 = 1024;

/// An item that is found by its id.
pub(super) trait Indexed: Item {
    /// Its id, spread over all bits.
    fn hash(&self) -> u32;
    /// The next item in its chain.
    fn chain(&self) -> u32;
    fn set_chain(&mut self, slot: u32);
}

/// Slots by hash. It does not know the ids: the caller says whether a slot is the right one.
#[derive(Debug)]
pub(super) struct Index {
    pieces: Vec<Box<[u32]>>,
    /// Places in use; at least one.
    places: u32,
    len: u32,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            pieces: vec![piece()],
            places: 1,
            len: 0,
        }
    }

    /// Bytes of memory of its own; the links are the items'.
    pub(super) fn bytes(&self) -> usize {
        self.pieces.len() * PIECE_LEN as usize * size_of::<u32>()
            + self.pieces.capacity() * size_of::<Box<[u32]>>()
    }

    /// The places are numbered by the low bits of the hash: by one more bit where that is in use already.
    fn place(&self, hash: u32) -> u32 {
        let mask = self.places.next_power_of_two() - 1;
        let place = hash & mask;
        if place < self.places {
            place
        } else {
            place & (mask >> 1)
        }
    }

    fn head(&mut self, place: u32) -> &mut u32 {
        &mut self.pieces[(place / PIECE_LEN) as usize][(place % PIECE_LEN) as usize]
    }

    fn first(&self, place: u32) -> u32 {
        self.pieces[(place / PIECE_LEN) as usize][(place % PIECE_LEN) as usize]
    }

    pub(super) fn insert<T: Indexed>(&mut self, slab: &mut Slab<T>, slot: u32) {
        self.len += 1;
        if self.len > self.places {
            self.grow(slab);
        }
        self.put(slab, slot);
    }

    fn put<T: Indexed>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let place = self.place(slab[slot].hash());
        let next = std::mem::replace(self.head(place), slot);
        slab[slot].set_chain(next);
    }

    /// One place more; what belongs there stands in the chain whose number lacks the highest bit.
    fn grow<T: Indexed>(&mut self, slab: &mut Slab<T>) {
        if self.places.is_multiple_of(PIECE_LEN) {
            self.pieces.push(piece());
        }
        let old = self.places & !(1 << self.places.ilog2());
        self.places += 1;
        let mut slot = std::mem::replace(self.head(old), NONE);
        while slot != NONE {
            let next = slab[slot].chain();
            self.put(slab, slot);
            slot = next;
        }
    }

    pub(super) fn find<T: Indexed>(
        &self,
        slab: &Slab<T>,
        hash: u32,
        is_it: impl Fn(&T) -> bool,
    ) -> Option<u32> {
        let mut slot = self.first(self.place(hash));
        while slot != NONE {
            let item = &slab[slot];
            if is_it(item) {
                return Some(slot);
            }
            slot = item.chain();
        }
        None
    }

    pub(super) fn remove<T: Indexed>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let place = self.place(slab[slot].hash());
        let next = slab[slot].chain();
        let mut before = self.first(place);
        if before == slot {
            *self.head(place) = next;
        } else {
            while slab[before].chain() != slot {
                before = slab[before].chain();
                assert!(before != NONE, "what is removed was there");
            }
            slab[before].set_chain(next);
        }
        self.len -= 1;
    }
}

fn piece() -> Box<[u32]> {
    vec![NONE; PIECE_LEN as usize].into()
}

#[cfg(test)]
mod tests {
    use super::super::slab::item;
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Debug, Default)]
    struct Name {
        id: u32,
        hash: u32,
        chain: u32,
        generation: u32,
        previous: u32,
        next: u32,
    }
    item!(Name, 16);

    impl Indexed for Name {
        fn hash(&self) -> u32 {
            self.hash
        }
        fn chain(&self) -> u32 {
            self.chain
        }
        fn set_chain(&mut self, slot: u32) {
            self.chain = slot;
        }
    }

    #[test]
    fn all_places_are_used() {
        let (mut index, mut slab) = (Index::new(), Slab::new());
        for id in 0..5000u32 {
            let hash = id.wrapping_mul(0x9e37_79b9).rotate_left(16);
            let slot = slab.insert(Name {
                id,
                hash,
                ..Name::default()
            });
            index.insert(&mut slab, slot);
        }
        assert_eq!(index.places, 5000);
        let empty = (0..5000)
            .filter(|&place| index.first(place) == NONE)
            .count();
        assert!(empty < 2500, "{empty} of 5000 places are empty");
    }

    proptest! {
        #[test]
        fn same_as_naive(steps in prop::collection::vec((any::<bool>(), 0u32..300, 0u32..8), 0..600)) {
            let (mut index, mut slab) = (Index::new(), Slab::new());
            let mut naive = HashMap::new();
            let hash = |id: u32, crowd: u32| {
                // Some in a crowd of few hashes: long chains, parted again and again.
                if id.is_multiple_of(2) { u32::MAX - crowd } else { id.wrapping_mul(0x9e37_79b9) }
            };
            for (insert, id, crowd) in steps {
                if insert {
                    naive.entry(id).or_insert_with(|| {
                        let hash = hash(id, crowd);
                        let slot = slab.insert(Name { id, hash, ..Name::default() });
                        index.insert(&mut slab, slot);
                        (slot, hash)
                    });
                } else if let Some((slot, _)) = naive.remove(&id) {
                    index.remove(&mut slab, slot);
                    slab.remove(slot);
                }
                prop_assert_eq!(index.len as usize, naive.len());
            }
            for id in 0..300 {
                let known = naive.get(&id).copied();
                let hash = known.map_or(id, |(_, hash)| hash);
                let found = index.find(&slab, hash, |name| name.id == id);
                prop_assert_eq!(found, known.map(|(slot, _)| slot));
            }
        }
    }
}
