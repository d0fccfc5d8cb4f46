//! A timer wheel threaded through a slab: arm and cancel in constant time, next in eight looks.
//!
//! Eight levels of 64 slots; a slot of level n spans 64^n milliseconds. An item lies at the level of
//! the highest digit (of six bits) in which its time differs from the wheel's, so all items of a level
//! are later than those of the levels below. It comes down one level each time the wheel reaches its
//! slot, at most seven times in its life.

use super::slab::{Item, NONE, Slab};

const LEVELS: usize = 8;
const SLOTS: usize = 64;
/// The last time the wheel can tell from others: the year 10889.
pub(super) const TIME_MAX: u64 = (1 << (6 * LEVELS)) - 1;
/// Links at or above this name the wheel's own slot `link - HEADS`, not an item.
const HEADS: u32 = NONE - (LEVELS * SLOTS) as u32;

/// An item with a time.
pub(super) trait Timed: Item {
    /// In milliseconds.
    fn time(&self) -> u64;
}

/// Items by time. Lives inside the queue; its time never goes back but by [`Wheel::reset`].
#[derive(Debug)]
pub(super) struct Wheel {
    now: u64,
    taken: [u64; LEVELS],
    first: Box<[u32; LEVELS * SLOTS]>,
}

impl Wheel {
    pub(super) fn new(now: u64) -> Self {
        Self {
            now: now.min(TIME_MAX),
            taken: [0; LEVELS],
            first: Box::new([NONE; LEVELS * SLOTS]),
        }
    }

    /// Bytes of memory of its own; the links are the items'.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.first)
    }

    /// Forgets all items; whoever owns them arms them again.
    pub(super) fn reset(&mut self, now: u64) {
        *self = Self::new(now);
    }

    /// An item whose time has passed already comes out at the next look.
    pub(super) fn insert<T: Timed>(&mut self, slab: &mut Slab<T>, item: u32) {
        let time = slab[item].time().clamp(self.now, TIME_MAX);
        let digits = 63 - ((time ^ self.now) | 63).leading_zeros();
        let level = digits as usize / 6;
        let slot = (time >> (6 * level)) as usize % SLOTS;
        let index = level * SLOTS + slot;
        let next = std::mem::replace(&mut self.first[index], item);
        slab[item].set_previous(HEADS + index as u32);
        slab[item].set_next(next);
        if next != NONE {
            slab[next].set_previous(item);
        }
        self.taken[level] |= 1 << slot;
    }

    pub(super) fn remove<T: Timed>(&mut self, slab: &mut Slab<T>, item: u32) {
        let (previous, next) = (slab[item].previous(), slab[item].next());
        if previous >= HEADS {
            let index = (previous - HEADS) as usize;
            self.first[index] = next;
            if next == NONE {
                self.taken[index / SLOTS] &= !(1 << (index % SLOTS));
            }
        } else {
            slab[previous].set_next(next);
        }
        if next != NONE {
            slab[next].set_previous(previous);
        }
    }

    /// The first slot in use: when it begins, its level and its index.
    fn first_slot(&self) -> Option<(u64, usize, usize)> {
        let level = self.taken.iter().position(|&taken| taken != 0)?;
        // All items of a level differ from `now` first in this digit, so none lies before it.
        let slot = self.taken[level].trailing_zeros() as usize;
        let above = 6 * (level + 1);
        let begin = self.now >> above << above | (slot as u64) << (6 * level);
        Some((begin, level, level * SLOTS + slot))
    }

    /// No item is due before this time; `None`: there is no item.
    pub(super) fn next(&self) -> Option<u64> {
        self.first_slot().map(|(begin, ..)| begin)
    }

    /// Takes out one item whose time is not after `now`, the earliest first.
    pub(super) fn pop<T: Timed>(&mut self, slab: &mut Slab<T>, now: u64) -> Option<u32> {
        let now = now.min(TIME_MAX);
        while let Some((begin, level, index)) = self.first_slot()
            && begin <= now
        {
            self.now = self.now.max(begin);
            let first = self.first[index];
            if level == 0 {
                self.remove(slab, first);
                return Some(first);
            }
            self.first[index] = NONE;
            self.taken[level] &= !(1 << (index % SLOTS));
            let mut item = first;
            while item != NONE {
                let next = slab[item].next();
                self.insert(slab, item);
                item = next;
            }
        }
        self.now = self.now.max(now);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::slab::item;
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default)]
    struct Alarm {
        time: u64,
        generation: u32,
        previous: u32,
        next: u32,
    }
    item!(Alarm, 16);

    impl Timed for Alarm {
        fn time(&self) -> u64 {
            self.time
        }
    }

    fn alarm(time: u64) -> Alarm {
        Alarm {
            time,
            ..Alarm::default()
        }
    }

    #[test]
    fn the_edges_of_levels() {
        for start in [0, 1, 63, 64, 4095, 1_795_508_041_007, TIME_MAX - 1] {
            for distance in [0, 1, 62, 63, 64, 65, 4095, 4096, 604_800_000, u64::MAX / 2] {
                let (mut slab, mut wheel) = (Slab::new(), Wheel::new(start));
                let time = start + distance;
                let item = slab.insert(alarm(time));
                wheel.insert(&mut slab, item);
                let due = time.min(TIME_MAX);
                assert!(wheel.next().is_some_and(|next| next <= due));
                if due > start {
                    assert_eq!(wheel.pop(&mut slab, due - 1), None, "{start} + {distance}");
                }
                assert_eq!(
                    wheel.pop(&mut slab, due),
                    Some(item),
                    "{start} + {distance}"
                );
                assert_eq!(wheel.next(), None);
            }
        }
    }

    #[test]
    fn what_has_passed_comes_out_at_once() {
        let (mut slab, mut wheel) = (Slab::new(), Wheel::new(1000));
        let item = slab.insert(alarm(3));
        wheel.insert(&mut slab, item);
        assert_eq!(wheel.pop(&mut slab, 1000), Some(item));
    }

    proptest! {
        #[test]
        fn same_as_naive(
            start in prop_oneof![0u64..100, 1_795_508_041_000u64..1_795_508_051_000],
            steps in prop::collection::vec((0u8..5, prop_oneof![0u64..200, 0u64..1_000_000_000]), 1..120),
        ) {
            let (mut slab, mut wheel) = (Slab::new(), Wheel::new(start));
            let mut naive: Vec<(u64, u32)> = Vec::new();
            let mut now = start;
            for (step, number) in steps {
                match step {
                    0..=2 => {
                        let item = slab.insert(alarm(now + number));
                        wheel.insert(&mut slab, item);
                        naive.push((now + number, item));
                    }
                    3 if !naive.is_empty() => {
                        let (_, item) = naive.swap_remove(number as usize % naive.len());
                        wheel.remove(&mut slab, item);
                        slab.remove(item);
                    }
                    _ => {
                        now += number;
                        let mut last = 0;
                        while let Some(item) = wheel.pop(&mut slab, now) {
                            let at = naive.iter().position(|&(_, known)| known == item);
                            let (time, _) = naive.swap_remove(at.expect("armed"));
                            prop_assert!(last <= time && time <= now, "in order, and none early");
                            last = time;
                            slab.remove(item);
                        }
                        prop_assert!(naive.iter().all(|&(time, _)| time > now), "none late");
                    }
                }
                let first = naive.iter().map(|&(time, _)| time).min();
                prop_assert_eq!(wheel.next().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (wheel.next(), first) {
                    prop_assert!(next <= first);
                }
            }
        }
    }
}
