//! One round: a load, the wait until the sink has all of it, and what the server and the ends used meanwhile.

use super::adapter::Server;
use super::ends::{Order, Sent, Sink, Source};
use super::results::Round;
use super::sample::{Used, Whose, resident_bytes};
use super::scenario::Load;
use super::watch::{Trouble, Watch};
use crate::cli::Ends;
use mailrail_runtime::clock;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Between two looks at the sink.
const POLL_MS: u64 = 5;
/// Between two looks at the server's memory: with a hundred processes one takes some milliseconds.
const MEMORY_PERIOD_US: u64 = 1_000_000;
/// A sink in which nothing new has come for so long after the source's end gets no more.
const STALL_LIMIT_US: u64 = 60_000_000;

/// What all rounds of a scenario share.
#[derive(Debug)]
pub(crate) struct Course<'a> {
    pub(crate) watch: &'a Watch,
    pub(crate) sink: &'a mut Sink,
    pub(crate) kind: Ends,
    /// For the files of the sources.
    pub(crate) directory: &'a Path,
    /// A round takes so long at most.
    pub(crate) limit_s: u64,
}

/// Whom a load goes to.
#[derive(Debug)]
pub(crate) enum Target<'a> {
    Server(&'a mut Server),
    /// The sink itself.
    Direct(SocketAddr),
}

/// What a round showed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) round: Round,
    pub(crate) run: u32,
    /// Our source's file of what was acknowledged.
    pub(crate) acknowledged: Option<PathBuf>,
    /// Whether the sink got all that was acknowledged.
    pub(crate) is_whole: bool,
    /// Whether its time was over while copies still came: what is missing then waits, and is not lost.
    pub(crate) is_cut: bool,
}

impl Target<'_> {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Server(server) => server.address(),
            Self::Direct(address) => *address,
        }
    }

    fn used(&mut self) -> Used {
        match self {
            Self::Server(server) => whose(server).used(),
            Self::Direct(_) => Used::default(),
        }
    }

    fn resident_bytes(&mut self) -> u64 {
        match self {
            Self::Server(server) => resident_bytes(&server.pids()),
            Self::Direct(_) => 0,
        }
    }
}

/// Whose processor time a server's is.
fn whose(server: &mut Server) -> Whose {
    match server.cgroup() {
        Some(group) => Whose::Group(group.into()),
        None => Whose::Processes(server.pids()),
    }
}

impl Course<'_> {
    /// Runs a load of `messages` and waits for its end.
    ///
    /// # Errors
    /// When the source or the sink fails, or an interruption.
    pub(crate) fn run(
        &mut self,
        mut target: Target<'_>,
        load: &Load,
        messages: u64,
        run: u32,
    ) -> Result<Outcome, Trouble> {
        let count_before = self.sink.count()?;
        let (before, sink_before) = (target.used(), self.sink.whose().used());
        let begin_us = clock::micros();
        let deadline_us = begin_us + self.limit_s * 1_000_000;
        let order = Order {
            server: target.address(),
            load,
            messages,
            run,
            recipient: None,
            limit_s: self.limit_s,
        };
        let mut source = Source::start(self.kind, order, self.directory)?;
        let mut memory = Memory::default();
        let mut sent = None;
        self.watch.until(deadline_us, POLL_MS, || {
            memory.look(&mut target);
            sent = source.sent()?;
            Ok(sent.is_some())
        })?;
        let Some(sent) = sent else {
            let text = format!("the source had not ended after {} s", self.limit_s);
            return Err(Trouble::Failed(text));
        };
        let wanted = count_before.copies + sent.copies;
        let mut seen = Seen::default();
        let sink = &mut *self.sink;
        let is_settled = self.watch.until(deadline_us, POLL_MS, || {
            memory.look(&mut target);
            seen.look(sink.count()?.copies, wanted)
        })?;
        let is_whole = is_settled && seen.copies >= wanted;
        // A stall is no part of what was measured.
        let end_us = if is_whole {
            clock::micros()
        } else {
            seen.at_us
        };
        let cpu = target.used().since(before);
        let sink_cpu = self.sink.whose().used().since(sink_before);
        memory.look_now(&mut target);
        let copies = seen.copies.saturating_sub(count_before.copies);
        let mut round = Round {
            messages: copies,
            copies: Some(copies),
            seconds: end_us.saturating_sub(begin_us) as f64 / 1e6,
            cpu,
            source_cpu: sent.cpu,
            sink_cpu,
            peak_rss_bytes: Some(memory.peak_bytes).filter(|bytes| *bytes > 0),
            ..Round::default()
        };
        take_in(&mut round, &sent, messages);
        if !is_whole {
            let text = format!("{copies} of {} copies came", sent.copies);
            round.notes.push(text);
        }
        Ok(Outcome {
            round,
            run,
            acknowledged: sent.acknowledged,
            is_whole,
            is_cut: !is_settled,
        })
    }
}

/// What our source has seen.
fn take_in(round: &mut Round, sent: &Sent, messages: u64) {
    let Some(report) = &sent.report else {
        return;
    };
    round.latencies = report.steps.clone();
    (round.deferred, round.refused) = (report.deferred, report.refused);
    round.carried_bytes = Some(report.content_bytes);
    for (what, count) in [
        ("put off", report.deferred),
        ("refused", report.refused),
        ("in doubt", report.in_doubt),
        ("never handed over", report.unsent),
    ] {
        if count > 0 {
            round
                .notes
                .push(format!("{count} of {messages} messages {what}"));
        }
    }
    if report.broken > 0 {
        round
            .notes
            .push(format!("{} connections broke", report.broken));
    }
    let answers = report.answers.iter().take(ANSWERS_MAX);
    round
        .notes
        .extend(answers.map(|(answer, count)| format!("{count} times: {answer}")));
}

/// Answers that a round's notes show.
const ANSWERS_MAX: usize = 3;

/// The largest resident memory so far.
#[derive(Debug, Default)]
struct Memory {
    peak_bytes: u64,
    next_us: u64,
}

impl Memory {
    fn look(&mut self, target: &mut Target<'_>) {
        let now_us = clock::micros();
        if now_us >= self.next_us {
            self.next_us = now_us + MEMORY_PERIOD_US;
            self.look_now(target);
        }
    }

    fn look_now(&mut self, target: &mut Target<'_>) {
        self.peak_bytes = self.peak_bytes.max(target.resident_bytes());
    }
}

/// What has come to the sink, and when the last of it did.
#[derive(Debug, Default)]
struct Seen {
    copies: u64,
    at_us: u64,
}

impl Seen {
    /// Whether waiting is over: all came, or nothing more will.
    fn look(&mut self, copies: u64, wanted: u64) -> Result<bool, Trouble> {
        let now_us = clock::micros();
        if copies > self.copies || self.at_us == 0 {
            self.copies = copies;
            self.at_us = now_us;
        }
        Ok(copies >= wanted || now_us - self.at_us >= STALL_LIMIT_US)
    }
}
