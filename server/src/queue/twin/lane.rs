//! The twin's lanes: how many connections they want, and what comes of them.
//!
//! Who is due through which lane is the parent's.

use super::{Stage, Twin};
use crate::queue::schedule::rest;

impl Twin {
    pub(super) fn wants(&self, now: u64, key: &str) -> u32 {
        let (now, lane) = (now.max(self.now), &self.lanes[key]);
        let due = self.due_of(key).count() as u32;
        if due == 0 || now < lane.rests_until || now < lane.suspended_until {
            return 0;
        }
        let rings = self.destinations.iter();
        let (name, _) = rings
            .filter(|(_, d)| d.ring.is_some() && d.lane.as_deref() == Some(key))
            .min_by_key(|(_, d)| d.ring)
            .expect("one is due");
        let first = self.due_of(key).filter(|entry| entry.destination == *name);
        let first = first.min_by_key(|entry| entry.stamp).expect("in the ring");
        let is_late = now.saturating_sub(first.next) >= self.settings.patience.as_millis() as u64;
        // Count up, as long as one more is worth it.
        let mut wanted = 0;
        loop {
            let present = lane.open + lane.opening + wanted;
            let worth =
                due > present * self.settings.ready_per_connection || is_late && wanted == 0;
            if !worth || present >= lane.limit || lane.opening + wanted >= lane.window {
                return wanted;
            }
            wanted += 1;
        }
    }

    pub(super) fn opened(&mut self, now: u64, key: &str) {
        let lane = self.lanes.get_mut(key).expect("it was being opened");
        lane.opening -= 1;
        lane.open += 1;
        lane.window += 1;
        lane.was_fruitless &= lane.unheard > 0;
        lane.unheard += 1;
        lane.rests_until = 0;
        self.look(now, key);
    }

    pub(super) fn open_failed(&mut self, now: u64, key: &str, answer: &[u8]) {
        self.lanes
            .get_mut(key)
            .expect("it was being opened")
            .opening -= 1;
        self.lane_failed(now, key, answer);
    }

    pub(super) fn closed(&mut self, now: u64, key: &str) {
        let lane = self.lanes.get_mut(key).expect("it was open");
        lane.open -= 1;
        if lane.was_fruitless && lane.unheard >= 3 {
            let answer =
                b"421 4.4.2 the connection ended before anything was said about the message";
            self.lane_failed(now, key, answer);
        } else {
            self.look(now, key);
            self.tidy();
        }
    }

    fn lane_failed(&mut self, now: u64, key: &str, answer: &[u8]) {
        let now = self.observe(now);
        let (first, longest) = (self.settings.suspension, self.settings.curve.retry_interval);
        let lane = self.lanes.get_mut(key).expect("known");
        lane.window = 1;
        if now >= lane.rests_until {
            lane.failures += 1;
            lane.rests_until = now + rest(first, longest, lane.failures, self.settings.seed);
            lane.postponed = false;
        }
        if lane.open == 0 && lane.opening == 0 && !lane.postponed {
            lane.postponed = true;
            for _ in 0..self.settings.max_ready {
                let Some(at) = self.turn(key) else { break };
                let destination = self.entries[at].destination.clone();
                let destination = self.destinations.get_mut(&destination).expect("known");
                destination.answer = answer.into();
                self.entries[at].stamp = self.stamp();
                self.entries[at].stage = Stage::Postponed;
                self.tidy();
            }
        }
        self.look(now, key);
        self.tidy();
    }

    /// Something changed that due entries may have waited for.
    pub(super) fn look(&mut self, now: u64, key: &str) {
        let now = self.observe(now);
        if self.lanes.contains_key(key) && self.due_of(key).next().is_some() {
            self.flag(key, now);
        }
    }
}
