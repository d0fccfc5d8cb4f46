//! Everything that a seed decides before its run begins, and what follows from it for the judgement. How the
//! parts are drawn is `draw`'s, the server's configuration `configuration`'s. Pure.

mod configuration;
mod draw;

use super::mail::Mail;
use configuration::{config, doubt};
use draw::{acts, classes, clients, disk, domains, hosts, mails, rot, soften};
use mailrail::config::{Config, DoubtPolicy};
use mailrail_runtime::sim::Chance;
use mailrail_runtime::sim::disk::{Call, Faults};
use mailrail_runtime::sim::net::Weather;
use std::net::{IpAddr, Ipv4Addr};

/// Where the senders of messages get their reports.
pub const HOME: &str = "home.example";
/// The server's machine.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// The name server's.
pub const NAMES: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 53));
/// Bytes of a message that the server takes.
pub const SIZE_MAX: u64 = 24 << 10;
/// Bytes of a segment of its log.
pub const SEGMENT_LEN: u64 = 64 << 10;

const SECOND: u64 = 1_000_000;
/// By how much a timer of the runtime may be late: the tick of its wheel.
const TIMER_MICROS: u64 = 1_024;
/// How long a lazy note waits for company.
const NOTE_PATIENCE_MICROS: u64 = 20_000;
/// The server's own factor between the budget and content in memory at all.
const MEMORY_FACTOR: u64 = 4;
/// What is in memory beside content: batches, windows of recovery, the last chunk of each session.
const HELD_BESIDE_MAX: u64 = 256 << 10;

/// How sure a message is that came to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing loses it.
    Fsync,
    /// The end of the process does not lose it.
    Write,
    /// Any end loses it.
    Memory,
}

/// How mail for a domain finds its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a route of the configuration.
    Route,
    /// By one MX record.
    Mx,
    /// By two, the first of which leads to the second host.
    TwoMx,
    /// By its own address.
    Implicit,
    /// It takes no mail.
    NullMx,
    /// There is no such domain.
    Missing,
}

/// A domain that mail goes to.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// How mail finds its host.
    pub way: Way,
    /// Its hosts, places in [`Plan::hosts`].
    pub hosts: Vec<usize>,
}

/// How often a host misbehaves while the storm lasts, in a million.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mood {
    /// Refuses a connection with 421 or 554, at its greeting.
    pub turned_away: u32,
    /// Falls silent at some step of a connection.
    pub silent: u32,
    /// Closes a connection at some byte.
    pub cut: u32,
    /// Answers a recipient with 450.
    pub deferred: u32,
    /// Answers a recipient with 550.
    pub refused: u32,
    /// Answers a message with 451.
    pub deferred_at_end: u32,
    /// Answers a message with 554.
    pub refused_at_end: u32,
    /// Takes a message and closes without a word.
    pub taken_in_silence: u32,
}

/// A next host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its address.
    pub address: IpAddr,
    /// What it offers at EHLO, in lines; `None`: it knows HELO only.
    pub offers: Option<Vec<&'static str>>,
    /// How it behaves.
    pub mood: Mood,
}

impl Host {
    /// Whether it takes 8-bit content.
    pub fn takes_eight_bit(&self) -> bool {
        let offers = self.offers.as_deref().unwrap_or_default();
        offers.contains(&"8BITMIME")
    }
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It waits for each answer.
    Stepwise,
    /// It sends envelope and DATA at once.
    Pipelined,
    /// It sends envelope and content at once, in chunks.
    Chunked,
    /// It speaks nonsense.
    Hostile,
}

/// What a client does with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// It sends it.
    None,
    /// It resets the transaction behind the recipients.
    Reset,
    /// It closes the connection after so many bytes of the content.
    HangUp(usize),
    /// It sends the content slowly.
    Slow,
}

/// A client with its messages.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its machine.
    pub address: IpAddr,
    /// Which listener it speaks with.
    pub listener: usize,
    /// When it begins, in microseconds.
    pub start: u64,
    /// How it speaks.
    pub manner: Manner,
    /// Its messages, by number, each with what is done with it.
    pub mails: Vec<(usize, Quirk)>,
    /// The longest pause between two messages, in microseconds.
    pub pause: u64,
    /// Bytes of its writes.
    pub piece: usize,
}

/// Something that happens to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The process is killed, and started again after a pause with so many shards.
    Kill(u64, usize),
    /// The same with the machine's power.
    CutPower(u64, usize),
    /// It is stopped as it should be, and started again.
    Stop(u64, usize),
    /// It reads its configuration anew, with another limit of connections.
    Reload(u32),
    /// The wall clock jumps by so many milliseconds.
    Jump(i64),
    /// The event log cannot be written for so long.
    EventLogFull(u64),
    /// Calls of a kind fail, so many in a million, for so long.
    DiskFails(Call, u32, u64),
    /// The next call of a kind fails.
    DiskFailsOnce(Call),
    /// The disk does nothing for so long.
    DiskStalls(u64),
    /// So many bytes are left on the disk, for so long.
    DiskFull(u64, u64),
    /// The server and this machine hear nothing of each other for so long.
    Part(IpAddr, u64),
    /// A bit of a segment of the server's log flips: somewhere by the first number, which one by the second.
    Rot(u64, u8),
}

/// When something happens: after so many entries of the ledger, at the latest at this time, and then so
/// many microseconds later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Entries of the ledger.
    pub entries: u64,
    /// Microseconds since the beginning.
    pub latest: u64,
    /// Microseconds after either.
    pub later: u64,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The server's first configuration.
    pub config: Config,
    /// What its listeners promise.
    pub classes: Vec<Class>,
    /// Where mail goes.
    pub domains: Vec<Domain>,
    /// The next hosts; the first is the senders' own.
    pub hosts: Vec<Host>,
    /// The messages.
    pub mails: Vec<Mail>,
    /// Who sends them.
    pub clients: Vec<Client>,
    /// The network, as long as the storm lasts.
    pub weather: Weather,
    /// The server's disk, as long as the storm lasts.
    pub disk: Faults,
    /// What happens to the server meanwhile.
    pub acts: Vec<(When, Act)>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x706c_616e);
        // Some runs are calm in this or that, so that what is left can be judged by stricter rules.
        let has_moods = chance.below(4) > 0;
        let hosts = hosts(&mut chance, has_moods);
        let domains = domains(&mut chance, hosts.len());
        let mut classes = classes(&mut chance);
        let mails = mails(&mut chance, &domains);
        let mut clients = clients(&mut chance, &mails, classes.len());
        let shards = 1 + chance.below(3) as usize;
        let mut acts = acts(&mut chance, &hosts);
        let weather = match chance.below(3) {
            0 => Weather::fair(),
            _ => Weather::any(&mut chance),
        };
        let disk = disk(&mut chance);
        // Drawn apart, so that without it a seed's plan is what it was.
        let mut extra = Chance::new(seed ^ 0x6578_7472);
        let has_extra = extra.below(3) == 0;
        if has_extra {
            soften(&mut extra, &mut classes, &mut clients);
        }
        let mut config = config(&mut chance, shards, &classes, &domains, &hosts);
        if has_extra {
            doubt(&mut extra, &mut config);
            rot(&mut extra, &mut acts);
        }
        Self {
            seed,
            config,
            classes,
            domains,
            hosts,
            mails,
            clients,
            weather,
            disk,
            acts,
        }
    }

    /// The oldest that a note of an end may be and still wait for its commit, on a disk that is well, in
    /// microseconds: the patience of a lazy note and its timer's, the commit under way, and its own.
    pub fn note_micros_max(&self) -> u64 {
        NOTE_PATIENCE_MICROS
            + TIMER_MICROS
            + 2 * (self.disk.write_micros.end + self.disk.sync_micros.end)
    }

    /// The most bytes of content and batches that may ever be in memory, over all shards.
    pub fn held_bytes_max(&self) -> u64 {
        let share = self.config.spool.memory_budget;
        let content = (share * MEMORY_FACTOR).max(2 * SIZE_MAX);
        content + HELD_BESIDE_MAX
    }

    /// Whether an answer of a next host is never lost but with the server's life.
    pub fn hears_every_answer(&self) -> bool {
        let is_clear = |host: &Host| host.mood == Mood::default();
        let is_parted = |act: &(When, Act)| matches!(act.1, Act::Part(..));
        self.weather == Weather::fair()
            && self.hosts.iter().all(is_clear)
            && !self.acts.iter().any(is_parted)
    }

    /// How much of [`Self::held_bytes_max`] is for other things than content.
    pub fn held_beside(&self) -> u64 {
        HELD_BESIDE_MAX
    }

    /// Whether what is in doubt may count as delivered.
    pub fn assumes(&self) -> bool {
        self.config.delivery.in_doubt_policy == DoubtPolicy::AssumeDelivered
    }

    /// Whether what was sent to its end is never sent again, whatever comes.
    pub fn is_sent_once(&self) -> bool {
        self.config.delivery.in_doubt_policy != DoubtPolicy::Retry
    }

    /// The domain of an address.
    pub fn domain(&self, address: &str) -> Option<&Domain> {
        let name = address.rsplit('@').next()?;
        self.domains.iter().find(|domain| domain.name == name)
    }
}

impl Class {
    /// Its name in the configuration and in the event log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Write => "write",
            Self::Memory => "memory",
        }
    }
}
