//! What can be seen of the queue and its twin, side by side.
//!
//! It changes nothing but the twin's order of what came in the same moment. The steps are the parent's.

use super::Check;
use crate::queue::state::Stage;
use crate::queue::twin::{Destination, Entry, ms};
use crate::queue::{Counts, State};
use std::collections::BTreeMap;

impl Check {
    /// Everything that can be seen is the same on both sides.
    pub(super) fn compare(&mut self) {
        self.order();
        let mut rows = Vec::new();
        let mut cursor = None;
        loop {
            cursor = self.queue.list(cursor, 2, &mut |row| rows.push(row));
            if cursor.is_none() {
                break;
            }
        }
        rows.sort_by_key(|row| (row.message.id, row.first));
        let mut twins: Vec<_> = self.twin.entries.iter().collect();
        twins.sort_by_key(|entry| (entry.id, entry.first));
        assert_eq!(rows.len(), twins.len());
        let mut counts = Counts::default();
        for (row, twin) in rows.iter().zip(&twins) {
            let message = &self.twin.messages[&twin.id];
            assert_eq!((row.message.id, row.first), (twin.id, twin.first));
            assert_eq!((row.open, row.attempt), (twin.open, twin.attempt));
            assert_eq!((ms(row.next), row.note), (twin.next, twin.note));
            assert_eq!(row.destination, twin.destination);
            assert_eq!(row.message.place, message.place);
            assert_eq!(ms(row.message.accepted), message.accepted);
            assert_eq!(ms(row.message.expires), message.expires);
            let (state, count) = match twin.stage {
                Stage::Scheduled => (State::Scheduled, &mut counts.scheduled),
                Stage::Due => (State::Due, &mut counts.due),
                Stage::Held => (State::Held, &mut counts.held),
                _ => (State::Ending, &mut counts.ending),
            };
            assert_eq!(row.state, state, "{twin:?}");
            *count += 1;
            let account = &self.accounts[&(twin.id, twin.first)];
            assert_eq!(account.open, row.open, "nothing is lost");
        }
        counts.entries = rows.len() as u32;
        counts.messages = self.twin.messages.len() as u32;
        counts.destinations = self.twin.destinations.len() as u32;
        counts.lanes = self.twin.lanes.len() as u32;
        counts.bytes = self.queue.counts().bytes;
        assert_eq!(self.queue.counts(), counts);
        let held = self.parcels.len() + self.verdicts.len();
        assert_eq!(held, counts.held as usize, "nothing is twice in flight");
        if let Some((&id, _)) = self.twin.messages.iter().next() {
            assert_eq!(self.queue.get(id).map(|message| message.id), Some(id));
            let of_it = twins.iter().filter(|entry| entry.id == id).count();
            assert_eq!(self.queue.groups(id).count(), of_it);
        }
        self.compare_lanes();
        self.compare_times();
    }

    fn compare_lanes(&self) {
        for (&lane, key) in &self.lanes {
            let Some(counts) = self.queue.lane(lane) else {
                continue;
            };
            let twin = &self.twin.lanes[key];
            let due = self.twin.due_of(key).count() as u32;
            let holds = |entry: &&Entry| entry.lane.as_ref() == Some(key);
            let held = self.twin.entries.iter().filter(holds).count() as u32;
            assert_eq!((counts.due, counts.held), (due, held), "{key}");
            assert_eq!((counts.open, counts.opening), (twin.open, twin.opening));
            assert_eq!(counts.connection_limit, twin.limit);
            assert_eq!(counts.failures, twin.failures);
            let wanted = self.queue.wants(self.time(), lane);
            assert_eq!(wanted, self.twin.wants(self.now, key), "{key}");
            if due > 0 {
                // Somebody looks again, soon or when the lane may be used.
                let waits_until = twin.suspended_until.max(twin.rests_until);
                let next = self.queue.next_due().map_or(u64::MAX, ms);
                let now = self.now.max(self.twin.now);
                assert!(
                    next <= waits_until.max(now + 250),
                    "{key} would be forgotten"
                );
            }
        }
    }

    fn compare_times(&self) {
        let next = self.queue.next_due().map_or(u64::MAX, ms);
        for entry in &self.twin.entries {
            if entry.stage == Stage::Scheduled {
                assert!(
                    next <= entry.next.max(self.twin.now),
                    "an entry would be late"
                );
            }
        }
        for message in self
            .twin
            .messages
            .values()
            .filter(|message| !message.expired)
        {
            assert!(
                next <= message.expires.max(self.twin.now),
                "a message would not expire"
            );
        }
    }

    /// The twin takes over the order of what came in the same moment; all other orders have to agree.
    pub(super) fn order(&mut self) {
        let queue = &self.queue;
        let mut rings = BTreeMap::<_, Vec<String>>::new();
        let mut orders = vec![queue.entries.endings()];
        let mut position = 0;
        while let Some(found) = queue.destinations.slab.at(position) {
            position += 1;
            if let Some(found) = found {
                orders.push(queue.entries.line(&queue.destinations.get(found).line));
            }
        }
        for (&lane, key) in &self.lanes {
            if let Some(lane) = queue.lanes.find(lane.0) {
                let ring = queue.lanes.slab[lane].ring.slots(&queue.destinations.slab);
                let names = ring
                    .iter()
                    .map(|&d| queue.destinations.get(d).name.to_string());
                rings.insert(key.clone(), names.collect());
            }
        }
        let questions = queue
            .questions
            .iter()
            .filter_map(|&key| queue.destinations.find(key));
        let questions: Vec<_> = questions
            .map(|destination| queue.destinations.get(destination).name.to_string())
            .collect();
        let twin = &mut self.twin;
        let is_known = |(name, incarnation): &(String, u64)| {
            let known = twin.destinations.get(name);
            known.is_some_and(|known| known.incarnation == *incarnation)
        };
        twin.questions.retain(is_known);
        assert_eq!(twin.questions.len(), questions.len());
        let place = |(name, _): &(String, u64)| questions.iter().position(|one| one == name);
        assert!(
            twin.questions
                .iter()
                .all(|question| place(question).is_some())
        );
        twin.questions.make_contiguous().sort_by_key(place);
        for order in orders {
            let mut last = (i64::MIN, 0);
            for (index, &entry) in order.iter().enumerate() {
                let this = self.queue.entries.entry(entry);
                let id = self.queue.entries.shared(this.message()).view().id;
                let at = self.at(id, this.first());
                let stamp = &mut self.twin.entries[at].stamp;
                assert!(last.0 <= stamp.0, "first come, first served");
                *stamp = (stamp.0, index);
                last = *stamp;
            }
        }
        for (key, ring) in rings {
            let mut last = i64::MIN;
            for (index, name) in ring.iter().enumerate() {
                let destination = self.twin.destinations.get_mut(name).expect("known");
                assert_eq!(destination.lane.as_ref(), Some(&key));
                let stamp = destination.ring.as_mut().expect("in a ring");
                assert!(last <= stamp.0, "destinations take turns");
                last = stamp.0;
                stamp.1 = index;
            }
            let in_ring = |d: &&Destination| d.ring.is_some() && d.lane.as_ref() == Some(&key);
            assert_eq!(
                self.twin.destinations.values().filter(in_ring).count(),
                ring.len()
            );
        }
    }
}
