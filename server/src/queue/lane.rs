//! The lanes: which destinations share connections, and how many connections are wanted.
//!
//! A lane lives as long as a destination leads to it, an entry is held through it, or a connection is
//! open or being opened. It knows no hosts and no sockets.

use super::destination::{Ring, Seeded};
use super::schedule;
use super::slab::{Key, Slab, item};
use super::{LaneCounts, Settings, Wake};
use crate::message::Timestamp;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::rc::Rc;

/// After so many connections in a row over which nothing was ever said about a message, the peer is as
/// good as unreachable: it greets, and hangs up.
const FRUITLESS_MAX: u32 = 3;

/// No time to look at a lane.
const NEVER: u64 = u64::MAX;

/// Connections to one site from one source.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: Rc<str>,
    /// Its destinations with due entries, served in turn.
    pub(super) ring: Ring,
    /// Destinations that lead here, idle ones too.
    pub(super) destinations: u32,
    /// Entries in the lines of its ring.
    pub(super) due: u32,
    /// Entries taken through it.
    pub(super) held: u32,
    open: u32,
    opening: u32,
    connection_limit: u32,
    /// Connections that may be in the opening at once: one more after each success.
    window: u32,
    /// Failures without a word about a message between them; several at once count as one.
    failures: u32,
    /// Connections opened since the last word about a message.
    unheard: u32,
    /// A parcel came back untried, or without a word from the peer, since then.
    was_fruitless: bool,
    /// Entries were postponed for the present rest.
    postponed: bool,
    /// No connection is opened before this, since one failed.
    rests_until: u64,
    /// Nothing is taken before this, since the caller said so.
    suspended_until: u64,
    look_at: u64,
    flagged: bool,
    previous: u32,
    next: u32,
    generation: u32,
}
item!(Lane, 64);

impl Default for Lane {
    fn default() -> Self {
        Self {
            key: Rc::default(),
            ring: Ring::default(),
            destinations: 0,
            due: 0,
            held: 0,
            open: 0,
            opening: 0,
            connection_limit: 0,
            window: 1,
            failures: 0,
            unheard: 0,
            was_fruitless: false,
            postponed: false,
            rests_until: 0,
            suspended_until: 0,
            look_at: NEVER,
            flagged: false,
            previous: 0,
            next: 0,
            generation: 0,
        }
    }
}

impl Lane {
    /// Nothing is taken before this time.
    fn waits_until(&self) -> u64 {
        // With a connection open its entries flow, whatever became of another one.
        let rests_until = if self.open == 0 { self.rests_until } else { 0 };
        rests_until.max(self.suspended_until)
    }

    pub(super) fn waits(&self, now: Timestamp) -> bool {
        now.unix_millis() < self.waits_until()
    }

    /// Whether what is due may be on its way soon. A lane over whose connections the peer speaks of messages
    /// may have as much due as it likes.
    pub(super) fn is_ready(&self, now: Timestamp, settings: &Settings) -> bool {
        let flows = self.open > 0 && self.unheard == 0;
        flows || (!self.waits(now) && self.due <= settings.max_ready)
    }

    /// How many connections to open, when the first in line has waited since `oldest`.
    pub(super) fn wants(&self, now: Timestamp, oldest: Timestamp, settings: &Settings) -> u32 {
        let now_ms = now.unix_millis();
        if self.due == 0 || now_ms < self.rests_until || now_ms < self.suspended_until {
            return 0;
        }
        let present = self.open + self.opening;
        let by_load = self.due.div_ceil(settings.ready_per_connection.max(1));
        let is_late = now.millis_since(oldest) >= schedule::millis(settings.patience);
        let target = by_load.max(present + u32::from(is_late));
        target
            .min(self.connection_limit)
            .saturating_sub(present)
            .min(self.window.saturating_sub(self.opening))
    }

    /// Whether one of `idle` open connections should be woken.
    pub(super) fn wake(&self, idle: u32, settings: &Settings) -> Wake {
        if self.due == 0 || idle == 0 {
            return Wake::Nobody;
        }
        let at_work = self.open.saturating_sub(idle);
        if at_work == 0 || self.due > at_work.saturating_mul(settings.ready_per_connection) {
            Wake::Now
        } else {
            Wake::Soon
        }
    }

    pub(super) fn opening(&mut self) {
        self.opening += 1;
    }

    pub(super) fn opened(&mut self) {
        self.opening = self.opening.saturating_sub(1);
        self.open += 1;
        self.window = self.window.saturating_add(1);
        // What came back before the first of these connections says nothing of them.
        self.was_fruitless &= self.unheard > 0;
        self.unheard = self.unheard.saturating_add(1);
        self.rests_until = 0;
    }

    /// The peer has said something about a message: it is there. Says whether the lane rested.
    pub(super) fn heard(&mut self) -> bool {
        self.failures = 0;
        self.unheard = 0;
        self.was_fruitless = false;
        std::mem::take(&mut self.rests_until) != 0
    }

    /// A parcel comes back from a connection over which nothing was said of it.
    pub(super) fn was_fruitless(&mut self) {
        self.was_fruitless = true;
    }

    /// Says whether due entries are to be postponed.
    pub(super) fn open_failed(&mut self, now: Timestamp, settings: &Settings) -> bool {
        self.opening = self.opening.saturating_sub(1);
        self.fail(now, settings)
    }

    /// Says whether due entries are to be postponed.
    pub(super) fn closed(&mut self, now: Timestamp, settings: &Settings) -> bool {
        self.open = self.open.saturating_sub(1);
        self.was_fruitless && self.unheard >= FRUITLESS_MAX && self.fail(now, settings)
    }

    fn fail(&mut self, now: Timestamp, settings: &Settings) -> bool {
        self.window = 1;
        if now.unix_millis() >= self.rests_until {
            self.failures = self.failures.saturating_add(1);
            let rest = schedule::rest(
                settings.suspension,
                settings.curve.retry_interval,
                self.failures,
                settings.seed,
            );
            self.rests_until = now.plus_millis(rest).unix_millis();
            self.postponed = false;
        }
        // As long as there is another connection, or may be one, nothing is lost yet.
        let is_cut_off = self.open == 0 && self.opening == 0;
        is_cut_off && !std::mem::replace(&mut self.postponed, true)
    }

    pub(super) fn suspend(&mut self, until: Timestamp) {
        self.suspended_until = until.unix_millis();
    }

    pub(super) fn set_connection_limit(&mut self, connection_limit: u32) {
        self.connection_limit = connection_limit;
    }

    pub(super) fn counts(&self) -> LaneCounts {
        let until = self.waits_until();
        LaneCounts {
            due: self.due,
            held: self.held,
            open: self.open,
            opening: self.opening,
            connection_limit: self.connection_limit,
            failures: self.failures,
            suspended_until: (until > 0).then_some(Timestamp::from_unix_millis(until)),
        }
    }
}

/// All lanes of a shard.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) slab: Slab<Lane>,
    keys: HashMap<Rc<str>, u32, Seeded>,
    /// When to look at which; a lane's other times than its `look_at` mean nothing.
    looks: BinaryHeap<Reverse<(u64, Key)>>,
    flagged: VecDeque<Key>,
    gone: VecDeque<Key>,
}

impl Lanes {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            slab: Slab::new(),
            keys: HashMap::with_hasher(Seeded(seed)),
            looks: BinaryHeap::new(),
            flagged: VecDeque::new(),
            gone: VecDeque::new(),
        }
    }

    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.slab.find(key)
    }

    pub(super) fn find_name(&self, name: &str) -> Option<u32> {
        self.keys.get(name).copied()
    }

    /// One more destination leads to the lane of this name.
    pub(super) fn join(&mut self, name: &str) -> u32 {
        let lane = self.find_name(name).unwrap_or_else(|| {
            let key: Rc<str> = name.into();
            let lane = self.slab.insert(Lane {
                key: key.clone(),
                ..Lane::default()
            });
            self.keys.insert(key, lane);
            lane
        });
        self.slab[lane].destinations += 1;
        lane
    }

    /// Forgets the lane if nothing needs it any more. To be called after whatever takes from it.
    pub(super) fn release(&mut self, lane: u32) {
        let this = &self.slab[lane];
        if this.destinations == 0 && this.held == 0 && this.open == 0 && this.opening == 0 {
            self.gone.push_back(self.slab.key(lane));
            let this = self.slab.remove(lane);
            self.keys.remove(&this.key);
        }
    }

    /// As [`Self::release`], if the lane is still there.
    pub(super) fn release_key(&mut self, key: Key) {
        if let Some(lane) = self.find(key) {
            self.release(lane);
        }
    }

    /// The lane has something due: the caller hears of it, now or when it may be taken, and again as
    /// long as it is not.
    pub(super) fn flag(&mut self, lane: u32, now: Timestamp, settings: &Settings) {
        let key = self.slab.key(lane);
        let this = &mut self.slab[lane];
        let look_at = if this.waits(now) {
            this.waits_until()
        } else {
            if !this.flagged {
                this.flagged = true;
                self.flagged.push_back(key);
            }
            let patience = schedule::millis(settings.patience).max(1);
            now.plus_millis(patience).unix_millis()
        };
        if look_at < this.look_at {
            this.look_at = look_at;
            self.looks.push(Reverse((look_at, key)));
        }
    }

    /// Flags the lanes that it is time to look at.
    pub(super) fn advance(&mut self, now: Timestamp, settings: &Settings) {
        while let Some(&Reverse((at, key))) = self.looks.peek()
            && at <= now.unix_millis()
        {
            self.looks.pop();
            if let Some(lane) = self.find(key)
                && self.slab[lane].look_at == at
            {
                self.slab[lane].look_at = NEVER;
                if self.slab[lane].due > 0 {
                    self.flag(lane, now, settings);
                }
            }
        }
    }

    /// No lane is to be looked at before this time.
    pub(super) fn next(&self) -> Option<u64> {
        self.looks.peek().map(|&Reverse((at, _))| at)
    }

    pub(super) fn pop_gone(&mut self) -> Option<Key> {
        self.gone.pop_front()
    }

    /// A lane that was flagged and still has something to take.
    pub(super) fn pop_flagged(&mut self, now: Timestamp) -> Option<Key> {
        while let Some(key) = self.flagged.pop_front() {
            if let Some(lane) = self.find(key) {
                let this = &mut self.slab[lane];
                this.flagged = false;
                if this.due > 0 && !this.waits(now) {
                    return Some(key);
                }
            }
        }
        None
    }

    /// The clock went back: no lane waits longer than it would from now.
    pub(super) fn rewind(&mut self, now: Timestamp, settings: &Settings) {
        let rest_max = schedule::rest_max(settings.suspension, settings.curve.retry_interval);
        let wait_max = now.plus_millis(rest_max).unix_millis();
        self.looks.clear();
        let mut position = 0;
        while let Some(lane) = self.slab.at(position) {
            position += 1;
            let Some(lane) = lane else { continue };
            let this = &mut self.slab[lane];
            this.rests_until = this.rests_until.min(wait_max);
            this.suspended_until = this.suspended_until.min(wait_max);
            this.look_at = NEVER;
            if this.due > 0 {
                self.flag(lane, now, settings);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_795_508_041_000);

    fn settings() -> Settings {
        Settings::default()
    }

    fn lane(due: u32, open: u32, opening: u32, window: u32) -> Lane {
        Lane {
            due,
            open,
            opening,
            window,
            connection_limit: 10,
            ..Lane::default()
        }
    }

    #[test]
    fn connections_wanted() {
        for (due, open, opening, window, waited_ms, wanted) in [
            (0, 0, 0, 1, 0, 0),
            // Nothing there: one.
            (1, 0, 0, 1, 0, 1),
            (1000, 0, 0, 1, 0, 1),
            // One at a time, until the first success.
            (1000, 0, 1, 1, 900, 0),
            (1000, 1, 0, 2, 0, 2),
            (1000, 1, 1, 2, 0, 1),
            // Four for each connection are no reason for another one, unless they wait too long.
            (4, 1, 0, 2, 249, 0),
            (4, 1, 0, 2, 250, 1),
            (5, 1, 0, 2, 0, 1),
            (9, 1, 0, 5, 0, 2),
            // The limit.
            (1000, 8, 0, 9, 900, 2),
            (1000, 10, 0, 9, 900, 0),
            (1000, 12, 0, 9, 900, 0),
        ] {
            let oldest = Timestamp::from_unix_millis(NOW.unix_millis() - waited_ms);
            let found = lane(due, open, opening, window).wants(NOW, oldest, &settings());
            assert_eq!(
                found, wanted,
                "{due} due, {open} open, {opening} opening, {waited_ms} ms"
            );
        }
    }

    #[test]
    fn a_failure_closes_the_window_and_lets_the_lane_rest() {
        let mut lane = lane(1000, 1, 2, 5);
        assert!(!lane.open_failed(NOW, &settings()), "another one is open");
        assert_eq!(lane.wants(NOW, NOW, &settings()), 0);
        assert!(!lane.waits(NOW), "the open one goes on");
        assert!(
            !lane.closed(NOW, &settings()),
            "another one is being opened"
        );
        assert!(lane.open_failed(NOW, &settings()));
        assert!(!lane.open_failed(NOW, &settings()), "once a rest");
        assert_eq!(lane.failures, 1, "all at once are one failure");
        assert!(lane.waits(NOW));
        let rested = NOW.plus_millis(60_000 * 9 / 8);
        assert!(!lane.waits(rested));
        assert_eq!(lane.wants(rested, rested, &settings()), 1);
        lane.opening();
        lane.opened();
        assert_eq!(
            (lane.failures, lane.window),
            (1, 2),
            "a greeting is not a word about a message"
        );
        lane.heard();
        assert_eq!(lane.failures, 0);
    }

    #[test]
    fn a_peer_that_greets_and_hangs_up_is_left_alone() {
        let mut lane = lane(1, 0, 0, 1);
        let connect = |lane: &mut Lane| {
            lane.opening();
            lane.opened();
            lane.was_fruitless();
            lane.closed(NOW, &settings())
        };
        assert!(!connect(&mut lane));
        assert!(!connect(&mut lane));
        assert!(!lane.waits(NOW));
        assert!(connect(&mut lane), "the third time");
        assert!(lane.waits(NOW));
        lane.heard();
        assert!(!connect(&mut lane));
    }

    #[test]
    fn a_connection_that_was_not_needed_is_no_failure() {
        let mut lane = lane(1, 0, 0, 1);
        for _ in 0..10 {
            lane.opening();
            lane.opened();
            assert!(!lane.closed(NOW, &settings()));
        }
        assert!(!lane.waits(NOW));
    }

    #[test]
    fn what_a_used_connection_gave_back_is_not_held_against_new_ones() {
        let mut lane = lane(1, 0, 0, 1);
        lane.opening();
        lane.opened();
        lane.heard();
        lane.was_fruitless();
        assert!(!lane.closed(NOW, &settings()));
        for _ in 0..10 {
            lane.opening();
            lane.opened();
            assert!(!lane.closed(NOW, &settings()));
        }
        assert!(!lane.waits(NOW));
    }

    #[test]
    fn each_failure_in_a_row_rests_twice_as_long() {
        let mut lane = lane(1, 0, 0, 1);
        let mut now = NOW;
        for minutes in [1, 2, 4, 8, 16, 20, 20] {
            lane.opening();
            assert!(lane.open_failed(now, &settings()));
            let rest = lane.rests_until - now.unix_millis();
            assert!(
                (minutes * 60_000..=minutes * 67_500).contains(&rest),
                "{rest}"
            );
            now = now.plus_millis(rest);
        }
    }
}
