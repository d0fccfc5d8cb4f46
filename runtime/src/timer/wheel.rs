//! The wheel: which alarm is due when. Pure: the time is an argument, what is due is handed back.
//!
//! Nine levels of 64 slots; a slot of level L spans 64^L ticks. An alarm stands at the level of the
//! highest digit (base 64) in which its tick differs from the wheel's own tick, in the slot of that
//! digit; when the wheel's tick reaches the start of the slot, the alarm moves to a lower level or is
//! due. So all slots in use at a level lie ahead of the wheel, a lower level always comes before a
//! higher one, and the next thing to happen is found in nine words. Nine levels of six bits hold
//! every moment that 64 bits of microseconds can name, hence no clamping and no overflow list.

/// A tick is 2^10 µs, about a millisecond: deadlines of mail are seconds and minutes.
pub(super) const TICK_BITS: u32 = 10;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 9;
const TICK_MAX: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;
const _: () = assert!(
    TICK_MAX == u64::MAX >> TICK_BITS,
    "the levels hold every moment"
);

/// Not an entry.
const NONE: u32 = u32::MAX;
/// Not a slot: the entry is free.
const NO_SLOT: u16 = u16::MAX;

/// Names an armed alarm; stale once that was due or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Names nothing.
    pub(super) const NONE: Self = Self {
        index: NONE,
        generation: 0,
    };
}

#[derive(Debug)]
struct Entry<W> {
    tick: u64,
    /// Who is told; `None` while the entry is free.
    payload: Option<W>,
    generation: u32,
    previous: u32,
    next: u32,
    slot: u16,
}

/// Alarms in the order they are due, each with what its owner gave along.
#[derive(Debug)]
pub(super) struct Wheel<W> {
    /// Everything up to and including this tick has been handed out.
    tick: u64,
    /// One bit for each slot that is not empty.
    occupied: [u64; LEVELS],
    heads: [u32; SLOTS * LEVELS],
    entries: Vec<Entry<W>>,
    free: u32,
    count: usize,
}

impl<W> Wheel<W> {
    pub(super) const fn new() -> Self {
        Self {
            tick: 0,
            occupied: [0; LEVELS],
            heads: [NONE; SLOTS * LEVELS],
            entries: Vec::new(),
            free: NONE,
            count: 0,
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.count
    }

    /// Arms an alarm. It is due at the first tick that is not before `deadline`, and after `now`.
    pub(super) fn arm(&mut self, now: u64, deadline: u64, payload: W) -> Key {
        self.follow(now);
        let tick = deadline
            .div_ceil(1 << TICK_BITS)
            .min(TICK_MAX)
            .max(self.tick + 1);
        let index = match self.free {
            NONE => {
                self.entries.push(Entry {
                    tick,
                    payload: Some(payload),
                    generation: 0,
                    previous: NONE,
                    next: NONE,
                    slot: NO_SLOT,
                });
                u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 alarms")
            }
            index => {
                let entry = &mut self.entries[index as usize];
                self.free = entry.next;
                entry.tick = tick;
                entry.payload = Some(payload);
                index
            }
        };
        self.count += 1;
        self.link(index);
        Key {
            index,
            generation: self.entries[index as usize].generation,
        }
    }

    /// Takes an alarm away; what came along with it, or `None` if it was due or cancelled before.
    pub(super) fn cancel(&mut self, key: Key) -> Option<W> {
        self.entry(key)?;
        self.unlink(key.index);
        self.release(key.index)
    }

    /// What came along with an armed alarm.
    pub(super) fn payload(&mut self, key: Key) -> Option<&mut W> {
        self.entry(key).and_then(|entry| entry.payload.as_mut())
    }

    /// Moves the time on and hands out all that is due.
    pub(super) fn advance(&mut self, now: u64, due: &mut Vec<W>) {
        let target = now >> TICK_BITS;
        while let Some((tick, slot)) = self.next_slot() {
            if tick > target {
                break;
            }
            self.tick = tick;
            let level = slot / SLOTS;
            self.occupied[level] &= !(1 << (slot % SLOTS));
            let mut index = std::mem::replace(&mut self.heads[slot], NONE);
            while index != NONE {
                let entry = &mut self.entries[index as usize];
                let next = entry.next;
                if entry.tick <= tick {
                    due.extend(self.release(index));
                } else {
                    self.link(index);
                }
                index = next;
            }
        }
        self.tick = self.tick.max(target);
    }

    /// When `advance` has something to do next, in microseconds; `None` when no alarm is armed. That
    /// is the moment of the earliest alarm or, for one far away, a moment before it.
    pub(super) fn next(&self) -> Option<u64> {
        self.next_slot().map(|(tick, _)| tick << TICK_BITS)
    }

    /// Lets the wheel's own tick follow the clock where nothing is due, so that a new alarm finds its
    /// level from the present and not from the last time anything happened.
    fn follow(&mut self, now: u64) {
        let target = now >> TICK_BITS;
        if target > self.tick && self.next_slot().is_none_or(|(tick, _)| tick > target) {
            self.tick = target;
        }
    }

    fn entry(&mut self, key: Key) -> Option<&mut Entry<W>> {
        let entry = self.entries.get_mut(key.index as usize)?;
        (entry.generation == key.generation && entry.slot != NO_SLOT).then_some(entry)
    }

    fn next_slot(&self) -> Option<(u64, usize)> {
        for (level, &bits) in self.occupied.iter().enumerate() {
            if bits != 0 {
                let digit = bits.trailing_zeros() as usize;
                let shift = SLOT_BITS * level as u32;
                // The digits above this level are the wheel's, those below it are zero.
                let above = self.tick >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
                return Some((above | (digit as u64) << shift, level * SLOTS + digit));
            }
        }
        None
    }

    fn link(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        debug_assert!(tick > self.tick);
        let level = ((tick ^ self.tick).ilog2() / SLOT_BITS) as usize;
        let digit = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let slot = level * SLOTS + digit;
        let head = std::mem::replace(&mut self.heads[slot], index);
        self.occupied[level] |= 1 << digit;
        let entry = &mut self.entries[index as usize];
        entry.slot = slot as u16;
        entry.previous = NONE;
        entry.next = head;
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
    }

    fn unlink(&mut self, index: u32) {
        let Entry {
            slot,
            previous,
            next,
            ..
        } = self.entries[index as usize];
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
        } else {
            let slot = slot as usize;
            self.heads[slot] = next;
            if next == NONE {
                self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
            }
        }
    }

    fn release(&mut self, index: u32) -> Option<W> {
        let free = std::mem::replace(&mut self.free, index);
        self.count -= 1;
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.slot = NO_SLOT;
        entry.next = free;
        entry.payload.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const TICK: u64 = 1 << TICK_BITS;

    /// The slow twin: a sorted map, asked one by one.
    #[derive(Default)]
    struct Naive {
        now: u64,
        alarms: BTreeMap<u32, u64>,
    }

    impl Naive {
        fn arm(&mut self, now: u64, deadline: u64, id: u32) {
            self.now = self.now.max(now);
            // Due with the first whole tick that is not before the deadline, and not in this one.
            let tick = deadline
                .div_ceil(TICK)
                .min(u64::MAX / TICK)
                .max(self.now / TICK + 1);
            self.alarms.insert(id, tick);
        }

        fn advance(&mut self, now: u64) -> Vec<u32> {
            self.now = now;
            let due: Vec<u32> = self
                .alarms
                .iter()
                .filter_map(|(&id, &tick)| (tick <= now / TICK).then_some(id))
                .collect();
            self.alarms.retain(|_, tick| *tick > now / TICK);
            due
        }

        fn earliest(&self) -> Option<u64> {
            self.alarms.values().min().map(|tick| tick * TICK)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Arm { delay: u64 },
        Cancel { which: usize },
        Advance { by: u64 },
        ToNext,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let delay = prop_oneof![
            0..3 * TICK,
            0..100 * TICK,
            0..10_000 * TICK,
            0..1_000_000_000_000_u64,
            // 200 of these do not reach the end of time, 18,000 years of them are far enough.
            Just(u64::MAX / 1_024),
        ];
        let by = prop_oneof![
            0..2 * TICK,
            0..100 * TICK,
            0..300_000_000_u64,
            0..u64::MAX / 1_000
        ];
        let step = prop_oneof![
            4 => delay.prop_map(|delay| Step::Arm { delay }),
            2 => any::<usize>().prop_map(|which| Step::Cancel { which }),
            2 => by.prop_map(|by| Step::Advance { by }),
            1 => Just(Step::ToNext),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn same_as_naive(steps in steps()) {
            let (mut wheel, mut naive) = (Wheel::new(), Naive::default());
            let mut keys: Vec<(u32, Key)> = Vec::new();
            let (mut now, mut id) = (0_u64, 0_u32);
            for step in steps {
                match step {
                    Step::Arm { delay } => {
                        let deadline = now.saturating_add(delay);
                        keys.push((id, wheel.arm(now, deadline, id)));
                        naive.arm(now, deadline, id);
                        id += 1;
                    }
                    Step::Cancel { which } if !keys.is_empty() => {
                        let (id, key) = keys.swap_remove(which % keys.len());
                        prop_assert_eq!(wheel.cancel(key), naive.alarms.remove(&id).map(|_| id));
                        prop_assert_eq!(wheel.cancel(key), None);
                    }
                    Step::Cancel { .. } => {}
                    Step::Advance { .. } | Step::ToNext => {
                        now = match step {
                            Step::Advance { by } => now.saturating_add(by),
                            _ => wheel.next().unwrap_or(now).max(now),
                        };
                        let mut due = Vec::new();
                        wheel.advance(now, &mut due);
                        due.sort_unstable();
                        prop_assert_eq!(due, naive.advance(now));
                    }
                }
                prop_assert_eq!(wheel.len(), naive.alarms.len());
                match (wheel.next(), naive.earliest()) {
                    (None, None) => {}
                    (Some(next), Some(earliest)) => prop_assert!(next <= earliest),
                    (next, earliest) => prop_assert!(false, "{next:?} against {earliest:?}"),
                }
            }
        }
    }

    #[test]
    fn going_from_next_to_next_ends_at_the_alarm_in_few_steps() {
        for deadline in [1, TICK, 65 * TICK, 300_000_000, 86_400_000_000 * 400] {
            let mut wheel = Wheel::new();
            wheel.arm(0, deadline, ());
            let (mut steps, mut due) = (0, Vec::new());
            while let Some(next) = wheel.next() {
                wheel.advance(next, &mut due);
                assert_eq!(
                    due.is_empty(),
                    next < deadline,
                    "due exactly from its deadline on"
                );
                steps += 1;
            }
            assert!(steps <= LEVELS, "{steps} steps for {deadline}");
        }
    }

    #[test]
    fn entries_are_reused_and_their_old_names_are_stale() {
        let mut wheel = Wheel::new();
        let mut last = Key::NONE;
        for round in 0..1_000_u64 {
            let key = wheel.arm(round, round + 300_000_000, round);
            assert_eq!(wheel.cancel(last), None);
            assert_eq!(wheel.cancel(key), Some(round));
            last = key;
        }
        assert_eq!(wheel.entries.len(), 1);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn an_alarm_is_small() {
        assert!(size_of::<Entry<std::task::Waker>>() <= 48);
        assert!(size_of::<Wheel<std::task::Waker>>() <= 4096);
    }
}
