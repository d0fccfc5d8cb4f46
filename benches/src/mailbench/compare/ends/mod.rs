//! The ends of a comparison: a source that loads and a sink that counts, as processes. Two kinds: our own, which are
//! this program again, and Postfix's smtp-source and smtp-sink. What a round makes of them is not known here.
//!
//! A sink of either kind writes what it has so far into a file that is read again and again; neither is
//! asked, so counting costs it the same whoever has his turn.

mod postfix;
mod told;

pub(crate) use told::Count;

use super::child::Running;
use super::sample::Whose;
use super::scenario::{self, Load};
use super::watch::{Trouble, Watch, failed};
use crate::cli::{Ends, Tls};
use crate::report::{Cpu, SinkReport, SourceReport};
use mailrail_runtime::clock;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Between two lines of our sink: so exactly is the end of a round known.
const TELL_MS: u64 = 5;
/// Time for a sink to be there.
const START_LIMIT_S: u64 = 20;
/// Time for a sink to write its report.
const STOP_LIMIT_S: u64 = 30;
/// A sink that nobody stopped ends by itself after so long.
const SINK_LIMIT_S: u64 = 3600;
/// Bytes of the end of a sink's file: longer than its longest line.
const TAIL_LEN: u64 = 512;
/// The first of the sink's addresses, where it has several sites.
const FIRST_SITE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 1, 0, 1));

/// A sink that runs: for all servers and rounds of a scenario.
#[derive(Debug)]
pub(crate) struct Sink {
    kind: Ends,
    running: Running,
    address: SocketAddr,
    dns: Option<SocketAddr>,
    told: PathBuf,
    report: PathBuf,
    received: PathBuf,
}

impl Sink {
    /// Starts it and waits until it greets.
    ///
    /// # Errors
    /// When it does not, or cannot do what it should.
    pub(crate) fn start(
        kind: Ends,
        wanted: &scenario::Sink,
        dns_port: Option<u16>,
        address: IpAddr,
        directory: &Path,
        watch: &Watch,
    ) -> Result<Self, Trouble> {
        let first = wanted.sites.map_or(address, |_| FIRST_SITE);
        let address_of_sink = free_address(first)?;
        let dns = match (wanted.sites, dns_port) {
            (None, _) => None,
            (Some(_), Some(port)) => Some(SocketAddr::new(address, port)),
            (Some(_), None) => Some(free_address(address)?),
        };
        let told = directory.join("sink.told");
        let (report, received) = (directory.join("sink.json"), directory.join("received"));
        let file = File::create(&told).map_err(|error| failed(told.display(), error))?;
        let mut command = match kind {
            Ends::Postfix => postfix::sink(address_of_sink),
            Ends::Mailbench => {
                fs::create_dir_all(&received).map_err(|error| failed(received.display(), error))?;
                let script = directory.join("sink.toml");
                if let Some(text) = wanted.script {
                    fs::write(&script, text).map_err(|error| failed(script.display(), error))?;
                }
                let mut command = own_program()?;
                sink_arguments(&mut command, wanted, address_of_sink, dns, &script);
                command.arg("--json").arg(&report);
                command.arg("--received").arg(&received);
                command
            }
        };
        let mut running = Running::start(command.stdout(file), "sink", directory)?;
        let deadline_us = clock::after(START_LIMIT_S * 1_000_000);
        let greets = watch.until(deadline_us, 5, || {
            running.still_runs()?;
            Ok(greets(address_of_sink))
        })?;
        if !greets {
            let text = format!("the sink does not greet within {START_LIMIT_S} s");
            return Err(Trouble::Failed(text));
        }
        Ok(Self {
            kind,
            running,
            address: address_of_sink,
            dns,
            told,
            report,
            received,
        })
    }

    /// Where it listens: the first of its addresses.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its DNS.
    pub(crate) fn dns(&self) -> Option<SocketAddr> {
        self.dns
    }

    /// What it has so far.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn count(&mut self) -> Result<Count, Trouble> {
        let problem = |error| failed(self.told.display(), error);
        let mut file = File::open(&self.told).map_err(problem)?;
        let len = file.metadata().map_err(problem)?.len();
        let from = len.saturating_sub(TAIL_LEN);
        let mut tail = Vec::with_capacity(TAIL_LEN as usize);
        file.seek(SeekFrom::Start(from)).map_err(problem)?;
        file.take(TAIL_LEN)
            .read_to_end(&mut tail)
            .map_err(problem)?;
        let count = match self.kind {
            Ends::Mailbench => told::last_line(&tail),
            Ends::Postfix => told::last_of_smtp_sink(&tail),
        };
        if count.is_none() {
            self.running.still_runs()?;
        }
        Ok(count.unwrap_or_default())
    }

    /// Whose processor time it is.
    pub(crate) fn whose(&self) -> Whose {
        Whose::Processes(vec![self.running.pid()])
    }

    /// Where, after `finish`, the files of what was received are; smtp-sink writes none.
    pub(crate) fn received(&self) -> Option<&Path> {
        (self.kind == Ends::Mailbench).then_some(self.received.as_path())
    }

    /// Ends it; our own writes what it has received, and reports.
    ///
    /// # Errors
    /// When there is no report.
    pub(crate) fn finish(&mut self, watch: &Watch) -> Result<Option<SinkReport>, Trouble> {
        self.running.stop(watch, STOP_LIMIT_S * 1000)?;
        match self.kind {
            Ends::Postfix => Ok(None),
            Ends::Mailbench => read_report(&self.report).map(Some),
        }
    }
}

/// A source at work: one load.
#[derive(Debug)]
pub(crate) struct Source {
    kind: Ends,
    running: Running,
    messages: u64,
    report: PathBuf,
    acknowledged: PathBuf,
}

/// What a source has done.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Copies that were acknowledged.
    pub(crate) copies: u64,
    /// Processor time of the source.
    pub(crate) cpu: Cpu,
    /// Our own source's.
    pub(crate) report: Option<SourceReport>,
    /// The file of what was acknowledged; smtp-source writes none.
    pub(crate) acknowledged: Option<PathBuf>,
}

/// A load for a source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) server: SocketAddr,
    pub(crate) load: &'a Load,
    pub(crate) messages: u64,
    /// The number in the recipients' addresses.
    pub(crate) run: u32,
    /// Whom smtp-source writes to, if not to the usual one; ours names each copy.
    pub(crate) recipient: Option<&'a str>,
    /// It ends after so many seconds, whatever is left.
    pub(crate) limit_s: u64,
}

impl Source {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started, or cannot do what it should.
    pub(crate) fn start(kind: Ends, order: Order<'_>, directory: &Path) -> Result<Self, Trouble> {
        let name = format!("source-{:08x}", order.run);
        let report = directory.join(format!("{name}.json"));
        let acknowledged = directory.join(format!("{name}.copies"));
        let mut command = match kind {
            Ends::Postfix => postfix::source(order)?,
            Ends::Mailbench => {
                let mut command = own_program()?;
                source_arguments(&mut command, order);
                command.arg("--json").arg(&report);
                command.arg("--acknowledged").arg(&acknowledged);
                command
            }
        };
        let log = directory.join(format!("{name}.out"));
        let file = File::create(&log).map_err(|error| failed(log.display(), error))?;
        Ok(Self {
            kind,
            running: Running::start(command.stdout(file), &name, directory)?,
            messages: order.messages,
            report,
            acknowledged,
        })
    }

    /// What it has done, once it has ended.
    ///
    /// # Errors
    /// When it ended badly.
    pub(crate) fn sent(&mut self) -> Result<Option<Sent>, Trouble> {
        if !self.running.has_ended() {
            return Ok(None);
        }
        // Read before it is waited for: then its counters are gone.
        let used = Whose::Processes(vec![self.running.pid()]).used();
        let cpu = used.since(super::sample::Used::default());
        let status = self.running.status()?;
        if let Some(status) = status.filter(|status| !status.success()) {
            return Err(self.running.ended(status));
        }
        let report = match self.kind {
            Ends::Postfix => None,
            Ends::Mailbench => Some(read_report::<SourceReport>(&self.report)?),
        };
        Ok(Some(Sent {
            // smtp-source ends badly unless all were taken.
            copies: report
                .as_ref()
                .map_or(self.messages, |report| report.copies),
            cpu,
            acknowledged: report.is_some().then(|| self.acknowledged.clone()),
            report,
        }))
    }
}

fn read_report<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Trouble> {
    let text = fs::read(path).map_err(|error| failed(path.display(), error))?;
    serde_json::from_slice(&text).map_err(|error| failed(path.display(), error))
}

/// This program again.
fn own_program() -> Result<Command, Trouble> {
    let path = std::env::current_exe().map_err(|error| failed("this program", error))?;
    Ok(Command::new(path))
}

fn sink_arguments(
    command: &mut Command,
    wanted: &scenario::Sink,
    address: SocketAddr,
    dns: Option<SocketAddr>,
    script: &Path,
) {
    command.args(["sink", "--listen", &address.to_string()]);
    command.args(["--tell-ms", &TELL_MS.to_string()]);
    command.args(["--limit-s", &SINK_LIMIT_S.to_string()]);
    command.args(["--tls", tls(wanted.tls)]);
    if wanted.bdat {
        command.arg("--bdat");
    }
    if wanted.script.is_some() {
        command.arg("--script").arg(script);
    }
    if let (Some(sites), Some(dns)) = (wanted.sites, dns) {
        command.args(["--hosts", &format!("{FIRST_SITE},{}", sites.site_count)]);
        command.args(["--dns", &dns.to_string()]);
        command.args(["--domains", &sites.domain_count.to_string()]);
    }
}

fn source_arguments(command: &mut Command, order: Order<'_>) {
    let load = order.load;
    command.args(["source", &order.server.to_string()]);
    for (flag, value) in [
        ("--sessions", u64::from(load.sessions)),
        ("--messages", order.messages),
        ("--size", load.size_len),
        ("--per-connection", u64::from(load.per_connection)),
        ("--recipient-domains", u64::from(load.recipient_domains)),
        ("--run", u64::from(order.run)),
        ("--limit-s", order.limit_s),
    ] {
        command.args([flag, &value.to_string()]);
    }
    command.args(["--tls", tls(load.tls)]);
    if let Some(rate) = load.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    for (flag, is_set) in [("--pipelining", load.pipelining), ("--bdat", load.bdat)] {
        if is_set {
            command.arg(flag);
        }
    }
}

/// As the command line has it.
pub(crate) fn tls(tls: Tls) -> &'static str {
    match tls {
        Tls::Off => "off",
        Tls::Starttls => "starttls",
        Tls::Implicit => "implicit",
    }
}

/// What is missing for ends of this kind, if anything.
pub(crate) fn missing(kind: Ends) -> Option<String> {
    match kind {
        Ends::Mailbench => None,
        Ends::Postfix => postfix::missing(),
    }
}

/// An address that nobody has now, below the ports of outgoing connections: those would take it before a
/// server does.
///
/// # Errors
/// When a thousand are taken.
pub(crate) fn free_address(address: IpAddr) -> Result<SocketAddr, Trouble> {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    // Two comparisons at the same time begin elsewhere, and one never gives an address twice.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(7919);
    let mut last = None;
    for _ in 0..1000 {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        match TcpListener::bind((address, (FIRST + next % COUNT) as u16)) {
            Ok(listener) => {
                return listener
                    .local_addr()
                    .map_err(|error| failed(address, error));
            }
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(String::new, |error| error.to_string());
    Err(failed(format_args!("no free port at {address}"), why))
}

/// Whether somebody says 220 there.
pub(crate) fn greets(address: SocketAddr) -> bool {
    const WAIT: Duration = Duration::from_secs(2);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, WAIT) else {
        return false;
    };
    let mut code = [0; 3];
    let _ = stream.set_read_timeout(Some(WAIT));
    stream.read_exact(&mut code).is_ok() && &code == b"220"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command as Parsed};
    use clap::Parser as _;

    fn parsed(command: &Command) -> Parsed {
        let program = std::iter::once(command.get_program());
        Cli::try_parse_from(program.chain(command.get_args()))
            .expect("the command line is understood")
            .command
    }

    #[test]
    fn our_own_ends_understand_what_every_scenario_asks_of_them() {
        for scenario in scenario::ALL {
            let (server, run) = (SocketAddr::from(([127, 0, 0, 1], 2525)), 0xbad_cafe);
            let order = Order {
                server,
                load: &scenario.load,
                messages: 77,
                run,
                recipient: None,
                limit_s: 9,
            };
            let mut command = Command::new("mailbench");
            source_arguments(&mut command, order);
            let Parsed::Source(options) = parsed(&command) else {
                panic!("a source");
            };
            assert_eq!((options.server, options.run), (server, Some(run)));
            assert_eq!((options.messages, options.limit_s), (77, 9));
            assert_eq!(options.sessions, scenario.load.sessions);
            assert_eq!(options.size, scenario.load.size_len.to_string());
            let flags = (options.pipelining, options.bdat, options.tls);
            let load = scenario.load;
            assert_eq!(flags, (load.pipelining, load.bdat, load.tls));

            let mut command = Command::new("mailbench");
            let dns = scenario.sink.sites.map(|_| server);
            sink_arguments(
                &mut command,
                &scenario.sink,
                server,
                dns,
                Path::new("s.toml"),
            );
            let Parsed::Sink(options) = parsed(&command) else {
                panic!("a sink");
            };
            assert_eq!(options.listen, [server]);
            assert_eq!(options.dns, dns);
            assert_eq!(options.script.is_some(), scenario.sink.script.is_some());
        }
    }

    #[test]
    fn a_free_address_is_below_those_of_outgoing_connections() {
        let address = free_address(IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("a port");
        assert!((10_000..30_000).contains(&address.port()));
    }
}
