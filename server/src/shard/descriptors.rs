//! What a shard's share of the open files is for: some for its logs, some for deliveries, and for
//! sessions what is left. So no crowd of senders can keep accepted mail from being written or delivered.
//!
//! It opens nothing. Who wants to open a connection asks, and gives back what was held by dropping it. A
//! lane that was refused stands in line, and a connection that rests makes room for it.

use crate::queue::LaneId;
use mailrail_runtime::signal::Notify;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// Of the process: its standard streams, its lock, the log of events, signals, the admin socket.
const OWN: u64 = 32;
/// Of each shard: its executor, its own ring and readiness (nine together), its listeners, questions to the DNS.
const OWN_OF_SHARD: u64 = 20;
/// Kept from sessions at most: half for logs, half for deliveries.
const RESERVE_MAX: u64 = 512;

/// A shard's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Connections of both kinds together.
    connections: u32,
    /// Of them, deliveries that sessions leave room for.
    deliveries: u32,
}

impl Share {
    /// One of `shard_count` of a process that may have so many files open.
    pub(super) fn of(open_files: u64, shard_count: usize) -> Self {
        let shard_count = shard_count.max(1) as u64;
        let free = open_files.saturating_sub(OWN + OWN_OF_SHARD * shard_count);
        let reserve = (free / 2).min(RESERVE_MAX);
        let (logs, deliveries) = (reserve / 2, reserve - reserve / 2);
        let each = |count: u64| u32::try_from(count / shard_count).unwrap_or(u32::MAX);
        Self {
            // Even with too few of them something has to be possible.
            connections: each(free - logs).max(2),
            deliveries: each(deliveries).max(1),
        }
    }

    /// Sessions at most.
    pub(super) const fn sessions(self) -> u32 {
        self.connections - self.deliveries
    }
}

/// What is open of a shard's share. Lives as long as the shard.
#[derive(Debug)]
pub(super) struct Descriptors {
    share: Share,
    open: Rc<Open>,
}

#[derive(Debug, Default)]
struct Open {
    sessions: Cell<u32>,
    deliveries: Cell<u32>,
    /// Lanes that were refused, longest first.
    waiting: RefCell<VecDeque<LaneId>>,
    /// A connection has ended while somebody stands in line.
    freed: Notify,
    /// A connection that rests should end.
    wanted: Notify,
}

/// A connection that may be open for as long as this is held.
#[derive(Debug)]
pub(super) struct Held {
    open: Rc<Open>,
    count: fn(&Open) -> &Cell<u32>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let count = (self.count)(&self.open);
        count.set(count.get() - 1);
        if !self.open.waiting.borrow().is_empty() {
            self.open.freed.notify_one();
        }
    }
}

impl Descriptors {
    pub(super) fn new(share: Share) -> Self {
        Self {
            share,
            open: Rc::default(),
        }
    }

    /// For a session, unless what is left is kept for deliveries.
    pub(super) fn session(&self) -> Option<Held> {
        let kept = self.open.deliveries.get().max(self.share.deliveries);
        let open = self.open.sessions.get().saturating_add(kept);
        (open < self.share.connections).then(|| self.hold(|open| &open.sessions))
    }

    /// For a delivery: some always, more where sessions leave room. Who hears no has asked a connection
    /// that rests to end.
    pub(super) fn delivery(&self) -> Option<Held> {
        if !self.has_room() {
            self.open.wanted.notify_one();
            return None;
        }
        Some(self.hold(|open| &open.deliveries))
    }

    /// For a delivery of this lane, which stands in line when there is none.
    pub(super) fn delivery_of(&self, lane: LaneId) -> Option<Held> {
        let held = self.delivery();
        let mut waiting = self.open.waiting.borrow_mut();
        if held.is_none() && !waiting.contains(&lane) {
            waiting.push_back(lane);
        }
        held
    }

    /// Waits until there is room for the lane that stands first in line, and calls it out.
    pub(super) async fn next_in_line(&self) -> LaneId {
        loop {
            if self.has_room()
                && let Some(lane) = self.open.waiting.borrow_mut().pop_front()
            {
                return lane;
            }
            self.open.freed.notified().await;
        }
    }

    /// Waits until a connection that rests should end.
    pub(super) async fn wanted(&self) {
        self.open.wanted.notified().await;
    }

    fn has_room(&self) -> bool {
        let deliveries = self.open.deliveries.get();
        let open = self.open.sessions.get().saturating_add(deliveries);
        deliveries < self.share.deliveries || open < self.share.connections
    }

    fn hold(&self, count: fn(&Open) -> &Cell<u32>) -> Held {
        let counted = count(&self.open);
        counted.set(counted.get() + 1);
        Held {
            open: Rc::clone(&self.open),
            count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T>(ask: impl Fn() -> Option<T>) -> Vec<T> {
        std::iter::from_fn(ask).collect()
    }

    #[test]
    fn a_share_adds_up() {
        for open_files in [0, 10, 100, 256, 1024, 20_000, 1 << 20, u64::MAX] {
            for shard_count in [1, 2, 7, 64] {
                let share = Share::of(open_files, shard_count);
                let needed = OWN + OWN_OF_SHARD * shard_count as u64;
                assert!(share.sessions() > 0 && share.deliveries > 0, "{share:?}");
                let all = u64::from(share.connections) * shard_count as u64 + needed;
                let is_enough = open_files >= needed + 8 * shard_count as u64;
                assert!(!is_enough || all < open_files, "{open_files}: {share:?}");
            }
        }
        let usual = Share::of(1024, 2);
        assert_eq!((usual.connections, usual.deliveries), (357, 119));
    }

    #[test]
    fn sessions_leave_room_for_deliveries() {
        let descriptors = Descriptors::new(Share {
            connections: 10,
            deliveries: 3,
        });
        let sessions = all(|| descriptors.session());
        assert_eq!(sessions.len(), 7);
        let deliveries = all(|| descriptors.delivery());
        assert_eq!(deliveries.len(), 3);
        drop(sessions);
        assert_eq!(all(|| descriptors.session()).len(), 7);
    }

    #[test]
    fn deliveries_use_what_sessions_do_not() {
        let descriptors = Descriptors::new(Share {
            connections: 10,
            deliveries: 3,
        });
        let session = descriptors.session();
        let mut deliveries = all(|| descriptors.delivery());
        assert_eq!(deliveries.len(), 9);
        assert!(descriptors.session().is_none());
        deliveries.pop();
        assert!(descriptors.session().is_some());
        drop(session);
    }
}
