//! Everything that a seed decides before its run begins. Pure.

use super::mail::{Mail, Shape};
use mailrail::config::{Config, DoubtJournal, DoubtPolicy, Surroundings};
use mailrail_runtime::sim::Chance;
use mailrail_runtime::sim::disk::{Call, Faults};
use mailrail_runtime::sim::net::Weather;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

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

fn some_of(chance: &mut Chance, limit: u64) -> u32 {
    if chance.below(2) == 0 {
        return 0;
    }
    chance.below(limit) as u32
}

fn hosts(chance: &mut Chance, has_moods: bool) -> Vec<Host> {
    let count = 2 + chance.below(3);
    let host = |index: u64| {
        let all = [
            "PIPELINING",
            "8BITMIME",
            "SIZE",
            "CHUNKING",
            "ENHANCEDSTATUSCODES",
        ];
        let offers = (index == 0 || chance.below(8) > 0).then(|| {
            let offered =
                |offer: &&&str| (index == 0 && **offer == "8BITMIME") || chance.below(4) > 0;
            all.iter().filter(offered).copied().collect()
        });
        let mut mood = Mood::default();
        if has_moods {
            mood = Mood {
                turned_away: some_of(chance, 300_000),
                silent: some_of(chance, 100_000),
                cut: some_of(chance, 300_000),
                deferred: some_of(chance, 400_000),
                refused: some_of(chance, 200_000),
                deferred_at_end: some_of(chance, 400_000),
                refused_at_end: some_of(chance, 200_000),
                taken_in_silence: some_of(chance, 200_000),
            };
        }
        if index == 0 {
            // Reports must arrive: nobody is told of a report that does not.
            (mood.refused, mood.refused_at_end) = (0, 0);
        }
        Host {
            address: Ipv4Addr::new(10, 0, 2, index as u8 + 1).into(),
            offers,
            mood,
        }
    };
    (0..count).map(host).collect()
}

fn domains(chance: &mut Chance, host_count: usize) -> Vec<Domain> {
    let mut domains = vec![Domain {
        name: HOME.into(),
        way: *chance.pick(&[Way::Route, Way::Mx, Way::Implicit]),
        hosts: vec![0],
    }];
    for index in 0..1 + chance.below(5) {
        let way = match chance.below(12) {
            0..4 => Way::Route,
            4..8 => Way::Mx,
            8 => Way::TwoMx,
            9 => Way::Implicit,
            10 => Way::NullMx,
            _ => Way::Missing,
        };
        let first = 1 + chance.below(host_count as u64 - 1) as usize;
        let second = 1 + first % (host_count - 1);
        let hosts = match way {
            Way::NullMx | Way::Missing => Vec::new(),
            Way::TwoMx if first != second => vec![first, second],
            _ => vec![first],
        };
        let name = format!("d{index}.example");
        domains.push(Domain { name, way, hosts });
    }
    domains
}

fn classes(chance: &mut Chance) -> Vec<Class> {
    let mut classes = vec![Class::Fsync];
    match chance.below(8) {
        0 => classes.push(Class::Write),
        1 => classes.push(Class::Memory),
        _ => {}
    }
    classes
}

fn mails(chance: &mut Chance, domains: &[Domain]) -> Vec<Mail> {
    let count = 1 + match chance.below(8) {
        0 => chance.below(60),
        _ => chance.below(20),
    };
    let mail = |number: u64| {
        let shape = match chance.below(40) {
            0 => Shape::BareLf,
            1 => Shape::Loop,
            2 => Shape::TooLong,
            3..8 => Shape::Dots,
            8..12 => Shape::EightBit,
            _ => Shape::Plain,
        };
        let len = match chance.below(10) {
            _ if shape == Shape::TooLong => SIZE_MAX + 1 + chance.below(8 << 10),
            0..6 => chance.below(2 << 10),
            6..9 => chance.below(12 << 10),
            _ => chance.below(20 << 10),
        };
        let recipient_count = match chance.below(60) {
            0 => 90 + chance.below(40),
            1..8 => 1 + chance.below(6),
            _ => 1,
        };
        let recipients = (0..recipient_count).map(|index| {
            let domain = &domains[chance.below(domains.len() as u64) as usize];
            format!("n{number}-{index}@{}", domain.name)
        });
        Mail {
            number: number as usize,
            recipients: recipients.collect(),
            sender: match chance.below(10) {
                0 => String::new(),
                _ => format!("n{number}@{HOME}"),
            },
            shape,
            len: len as usize,
            seed: chance.next(),
        }
    };
    (0..count).map(mail).collect()
}

fn clients(chance: &mut Chance, mails: &[Mail], listener_count: usize) -> Vec<Client> {
    let count = 1 + chance.below(4) as usize;
    let mut clients: Vec<Client> = (0..count)
        .map(|index| Client {
            address: Ipv4Addr::new(10, 0, 1, index as u8 + 1).into(),
            listener: chance.below(listener_count as u64) as usize,
            start: chance.below(2 * SECOND),
            manner: *chance.pick(&[Manner::Stepwise, Manner::Pipelined, Manner::Chunked]),
            mails: Vec::new(),
            pause: *chance.pick(&[1, 1_000, 100_000, 2 * SECOND]),
            piece: 1 + chance.below(5000) as usize,
        })
        .collect();
    for mail in mails {
        let quirk = match chance.below(30) {
            0 => Quirk::Reset,
            1 | 2 => Quirk::HangUp(chance.below(mail.len as u64 + 1) as usize),
            3 => Quirk::Slow,
            _ => Quirk::None,
        };
        let client = chance.below(count as u64) as usize;
        clients[client].mails.push((mail.number, quirk));
    }
    if chance.below(8) == 0 {
        clients.push(Client {
            address: Ipv4Addr::new(10, 0, 1, 200).into(),
            listener: 0,
            start: chance.below(4 * SECOND),
            manner: Manner::Hostile,
            mails: Vec::new(),
            pause: 100_000,
            piece: 1 + chance.below(300) as usize,
        });
    }
    clients
}

/// How fast the disk is.
fn disk(chance: &mut Chance) -> Faults {
    let mut faults = Faults::default();
    let most = *chance.pick(&[100, 1_000, 10_000]);
    faults.write_micros = 1..1 + chance.below(most) + 1;
    faults.sync_micros = 1..1 + chance.below(most) + 1;
    faults
}

fn acts(chance: &mut Chance, hosts: &[Host]) -> Vec<(When, Act)> {
    let count = match chance.below(8) {
        0 => 0,
        1..6 => 1 + chance.below(3),
        _ => 1 + chance.below(7),
    };
    let mut acts = Vec::new();
    let mut entries = 0;
    for _ in 0..count {
        entries += chance.below(16);
        let when = When {
            entries,
            latest: chance.below(30 * SECOND),
            later: *chance.pick(&[0, 10, 100, 1_000, 10_000, 100_000, SECOND]) + chance.below(1000),
        };
        let pause = *chance.pick(&[0, 100, 10_000, SECOND, 5 * SECOND]);
        let shards = 1 + chance.below(3) as usize;
        let while_micros = *chance.pick(&[10_000, SECOND, 10 * SECOND]);
        let calls = [
            Call::Open,
            Call::Create,
            Call::Reserve,
            Call::Write,
            Call::Read,
            Call::Sync,
            Call::Rename,
            Call::SyncDirectory,
        ];
        let act = match chance.below(24) {
            0..5 => Act::Kill(pause, shards),
            5..10 => Act::CutPower(pause, shards),
            10..12 => Act::Stop(pause, shards),
            12 => Act::Reload(1 + chance.below(6) as u32),
            13 => Act::Jump(chance.below(40_000) as i64 - 20_000),
            14 => Act::EventLogFull(chance.below(5 * SECOND)),
            15 | 16 => Act::DiskFailsOnce(*chance.pick(&calls)),
            17 => Act::DiskFails(
                *chance.pick(&calls),
                1_000_000 >> chance.below(4),
                while_micros,
            ),
            18 => Act::DiskStalls(chance.below(while_micros)),
            19 | 20 => Act::DiskFull(chance.below(300 << 10), while_micros),
            21 => {
                let client = Ipv4Addr::new(10, 0, 1, 1).into();
                let host = chance.pick(hosts).address;
                Act::Part(*chance.pick(&[client, host, NAMES]), while_micros)
            }
            _ => Act::Kill(chance.below(2_000), shards),
        };
        acts.push((when, act));
    }
    acts
}

/// More of what promises less.
fn soften(chance: &mut Chance, classes: &mut Vec<Class>, clients: &mut [Client]) {
    let class = match chance.below(3) {
        0 => Class::Memory,
        1 => Class::Write,
        _ => return,
    };
    if classes.len() == 1 {
        classes.push(class);
        for client in clients {
            client.listener = chance.below(2) as usize;
        }
    }
}

/// Whether it is noted that the end of a message follows, and what is then made of it.
fn doubt(chance: &mut Chance, config: &mut Config) {
    let policy = match chance.below(4) {
        0 => return,
        1 => DoubtPolicy::Retry,
        2 => DoubtPolicy::Hold,
        _ => DoubtPolicy::AssumeDelivered,
    };
    config.delivery.in_doubt = DoubtJournal::Record;
    config.delivery.in_doubt_policy = policy;
}

fn rot(chance: &mut Chance, acts: &mut Vec<(When, Act)>) {
    if chance.below(3) > 0 {
        return;
    }
    for _ in 0..1 + chance.below(3) {
        let at = chance.below(acts.len() as u64 + 1) as usize;
        let when = When {
            entries: chance.below(60),
            latest: chance.below(30 * SECOND),
            later: chance.below(1000),
        };
        acts.insert(at, (when, Act::Rot(chance.next(), chance.next() as u8)));
    }
}

fn config(
    chance: &mut Chance,
    shards: usize,
    classes: &[Class],
    domains: &[Domain],
    hosts: &[Host],
) -> Config {
    let mut text = String::new();
    let out = &mut text;
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{words}");
    };
    line(format_args!(
        "hostname = \"mx.server.example\"\ndata_dir = \"/data\"\nshards = {shards}"
    ));
    line(format_args!(
        "stop_timeout = \"{}ms\"",
        500 + chance.below(4000)
    ));
    for (index, class) in classes.iter().enumerate() {
        line(format_args!(
            "[[listener]]\naddress = \"{SERVER}:{}\"",
            2525 + index
        ));
        line(format_args!("durability = \"{}\"", class.name()));
        line(format_args!(
            "client_timeout = \"10s\"\nmax_messages_per_connection = {}",
            1 + chance.below(20)
        ));
    }
    line(format_args!("[relay]\nhosts = [\"10.0.1.0/24\"]"));
    line(format_args!(
        "[dns]\nservers = [\"{NAMES}\"]\ntimeout = \"1s\""
    ));
    let retry = 300 + chance.below(4_000);
    line(format_args!(
        "[queue]\nretry_interval = \"{retry}ms\"\nmax_retry_interval = \"{}ms\"\nmax_age = \"{}s\"\nmax_ready = {}",
        retry + chance.below(8_000),
        20 + chance.below(60),
        1 + chance.below(30),
    ));
    line(format_args!(
        "[delivery]\nconnection_limit = {}\nmax_deliveries_per_connection = {}\nmax_recipients_per_batch = {}",
        1 + chance.below(6),
        1 + chance.below(20),
        1 + chance.below(100),
    ));
    for key in [
        "connect",
        "banner",
        "ehlo",
        "mail_from",
        "rcpt_to",
        "data",
        "data_dot",
        "idle",
    ] {
        line(format_args!("{key}_timeout = \"{}s\"", 1 + chance.below(8)));
    }
    for domain in domains.iter().filter(|domain| domain.way == Way::Route) {
        let via: Vec<String> = domain
            .hosts
            .iter()
            .map(|host| format!("\"{}:25\"", hosts[*host].address))
            .collect();
        line(format_args!(
            "[[route]]\ndomain = \"{}\"\nvia = [{}]\nconnection_limit = {}",
            domain.name,
            via.join(", "),
            1 + chance.below(8),
        ));
    }
    line(format_args!("[spool]\nmin_free_space = {}", 64 << 10));
    let surroundings = Surroundings {
        hostname: "mx.server.example".into(),
        cores: 1,
        resolv_conf: String::new(),
    };
    let config = Config::from_text(Path::new("plan"), &text, &surroundings);
    let mut config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
    // Smaller than anybody may configure: so that the edges are near.
    config.spool.segment_size = SEGMENT_LEN;
    config.spool.memory_budget = (16 << 10) << chance.below(6);
    for listener in &mut config.listeners {
        listener.max_message_size = SIZE_MAX;
        listener.max_connections = 2 + chance.below(20) as u32;
    }
    config
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
