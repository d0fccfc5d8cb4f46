//! The network between the machines of a world: streams and datagrams that are late, cut and lost as the
//! seed and the caller will have it.
//!
//! Here are its handle and what all sockets share: addresses, partitions, descriptors, chance. What a
//! connection does stands in `stream`, who takes it in `door`, datagrams in `datagram`. `crate::net` gives
//! them their names; nothing here is reached but through those and through [`Network`].

mod datagram;
mod door;
mod stream;
mod weather;

pub use weather::{Cut, Weather};

pub(crate) use datagram::Letterbox;
pub(crate) use door::{Door, connect};
pub(crate) use stream::Socket;

use super::{Chance, World};
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::{Rc, Weak};

/// Where the world's own process, which runs on no machine, connects from and listens.
pub const DIRECTOR_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 254));

/// Ports that are given to whoever names none: from here to the last.
const FREE_PORT_FIRST: u16 = 32_768;

/// The network of a world. Clones are the same one.
///
/// Addresses need no routes: one leads to the process that listens there, whatever machine it runs on.
/// A loopback or unspecified address means the machine's own.
#[derive(Clone)]
pub struct Network(World);

/// What has happened on a network so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Connections that were made.
    pub connections: u64,
    /// Attempts that were refused, had no answer or found nobody.
    pub failed_attempts: u64,
    /// Connections that were cut, by the weather or by [`Network::cut`].
    pub cuts: u64,
    /// Resets that were sent, those of cuts included.
    pub resets: u64,
    /// Datagrams that were sent.
    pub datagrams: u64,
    /// Those that were lost.
    pub lost_datagrams: u64,
    /// Times that a process had no descriptor for a socket.
    pub starved: u64,
    /// Bytes that went through connections.
    pub stream_bytes: u64,
}

/// What the world keeps of its network.
pub(in crate::sim) struct State {
    chance: RefCell<Chance>,
    weather: RefCell<Weather>,
    doors: RefCell<BTreeMap<SocketAddr, Vec<Rc<door::Threshold>>>>,
    letterboxes: RefCell<BTreeMap<SocketAddr, Rc<datagram::Slot>>>,
    connections: RefCell<Vec<Weak<stream::Connection>>>,
    /// Pairs of machines that do not reach each other, the smaller address first.
    parted: RefCell<BTreeSet<(IpAddr, IpAddr)>>,
    /// Sockets of each process.
    socket_counts: RefCell<BTreeMap<u64, usize>>,
    next_port: Cell<u16>,
    counts: Cell<Counts>,
}

impl State {
    pub(in crate::sim) fn new(seed: u64) -> Self {
        Self {
            // A stream of its own, so that the network's draws and the tasks' do not change each other.
            chance: RefCell::new(Chance::new(seed ^ 0x6e65_7477_6f72_6b00)),
            weather: RefCell::new(Weather::fair()),
            doors: RefCell::default(),
            letterboxes: RefCell::default(),
            connections: RefCell::default(),
            parted: RefCell::default(),
            socket_counts: RefCell::default(),
            next_port: Cell::new(FREE_PORT_FIRST),
            counts: Cell::default(),
        }
    }
}

impl Network {
    pub(in crate::sim) fn new(world: World) -> Self {
        Self(world)
    }

    /// Sets the weather; fair until then.
    pub fn set(&self, weather: Weather) {
        *self.state().weather.borrow_mut() = weather;
    }

    /// The weather.
    #[must_use]
    pub fn weather(&self) -> Weather {
        self.state().weather.borrow().clone()
    }

    /// From now on nothing gets from one machine to the other, either way: what streams carry waits,
    /// datagrams are lost, connections cannot be made.
    pub fn part(&self, one: IpAddr, other: IpAddr) {
        if self.state().parted.borrow_mut().insert(pair(one, other)) {
            self.each_connection(|connection| connection.part(&self.0, one, other));
        }
    }

    /// They reach each other again; what waited arrives after the usual latency.
    pub fn join(&self, one: IpAddr, other: IpAddr) {
        if self.state().parted.borrow_mut().remove(&pair(one, other)) {
            self.each_connection(|connection| connection.join(&self.0, one, other));
        }
    }

    /// Everybody reaches everybody again.
    pub fn join_all(&self) {
        let parted: Vec<_> = self.state().parted.borrow().iter().copied().collect();
        for (one, other) in parted {
            self.join(one, other);
        }
    }

    /// Cuts a connection now. Nothing happens to a real one.
    pub fn cut(&self, stream: &crate::net::stream::Stream, by: Cut) {
        if let Some(socket) = stream.in_world() {
            socket.cut(by);
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts.get()
    }

    /// Connections of which at least one end is still held.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        let connections = self.state().connections.borrow();
        connections
            .iter()
            .filter(|each| each.strong_count() > 0)
            .count()
    }

    /// Somebody pulled the plug of these processes' machine: their peers are not told.
    pub(in crate::sim) fn power_cut(&self, processes: &[u64]) {
        self.each_connection(|connection| connection.power_cut(processes));
    }

    /// What goes wrong with a question that the answerer of `dns::server` got.
    pub(crate) fn dns_mishap(&self) -> Option<DnsMishap> {
        let (weather, mut chance) = (
            self.state().weather.borrow(),
            self.state().chance.borrow_mut(),
        );
        if chance.in_a_million(weather.dns_silent) {
            Some(DnsMishap::Silent)
        } else if chance.in_a_million(weather.dns_failed) {
            Some(DnsMishap::Failed)
        } else if chance.in_a_million(weather.dns_late) {
            Some(DnsMishap::Late(chance.within(&weather.dns_late_micros)))
        } else {
            None
        }
    }

    fn state(&self) -> &State {
        self.0.network_state()
    }

    fn each_connection(&self, act: impl Fn(&stream::Connection)) {
        let connections = self.state().connections.borrow();
        connections
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|each| act(&each));
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// See [`Network::dns_mishap`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DnsMishap {
    Silent,
    Failed,
    /// By so many microseconds.
    Late(u64),
}

/// What the sockets ask the world.
impl State {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    fn latency(&self) -> u64 {
        self.chance
            .borrow_mut()
            .within(&self.weather.borrow().latency_micros)
    }

    fn in_a_million(&self, times: impl FnOnce(&Weather) -> u32) -> bool {
        let times = times(&self.weather.borrow());
        times > 0 && self.chance.borrow_mut().in_a_million(times)
    }

    fn are_parted(&self, one: IpAddr, other: IpAddr) -> bool {
        let parted = self.parted.borrow();
        !parted.is_empty() && parted.contains(&pair(one, other))
    }

    /// A port that `is_taken` does not know.
    fn free_port(&self, is_taken: impl Fn(u16) -> bool) -> io::Result<u16> {
        for _ in FREE_PORT_FIRST..=u16::MAX {
            let port = self.next_port.get();
            self.next_port
                .set(port.checked_add(1).unwrap_or(FREE_PORT_FIRST));
            if !is_taken(port) {
                return Ok(port);
            }
        }
        Err(Errno::ADDRINUSE.into())
    }
}

fn pair(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr) {
    (one.min(other), one.max(other))
}

/// The machine's own address, of the process whose step this is.
fn own_address(world: &World) -> IpAddr {
    world
        .host_here()
        .map_or(DIRECTOR_ADDRESS, |host| host.address())
}

/// Where an address leads on the machine `own`.
fn resolve(address: SocketAddr, own: IpAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_unspecified() || ip.is_loopback() => SocketAddr::new(own, address.port()),
        _ => address,
    }
}

/// A descriptor: each socket holds one of its process.
struct Descriptor {
    world: World,
    process: u64,
}

impl Descriptor {
    fn take(world: &World) -> io::Result<Self> {
        let (state, process) = (world.network_state(), world.process());
        let mut counts = state.socket_counts.borrow_mut();
        let count = counts.entry(process).or_insert(0);
        if *count >= state.weather.borrow().socket_count_max {
            state.count(|counts| counts.starved += 1);
            return Err(Errno::MFILE.into());
        }
        *count += 1;
        Ok(Self {
            world: world.clone(),
            process,
        })
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let mut counts = self.world.network_state().socket_counts.borrow_mut();
        if let Some(count) = counts.get_mut(&self.process) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.process);
            }
        }
    }
}
