//! The configuration as meant: plain data, every field usable without a question.
//!
//! `file` is what an operator typed, `check` turns it into a [`Config`] or into one
//! [`ConfigError`] that names file, line, key and what would be right. Only [`Config::load`]
//! and [`Surroundings::of_this_machine`] read anything from the machine; all else is pure.
//! A `Config` is `Send + Clone`: the main thread checks a file and sends each shard its own copy.

mod check;
mod error;
mod file;
mod route;
mod show;
mod tls;
mod units;

use mailrail_runtime::tls::{Acceptor, Roots};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::message::Durability;
pub use error::ConfigError;
pub use route::{Host, Pattern, Route, Routes, Via};
pub use tls::{CertificateFiles, DeliveryTls, ListenerTls, Loaded};
pub use units::Network;

/// Everything the server needs to know, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file this came from; `None` for the embedded defaults. A reload reads it again.
    pub path: Option<PathBuf>,
    /// The name in greetings, in EHLO and in Received.
    pub hostname: String,
    /// Spool, logs, lock and admin socket live below it.
    pub data_dir: PathBuf,
    /// How many shards run, one pinned core each.
    pub shards: usize,
    /// Where mail comes in; never empty, no address twice.
    pub listeners: Vec<Listener>,
    /// Who may send to foreign domains.
    pub relay: Relay,
    /// Domains that do not go by MX.
    pub routes: Routes,
    /// The resolvers.
    pub dns: Dns,
    /// When to try again, and for how long.
    pub queue: Queue,
    /// How mail goes out.
    pub delivery: Delivery,
    /// Where accepted mail is kept.
    pub spool: Spool,
    /// The log of events.
    pub events: Events,
    /// How long an open body may go on when the server stops.
    pub stop_timeout: Duration,
    /// The mailbox that bounces name as their author.
    pub postmaster: String,
}

/// One address that accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port to bind; the port is never 0.
    pub address: SocketAddr,
    /// Open connections at once, over all shards.
    pub max_connections: u32,
    /// Messages on one connection before it is closed with a 421.
    pub max_messages_per_connection: u32,
    /// Recipients of one message.
    pub max_recipients_per_message: u32,
    /// Bytes of one message; advertised with SIZE.
    pub max_message_size: u64,
    /// Silence of the client before a 421.
    pub client_timeout: Duration,
    /// What a bare CR or LF in the content leads to.
    pub invalid_line_endings: LineEndings,
    /// How sure a message is before its 250.
    pub durability: Durability,
    /// How TLS is offered.
    pub tls: ListenerTls,
    /// The certificate for it; there unless TLS is off.
    pub certificate: Option<CertificateFiles>,
    /// What was read of those files.
    pub acceptor: Loaded<Acceptor>,
}

/// What happens to content with a bare CR or LF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineEndings {
    /// Refused with `550 5.6.11`.
    Deny,
}

/// Who may relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Clients in one of these networks may send to any domain.
    pub hosts: Vec<Network>,
}

impl Relay {
    /// Whether a client at `address` may send to any domain.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.hosts.iter().any(|network| network.contains(address))
    }
}

/// The resolvers and how long to wait for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Asked in this order; never empty.
    pub servers: Vec<SocketAddr>,
    /// How long one question to one server may take.
    pub timeout: Duration,
}

/// The retry curve and the limits of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The first pause; it doubles with each attempt.
    pub retry_interval: Duration,
    /// The longest pause; `None`: it goes on doubling.
    pub max_retry_interval: Option<Duration>,
    /// After this long a message is returned to its sender.
    pub max_age: Duration,
    /// Ready messages of a lane or domain that is not known to take mail: so many share a failure to connect
    /// or to resolve, and may have their content in memory. More wait behind them as scheduled ones do: on
    /// the disk, and without an attempt of theirs.
    pub max_ready: u32,
}

/// How mail goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Connections to one site at once, over all shards; routes have their own.
    pub connection_limit: u32,
    /// Messages over one connection before it is closed.
    pub max_deliveries_per_connection: u32,
    /// Recipients in one transaction.
    pub max_recipients_per_batch: u32,
    /// For the connection itself.
    pub connect_timeout: Duration,
    /// From the connection to the greeting.
    pub banner_timeout: Duration,
    /// For the answer to EHLO and HELO.
    pub ehlo_timeout: Duration,
    /// For the answer to MAIL.
    pub mail_from_timeout: Duration,
    /// For the answer to RCPT.
    pub rcpt_to_timeout: Duration,
    /// For the answer to DATA, and for each block of the body to be taken.
    pub data_timeout: Duration,
    /// For the answer to the end of the data.
    pub data_dot_timeout: Duration,
    /// How long a connection without work is kept.
    pub idle_timeout: Duration,
    /// The port of MX hosts.
    pub port: u16,
    /// Addresses that an MX must not lead to; hosts named in a route are allowed.
    pub prohibited_hosts: Vec<Network>,
    /// The local address to connect from; `None`: the kernel's choice.
    pub source_address: Option<IpAddr>,
    /// The name in EHLO; the hostname unless set.
    pub ehlo_domain: String,
    /// Whether connections are encrypted.
    pub enable_tls: DeliveryTls,
    /// The certificates that are trusted to speak for others, where that is asked for.
    pub ca_file: PathBuf,
    /// What was read of it.
    pub roots: Loaded<Roots>,
    /// Whether the log is told of each message whose end is about to be sent.
    pub in_doubt: DoubtJournal,
    /// What becomes of recipients of whom it is not known whether the next host has taken their message;
    /// never other than `Retry` without the journal.
    pub in_doubt_policy: DoubtPolicy,
}

/// Whether what is in doubt is written down before it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubtJournal {
    /// Nothing is written: a crash leaves no trace of what was in doubt.
    Off,
    /// A commit before the end of each message is sent.
    Record,
}

impl DoubtJournal {
    pub(crate) const ALL: [Self; 2] = [Self::Off, Self::Record];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Record => "record",
        }
    }
}

/// What becomes of recipients in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubtPolicy {
    /// They are tried again, and may get a second copy.
    Retry,
    /// They wait, listed as in doubt, until they are too old or another policy holds.
    Hold,
    /// They count as delivered, and may have got none.
    AssumeDelivered,
}

impl DoubtPolicy {
    pub(crate) const ALL: [Self; 3] = [Self::Retry, Self::Hold, Self::AssumeDelivered];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::AssumeDelivered => "assume-delivered",
        }
    }
}

/// The room on disk and in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Bytes of one segment of the log; a multiple of 4,096.
    pub segment_size: u64,
    /// With less room than this on the disk, mail is refused with `452 4.3.1`.
    pub min_free_space: u64,
    /// Content in memory for delivery, over all shards: half of it for what has just come, which is read back
    /// when due beyond that, half for what is read back. In all four times as much, and beyond that mail is
    /// refused with `452 4.3.1`.
    pub memory_budget: u64,
}

impl Spool {
    /// Bytes of a segment of that length that no message takes, so that a full disk leaves room to write down what
    /// was delivered.
    pub const fn reserve_size(segment_size: u64) -> u64 {
        // Short segments keep less of themselves back.
        let part = (segment_size / 4).next_multiple_of(check::SEGMENT_ALIGN);
        if part < check::RESERVE_SIZE {
            part
        } else {
            check::RESERVE_SIZE
        }
    }
}

/// The log of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// The file that JSON lines are appended to.
    pub path: PathBuf,
}

/// What the defaults of a configuration depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The machine's name.
    pub hostname: String,
    /// Cores this process may run on.
    pub cores: usize,
    /// The text of `/etc/resolv.conf`, empty if there is none.
    pub resolv_conf: String,
}

impl Surroundings {
    /// Asks the machine.
    pub fn of_this_machine() -> Self {
        let hostname = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        Self {
            hostname,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When the file cannot be read, anything in it is not right, or a certificate that it names cannot be used.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::read(path, &source))?;
        let mut config = Self::from_text(path, &text, &Surroundings::of_this_machine())?;
        config.load_certificates()?;
        Ok(config)
    }

    fn load_certificates(&mut self) -> Result<(), ConfigError> {
        let path = self.path.clone().unwrap_or_default();
        for listener in &mut self.listeners {
            if let Some(files) = &listener.certificate {
                let acceptor = files.load();
                let acceptor = acceptor.map_err(|error| {
                    let key = format!("listener {}", listener.address);
                    ConfigError::of(&path, key, error.to_string())
                })?;
                listener.acceptor.set(acceptor);
            }
        }
        if self.delivery.enable_tls == DeliveryTls::Required {
            let roots = Roots::load(&self.delivery.ca_file);
            let roots = roots.map_err(|error| {
                ConfigError::of(&path, "delivery.ca_file".into(), error.to_string())
            })?;
            self.delivery.roots.set(roots);
        }
        Ok(())
    }

    /// Checks the text of a file. Pure: `path` is only named.
    ///
    /// # Errors
    /// When anything in the text is not right.
    pub fn from_text(
        path: &Path,
        text: &str,
        surroundings: &Surroundings,
    ) -> Result<Self, ConfigError> {
        let file = toml::from_str(text).map_err(|error| ConfigError::parse(path, text, &error))?;
        check::check(path, text, &file, surroundings)
    }

    /// What `serve` uses without a file: loopback only, data in `./mailrail-data`.
    pub fn embedded() -> Self {
        let path = Path::new("embedded defaults");
        let config = Self::from_text(path, "", &Surroundings::of_this_machine());
        Self {
            path: None,
            ..config.expect("an empty file is right on every machine")
        }
    }

    /// The keys whose change a running server cannot follow, with both values.
    pub fn reload_differences(old: &Self, new: &Self) -> Vec<Difference> {
        let addresses = |config: &Self| {
            let mut all: Vec<_> = config
                .listeners
                .iter()
                .map(|listener| listener.address.to_string())
                .collect();
            all.sort();
            all.join(", ")
        };
        [
            (
                "data_dir",
                old.data_dir.display().to_string(),
                new.data_dir.display().to_string(),
            ),
            ("shards", old.shards.to_string(), new.shards.to_string()),
            ("listener.address", addresses(old), addresses(new)),
            (
                "spool.segment_size",
                units::show_size(old.spool.segment_size),
                units::show_size(new.spool.segment_size),
            ),
        ]
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| Difference { key, old, new })
        .collect()
    }
}

/// A change that needs a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key as the file spells it.
    pub key: &'static str,
    /// What the running server uses.
    pub old: String,
    /// What the file says now.
    pub new: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, old, new } = self;
        write!(
            f,
            "{key}: {old} stays in use until a restart, the file now says {new}"
        )
    }
}
