//! A load that goes on while its server breaks down again and again: what the tests of kill -9 and of power cuts
//! have in common. How the server breaks, and what it stands on, is theirs.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::load::{self, Load};
use crate::message::Chance;
use crate::server::Setup;
use crate::tally::{Outcome, Tally};
use crate::{Reply, Server, Sink};

const SENDERS: u64 = 6;

/// Connections to the sink, each with two messages at a time.
const CONNECTIONS: usize = 16;

/// Longer than any message waits for its next attempt: what has not come by then where it has to be missing is
/// missing.
const CONTROL_PATIENCE: Duration = Duration::from_secs(20);

/// A number from the environment.
///
/// # Panics
/// When it is none.
pub fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |given| given.parse().expect("a number"))
}

/// A load, its sink, and what was promised and came.
#[derive(Debug)]
pub struct Storm {
    /// Where all of it ends.
    pub sink: Sink,
    /// What was promised and what came.
    pub tally: Tally,
    /// The storm's chance.
    pub chance: Chance,
    load: Load,
    /// Lets through what is deferred otherwise.
    gate: Arc<AtomicBool>,
    starts: Starts,
}

/// What is known of the starts after the breakdowns: figures, and no verdict.
#[derive(Debug, Default)]
struct Starts {
    /// From a start to the greeting.
    banners: Vec<Duration>,
    /// How many were to be broken off.
    begun: u64,
    /// How many of those were not over when the server broke down.
    broken_off: u64,
    /// The last one is to be broken off, and the server has not broken down yet.
    is_under_way: bool,
}

/// A sink with moods, for a storm that has not begun.
#[derive(Debug)]
pub struct Calm {
    sink: Sink,
    gate: Arc<AtomicBool>,
}

impl Calm {
    /// A sink with moods.
    pub fn new() -> Self {
        let gate = Arc::new(AtomicBool::new(false));
        let sink = Sink::with(load::moody(Arc::clone(&gate)));
        Self { sink, gate }
    }

    /// Where the sink is.
    pub fn address(&self) -> SocketAddr {
        self.sink.address()
    }

    /// A server that sends all of its mail there, and tries soon again.
    pub fn setup(&self) -> Setup {
        let limit = format!("connection_limit = {CONNECTIONS}");
        Server::setup()
            .route_with("*", self.sink.address(), &limit)
            .set("queue", "retry_interval = \"100ms\"")
            .set("queue", "max_retry_interval = \"200ms\"")
    }

    /// The load begins.
    pub fn begin(self, server: SocketAddr, seed: u64) -> Storm {
        Storm {
            sink: self.sink,
            tally: Tally::new(),
            chance: Chance::new(seed),
            load: Load::start(server, SENDERS, seed),
            gate: self.gate,
            starts: Starts::default(),
        }
    }
}

impl Default for Calm {
    fn default() -> Self {
        Self::new()
    }
}

impl Storm {
    /// The load of a round, 20 messages and fewer than `most` more, up to an instant in which anything may be under
    /// way. In every fourth round there is none: the server breaks down while it still starts, where it was started by
    /// [`start`](Self::start).
    pub fn rage(&mut self, round: u64, most: u64) {
        let count = match round % 4 {
            3 => 0,
            _ => 20 + self.chance.below(most),
        };
        // What is stuck stays so over several rounds, and does not pile up for ever.
        self.gate.store(round % 16 == 15, Ordering::Relaxed);
        self.acknowledge(count);
        if !self.starts.is_under_way {
            std::thread::sleep(Duration::from_micros(self.chance.below(30_000)));
        }
    }

    /// Starts the server for a round, wholly; or up to some instant in the midst of its start, if the round is one of
    /// those without load.
    ///
    /// # Errors
    /// What it ended with by itself.
    pub fn start(&mut self, server: &mut Server, round: u64) -> Result<(), ExitStatus> {
        self.count_start(server);
        if round % 4 != 3 {
            server.try_start()?;
            self.starts.banners.push(server.greeted_after());
            return Ok(());
        }
        // Anywhere between its first instruction and the end of a start like the last one: how long that is
        // depends on the machine and on how the server was built.
        let of_1024 = self.chance.below(1024) as u32;
        let instant = server.started_after() * of_1024 / 1024;
        server.begin_start();
        self.starts.begun += 1;
        self.starts.is_under_way = true;
        std::thread::sleep(instant);
        server.ended().map_or(Ok(()), Err)
    }

    /// If the server broke down in a start, or should have: was that start over by then?
    fn count_start(&mut self, server: &Server) {
        if std::mem::take(&mut self.starts.is_under_way) && !server.has_started() {
            self.starts.broken_off += 1;
        }
    }

    /// How long the starts took, and how many were not over when the server broke down.
    pub fn figures(&mut self) -> String {
        let Starts {
            banners,
            begun,
            broken_off,
            ..
        } = &mut self.starts;
        banners.sort();
        let mut text = format!("{broken_off} of {begun} starts broken off before they were over");
        if let (Some(usual), Some(slowest)) = (banners.get(banners.len() / 2), banners.last()) {
            let _ = write!(text, "; to the banner {usual:.0?}, at most {slowest:.0?}");
        }
        text
    }

    /// The server has to take so many messages more.
    pub fn acknowledge(&mut self, count: u64) {
        self.load.acknowledge(count, &mut self.tally, &self.sink);
    }

    /// What has come of it, and every refusal.
    pub fn end(self) -> (Outcome, Vec<Reply>) {
        self.end_with(load::collect)
    }

    /// As [`end`](Self::end), where mail has to be lost.
    pub fn end_in_loss(self) -> Outcome {
        let collect = |tally: &mut Tally, sink: &Sink| {
            load::collect_for(CONTROL_PATIENCE, tally, sink);
        };
        self.end_with(collect).0
    }

    fn end_with(mut self, collect: impl FnOnce(&mut Tally, &Sink)) -> (Outcome, Vec<Reply>) {
        let refusals = self.load.stop(&mut self.tally);
        self.gate.store(true, Ordering::Relaxed);
        collect(&mut self.tally, &self.sink);
        (self.tally.outcome(2 * CONNECTIONS), refusals)
    }
}
