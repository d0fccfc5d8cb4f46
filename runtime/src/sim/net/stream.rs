//! A connection: two directions with latency and a window, and every way in which one ends.
//!
//! It behaves as Linux's TCP does: what has arrived is read before an error is told; who closes with bytes
//! unread, or is written to after it closed, resets; a machine without power says nothing until it is
//! written to. Who listens is not known here.

use super::{Cut, Descriptor};
use crate::clock::NEVER;
use crate::sim::{Chance, World};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Both ends of a connection. It holds no world, since the world's listeners hold it.
pub(super) struct Connection(RefCell<Both>);

struct Both {
    /// The end that connected, then the one that was connected to.
    sides: [Side; 2],
    /// The bytes it will still carry before it is cut, and how.
    doom: Option<(u64, Cut)>,
    /// It was cut: what is written from now on goes nowhere.
    is_cut: bool,
    /// Nothing comes through and nobody is told.
    is_dark: bool,
    /// The machines do not reach each other since then.
    parted_since: Option<u64>,
    is_ragged: bool,
}

/// One end, and what is on its way to it.
struct Side {
    host: IpAddr,
    process: u64,
    /// Somebody holds it.
    is_open: bool,
    /// Its machine lost its power: nothing is said for it.
    is_gone: bool,
    /// It has ended its own direction.
    has_shut: bool,
    /// What was written to it and not read by it.
    bytes: VecDeque<u8>,
    /// How many of them have arrived.
    arrived: usize,
    /// The others: when they do, and how many.
    flight: VecDeque<(u64, usize)>,
    /// The last of them; the order is kept.
    last_arrival: u64,
    /// Most bytes that may be between a write and a read.
    window: usize,
    /// When the other end's FIN arrives.
    end_at: u64,
    /// When a reset arrives.
    reset_at: u64,
    is_reset_told: bool,
    reader: Option<Waker>,
    /// Waits for room at the other end.
    writer: Option<Waker>,
}

impl Side {
    fn new(host: IpAddr, process: u64, window: usize) -> Self {
        Self {
            host,
            process,
            is_open: true,
            is_gone: false,
            has_shut: false,
            bytes: VecDeque::new(),
            arrived: 0,
            flight: VecDeque::new(),
            last_arrival: 0,
            window,
            end_at: NEVER,
            reset_at: NEVER,
            is_reset_told: false,
            reader: None,
            writer: None,
        }
    }

    /// What has come by now can be read; a reset takes what comes after it.
    fn arrive(&mut self, now: u64) {
        let until = now.min(self.reset_at);
        while let Some(&(at, len)) = self.flight.front()
            && at <= until
        {
            self.arrived += len;
            self.flight.pop_front();
        }
        if self.reset_at <= now && !self.flight.is_empty() {
            self.flight.clear();
            self.bytes.truncate(self.arrived);
        }
    }

    fn next_event(&self) -> u64 {
        let arrival = self.flight.front().map_or(NEVER, |piece| piece.0);
        arrival.min(self.end_at).min(self.reset_at)
    }

    /// Lets those who wait at this end look again at a moment.
    fn call_at(&self, world: &World, at: u64) {
        for waker in [&self.reader, &self.writer].into_iter().flatten() {
            if at <= world.micros() {
                waker.wake_by_ref();
            } else if at != NEVER {
                world.wake_at(at, waker.clone());
            }
        }
    }

    /// A reset is told once, then the stream is at its end.
    fn reset(&mut self) -> io::Error {
        match std::mem::replace(&mut self.is_reset_told, true) {
            false => Errno::CONNRESET.into(),
            true => Errno::PIPE.into(),
        }
    }
}

fn is_new(waker: &Option<Waker>, other: &Waker) -> bool {
    waker.as_ref().is_none_or(|waker| !waker.will_wake(other))
}

/// How much of `len` bytes goes in one piece on a ragged connection: often very little, now and then all.
fn piece(chance: &mut Chance, len: usize) -> usize {
    let most = match chance.below(4) {
        0 => 4,
        1 => 64,
        2 => 2048,
        _ => return len,
    };
    1 + chance.below(most.min(len as u64)) as usize
}

impl Both {
    /// When something that leaves now arrives.
    fn later(&self, world: &World) -> u64 {
        match self.is_dark {
            true => NEVER,
            false => world
                .micros()
                .saturating_add(world.network_state().latency()),
        }
    }

    fn arrive(&mut self, side: usize, now: u64) {
        if self.parted_since.is_none() {
            self.sides[side].arrive(now);
        }
    }

    fn is_reset(&self, side: usize, now: u64) -> bool {
        self.sides[side].reset_at <= now && self.parted_since.is_none()
    }

    /// The end has come, and no reset before it.
    fn is_ended(&self, side: usize, now: u64) -> bool {
        let side = &self.sides[side];
        side.end_at <= now.min(side.reset_at) && self.parted_since.is_none()
    }

    /// A reset leaves for an end, so that it arrives `at`.
    fn send_reset(&mut self, world: &World, to: usize, at: u64) {
        let side = &mut self.sides[to];
        if at < side.reset_at {
            world.network_state().count(|counts| counts.resets += 1);
            side.reset_at = at;
            side.call_at(world, at);
        }
    }

    /// The end of the stream leaves for an end, behind all that is on its way to it.
    fn send_end(&mut self, world: &World, to: usize) {
        let at = self.later(world);
        let side = &mut self.sides[to];
        if side.end_at == NEVER {
            side.end_at = at.max(side.last_arrival);
            let at = side.end_at;
            side.call_at(world, at);
        }
    }

    fn cut(&mut self, world: &World, by: Cut) {
        if self.is_cut || self.is_dark {
            return;
        }
        world.network_state().count(|counts| counts.cuts += 1);
        self.doom = None;
        match by {
            Cut::Silence => self.is_dark = true,
            Cut::Reset => {
                for side in 0..2 {
                    let at = self.later(world);
                    self.send_reset(world, side, at);
                }
                self.is_cut = true;
            }
            Cut::End => {
                for side in 0..2 {
                    self.send_end(world, side);
                }
                self.is_cut = true;
            }
        }
    }

    fn read(&mut self, world: &World, own: usize, into: &mut [u8]) -> Option<io::Result<usize>> {
        let now = world.micros();
        self.arrive(own, now);
        let side = &mut self.sides[own];
        if side.arrived > 0 {
            let mut count = side.arrived.min(into.len());
            if self.is_ragged {
                count = piece(&mut world.network_state().chance.borrow_mut(), count);
            }
            let (first, second) = side.bytes.as_slices();
            let from_first = count.min(first.len());
            into[..from_first].copy_from_slice(&first[..from_first]);
            into[from_first..count].copy_from_slice(&second[..count - from_first]);
            side.bytes.drain(..count);
            side.arrived -= count;
            side.reader = None;
            if let Some(writer) = self.sides[1 - own].writer.take() {
                writer.wake();
            }
            return Some(Ok(count));
        }
        let is_ended = self.is_ended(own, now);
        if !is_ended && !self.is_reset(own, now) {
            return None;
        }
        let side = &mut self.sides[own];
        side.reader = None;
        Some(match is_ended || side.is_reset_told {
            true => Ok(0),
            false => Err(side.reset()),
        })
    }

    fn wait_to_read(&mut self, world: &World, own: usize, context: &Context<'_>) {
        let side = &mut self.sides[own];
        if is_new(&side.reader, context.waker()) {
            side.reader = Some(context.waker().clone());
            let next = side.next_event();
            if next != NEVER {
                world.wake_at(next, context.waker().clone());
            }
        }
    }

    fn write(
        &mut self,
        world: &World,
        own: usize,
        slices: &[IoSlice<'_>],
    ) -> Option<io::Result<usize>> {
        let now = world.micros();
        self.arrive(own, now);
        if self.is_reset(own, now) {
            return Some(Err(match self.is_ended(own, now) {
                true => Errno::PIPE.into(),
                false => self.sides[own].reset(),
            }));
        }
        if self.sides[own].has_shut {
            return Some(Err(Errno::PIPE.into()));
        }
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if len == 0 {
            return Some(Ok(0));
        }
        if self.is_cut || !self.sides[1 - own].is_open {
            // Nobody is there to take it; the word of that comes back.
            if !self.is_dark {
                let there = self.later(world);
                let back = there.saturating_add(world.network_state().latency());
                self.send_reset(world, own, back);
            }
            return Some(Ok(len));
        }
        let other = &self.sides[1 - own];
        let mut count = len.min(other.window.saturating_sub(other.bytes.len()));
        if count == 0 {
            return None;
        }
        if self.is_ragged {
            count = piece(&mut world.network_state().chance.borrow_mut(), count);
        }
        if let Some((left, _)) = &mut self.doom {
            count = usize::try_from(*left).map_or(count, |left| count.min(left));
            *left -= count as u64;
        }
        let at = self.later(world);
        self.sides[own].writer = None;
        let other = &mut self.sides[1 - own];
        let mut left = count;
        for slice in slices {
            let part = &slice[..left.min(slice.len())];
            other.bytes.extend(part);
            left -= part.len();
        }
        other.last_arrival = other.last_arrival.max(at);
        other.flight.push_back((other.last_arrival, count));
        if other.flight.len() == 1 {
            other.call_at(world, other.last_arrival);
        }
        world
            .network_state()
            .count(|counts| counts.stream_bytes += count as u64);
        if let Some((0, by)) = self.doom {
            self.cut(world, by);
        }
        Some(Ok(count))
    }

    /// Somebody lets go of an end.
    fn close(&mut self, world: &World, own: usize) {
        let now = world.micros();
        self.arrive(own, now);
        let side = &mut self.sides[own];
        side.is_open = false;
        (side.reader, side.writer) = (None, None);
        if side.is_gone || self.is_cut || self.is_reset(own, now) {
            return;
        }
        let side = &self.sides[own];
        // The kernel of a process that was killed closes for it: mostly in order, and not if there is
        // something unread. Here it is a matter of luck, since both happen.
        let was_killed = !world.is_alive(side.process);
        let is_rude = side.arrived > 0
            || was_killed && world.network_state().chance.borrow_mut().below(2) == 0;
        let first_late = side.flight.front().map(|piece| piece.0);
        if is_rude {
            let at = self.later(world);
            self.send_reset(world, 1 - own, at);
        } else {
            self.send_end(world, 1 - own);
            if let Some(late) = first_late {
                let back = late.saturating_add(world.network_state().latency());
                self.send_reset(world, 1 - own, back);
            }
        }
        self.sides[own].bytes.clear();
        self.sides[own].flight.clear();
        self.sides[own].arrived = 0;
    }
}

impl Connection {
    /// A connection between the machines of these processes, as the weather has it.
    pub(super) fn new(world: &World, ends: [(IpAddr, u64); 2]) -> Rc<Self> {
        let state = world.network_state();
        let connection = {
            let (weather, mut chance) = (state.weather.borrow(), state.chance.borrow_mut());
            let doom = chance.in_a_million(weather.cut).then(|| {
                let range = &weather.cut_after;
                let span = range.end.saturating_sub(range.start);
                // Dialogues are short and contents are long: each order of magnitude has its share.
                let shift = chance.below(u64::from(64 - span.leading_zeros()).max(1));
                let after = range.start + (chance.below(span) >> shift);
                (after, *chance.pick(weather.cut_by))
            });
            let is_ragged = chance.in_a_million(weather.ragged);
            let sides = ends.map(|(host, process)| {
                let window = chance.within(&weather.window_len).max(1) as usize;
                Side::new(host, process, window)
            });
            let both = Both {
                sides,
                doom,
                is_cut: false,
                is_dark: false,
                parted_since: None,
                is_ragged,
            };
            Rc::new(Self(RefCell::new(both)))
        };
        state.count(|counts| counts.connections += 1);
        let doom = connection.0.borrow().doom;
        if let Some((0, by)) = doom {
            connection.0.borrow_mut().cut(world, by);
        }
        let mut connections = state.connections.borrow_mut();
        if connections.len() == connections.capacity() {
            connections.retain(|each| each.strong_count() > 0);
        }
        connections.push(Rc::downgrade(&connection));
        connection
    }

    /// Lets go of an end that nobody took.
    pub(super) fn turn_away(&self, world: &World, side: usize) {
        let mut both = self.0.borrow_mut();
        both.sides[side].is_open = false;
        if !both.sides[side].is_gone && !both.is_cut {
            let at = both.later(world);
            both.send_reset(world, 1 - side, at);
        }
    }

    pub(super) fn part(&self, world: &World, one: IpAddr, other: IpAddr) {
        let mut both = self.0.borrow_mut();
        if both.is_between(one, other) && both.parted_since.is_none() {
            both.arrive(0, world.micros());
            both.arrive(1, world.micros());
            both.parted_since = Some(world.micros());
        }
    }

    pub(super) fn join(&self, world: &World, one: IpAddr, other: IpAddr) {
        let mut both = self.0.borrow_mut();
        if !both.is_between(one, other) {
            return;
        }
        let Some(since) = both.parted_since.take() else {
            return;
        };
        for side in 0..2 {
            let at = both.later(world);
            let side = &mut both.sides[side];
            for piece in &mut side.flight {
                piece.0 = piece.0.max(at);
            }
            side.last_arrival = side.last_arrival.max(at);
            for moment in [&mut side.end_at, &mut side.reset_at] {
                if *moment > since {
                    *moment = (*moment).max(at);
                }
            }
            side.call_at(world, side.next_event());
        }
    }

    pub(super) fn power_cut(&self, processes: &[u64]) {
        for side in &mut self.0.borrow_mut().sides {
            side.is_gone |= processes.contains(&side.process);
        }
    }
}

impl Both {
    fn is_between(&self, one: IpAddr, other: IpAddr) -> bool {
        super::pair(self.sides[0].host, self.sides[1].host) == super::pair(one, other)
    }
}

/// One end of a connection, as `net::stream` holds it; dropping it closes it.
pub(crate) struct Socket {
    world: World,
    connection: Rc<Connection>,
    side: usize,
    local: SocketAddr,
    _descriptor: Descriptor,
}

impl Socket {
    pub(super) fn new(
        world: &World,
        connection: Rc<Connection>,
        side: usize,
        local: SocketAddr,
        descriptor: Descriptor,
    ) -> Self {
        Self {
            world: world.clone(),
            connection,
            side,
            local,
            _descriptor: descriptor,
        }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn try_read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let mut both = self.connection.0.borrow_mut();
        both.read(&self.world, self.side, into).transpose()
    }

    pub(crate) fn poll_read(
        &self,
        context: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut both = self.connection.0.borrow_mut();
        if let Some(result) = both.read(&self.world, self.side, into) {
            return Poll::Ready(result);
        }
        both.wait_to_read(&self.world, self.side, context);
        Poll::Pending
    }

    /// Whether reading is worth a try; if not, the task is woken when it is.
    pub(crate) fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        let mut both = self.connection.0.borrow_mut();
        let now = self.world.micros();
        both.arrive(self.side, now);
        let has_come = both.sides[self.side].arrived > 0;
        if has_come || both.is_ended(self.side, now) || both.is_reset(self.side, now) {
            return Poll::Ready(());
        }
        both.wait_to_read(&self.world, self.side, context);
        Poll::Pending
    }

    /// Takes some of the slices' bytes, in order.
    pub(crate) fn poll_write(
        &self,
        context: &Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut both = self.connection.0.borrow_mut();
        if let Some(result) = both.write(&self.world, self.side, slices) {
            return Poll::Ready(result);
        }
        let side = &mut both.sides[self.side];
        if is_new(&side.writer, context.waker()) {
            side.writer = Some(context.waker().clone());
            if side.reset_at != NEVER {
                self.world.wake_at(side.reset_at, context.waker().clone());
            }
        }
        Poll::Pending
    }

    pub(crate) fn shut_down(&self) {
        let mut both = self.connection.0.borrow_mut();
        if !std::mem::replace(&mut both.sides[self.side].has_shut, true) && !both.is_cut {
            both.send_end(&self.world, 1 - self.side);
        }
    }

    pub(super) fn cut(&self, by: Cut) {
        self.connection.0.borrow_mut().cut(&self.world, by);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.connection.0.borrow_mut().close(&self.world, self.side);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
