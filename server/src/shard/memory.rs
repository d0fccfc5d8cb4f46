//! Room in memory for what is read back from the disk: reserved before a message is loaded, given back
//! when nobody holds it any more, and whose turn it is while there is too little.
//!
//! Nobody waits here with something in his hands: a connection that finds no room takes no parcel, and the
//! queue keeps it. So the messages in memory are those on the road, and no two can wait for each other.
//! Small messages have room of their own, so that they never stand behind large ones. A message for which
//! the whole room is too small may come when nothing else is there.

use crate::queue::LaneId;
use mailrail_runtime::signal::Notify;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// A record up to this length is small: a hundred of them are there in the time of a large one.
const SMALL_LEN_MAX: u32 = 128 * 1024;
/// The small ones' part of the room.
const SMALL_PART: u64 = 4;
/// What a record takes beside its payload: it is read by whole blocks, and its header with it.
const READING_LEN: u64 = 8 * 1024;
/// Who is first in line and does not use the room it finds (its connections wait for their peers) goes to
/// the end after so long.
const TURN_MICROS: u64 = 2_000_000;

/// Who asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimant {
    /// A lane, for its next parcel.
    Lane(LaneId),
    /// The queue, for a verdict of its own.
    Verdict,
}

/// The room of one kind of messages.
#[derive(Debug, Default)]
struct Room {
    limit: u64,
    used: u64,
    /// Who found too little, longest first.
    waiting: VecDeque<Claimant>,
    /// When the first one's turn ends, once it has begun.
    turn_until: Option<u64>,
}

impl Room {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    fn take(&mut self, claimant: Claimant, len: u64, now: u64) -> bool {
        self.end_turn(now);
        let is_first = self.waiting.front().is_none_or(|first| *first == claimant);
        if is_first && (self.used == 0 || self.used + len <= self.limit) {
            if self.waiting.pop_front().is_some() {
                self.turn_until = None;
            }
            self.used += len;
            return true;
        }
        if !self.waiting.contains(&claimant) {
            self.waiting.push_back(claimant);
        }
        false
    }

    /// Whose turn it is.
    fn first(&mut self, now: u64) -> Option<Claimant> {
        self.end_turn(now);
        self.waiting.front().copied()
    }

    /// The first goes behind the others when it has had its time.
    fn end_turn(&mut self, now: u64) {
        let until = *self
            .turn_until
            .get_or_insert_with(|| now.saturating_add(TURN_MICROS));
        if self.waiting.is_empty() {
            self.turn_until = None;
        } else if now >= until {
            self.waiting.rotate_left(1);
            self.turn_until = Some(now.saturating_add(TURN_MICROS));
        }
    }
}

/// A shard's room for what is read back. Lives as long as the shard.
#[derive(Debug)]
pub(super) struct Memory {
    small: RefCell<Room>,
    large: RefCell<Room>,
    /// The most that was reserved at once.
    peak: Cell<u64>,
    /// Room has come back, or somebody else is first in line.
    pub(super) freed: Notify,
}

impl Memory {
    /// `limit` bytes of room in all.
    pub(super) fn new(limit: u64) -> Rc<Self> {
        let small = limit / SMALL_PART;
        Rc::new(Self {
            small: RefCell::new(Room::new(small)),
            large: RefCell::new(Room::new(limit - small)),
            peak: Cell::new(0),
            freed: Notify::new(),
        })
    }

    fn room(&self, len: u32) -> &RefCell<Room> {
        if len <= SMALL_LEN_MAX {
            &self.small
        } else {
            &self.large
        }
    }

    /// Room for a record of `len` bytes; `None`: not now, and the claimant stands in line. `now` is in
    /// microseconds.
    pub(super) fn reserve(
        self: &Rc<Self>,
        claimant: Claimant,
        len: u32,
        now: u64,
    ) -> Option<Reservation> {
        let reserved = u64::from(len) + READING_LEN;
        if !self.room(len).borrow_mut().take(claimant, reserved, now) {
            return None;
        }
        self.peak.set(self.peak.get().max(self.used()));
        // Whoever is next may find room, too.
        self.tell();
        Some(Reservation {
            memory: Rc::clone(self),
            len,
            reserved,
        })
    }

    /// Room for a record of `len` bytes at once, whether there is some or not: others wait for longer. For who
    /// holds one message at a time and must go on while memory is short, since what it does makes room.
    pub(super) fn hold(self: &Rc<Self>, len: u32) -> Reservation {
        let reserved = u64::from(len) + READING_LEN;
        self.room(len).borrow_mut().used += reserved;
        self.peak.set(self.peak.get().max(self.used()));
        Reservation {
            memory: Rc::clone(self),
            len,
            reserved,
        }
    }

    fn tell(&self) {
        if !self.small.borrow().waiting.is_empty() || !self.large.borrow().waiting.is_empty() {
            self.freed.notify_one();
        }
    }

    /// Who is to be asked whether it still wants the room it found too small, one of each kind at most.
    pub(super) fn first_in_line(&self, now: u64) -> impl Iterator<Item = Claimant> {
        [&self.small, &self.large]
            .map(|room| room.borrow_mut().first(now))
            .into_iter()
            .flatten()
    }

    /// It wants nothing any more: the next in line is to be asked.
    pub(super) fn leave(&self, claimant: Claimant) {
        for room in [&self.small, &self.large] {
            let mut room = room.borrow_mut();
            if room.waiting.front() == Some(&claimant) {
                room.turn_until = None;
            }
            room.waiting.retain(|other| *other != claimant);
        }
        self.tell();
    }

    /// Bytes reserved now.
    pub(super) fn used(&self) -> u64 {
        self.small.borrow().used + self.large.borrow().used
    }

    /// The most bytes that were reserved at once since the start.
    pub(super) fn peak(&self) -> u64 {
        self.peak.get()
    }
}

/// Room for one record. It comes back when this is dropped, which is to be when the record's bytes are.
#[derive(Debug)]
pub(super) struct Reservation {
    memory: Rc<Memory>,
    len: u32,
    reserved: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.room(self.len).borrow_mut().used -= self.reserved;
        self.memory.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Id, Timestamp};
    use crate::queue::{Arrival, Group, Place, Queue, Resolution, Settings};

    const MIB: u64 = 1 << 20;
    const LARGE: u32 = 10 << 20;

    /// Some lanes, by number.
    fn lanes(count: u64) -> Vec<Claimant> {
        let now = Timestamp::from_unix_millis(1_795_508_041_000);
        let mut queue = Queue::new(Settings::default(), now);
        let mut lanes = Vec::new();
        for number in 0..count {
            let name = format!("{number}.example");
            let group = Group {
                first: 0,
                open: 1,
                destination: &name,
                attempt: 0,
                next: None,
                note: None,
            };
            let arrival = Arrival {
                id: Id::from_bits(number),
                place: Place::default(),
                accepted: now,
                expires: None,
            };
            queue.insert(now, &arrival, [group]);
            let Some(crate::queue::Effect::Resolve(destination)) = queue.pop_cheap_effect(now)
            else {
                panic!("a new destination is asked for");
            };
            let resolution = Resolution::Lane {
                key: &name,
                connection_limit: 1,
                until: now,
            };
            let lane = queue.resolved(now, destination, resolution);
            lanes.push(Claimant::Lane(lane.expect("a lane")));
            queue.pop_cheap_effect(now);
        }
        lanes
    }

    #[test]
    fn never_more_than_the_limit() {
        let lanes = lanes(10);
        let memory = Memory::new(64 * MIB);
        let held: Vec<_> = lanes
            .iter()
            .filter_map(|lane| memory.reserve(*lane, LARGE, 0))
            .collect();
        assert_eq!(held.len(), 4, "48 MiB hold four times 10 MiB");
        assert!(memory.used() <= 48 * MIB);
        drop(held);
        assert_eq!(memory.used(), 0);
        assert!(memory.peak() <= 48 * MIB);
    }

    #[test]
    fn what_must_go_on_does_not_wait_and_is_counted() {
        let lanes = lanes(1);
        let memory = Memory::new(16 * MIB);
        let one = memory.reserve(lanes[0], LARGE, 0).expect("there is room");
        let held = memory.hold(LARGE);
        assert!(memory.used() > 2 * u64::from(LARGE));
        assert_eq!(memory.peak(), memory.used());
        drop(one);
        assert!(memory.reserve(lanes[0], LARGE, 0).is_none(), "others wait");
        drop(held);
        assert_eq!(memory.used(), 0);
        assert!(memory.reserve(lanes[0], LARGE, 0).is_some());
    }

    #[test]
    fn the_largest_comes_alone() {
        let lanes = lanes(2);
        let memory = Memory::new(MIB);
        let one = memory
            .reserve(lanes[0], LARGE, 0)
            .expect("nothing is there");
        assert!(memory.reserve(lanes[1], LARGE, 0).is_none());
        drop(one);
        assert!(memory.reserve(lanes[1], LARGE, 0).is_some());
    }

    #[test]
    fn small_ones_do_not_stand_behind_large_ones() {
        let lanes = lanes(3);
        let memory = Memory::new(16 * MIB);
        let _one = memory
            .reserve(lanes[0], LARGE, 0)
            .expect("nothing is there");
        assert!(memory.reserve(lanes[1], LARGE, 0).is_none());
        assert!(memory.reserve(lanes[2], 4096, 0).is_some());
    }

    #[test]
    fn who_comes_later_does_not_pass_who_waits() {
        let lanes = lanes(3);
        let memory = Memory::new(24 * MIB);
        let small = 1 << 20;
        let one = memory
            .reserve(lanes[0], LARGE, 0)
            .expect("nothing is there");
        assert!(memory.reserve(lanes[1], LARGE, 0).is_none());
        assert!(
            memory.reserve(lanes[2], small, 0).is_none(),
            "it would fit, and the other would never"
        );
        drop(one);
        assert!(memory.reserve(lanes[2], small, 0).is_none());
        let first: Vec<_> = memory.first_in_line(0).collect();
        assert_eq!(first, [lanes[1]]);
        let _two = memory.reserve(lanes[1], LARGE, 0).expect("its turn");
        assert!(memory.reserve(lanes[2], small, 0).is_some(), "and then its");
    }

    /// Otherwise a line of those would stand for a second each, beside room that nobody uses.
    #[test]
    fn behind_one_who_left_the_next_is_asked_at_once() {
        let lanes = lanes(3);
        let memory = Memory::new(24 * MIB);
        let one = memory
            .reserve(lanes[0], LARGE, 0)
            .expect("nothing is there");
        assert!(memory.reserve(lanes[1], LARGE, 0).is_none());
        assert!(memory.reserve(lanes[2], LARGE, 0).is_none());
        drop(one);
        let is_told = || {
            let mut told = std::pin::pin!(memory.freed.notified());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            told.as_mut().poll(&mut context).is_ready()
        };
        assert!(is_told(), "room came back");
        assert!(!is_told());
        memory.leave(lanes[1]);
        assert!(is_told(), "the other one may have it");
        memory.leave(lanes[2]);
        assert!(!is_told(), "nobody is left");
    }

    #[test]
    fn a_turn_that_is_not_used_goes_on() {
        let lanes = lanes(3);
        let memory = Memory::new(24 * MIB);
        let one = memory
            .reserve(lanes[0], LARGE, 0)
            .expect("nothing is there");
        assert!(memory.reserve(lanes[1], LARGE, 0).is_none());
        assert!(memory.reserve(lanes[2], LARGE, 0).is_none());
        drop(one);
        assert!(memory.reserve(lanes[2], LARGE, TURN_MICROS - 1).is_none());
        assert!(memory.reserve(lanes[2], LARGE, TURN_MICROS).is_some());
        let first: Vec<_> = memory.first_in_line(TURN_MICROS).collect();
        assert_eq!(first, [lanes[1]], "it is first again");
        memory.leave(lanes[1]);
        assert_eq!(memory.first_in_line(TURN_MICROS).count(), 0);
    }
}
