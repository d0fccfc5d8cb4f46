//! What scenarios there are, as values: which load, which sink, which servers, how often. How one is carried
//! out is not known here.
//!
//! All of them are bounded: in messages or in seconds, and each round by `--limit-s`.

use super::results::name;
use crate::cli::{Ends, Tls};

/// A comparison with a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scenario {
    /// As on the command line.
    pub(crate) name: &'static str,
    /// In the results, where the variants of one have it with what they differ in.
    pub(crate) results: &'static str,
    /// What it shows, in a sentence.
    pub(crate) about: &'static str,
    /// Who takes part when no server is named.
    pub(crate) servers: Servers,
    /// Interleaved rounds.
    pub(crate) rounds: u32,
    /// Messages a round of mailrail.
    pub(crate) amount: Amount,
    /// Messages a round of any other server: some are many times slower.
    pub(crate) amount_of_others: Amount,
    /// Messages before the first round, which count for nothing.
    pub(crate) warm_up: u64,
    pub(crate) ends: Ends,
    pub(crate) load: Load,
    pub(crate) sink: Sink,
    pub(crate) demand: Demand,
    /// What the contestants differ in besides the server.
    pub(crate) vary: Vary,
    /// What goes on besides.
    pub(crate) beside: Beside,
    /// Under which name in the results system calls are counted, in a short phase of its own.
    pub(crate) counts_syscalls: Option<&'static str>,
    /// One of those that run when none is named.
    pub(crate) is_usual: bool,
}

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Servers {
    Mailrail,
    MailrailAndPostfix,
    /// All whose programs are here.
    All,
}

/// How much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Amount {
    Messages(u64),
    /// As many as the warm-up says are sent in so many seconds.
    Seconds(f64),
}

/// What the source does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) sessions: u32,
    /// Bytes of content, as `mailbench source --size` takes it.
    pub(crate) size_len: u64,
    /// Messages on one connection; 0: all that a session has.
    pub(crate) per_connection: u32,
    pub(crate) pipelining: bool,
    pub(crate) bdat: bool,
    pub(crate) tls: Tls,
    pub(crate) recipient_domains: u32,
    /// Messages a second of an open loop.
    pub(crate) rate: Option<f64>,
}

/// What the sink does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sink {
    pub(crate) bdat: bool,
    pub(crate) tls: Tls,
    /// It listens on so many addresses (127.1.0.1 and on), which are the sites of as many domains by its own DNS.
    pub(crate) sites: Option<Sites>,
    /// A script (`sink::script`).
    pub(crate) script: Option<&'static str>,
    /// What the script says of delays, in milliseconds, for the conditions of a table.
    pub(crate) latency: &'static str,
    /// What it says of answers 4xx to the mail that is measured: their share.
    pub(crate) deferral_share: f64,
}

/// Domains by MX instead of one smart host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sites {
    pub(crate) site_count: u32,
    pub(crate) domain_count: u32,
}

/// What is asked of a server besides being a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// What was put off is tried again so soon, by those that can be told; the others cannot take part: with their
    /// own intervals of many minutes no round would end.
    pub(crate) retry_s: Option<u32>,
    pub(crate) tls: bool,
}

/// What contestants differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vary {
    Nothing,
    Shards(&'static [usize]),
    Sessions(&'static [u32]),
    /// Beside each server the same ends with no relay between them.
    Straight,
}

/// What goes on beside the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    Nothing,
    /// The load is an open loop at half of the rate that a closed one has reached, and a process of its own
    /// writes and syncs 4 KiB again and again.
    Syncs,
    /// So many messages wait for a host that does not take them: each count is a server of its own.
    Waiting(&'static [u64]),
    /// So many connections that say nothing: each count is a server of its own.
    Idle(&'static [u64]),
    /// It cannot be measured yet: why.
    Unmeasured(&'static str),
}

/// What the loads of the scenarios differ from.
pub(crate) const LOAD: Load = Load {
    sessions: 50,
    size_len: 4096,
    per_connection: 0,
    pipelining: false,
    bdat: false,
    tls: Tls::Off,
    recipient_domains: 1,
    rate: None,
};

const SINK: Sink = Sink {
    bdat: false,
    tls: Tls::Off,
    sites: None,
    script: None,
    latency: "0",
    deferral_share: 0.0,
};

const DEMAND: Demand = Demand {
    retry_s: None,
    tls: false,
};

/// A relay to one smart host: what the others differ from.
const RELAY: Scenario = Scenario {
    name: "relay-50",
    results: name::RELAY_50,
    about: "4 KiB to one smart host, 50 sessions that keep their connections, nobody's ends",
    servers: Servers::MailrailAndPostfix,
    rounds: 5,
    amount: Amount::Messages(20_000),
    amount_of_others: Amount::Messages(3000),
    warm_up: 1000,
    ends: Ends::Postfix,
    load: LOAD,
    sink: SINK,
    demand: DEMAND,
    vary: Vary::Nothing,
    beside: Beside::Nothing,
    counts_syscalls: None,
    is_usual: true,
};

const SCRIPT_OF_DEFERRALS: &str = include_str!("deferrals.toml");
const SCRIPT_OF_WAITING: &str = include_str!("waiting.toml");

/// All there are, in the order in which they run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        vary: Vary::Straight,
        ..RELAY
    },
    Scenario {
        name: "relay-100",
        results: name::RELAY_100,
        about: "as relay-50, with 100 sessions",
        load: Load {
            sessions: 100,
            ..LOAD
        },
        vary: Vary::Straight,
        ..RELAY
    },
    Scenario {
        name: "relay-50-fresh",
        results: "relay-50-fresh",
        about: "as relay-50, each message on a connection of its own",
        load: Load {
            per_connection: 1,
            ..LOAD
        },
        ..RELAY
    },
    Scenario {
        name: "relay-100-fresh",
        results: "relay-100-fresh",
        about: "as relay-100, each message on a connection of its own",
        load: Load {
            sessions: 100,
            per_connection: 1,
            ..LOAD
        },
        ..RELAY
    },
    Scenario {
        name: "user-share",
        results: name::LONG,
        about: "half a minute at a stretch without pipelining: user-space time and system calls a message",
        rounds: 1,
        amount: Amount::Seconds(32.0),
        amount_of_others: Amount::Seconds(32.0),
        warm_up: 3000,
        ends: Ends::Mailbench,
        counts_syscalls: Some(name::SYSCALLS_PLAIN),
        ..RELAY
    },
    Scenario {
        name: "pipelined",
        results: "pipelined",
        about: "commands in groups and content by BDAT: system calls a message",
        rounds: 3,
        ends: Ends::Mailbench,
        load: Load {
            pipelining: true,
            bdat: true,
            ..LOAD
        },
        sink: Sink { bdat: true, ..SINK },
        counts_syscalls: Some(name::SYSCALLS_BDAT),
        ..RELAY
    },
    Scenario {
        name: "large",
        results: name::LARGE,
        about: "100 KB of plain text, and beside it the same ends with no relay between them",
        servers: Servers::Mailrail,
        rounds: 5,
        amount: Amount::Messages(5000),
        warm_up: 500,
        ends: Ends::Mailbench,
        load: Load {
            size_len: 100_000,
            ..LOAD
        },
        vary: Vary::Straight,
        ..RELAY
    },
    Scenario {
        name: "shards",
        results: "shards",
        about: "mailrail with 1, 2 and 4 shards",
        servers: Servers::Mailrail,
        rounds: 7,
        vary: Vary::Shards(&[1, 2, 4]),
        ..RELAY
    },
    Scenario {
        name: "latency",
        results: name::HALF_RATE,
        about: "an open loop at half of the highest rate: time to the final 250, beside that of one write and fdatasync",
        rounds: 3,
        amount: Amount::Seconds(8.0),
        amount_of_others: Amount::Seconds(8.0),
        ends: Ends::Mailbench,
        beside: Beside::Syncs,
        ..RELAY
    },
    Scenario {
        name: "sessions",
        results: "sessions",
        about: "the same messages by 50, 500 and 5,000 sessions",
        servers: Servers::Mailrail,
        rounds: 3,
        // Forty on a connection of the most: what it costs to make the connections is not what is asked.
        amount: Amount::Messages(200_000),
        ends: Ends::Mailbench,
        vary: Vary::Sessions(&[50, 500, 5000]),
        ..RELAY
    },
    Scenario {
        name: "domains",
        results: "domains",
        about: "1,000 domains on 50 sites, found by MX",
        rounds: 3,
        ends: Ends::Mailbench,
        load: Load {
            recipient_domains: 1000,
            ..LOAD
        },
        sink: Sink {
            sites: Some(Sites {
                site_count: 50,
                domain_count: 1000,
            }),
            ..SINK
        },
        is_usual: false,
        ..RELAY
    },
    Scenario {
        name: "deferrals",
        results: "deferrals",
        about: "a sink that answers after 20 ms and puts 30 % of the messages off at first",
        rounds: 3,
        amount: Amount::Messages(10_000),
        amount_of_others: Amount::Messages(2000),
        ends: Ends::Mailbench,
        sink: Sink {
            script: Some(SCRIPT_OF_DEFERRALS),
            latency: "20 ms at the end of the data",
            deferral_share: 0.3,
            ..SINK
        },
        demand: Demand {
            retry_s: Some(1),
            ..DEMAND
        },
        is_usual: false,
        ..RELAY
    },
    Scenario {
        name: "tls",
        results: "tls",
        about: "STARTTLS in and out, by the servers that have it",
        rounds: 3,
        ends: Ends::Mailbench,
        load: Load {
            tls: Tls::Starttls,
            ..LOAD
        },
        sink: Sink {
            tls: Tls::Starttls,
            ..SINK
        },
        demand: Demand {
            tls: true,
            ..DEMAND
        },
        is_usual: false,
        ..RELAY
    },
    Scenario {
        name: "dkim",
        results: "dkim",
        about: "each message signed (RFC 6376)",
        beside: Beside::Unmeasured("mailrail does not sign yet"),
        is_usual: false,
        ..RELAY
    },
    Scenario {
        name: "waiting",
        results: "waiting",
        about: "a million messages waiting: memory, and the rate of the mail beside them",
        servers: Servers::Mailrail,
        ends: Ends::Mailbench,
        sink: Sink {
            script: Some(SCRIPT_OF_WAITING),
            ..SINK
        },
        beside: Beside::Waiting(&[1000, 1_000_000]),
        is_usual: false,
        ..RELAY
    },
    Scenario {
        name: "idle",
        results: "idle",
        about: "5,000 connections that say nothing: memory of each, and the rate of the mail beside them",
        servers: Servers::Mailrail,
        rounds: 3,
        ends: Ends::Mailbench,
        beside: Beside::Idle(&[0, 5000]),
        is_usual: false,
        ..RELAY
    },
    Scenario {
        name: "all-servers",
        results: "all-servers",
        about: "every server that is here, whatever it promises, with losses and duplicates counted",
        servers: Servers::All,
        rounds: 3,
        amount: Amount::Seconds(4.0),
        amount_of_others: Amount::Seconds(4.0),
        warm_up: 200,
        ends: Ends::Mailbench,
        is_usual: false,
        ..RELAY
    },
];

/// The scenario of a name.
pub(crate) fn by_name(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

impl Amount {
    /// Messages of a round, given what a second's worth was in the warm-up; at least one.
    pub(crate) fn messages(self, rate: f64) -> u64 {
        match self {
            Self::Messages(count) => count.max(1),
            Self::Seconds(seconds) => (rate * seconds).clamp(1.0, MESSAGES_MAX as f64) as u64,
        }
    }
}

/// More than a round of half a minute can hold: a warm-up that was measured wrongly must not make one endless.
const MESSAGES_MAX: u64 = 5_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_once_and_the_usual_ones_are_those_of_the_table() {
        for (index, scenario) in ALL.iter().enumerate() {
            let first = ALL.iter().position(|other| other.name == scenario.name);
            assert_eq!(first, Some(index), "{}", scenario.name);
            assert_eq!(by_name(scenario.name), Some(scenario));
        }
        let usual: Vec<&str> = ALL.iter().filter(|s| s.is_usual).map(|s| s.name).collect();
        assert_eq!(
            usual,
            [
                "relay-50",
                "relay-100",
                "relay-50-fresh",
                "relay-100-fresh",
                "user-share",
                "pipelined",
                "large",
                "shards",
                "latency",
                "sessions"
            ]
        );
        assert_eq!(by_name("relay"), None);
    }

    #[test]
    fn nobodys_ends_are_asked_for_nothing_they_cannot_do() {
        let is_plain = |scenario: &&Scenario| scenario.ends == Ends::Postfix;
        for scenario in ALL.iter().filter(is_plain) {
            let load = scenario.load;
            assert!(
                !load.pipelining && !load.bdat && load.rate.is_none(),
                "{}",
                scenario.name
            );
            assert_eq!(
                (load.tls, scenario.sink),
                (Tls::Off, SINK),
                "{}",
                scenario.name
            );
        }
    }

    #[test]
    fn a_round_of_seconds_has_as_many_messages_as_the_warm_up_promises() {
        for (amount, rate, messages) in [
            (Amount::Messages(5000), 1.0, 5000),
            (Amount::Messages(0), 1.0, 1),
            (Amount::Seconds(32.0), 12_000.0, 384_000),
            (Amount::Seconds(4.0), 0.1, 1),
            (Amount::Seconds(4.0), 0.0, 1),
            (Amount::Seconds(4.0), f64::INFINITY, MESSAGES_MAX),
        ] {
            assert_eq!(amount.messages(rate), messages, "{amount:?} at {rate}");
        }
    }
}
