//! Where mail goes: domains are resolved to lanes, lanes get connections, connections get parcels.

use super::homes::Rest;
use super::intake::now;
use super::memory::{Claimant, Reservation};
use super::world::{Seat, World, spool_place};
use crate::config::{self, Config};
use crate::deliver::{self, Bits, Loaded, OwnedAnswer, Report, Source, Target, Unreachable};
use crate::message::{Class, Id, Status};
use crate::queue::placement::{Placement, placement, share};
use crate::queue::site::{self, NoWay, Plan};
use crate::queue::{self, DestinationId, LaneId, Resolution, Wake};
use mailrail_protocol::address::{Domain, NoAsciiForm};
use mailrail_runtime::dns::{DnsError, Mx, Resolver};
use mailrail_runtime::signal::Notify;
use mailrail_runtime::{clock, shard, timer};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

/// How long due entries wait for a connection at work before an idle one is woken.
const SOON_MICROS: u64 = 3_000;
/// How long a resolution is used before the DNS (or its cache) is asked again.
const RESOLUTION_MILLIS: u64 = 60_000;

/// A lane's end on this shard. Lives from its first resolution until the queue says that it is gone.
#[derive(Debug)]
pub(super) struct LaneWork {
    /// A parcel may be due.
    pub(super) notify: Notify,
    way: RefCell<Way>,
    connection_limit: Cell<u32>,
    /// Connections that wait for a parcel.
    idle: Cell<u32>,
    /// Somebody looks in a moment whether what is due still waits.
    is_watched: Cell<bool>,
    /// The shard that leads the lane, where it is not spread over all.
    home: Option<usize>,
}

impl LaneWork {
    pub(super) fn way(&self) -> Way {
        self.way.borrow().clone()
    }

    pub(super) fn connection_limit(&self) -> u32 {
        self.connection_limit.get()
    }
}

/// Where a lane leads.
#[derive(Clone, Debug)]
pub(super) struct Way {
    plan: Plan,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Hosts found by MX, all on this port.
    Exchangers(u16),
    /// Hosts that the operator named.
    Route(Vec<config::Via>),
    /// An address literal.
    Literal(IpAddr, u16),
}

impl Way {
    /// The hosts of one attempt, in order.
    pub(super) fn targets(&self, seed: u64) -> Vec<Target> {
        match &self.kind {
            Kind::Exchangers(port) => self
                .plan
                .order(seed)
                .into_iter()
                .map(|name| Target {
                    host: deliver::Host::Name(name.to_owned()),
                    port: *port,
                    is_trusted: false,
                })
                .collect(),
            Kind::Route(via) => via
                .iter()
                .map(|via| Target {
                    host: match &via.host {
                        config::Host::Address(address) => deliver::Host::Address(*address),
                        config::Host::Name(name) => deliver::Host::Name(name.clone()),
                    },
                    port: via.port,
                    is_trusted: true,
                })
                .collect(),
            Kind::Literal(address, port) => vec![Target {
                host: deliver::Host::Address(*address),
                port: *port,
                is_trusted: false,
            }],
        }
    }
}

/// A destination as routes and the DNS name it; one that has no such form stays as it is, and will
/// not be found.
//= RFC 6531 section 3.7.1: a domain in UTF-8 is looked up by its A-labels
fn in_ascii(destination: &str) -> String {
    Domain::Name(destination)
        .to_ascii()
        .map_or_else(|NoAsciiForm| destination.to_owned(), Cow::into_owned)
}

/// What was found out about a domain.
enum Found {
    Lane { way: Way, connection_limit: u32 },
    Later(String),
    Never(String),
}

impl World {
    /// Finds out where a destination's mail goes.
    pub(super) fn resolve(&self, destination: DestinationId) {
        let world = self.rc();
        let domain = in_ascii(self.queue.borrow().destination_name(destination));
        let config = Rc::clone(&self.config.borrow());
        if let Some(route) = config.routes.find(domain.as_bytes()) {
            self.resolved(destination, by_route(route));
            return;
        }
        let resolver = self.resolver.borrow().clone();
        shard::spawn(shard::Lane::Deliver, async move {
            let found = by_domain(&domain, &config, &resolver).await;
            world.resolved(destination, found);
            world.pump();
        })
        .detach();
    }

    fn resolved(&self, destination: DestinationId, found: Found) {
        let now = now();
        let mut queue = self.queue.borrow_mut();
        let (way, connection_limit) = match found {
            Found::Later(answer) => {
                let resolution = Resolution::Deferred {
                    answer: answer.as_bytes(),
                };
                queue.resolved(now, destination, resolution);
                return;
            }
            Found::Never(answer) => {
                let resolution = Resolution::Failed {
                    answer: answer.as_bytes(),
                };
                queue.resolved(now, destination, resolution);
                return;
            }
            Found::Lane {
                way,
                connection_limit,
            } => (way, connection_limit),
        };
        let key = way.plan.site().to_owned();
        let (limit, home) = match placement(&key, connection_limit, self.count) {
            Placement::Home(home) => (connection_limit, Some(home)),
            Placement::Spread => {
                let share = share(&key, connection_limit, self.count, self.index);
                (share, None)
            }
        };
        let resolution = Resolution::Lane {
            key: &key,
            connection_limit: limit,
            until: now.plus_millis(RESOLUTION_MILLIS),
        };
        if let Some(lane) = queue.resolved(now, destination, resolution) {
            let mut lanes = self.lanes.borrow_mut();
            match lanes.get(&lane) {
                Some(work) if work.home == home => {
                    *work.way.borrow_mut() = way;
                    work.connection_limit.set(limit);
                }
                _ => {
                    let work = LaneWork {
                        notify: Notify::new(),
                        way: RefCell::new(way),
                        connection_limit: Cell::new(limit),
                        idle: Cell::new(0),
                        is_watched: Cell::new(false),
                        home,
                    };
                    lanes.insert(lane, Rc::new(work));
                }
            }
        }
    }

    /// A lane has due entries: an idle connection is woken, and more are opened where more are wanted.
    pub(super) fn serve_lane(&self, lane: LaneId) {
        let Some(work) = self.lanes.borrow().get(&lane).map(Rc::clone) else {
            return;
        };
        if self.gate.is_closed() || self.is_behind() {
            return;
        }
        if let Some(home) = work.home {
            return self.forward(lane, &work, home);
        }
        self.wake_idle(lane, &work);
        let wanted = self.queue.borrow().wants(now(), lane);
        for _ in 0..wanted {
            let Some(pass) = self.work.enter() else {
                return;
            };
            let Some(held) = self.descriptors.delivery_of(lane) else {
                return;
            };
            self.queue.borrow_mut().opening(lane);
            let (world, work) = (self.rc(), Rc::clone(&work));
            shard::spawn(shard::Lane::Deliver, async move {
                world.connect(lane, work).await;
                drop((held, pass));
            })
            .detach();
        }
    }

    fn wake_idle(&self, lane: LaneId, work: &Rc<LaneWork>) {
        match self.queue.borrow().wake(lane, work.idle.get()) {
            Wake::Nobody => {}
            Wake::Now => work.notify.notify_one(),
            Wake::Soon if work.is_watched.replace(true) => {}
            Wake::Soon => {
                let (world, work) = (self.rc(), Rc::clone(work));
                shard::spawn(shard::Lane::Deliver, async move {
                    timer::sleep(SOON_MICROS).await;
                    work.is_watched.set(false);
                    if world.queue.borrow().wake(lane, work.idle.get()) != Wake::Nobody {
                        work.notify.notify_one();
                    }
                })
                .detach();
            }
        }
    }

    async fn connect(self: Rc<Self>, lane: LaneId, work: Rc<LaneWork>) {
        let settings = Rc::clone(&self.delivery.borrow());
        let resolver = self.resolver.borrow().clone();
        let seed = clock::micros();
        let targets = work.way.borrow().targets(seed);
        let connected = Box::pin(deliver::connect(&targets, &resolver, &settings)).await;
        match connected {
            Ok(connected) => {
                self.queue.borrow_mut().opened(now(), lane);
                self.pump();
                let source = Parcels {
                    world: Rc::clone(&self),
                    lane,
                    work,
                    is_leaving: Cell::new(false),
                };
                deliver::run(connected, &source, &settings).await;
                self.queue.borrow_mut().closed(now(), lane);
            }
            Err(Unreachable(reason)) => {
                tracing::debug!(%reason, "no connection");
                let answer = format!("421 {reason}");
                self.queue
                    .borrow_mut()
                    .open_failed(now(), lane, answer.as_bytes());
                self.lane_rests();
            }
        }
        self.pump();
    }
}

fn by_route(route: &config::Route) -> Found {
    let names: Vec<String> = route.via.iter().map(ToString::to_string).collect();
    Found::Lane {
        way: Way {
            plan: site::smart_hosts(names.iter().map(String::as_str)),
            kind: Kind::Route(route.via.clone()),
        },
        connection_limit: route.connection_limit,
    }
}

async fn by_domain(domain: &str, config: &Config, resolver: &Resolver) -> Found {
    let port = config.delivery.port;
    let lane = |plan, kind| Found::Lane {
        way: Way { plan, kind },
        connection_limit: config.delivery.connection_limit,
    };
    if let Some(literal) = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let text = literal
            .get(..5)
            .filter(|tag| tag.eq_ignore_ascii_case("ipv6:"))
            .map_or(literal, |tag| &literal[tag.len()..]);
        return match text.parse::<IpAddr>() {
            Ok(address) => lane(site::smart_hosts([domain]), Kind::Literal(address, port)),
            //= RFC 5321 section 4.1.3: a general address literal may be of a kind that we cannot reach
            Err(_) => Found::Never("550 5.1.2 the address literal cannot be reached".into()),
        };
    }
    let plan = match resolver.mx(domain).await {
        Ok(Mx::Hosts(hosts)) => {
            let records = hosts
                .iter()
                .map(|host| (host.preference, host.host.as_str()));
            site::exchangers(records, &config.hostname)
        }
        //= RFC 7505 section 3: a null MX says that the domain takes no mail
        Ok(Mx::Null) => Err(NoWay::NullMx),
        //= RFC 5321 section 5.1: a domain without MX is its own host
        Ok(Mx::Implicit) => site::implicit(domain, &config.hostname),
        Ok(Mx::NoSuchDomain) => Err(NoWay::NoSuchDomain),
        Err(DnsError::BadName) => Err(NoWay::NoSuchDomain),
        Err(error) => return Found::Later(format!("451 4.4.3 {error}")),
    };
    match plan {
        Ok(plan) => lane(plan, Kind::Exchangers(port)),
        Err(no_way) => Found::Never(no_way.to_string()),
    }
}

/// A parcel on a connection, with its message once that was loaded.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) parcel: queue::Parcel,
    pub(super) loaded: OnceCell<Loaded>,
    /// Room for what is read back; whoever outlives the parcel with its bytes shares it.
    pub(super) room: Option<Rc<Reservation>>,
}

/// A lane's parcels, for one connection.
struct Parcels {
    world: Rc<World>,
    lane: LaneId,
    work: Rc<LaneWork>,
    /// Its descriptor is wanted for another lane.
    is_leaving: Cell<bool>,
}

impl Source for Parcels {
    type Parcel = Parcel;

    fn take(&self) -> Option<Parcel> {
        self.world.take(self.lane)
    }

    fn recipients(&self, parcel: &Parcel) -> Bits {
        Bits {
            first: parcel.parcel.first,
            bits: parcel.parcel.bits,
        }
    }

    async fn load(&self, parcel: &Parcel) -> Result<Loaded, String> {
        self.world.load_parcel(parcel).await
    }

    async fn in_doubt(&self, parcel: &Parcel, bits: u128) -> Result<(), String> {
        let message = parcel.loaded.get();
        self.world.note_doubt(&parcel.parcel, bits, message).await
    }

    fn settle(&self, parcel: Parcel, report: Report) {
        self.world.settle(parcel, report);
    }

    fn give_back(&self, parcel: Parcel) {
        self.world
            .resolve_doubt(&parcel.parcel, parcel.loaded.get());
        let mut queue = self.world.queue.borrow_mut();
        queue.give_back(now(), parcel.parcel.entry);
        drop(queue);
        self.world.pump();
    }

    async fn work(&self) {
        let _rest = Rest::new(&self.work.idle);
        self.is_leaving
            .set(self.world.rest(&self.work.notify).await);
    }

    fn is_stopping(&self) -> bool {
        self.is_leaving.get() || self.world.gate.is_closed()
    }
}

impl World {
    /// A lane's next parcel, unless what came of others is so far behind that delivery has to wait, or there
    /// is no room to read it back: then the lane stands in line for it.
    pub(super) fn take(&self, lane: LaneId) -> Option<Parcel> {
        if self.is_behind() {
            return None;
        }
        let message = self.queue.borrow_mut().peek(now(), lane)?;
        let seat = self.seat(Claimant::Lane(lane), &message)?;
        let parcel = self.queue.borrow_mut().take(now(), lane)?;
        let (loaded, room) = match seat {
            Seat::Taken(loaded) => (OnceCell::from(loaded), None),
            Seat::Free(room) => (OnceCell::new(), Some(Rc::new(room))),
        };
        Some(Parcel {
            parcel,
            loaded,
            room,
        })
    }

    /// The message of a parcel.
    pub(super) async fn load_parcel(&self, parcel: &Parcel) -> Result<Loaded, String> {
        if let Some(loaded) = parcel.loaded.get() {
            return Ok(loaded.clone());
        }
        let loaded = self.load(parcel.parcel.id, parcel.parcel.place).await?;
        Ok(parcel.loaded.get_or_init(|| loaded).clone())
    }

    /// A message, from memory or from the spool.
    pub(super) async fn load(&self, id: Id, place: queue::Place) -> Result<Loaded, String> {
        let in_memory = self.contents.borrow().get(&id).cloned();
        if let Some(loaded) = in_memory {
            return Ok(loaded);
        }
        let mut found = self.spool.load(id, spool_place(id, place)).await;
        if found.is_err() {
            // It may have been moved while this was on its way.
            let moved = self.queue.borrow().get(id).map(|message| message.place);
            if let Some(place) = moved.filter(|moved| *moved != place) {
                found = self.spool.load(id, spool_place(id, place)).await;
            }
        }
        let found = found.map_err(|error| {
            tracing::error!(%id, %error, "a message cannot be read back");
            format!("the message cannot be read back: {error}")
        })?;
        Loaded::new(found.payload, found.start).map_err(|error| error.to_string())
    }
}

/// An answer of our own for a parcel that could not be tried.
pub(super) fn local_failure(text: &str) -> OwnedAnswer {
    OwnedAnswer::local(451, Status::new(Class::Transient, 3, 0), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_looked_up_in_ascii() {
        for (destination, expected) in [
            ("mx.example", "mx.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("[ipv6:::1]", "[ipv6:::1]"),
            ("ü\u{200d}.example", "ü\u{200d}.example"),
        ] {
            assert_eq!(in_ascii(destination), expected);
        }
    }
}
