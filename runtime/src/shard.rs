//! Shards: one executor on one thread, pinned to one core.

use crate::mailbox::{Mesh, Outside};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How to start the shards.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many shards; 0 means one for each core this process may use.
    pub count: usize,
    /// Whether each shard is pinned to a core (shard i to the core i modulo their number).
    pub pinned: bool,
    /// Messages a ring between two shards holds.
    pub mailbox_len: usize,
    /// Messages a shard's inbox from plain threads holds.
    pub outside_len: usize,
    /// Entries of each io_uring of a shard.
    pub ring_depth: usize,
    /// Locked memory of a shard for registered DMA buffers, in bytes; at least 64 KiB are taken.
    pub io_memory: usize,
    /// How long a task queue may run before the others get their turn, in microseconds.
    pub preempt_micros: u64,
    /// A shard whose tick is older than this is woken from outside; 0 means no watchdog.
    pub late_micros: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            count: 0,
            pinned: true,
            mailbox_len: 1024,
            outside_len: 256,
            ring_depth: 128,
            io_memory: 64 * 1024,
            preempt_micros: 10_000,
            late_micros: 100_000,
        }
    }
}

/// Why the shards did not start. The text names the limit and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kernel has no io_uring or forbids it.
    #[error("io_uring is not available")]
    IoUring(#[source] std::io::Error),
}

/// Where a shard's main future finds itself.
#[derive(Debug)]
pub struct Place<M> {
    /// Which shard this is, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// The shard's end of the mailboxes.
    pub mesh: Mesh<M>,
}

/// The running shards, as the thread that started them sees them.
#[derive(Debug)]
pub struct Running<M>(PhantomData<M>);

/// A shard ended by a panic.
#[derive(Debug, thiserror::Error)]
#[error("shard {index} panicked: {message}")]
pub struct Panicked {
    /// Which shard.
    pub index: usize,
    /// What it said.
    pub message: String,
}

/// Starts the shards; each runs the future that `make` gives it and ends with it.
pub fn run<M, F, Fut>(_options: Options, _make: F) -> Result<Running<M>, StartError>
where
    M: Send + 'static,
    F: Fn(Place<M>) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    unimplemented!()
}

impl<M: Send + 'static> Running<M> {
    /// How many shards were started.
    #[must_use]
    pub fn count(&self) -> usize {
        unimplemented!()
    }

    /// The way into the inbox of one shard for plain threads.
    #[must_use]
    pub fn outside(&self, _shard: usize) -> Outside<M> {
        unimplemented!()
    }

    /// How often the watchdog woke a shard that slept on its work, over all shards.
    #[must_use]
    pub fn rescues(&self) -> u64 {
        unimplemented!()
    }

    /// Waits until every shard's future has ended.
    pub fn join(self) -> Result<(), Panicked> {
        unimplemented!()
    }
}

/// Runs one future on one unpinned shard on the calling thread, to its end: for tests and tools.
pub fn run_one<F: Future>(_future: F) -> Result<F::Output, StartError> {
    unimplemented!()
}

/// Which of the shard's task queues a task belongs to; each has its share of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Sessions that take mail in.
    Accept,
    /// Sessions that hand mail on, and the queue.
    Deliver,
    /// What can wait: preparing segments, checkpoints, bookkeeping.
    Background,
}

/// Starts a task on this shard. Panics outside of a shard.
pub fn spawn<T: 'static>(_lane: Lane, _future: impl Future<Output = T> + 'static) -> Task<T> {
    unimplemented!()
}

/// A task of this shard. Awaiting it gives its value; dropping it cancels it.
#[derive(Debug)]
#[must_use = "a task is cancelled when dropped: detach it to let it run"]
pub struct Task<T>(PhantomData<T>);

impl<T: 'static> Task<T> {
    /// Lets the task run on without anybody waiting for it.
    pub fn detach(self) {
        unimplemented!()
    }

    /// Cancels the task and waits until it is gone; its value if it had ended before.
    pub async fn cancel(self) -> Option<T> {
        unimplemented!()
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<T> {
        unimplemented!()
    }
}

/// Which shard this thread is. Panics outside of a shard.
#[must_use]
pub fn index() -> usize {
    unimplemented!()
}

/// Lets all other ready tasks run first.
pub async fn yield_now() {
    unimplemented!()
}

/// Lets others run if this task queue has used up its time.
pub async fn yield_if_needed() {
    unimplemented!()
}

/// Raises the soft limit of open files to the hard one; says what it is now.
pub fn raise_open_files() -> std::io::Result<u64> {
    unimplemented!()
}
