//! A naive twin of the queue: plain lists, and a full scan for every question. Tests only.
//!
//! It says the same rules once more without wheel, slab, lists or counters. `check` runs both over the
//! same random steps and compares everything that can be seen, after each of them. What connections come
//! to is `lane`'s, and whether a verdict is right `verdict`'s.

mod check;
mod lane;
mod verdict;

use super::schedule::{interval_max, rest, rest_max};
use super::state::Stage;
use super::{Arrival, Group, Place, Settings, Verdict};
use crate::message::{Id, Timestamp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An order: later comers have larger ones, those ahead smaller ones; the second number orders what
/// came in the same moment, as the queue happens to.
type Stamp = (i64, usize);

#[derive(Debug, Clone)]
struct Entry {
    id: Id,
    first: u16,
    open: u128,
    from: u32,
    attempt: u16,
    next: u64,
    note: Option<Place>,
    stage: Stage,
    stamp: Stamp,
    destination: String,
    /// Held through this lane.
    lane: Option<String>,
    answer: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Message {
    accepted: u64,
    expires: u64,
    expired: bool,
    place: Place,
}

#[derive(Debug)]
struct Destination {
    incarnation: u64,
    lane: Option<String>,
    until: u64,
    asked: bool,
    ring: Option<Stamp>,
    /// When its rest ends (0: it does not rest), and when that was decided.
    rests: (u64, i64),
    failures: u32,
    idle: Option<i64>,
    answer: Vec<u8>,
}

#[derive(Debug, Default)]
struct Lane {
    limit: u32,
    open: u32,
    opening: u32,
    window: u32,
    failures: u32,
    unheard: u32,
    was_fruitless: bool,
    postponed: bool,
    rests_until: u64,
    suspended_until: u64,
}

#[derive(Debug)]
struct Twin {
    settings: Settings,
    now: u64,
    tick: i64,
    entries: Vec<Entry>,
    messages: BTreeMap<Id, Message>,
    destinations: BTreeMap<String, Destination>,
    lanes: BTreeMap<String, Lane>,
    questions: VecDeque<(String, u64)>,
    gone: Vec<String>,
    /// Lanes the caller has to hear of.
    flagged: BTreeSet<String>,
}

fn ms(timestamp: Timestamp) -> u64 {
    timestamp.unix_millis()
}

impl Twin {
    fn new(settings: Settings, now: u64) -> Self {
        Self {
            settings,
            now,
            tick: 0,
            entries: Vec::new(),
            messages: BTreeMap::new(),
            destinations: BTreeMap::new(),
            lanes: BTreeMap::new(),
            questions: VecDeque::new(),
            gone: Vec::new(),
            flagged: BTreeSet::new(),
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.tick += 1;
        (self.tick, 0)
    }

    fn interval_max(&self, attempt: u16) -> u64 {
        interval_max(&self.settings.curve, attempt)
    }

    fn observe(&mut self, now: u64) -> u64 {
        if now + 5000 < self.now {
            self.now = now;
            for message in self.messages.values_mut() {
                if message.accepted > now {
                    message.expires = now + (message.expires - message.accepted);
                    message.accepted = now;
                }
            }
            for at in 0..self.entries.len() {
                let next_max = now + self.interval_max(self.entries[at].attempt);
                self.entries[at].next = self.entries[at].next.min(next_max);
            }
            for destination in self.destinations.values_mut() {
                destination.until = destination.until.min(now);
            }
            let curve = self.settings.curve;
            let wait_max = now + rest_max(self.settings.suspension, curve.retry_interval);
            for destination in self.destinations.values_mut() {
                destination.rests.0 = destination.rests.0.min(wait_max);
            }
            for lane in self.lanes.values_mut() {
                lane.rests_until = lane.rests_until.min(wait_max);
                lane.suspended_until = lane.suspended_until.min(wait_max);
            }
        }
        now.max(self.now)
    }

    fn is_waiting(&self, lane: &str, now: u64) -> bool {
        let lane = &self.lanes[lane];
        now < lane.suspended_until || lane.open == 0 && now < lane.rests_until
    }

    fn due_of<'a>(&'a self, lane: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| {
            let destination = &self.destinations[&entry.destination];
            entry.stage == Stage::Due
                && destination.ring.is_some()
                && destination.lane.as_deref() == Some(lane)
        })
    }

    fn flag(&mut self, lane: &str, now: u64) {
        if !self.is_waiting(lane, now) {
            self.flagged.insert(lane.into());
        }
    }

    fn ask(&mut self, name: &str) {
        let destination = self.destinations.get_mut(name).expect("known");
        if !destination.asked {
            destination.asked = true;
            self.questions
                .push_back((name.into(), destination.incarnation));
        }
    }

    fn enter_ring(&mut self, now: u64, name: &str, stamp: Stamp) {
        let destination = self.destinations.get_mut(name).expect("known");
        destination.ring = Some(stamp);
        let lane = destination.lane.clone().expect("resolved");
        self.flag(&lane, now);
    }

    fn arrive(&mut self, now: u64, at: usize, ahead: bool, stamp: Stamp) {
        let entry = &mut self.entries[at];
        entry.stage = Stage::Due;
        entry.lane = None;
        entry.stamp = if ahead { (-stamp.0, 0) } else { stamp };
        let name = entry.destination.clone();
        let destination = &self.destinations[&name];
        if destination.ring.is_some() {
            let lane = destination.lane.clone().expect("in a ring");
            self.flag(&lane, now);
        } else if destination.lane.is_some() && now < destination.until {
            self.enter_ring(now, &name, stamp);
        } else if now >= destination.rests.0 {
            self.ask(&name);
        }
    }

    fn put_down(&mut self, now: u64, at: usize, ahead: bool) {
        let stamp = self.stamp();
        let entry = &mut self.entries[at];
        entry.lane = None;
        if self.messages[&entry.id].expired {
            entry.stage = Stage::Expired;
            entry.stamp = stamp;
        } else if ahead || entry.next <= now {
            self.arrive(now, at, ahead, stamp);
        } else {
            entry.stage = Stage::Scheduled;
        }
    }

    /// Destinations without a due entry leave their ring; lanes nobody needs end.
    fn tidy(&mut self) {
        for (name, destination) in &mut self.destinations {
            let is_due = |entry: &Entry| entry.stage == Stage::Due && entry.destination == *name;
            if !self.entries.iter().any(is_due) {
                destination.ring = None;
            }
        }
        let (destinations, entries) = (&self.destinations, &self.entries);
        self.lanes.retain(|key, lane| {
            let leads = destinations.values().any(|d| d.lane.as_ref() == Some(key));
            let holds = entries.iter().any(|entry| entry.lane.as_ref() == Some(key));
            let stays = leads || holds || lane.open > 0 || lane.opening > 0;
            if !stays {
                self.gone.push(key.clone());
                self.flagged.remove(key);
            }
            stays
        });
    }

    fn insert(&mut self, now: u64, arrival: &Arrival, groups: &[Group<'_>]) {
        let now = self.observe(now);
        let accepted = ms(arrival.accepted);
        let life = match arrival.expires {
            Some(expires) => ms(expires).saturating_sub(accepted),
            None => self.settings.max_age.as_millis() as u64,
        };
        for group in groups.iter().filter(|group| group.open != 0) {
            self.messages.entry(arrival.id).or_insert_with(|| Message {
                accepted: accepted.min(now),
                expires: accepted.min(now) + life,
                expired: false,
                place: arrival.place,
            });
            let destination = group.destination.to_ascii_lowercase();
            self.tick += 1;
            let incarnation = self.tick as u64;
            let known = self
                .destinations
                .entry(destination.clone())
                .or_insert_with(|| Destination {
                    incarnation,
                    lane: None,
                    until: 0,
                    asked: false,
                    ring: None,
                    rests: (0, 0),
                    failures: 0,
                    idle: None,
                    answer: Vec::new(),
                });
            known.idle = None;
            let next_max = now + self.interval_max(group.attempt);
            self.entries.push(Entry {
                id: arrival.id,
                first: group.first,
                open: group.open,
                from: 0,
                attempt: group.attempt,
                next: group.next.map_or(now, |next| ms(next).min(next_max)),
                note: group.note,
                stage: Stage::Held,
                stamp: (0, 0),
                destination,
                lane: None,
                answer: None,
            });
            self.put_down(now, self.entries.len() - 1, false);
        }
    }

    fn advance(&mut self, now: u64) {
        let now = self.observe(now);
        // What was too old when it came is as old as the moment it came in.
        let last_now = std::mem::replace(&mut self.now, now);
        let mut expired: Vec<_> = self.messages.iter_mut().collect();
        expired.retain(|(_, message)| !message.expired && message.expires <= now);
        expired.sort_by_key(|(_, message)| message.expires.max(last_now));
        let mut last = None;
        for (&id, message) in expired {
            message.expired = true;
            let expires = message.expires.max(last_now);
            if last.replace(expires) != Some(expires) {
                self.tick += 1;
            }
            for entry in self.entries.iter_mut().filter(|entry| entry.id == id) {
                match entry.stage {
                    Stage::Scheduled | Stage::Due => {
                        entry.stage = Stage::Expired;
                        entry.stamp = (self.tick, 0);
                    }
                    Stage::Postponed => entry.stage = Stage::Expired,
                    Stage::Expired | Stage::Failed | Stage::Held => {}
                }
            }
        }
        self.tidy();
        let mut due: Vec<(u64, usize)> = (0..self.entries.len())
            .map(|at| (self.entries[at].next, at))
            .filter(|&(next, at)| self.entries[at].stage == Stage::Scheduled && next <= now)
            .collect();
        due.sort_unstable();
        let (mut last, mut stamp) = (None, (0, 0));
        for (next, at) in due {
            if last.replace(next) != Some(next) {
                stamp = self.stamp();
            }
            self.arrive(now, at, false, stamp);
        }
        let mut rested: Vec<_> = self
            .destinations
            .iter_mut()
            .filter(|(_, destination)| (1..=now).contains(&destination.rests.0))
            .map(|(name, destination)| (std::mem::take(&mut destination.rests), name.clone()))
            .collect();
        rested.sort();
        for (_, name) in rested {
            let is_due = |entry: &Entry| entry.stage == Stage::Due && entry.destination == name;
            if self.entries.iter().any(is_due) {
                self.ask(&name);
            }
        }
    }

    /// The destination that has to be resolved next.
    fn pop_question(&mut self) -> Option<String> {
        while let Some((name, incarnation)) = self.questions.pop_front() {
            let is_due = |entry: &Entry| entry.stage == Stage::Due && entry.destination == name;
            let has_line = self.entries.iter().any(is_due);
            match self.destinations.get_mut(&name) {
                Some(known) if known.incarnation == incarnation && has_line => return Some(name),
                Some(known) if known.incarnation == incarnation => known.asked = false,
                _ => {}
            }
        }
        None
    }

    fn pop_ending(&mut self) -> Option<usize> {
        let is_ending = |stage| matches!(stage, Stage::Expired | Stage::Failed | Stage::Postponed);
        let at = (0..self.entries.len())
            .filter(|&at| is_ending(self.entries[at].stage))
            .min_by_key(|&at| self.entries[at].stamp)?;
        let entry = &mut self.entries[at];
        entry.answer = match entry.stage {
            Stage::Expired => None,
            _ => Some(self.destinations[&entry.destination].answer.clone()),
        };
        Some(at)
    }

    fn resolved(&mut self, now: u64, name: &str, lane: Option<(&str, u32, u64)>) {
        let now = self.observe(now);
        let destination = self.destinations.get_mut(name).expect("known");
        destination.asked = false;
        let Some((key, limit, until)) = lane else {
            destination.lane = None;
            destination.ring = None;
            return self.tidy();
        };
        if destination.lane.as_deref() != Some(key) {
            destination.ring = None;
        }
        destination.lane = Some(key.into());
        (destination.rests, destination.failures) = ((0, 0), 0);
        destination.until = until.max(now + 1000);
        let known = self.lanes.entry(key.into()).or_insert_with(|| Lane {
            window: 1,
            ..Lane::default()
        });
        known.limit = limit;
        let is_due = |entry: &Entry| entry.stage == Stage::Due && entry.destination == name;
        if self.destinations[name].ring.is_none() && self.entries.iter().any(is_due) {
            let stamp = self.stamp();
            self.enter_ring(now, name, stamp);
        }
        self.tidy();
    }

    /// The due entries of a destination end without an attempt: all when they fail, some when they are
    /// postponed.
    fn fail(&mut self, now: u64, name: &str, stage: Stage, answer: &[u8]) {
        let now = self.observe(now);
        self.destinations.get_mut(name).expect("known").answer = answer.into();
        let mut line: Vec<_> = (0..self.entries.len())
            .filter(|&at| self.entries[at].stage == Stage::Due)
            .filter(|&at| self.entries[at].destination == name)
            .collect();
        line.sort_by_key(|&at| self.entries[at].stamp);
        let count_max = match stage {
            Stage::Postponed => self.settings.max_ready as usize,
            _ => usize::MAX,
        };
        let is_too_much = line.len() > count_max;
        line.truncate(count_max);
        for at in line {
            self.entries[at].stamp = self.stamp();
            self.entries[at].stage = stage;
        }
        let (tick, _) = self.stamp();
        let settings = &self.settings;
        let destination = self.destinations.get_mut(name).expect("known");
        if is_too_much {
            destination.failures += 1;
            let (first, longest) = (settings.suspension, settings.curve.retry_interval);
            let rest = rest(first, longest, destination.failures, settings.seed);
            destination.rests = (now + rest, tick);
        } else {
            (destination.rests, destination.failures) = ((0, 0), 0);
        }
    }

    /// The entry whose turn it is in this lane; its destination goes to the end of the ring.
    fn turn(&mut self, lane: &str) -> Option<usize> {
        let name = self
            .destinations
            .iter()
            .filter(|(_, d)| d.ring.is_some() && d.lane.as_deref() == Some(lane))
            .min_by_key(|(_, d)| d.ring)
            .map(|(name, _)| name.clone())?;
        let stamp = self.stamp();
        self.destinations.get_mut(&name).expect("known").ring = Some(stamp);
        (0..self.entries.len())
            .filter(|&at| self.entries[at].stage == Stage::Due)
            .filter(|&at| self.entries[at].destination == name)
            .min_by_key(|&at| self.entries[at].stamp)
    }

    fn take(&mut self, now: u64, lane: &str) -> Option<usize> {
        let now = self.observe(now);
        if self.is_waiting(lane, now) {
            return None;
        }
        let at = self.turn(lane)?;
        let name = self.entries[at].destination.clone();
        if now >= self.destinations[&name].until {
            self.ask(&name);
        }
        self.entries[at].stage = Stage::Held;
        self.entries[at].lane = Some(lane.into());
        self.tidy();
        Some(at)
    }

    /// The recipients of the entry's next parcel.
    fn batch(&self, at: usize) -> u128 {
        let (entry, mut bits, mut count) = (&self.entries[at], 0, 0);
        for bit in entry.from..128 {
            if entry.open & 1 << bit != 0 && count < self.settings.max_recipients_per_batch {
                bits |= 1 << bit;
                count += 1;
            }
        }
        bits
    }

    /// Says whether the message is done.
    fn settle(&mut self, now: u64, at: usize, verdict: &Verdict, is_attempt: bool) -> bool {
        let now = self.observe(now);
        let lane = self.entries[at].lane.take();
        if let Some(lane) = lane.filter(|_| is_attempt) {
            let known = self.lanes.get_mut(&lane).expect("it holds an entry");
            if verdict.is_silent {
                known.was_fruitless = true;
            } else {
                known.failures = 0;
                known.unheard = 0;
                known.was_fruitless = false;
                if std::mem::take(&mut known.rests_until) != 0 {
                    self.flag(&lane, now);
                }
            }
        }
        if verdict.open != 0 {
            let next_max = now + self.interval_max(verdict.attempt);
            let entry = &mut self.entries[at];
            entry.open = verdict.open;
            entry.attempt = verdict.attempt;
            entry.next = ms(verdict.next).min(next_max);
            entry.from = u32::from(verdict.batch);
            self.put_down(now, at, verdict.batch != 0);
            self.tidy();
            return false;
        }
        let entry = self.entries.remove(at);
        let done = !self.entries.iter().any(|other| other.id == entry.id);
        if done {
            self.messages.remove(&entry.id);
        }
        if !self
            .entries
            .iter()
            .any(|other| other.destination == entry.destination)
        {
            let (idle, _) = self.stamp();
            let known = self
                .destinations
                .get_mut(&entry.destination)
                .expect("known");
            known.idle = Some(idle);
            known.ring = None;
            let idle: Vec<_> = self.destinations.values().filter_map(|d| d.idle).collect();
            if idle.len() > self.settings.idle_destinations_max as usize {
                let oldest = idle.iter().min().copied();
                self.destinations
                    .retain(|_, d| d.idle.is_none() || d.idle != oldest);
            }
        }
        self.tidy();
        done
    }

    fn give_back(&mut self, now: u64, at: usize) {
        let now = self.observe(now);
        let lane = self.entries[at].lane.as_ref().expect("it was taken");
        self.lanes
            .get_mut(lane)
            .expect("it holds an entry")
            .was_fruitless = true;
        self.put_down(now, at, true);
        self.tidy();
    }
}
