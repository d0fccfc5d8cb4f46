//! Lanes with so few connections that one shard leads them all: their limit is exact because nobody
//! else opens any.
//!
//! A parcel for such a lane travels to the lane's home as a loan of the message's bytes, and its outcome
//! travels back; the message, its notes and its events stay with the shard that accepted it. A shard
//! lends at most [`AWAY_MAX`] parcels to another at once, so there is room for every outcome in the
//! ring that brings it back, and no one ever waits for a full mailbox.

use super::doubt::Asked;
use super::intake::now;
use super::letters::Letter;
use super::memory::Reservation;
use super::outbound::{LaneWork, Parcel, Way};
use super::world::World;
use crate::deliver::{self, Bits, Loaded, Report, Source, Unreachable};
use crate::message::Timestamp;
use crate::queue::{self, EntryId, LaneId};
use mailrail_runtime::buffer::{self, Loan, Receipt};
use mailrail_runtime::clock;
use mailrail_runtime::gate::Pass;
use mailrail_runtime::log::Payload;
use mailrail_runtime::shard::{self, Lane};
use mailrail_runtime::signal::Notify;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Parcels that one shard has lent to another at once.
pub(super) const AWAY_MAX: usize = 256;
/// Letters that a ring between two shards holds.
pub(crate) const RING_LEN: usize = 1024;
const _: () = assert!(
    4 * AWAY_MAX <= RING_LEN,
    "a ring holds the parcels of one side and the outcomes of the other, with a question and its answer each"
);

/// The pause after a home that does not take letters.
const CLOSED_MILLIS: u64 = 1000;

/// The pause before a further connection is tried where one failed while others were open.
const REST_MICROS: u64 = 60_000_000;

/// A parcel on its way to the home of its lane.
#[derive(Debug)]
pub struct Away {
    from: usize,
    ticket: usize,
    key: Box<str>,
    way: Way,
    connection_limit: u32,
    recipients: Bits,
    expires: Timestamp,
    message: Loan,
}

/// What became of a parcel that was away.
#[derive(Debug)]
pub enum Return {
    /// It was tried.
    Tried(Report),
    /// No host of the lane could be reached: the status, and why.
    Unreachable(String),
    /// It was not tried.
    Untouched,
}

/// A parcel that is away, as its own shard remembers it.
#[derive(Debug)]
struct Lent {
    parcel: Parcel,
    lane: LaneId,
    home: usize,
    receipt: Receipt,
    _pass: Option<Pass>,
}

/// What a shard has lent, and what it leads for others. Lives as long as the shard.
#[derive(Debug, Default)]
pub(super) struct Homes {
    lent: Vec<Option<Lent>>,
    free: Vec<usize>,
    /// Parcels away, by home.
    away: BTreeMap<usize, usize>,
    /// Lanes that found their home's ring as full as it may be, by home.
    hungry: BTreeMap<usize, VecDeque<LaneId>>,
    /// Memory that a reader elsewhere had not let go of when the outcome came.
    returning: Vec<(Receipt, Option<Rc<Reservation>>)>,
    led: BTreeMap<Box<str>, Rc<Led>>,
    /// Parcels led here whose end waits for a note at home.
    pub(super) asked: Asked,
}

/// A lane led here.
#[derive(Debug)]
struct Led {
    way: RefCell<Way>,
    connection_limit: Cell<u32>,
    waiting: RefCell<VecDeque<Away>>,
    connection_count: Cell<u32>,
    /// No further connection beside others is tried before this time, since one failed.
    rests_until: Cell<u64>,
    idle_count: Cell<u32>,
    notify: Notify,
}

impl World {
    /// Sends a lane's due parcels to its home, as many as may be away.
    pub(super) fn forward(&self, lane: LaneId, work: &Rc<LaneWork>, home: usize) {
        loop {
            if self.gate.is_closed() {
                return;
            }
            {
                let mut homes = self.homes.borrow_mut();
                let away = homes.away.entry(home).or_default();
                if *away >= AWAY_MAX {
                    let hungry = homes.hungry.entry(home).or_default();
                    if !hungry.contains(&lane) {
                        hungry.push_back(lane);
                    }
                    return;
                }
                *away += 1;
            }
            let Some(parcel) = self.take(lane) else {
                self.is_back(home);
                return;
            };
            let (world, work) = (self.rc(), Rc::clone(work));
            // Most are still in memory, and then this ends at its first step.
            self.spawn_work(async move { world.send_away(parcel, lane, &work, home).await });
        }
    }

    async fn send_away(&self, parcel: Parcel, lane: LaneId, work: &LaneWork, home: usize) {
        let loaded = match self.load_parcel(&parcel).await {
            Ok(loaded) => loaded,
            Err(reason) => {
                self.is_back(home);
                let answer = super::outbound::local_failure(&reason);
                let report = Report::all(parcel.parcel.bits, answer);
                return self.settle(parcel, report);
            }
        };
        let (message, receipt) = buffer::lend(loaded.chunks());
        let recipients = Bits {
            first: parcel.parcel.first,
            bits: parcel.parcel.bits,
        };
        let (entry, expires) = (parcel.parcel.entry, parcel.parcel.expires);
        let lent = Lent {
            parcel,
            lane,
            home,
            receipt,
            _pass: self.work.enter(),
        };
        let ticket = self.homes.borrow_mut().keep(lent);
        let key = self.queue.borrow().lane_key(lane).into();
        let away = Away {
            from: self.index,
            ticket,
            key,
            way: work.way(),
            connection_limit: work.connection_limit(),
            recipients,
            expires,
            message,
        };
        if let Err(letter) = self.mesh.post(home, Letter::Parcel(Box::new(away))) {
            drop(letter);
            let until = now().plus_millis(CLOSED_MILLIS);
            self.queue.borrow_mut().suspend(now(), lane, until);
            self.homes.borrow_mut().take_back(ticket);
            self.untouched(entry);
            self.is_back(home);
        }
    }

    fn untouched(&self, entry: EntryId) {
        self.queue.borrow_mut().give_back(now(), entry);
        self.pump();
    }

    fn is_back(&self, home: usize) {
        if let Some(count) = self.homes.borrow_mut().away.get_mut(&home) {
            *count = count.saturating_sub(1);
        }
    }

    /// An outcome has come home.
    pub(super) fn returned(&self, ticket: usize, what: Return) {
        let Some(lent) = self.homes.borrow_mut().take_back(ticket) else {
            return;
        };
        self.is_back(lent.home);
        let room = lent.parcel.room.clone();
        match what {
            Return::Tried(report) => self.settle(lent.parcel, report),
            Return::Untouched => {
                let parcel = &lent.parcel;
                self.resolve_doubt(&parcel.parcel, parcel.loaded.get());
                self.untouched(parcel.parcel.entry);
            }
            Return::Unreachable(reason) => {
                let parcel = &lent.parcel;
                self.resolve_doubt(&parcel.parcel, parcel.loaded.get());
                let answer = format!("421 {reason}");
                {
                    let mut queue = self.queue.borrow_mut();
                    queue.give_back(now(), lent.parcel.parcel.entry);
                    queue.open_failed(now(), lent.lane, answer.as_bytes());
                }
                self.lane_rests();
                self.pump();
            }
        }
        self.homes.borrow_mut().returning.push((lent.receipt, room));
        self.take_in();
        // Whoever found no room comes first; a lane with more than fits stands behind the others again.
        loop {
            let next = self.homes.borrow_mut().next_hungry(lent.home);
            let Some(lane) = next else { break };
            self.serve_lane(lane);
        }
        self.serve_lane(lent.lane);
    }

    /// Memory that its readers elsewhere have let go of.
    fn take_in(&self) {
        let mut homes = self.homes.borrow_mut();
        homes
            .returning
            .retain_mut(|(receipt, _)| !receipt.is_returned());
    }

    /// What no letter tells of: memory let go of elsewhere, and parcels that became too old while they
    /// waited here for a connection.
    pub(super) fn look_after_homes(&self) {
        self.take_in();
        let (now, mut old) = (now(), Vec::new());
        for led in self.homes.borrow().led.values() {
            let mut waiting = led.waiting.borrow_mut();
            for _ in 0..waiting.len() {
                match waiting.pop_front() {
                    Some(away) if away.expires <= now => old.push(away),
                    Some(away) => waiting.push_back(away),
                    None => break,
                }
            }
        }
        for away in old {
            self.send_back(away, Return::Untouched);
        }
    }

    /// A parcel for a lane that lives here.
    pub(super) fn lead(&self, away: Away) {
        if self.gate.is_closed() {
            return self.send_back(away, Return::Untouched);
        }
        let led = {
            let mut homes = self.homes.borrow_mut();
            let led = homes.led.entry(away.key.clone()).or_insert_with(|| {
                Rc::new(Led {
                    way: RefCell::new(away.way.clone()),
                    connection_limit: Cell::new(away.connection_limit),
                    waiting: RefCell::default(),
                    connection_count: Cell::new(0),
                    rests_until: Cell::new(0),
                    idle_count: Cell::new(0),
                    notify: Notify::new(),
                })
            });
            Rc::clone(led)
        };
        led.connection_limit.set(away.connection_limit);
        *led.way.borrow_mut() = away.way.clone();
        led.waiting.borrow_mut().push_back(away);
        led.notify.notify_one();
        self.connect_led(&led);
    }

    fn connect_led(&self, led: &Rc<Led>) {
        let waiting = led.waiting.borrow().len();
        let count = led.connection_count.get();
        let is_enough = count >= led.connection_limit.get().max(1)
            || (count > 0 && clock::micros() < led.rests_until.get())
            || waiting <= led.idle_count.get() as usize;
        if is_enough {
            return;
        }
        let Some(pass) = self.work.enter() else {
            return;
        };
        let Some(held) = self.descriptors.delivery() else {
            if count == 0 {
                let full = "4.4.1 no further connection may be open here";
                self.send_all_back(led, || Return::Unreachable(full.to_owned()));
            }
            return;
        };
        led.connection_count.set(led.connection_count.get() + 1);
        let (world, led) = (self.rc(), Rc::clone(led));
        shard::spawn(Lane::Deliver, async move {
            world.run_led(&led).await;
            drop(held);
            led.connection_count.set(led.connection_count.get() - 1);
            if led.waiting.borrow().is_empty() {
                let mut homes = world.homes.borrow_mut();
                if led.connection_count.get() == 0 {
                    homes.led.retain(|_, other| !Rc::ptr_eq(other, &led));
                }
            } else {
                world.connect_led(&led);
            }
            drop(pass);
        })
        .detach();
    }

    async fn run_led(self: &Rc<Self>, led: &Rc<Led>) {
        let settings = Rc::clone(&self.delivery.borrow());
        let resolver = self.resolver.borrow().clone();
        let targets = led.way.borrow().targets(clock::micros());
        match Box::pin(deliver::connect(&targets, &resolver, &settings)).await {
            Ok(connected) => {
                let source = LedParcels {
                    world: Rc::clone(self),
                    led: Rc::clone(led),
                    is_leaving: Cell::new(false),
                };
                deliver::run(connected, &source, &settings).await;
                if self.gate.is_closed() {
                    self.send_all_back(led, || Return::Untouched);
                }
            }
            // With another connection open, or in the opening, nothing is lost yet.
            Err(_) if led.connection_count.get() > 1 => {
                led.rests_until.set(clock::after(REST_MICROS));
            }
            Err(Unreachable(reason)) => {
                self.send_all_back(led, || Return::Unreachable(reason.clone()));
            }
        }
    }

    fn send_all_back(&self, led: &Led, what: impl Fn() -> Return) {
        let waiting = std::mem::take(&mut *led.waiting.borrow_mut());
        for away in waiting {
            self.send_back(away, what());
        }
    }

    fn send_back(&self, away: Away, what: Return) {
        let (from, ticket) = (away.from, away.ticket);
        // The loan ends before its return is told.
        drop(away);
        let letter = Letter::Returned(ticket, Box::new(what));
        if self.mesh.post(from, letter).is_err() && !self.mesh.is_closed(from) {
            tracing::error!(shard = from, "a ring had no room for an outcome");
        }
    }

    /// The server stops: what waits here was not tried.
    pub(super) fn send_home(&self) {
        let led: Vec<_> = self.homes.borrow().led.values().cloned().collect();
        for led in led {
            led.notify.notify_all();
            self.send_all_back(&led, || Return::Untouched);
        }
    }
}

impl Homes {
    /// The lane that has waited longest for room at this home, if there is some.
    fn next_hungry(&mut self, home: usize) -> Option<LaneId> {
        let away = self.away.get(&home).copied().unwrap_or(0);
        if away >= AWAY_MAX {
            return None;
        }
        self.hungry.get_mut(&home)?.pop_front()
    }

    fn keep(&mut self, lent: Lent) -> usize {
        match self.free.pop() {
            Some(ticket) => {
                self.lent[ticket] = Some(lent);
                ticket
            }
            None => {
                self.lent.push(Some(lent));
                self.lent.len() - 1
            }
        }
    }

    /// A parcel that is away, and its message.
    pub(super) fn lent_parcel(&self, ticket: usize) -> Option<(queue::Parcel, Option<Loaded>)> {
        let parcel = &self.lent.get(ticket)?.as_ref()?.parcel;
        Some((parcel.parcel, parcel.loaded.get().cloned()))
    }

    fn take_back(&mut self, ticket: usize) -> Option<Lent> {
        let lent = self.lent.get_mut(ticket)?.take();
        if lent.is_some() {
            self.free.push(ticket);
        }
        lent
    }
}

/// The parcels of a lane that is led here, for one connection.
struct LedParcels {
    world: Rc<World>,
    led: Rc<Led>,
    /// Its descriptor is wanted for another lane.
    is_leaving: Cell<bool>,
}

impl Source for LedParcels {
    type Parcel = Away;

    fn take(&self) -> Option<Away> {
        self.led.waiting.borrow_mut().pop_front()
    }

    fn recipients(&self, parcel: &Away) -> Bits {
        parcel.recipients
    }

    async fn load(&self, parcel: &Away) -> Result<Loaded, String> {
        let payload = Payload::of_chunks(parcel.message.chunks());
        Loaded::new(payload, 0).map_err(|error| error.to_string())
    }

    async fn in_doubt(&self, parcel: &Away, bits: u128) -> Result<(), String> {
        let world = &self.world;
        world.ask_to_note(parcel.from, parcel.ticket, bits).await
    }

    fn settle(&self, parcel: Away, report: Report) {
        self.world.send_back(parcel, Return::Tried(report));
    }

    fn give_back(&self, parcel: Away) {
        self.led.waiting.borrow_mut().push_front(parcel);
    }

    async fn work(&self) {
        let _rest = Rest::new(&self.led.idle_count);
        self.is_leaving.set(self.world.rest(&self.led.notify).await);
    }

    fn is_stopping(&self) -> bool {
        self.is_leaving.get() || self.world.gate.is_closed()
    }
}

/// A connection that waits for work, until this is dropped.
pub(super) struct Rest<'c>(&'c Cell<u32>);

impl<'c> Rest<'c> {
    pub(super) fn new(count: &'c Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
