//! Datagrams: each finds its own way, in its own time, once, twice or not at all. No protocol lives here.

use super::{Descriptor, own_address, resolve};
use crate::clock::NEVER;
use crate::sim::World;
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Datagrams that wait at one socket, those on their way included; more are lost.
const WAITING_COUNT_MAX: usize = 1024;

/// A datagram socket, as the network sees it.
pub(super) struct Slot {
    host: IpAddr,
    /// Only whose datagrams it takes.
    peer: Option<SocketAddr>,
    /// By the moment at which they arrive, then in the order in which they were sent.
    letters: RefCell<BTreeMap<(u64, u64), Letter>>,
    waker: RefCell<Option<Waker>>,
    /// When it learns that nobody listens where it sent to.
    refused_at: Cell<u64>,
}

struct Letter {
    from: SocketAddr,
    bytes: Rc<[u8]>,
}

/// A datagram socket, as `net::datagram` holds it.
pub(crate) struct Letterbox {
    world: World,
    slot: Rc<Slot>,
    key: SocketAddr,
    local: SocketAddr,
    _descriptor: Descriptor,
}

impl Letterbox {
    /// A socket at `address`, or at any port, for one peer's datagrams or for anyone's.
    pub(crate) fn open(
        world: &World,
        address: Option<SocketAddr>,
        peer: Option<SocketAddr>,
    ) -> io::Result<Self> {
        let state = world.network_state();
        let descriptor = Descriptor::take(world)?;
        let host = own_address(world);
        let address = address.unwrap_or_else(|| SocketAddr::new(host, 0));
        let mut key = resolve(address, host);
        let mut letterboxes = state.letterboxes.borrow_mut();
        if key.port() == 0 {
            let is_taken = |port| letterboxes.contains_key(&SocketAddr::new(key.ip(), port));
            key.set_port(state.free_port(is_taken)?);
        }
        if letterboxes.contains_key(&key) {
            return Err(Errno::ADDRINUSE.into());
        }
        let slot = Rc::new(Slot {
            host,
            peer: peer.map(|peer| resolve(peer, host)),
            letters: RefCell::default(),
            waker: RefCell::default(),
            refused_at: Cell::new(NEVER),
        });
        letterboxes.insert(key, Rc::clone(&slot));
        Ok(Self {
            world: world.clone(),
            slot,
            key,
            local: SocketAddr::new(address.ip(), key.port()),
            _descriptor: descriptor,
        })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends one datagram to the peer, or to somebody else.
    pub(crate) fn send(&self, bytes: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        if self.is_refused() {
            return Err(Errno::CONNREFUSED.into());
        }
        let to = to.or(self.slot.peer).ok_or(Errno::DESTADDRREQ)?;
        let to = resolve(to, self.slot.host);
        let state = self.world.network_state();
        state.count(|counts| counts.datagrams += 1);
        let found = state.letterboxes.borrow().get(&to).cloned();
        let there = found.as_ref().map_or_else(|| to.ip(), |slot| slot.host);
        let is_lost = state.in_a_million(|weather| weather.datagram_lost)
            || state.are_parted(self.slot.host, there);
        let Some(slot) = found.filter(|_| !is_lost) else {
            state.count(|counts| counts.lost_datagrams += 1);
            if !is_lost && self.slot.peer.is_some() {
                let back = self.world.micros() + state.latency() + state.latency();
                self.slot.refused_at.set(back);
                self.slot.call_at(&self.world, back);
            }
            return Ok(());
        };
        if slot.peer.is_some_and(|peer| peer != self.key) {
            return Ok(());
        }
        let bytes: Rc<[u8]> = bytes.into();
        let number = state.counts.get().datagrams;
        let times = 1 + u64::from(state.in_a_million(|weather| weather.datagram_doubled));
        for copy in 0..times {
            let at = self.world.micros() + state.latency();
            let mut letters = slot.letters.borrow_mut();
            if letters.len() >= WAITING_COUNT_MAX {
                state.count(|counts| counts.lost_datagrams += 1);
                continue;
            }
            let letter = Letter {
                from: self.key,
                bytes: Rc::clone(&bytes),
            };
            letters.insert((at, number * 2 + copy), letter);
            drop(letters);
            slot.call_at(&self.world, at);
        }
        Ok(())
    }

    /// One datagram that has arrived, cut to `into`.
    pub(crate) fn poll_receive(
        &self,
        context: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        if self.is_refused() {
            return Poll::Ready(Err(Errno::CONNREFUSED.into()));
        }
        let mut letters = self.slot.letters.borrow_mut();
        let next = letters.first_key_value().map(|(key, _)| key.0);
        if next.is_some_and(|at| at <= self.world.micros())
            && let Some((_, letter)) = letters.pop_first()
        {
            let len = letter.bytes.len().min(into.len());
            into[..len].copy_from_slice(&letter.bytes[..len]);
            return Poll::Ready(Ok((len, letter.from)));
        }
        drop(letters);
        *self.slot.waker.borrow_mut() = Some(context.waker().clone());
        self.slot.call_at(
            &self.world,
            next.unwrap_or(NEVER).min(self.slot.refused_at.get()),
        );
        Poll::Pending
    }

    /// Whether the word that nobody is there has come; it is told once.
    fn is_refused(&self) -> bool {
        let is_refused = self.slot.refused_at.get() <= self.world.micros();
        if is_refused {
            self.slot.refused_at.set(NEVER);
        }
        is_refused
    }
}

impl Slot {
    fn call_at(&self, world: &World, at: u64) {
        if at != NEVER
            && let Some(waker) = &*self.waker.borrow()
        {
            world.wake_at(at, waker.clone());
        }
    }
}

impl Drop for Letterbox {
    fn drop(&mut self) {
        self.world
            .network_state()
            .letterboxes
            .borrow_mut()
            .remove(&self.key);
    }
}

impl fmt::Debug for Letterbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letterbox")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
