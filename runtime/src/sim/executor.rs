//! The world's tasks and its time: whoever can run runs, in an order the seed decides; when nobody can, the
//! time moves on to the next moment at which something happens. `tasks` holds the tasks, `joint` is their side
//! to those who wait for them; network and disks are not known here.

mod joint;

pub(crate) use joint::SimTask;

use super::net::{self, Network};
use super::tasks::{self, TaskId, Tasks};
use super::{Chance, Host, Sabotage};
use crate::clock::NEVER;
use crate::mailbox::{Outside, Post};
use crate::shard::Place;
use crate::timer;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// The monotonic clock at the beginning of a world, in microseconds.
const BEGINNING_MICROS: u64 = 1_000_000;
/// The wall clock then: the first of June 2026.
const BEGINNING_UNIX_MILLIS: u64 = 1_780_272_000_000;
/// Steps after which a world counts as running in a circle.
const POLL_COUNT_MAX: u64 = 10_000_000;

thread_local! {
    static HERE: RefCell<Option<World>> = const { RefCell::new(None) };
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// The world of this thread, if it runs one.
pub(crate) fn here() -> Option<World> {
    if !is_here() {
        return None;
    }
    HERE.with_borrow(Clone::clone)
}

/// Whether this thread runs a world.
#[inline]
pub(crate) fn is_here() -> bool {
    IS_HERE.get()
}

/// A seeded world. Clones are the same one; it belongs to its thread.
#[derive(Clone)]
pub struct World(Rc<Inner>);

struct Inner {
    seed: u64,
    chance: RefCell<Chance>,
    now: Cell<u64>,
    /// What the wall clock is ahead of the monotonic one, in milliseconds.
    wall_ahead: Cell<i64>,
    tasks: RefCell<Tasks>,
    next_process: Cell<u64>,
    /// Processes that live.
    alive: RefCell<Vec<Living>>,
    /// An empty list that keeps its memory from one step to the next.
    runnable: Cell<Vec<TaskId>>,
    /// Moments finer than a timer's tick, for network and disks.
    moments: RefCell<BinaryHeap<Reverse<Moment>>>,
    moment_count: Cell<u64>,
    /// Whose step it is: process and shard.
    turn: Cell<(u64, usize)>,
    hash: Cell<u64>,
    network: net::State,
    poll_count: Cell<u64>,
    /// Duties that are left out, a bit for each.
    sabotage: Cell<u32>,
}

/// A process that lives, and its machine.
struct Living {
    process: u64,
    host: Option<Host>,
    is_alive: Rc<Cell<bool>>,
}

struct Moment {
    at: u64,
    number: u64,
    waker: Waker,
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The process of the world's own: the one that [`World::run`] was given.
const DIRECTOR: u64 = 0;

impl World {
    /// Runs what `direct` gives in the world of `seed`, on this thread, to its end; tasks that are left are
    /// dropped.
    ///
    /// # Panics
    /// If nothing is left that could happen before it ends, if it runs in a circle, or if this thread runs
    /// a world already.
    pub fn run<T: 'static, F>(seed: u64, direct: impl FnOnce(Self) -> F) -> T
    where
        F: Future<Output = T> + 'static,
    {
        assert!(!is_here(), "one world at a time");
        let world = Self(Rc::new(Inner {
            seed,
            chance: RefCell::new(Chance::new(seed)),
            now: Cell::new(BEGINNING_MICROS),
            wall_ahead: Cell::new((BEGINNING_UNIX_MILLIS - BEGINNING_MICROS / 1000) as i64),
            tasks: RefCell::default(),
            next_process: Cell::new(DIRECTOR + 1),
            alive: RefCell::default(),
            runnable: Cell::default(),
            moments: RefCell::default(),
            moment_count: Cell::new(0),
            turn: Cell::new((DIRECTOR, 0)),
            hash: Cell::new(0xcbf2_9ce4_8422_2325),
            network: net::State::new(seed),
            poll_count: Cell::new(0),
            sabotage: Cell::new(0),
        }));
        world.begin_process(DIRECTOR, None);
        HERE.set(Some(world.clone()));
        IS_HERE.set(true);
        tasks::begin_world();
        /// However the run ends, the thread is real again.
        struct End(World);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.clear();
                timer::end_world();
                IS_HERE.set(false);
                HERE.set(None);
            }
        }
        let end = End(world.clone());
        timer::begin_world();
        crate::buffer::begin_world();
        let output = Rc::new(RefCell::new(None));
        let director = {
            let (output, future) = (Rc::clone(&output), direct(world.clone()));
            async move {
                let ended = future.await;
                *output.borrow_mut() = Some(ended);
            }
        };
        world.add(DIRECTOR, 0, Box::pin(director));
        while output.borrow().is_none() {
            world.step();
        }
        drop(end);
        let output = output.borrow_mut().take();
        output.expect("the loop ended with it")
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The world's own stream of chance.
    pub fn chance(&self) -> std::cell::RefMut<'_, Chance> {
        self.0.chance.borrow_mut()
    }

    /// Microseconds by the monotonic clock.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.0.now.get()
    }

    /// Milliseconds since 1970 by the wall clock.
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        (self.0.now.get() / 1000).saturating_add_signed(self.0.wall_ahead.get())
    }

    /// Sets the wall clock forward or back; the monotonic one does not notice.
    pub fn jump(&self, millis: i64) {
        self.0.wall_ahead.set(self.0.wall_ahead.get() + millis);
    }

    /// Takes note of something that happened: it joins the [`hash`](Self::hash).
    pub fn note(&self, what: &[u8]) {
        let mut hash = self.0.hash.get() ^ self.micros();
        for part in what.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        self.0.hash.set(hash ^ what.len() as u64);
    }

    /// One number for all that was noted, in its order and with its times.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.0.hash.get()
    }

    /// Steps that its tasks have taken.
    #[must_use]
    pub fn step_count(&self) -> u64 {
        self.0.poll_count.get()
    }

    /// Leaves out a duty of ours, from now on.
    pub fn sabotage(&self, duty: Sabotage) {
        self.0.sabotage.set(self.0.sabotage.get() | duty.bit());
    }

    pub(super) fn is_sabotaged(&self, duty: Sabotage) -> bool {
        self.0.sabotage.get() & duty.bit() != 0
    }

    /// A machine with this address.
    #[must_use]
    pub fn host(&self, address: IpAddr) -> Host {
        Host::new(self.clone(), address)
    }

    /// Its network.
    #[must_use]
    pub fn network(&self) -> Network {
        Network::new(self.clone())
    }

    pub(super) fn network_state(&self) -> &net::State {
        &self.0.network
    }

    /// Starts a process of one task.
    pub(super) fn spawn_on(
        &self,
        host: &Host,
        future: impl Future<Output = ()> + 'static,
    ) -> Process<()> {
        let (process, post) = self.begin(host, 1, 1);
        let ended = self
            .clone()
            .shard_of(process, Rc::new(Cell::new(1)), future);
        self.add(process, 0, Box::pin(ended));
        Process {
            world: self.clone(),
            process,
            post,
        }
    }

    /// Starts a process with shards.
    pub(super) fn start_on<M, F, Fut>(
        &self,
        host: &Host,
        count: usize,
        mailbox_len: usize,
        make: F,
    ) -> Process<M>
    where
        M: Send + 'static,
        F: Fn(Place<M>) -> Fut + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let (process, post) = self.begin(host, count, mailbox_len.max(1));
        let left = Rc::new(Cell::new(count));
        for index in 0..count {
            let (make, post) = (make.clone(), Arc::clone(&post));
            let shard = async move {
                let mesh = post.mesh(index);
                make(Place { index, count, mesh }).await;
                post.close(index);
            };
            let ended = self.clone().shard_of(process, Rc::clone(&left), shard);
            self.add(process, index, Box::pin(ended));
        }
        Process {
            world: self.clone(),
            process,
            post,
        }
    }

    fn begin<M: Send + 'static>(
        &self,
        host: &Host,
        count: usize,
        len: usize,
    ) -> (u64, Arc<Post<M>>) {
        let process = self.0.next_process.get();
        self.0.next_process.set(process + 1);
        self.begin_process(process, Some(host.clone()));
        (process, Post::new(count, len, len))
    }

    fn begin_process(&self, process: u64, host: Option<Host>) {
        self.0.alive.borrow_mut().push(Living {
            process,
            host,
            is_alive: Rc::new(Cell::new(true)),
        });
    }

    /// One shard of a process; with the last one the process ends, and with it its other tasks, though not
    /// within this step.
    async fn shard_of(self, process: u64, left: Rc<Cell<usize>>, shard: impl Future<Output = ()>) {
        shard.await;
        left.set(left.get() - 1);
        if left.get() == 0 {
            let world = self.clone();
            self.add(DIRECTOR, 0, Box::pin(async move { world.end(process) }));
        }
    }

    /// Ends a process at once: its tasks are never polled again.
    pub(super) fn end(&self, process: u64) {
        self.0.alive.borrow_mut().retain(|living| {
            let is_other = living.process != process;
            living.is_alive.set(is_other);
            is_other
        });
        let tasks = self.0.tasks.borrow_mut().remove_all(Some(process));
        let before = self.0.turn.replace((process, 0));
        drop(tasks);
        self.0.turn.set(before);
    }

    fn clear(&self) {
        let alive = self.0.alive.take();
        alive.iter().for_each(|living| living.is_alive.set(false));
        // What is dropped may drop others; it starts none, since nobody lives.
        loop {
            let tasks = self.0.tasks.borrow_mut().remove_all(None);
            if tasks.is_empty() {
                break;
            }
            drop(tasks);
        }
        self.0.moments.borrow_mut().clear();
    }

    /// The machine of the process whose step this is; the director has none.
    pub(crate) fn host_here(&self) -> Option<Host> {
        let process = self.process();
        let alive = self.0.alive.borrow();
        let found = alive.iter().find(|living| living.process == process)?;
        found.host.clone()
    }

    /// The process whose step this is.
    pub(crate) fn process(&self) -> u64 {
        self.0.turn.get().0
    }

    /// The shard whose step this is.
    pub(crate) fn shard(&self) -> usize {
        self.0.turn.get().1
    }

    /// Whether a process lives.
    pub(crate) fn is_alive(&self, process: u64) -> bool {
        let alive = self.0.alive.borrow();
        alive.iter().any(|living| living.process == process)
    }

    /// A new task; none, if its process is no more: nobody would ever poll it.
    fn add(
        &self,
        process: u64,
        shard: usize,
        future: Pin<Box<dyn Future<Output = ()>>>,
    ) -> Option<TaskId> {
        let alive = self.0.alive.borrow();
        let living = alive.iter().find(|living| living.process == process)?;
        let is_alive = Rc::clone(&living.is_alive);
        drop(alive);
        Some(
            self.0
                .tasks
                .borrow_mut()
                .add(process, shard, is_alive, future),
        )
    }

    fn remove(&self, id: TaskId) {
        let slot = self.0.tasks.borrow_mut().remove(id);
        drop(slot);
    }

    /// Wakes a task when it is `at` microseconds.
    pub(crate) fn wake_at(&self, at: u64, waker: Waker) {
        let number = self.0.moment_count.get();
        self.0.moment_count.set(number + 1);
        let moment = Moment { at, number, waker };
        self.0.moments.borrow_mut().push(Reverse(moment));
    }

    /// Waits for so many microseconds, to the microsecond; not bound to any process' timers.
    pub async fn pause(&self, micros: u64) {
        let until = self.micros().saturating_add(micros);
        let mut is_set = false;
        poll_fn(|context| {
            if self.micros() >= until {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut is_set, true) {
                self.wake_at(until, context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Everybody who can run runs once; when nobody can, time goes on.
    fn step(&self) {
        let mut runnable = self.0.runnable.take();
        tasks::swap_ready(&mut runnable);
        if runnable.is_empty() {
            self.go_on();
        }
        while !runnable.is_empty() {
            let at = match runnable.len() {
                1 => 0,
                len => self.chance().below(len as u64) as usize,
            };
            self.poll(runnable.swap_remove(at));
        }
        self.0.runnable.set(runnable);
    }

    fn poll(&self, id: TaskId) {
        let inner = &self.0;
        let count = inner.poll_count.get() + 1;
        inner.poll_count.set(count);
        assert!(count < POLL_COUNT_MAX, "the world runs in a circle");
        let slot = inner.tasks.borrow_mut().begin(id);
        let Some(mut slot) = slot else { return };
        let before = inner.turn.replace((slot.process, slot.shard));
        let is_over = slot.poll().is_ready();
        let mut tasks = inner.tasks.borrow_mut();
        // It may have been cancelled, or its process ended, while it ran.
        let rest = if is_over || !slot.is_alive.get() {
            tasks.remove(id);
            Some(slot)
        } else {
            tasks.wait(id, slot)
        };
        drop(tasks);
        drop(rest);
        inner.turn.set(before);
    }

    /// The next moment at which something happens.
    fn go_on(&self) {
        let inner = &self.0;
        let moment = inner.moments.borrow().peek().map(|next| next.0.at);
        let alarm = timer::next_in_world();
        let next = moment.unwrap_or(NEVER).min(alarm.unwrap_or(NEVER));
        assert!(next != NEVER, "nothing is left that could happen");
        inner.now.set(inner.now.get().max(next));
        let now = inner.now.get();
        loop {
            let mut moments = inner.moments.borrow_mut();
            if moments.peek().is_none_or(|next| next.0.at > now) {
                break;
            }
            let Some(Reverse(moment)) = moments.pop() else {
                break;
            };
            drop(moments);
            moment.waker.wake();
        }
        timer::advance_world(now);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.0.seed)
            .field("micros", &self.0.now.get())
            .finish_non_exhaustive()
    }
}

/// A running process of the world.
pub struct Process<M> {
    world: World,
    process: u64,
    post: Arc<Post<M>>,
}

impl<M: Send + 'static> Process<M> {
    /// The way into the inbox of one shard.
    #[must_use]
    pub fn outside(&self, shard: usize) -> Outside<M> {
        self.post.outside(shard)
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.world.is_alive(self.process)
    }
}

impl<M> Process<M> {
    pub(super) fn number(&self) -> u64 {
        self.process
    }
}

impl<M> fmt::Debug for Process<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("number", &self.process)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
