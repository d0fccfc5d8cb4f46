//! How entries move between the wheel, their destination's line and their lane's ring.
//!
//! An entry stands in its destination's line; the destination stands in its lane's ring while its line
//! is not empty and its lane is known. So fairness between destinations is the ring's turning, and
//! nothing is ever copied from a waiting queue into a ready one.

use super::slab::{Key, NONE};
use super::state::Stage;
use super::{Done, Queue};
use crate::message::Timestamp;

impl Queue {
    /// Held, or out of the wheel → due.
    pub(super) fn arrive(&mut self, now: Timestamp, entry: u32, ahead: bool) {
        let destination = self.entries.entry(entry).destination();
        let this = self.destinations.get_mut(destination);
        self.entries.join(entry, &mut this.line, ahead);
        if this.in_ring {
            let lane = this.lane;
            self.lanes.slab[lane].due += 1;
            self.lanes.flag(lane, now, &self.settings);
        } else if this.lane != NONE && now.unix_millis() < this.until {
            self.enter_ring(now, destination);
        } else if now.unix_millis() >= this.rests_until {
            self.ask(destination);
        }
    }

    /// Asks the caller to resolve the destination, once.
    pub(super) fn ask(&mut self, destination: u32) {
        let this = self.destinations.get_mut(destination);
        if !this.resolving {
            this.resolving = true;
            self.questions
                .push_back(self.destinations.slab.key(destination));
        }
    }

    /// A destination with a line and a lane takes its place in the ring.
    pub(super) fn enter_ring(&mut self, now: Timestamp, destination: u32) {
        let this = self.destinations.get_mut(destination);
        debug_assert!(!this.in_ring && !this.line.is_empty());
        this.in_ring = true;
        let (lane, due) = (this.lane, this.line.len());
        let ring = &mut self.lanes.slab[lane].ring;
        ring.push_back(&mut self.destinations.slab, destination);
        self.lanes.slab[lane].due += due;
        self.lanes.flag(lane, now, &self.settings);
    }

    /// A destination leaves its ring, its line stays as it is.
    pub(super) fn leave_ring(&mut self, destination: u32) {
        let this = self.destinations.get_mut(destination);
        if std::mem::take(&mut this.in_ring) {
            let lane = &mut self.lanes.slab[this.lane];
            lane.due -= this.line.len();
            lane.ring.remove(&mut self.destinations.slab, destination);
        }
    }

    /// One entry has left the line of this destination.
    fn line_is_shorter(&mut self, destination: u32) {
        let this = self.destinations.get(destination);
        if this.in_ring {
            self.lanes.slab[this.lane].due -= 1;
            if this.line.is_empty() {
                self.leave_ring(destination);
            }
        }
    }

    /// The first entry of the lane's first destination, due → held; the next destination's turn is
    /// next.
    pub(super) fn take_from(&mut self, now: Timestamp, lane: u32) -> Option<u32> {
        let destination = self.lanes.slab[lane].ring.head()?;
        let this = self.destinations.get_mut(destination);
        let entry = self.entries.take(&mut this.line, lane)?;
        if now.unix_millis() >= this.until {
            // Its mail goes on to where it went, until there is a new answer.
            self.ask(destination);
        }
        self.lanes.slab[lane].held += 1;
        self.line_is_shorter(destination);
        self.turn(lane, destination);
        Some(entry)
    }

    /// An entry is taken out of its destination's line, wherever it stands there, due → held through no lane.
    pub(super) fn leave_line(&mut self, entry: u32) {
        let destination = self.entries.entry(entry).destination();
        let line = &mut self.destinations.get_mut(destination).line;
        self.entries.leave(entry, line);
        self.line_is_shorter(destination);
    }

    /// If the destination is still in the ring it goes to its end.
    fn turn(&mut self, lane: u32, destination: u32) {
        if self.destinations.get(destination).in_ring {
            let ring = &mut self.lanes.slab[lane].ring;
            ring.remove(&mut self.destinations.slab, destination);
            ring.push_back(&mut self.destinations.slab, destination);
        }
    }

    /// Up to `max_ready` due entries of the lane are postponed, its destinations in turn.
    pub(super) fn postpone_lane(&mut self, lane: u32, answer: &[u8]) {
        let mut last: Option<std::rc::Rc<[u8]>> = None;
        for _ in 0..self.settings.max_ready {
            let Some(destination) = self.lanes.slab[lane].ring.head() else {
                break;
            };
            let this = self.destinations.get_mut(destination);
            self.entries.fail(&mut this.line, true);
            let answer = last.get_or_insert_with(|| answer.into());
            this.answer = Some(answer.clone());
            self.line_is_shorter(destination);
            self.turn(lane, destination);
        }
    }

    /// All due entries of a destination outside any ring fail.
    pub(super) fn fail_line(&mut self, destination: u32, answer: &[u8]) {
        let this = self.destinations.get_mut(destination);
        debug_assert!(!this.in_ring);
        this.answer = Some(answer.into());
        while self.entries.fail(&mut this.line, false).is_some() {}
        self.destinations.rest_no_more(destination);
    }

    /// Up to `max_ready` due entries of a destination outside any ring are postponed; where there are more,
    /// those keep their attempt, and the destination rests.
    pub(super) fn postpone_line(&mut self, now: Timestamp, destination: u32, answer: &[u8]) {
        let this = self.destinations.get_mut(destination);
        debug_assert!(!this.in_ring);
        this.answer = Some(answer.into());
        for _ in 0..self.settings.max_ready {
            if self.entries.fail(&mut this.line, true).is_none() {
                break;
            }
        }
        if this.line.is_empty() {
            self.destinations.rest_no_more(destination);
        } else {
            self.destinations.rest(destination, now, &self.settings);
        }
    }

    /// The destination leads to this lane now (`NONE`: to none).
    pub(super) fn lead(&mut self, destination: u32, lane: u32) {
        let old = self.destinations.get(destination).lane;
        if old != lane {
            self.leave_ring(destination);
            self.destinations.get_mut(destination).lane = lane;
        }
        if old != NONE {
            // `lane` counts this destination already: also when it is the same as before.
            self.lanes.slab[old].destinations -= 1;
            self.lanes.release(old);
        }
    }

    /// The message has expired: so have its entries, whatever they wait for.
    pub(super) fn expire(&mut self, message: u32) {
        let mut entry = self.entries.entries_of(message).next();
        while let Some(this) = entry {
            entry = self.entries.sibling(this);
            let was_due = self.entries.entry(this).stage() == Stage::Due;
            let destination = self.entries.entry(this).destination();
            let line = &mut self.destinations.get_mut(destination).line;
            self.entries.expire(this, line);
            if was_due {
                self.line_is_shorter(destination);
            }
        }
    }

    /// Held → wherever it belongs: expired meanwhile, due, or scheduled.
    pub(super) fn put_down(&mut self, now: Timestamp, entry: u32, ahead: bool) {
        if self.entries.expire_held(entry) {
            return;
        }
        if self.is_parked(entry) {
            self.entries.park(entry);
        } else if ahead || self.entries.entry(entry).next_attempt() <= now {
            self.arrive(now, entry, ahead);
        } else {
            self.entries.schedule(entry);
        }
    }

    /// The entry is no longer held through its lane, which may have nothing else to live for.
    pub(super) fn let_go(&mut self, entry: u32) -> Option<Key> {
        let lane = self.entries.entry(entry).lane()?;
        self.lanes.slab[lane].held -= 1;
        Some(self.lanes.slab.key(lane))
    }

    /// Held → gone.
    pub(super) fn remove(&mut self, entry: u32) -> Option<Done> {
        let destination = self.entries.entry(entry).destination();
        let done = self.entries.remove(entry);
        let idle_max = self.settings.idle_destinations_max;
        if let Some(gone) = self.destinations.remove(destination, idle_max)
            && gone.lane != NONE
        {
            self.lanes.slab[gone.lane].destinations -= 1;
            self.lanes.release(gone.lane);
        }
        done.map(|message| Done {
            id: message.id,
            place: message.place,
        })
    }
}
