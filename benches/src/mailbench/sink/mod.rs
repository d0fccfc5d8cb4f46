//! The sink: takes what a server delivers, answers by its script, and counts each copy.
//!
//! Here the shards are started, told where to listen, asked what they have, and stopped. How a step is
//! answered is decided in `script`, a connection is led in `session`, what came is counted in `tally`.

mod certificate;
mod keep;
mod output;
mod script;
mod session;
mod shard;
mod sites;
mod tally;
mod zone;

use crate::cli::{SinkOptions, Tls};
use crate::report::Cpu;
use mailrail_runtime::clock;
use mailrail_runtime::shard::{Options, Running, raise_open_files};
use output::Teller;
use script::Script;
use session::Security;
use shard::{Letter, Opened, Opening, Plan};
use signal_hook::consts::{SIGINT, SIGTERM};
use sites::Sites;
use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tally::{Counters, Harvest, Sum};

/// How long a shard may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How often to look for a port that is free at all addresses.
const BIND_TRY_COUNT: usize = 16;
/// Nobody waits for longer without looking whether the shards live.
const LOOK_US: u64 = 500_000;

/// Serves until it is told to end, and reports.
///
/// # Errors
/// When it cannot be started, its report cannot be written, or something is lost.
pub(crate) fn run(options: &SinkOptions) -> Result<(), Box<dyn Error>> {
    let sites = Sites::new(&options.listen, options.hosts.as_deref())?;
    let script = load_script(options)?;
    check(options)?;
    if let Some(directory) = &options.keep {
        fs::create_dir_all(directory)
            .map_err(|error| format!("--keep {}: {error}", directory.display()))?;
    }
    raise_open_files()?;
    // Before the shards, so that no signal finds the process without an ear for it.
    let ends = hear_ends(options.limit_s)?;
    let sink = Sink::start(options, script)?;
    let opened = sink.open(&sites, options.dns)?;
    eprintln!("{}", ready(&opened));
    let mut teller = Teller::default();
    wait(&ends, options.tell_ms, || {
        if options.tell_ms.is_some() {
            teller.tell(sink.sum().told);
        }
        sink.is_alive()
    })?;
    let (sum, harvest) = sink.stop()?;
    if options.tell_ms.is_some() {
        teller.tell(sum.told);
    }
    // The source's files are there only when it has ended.
    let acknowledged = output::load_acknowledged(&options.against);
    let known = acknowledged.as_ref().ok().cloned().unwrap_or_default();
    let report = output::report(&sum, &harvest, &known, Cpu::own());
    output::finish(options, &report, &harvest)?;
    acknowledged.map(drop).map_err(Into::into)
}

fn load_script(options: &SinkOptions) -> Result<Script, String> {
    let Some(path) = &options.script else {
        return Ok(Script::default());
    };
    let at = |why: &dyn std::fmt::Display| format!("--script {}: {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| at(&error))?;
    script::parse(&text).map_err(|why| at(&why))
}

fn check(options: &SinkOptions) -> Result<(), String> {
    if options.domains > zone::DOMAIN_COUNT_MAX {
        return Err(format!(
            "--domains {}: allowed is 0 to {}",
            options.domains,
            zone::DOMAIN_COUNT_MAX
        ));
    }
    Ok(())
}

fn security(tls: Tls) -> Result<Security, String> {
    Ok(match tls {
        Tls::Off => Security::Plain,
        Tls::Starttls => Security::Starttls(certificate::acceptor(shard::HOSTNAME)?),
        Tls::Implicit => Security::Implicit(certificate::acceptor(shard::HOSTNAME)?),
    })
}

/// Says when to end: at a signal, or when the time is over.
fn hear_ends(limit_s: u64) -> Result<Ends, Box<dyn Error>> {
    let (tell, signals) = mpsc::channel();
    let mut heard = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in &mut heard {
                if tell.send(signal).is_err() {
                    return;
                }
            }
        })?;
    let until_us = match limit_s {
        0 => clock::NEVER,
        limit_s => clock::after(limit_s.saturating_mul(1_000_000)),
    };
    Ok(Ends { signals, until_us })
}

struct Ends {
    signals: mpsc::Receiver<i32>,
    until_us: u64,
}

/// Waits for the end, and looks at the shards from time to time.
fn wait(
    ends: &Ends,
    tell_ms: Option<u64>,
    mut look: impl FnMut() -> bool,
) -> Result<(), Box<dyn Error>> {
    let pause_us = tell_ms.map_or(LOOK_US, |tell_ms| tell_ms.max(1).saturating_mul(1000));
    loop {
        let left_us = ends.until_us.saturating_sub(clock::micros());
        if left_us == 0 {
            return Ok(());
        }
        let pause = Duration::from_micros(pause_us.min(left_us));
        match ends.signals.recv_timeout(pause) {
            Ok(_) => return Ok(()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err("nobody listens for signals any more".into());
            }
        }
        if !look() {
            return Err("a shard is gone".into());
        }
    }
}

/// The running shards.
struct Sink {
    running: Running<Letter>,
    plan: Arc<Plan>,
    news: mpsc::Receiver<Opened>,
}

impl Sink {
    fn start(options: &SinkOptions, script: Script) -> Result<Self, Box<dyn Error>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if options.shards == 0 {
            cores
        } else {
            options.shards
        };
        let plan = Arc::new(Plan {
            options: options.clone(),
            script,
            security: security(options.tls)?,
            counters: (0..count).map(|_| Arc::new(Counters::default())).collect(),
        });
        let (tell, news) = mpsc::channel();
        let shards = Options {
            count,
            // The server under load has its cores; the sink goes where there is room.
            pinned: false,
            ..Options::default()
        };
        let for_shards = Arc::clone(&plan);
        let running = mailrail_runtime::shard::run(shards, move |place| {
            shard::live(place, Arc::clone(&for_shards), tell.clone())
        })?;
        Ok(Self {
            running,
            plan,
            news,
        })
    }

    /// Tells the shards where to listen. An address of which something is remembered is one shard's alone;
    /// otherwise all shards listen at all of them.
    fn open(&self, sites: &Sites, dns: Option<SocketAddr>) -> Result<Opening, String> {
        let count = self.running.count();
        let addresses = free(&sites.addresses)?;
        let mut opened = Opening {
            addresses: addresses.clone(),
            dns: None,
            spread: sites.spread(),
        };
        for shard in 0..count {
            let is_its_own = |index: usize| !self.plan.script.remembers() || index % count == shard;
            let indexed = addresses.iter().enumerate();
            let own = indexed.filter(|(index, _)| is_its_own(*index));
            let opening = Opening {
                addresses: own.map(|(_, address)| *address).collect(),
                dns: dns.filter(|_| shard == 0),
                spread: opened.spread.clone(),
            };
            let outside = self.running.outside(shard);
            outside.post(Letter::Open(opening)).map_err(|_| gone())?;
            let answer = self.news.recv_timeout(ANSWER_WAIT).map_err(|_| gone())??;
            if shard == 0 {
                opened.dns = answer.dns;
            }
        }
        Ok(opened)
    }

    fn sum(&self) -> Sum {
        Sum::of(&self.plan.counters)
    }

    fn is_alive(&self) -> bool {
        (0..self.running.count()).all(|shard| !self.running.outside(shard).is_closed())
    }

    fn stop(self) -> Result<(Sum, Harvest), Box<dyn Error>> {
        let (tell, harvests) = mpsc::channel();
        let count = self.running.count();
        for shard in 0..count {
            let letter = Letter::Stop(tell.clone());
            self.running
                .outside(shard)
                .post(letter)
                .map_err(|_| gone())?;
        }
        let mut whole = Harvest::default();
        for _ in 0..count {
            whole.add(harvests.recv_timeout(ANSWER_WAIT).map_err(|_| gone())?);
        }
        // Behind the harvest nothing is counted any more.
        let sum = self.sum();
        self.running.join()?;
        Ok((sum, whole))
    }
}

fn gone() -> String {
    "a shard does not answer".into()
}

/// The addresses, port 0 having become free ones; nobody else listens there. The shards' listeners share
/// their ports, also with those of another sink that was forgotten: so they are looked at before.
fn free(addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, String> {
    let mut tries = BIND_TRY_COUNT;
    loop {
        tries -= 1;
        match try_free(addresses) {
            // What was free at the first address was not at another: take the next.
            Err((address, error))
                if address.port() == 0
                    && error.kind() == std::io::ErrorKind::AddrInUse
                    && tries > 0 => {}
            Err((address, error)) => return Err(format!("cannot listen on {address}: {error}")),
            Ok(free) => return Ok(free),
        }
    }
}

/// Of hosts with one free port the first chooses.
fn try_free(addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, (SocketAddr, std::io::Error)> {
    // All at once, so that no port is given twice.
    let mut held = Vec::with_capacity(addresses.len());
    let mut free: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
    let mut chosen = 0;
    for address in addresses {
        let mut wanted = *address;
        if wanted.port() == 0 && !free.iter().any(|other| other.ip() == wanted.ip()) {
            wanted.set_port(chosen);
        }
        let with_address = |error| (*address, error);
        let listener = TcpListener::bind(wanted).map_err(with_address)?;
        let local = listener.local_addr().map_err(with_address)?;
        if address.port() == 0 && chosen == 0 {
            chosen = local.port();
        }
        free.push(local);
        held.push(listener);
    }
    Ok(free)
}

/// One line for who waits for it.
fn ready(opened: &Opening) -> String {
    let addresses: Vec<String> = opened.addresses.iter().map(ToString::to_string).collect();
    let place = match &*addresses {
        [first, .., last] if addresses.len() > 8 => {
            format!("{first} to {last} ({} addresses)", addresses.len())
        }
        few => few.join(", "),
    };
    let dns = opened
        .dns
        .map_or(String::new(), |dns| format!("; DNS on {dns}"));
    format!("mailbench: sink on {place}{dns}")
}
