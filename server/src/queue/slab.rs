//! Slots with numbers, in chunks that never move, and lists threaded through them. Pure memory.
//!
//! No allocation but for a new chunk, and no copy when it grows: a million entries arrive without a
//! pause. Freed slots are taken again first; chunks are kept.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// Slots are numbered below this; what lies above is for the wheel.
const FRESH_MAX: u32 = u32::MAX - 4096;
/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// A slot and how often it has been taken or freed. Good as long as the slot is taken, and never again
/// after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(super) slot: u32,
    generation: u32,
}

/// What every item has room for: its generation, and two links of the one list it is in.
pub(super) trait Item: Default {
    /// Items of one chunk; the first chunk is there as soon as there is an item.
    const CHUNK_LEN: u32;

    fn generation(&self) -> u32;
    fn set_generation(&mut self, generation: u32);
    fn previous(&self) -> u32;
    fn set_previous(&mut self, slot: u32);
    fn next(&self) -> u32;
    fn set_next(&mut self, slot: u32);
}

/// Implements [`Item`] for a struct with the fields `generation`, `previous` and `next`.
macro_rules! item {
    ($name:ty, $chunk_len:literal) => {
        impl $crate::queue::slab::Item for $name {
            const CHUNK_LEN: u32 = $chunk_len;

            fn generation(&self) -> u32 {
                self.generation
            }
            fn set_generation(&mut self, generation: u32) {
                self.generation = generation;
            }
            fn previous(&self) -> u32 {
                self.previous
            }
            fn set_previous(&mut self, slot: u32) {
                self.previous = slot;
            }
            fn next(&self) -> u32 {
                self.next
            }
            fn set_next(&mut self, slot: u32) {
                self.next = slot;
            }
        }
    };
}
pub(super) use item;

/// Items by slot. A generation is odd while its slot is taken.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Box<[T]>>,
    free: u32,
    fresh: u32,
    len: u32,
}

impl<T: Item> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: NONE,
            fresh: 0,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Bytes of memory in use, free slots included.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * T::CHUNK_LEN as usize * size_of::<T>()
            + self.chunks.capacity() * size_of::<Box<[T]>>()
    }

    pub(super) fn insert(&mut self, mut item: T) -> u32 {
        let slot = if self.free != NONE {
            let slot = self.free;
            self.free = self[slot].next();
            slot
        } else {
            assert!(self.fresh < FRESH_MAX, "the queue is full");
            if self.fresh.is_multiple_of(T::CHUNK_LEN) {
                self.chunks
                    .push((0..T::CHUNK_LEN).map(|_| T::default()).collect());
            }
            self.fresh += 1;
            self.fresh - 1
        };
        item.set_generation(self[slot].generation().wrapping_add(1));
        self[slot] = item;
        self.len += 1;
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> T {
        let generation = self[slot].generation();
        assert!(generation % 2 == 1, "a slot is freed once");
        let mut vacant = T::default();
        vacant.set_generation(generation.wrapping_add(1));
        vacant.set_next(self.free);
        self.free = slot;
        self.len -= 1;
        std::mem::replace(&mut self[slot], vacant)
    }

    pub(super) fn key(&self, slot: u32) -> Key {
        Key {
            slot,
            generation: self[slot].generation(),
        }
    }

    /// The slot, if the key is still good.
    pub(super) fn find(&self, key: Key) -> Option<u32> {
        let taken = key.slot < self.fresh
            && key.generation % 2 == 1
            && self[key.slot].generation() == key.generation;
        taken.then_some(key.slot)
    }

    /// The `position`th slot from below that was ever taken, if it is taken now.
    pub(super) fn at(&self, position: u32) -> Option<Option<u32>> {
        (position < self.fresh).then(|| (self[position].generation() % 2 == 1).then_some(position))
    }
}

impl<T: Item> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        &self.chunks[(slot / T::CHUNK_LEN) as usize][(slot % T::CHUNK_LEN) as usize]
    }
}

impl<T: Item> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.chunks[(slot / T::CHUNK_LEN) as usize][(slot % T::CHUNK_LEN) as usize]
    }
}

/// A line of items: in at either end, out anywhere.
#[derive(Debug)]
pub(super) struct List<T> {
    head: u32,
    tail: u32,
    len: u32,
    of: PhantomData<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            len: 0,
            of: PhantomData,
        }
    }
}

impl<T: Item> List<T> {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(super) fn push_back(&mut self, slab: &mut Slab<T>, slot: u32) {
        slab[slot].set_previous(self.tail);
        slab[slot].set_next(NONE);
        match self.tail {
            NONE => self.head = slot,
            tail => slab[tail].set_next(slot),
        }
        self.tail = slot;
        self.len += 1;
    }

    pub(super) fn push_front(&mut self, slab: &mut Slab<T>, slot: u32) {
        slab[slot].set_previous(NONE);
        slab[slot].set_next(self.head);
        match self.head {
            NONE => self.tail = slot,
            head => slab[head].set_previous(slot),
        }
        self.head = slot;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, slab: &mut Slab<T>, slot: u32) {
        let (previous, next) = (slab[slot].previous(), slab[slot].next());
        match previous {
            NONE => self.head = next,
            previous => slab[previous].set_next(next),
        }
        match next {
            NONE => self.tail = previous,
            next => slab[next].set_previous(previous),
        }
        self.len -= 1;
    }

    /// All of it, for tests.
    #[cfg(test)]
    pub(super) fn slots(&self, slab: &Slab<T>) -> Vec<u32> {
        let next = |&slot: &u32| Some(slab[slot].next()).filter(|&next| next != NONE);
        std::iter::successors(self.head(), next).collect()
    }

    pub(super) fn pop_front(&mut self, slab: &mut Slab<T>) -> Option<u32> {
        let slot = self.head()?;
        self.remove(slab, slot);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Debug, Default)]
    struct Number {
        value: u32,
        generation: u32,
        previous: u32,
        next: u32,
    }
    item!(Number, 16);

    fn number(value: u32) -> Number {
        Number {
            value,
            ..Number::default()
        }
    }

    #[test]
    fn a_key_is_never_good_again() {
        let mut slab = Slab::new();
        let slot = slab.insert(number(1));
        let key = slab.key(slot);
        assert_eq!(slab.find(key), Some(slot));
        slab.remove(slot);
        assert_eq!(slab.find(key), None);
        assert_eq!(slab.insert(number(2)), slot, "freed slots come first");
        assert_eq!(slab.find(key), None);
        assert_eq!(slab[slot].value, 2);
    }

    #[test]
    fn more_than_a_chunk() {
        let mut slab = Slab::new();
        for value in 0..33 {
            assert_eq!(slab.insert(number(value)), value);
        }
        assert!((0..33).all(|slot| slab[slot].value == slot));
        assert_eq!(slab.len(), 33);
        slab.remove(20);
        assert_eq!(slab.at(19), Some(Some(19)));
        assert_eq!(slab.at(20), Some(None));
        assert_eq!(slab.at(33), None);
    }

    proptest! {
        #[test]
        fn list_same_as_naive(steps in prop::collection::vec((0u8..4, 0usize..64), 1..200)) {
            let (mut slab, mut list) = (Slab::new(), List::default());
            let mut naive = VecDeque::new();
            for (step, at) in steps {
                match step {
                    0 | 1 => {
                        let slot = slab.insert(number(0));
                        if step == 0 {
                            list.push_back(&mut slab, slot);
                            naive.push_back(slot);
                        } else {
                            list.push_front(&mut slab, slot);
                            naive.push_front(slot);
                        }
                    }
                    2 => {
                        let popped = list.pop_front(&mut slab);
                        prop_assert_eq!(popped, naive.pop_front());
                        if let Some(slot) = popped {
                            slab.remove(slot);
                        }
                    }
                    _ => {
                        if let Some(slot) = naive.remove(at) {
                            list.remove(&mut slab, slot);
                            slab.remove(slot);
                        }
                    }
                }
                prop_assert_eq!(list.len() as usize, naive.len());
                prop_assert_eq!(slab.len() as usize, naive.len());
                prop_assert_eq!(list.slots(&slab), Vec::from(naive.clone()));
            }
        }
    }
}
