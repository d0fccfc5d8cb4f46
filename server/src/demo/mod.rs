//! `mailrail demo`: a whole mail system on loopback, in one process and over real sockets: a server, a
//! DNS server for made-up domains, sinks that take, put off and refuse, and sources that submit.
//!
//! Here is the run as a whole, on the main thread. The server is the very one that `mailrail serve`
//! starts; nothing in it knows that it is being shown.

mod ends;
mod ledger;
mod messages;
mod places;
mod sink;
mod source;
mod table;

use crate::admin;
use crate::config::Config;
use crate::message::Timestamp;
use crate::shard::{Counts, Server};
use ends::{Ends, Waited};
use ledger::{Ledger, Progress, Totals};
use mailrail_runtime::clock;
use messages::Run;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the line of progress is written anew.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);
/// When nothing has happened for so long, nothing will.
const STALL_MICROS: u64 = 30_000_000;
/// After so long the server is asked whether it has anything left.
const QUIET_MICROS: u64 = 3_000_000;
/// The longest a run may take: so much,
const RUN_MICROS_MAX: u64 = 60_000_000;
/// and so much more for each message: a tenth of the pace of a slow machine is still waited for.
const MESSAGE_MICROS_MAX: u64 = 10_000;
/// The pause before what was deferred is tried again: long enough to be seen, and no longer.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// What is open when the server stops gets so long.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Room on the disk that the demonstration leaves free.
const MIN_FREE_SPACE: u64 = 256 * 1024 * 1024;
/// How often to look for a free port.
const BIND_TRY_COUNT: usize = 8;

/// What `mailrail demo` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many messages to submit.
    pub messages: u64,
    /// How many shards; `None`: one a core.
    pub shards: Option<usize>,
    /// Where to keep its data; `None`: a directory of its own, deleted at the end.
    pub data_dir: Option<PathBuf>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Settled,
    Interrupted,
    /// All was accepted, nothing waits, and yet not everything has come out.
    Emptied,
    Stalled,
    TooLong,
}

/// Runs the demonstration and reports on standard output.
pub fn run(options: Options) -> ExitCode {
    match demonstrate(&options) {
        Ok(is_well) if is_well => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            let _ = writeln!(io::stderr(), "mailrail: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The whole of it. `Ok(false)`: it ran, and what it shows is not as it should be.
fn demonstrate(options: &Options) -> Result<bool, String> {
    let is_interrupted = watch_signals().map_err(|error| format!("signals: {error}"))?;
    let tag = getrandom::u32().map_err(|error| format!("no random number: {error}"))?;
    let run = Run {
        tag,
        date: Timestamp::from_unix_millis(clock::unix_millis()),
    };
    let directory = Directory::open(options.data_dir.as_deref(), tag)?;
    let ends = Ends::start(run.clone(), options.messages)?;
    let (server, config) = match start_server(options, &directory.path, &ends) {
        Ok(started) => started,
        Err(why) => {
            let _ = ends.stop();
            return Err(why);
        }
    };
    let address = config.listeners[0].address;
    say(format_args!(
        "mailrail demo: messages: {}, server: {address}, shards: {}, data in {}\n",
        options.messages,
        config.shards,
        directory.path.display(),
    ));
    ends.begin(address)?;
    let end = watch(&ends, &server, &is_interrupted, options.messages)?;
    ends.close()?;
    let counts = server.counts();
    let stopped = server.stop();
    let ledger = ends.stop()?;
    stopped.map_err(|error| format!("the server did not stop well: {error}"))?;
    let waiting = waiting(&config, &run)?;
    let totals = ledger.totals(|number| waiting.contains(&number));
    Ok(report(options, end, &ledger, &totals, &counts))
}

/// Set by SIGINT and SIGTERM; the second one ends the process at once.
///
/// # Errors
/// If the system takes no handler.
pub fn watch_signals() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

/// Where the server keeps its data; one of our own goes when this does.
struct Directory {
    path: PathBuf,
    is_ours: bool,
}

impl Directory {
    fn open(wanted: Option<&Path>, tag: u32) -> Result<Self, String> {
        if let Some(path) = wanted {
            return Ok(Self {
                path: path.to_owned(),
                is_ours: false,
            });
        }
        let path = std::env::temp_dir().join(format!("mailrail-demo-{tag:08x}"));
        std::fs::create_dir(&path)
            .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Self {
            path,
            is_ours: true,
        })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            let path = self.path.display();
            let _ = writeln!(io::stderr(), "mailrail: cannot delete {path}: {error}");
        }
    }
}

/// The embedded defaults, changed for a world that lies on loopback.
fn config(options: &Options, data_dir: &Path, ends: &Ends, address: SocketAddr) -> Config {
    let mut config = Config::embedded();
    config.hostname = places::SERVER.into();
    config.delivery.ehlo_domain = places::SERVER.into();
    config.postmaster = format!("postmaster@{}", places::HOME);
    config.data_dir = data_dir.to_owned();
    config.events.path = data_dir.join("events.jsonl");
    if let Some(shards) = options.shards {
        config.shards = shards;
    }
    for listener in &mut config.listeners {
        listener.address = address;
        listener.max_connections = 100;
    }
    config.dns.servers = vec![ends.addresses.dns];
    config.queue.retry_interval = RETRY_INTERVAL;
    config.delivery.port = ends.addresses.sink_port;
    // The sinks have addresses that mail from outside must never be led to.
    config.delivery.prohibited_hosts = Vec::new();
    config.spool.min_free_space = MIN_FREE_SPACE;
    config.stop_timeout = STOP_TIMEOUT;
    config
}

/// Starts the server at a port that is free. Between being found and being used it may be taken by
/// somebody else: then another is found.
fn start_server(
    options: &Options,
    data_dir: &Path,
    ends: &Ends,
) -> Result<(Server, Config), String> {
    let mut tries = BIND_TRY_COUNT;
    loop {
        tries -= 1;
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let config = config(options, data_dir, ends, address);
        match Server::start(config.clone()) {
            Ok(server) => return Ok((server, config)),
            Err(_) if tries > 0 && TcpListener::bind(address).is_err() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?.local_addr()
}

/// Waits for the end, and shows how far it is.
fn watch(
    ends: &Ends,
    server: &Server,
    is_interrupted: &AtomicBool,
    message_count: u64,
) -> Result<End, String> {
    let begun = clock::micros();
    let run_micros = message_count
        .saturating_mul(MESSAGE_MICROS_MAX)
        .saturating_add(RUN_MICROS_MAX);
    let mut line = Line::new();
    let (mut last, mut last_change) = (Progress::default(), begun);
    loop {
        if ends.wait(SHOW_INTERVAL)? == Waited::Settled {
            return Ok(End::Settled);
        }
        if is_interrupted.load(Ordering::Relaxed) {
            return Ok(End::Interrupted);
        }
        let progress = ends.progress()?;
        let now = clock::micros();
        line.show(&progress, now);
        let quiet = now - last_change;
        if progress != last {
            (last, last_change) = (progress, now);
        } else if quiet > STALL_MICROS {
            return Ok(End::Stalled);
        } else if quiet > QUIET_MICROS
            && progress.accepted == message_count
            && server.counts().waiting == 0
        {
            return Ok(End::Emptied);
        }
        if now - begun > run_micros {
            return Ok(End::TooLong);
        }
    }
}

/// The line of progress, on a terminal.
struct Line {
    is_shown: bool,
    last: Progress,
    last_at: u64,
}

impl Line {
    fn new() -> Self {
        Self {
            is_shown: io::stderr().is_terminal(),
            last: Progress::default(),
            last_at: clock::micros(),
        }
    }

    fn show(&mut self, progress: &Progress, now: u64) {
        if !self.is_shown {
            return;
        }
        let text = table::progress(progress, &self.last, now - self.last_at);
        (self.last, self.last_at) = (*progress, now);
        // To the beginning of the line; behind the text it is cleared.
        let _ = write!(io::stderr(), "\r{text}\x1b[K");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// The numbers of the messages that the stopped server left in its spool, be it themselves or as a
/// bounce on its way home.
fn waiting(config: &Config, run: &Run) -> Result<HashSet<u64>, String> {
    let mut numbers = HashSet::new();
    let read = admin::each_recipient(config, &mut |recipient| {
        let local_part = recipient
            .split_once('@')
            .map_or(recipient, |(local, _)| local);
        numbers.extend(run.number_in(local_part));
    });
    read.map_err(|error| format!("the spool cannot be read: {error}"))?;
    Ok(numbers)
}

/// Says what it came to; whether that is well.
fn report(options: &Options, end: End, ledger: &Ledger, totals: &Totals, counts: &Counts) -> bool {
    let mut out = String::from("\n");
    match end {
        End::Settled => {}
        End::Interrupted => out.push_str("interrupted\n\n"),
        End::Emptied => out.push_str("the queue is empty, but not everything has come out\n\n"),
        End::Stalled => out.push_str("ended early: nothing has happened for 30 s\n\n"),
        End::TooLong => out.push_str("ended early: it took too long\n\n"),
    }
    out.push_str(&table::table(ledger, totals, counts));
    if let Some(words) = ledger.last_refusal() {
        out.push_str(&format!(
            "\nthe server refused, the last time with: {words}\n"
        ));
    }
    say(format_args!("{out}\n{}\n", table::last_line(totals)));
    let is_complete = end == End::Interrupted || totals.accepted == options.messages;
    totals.lost == 0 && totals.altered == 0 && totals.undue == 0 && is_complete
}

fn say(what: std::fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    // Whoever reads may have had enough.
    let _ = out.write_fmt(what).and_then(|()| out.flush());
}
