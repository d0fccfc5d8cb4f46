//! Recipients in doubt: the end of their message was sent, and whether it was taken is not known.
//!
//! They stay open. Whether they are tried like others is a setting; where they are not, they are *held*:
//! what is left of their entry waits in the wheel of time, far out, until its message is too old or the
//! caller recalls it. Kept beside the entries, not in them: there are as many as deliveries in flight, and a
//! waiting message must stay small.

use super::judge;
use super::state::{Entry, Stage};
use super::{DestinationId, EntryId, Parcel, Queue, Settings};
use crate::message::{Id, Timestamp};
use std::collections::BTreeMap;

/// By message and group. No entry of it is without a bit.
pub(super) type Doubts = BTreeMap<(Id, u16), u128>;

impl Settings {
    /// Of recipients in doubt, those that must not be tried.
    pub(super) const fn held(&self, doubt: u128) -> u128 {
        if self.tries_doubts { 0 } else { doubt }
    }
}

impl Queue {
    /// These recipients are in doubt from now on, with those that are already. To be called before their
    /// message is inserted, or while the entry is with the caller.
    pub fn doubt(&mut self, id: Id, first: u16, bits: u128) {
        if bits != 0 {
            *self.doubts.entry((id, first)).or_default() |= bits;
        }
    }

    /// These recipients are no longer in doubt.
    pub fn resolve_doubt(&mut self, id: Id, first: u16, bits: u128) {
        let left = self.in_doubt(id, first) & !bits;
        self.set_doubt(id, first, left);
    }

    /// Recipients of a group that are in doubt.
    pub fn in_doubt(&self, id: Id, first: u16) -> u128 {
        if self.doubts.is_empty() {
            return 0;
        }
        self.doubts.get(&(id, first)).copied().unwrap_or(0)
    }

    /// All groups with recipients in doubt.
    pub fn doubts(&self) -> impl Iterator<Item = (Id, u16, u128)> {
        self.doubts
            .iter()
            .map(|(&(id, first), &bits)| (id, first, bits))
    }

    pub(super) fn set_doubt(&mut self, id: Id, first: u16, bits: u128) {
        if bits != 0 {
            self.doubts.insert((id, first), bits);
        } else if !self.doubts.is_empty() {
            self.doubts.remove(&(id, first));
        }
    }

    /// Takes the recipients in doubt of a group out, to be settled or given back like any other parcel;
    /// `None` while they are on a connection, or about to be tried: whoever settles it hears of them then.
    pub fn recall(&mut self, now: Timestamp, id: Id, first: u16) -> Option<Parcel> {
        let message = self.entries.find_message(id)?;
        let entry = self
            .entries
            .entries_of(message)
            .find(|&entry| self.entries.entry(entry).first() == first)?;
        let stage = self.entries.entry(entry).stage();
        // Those that became due under another setting would be held as soon as they are first in line.
        let is_due = stage == Stage::Due && !self.settings.tries_doubts;
        if stage != Stage::Scheduled && !is_due {
            return None;
        }
        let bits = self.in_doubt(id, first) & self.entries.entry(entry).open();
        if bits == 0 {
            return None;
        }
        if is_due {
            self.leave_line(entry);
        } else {
            self.entries.recall(entry, now);
        }
        Some(self.parcel(entry, bits))
    }

    /// An entry as it is handed to the caller.
    pub(super) fn parcel(&self, entry: u32, bits: u128) -> Parcel {
        let this = self.entries.entry(entry);
        let message = self.entries.shared(this.message()).view();
        Parcel {
            entry: EntryId(self.entries.key(entry)),
            id: message.id,
            place: message.place,
            first: this.first(),
            bits,
            attempt: this.attempt(),
            accepted: message.accepted,
            expires: message.expires,
            destination: DestinationId(self.destinations.slab.key(this.destination())),
        }
    }

    /// The recipients of an entry that must not be tried.
    pub(super) fn held_back(&self, entry: u32) -> u128 {
        if self.doubts.is_empty() {
            return 0;
        }
        let this = self.entries.entry(entry);
        self.settings.held(self.doubt_of(this))
    }

    pub(super) fn doubt_of(&self, entry: &Entry) -> u128 {
        let id = self.entries.shared(entry.message()).view().id;
        self.in_doubt(id, entry.first()) & entry.open()
    }

    /// Nobody of the entry may be tried.
    pub(super) fn is_parked(&self, entry: u32) -> bool {
        let held = self.held_back(entry);
        held != 0 && self.entries.entry(entry).open() & !held == 0
    }

    /// Entries that would be the lane's next, and of which all is held since they became due, leave its line.
    pub(super) fn park_heads(&mut self, now: Timestamp, lane: u32) {
        while !self.doubts.is_empty() {
            let Some(destination) = self.lanes.slab[lane].ring.head() else {
                return;
            };
            let line = &self.destinations.get(destination).line;
            if !line.head().is_some_and(|entry| self.is_parked(entry)) {
                return;
            }
            let Some(entry) = self.take_from(now, lane) else {
                return;
            };
            // The lane has not ended: it was just asked for more.
            self.let_go(entry);
            self.put_down(now, entry, false);
        }
    }

    /// The recipients of the entry's next parcel; none if all are held.
    pub(super) fn batch(&self, entry: u32) -> u128 {
        let held = self.held_back(entry);
        let recipients_max = self.settings.max_recipients_per_batch;
        judge::batch(self.entries.entry(entry), held, recipients_max)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arrival, Cause, Effect, Group, LaneId, Outcome, Place, Resolution, State};
    use super::*;

    const START: Timestamp = Timestamp::from_unix_millis(1_795_508_041_000);
    const DAY: u64 = 24 * 3_600_000;
    const ID: Id = Id::from_bits(7);

    fn queue(tries_doubts: bool) -> Queue {
        let settings = Settings {
            tries_doubts,
            ..Settings::default()
        };
        Queue::new(settings, START)
    }

    /// One message to recipients of one domain.
    fn insert(queue: &mut Queue, now: Timestamp, open: u128) -> LaneId {
        let arrival = Arrival {
            id: ID,
            place: Place::default(),
            accepted: START,
            expires: None,
        };
        let group = Group {
            first: 0,
            open,
            destination: "a.example",
            attempt: 0,
            next: None,
            note: None,
        };
        assert!(queue.insert(now, &arrival, [group]));
        let mut lane = None;
        while let Some(effect) = queue.pop_cheap_effect(now) {
            if let Effect::Resolve(destination) = effect {
                let resolution = Resolution::Lane {
                    key: "mx.example",
                    connection_limit: 10,
                    until: now.plus_millis(30 * DAY),
                };
                lane = queue.resolved(now, destination, resolution);
            }
        }
        // A lane lives while a connection to it is being opened.
        let lane = lane.unwrap_or_else(|| {
            let destination = queue.destinations.slab.key(0);
            let resolution = Resolution::Lane {
                key: "mx.example",
                connection_limit: 10,
                until: now.plus_millis(30 * DAY),
            };
            let lane = queue.resolved(now, DestinationId(destination), resolution);
            lane.expect("the destination is there")
        });
        queue.opening(lane);
        queue.opened(now, lane);
        lane
    }

    fn deferred(bits: u128) -> Outcome {
        Outcome {
            deferred: bits,
            ..Outcome::default()
        }
    }

    fn state(queue: &Queue) -> (State, u128, u128) {
        let row = queue.groups(ID).next().expect("it waits");
        (row.state, row.open, row.held)
    }

    #[test]
    fn what_is_in_doubt_after_an_attempt_is_held_until_it_is_too_old() {
        let mut queue = queue(false);
        let lane = insert(&mut queue, START, 0b11);
        let parcel = queue.take(START, lane).expect("it is due");
        queue.doubt(ID, 0, 0b11);
        let verdict = queue.judge_in_doubt(START, parcel.entry, &deferred(0b11), 0b11, 0b11);
        assert!(verdict.is_deferral(), "a note has to say so");
        assert_eq!((verdict.open, verdict.doubt), (0b11, 0b11));
        assert_eq!(queue.settle(START, verdict), None);
        assert_eq!(state(&queue), (State::Scheduled, 0b11, 0b11));

        let late = START.plus_millis(7 * DAY - 1);
        queue.advance(late);
        assert_eq!(queue.take(late, lane), None);
        assert_eq!(state(&queue), (State::Scheduled, 0b11, 0b11));
        let end = START.plus_millis(7 * DAY);
        queue.advance(end);
        let Some(Effect::Verdict(verdict)) = queue.pop_effect(end) else {
            panic!("it is too old");
        };
        assert_eq!((verdict.expired, &verdict.cause), (0b11, &Cause::Age));
        assert!(queue.settle(end, verdict).is_some());
        assert_eq!(queue.doubts().count(), 0);
    }

    #[test]
    fn an_answer_ends_the_doubt() {
        let mut queue = queue(false);
        let lane = insert(&mut queue, START, 0b11);
        let parcel = queue.take(START, lane).expect("it is due");
        queue.doubt(ID, 0, 0b11);
        // One refused for now, nothing said of the other.
        let verdict = queue.judge_in_doubt(START, parcel.entry, &deferred(0b01), 0b11, 0);
        assert_eq!(verdict.doubt, 0);
        assert_eq!(queue.settle(START, verdict), None);
        assert_eq!(queue.doubts().count(), 0);
        let (state, open, held) = state(&queue);
        assert_eq!((state, open, held), (State::Due, 0b11, 0));
    }

    #[test]
    fn the_others_of_a_group_are_tried_without_those_held() {
        let mut queue = queue(false);
        let lane = insert(&mut queue, START, 0b111);
        let parcel = queue.take(START, lane).expect("it is due");
        let verdict = queue.judge_in_doubt(START, parcel.entry, &deferred(0b111), 0b111, 0b010);
        let next = verdict.next;
        assert_eq!(queue.settle(START, verdict), None);
        queue.advance(next);
        let parcel = queue.take(next, lane).expect("the others are due");
        assert_eq!(parcel.bits, 0b101);
        let outcome = Outcome {
            delivered: 0b101,
            ..Outcome::default()
        };
        let verdict = queue.judge_in_doubt(next, parcel.entry, &outcome, 0b101, 0);
        assert_eq!((verdict.open, verdict.doubt), (0b010, 0b010));
        assert_eq!(queue.settle(next, verdict), None);
        assert_eq!(state(&queue), (State::Scheduled, 0b010, 0b010));
    }

    #[test]
    fn what_a_crash_left_in_doubt_is_not_due() {
        let mut queue = queue(false);
        queue.doubt(ID, 0, 0b1);
        let lane = insert(&mut queue, START, 0b1);
        assert_eq!(queue.take(START, lane), None);
        assert_eq!(state(&queue), (State::Scheduled, 0b1, 0b1));
        // Nor when the clock goes back by a day, and on again.
        let before = START.plus_millis(10 * DAY);
        let mut queue = self::queue(false);
        queue.doubt(ID, 0, 0b1);
        queue.advance(before);
        let lane = insert(&mut queue, START, 0b1);
        queue.advance(START);
        queue.advance(START.plus_millis(DAY));
        assert_eq!(queue.take(START.plus_millis(DAY), lane), None);
        assert_eq!(state(&queue), (State::Scheduled, 0b1, 0b1));
    }

    #[test]
    fn with_another_policy_it_is_recalled_and_tried() {
        let mut queue = queue(false);
        queue.doubt(ID, 0, 0b1);
        let lane = insert(&mut queue, START, 0b1);
        let settings = Settings::default();
        queue.reconfigure(settings);
        let parcel = queue.recall(START, ID, 0).expect("it waits for nothing");
        assert_eq!(parcel.bits, 0b1);
        assert_eq!(queue.recall(START, ID, 0), None, "it is held already");
        queue.give_back(START, parcel.entry);
        assert_eq!(queue.take(START, lane).map(|parcel| parcel.bits), Some(0b1));
    }

    #[test]
    fn what_is_due_when_the_policy_changes_is_held() {
        let mut queue = queue(true);
        queue.doubt(ID, 0, 0b1);
        let lane = insert(&mut queue, START, 0b1);
        queue.reconfigure(Settings {
            tries_doubts: false,
            ..Settings::default()
        });
        assert_eq!(queue.take(START, lane), None);
        assert_eq!(state(&queue), (State::Scheduled, 0b1, 0b1));
    }

    #[test]
    fn what_is_due_when_the_policy_changes_is_recalled() {
        let mut queue = queue(true);
        queue.doubt(ID, 0, 0b1);
        let lane = insert(&mut queue, START, 0b11);
        assert_eq!(queue.recall(START, ID, 0), None, "it is tried anyway");
        queue.reconfigure(Settings {
            tries_doubts: false,
            ..Settings::default()
        });
        let parcel = queue.recall(START, ID, 0).expect("it stands in line");
        assert_eq!(parcel.bits, 0b1);
        assert_eq!(
            queue.lane(lane).map(|lane| (lane.due, lane.held)),
            Some((0, 0))
        );
        let outcome = Outcome {
            delivered: 0b1,
            ..Outcome::default()
        };
        let verdict = queue.judge_in_doubt(START, parcel.entry, &outcome, 0b1, 0);
        assert_eq!(queue.settle(START, verdict), None);
        let parcel = queue.take(START, lane).expect("the other one is due");
        assert_eq!(parcel.bits, 0b10);
    }

    #[test]
    fn settled_out_of_the_wheel() {
        let mut queue = queue(false);
        queue.doubt(ID, 0, 0b1);
        insert(&mut queue, START, 0b1);
        let parcel = queue.recall(START, ID, 0).expect("it waits for nothing");
        let outcome = Outcome {
            delivered: 0b1,
            ..Outcome::default()
        };
        let verdict = queue.judge_in_doubt(START, parcel.entry, &outcome, 0b1, 0);
        assert_eq!((verdict.delivered, verdict.open), (0b1, 0));
        assert!(queue.settle(START, verdict).is_some());
        assert_eq!(queue.doubts().count(), 0);
    }
}
