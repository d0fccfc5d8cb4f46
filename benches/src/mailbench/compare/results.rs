//! What a comparison found, as values that are written and read as JSON: the machine, the servers, and for each
//! scenario its conditions and rounds. Rounds hold totals as they were counted; what is divided by what is
//! said in one place, the methods of `Round`. Nothing is measured, judged or drawn here.

use crate::report::{Cpu, Times};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The form of these values; a reader refuses another.
pub(crate) const FORMAT: u32 = 1;

/// The server whose figures the verdict judges.
pub(crate) const SUBJECT: &str = "mailrail";
/// The server that the verdict compares it with.
pub(crate) const RIVAL: &str = "postfix";
/// Under this name stand the rounds of a scenario in which source and sink spoke with each other, no server between.
pub(crate) const DIRECT: &str = "direct";

/// Scenarios that the verdict looks for, by name. Others may stand beside them.
pub(crate) mod name {
    /// fsync, 4 KiB, smtp-source -d with 50 sessions, smtp-sink: line 1 of the verdict.
    pub(crate) const RELAY_50: &str = "relay-50";
    /// The same with 100 sessions.
    pub(crate) const RELAY_100: &str = "relay-100";
    /// 30 s at least, so that the ticks of user and system time are enough to tell them apart: line 2.
    pub(crate) const LONG: &str = "long";
    /// System calls a message (`Round::syscalls`), no pipelining: line 2.
    pub(crate) const SYSCALLS_PLAIN: &str = "syscalls-plain";
    /// System calls a message with pipelining and BDAT at both ends: line 2.
    pub(crate) const SYSCALLS_BDAT: &str = "syscalls-bdat";
    /// 100 KB of content, with rounds of `DIRECT`, `Scenario::probe`, and bytes carried and copied: line 3.
    pub(crate) const LARGE: &str = "large";
    /// One shard: line 4, with the next two.
    pub(crate) const SHARDS_1: &str = "shards-1";
    /// Two shards.
    pub(crate) const SHARDS_2: &str = "shards-2";
    /// Four shards on whatever cores there are: reported, not judged on fewer than four.
    pub(crate) const SHARDS_4: &str = "shards-4";
    /// Half of the maximum rate, with `Round::probe` taken during the load: line 5.
    pub(crate) const HALF_RATE: &str = "half-rate";
    /// Line 6, with the next two. The plot over sessions takes every scenario of this family.
    pub(crate) const SESSIONS_50: &str = "sessions-50";
    /// Five hundred sessions.
    pub(crate) const SESSIONS_500: &str = "sessions-500";
    /// Five thousand sessions.
    pub(crate) const SESSIONS_5000: &str = "sessions-5000";
}

/// Keys of `Round::latencies`: the steps of a source have their own names (`report::SourceReport::steps`).
pub(crate) mod step {
    /// From the last byte of the content to its 250: what a durable server pays for its disk.
    pub(crate) const FINAL: &str = "final";
    /// From the moment at which a message was due, or begun, to its 250.
    pub(crate) const MESSAGE: &str = "message";
}

/// All that a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// `FORMAT`.
    pub(crate) format: u32,
    /// The command line, as it can be given again.
    pub(crate) command: String,
    /// When it began: UTC, `2026-01-31T12:00:00Z`.
    pub(crate) started: String,
    pub(crate) machine: Machine,
    /// In the order of the tables' columns.
    pub(crate) servers: Vec<Server>,
    /// In the order of the tables.
    pub(crate) scenarios: Vec<Scenario>,
    /// Of the whole: what was left out and why, what disturbed it.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

/// Where it ran (`conditions::machine`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu_model: String,
    /// Cores that this process may use.
    pub(crate) core_count: u32,
    /// A virtual machine's kind, as far as it can be seen; empty: none seen.
    #[serde(default)]
    pub(crate) hypervisor: String,
    /// Name and release.
    pub(crate) kernel: String,
    pub(crate) memory_bytes: u64,
    /// The block device below the spools, with its model, kind and write cache as far as they can be seen.
    pub(crate) disk: String,
    /// Its kind and options.
    pub(crate) file_system: String,
    /// The frequency governor; empty: none to be seen.
    #[serde(default)]
    pub(crate) governor: String,
    /// Tasks ready to run, mean of the last minute, before the first round: what others did here.
    pub(crate) load_before: f64,
    /// Version and build (rustc, profile) of mailbench itself.
    pub(crate) mailbench: String,
}

/// One server that was compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    /// The adapter's name.
    pub(crate) name: String,
    /// As its makers write it.
    pub(crate) title: String,
    pub(crate) version: String,
    /// Compiler and profile, where known: `rustc 1.95.0, release (fat LTO)`, `Debian's package`.
    #[serde(default)]
    pub(crate) build: String,
    /// What was set otherwise than the server is delivered, a line each.
    #[serde(default)]
    pub(crate) settings: Vec<String>,
    /// What a reader of its figures has to know, a line each.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

/// All that a number has to carry with it. `None` and empty: not known, and the tables say so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    /// When a message is acknowledged: `fsync`, `write`, `memory`.
    pub(crate) durability: String,
    /// Bytes of content: one number, a list or a distribution, as `source --size` takes it.
    pub(crate) size: String,
    pub(crate) recipients_per_transaction: u32,
    /// 0: all that the session has.
    pub(crate) messages_per_connection: u32,
    /// At the same time, from the source.
    pub(crate) connections: u32,
    /// Messages a round.
    pub(crate) messages: u64,
    /// Messages a second that were offered; `None`: as fast as the server took them.
    #[serde(default)]
    pub(crate) rate: Option<f64>,
    /// Whose source and sink: `mailbench`, `postfix` (smtp-source, smtp-sink).
    pub(crate) ends: String,
    /// What source and sink offer and use.
    pub(crate) pipelining: bool,
    pub(crate) bdat: bool,
    /// Algorithm and bits; `none`.
    pub(crate) dkim: String,
    /// `off`, `starttls`, `implicit`.
    pub(crate) tls_in: String,
    pub(crate) tls_out: String,
    /// `real`, `stub` (answered on this machine), `none` (a smart host by address).
    pub(crate) dns: String,
    /// Domains that mail went to.
    pub(crate) domains: u32,
    /// Different addresses (sites) it was delivered to.
    pub(crate) sites: u32,
    /// Event or log output: `on: JSON file`, `off`, or by server in its `settings`.
    pub(crate) events: String,
    /// The sink's delay of an answer, in milliseconds, and where it stands; `0`.
    pub(crate) sink_latency: String,
    /// Share of answers 4xx, of 1.
    pub(crate) sink_deferral_share: f64,
    /// Shards, threads or processes of the server, where the scenario sets them.
    #[serde(default)]
    pub(crate) shards: Option<u32>,
    /// Others, by name.
    #[serde(default)]
    pub(crate) others: BTreeMap<String, String>,
}

/// One question, put to each server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// One line for the table's head.
    pub(crate) title: String,
    /// Scenarios of one family differ in one condition and make one plot: `sessions`, `shards`; or empty.
    #[serde(default)]
    pub(crate) family: String,
    pub(crate) conditions: Conditions,
    /// In the order of `Results::servers`; `DIRECT` last.
    pub(crate) servers: Vec<Rounds>,
    /// Of the machine, taken beside this scenario while it was at rest.
    #[serde(default)]
    pub(crate) probe: Probe,
    /// Other figures, by name with the unit last (`maximum_rate_per_s`).
    #[serde(default)]
    pub(crate) figures: BTreeMap<String, f64>,
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

/// What one server did in one scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rounds {
    /// The adapter's name, or `DIRECT`.
    pub(crate) server: String,
    /// In the order of time; rounds of the same index stand beside each other.
    pub(crate) rounds: Vec<Round>,
    /// Why there is no round or fewer than asked for.
    #[serde(default)]
    pub(crate) missing: Option<String>,
}

/// One round: totals over its steady state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Round {
    /// From 0; the same for all servers that took turns.
    pub(crate) index: u32,
    /// Messages that the sink had within `seconds`.
    pub(crate) messages: u64,
    /// Copies (recipients of messages) that the sink had, where it tells.
    #[serde(default)]
    pub(crate) copies: Option<u64>,
    /// Length of the steady state: what all totals of this round are over.
    pub(crate) seconds: f64,
    /// Of all processes of the server.
    pub(crate) cpu: Cpu,
    /// Of the source.
    pub(crate) source_cpu: Cpu,
    /// Of the sink.
    pub(crate) sink_cpu: Cpu,
    /// System calls of the server, in the rounds in which they were counted.
    #[serde(default)]
    pub(crate) syscalls: Option<u64>,
    /// Messages that `syscalls` is over, if not `messages`: a counter may run during a part of the round.
    #[serde(default)]
    pub(crate) syscalls_messages: Option<u64>,
    /// The largest resident memory of all the server's processes together, sampled.
    #[serde(default)]
    pub(crate) peak_rss_bytes: Option<u64>,
    /// By step, as the source saw them (`step`).
    #[serde(default)]
    pub(crate) latencies: BTreeMap<String, Times>,
    /// Acknowledged and never delivered; `None`: these ends cannot tell.
    #[serde(default)]
    pub(crate) lost: Option<u64>,
    /// Delivered more than once.
    #[serde(default)]
    pub(crate) duplicates: Option<u64>,
    /// Messages answered 4xx at the source.
    #[serde(default)]
    pub(crate) deferred: u64,
    /// Messages answered 5xx at the source.
    #[serde(default)]
    pub(crate) refused: u64,
    /// Bytes of content that the server carried.
    #[serde(default)]
    pub(crate) carried_bytes: Option<u64>,
    /// Bytes of content that it copied in user space on the way, where it counts them.
    #[serde(default)]
    pub(crate) copied_bytes: Option<u64>,
    /// Of the machine, taken during the load by a process of its own.
    #[serde(default)]
    pub(crate) probe: Probe,
    /// Other figures, by name with the unit last (`written_bytes`, `context_switches`).
    #[serde(default)]
    pub(crate) figures: BTreeMap<String, f64>,
    /// What disturbed it, or makes it unlike the others.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

/// What the machine itself can do (`probe`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// Plain TCP over loopback, one connection, in millions of bytes a second.
    #[serde(default)]
    pub(crate) tcp_mb_per_s: Option<f64>,
    /// Write and fdatasync one after the other, in millions of bytes a second.
    #[serde(default)]
    pub(crate) sync_mb_per_s: Option<f64>,
    /// Write and fdatasync of 4 KiB past the page cache into a file written before, as the server's log does.
    #[serde(default)]
    pub(crate) sync_4k_direct: Option<Times>,
    /// The same through the page cache.
    #[serde(default)]
    pub(crate) sync_4k_buffered: Option<Times>,
}

impl Round {
    /// Messages a second.
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.seconds > 0.0 && self.messages > 0).then(|| self.messages as f64 / self.seconds)
    }

    /// Content in millions of bytes a second.
    pub(crate) fn mb_per_s(&self) -> Option<f64> {
        let bytes = self.carried_bytes? as f64;
        (self.seconds > 0.0).then(|| bytes / self.seconds / 1e6)
    }

    /// The server's processor time a message, in microseconds.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        self.a_message(self.cpu.user_us + self.cpu.system_us)
    }

    /// Its part in user space.
    pub(crate) fn user_us(&self) -> Option<f64> {
        self.a_message(self.cpu.user_us)
    }

    /// Its part in the kernel.
    pub(crate) fn system_us(&self) -> Option<f64> {
        self.a_message(self.cpu.system_us)
    }

    /// Processor time of source and sink a message, in microseconds.
    pub(crate) fn ends_cpu_us(&self) -> Option<f64> {
        let of = |cpu: Cpu| cpu.user_us + cpu.system_us;
        self.a_message(of(self.source_cpu) + of(self.sink_cpu))
    }

    /// Processor time of the sink a message, in microseconds.
    pub(crate) fn sink_cpu_us(&self) -> Option<f64> {
        self.a_message(self.sink_cpu.user_us + self.sink_cpu.system_us)
    }

    /// System calls of the server a message.
    pub(crate) fn syscalls_a_message(&self) -> Option<f64> {
        let messages = self.syscalls_messages.unwrap_or(self.messages);
        (messages > 0)
            .then(|| self.syscalls.map(|count| count as f64 / messages as f64))
            .flatten()
    }

    /// Bytes copied of each byte carried.
    pub(crate) fn copied_share(&self) -> Option<f64> {
        let carried = self.carried_bytes.filter(|bytes| *bytes > 0)?;
        Some(self.copied_bytes? as f64 / carried as f64)
    }

    /// A server that was not there (`DIRECT`) has no processor time.
    fn a_message(&self, total_us: u64) -> Option<f64> {
        (self.messages > 0 && total_us > 0).then(|| total_us as f64 / self.messages as f64)
    }
}

impl Results {
    /// The scenario of a name.
    pub(crate) fn scenario(&self, name: &str) -> Option<&Scenario> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }
}

impl Scenario {
    /// A server's rounds; empty where it has none.
    pub(crate) fn rounds(&self, server: &str) -> &[Round] {
        let of = self.servers.iter().find(|rounds| rounds.server == server);
        of.map_or(&[], |rounds| &rounds.rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_divided_by_messages_and_seconds() {
        let round = Round {
            messages: 1000,
            seconds: 0.5,
            cpu: Cpu {
                user_us: 9_000,
                system_us: 51_000,
            },
            source_cpu: Cpu {
                user_us: 1_000,
                system_us: 2_000,
            },
            sink_cpu: Cpu {
                user_us: 3_000,
                system_us: 4_000,
            },
            syscalls: Some(2_800),
            syscalls_messages: Some(200),
            carried_bytes: Some(4_000_000),
            copied_bytes: Some(200_000),
            ..Round::default()
        };
        let found = [
            round.rate(),
            round.cpu_us(),
            round.user_us(),
            round.system_us(),
            round.ends_cpu_us(),
            round.syscalls_a_message(),
            round.copied_share(),
            round.mb_per_s(),
        ];
        let expected = [2000.0, 60.0, 9.0, 51.0, 10.0, 14.0, 0.05, 8.0].map(Some);
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_not_counted_is_no_figure() {
        let round = Round::default();
        assert_eq!(round.rate(), None);
        assert_eq!(round.cpu_us(), None);
        assert_eq!(round.syscalls_a_message(), None);
        assert_eq!(round.copied_share(), None);
        assert_eq!(round.mb_per_s(), None);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let scenario = Scenario {
            name: name::RELAY_50.into(),
            servers: vec![Rounds {
                server: SUBJECT.into(),
                rounds: vec![Round {
                    messages: 7,
                    ..Round::default()
                }],
                missing: None,
            }],
            ..Scenario::default()
        };
        let results = Results {
            format: FORMAT,
            scenarios: vec![scenario],
            ..Results::default()
        };
        let text = serde_json::to_string(&results).expect("written");
        let again: Results = serde_json::from_str(&text).expect("read");
        assert_eq!(again, results);
        let found = again.scenario(name::RELAY_50).expect("it is there");
        assert_eq!(found.rounds(SUBJECT)[0].messages, 7);
        assert!(found.rounds(RIVAL).is_empty());
    }
}
