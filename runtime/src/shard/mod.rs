//! Shards: one executor on one thread, pinned to one core.
//!
//! Here a shard is started, ended and watched, and its tasks get their task queue. Shards share
//! nothing but their mailboxes; everything else a task can reach is thread-local.

pub(crate) mod courtesy;
mod probe;
mod watchdog;

pub use probe::StartError;

use crate::mailbox::{Mesh, Outside, Post};
use crate::timer;
use glommio::{Latency, LocalExecutor, Shares, TaskQueueHandle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use watchdog::{Beat, Pulse};

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
    /// How long a task queue may run before the others and the sockets get their turn, in
    /// microseconds. Not below 10,000 outside of tests: see `watchdog`.
    pub preempt_micros: u64,
    /// A shard whose pulse is older than this is woken from outside, in microseconds; 0 means that
    /// nobody watches.
    pub late_micros: u64,
    /// How often a shard shows that it lives, in microseconds. Well below `late_micros`, or an idle
    /// shard is taken for one that sleeps on its work (harmless, but it is woken and counted).
    pub pulse_micros: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            count: 0,
            pinned: true,
            mailbox_len: 512,
            outside_len: 256,
            ring_depth: 128,
            io_memory: 64 * 1024,
            preempt_micros: 10_000,
            late_micros: 100_000,
            pulse_micros: 40_000,
        }
    }
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

/// The running shards, as the thread that started them sees them. Dropping it leaves them running.
#[derive(Debug)]
pub struct Running<M> {
    post: Arc<Post<M>>,
    threads: Vec<JoinHandle<()>>,
    ends: mpsc::Receiver<(usize, Result<(), String>)>,
    beats: Arc<[Arc<Beat>]>,
}

/// A shard ended by a panic.
#[derive(Debug, thiserror::Error)]
#[error("shard {index} panicked: {message}")]
pub struct Panicked {
    /// Which shard.
    pub index: usize,
    /// What it said.
    pub message: String,
}

/// Starts the shards. Each runs the future that `make` gives it and ends with it: tasks that are
/// left then are not polled again, so the future waits for its gates first. Either all shards start
/// or none does.
pub fn run<M, F, Fut>(options: Options, make: F) -> Result<Running<M>, StartError>
where
    M: Send + 'static,
    F: Fn(Place<M>) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    probe::check()?;
    let cores = cores();
    let count = match options.count {
        0 => cores.len(),
        count => count,
    };
    let post = Post::new(
        count,
        options.mailbox_len.max(1),
        options.outside_len.max(1),
    );
    let beats: Arc<[_]> = (0..count).map(|_| Arc::new(Beat::default())).collect();
    let (started, starts) = mpsc::channel();
    let (ended, ends) = mpsc::channel();
    let mut threads = Vec::with_capacity(count);
    let mut permissions = Vec::with_capacity(count);
    for index in 0..count {
        let (permit, permission) = mpsc::channel::<()>();
        let core = options.pinned.then(|| cores[index % cores.len()]);
        let (options, make, post) = (options.clone(), make.clone(), Arc::clone(&post));
        let (beat, started, ended) = (Arc::clone(&beats[index]), started.clone(), ended.clone());
        let body = move || {
            let executor = match probe::executor(&options, index, core) {
                Ok(executor) => executor,
                Err(error) => return drop(started.send(Err(error))),
            };
            // Nobody runs before everybody is there; if somebody fails, the permission never comes.
            let told = started.send(Ok(()));
            drop(started);
            if told.is_err() || permission.recv().is_err() {
                return;
            }
            let end = catch_unwind(AssertUnwindSafe(|| {
                live(&executor, &options, index, &beat, async {
                    let place = Place {
                        index,
                        count,
                        mesh: post.mesh(index),
                    };
                    make(place).await;
                });
            }));
            post.close(index);
            drop(ended.send((index, end.map_err(|panic| message(&*panic)))));
        };
        let thread = std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(body)
            .map_err(|source| StartError::Other {
                doing: "start a shard's thread",
                source,
            })?;
        threads.push(thread);
        permissions.push(permit);
    }
    drop(started);
    for _ in 0..count {
        starts.recv().map_err(|_| died())??;
    }
    watch(Arc::clone(&beats), &options)?;
    for permit in permissions {
        permit.send(()).map_err(|_| died())?;
    }
    Ok(Running {
        post,
        threads,
        ends,
        beats,
    })
}

fn died() -> StartError {
    let source = std::io::Error::other("its thread panicked");
    StartError::Other {
        doing: "start a shard",
        source,
    }
}

impl<M: Send + 'static> Running<M> {
    /// How many shards were started.
    #[must_use]
    pub fn count(&self) -> usize {
        self.beats.len()
    }

    /// The way into the inbox of one shard for plain threads.
    #[must_use]
    pub fn outside(&self, shard: usize) -> Outside<M> {
        self.post.outside(shard)
    }

    /// How often the watchdog woke a shard that slept on its work, over all shards.
    #[must_use]
    pub fn rescues(&self) -> u64 {
        self.beats.iter().map(|beat| beat.rescues()).sum()
    }

    /// A handle that counts the rescues and can be kept after `join`.
    #[must_use]
    pub fn rescue_count(&self) -> RescueCount {
        RescueCount(Arc::clone(&self.beats))
    }

    /// Waits until every shard's future has ended, or until the first panics: then the others may
    /// still be running, and what to do about that is the caller's.
    pub fn join(self) -> Result<(), Panicked> {
        for _ in 0..self.count() {
            match self.ends.recv() {
                Ok((_, Ok(()))) => {}
                Ok((index, Err(message))) => return Err(Panicked { index, message }),
                Err(_) => unreachable!("a shard says how it ended"),
            }
        }
        for thread in self.threads {
            // Its panic, if any, was caught and reported above.
            let _ = thread.join();
        }
        Ok(())
    }
}

/// Reads how often shards were rescued, from any thread.
#[derive(Debug, Clone)]
pub struct RescueCount(Arc<[Arc<Beat>]>);

impl RescueCount {
    /// Over all shards, since they started.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.iter().map(|beat| beat.rescues()).sum()
    }
}

/// Runs one future on one unpinned shard on the calling thread, to its end: for tests and tools. It
/// is watched like any other.
pub fn run_one<F: Future>(future: F) -> Result<F::Output, StartError> {
    run_here(&Options::default(), &Arc::default(), future)
}

fn run_here<F: Future>(
    options: &Options,
    beat: &Arc<Beat>,
    future: F,
) -> Result<F::Output, StartError> {
    probe::check()?;
    let executor = probe::executor(options, 0, None)?;
    watch([Arc::clone(beat)].into(), options)?;
    Ok(live(&executor, options, 0, beat, future))
}

fn watch(beats: Arc<[Arc<Beat>]>, options: &Options) -> Result<(), StartError> {
    if options.late_micros == 0 {
        return Ok(());
    }
    watchdog::watch(beats, options.late_micros).map_err(|source| StartError::Other {
        doing: "start the watchdog",
        source,
    })
}

/// The life of a shard on the calling thread: as long as `future` runs on it.
fn live<F: Future>(
    executor: &LocalExecutor,
    options: &Options,
    index: usize,
    beat: &Arc<Beat>,
    future: F,
) -> F::Output {
    struct End<'b>(&'b Beat);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.end();
        }
    }
    let _end = End(beat);
    beat.begin();
    executor.run(async {
        beat.wake_me().await;
        HERE.set(Some(Here::new(index)));
        let driver = glommio::spawn_local(timer::drive());
        let pulse = glommio::spawn_local(Pulse::new(Arc::clone(beat), options.pulse_micros));
        let courtesy = courteous(courtesy::attend());
        let output = future.await;
        courtesy.cancel().await;
        courtesy::end();
        pulse.cancel().await;
        driver.cancel().await;
        HERE.set(None);
        output
    })
}

/// A task behind all others: with the smallest share there is, its queue is always the last to run.
fn courteous(task: impl Future<Output = ()> + 'static) -> glommio::Task<()> {
    let queue =
        glommio::executor().create_task_queue(Shares::Static(1), Latency::NotImportant, "Courtesy");
    glommio::spawn_local_into(task, queue).expect("the queue was made just now")
}

/// The shard of this thread.
#[derive(Debug, Clone, Copy)]
struct Here {
    index: usize,
    lanes: [TaskQueueHandle; LANES.len()],
}

thread_local! {
    static HERE: Cell<Option<Here>> = const { Cell::new(None) };
}

impl Here {
    fn new(index: usize) -> Self {
        let queue = |(lane, shares): (Lane, usize)| {
            let name = format!("{lane:?}");
            glommio::executor().create_task_queue(
                Shares::Static(shares),
                Latency::NotImportant,
                &name,
            )
        };
        Self {
            index,
            lanes: LANES.map(queue),
        }
    }

    fn get() -> Self {
        HERE.get().expect("only on a shard")
    }
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

/// In the order of the enum, with the shares: when all have work, in and out get the same, so that
/// neither the queue grows without bound nor the senders wait, and the rest gets about a tenth. The
/// shard's main future, its timers and its pulse run in glommio's own queue, which has 1000.
const LANES: [(Lane, usize); 3] = [
    (Lane::Accept, 1000),
    (Lane::Deliver, 1000),
    (Lane::Background, 200),
];

/// Starts a task on this shard. It does not run before the caller waits or ends. Panics outside of a
/// shard.
pub fn spawn<T: 'static>(lane: Lane, future: impl Future<Output = T> + 'static) -> Task<T> {
    #[cfg(feature = "sim")]
    if let Some(world) = crate::sim::here() {
        return Task(Kind::Sim(world.task(future)));
    }
    let queue = Here::get().lanes[lane as usize];
    Task(Kind::Real(
        glommio::spawn_local_into(future, queue).expect("a shard's task queues live as long as it"),
    ))
}

/// Starts a task beside the lanes, in the queue of the shard's main future.
pub(crate) fn spawn_beside(future: impl Future<Output = ()> + 'static) {
    #[cfg(feature = "sim")]
    if let Some(world) = crate::sim::here() {
        return world.task(future).detach();
    }
    glommio::spawn_local(future).detach();
}

/// A task of this shard. Awaiting it gives its value; dropping it cancels it.
#[derive(Debug)]
#[must_use = "a task is cancelled when dropped: detach it to let it run"]
pub struct Task<T>(Kind<T>);

/// Of which world it is.
#[derive(Debug)]
enum Kind<T> {
    Real(glommio::Task<T>),
    #[cfg(feature = "sim")]
    Sim(crate::sim::SimTask<T>),
}

impl<T: 'static> Task<T> {
    /// Lets the task run on without anybody waiting for it.
    pub fn detach(self) {
        match self.0 {
            Kind::Real(task) => drop(task.detach()),
            #[cfg(feature = "sim")]
            Kind::Sim(task) => task.detach(),
        }
    }

    /// Cancels the task and waits until it is gone; its value if it had ended before.
    pub async fn cancel(self) -> Option<T> {
        match self.0 {
            Kind::Real(task) => task.cancel().await,
            #[cfg(feature = "sim")]
            Kind::Sim(task) => task.cancel(),
        }
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Kind::Real(task) => Pin::new(task).poll(context),
            #[cfg(feature = "sim")]
            Kind::Sim(task) => task.poll_value(context),
        }
    }
}

/// Which shard this thread is. Panics outside of a shard.
#[must_use]
pub fn index() -> usize {
    #[cfg(feature = "sim")]
    if let Some(world) = crate::sim::here() {
        return world.shard();
    }
    Here::get().index
}

/// Lets the other ready tasks of this lane run first, and the other lanes if it is their turn.
pub async fn yield_now() {
    #[cfg(feature = "sim")]
    if crate::sim::is_here() {
        return futures_lite::future::yield_now().await;
    }
    glommio::executor().yield_task_queue_now().await;
}

/// As `yield_now`, but only if this lane has used up its time. Costs a nanosecond or two if not.
pub async fn yield_if_needed() {
    #[cfg(feature = "sim")]
    if let Some(world) = crate::sim::here() {
        let is_needed = world.chance().below(4) == 0;
        if is_needed {
            futures_lite::future::yield_now().await;
        }
        return;
    }
    glommio::executor().yield_if_needed().await;
}

/// Runs what may block (a directory is made, a name is looked up in a file) on the shard's helper
/// thread, one after the other, and waits for its end.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    #[cfg(feature = "sim")]
    if crate::sim::is_here() {
        futures_lite::future::yield_now().await;
        return work();
    }
    glommio::executor().spawn_blocking(work).await
}

/// Raises the soft limit of open files to the hard one; says what it is now.
pub fn raise_open_files() -> std::io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )?;
    }
    Ok(maximum.unwrap_or(u64::MAX))
}

/// The cores this process may use.
fn cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return vec![0];
    };
    let cores: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect();
    if cores.is_empty() { vec![0] } else { cores }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the preemption timer fires before the first task, the run loop sleeps before anybody has a
    /// waker of anything. How short it must be for that depends on the machine, and with one that is
    /// too short no task ever runs; so it gets shorter until the hang is there.
    #[test]
    fn a_shard_that_sleeps_on_its_very_first_task_is_rescued() {
        let rescued = |preempt_micros| {
            let options = Options {
                preempt_micros,
                late_micros: 2_000,
                ..Options::default()
            };
            let beat = Arc::default();
            run_here(&options, &beat, async { beat.rescues() > 0 }).unwrap()
        };
        let mut rounds = (1..=200).rev().flat_map(|micros| [micros; 20]);
        assert!(rounds.any(rescued), "the hang was not provoked");
    }
}
