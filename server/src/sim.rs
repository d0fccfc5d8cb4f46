//! A whole server on a machine of a seeded world: the very code of the shards, started, reloaded and
//! stopped as the main thread does it, without threads, files or signals.
//!
//! Which faults come, and what is right and wrong, is the caller's.

use crate::config::Config;
use crate::events::log::{Journal, Told};
use crate::shard::{self, Counts, Letter, RING_LEN, Seed, Started};
use crate::spool;
use crossbeam::queue::ArrayQueue;
use mailrail_runtime::mailbox::Outside;
use mailrail_runtime::sim::{Host, Process, World};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// Between two looks for an answer of a shard, in microseconds.
const LOOK_MICROS: u64 = 1_000;

/// A running server, as its main thread would see it.
#[derive(Debug)]
pub struct Server {
    world: World,
    process: Process<Letter>,
    shards: Vec<Outside<Letter>>,
    started: mpsc::Receiver<Result<Started, String>>,
    /// Shards that have not said how they started,
    starting: Cell<usize>,
    /// and what the others found.
    found: Cell<Found>,
    is_log_full: Arc<AtomicBool>,
}

/// What was found by a server that has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Messages that wait.
    pub waiting: u64,
    /// Damaged parts of the spool that were set aside.
    pub quarantined: u64,
}

impl Server {
    /// Starts a server on a machine; each line of its event log goes to `lines` at once, with its time in
    /// microseconds of the world. `names` are the names in its spool's directory.
    ///
    /// # Errors
    /// When there are more shards than there can be logs.
    pub fn start<'n>(
        world: &World,
        host: &Host,
        config: &Config,
        names: impl Iterator<Item = &'n str>,
        lines: &mpsc::Sender<(u64, Vec<u8>)>,
    ) -> Result<Self, String> {
        let names: Vec<&str> = names.collect();
        let highest = spool::highest_among(names.iter().copied());
        let logs = shard::share_logs(&shard::logs_among(names.into_iter()), config.shards)
            .map_err(|error| error.to_string())?;
        let is_log_full = Arc::new(AtomicBool::new(false));
        let (ready, started) = mpsc::channel();
        let seeds = ArrayQueue::new(config.shards);
        for logs in logs {
            let journal = Journal::told(Told {
                lines: lines.clone(),
                is_full: Arc::clone(&is_log_full),
            });
            let seed = Seed {
                config: config.clone(),
                journal,
                logs,
                highest,
                open_files: u64::MAX,
                ready: ready.clone(),
                last: mpsc::channel().0,
            };
            assert!(seeds.push(seed).is_ok(), "a seat for each shard's seed");
        }
        let seeds = Rc::new(seeds);
        let process = host.start(config.shards, RING_LEN, move |place| {
            let seed = seeds.pop();
            async move {
                if let Some(seed) = seed {
                    shard::run(place, seed).await;
                }
            }
        });
        Ok(Self {
            world: world.clone(),
            shards: (0..config.shards)
                .map(|index| process.outside(index))
                .collect(),
            process,
            started,
            starting: Cell::new(config.shards),
            found: Cell::default(),
            is_log_full,
        })
    }

    /// The process, to be killed.
    pub fn process(&self) -> &Process<Letter> {
        &self.process
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Whether all shards have started; `None`: not yet. To be asked until it says so.
    ///
    /// # Errors
    /// The first error of a shard; or the process ended before.
    pub fn poll_started(&self) -> Option<Result<Found, String>> {
        let mut found = self.found.get();
        let mut left = self.starting.get();
        while left > 0 {
            match self.started.try_recv() {
                Ok(Ok(started)) => {
                    found.waiting += started.waiting;
                    found.quarantined += started.quarantined;
                    left -= 1;
                }
                Ok(Err(error)) => return Some(Err(error)),
                Err(_) if !self.is_running() => {
                    return Some(Err("it ended before it had started".into()));
                }
                Err(_) => break,
            }
        }
        self.found.set(found);
        self.starting.set(left);
        (left == 0).then_some(Ok(found))
    }

    /// Whether the event log cannot be written, so that delivery pauses.
    pub fn fill_event_log(&self, is_full: bool) {
        self.is_log_full.store(is_full, Ordering::Relaxed);
    }

    /// Takes over another configuration where that is possible.
    pub fn reload(&self, config: &Config) {
        for shard in &self.shards {
            let _ = shard.post(Letter::Reload(Box::new(config.clone())));
        }
    }

    /// What all shards have done since the start; `None` if it ended meanwhile.
    pub async fn counts(&self) -> Option<Counts> {
        let (answer, answers) = mpsc::channel();
        for shard in &self.shards {
            shard.post(Letter::Count(answer.clone())).ok()?;
        }
        let mut sum = Counts::default();
        let mut left = self.shards.len();
        while left > 0 {
            match answers.try_recv() {
                Ok(counts) => {
                    sum.add(&counts);
                    left -= 1;
                }
                Err(_) if !self.is_running() => return None,
                Err(_) => self.world.pause(LOOK_MICROS).await,
            }
        }
        Some(sum)
    }

    /// Tells all shards to stop; they end when what is open is finished.
    pub fn stop(&self) {
        for shard in &self.shards {
            let _ = shard.post(Letter::Stop);
        }
    }
}
