//! One shard's world: everything that its sessions, its queue and its connections share.
//!
//! `Rc` and `Cell` on purpose: nothing here leaves the shard. The rooms beside this one give the world
//! its abilities: `intake` for accept, `outbound` for deliver, `settle` for what comes of it,
//! `letters` for what arrives from outside.

use super::descriptors::Descriptors;
use super::homes::Homes;
use super::intake::now;
use super::letters::Letter;
use super::memory::{Claimant, Memory, Reservation};
use super::notes::Notes;
use super::outbound::LaneWork;
use crate::config::{self, Config, DeliveryTls, DoubtJournal, DoubtPolicy};
use crate::deliver::{self, Loaded};
use crate::events::log::Journal;
use crate::message::{Id, IdSource, Timestamp};
use crate::queue::{self, Effect, LaneId, Queue, Verdict};
use crate::spool::{Spool, recover};
use mailrail_protocol::client;
use mailrail_runtime::dns::{self, Resolver};
use mailrail_runtime::gate::Gate;
use mailrail_runtime::mailbox::Mesh;
use mailrail_runtime::signal::Notify;
use mailrail_runtime::tls::Connector;
use mailrail_runtime::{clock, shard, timer};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// The longest the queue's clock is left alone: a jump of the wall clock is noticed within it.
const TICK_MICROS_MAX: u64 = 1_000_000;
/// How often events are handed to their writer.
const JOURNAL_MICROS: u64 = 50_000;
/// Verdicts of the queue's own (too old, nowhere to go) that are being carried out at once.
const SENTENCE_COUNT_MAX: u32 = 64;
/// So many outcomes and reports that wait for room on the disk pause delivery: each keeps a message in
/// memory.
const STUCK_COUNT_MAX: u32 = 64;
/// The pause between looks at what is kept in memory for lanes that rest: up to thousands of messages.
const FORGET_MICROS: u64 = 1_000_000;
/// How often the oldest segment is looked at.
const CLEAN_MICROS: u64 = 200_000;

/// What a shard has done, for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages accepted.
    pub accepted: u64,
    /// Commands and messages refused.
    pub rejected: u64,
    /// Recipients delivered.
    pub delivered: u64,
    /// Attempts that failed for now, by recipient.
    pub deferred: u64,
    /// Recipients failed or expired.
    pub bounced: u64,
    /// Bytes of content accepted.
    pub content_carried: u64,
    /// Bytes of content moved in memory on their way to the disk.
    pub content_copied: u64,
    /// Messages in the queue.
    pub waiting: u64,
    /// Connections that peers have open.
    pub sessions: u64,
}

impl Counts {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.delivered += other.delivered;
        self.deferred += other.deferred;
        self.bounced += other.bounced;
        self.content_carried += other.content_carried;
        self.content_copied += other.content_copied;
        self.waiting += other.waiting;
        self.sessions += other.sessions;
    }
}

/// Ids are numbers with a counter in their low bits: they are their own hash.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Contents = HashMap<Id, Loaded, BuildHasherDefault<IdHasher>>;

/// A message on its way to a connection or a verdict.
#[derive(Debug)]
pub(super) enum Seat {
    /// It is in memory.
    Taken(Loaded),
    /// There is room for it.
    Free(Reservation),
}

/// A counter of the shard's own.
#[derive(Debug, Default)]
pub(super) struct Tally(Cell<Counts>);

impl Tally {
    pub(super) fn update(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.0.get();
        change(&mut counts);
        self.0.set(counts);
    }

    pub(super) fn get(&self) -> Counts {
        self.0.get()
    }
}

/// What all rooms of a shard share.
pub(super) struct World {
    pub(super) index: usize,
    pub(super) count: usize,
    pub(super) config: RefCell<Rc<Config>>,
    pub(super) delivery: RefCell<Rc<deliver::Settings>>,
    pub(super) spool: Spool,
    /// Payloads up to this length are copied once more by the log.
    pub(super) copy_max: usize,
    pub(super) queue: RefCell<Queue>,
    /// Messages whose content is still in memory.
    pub(super) contents: RefCell<Contents>,
    pub(super) lanes: RefCell<BTreeMap<LaneId, Rc<LaneWork>>>,
    pub(super) resolver: RefCell<Resolver>,
    pub(super) journal: RefCell<Journal>,
    pub(super) ids: RefCell<IdSource>,
    pub(super) counts: Tally,
    pub(super) sentence_count: Cell<u32>,
    /// Outcomes and reports that wait for room on the disk.
    pub(super) stuck_count: Rc<Cell<u32>>,
    /// Notes of what is settled that are not durable yet.
    pub(super) notes: Notes,
    /// Room for what is read back.
    pub(super) memory: Rc<Memory>,
    /// A page of the queue is being read.
    pub(super) is_listing: Cell<bool>,
    /// Content that may be kept in memory from its commit to its first attempt.
    pub(super) contents_max: u64,
    /// Waiting messages that the queue may hold, in bytes of its own.
    pub(super) queue_bytes_max: u64,
    /// A lane has begun to rest: what is kept in memory for it goes at this time (in `clock::micros`).
    pub(super) forget_at: Cell<Option<u64>>,
    /// Content in memory at all.
    pub(super) memory_max: u64,
    /// Closed when the server stops: no more sessions, no more parcels.
    pub(super) gate: Gate,
    /// Passed by whatever must be finished before the logs close.
    pub(super) work: Gate,
    pub(super) stop_at: Rc<Cell<u64>>,
    /// The queue's clock has to be looked at before its time,
    pub(super) wake: Notify,
    /// which is this.
    pub(super) tick_at: Cell<Timestamp>,
    pub(super) stop_wanted: Notify,
    /// Connections that may be open.
    pub(super) descriptors: Descriptors,
    pub(super) mesh: Mesh<Letter>,
    pub(super) homes: RefCell<Homes>,
    pub(super) me: std::rc::Weak<Self>,
}

impl World {
    /// Does what the queue asks for.
    pub(super) fn pump(&self) {
        loop {
            let effect = self.queue.borrow_mut().pop_cheap_effect(now());
            match effect {
                None => match self.next_sentence() {
                    None => break,
                    Some((verdict, seat)) => self.sentence(verdict, seat),
                },
                Some(Effect::Resolve(destination)) => self.resolve(destination),
                Some(Effect::Lane(lane)) => self.serve_lane(lane),
                Some(Effect::LaneGone(lane)) => {
                    self.lanes.borrow_mut().remove(&lane);
                }
                Some(Effect::Verdict(_)) => unreachable!("a verdict is no cheap effect"),
            }
        }
        let next = self.queue.borrow().next_due();
        if next.is_some_and(|next| next < self.tick_at.get()) {
            self.wake.notify_one();
        }
    }

    /// The next verdict of the queue's own, with its message or room for it: the rest of them wait their
    /// turn.
    fn next_sentence(&self) -> Option<(Verdict, Seat)> {
        if !self.may_pass_sentence() {
            return None;
        }
        let message = self.queue.borrow().peek_verdict()?;
        let seat = self.seat(Claimant::Verdict, &message)?;
        let verdict = self.queue.borrow_mut().pop_verdict(now())?;
        Some((verdict, seat))
    }

    fn may_pass_sentence(&self) -> bool {
        self.sentence_count.get() < SENTENCE_COUNT_MAX
            && self.queue.borrow().peek_verdict().is_some()
    }

    /// A message that is still in memory, or room for it; `None`: there is none now.
    pub(super) fn seat(&self, claimant: Claimant, message: &queue::Message) -> Option<Seat> {
        if let Some(loaded) = self.contents.borrow().get(&message.id) {
            return Some(Seat::Taken(loaded.clone()));
        }
        let room = self
            .memory
            .reserve(claimant, message.place.len, clock::coarse_micros())?;
        Some(Seat::Free(room))
    }

    /// Room in memory has come back: who has waited longest is served.
    pub(super) async fn share_memory(self: Rc<Self>) {
        loop {
            self.memory.freed.notified().await;
            self.serve_first_in_line();
        }
    }

    /// Waits for work, or until another lane needs the connection more; says whether that is so.
    pub(super) async fn rest(&self, work: &Notify) -> bool {
        let mut work = pin!(work.notified());
        let mut wanted = pin!(self.descriptors.wanted());
        // Work first: a connection that has some does not rest.
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => wanted.as_mut().poll(context).map(|()| true),
        })
        .await
    }

    /// Connections have ended: lanes that could not open one are served, longest first.
    pub(super) async fn share_descriptors(self: Rc<Self>) {
        loop {
            let lane = self.descriptors.next_in_line().await;
            self.serve_lane(lane);
        }
    }

    fn serve_first_in_line(&self) {
        for claimant in self.memory.first_in_line(clock::coarse_micros()) {
            match claimant {
                Claimant::Verdict if self.may_pass_sentence() => self.pump(),
                Claimant::Lane(lane) if self.queue.borrow_mut().peek(now(), lane).is_some() => {
                    self.serve_lane(lane);
                }
                _ => self.memory.leave(claimant),
            }
        }
    }

    /// A lane rests. Many may, one after the other: they are seen to together.
    pub(super) fn lane_rests(&self) {
        if self.forget_at.get().is_none() {
            self.forget_at.set(Some(clock::coarse_after(FORGET_MICROS)));
        }
    }

    /// What waits for a lane that rests keeps its place in the queue, and its content on the disk alone.
    fn forget_contents(&self) {
        let at = self.forget_at.get();
        if at.is_some_and(|at| at <= clock::coarse_micros()) {
            self.forget_at.set(None);
            let (now, queue) = (now(), self.queue.borrow());
            self.contents
                .borrow_mut()
                .retain(|id, _| queue.is_ready(now, *id));
        }
    }

    /// Whether delivery has to wait: for the log of events, or for room to note what came of it. Nobody is
    /// woken when that ends, but the queue names a lane with due entries again and again.
    pub(super) fn is_behind(&self) -> bool {
        self.stuck_count.get() >= STUCK_COUNT_MAX || self.journal.borrow().is_full()
    }

    pub(super) fn rc(&self) -> Rc<Self> {
        self.me.upgrade().expect("a world in use is owned")
    }

    /// The queue's clock.
    pub(super) async fn tick(self: Rc<Self>) {
        loop {
            // It asks for its next time itself.
            self.tick_at.set(Timestamp::from_unix_millis(0));
            self.queue.borrow_mut().advance(now());
            self.pump();
            self.forget_contents();
            self.serve_first_in_line();
            self.look_after_homes();
            let (next, now) = (self.queue.borrow().next_due(), now());
            let wait = next.map_or(TICK_MICROS_MAX, |next| {
                (next.millis_since(now) * 1000).clamp(1000, TICK_MICROS_MAX)
            });
            self.tick_at.set(now.plus_millis(wait / 1000));
            let _ = timer::until(clock::after(wait), self.wake.notified()).await;
        }
    }

    /// Events leave in batches.
    pub(super) async fn hand_over_events(self: Rc<Self>) {
        loop {
            timer::sleep(JOURNAL_MICROS).await;
            self.journal.borrow_mut().flush();
        }
    }

    /// Empties and frees the oldest segments.
    pub(super) async fn keep_house(self: Rc<Self>) {
        loop {
            timer::sleep(CLEAN_MICROS).await;
            self.spool.retire().await;
            while let Some((log, segment)) = self.spool.clean().await {
                if !self.empty(log, segment).await {
                    break;
                }
            }
        }
    }

    /// Takes over another configuration.
    pub(super) fn reconfigure(&self, config: Config) {
        self.queue
            .borrow_mut()
            .reconfigure(settings(&config, self.index));
        *self.delivery.borrow_mut() = Rc::new(delivery(&config));
        let old = self.config.borrow().dns.clone();
        if old != config.dns {
            *self.resolver.borrow_mut() = Resolver::new(resolver(&config));
        }
        *self.config.borrow_mut() = Rc::new(config);
        self.decide_doubts();
    }

    /// In the middle of what a session or connection needs: the shard stays until it is done.
    pub(super) fn spawn_work(&self, work: impl Future<Output = ()> + 'static) {
        let pass = self.work.enter();
        shard::spawn(shard::Lane::Deliver, async move {
            work.await;
            drop(pass);
        })
        .detach();
    }
}

/// What the configuration means for the queue of a shard.
pub(super) fn settings(config: &Config, index: usize) -> queue::Settings {
    queue::Settings {
        curve: queue::schedule::Curve {
            retry_interval: config.queue.retry_interval,
            max_retry_interval: config.queue.max_retry_interval,
        },
        max_age: config.queue.max_age,
        max_ready: config.queue.max_ready,
        max_recipients_per_batch: config.delivery.max_recipients_per_batch,
        // A site that cannot be reached waits no longer than a message would.
        suspension: config.queue.retry_interval.min(Duration::from_secs(60)),
        tries_doubts: config.delivery.in_doubt_policy == DoubtPolicy::Retry,
        seed: clock::unix_millis() ^ (index as u64) << 48,
        ..queue::Settings::default()
    }
}

/// What the configuration means for connections.
pub(super) fn delivery(config: &Config) -> deliver::Settings {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let from = &config.delivery;
    let mut protocol = client::Config::new(&from.ehlo_domain);
    protocol.timeouts.greeting = from.banner_timeout;
    protocol.timeouts.ehlo = from.ehlo_timeout;
    protocol.timeouts.mail = from.mail_from_timeout;
    protocol.timeouts.recipient = from.rcpt_to_timeout;
    protocol.timeouts.data = from.data_timeout;
    protocol.timeouts.data_dot = from.data_dot_timeout;
    deliver::Settings {
        protocol,
        message_count_max: from.max_deliveries_per_connection,
        connect_micros: micros(from.connect_timeout),
        write_micros: micros(from.data_timeout),
        idle_micros: micros(from.idle_timeout),
        records_doubt: from.in_doubt == DoubtJournal::Record,
        prohibited_hosts: from.prohibited_hosts.clone(),
        source_address: from.source_address,
        security: security(from),
    }
}

/// What the configuration asks of TLS. Without what it needs, nothing that requires it is sent.
fn security(from: &config::Delivery) -> deliver::Security {
    let (connector, is_required) = match from.enable_tls {
        DeliveryTls::Disabled => (None, false),
        DeliveryTls::Opportunistic => (Some(Connector::opportunistic()), false),
        DeliveryTls::RequiredInsecure => (Some(Connector::opportunistic()), true),
        DeliveryTls::Required => (from.roots.get().map(Connector::verified), true),
    };
    let connector = connector.transpose().unwrap_or_else(|error| {
        tracing::error!(%error, "no connection can be encrypted");
        None
    });
    deliver::Security::new(connector, is_required)
}

/// What the configuration means for the resolver.
pub(super) fn resolver(config: &Config) -> dns::Options {
    let mut options = dns::Options::with_servers(config.dns.servers.clone());
    options.timeout = config.dns.timeout;
    options
}

/// Where a record lies, in the spool's words.
pub(super) fn spool_place(id: Id, place: queue::Place) -> recover::Place {
    recover::Place {
        log: id.log(),
        segment: place.segment,
        offset: place.offset,
        len: place.len,
    }
}

/// Where a record lies, in the queue's words.
pub(super) fn queue_place(place: recover::Place) -> queue::Place {
    queue::Place {
        segment: place.segment,
        offset: place.offset,
        len: place.len,
    }
}
