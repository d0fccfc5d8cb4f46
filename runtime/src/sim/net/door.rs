//! Who listens, and how one gets in: SYN, backlog, accept. What goes through a connection is not known here.

use super::stream::{Connection, Socket};
use super::{Descriptor, State, own_address, resolve};
use crate::sim::World;
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Connections that wait until they are accepted; who comes then gets no answer.
const BACKLOG: usize = 1024;
/// When an attempt without an answer is made again; doubled each time.
const RETRY_MICROS: u64 = 1_000_000;

/// A listening socket of one shard, as the network sees it.
pub(super) struct Threshold {
    host: IpAddr,
    process: u64,
    queue: RefCell<VecDeque<Arrival>>,
    waker: RefCell<Option<Waker>>,
}

struct Arrival {
    connection: Rc<Connection>,
    peer: SocketAddr,
    local: SocketAddr,
}

/// A listening socket, as `net::listener` holds it. Dropping it closes it and resets who waits.
pub(crate) struct Door {
    world: World,
    threshold: Rc<Threshold>,
    /// Where it is found.
    key: SocketAddr,
    _descriptor: Descriptor,
}

impl Door {
    /// Listens at `address`, with others of the same process if they do; says where.
    pub(crate) fn open(world: &World, address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let state = world.network_state();
        let descriptor = Descriptor::take(world)?;
        let (host, process) = (own_address(world), world.process());
        let mut key = resolve(address, host);
        let mut doors = state.doors.borrow_mut();
        if key.port() == 0 {
            let is_taken = |port| doors.contains_key(&SocketAddr::new(key.ip(), port));
            key.set_port(state.free_port(is_taken)?);
        }
        let beside = doors.entry(key).or_default();
        if beside.iter().any(|other| other.process != process) {
            return Err(Errno::ADDRINUSE.into());
        }
        let threshold = Rc::new(Threshold {
            host,
            process,
            queue: RefCell::default(),
            waker: RefCell::default(),
        });
        beside.push(Rc::clone(&threshold));
        let door = Self {
            world: world.clone(),
            threshold,
            key,
            _descriptor: descriptor,
        };
        Ok((door, SocketAddr::new(address.ip(), key.port())))
    }

    /// The next connection, or that there is no descriptor for it; then it waits on.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        poll_fn(|context| {
            if !self.threshold.queue.borrow().is_empty() {
                return Poll::Ready(());
            }
            *self.threshold.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        let state = self.world.network_state();
        if state.in_a_million(|weather| weather.accept_failed) {
            state.count(|counts| counts.starved += 1);
            return Err(Errno::MFILE.into());
        }
        let descriptor = Descriptor::take(&self.world)?;
        let arrival = self.threshold.queue.borrow_mut().pop_front();
        let Arrival {
            connection,
            peer,
            local,
        } = arrival.expect("nobody else takes from it");
        let socket = Socket::new(&self.world, connection, 1, local, descriptor);
        Ok((socket, peer))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let mut doors = self.world.network_state().doors.borrow_mut();
        if let Some(beside) = doors.get_mut(&self.key) {
            beside.retain(|other| !Rc::ptr_eq(other, &self.threshold));
            if beside.is_empty() {
                doors.remove(&self.key);
            }
        }
        drop(doors);
        for arrival in self.threshold.queue.take() {
            arrival.connection.turn_away(&self.world, 1);
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What an attempt finds.
enum Found {
    Socket(Socket),
    Nobody,
    /// Nothing that would answer.
    Silence,
}

/// Connects to `to` from `source` or the machine's own address. Waits for ever where nobody answers.
pub(crate) async fn connect(
    world: World,
    to: SocketAddr,
    source: Option<IpAddr>,
) -> io::Result<Socket> {
    let state = world.network_state();
    let own = own_address(&world);
    let to = resolve(to, own);
    let ip = source.unwrap_or(own);
    let from = SocketAddr::new(ip, state.free_port(|_| false)?);
    let mut descriptor = Some(Descriptor::take(&world)?);
    if state.in_a_million(|weather| weather.unanswered) {
        state.count(|counts| counts.failed_attempts += 1);
        return std::future::pending().await;
    }
    let is_refused = state.in_a_million(|weather| weather.refused);
    let mut retry = RETRY_MICROS;
    loop {
        world.pause(state.latency()).await;
        let found = match is_refused {
            true => Found::Nobody,
            false => knock(&world, own, from, to, &mut descriptor),
        };
        match found {
            Found::Socket(socket) => {
                world.pause(state.latency()).await;
                return Ok(socket);
            }
            Found::Nobody => {
                world.pause(state.latency()).await;
                state.count(|counts| counts.failed_attempts += 1);
                return Err(Errno::CONNREFUSED.into());
            }
            Found::Silence => world.pause(retry).await,
        }
        retry = retry.saturating_mul(2);
    }
}

/// The SYN has arrived.
fn knock(
    world: &World,
    own: IpAddr,
    from: SocketAddr,
    to: SocketAddr,
    descriptor: &mut Option<Descriptor>,
) -> Found {
    let state = world.network_state();
    let Some(threshold) = threshold(state, to) else {
        return match state.are_parted(own, to.ip()) {
            true => Found::Silence,
            false => Found::Nobody,
        };
    };
    let is_full = threshold.queue.borrow().len() >= BACKLOG;
    if is_full || state.are_parted(own, threshold.host) {
        return Found::Silence;
    }
    let Some(descriptor) = descriptor.take() else {
        return Found::Silence;
    };
    let ends = [(own, world.process()), (threshold.host, threshold.process)];
    let connection = Connection::new(world, ends);
    threshold.queue.borrow_mut().push_back(Arrival {
        connection: Rc::clone(&connection),
        peer: from,
        local: to,
    });
    if let Some(waker) = threshold.waker.take() {
        waker.wake();
    }
    Found::Socket(Socket::new(world, connection, 0, from, descriptor))
}

/// One of those who listen there.
fn threshold(state: &State, to: SocketAddr) -> Option<Rc<Threshold>> {
    let doors = state.doors.borrow();
    let beside = doors.get(&to).filter(|beside| !beside.is_empty())?;
    let at = state.chance.borrow_mut().below(beside.len() as u64);
    Some(Rc::clone(&beside[at as usize]))
}
