//! The command line. What a flag means is said here once; what is done with it is not known here.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Loads mail servers, takes their mail, and compares them.
#[derive(Debug, Parser)]
#[command(name = "mailbench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Hands messages to a server, at a rate or as fast as it takes them
    Source(Box<SourceOptions>),
    /// Takes messages, answers by a script, and counts each copy
    Sink(Box<SinkOptions>),
    /// Runs source, server and sink for each server in turn, and prints the table
    Compare(Box<CompareOptions>),
    /// Draws and judges the results of an earlier comparison anew
    Pages(PagesOptions),
    /// Asks the disk what a write with fdatasync of 4 KiB takes; `compare` runs it beside a load
    #[command(hide = true)]
    ProbeDisk(ProbeDiskOptions),
}

/// What a connection does about TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tls {
    /// Plain text
    Off,
    /// STARTTLS (RFC 3207 section 4); the certificate is not checked
    Starttls,
    /// TLS from the first byte (RFC 8314 section 3.3); the certificate is not checked
    Implicit,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SourceOptions {
    /// The server: address and port
    pub(crate) server: SocketAddr,
    /// Connections at the same time
    #[arg(short, long, default_value_t = 50)]
    pub(crate) sessions: u32,
    /// Messages in all
    #[arg(short, long, default_value_t = 10_000)]
    pub(crate) messages: u64,
    /// Messages a second in all sessions together: an open loop, whose latencies count from the moment at
    /// which a message was due. Without it: as fast as the server takes them
    #[arg(short, long)]
    pub(crate) rate: Option<f64>,
    /// Bytes of content: a number (4096, 4k, 1M), a list (4k:9,100k:1, with weights) or lognormal:MEDIAN:SIGMA
    #[arg(short = 'l', long, default_value = "4096")]
    pub(crate) size: String,
    /// Recipients of each message, in one transaction
    #[arg(long, default_value_t = 1)]
    pub(crate) recipients: u32,
    /// Messages on one connection; 0: all that the session has
    #[arg(long, default_value_t = 0)]
    pub(crate) per_connection: u32,
    /// Send commands in groups where the server offers it (RFC 2920 section 3.1)
    #[arg(long)]
    pub(crate) pipelining: bool,
    /// Send the content by BDAT where the server offers it (RFC 3030 section 2)
    #[arg(long)]
    pub(crate) bdat: bool,
    /// TLS
    #[arg(long, value_enum, default_value_t = Tls::Off)]
    pub(crate) tls: Tls,
    /// Log in (AUTH PLAIN, RFC 4954 section 4): user:password
    #[arg(long)]
    pub(crate) auth: Option<String>,
    /// Domains the senders are in: d0.sender.example and so on
    #[arg(long, default_value_t = 1)]
    pub(crate) sender_domains: u32,
    /// Domains the recipients are in: d0.rcpt.example and so on
    #[arg(long, default_value_t = 1)]
    pub(crate) recipient_domains: u32,
    /// How unevenly mail is spread over the domains: the exponent of Zipf's law; 0: evenly
    #[arg(long, default_value_t = 0.0)]
    pub(crate) zipf: f64,
    /// Threads; 0: one a core
    #[arg(long, default_value_t = 1)]
    pub(crate) shards: usize,
    /// Ends after so many seconds, whatever is left
    #[arg(long, default_value_t = 300)]
    pub(crate) limit_s: u64,
    /// The number of this run, in the recipients' addresses (see `identity`); otherwise random
    #[arg(long)]
    pub(crate) run: Option<u32>,
    /// A seed for sizes, domains and content
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A line on stderr each second
    #[arg(long)]
    pub(crate) live: bool,
    /// Writes the report as JSON (`report::SourceReport`); `-`: to stdout, instead of the table
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Writes which copies were acknowledged (`identity::Copies`)
    #[arg(long)]
    pub(crate) acknowledged: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SinkOptions {
    /// Where to listen; may be given more than once
    #[arg(long = "listen", required = true)]
    pub(crate) listen: Vec<SocketAddr>,
    /// Addresses of 127.0.0.0/8 that all have the first port: FIRST,COUNT (127.1.0.1,50); instead of many --listen
    #[arg(long)]
    pub(crate) hosts: Option<String>,
    /// How it answers: a TOML file (`sink::script`); without: everything is accepted at once
    #[arg(long)]
    pub(crate) script: Option<PathBuf>,
    /// TLS: offered (starttls) or from the first byte (implicit); the certificate is made at the start
    #[arg(long, value_enum, default_value_t = Tls::Off)]
    pub(crate) tls: Tls,
    /// Offer CHUNKING (RFC 3030 section 2)
    #[arg(long)]
    pub(crate) bdat: bool,
    /// Do not offer PIPELINING
    #[arg(long)]
    pub(crate) no_pipelining: bool,
    /// Answer DNS here (UDP and TCP): DOMAINS of dN.rcpt.example by MX on as many sites as there are addresses
    #[arg(long)]
    pub(crate) dns: Option<SocketAddr>,
    /// Domains of the zone
    #[arg(long, default_value_t = 1000)]
    pub(crate) domains: u32,
    /// Keep each message in a file of this directory
    #[arg(long)]
    pub(crate) keep: Option<PathBuf>,
    /// Threads; 0: one a core
    #[arg(long, default_value_t = 1)]
    pub(crate) shards: usize,
    /// Ends after so many seconds; 0: only when it is told to (SIGTERM, SIGINT)
    #[arg(long, default_value_t = 0)]
    pub(crate) limit_s: u64,
    /// Writes a line of JSON (`report::Told`) to stdout after so many milliseconds in which something came
    #[arg(long)]
    pub(crate) tell_ms: Option<u64>,
    /// Writes the report as JSON (`report::SinkReport`) at the end; `-`: to stdout, instead of the table
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// A directory in which, at the end, RUN.copies says how often each copy came (`identity::Copies`)
    #[arg(long)]
    pub(crate) received: Option<PathBuf>,
    /// Compare with what a source had acknowledged (`source --acknowledged`): tell losses and duplicates
    #[arg(long)]
    pub(crate) against: Vec<PathBuf>,
}

/// Whose load and sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ends {
    /// `mailbench source` and `mailbench sink`: losses and duplicates are counted
    Mailbench,
    /// Postfix's smtp-source and smtp-sink: nobody's ends, messages are counted only
    Postfix,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CompareOptions {
    /// Servers to compare: names of adapters (see --adapters); without: all whose programs are here
    #[arg(long = "server")]
    pub(crate) servers: Vec<String>,
    /// Scenarios to run, by name; without: those of the table in README.md
    #[arg(long = "scenario")]
    pub(crate) scenarios: Vec<String>,
    /// Lists servers and scenarios, and what is missing for which
    #[arg(long)]
    pub(crate) list: bool,
    /// Interleaved rounds; without: what each scenario asks for
    #[arg(long)]
    pub(crate) rounds: Option<u32>,
    /// Messages a round; without: what each scenario asks for
    #[arg(long)]
    pub(crate) messages: Option<u64>,
    /// Whose load and sink; without: what each scenario asks for
    #[arg(long, value_enum)]
    pub(crate) ends: Option<Ends>,
    /// Directory of the adapters (TOML)
    #[arg(long, default_value = "benches/adapters")]
    pub(crate) adapters: PathBuf,
    /// Directory for programs that are not installed (see adapters/fetch.sh)
    #[arg(long, default_value = "target/mtas")]
    pub(crate) programs: PathBuf,
    /// The mailrail binary
    #[arg(long, default_value = "target/release/mailrail")]
    pub(crate) mailrail: PathBuf,
    /// Address for everything that listens
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// Directory for results: results.json, results.md, plots
    #[arg(long, default_value = "target/mailbench")]
    pub(crate) out: PathBuf,
    /// A server's round ends after so many seconds at the latest
    #[arg(long, default_value_t = 300)]
    pub(crate) limit_s: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ProbeDiskOptions {
    /// Its files stand here, with endings of their own, and are deleted at the end
    #[arg(long)]
    pub(crate) file: PathBuf,
    /// Ends after so many seconds, or when it is told to (SIGTERM, SIGINT)
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Milliseconds between two writes
    #[arg(long, default_value_t = 10)]
    pub(crate) pace_ms: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PagesOptions {
    /// results.json of a comparison
    pub(crate) results: PathBuf,
    /// Directory for results.md and plots; without: where the results are
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}
