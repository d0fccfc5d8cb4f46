//! What the caller may do with the queue.

use super::destination::Destinations;
use super::doubt::Doubts;
use super::judge::Case;
use super::lane::Lanes;
use super::schedule::{self, interval_max};
use super::slab::{Key, NONE};
use super::state::{Entries, Stage};
use super::{
    Arrival, Cause, DestinationId, Done, Effect, EntryId, Group, LaneCounts, LaneId, Message,
    Outcome, Parcel, Place, Resolution, Settings, Verdict, Wake,
};
use crate::message::{Id, Timestamp};
use std::collections::VecDeque;

/// A clock that goes back by no more than this is waited for, in milliseconds; beyond it all times are
/// clamped.
const STANDSTILL_MAX: u64 = 5_000;

/// Entries and messages that one call of [`Queue::advance`] moves at most, each: about a millisecond.
const ADVANCE_MAX: usize = 4096;

/// What is recorded of messages whose peer greets and hangs up.
//= RFC 3463 section 3.5: X.4.2 bad connection
const FRUITLESS: &[u8] =
    b"421 4.4.2 the connection ended before anything was said about the message";

/// What was resolved holds at least so long, in milliseconds.
const RESOLUTION_MIN: u64 = 1_000;

/// One shard's waiting mail. Lives as long as the shard.
#[derive(Debug)]
pub struct Queue {
    pub(super) settings: Settings,
    pub(super) entries: Entries,
    pub(super) destinations: Destinations,
    pub(super) lanes: Lanes,
    /// Recipients in doubt.
    pub(super) doubts: Doubts,
    /// Destinations to be resolved.
    pub(super) questions: VecDeque<Key>,
    /// As of the last call of `advance`.
    now: Timestamp,
}

impl Queue {
    /// An empty queue.
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        Self {
            entries: Entries::new(now),
            destinations: Destinations::new(settings.seed),
            lanes: Lanes::new(settings.seed),
            doubts: Doubts::new(),
            questions: VecDeque::new(),
            settings,
            now,
        }
    }

    /// Takes new settings for all decisions from now on.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The time to decide by. Notices when the clock went back.
    fn observe(&mut self, now: Timestamp) -> Timestamp {
        if now.plus_millis(STANDSTILL_MAX) < self.now {
            self.now = now;
            let curve = self.settings.curve;
            self.entries
                .rewind(now, |attempt| interval_max(&curve, attempt));
            self.destinations.rewind(now, &self.settings);
            self.lanes.rewind(now, &self.settings);
        }
        now.max(self.now)
    }

    /// A committed message enters. Returns false when none of its groups is open: nothing was taken,
    /// the message is done.
    pub fn insert<'a>(
        &mut self,
        now: Timestamp,
        arrival: &Arrival,
        groups: impl IntoIterator<Item = Group<'a>>,
    ) -> bool {
        let now = self.observe(now);
        let life = match arrival.expires {
            Some(expires) => expires.millis_since(arrival.accepted),
            None => schedule::millis(self.settings.max_age),
        };
        // What was accepted in the future came before the clock went back.
        let accepted = arrival.accepted.min(now);
        let expires = accepted.plus_millis(life);
        let arrival = Arrival {
            accepted,
            ..*arrival
        };
        let (mut message, mut before) = (None, None);
        for group in groups {
            if group.open == 0 {
                continue;
            }
            let message =
                *message.get_or_insert_with(|| self.entries.insert_message(&arrival, expires));
            let next_max = now.plus_millis(interval_max(&self.settings.curve, group.attempt));
            let next = group.next.map_or(now, |next| next.min(next_max));
            let destination = self.destinations.add(group.destination);
            let entry = self
                .entries
                .insert_entry(message, before, destination, &group, next);
            before = Some(entry);
            self.put_down(now, entry, false);
        }
        message.is_some()
    }

    /// The clock goes on: what is due becomes due, what is too old expires. After a jump back all
    /// times are clamped. Does a bounded piece of work: call it again while [`Self::next_due`] has come.
    pub fn advance(&mut self, now: Timestamp) {
        let now = self.observe(now);
        self.now = now;
        for _ in 0..ADVANCE_MAX {
            match self.entries.pop_expired(now) {
                Some(message) => self.expire(message),
                None => break,
            }
        }
        for _ in 0..ADVANCE_MAX {
            match self.entries.pop_scheduled(now) {
                // Held since it was scheduled, or the clock went back.
                Some(entry) if self.is_parked(entry) => self.entries.park(entry),
                Some(entry) => self.arrive(now, entry, false),
                None => break,
            }
        }
        while let Some(destination) = self.destinations.pop_rested(now.unix_millis()) {
            if !self.destinations.get(destination).line.is_empty() {
                self.ask(destination);
            }
        }
        self.lanes.advance(now, &self.settings);
    }

    /// When to call [`Self::advance`] again at the latest; `None`: nothing waits for a time.
    pub fn next_due(&self) -> Option<Timestamp> {
        let entries = self.entries.next().unwrap_or(u64::MAX);
        let rests = self.destinations.next().unwrap_or(u64::MAX);
        let lanes = self.lanes.next().unwrap_or(u64::MAX);
        let next = lanes.min(entries).min(rests);
        (next != u64::MAX).then_some(Timestamp::from_unix_millis(next))
    }

    /// The next thing to do for the caller, cheap ones first. Verdicts are made as they are asked
    /// for: stop asking, and the rest waits.
    pub fn pop_effect(&mut self, now: Timestamp) -> Option<Effect> {
        self.pop_cheap_effect(now)
            .or_else(|| self.pop_verdict(now).map(Effect::Verdict))
    }

    /// As [`Self::pop_effect`], but leaves the verdicts where they are: for a caller that has enough of
    /// them in its hands.
    pub fn pop_cheap_effect(&mut self, now: Timestamp) -> Option<Effect> {
        let now = self.observe(now);
        while let Some(key) = self.questions.pop_front() {
            let Some(destination) = self.destinations.find(key) else {
                continue;
            };
            let this = self.destinations.get_mut(destination);
            if !this.line.is_empty() {
                return Some(Effect::Resolve(DestinationId(key)));
            }
            this.resolving = false;
        }
        if let Some(lane) = self.lanes.pop_gone() {
            return Some(Effect::LaneGone(LaneId(lane)));
        }
        let lane = self.lanes.pop_flagged(now)?;
        Some(Effect::Lane(LaneId(lane)))
    }

    /// Whose verdict [`Self::pop_verdict`] would make: the message and its record.
    pub fn peek_verdict(&self) -> Option<Message> {
        let entry = self.entries.peek_ending()?;
        let message = self.entries.entry(entry).message();
        Some(self.entries.shared(message).view())
    }

    /// The verdict on the next entry that expired, failed or was postponed while it waited.
    pub fn pop_verdict(&mut self, now: Timestamp) -> Option<Verdict> {
        let now = self.observe(now);
        let (entry, stage) = self.entries.pop_ending()?;
        let destination = self.entries.entry(entry).destination();
        let answer = self.destinations.get(destination).answer.clone();
        let answer = answer.map_or(Cause::Age, Cause::Answer);
        Some(self.case(now, entry).ended(stage, answer))
    }

    /// The answer to [`Effect::Resolve`]. Returns the lane, if there is one.
    pub fn resolved(
        &mut self,
        now: Timestamp,
        destination: DestinationId,
        resolution: Resolution<'_>,
    ) -> Option<LaneId> {
        let now = self.observe(now);
        let destination = self.destinations.find(destination.0)?;
        self.destinations.get_mut(destination).resolving = false;
        match resolution {
            Resolution::Lane {
                key,
                connection_limit,
                until,
            } => {
                let lane = self.lanes.join(key);
                self.lanes.slab[lane].set_connection_limit(connection_limit);
                self.lead(destination, lane);
                self.destinations.rest_no_more(destination);
                let this = self.destinations.get_mut(destination);
                this.until = until.max(now.plus_millis(RESOLUTION_MIN)).unix_millis();
                if !this.in_ring && !this.line.is_empty() {
                    self.enter_ring(now, destination);
                }
                Some(LaneId(self.lanes.slab.key(lane)))
            }
            Resolution::Deferred { answer } => {
                self.lead(destination, NONE);
                self.postpone_line(now, destination, answer);
                None
            }
            Resolution::Failed { answer } => {
                self.lead(destination, NONE);
                self.fail_line(destination, answer);
                None
            }
        }
    }

    /// A destination's name as it was inserted, in lower case; empty if it is gone.
    pub fn destination_name(&self, destination: DestinationId) -> &str {
        let destination = self.destinations.find(destination.0);
        destination.map_or("", |destination| &self.destinations.get(destination).name)
    }

    /// A lane's name; empty if it is gone.
    pub fn lane_key(&self, lane: LaneId) -> &str {
        let lane = self.lanes.find(lane.0);
        lane.map_or("", |lane| &self.lanes.slab[lane].key)
    }

    /// The lane of this name, if it exists.
    pub fn find_lane(&self, key: &str) -> Option<LaneId> {
        let lane = self.lanes.find_name(key)?;
        Some(LaneId(self.lanes.slab.key(lane)))
    }

    /// The message that [`Self::take`] would hand out a part of, so that there is room for it first.
    pub fn peek(&mut self, now: Timestamp, lane: LaneId) -> Option<Message> {
        let now = self.observe(now);
        let lane = self.lanes.find(lane.0)?;
        self.park_heads(now, lane);
        let lane = &self.lanes.slab[lane];
        if lane.waits(now) {
            return None;
        }
        let entry = self.destinations.get(lane.ring.head()?).line.head()?;
        let message = self.entries.entry(entry).message();
        Some(self.entries.shared(message).view())
    }

    /// Whether a part of the message is, or soon will be, on a connection: its lane does not rest, and is
    /// known to take mail or has no more than `max_ready` entries due. The rest waits for minutes at least,
    /// and is better kept on the disk alone.
    pub fn is_ready(&self, now: Timestamp, id: Id) -> bool {
        let now = now.max(self.now);
        let message = self.entries.find_message(id);
        let mut entries = message
            .into_iter()
            .flat_map(|message| self.entries.entries_of(message));
        entries.any(|entry| self.is_entry_ready(now, entry))
    }

    fn is_entry_ready(&self, now: Timestamp, entry: u32) -> bool {
        let entry = self.entries.entry(entry);
        match entry.stage() {
            Stage::Held => true,
            Stage::Due => {
                let destination = self.destinations.get(entry.destination());
                if destination.in_ring {
                    self.lanes.slab[destination.lane].is_ready(now, &self.settings)
                } else {
                    now.unix_millis() >= destination.rests_until
                        && destination.line.len() <= self.settings.max_ready
                }
            }
            _ => false,
        }
    }

    /// The next parcel for a connection of this lane, destinations in turn; `None` when nothing is due
    /// or the lane rests.
    pub fn take(&mut self, now: Timestamp, lane: LaneId) -> Option<Parcel> {
        let now = self.observe(now);
        let lane = self.lanes.find(lane.0)?;
        if self.lanes.slab[lane].waits(now) {
            return None;
        }
        self.park_heads(now, lane);
        let entry = self.take_from(now, lane)?;
        let bits = self.batch(entry);
        Some(self.parcel(entry, bits))
    }

    /// The slot of an entry the caller holds.
    fn held(&self, entry: EntryId) -> u32 {
        let entry = self.entries.find(entry.0);
        let entry = entry.expect("an entry is settled or given back once");
        assert!(
            self.entries.entry(entry).stage() == Stage::Held,
            "only what is held can be settled or given back"
        );
        entry
    }

    /// The parcel was not tried (the connection ended before): it is due again, ahead of the others.
    pub fn give_back(&mut self, now: Timestamp, entry: EntryId) {
        let now = self.observe(now);
        let entry = self.held(entry);
        let lane = self.let_go(entry);
        self.put_down(now, entry, true);
        if let Some(key) = lane
            && let Some(lane) = self.lanes.find(key)
        {
            self.lanes.slab[lane].was_fruitless();
            self.lanes.release(lane);
        }
    }

    /// What an outcome leads to. Changes nothing.
    pub fn judge(&mut self, now: Timestamp, entry: EntryId, outcome: &Outcome) -> Verdict {
        let now = self.observe(now);
        let entry = self.held(entry);
        let tried = outcome.delivered | outcome.failed | outcome.deferred;
        self.case(now, entry).attempted(outcome, tried, 0)
    }

    /// As [`Self::judge`] of a parcel with the recipients `tried`: of those that are deferred, `doubt` are in
    /// doubt, and nobody else of the parcel is any more.
    pub fn judge_in_doubt(
        &mut self,
        now: Timestamp,
        entry: EntryId,
        outcome: &Outcome,
        tried: u128,
        doubt: u128,
    ) -> Verdict {
        let now = self.observe(now);
        let entry = self.held(entry);
        let doubt = doubt & outcome.deferred;
        self.case(now, entry).attempted(outcome, tried, doubt)
    }

    fn case(&self, now: Timestamp, entry: u32) -> Case<'_> {
        let this = self.entries.entry(entry);
        Case {
            key: EntryId(self.entries.key(entry)),
            entry: this,
            message: self.entries.shared(this.message()).view(),
            destination: DestinationId(self.destinations.slab.key(this.destination())),
            now,
            settings: &self.settings,
            doubt: self.doubt_of(this),
        }
    }

    /// The verdict has been recorded. Returns the message if it is done.
    pub fn settle(&mut self, now: Timestamp, verdict: Verdict) -> Option<Done> {
        let now = self.observe(now);
        let entry = self.held(verdict.entry);
        let lane = self.let_go(entry);
        if let Some(lane) = lane.and_then(|lane| self.lanes.find(lane))
            && verdict.cause == Cause::Attempt
        {
            if verdict.is_silent {
                self.lanes.slab[lane].was_fruitless();
            } else if self.lanes.slab[lane].heard() {
                self.lanes.flag(lane, now, &self.settings);
            }
        }
        self.set_doubt(verdict.id, verdict.first, verdict.doubt);
        let done = if verdict.open == 0 {
            self.remove(entry)
        } else {
            let next_max = now.plus_millis(interval_max(&self.settings.curve, verdict.attempt));
            let next = verdict.next.min(next_max);
            self.entries
                .update(entry, verdict.open, verdict.attempt, next, verdict.batch);
            self.put_down(now, entry, verdict.batch != 0);
            None
        };
        if let Some(lane) = lane {
            self.lanes.release_key(lane);
        }
        done
    }

    /// The note of the entry's last deferral lies here now. A hint: its segment may be freed before the
    /// message's is, so whoever reads it checks whose it is. False if the entry is gone.
    pub fn noted(&mut self, entry: EntryId, note: Place) -> bool {
        let entry = self.entries.find(entry.0);
        if let Some(entry) = entry {
            self.entries.set_note(entry, note);
        }
        entry.is_some()
    }

    /// How many connections to open for the lane now.
    pub fn wants(&self, now: Timestamp, lane: LaneId) -> u32 {
        let now = now.max(self.now);
        let Some(lane) = self.lanes.find(lane.0) else {
            return 0;
        };
        let lane = &self.lanes.slab[lane];
        let oldest = lane.ring.head().and_then(|destination| {
            let entry = self.destinations.get(destination).line.head()?;
            Some(self.entries.entry(entry).next_attempt())
        });
        lane.wants(now, oldest.unwrap_or(now), &self.settings)
    }

    /// Whether one of the lane's `idle` open connections should be woken for what is due.
    pub fn wake(&self, lane: LaneId, idle: u32) -> Wake {
        self.lanes.find(lane.0).map_or(Wake::Nobody, |lane| {
            self.lanes.slab[lane].wake(idle, &self.settings)
        })
    }

    /// A connection is being opened: [`Self::opened`] or [`Self::open_failed`] follows.
    pub fn opening(&mut self, lane: LaneId) {
        if let Some(lane) = self.lanes.find(lane.0) {
            self.lanes.slab[lane].opening();
        }
    }

    /// It is open: the greeting was good. [`Self::closed`] follows.
    pub fn opened(&mut self, now: Timestamp, lane: LaneId) {
        let now = self.observe(now);
        if let Some(lane) = self.lanes.find(lane.0) {
            self.lanes.slab[lane].opened();
            self.look(now, lane);
        }
    }

    /// It could not be opened: no host of the lane took it. Without another connection the lane rests
    /// for a while, and up to `max_ready` due entries are postponed with this answer.
    pub fn open_failed(&mut self, now: Timestamp, lane: LaneId, answer: &[u8]) {
        let now = self.observe(now);
        let Some(lane) = self.lanes.find(lane.0) else {
            return;
        };
        if self.lanes.slab[lane].open_failed(now, &self.settings) {
            self.postpone_lane(lane, answer);
        }
        self.look(now, lane);
        self.lanes.release(lane);
    }

    /// An open connection has ended. What it held has been settled or given back. When several in a row
    /// end with parcels given back, or settled in silence, and nothing said, it is as if they could not be opened.
    pub fn closed(&mut self, now: Timestamp, lane: LaneId) {
        let now = self.observe(now);
        if let Some(lane) = self.lanes.find(lane.0) {
            if self.lanes.slab[lane].closed(now, &self.settings) {
                self.postpone_lane(lane, FRUITLESS);
            }
            self.look(now, lane);
            self.lanes.release(lane);
        }
    }

    /// Nothing is taken from the lane before `until`; [`Effect::Lane`] then.
    pub fn suspend(&mut self, now: Timestamp, lane: LaneId, until: Timestamp) {
        let now = self.observe(now);
        if let Some(lane) = self.lanes.find(lane.0) {
            self.lanes.slab[lane].suspend(until);
            self.look(now, lane);
        }
    }

    /// The lane's share of connections has changed.
    pub fn set_connection_limit(&mut self, now: Timestamp, lane: LaneId, connection_limit: u32) {
        let now = self.observe(now);
        if let Some(lane) = self.lanes.find(lane.0) {
            self.lanes.slab[lane].set_connection_limit(connection_limit);
            self.look(now, lane);
        }
    }

    /// Something changed that its due entries may have waited for.
    fn look(&mut self, now: Timestamp, lane: u32) {
        if self.lanes.slab[lane].due > 0 {
            self.lanes.flag(lane, now, &self.settings);
        }
    }

    /// The lane in figures; `None` if it is gone.
    pub fn lane(&self, lane: LaneId) -> Option<LaneCounts> {
        let lane = self.lanes.find(lane.0)?;
        Some(self.lanes.slab[lane].counts())
    }

    /// The log has written the message anew. False if it is not in the queue.
    pub fn moved(&mut self, id: Id, place: Place) -> bool {
        let message = self.entries.find_message(id);
        if let Some(message) = message {
            self.entries.set_place(message, place);
        }
        message.is_some()
    }
}
