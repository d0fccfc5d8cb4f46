//! The source: sessions that hand messages to a server, and what each step took.
//!
//! ```text
//! plan ──► supply ──► session ──► dialogue ──► (the server)
//! what     which is   connects    carries        │ answers
//! is meant next       and again   bytes          ▼
//!            ▲                    hearing ───► tally ──► output
//!            └──────── back ──────┘
//! ```
//! Here the shards are started, watched and ended, and their tallies added.

mod content;
mod dialogue;
mod message;
mod outgoing;
mod output;
mod plan;
mod session;
mod shard;
mod supply;
mod tally;

use crate::cli::SourceOptions;
use crate::report::Cpu;
use content::Content;
use mailrail::demo::watch_signals;
use mailrail::message::Timestamp;
use mailrail_runtime::shard::Running;
use mailrail_runtime::{clock, shard as shards};
use plan::{Plan, Purpose, draw};
use shard::{Letter, Work};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tally::{Progress, Tally};

/// How often the main thread looks whether it is time to end.
const LOOK: Duration = Duration::from_millis(50);
/// How long messages under way may take when it is.
const GRACE_US: u64 = 5_000_000;
/// How long a shard may take to tell how far it has come.
const SHOW_WAIT: Duration = Duration::from_millis(500);
/// Descriptors beside those of the sessions: of io_uring, of eventfds, of files.
const OTHER_DESCRIPTORS: u64 = 64;

/// Runs the load and reports on it.
///
/// # Errors
/// When it cannot be started, nobody could be sent anything, or its report cannot be written.
pub(crate) fn run(options: &SourceOptions) -> Result<(), Box<dyn Error>> {
    let chosen = draw(
        clock::unix_millis(),
        Purpose::Run,
        std::process::id().into(),
    );
    let plan = Plan::check(options, chosen as u32)?;
    let descriptors = shards::raise_open_files()?;
    if u64::from(plan.session_count) + OTHER_DESCRIPTORS > descriptors {
        return Err(format!(
            "{} sessions need more open files than the {descriptors} that are allowed (ulimit -n)",
            plan.session_count
        )
        .into());
    }
    let is_interrupted = watch_signals()?;
    let content = Content::new(plan.size_max(), plan.seed);
    let date = Timestamp::from_unix_millis(clock::unix_millis()).date();
    let work = Arc::new(Work {
        plan,
        content,
        date: date.to_vec(),
    });
    let (results, tallies) = mpsc::channel();
    let shard_options = shards::Options {
        count: options.shards,
        // A server beside this one has pinned shards of its own; this one goes where there is room.
        pinned: false,
        ..shards::Options::default()
    };
    let shared = Arc::clone(&work);
    let running = shards::run(shard_options, move |place| {
        shard::inhabit(place, Arc::clone(&shared), results.clone())
    })?;
    let mut watch = Watch::new(options);
    let mut total: Option<Tally> = None;
    let mut left = running.count();
    while left > 0 {
        match tallies.recv_timeout(LOOK) {
            Ok(tally) => {
                left -= 1;
                match &mut total {
                    None => total = Some(tally),
                    Some(total) => total.add(&tally),
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                watch.look(&running, is_interrupted.load(Ordering::Relaxed));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    running.join()?;
    let total = total.ok_or("no shard has told what it saw")?;
    report(options, &work.plan, &total)
}

/// Tells what was seen, and fails if that is nothing.
fn report(options: &SourceOptions, plan: &Plan, total: &Tally) -> Result<(), Box<dyn Error>> {
    let nothing = total.useless.as_ref().or(match total.ready_count {
        0 => total.first_loss.as_ref(),
        _ => None,
    });
    if let (Some(why), 0) = (nothing, total.messages) {
        return Err(format!("{}: {why}", plan.server).into());
    }
    let mut report = total.report(plan.message_count);
    report.run = plan.run;
    report.conditions = output::conditions(options);
    report.cpu = Cpu::own();
    if let (Some(path), Some(copies)) = (&options.acknowledged, &total.acknowledged) {
        copies
            .save(plan.run, path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    output::write(&report, options.json.as_deref())?;
    match &total.useless {
        Some(why) => Err(format!("{}: ended early: {why}", plan.server).into()),
        None => Ok(()),
    }
}

/// What the main thread does while the shards work.
struct Watch {
    is_live: bool,
    begun: u64,
    /// When the next live line is due.
    line_at: u64,
    /// When no more messages are begun.
    close_at: u64,
    /// When it ends, whatever is under way.
    cut_at: u64,
    is_closed: bool,
    told: Progress,
}

const SECOND_US: u64 = 1_000_000;

impl Watch {
    fn new(options: &SourceOptions) -> Self {
        let begun = clock::micros();
        Self {
            is_live: options.live,
            begun,
            line_at: begun + SECOND_US,
            close_at: clock::after(options.limit_s.saturating_mul(SECOND_US)),
            cut_at: clock::NEVER,
            is_closed: false,
            told: Progress::default(),
        }
    }

    fn look(&mut self, running: &Running<Letter>, is_interrupted: bool) {
        let now = clock::micros();
        if !self.is_closed && (is_interrupted || now >= self.close_at) {
            self.is_closed = true;
            self.cut_at = now + GRACE_US;
            post(running, || Letter::Close);
        }
        if now >= self.cut_at {
            self.cut_at = clock::NEVER;
            post(running, || Letter::Cut);
        }
        if self.is_live && now >= self.line_at {
            self.line_at += SECOND_US;
            let progress = ask(running);
            let second = (now - self.begun) / SECOND_US;
            eprintln!("{}", output::live(second, &progress, &self.told));
            self.told = progress;
        }
    }
}

fn post(running: &Running<Letter>, letter: impl Fn() -> Letter) {
    for shard in 0..running.count() {
        // A shard that is gone has told all.
        let _ = running.outside(shard).post(letter());
    }
}

/// How far all shards have come together; of the times the worst.
fn ask(running: &Running<Letter>) -> Progress {
    let (answer, answers) = mpsc::channel();
    post(running, || Letter::Show(answer.clone()));
    drop(answer);
    let mut sum = Progress::default();
    while let Ok(one) = answers.recv_timeout(SHOW_WAIT) {
        sum.messages += one.messages;
        sum.deferred += one.deferred;
        sum.refused += one.refused;
        sum.open += one.open;
        sum.p50_us = sum.p50_us.max(one.p50_us);
        sum.p99_us = sum.p99_us.max(one.p99_us);
    }
    sum
}
