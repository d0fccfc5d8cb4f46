//! The server as its main thread sees it: started, reloaded, asked, stopped.

use super::descriptors::Share;
use super::homes::RING_LEN;
use super::letters::{Letter, Page};
use super::start::{self, Seed, Started};
use super::world::Counts;
use crate::admin;
use crate::config::Config;
use crate::events::log::EventLog;
use crate::message::id::LOG_COUNT_MAX;
use crate::spool;
use crossbeam::queue::ArrayQueue;
use mailrail_runtime::mailbox::Outside;
use mailrail_runtime::shard::{self, Options, Running};
use rustix::fs::FlockOperation;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How long a shard may take to answer a question.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Why a server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServeError(pub String);

/// A running server.
#[derive(Debug)]
pub struct Server {
    config: Config,
    running: Running<Letter>,
    shards: Vec<Outside<Letter>>,
    events: EventLog,
    admin: Option<admin::Listener>,
    /// What each shard had done when it ended.
    last: mpsc::Receiver<Counts>,
    /// The limit of open files.
    open_files: u64,
    /// Held for as long as the server may write to its data directory.
    _lock: File,
}

impl Server {
    /// Starts a server: its spool is read, its listeners are open when this returns.
    ///
    /// # Errors
    /// When anything it needs is not to be had; the text says what.
    pub fn start(mut config: Config) -> Result<Self, ServeError> {
        let fail = |what: String| ServeError(what);
        let open_files = shard::raise_open_files()
            .map_err(|error| fail(format!("cannot raise the limit of open files: {error}")))?;
        limit_connections(&mut config, open_files);
        let data_dir = &config.data_dir;
        let spool_dir = data_dir.join("spool");
        std::fs::create_dir_all(&spool_dir)
            .map_err(|error| fail(format!("cannot create {}: {error}", spool_dir.display())))?;
        let lock = lock(data_dir)?;
        let (events, journals) = EventLog::start(&config.events.path, config.shards)
            .map_err(|error| fail(format!("{}: {error}", config.events.path.display())))?;

        let (ready, started) = mpsc::channel();
        let (last_word, last) = mpsc::channel();
        let names = names_in(&spool_dir)?;
        let highest = spool::highest_among(names.iter().map(String::as_str));
        let logs = share_logs(&logs_among(names.iter().map(String::as_str)), config.shards)?;
        // Each shard takes one of these when it starts; which one does not matter.
        let seeds = Arc::new(ArrayQueue::new(config.shards));
        for (logs, journal) in logs.into_iter().zip(journals) {
            let seed = Seed {
                config: config.clone(),
                journal,
                logs,
                highest,
                open_files,
                ready: ready.clone(),
                last: last_word.clone(),
            };
            assert!(seeds.push(seed).is_ok(), "a seat for each shard's seed");
        }
        drop((ready, last_word));
        let options = Options {
            count: config.shards,
            mailbox_len: RING_LEN,
            ..Options::default()
        };
        let running = shard::run(options, move |place| {
            let seed = seeds.pop();
            async move {
                if let Some(seed) = seed {
                    start::run(place, seed).await;
                }
            }
        })
        .map_err(|error| fail(error.to_string()))?;
        let shards: Vec<_> = (0..running.count())
            .map(|index| running.outside(index))
            .collect();
        let mut server = Self {
            config,
            running,
            shards,
            events,
            admin: None,
            last,
            open_files,
            _lock: lock,
        };
        if let Err(error) = server.wait_until_started(&started) {
            let _ = server.stop();
            return Err(error);
        }
        match admin::Listener::start(&server.config.data_dir, server.shards.clone()) {
            Ok(admin) => server.admin = Some(admin),
            Err(error) => {
                let _ = server.stop();
                return Err(ServeError(format!("admin socket: {error}")));
            }
        }
        Ok(server)
    }

    fn wait_until_started(
        &self,
        started: &mpsc::Receiver<Result<Started, String>>,
    ) -> Result<(), ServeError> {
        let mut waiting = 0;
        for _ in 0..self.shards.len() {
            match started.recv() {
                Ok(Ok(shard)) => {
                    waiting += shard.waiting;
                    if shard.quarantined > 0 {
                        tracing::error!(
                            count = shard.quarantined,
                            "damaged parts of the spool are kept in quarantine"
                        );
                    }
                }
                Ok(Err(error)) => return Err(ServeError(error)),
                Err(_) => return Err(ServeError("a shard ended before it had started".into())),
            }
        }
        if waiting > 0 {
            tracing::info!(messages = waiting, "found waiting in the spool");
        }
        Ok(())
    }

    /// What all shards have done since the start.
    pub fn counts(&self) -> Counts {
        let (answer, answers) = mpsc::channel();
        let mut asked = 0;
        for shard in &self.shards {
            asked += usize::from(shard.post(Letter::Count(answer.clone())).is_ok());
        }
        let mut sum = Counts::default();
        for _ in 0..asked {
            if let Ok(counts) = answers.recv_timeout(ANSWER_WAIT) {
                sum.add(&counts);
            }
        }
        sum
    }

    /// How often the watchdog had to wake a shard that slept on its work.
    pub fn rescues(&self) -> u64 {
        self.running.rescues()
    }

    /// Takes over another configuration where that is possible, and says what needs a restart.
    pub fn reload(&mut self, config: Config) -> Vec<crate::config::Difference> {
        let differences = Config::reload_differences(&self.config, &config);
        let mut config = config;
        // What cannot change goes on as it is: addresses stay, what holds for each may change.
        let mut listeners = self.config.listeners.clone();
        for listener in &mut listeners {
            let same = |new: &&crate::config::Listener| new.address == listener.address;
            if let Some(new) = config.listeners.iter().find(same) {
                *listener = new.clone();
            }
        }
        config.listeners = listeners;
        limit_connections(&mut config, self.open_files);
        config.shards = self.config.shards;
        config.data_dir.clone_from(&self.config.data_dir);
        config.events.clone_from(&self.config.events);
        for shard in &self.shards {
            if shard
                .post(Letter::Reload(Box::new(config.clone())))
                .is_err()
            {
                tracing::error!("a shard did not take the new configuration");
            }
        }
        self.config = config;
        differences
    }

    /// Opens the event log anew, after it was moved away.
    pub fn reopen_events(&self) {
        self.events.reopen();
    }

    /// Stops: no new mail; what is open is finished, at the latest after `stop_timeout`. What was done
    /// since the start.
    ///
    /// # Errors
    /// When a shard had panicked, or the event log could not be written.
    pub fn stop(mut self) -> Result<Counts, ServeError> {
        // No more questions.
        let _: Option<admin::Listener> = self.admin.take();
        for shard in &self.shards {
            let mut letter = Letter::Stop;
            while let Err(back) = shard.post(letter) {
                if shard.is_closed() {
                    break;
                }
                letter = back;
                std::thread::yield_now();
            }
        }
        let joined = self.running.join();
        let counts = self
            .last
            .try_iter()
            .fold(Counts::default(), |mut sum, one| {
                sum.add(&one);
                sum
            });
        let flushed = self.events.stop();
        joined.map_err(|error| ServeError(error.to_string()))?;
        flushed.map_err(|error| ServeError(format!("event log: {error}")))?;
        Ok(counts)
    }
}

/// Asks one shard for a page of its queue. `None`: it does not answer.
pub(crate) fn page(shard: &Outside<Letter>, after: Option<u32>, limit: usize) -> Option<Page> {
    let (answer, answers) = mpsc::channel();
    let letter = Letter::List {
        after,
        limit,
        answer,
    };
    shard.post(letter).ok()?;
    answers.recv_timeout(ANSWER_WAIT).ok()
}

/// Runs a server until it is told to stop by SIGTERM or SIGINT; SIGHUP reloads.
///
/// # Errors
/// When it cannot start, or did not end well.
pub fn serve(config: Config) -> Result<(), ServeError> {
    // The handlers come first: a signal during the start must not end the process half-way.
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| ServeError(format!("signals: {error}")))?;
    let mut server = Server::start(config)?;
    for listener in &server.config.listeners {
        tracing::info!(address = %listener.address, "listening");
    }
    tracing::info!(
        shards = server.config.shards,
        data_dir = %server.config.data_dir.display(),
        "mailrail {} is up", env!("CARGO_PKG_VERSION")
    );
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        server.reopen_events();
        let Some(path) = server.config.path.clone() else {
            tracing::info!("no configuration file to reload; the event log was opened anew");
            continue;
        };
        match Config::load(&path) {
            Ok(config) => {
                for difference in server.reload(config) {
                    tracing::warn!("{difference}");
                }
                tracing::info!(file = %path.display(), "configuration reloaded");
            }
            Err(error) => tracing::error!("the configuration stays as it was: {error}"),
        }
    }
    tracing::info!("stopping");
    let counts = server.stop()?;
    tracing::info!(
        accepted = counts.accepted,
        delivered = counts.delivered,
        bounced = counts.bounced,
        waiting = counts.waiting,
        content_carried = counts.content_carried,
        content_copied = counts.content_copied,
        "stopped"
    );
    Ok(())
}

/// One server a data directory.
fn lock(data_dir: &Path) -> Result<File, ServeError> {
    try_lock(data_dir)?.ok_or_else(|| {
        ServeError(format!(
            "another server uses {} (its lock is held)",
            data_dir.display()
        ))
    })
}

/// The lock of a data directory; `None`: somebody has it.
pub(crate) fn try_lock(data_dir: &Path) -> Result<Option<File>, ServeError> {
    let path = data_dir.join("lock");
    let fail = |error: std::io::Error| ServeError(format!("{}: {error}", path.display()));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(fail)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(fail(error.into())),
    }
}

/// The numbers of the logs that are there.
pub(crate) fn logs_in(spool_dir: &Path) -> Result<Vec<u16>, ServeError> {
    let names = names_in(spool_dir)?;
    Ok(logs_among(names.iter().map(String::as_str)))
}

fn names_in(spool_dir: &Path) -> Result<Vec<String>, ServeError> {
    let fail = |error: std::io::Error| ServeError(format!("{}: {error}", spool_dir.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(spool_dir).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        names.extend(name.into_string());
    }
    Ok(names)
}

/// The numbers of the logs among the names of a directory.
pub(crate) fn logs_among<'n>(names: impl Iterator<Item = &'n str>) -> Vec<u16> {
    let number = |name: &str| name.strip_prefix("log-")?.parse::<u16>().ok();
    let mut numbers: Vec<u16> = names.filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Which shard owns which logs: its own first, which takes new mail, then those of shards that are
/// no more.
pub(crate) fn share_logs(found: &[u16], shard_count: usize) -> Result<Vec<Vec<u16>>, ServeError> {
    let count = u16::try_from(shard_count)
        .ok()
        .filter(|count| *count <= LOG_COUNT_MAX)
        .ok_or_else(|| {
            ServeError(format!(
                "{shard_count} shards are more than there can be logs"
            ))
        })?;
    let mut shared: Vec<Vec<u16>> = (0..count).map(|number| vec![number]).collect();
    for number in found.iter().filter(|number| **number >= count) {
        shared[usize::from(number % count)].push(*number);
    }
    Ok(shared)
}

/// No more connections than there are descriptors, with some kept back.
fn limit_connections(config: &mut Config, open_files: u64) {
    let share = Share::of(open_files, config.shards).sessions();
    let most = share.saturating_mul(u32::try_from(config.shards).unwrap_or(u32::MAX));
    for listener in &mut config.listeners {
        if listener.max_connections > most {
            tracing::info!(
                address = %listener.address,
                wanted = listener.max_connections,
                allowed = most,
                "max_connections is limited by the open files this process may have"
            );
            listener.max_connections = most;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_owns_its_log_and_those_of_shards_that_are_no_more() {
        let shared = share_logs(&[0, 1, 2, 3, 4], 2).unwrap();
        assert_eq!(shared, [vec![0, 2, 4], vec![1, 3]]);
    }

    #[test]
    fn a_new_shard_gets_a_new_log() {
        assert_eq!(share_logs(&[0], 3).unwrap(), [vec![0], vec![1], vec![2]]);
    }
}
