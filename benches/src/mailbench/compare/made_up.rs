//! Results that nobody measured, for the tests of tables, plots and verdict: round numbers that no server has.

use super::results::{
    Conditions, DIRECT, FORMAT, Machine, Probe, RIVAL, Results, Round, Rounds, SUBJECT, Scenario,
    Server, name, step,
};
use crate::report::{Cpu, Times};

pub(super) fn results(scenarios: Vec<Scenario>) -> Results {
    let server = |name: &str, title: &str| Server {
        name: name.into(),
        title: title.into(),
        version: "0.0.0-made-up".into(),
        build: "rustc 0.0.0".into(),
        settings: vec!["250 after fsync".into()],
        notes: Vec::new(),
    };
    Results {
        format: FORMAT,
        command: "mailbench compare --made-up".into(),
        started: "2000-01-01T00:00:00Z".into(),
        machine: Machine {
            cpu_model: "Made Up 9000".into(),
            core_count: 2,
            kernel: "Linux 0.0".into(),
            memory_bytes: 8_000_000_000,
            disk: "vda".into(),
            file_system: "ext4 (rw)".into(),
            load_before: 0.25,
            mailbench: "0.0.0".into(),
            ..Machine::default()
        },
        servers: vec![server(SUBJECT, "Mailrail"), server(RIVAL, "Post|fix")],
        scenarios,
        notes: vec!["nothing of this was measured".into()],
    }
}

pub(super) fn scenario(name: &str, servers: Vec<Rounds>) -> Scenario {
    Scenario {
        name: name.into(),
        title: "made up".into(),
        conditions: Conditions {
            durability: "fsync".into(),
            size: "4096".into(),
            recipients_per_transaction: 1,
            connections: 50,
            messages: 1000,
            ends: "postfix".into(),
            dkim: "none".into(),
            tls_in: "off".into(),
            tls_out: "off".into(),
            dns: "none".into(),
            domains: 1,
            sites: 1,
            events: "off".into(),
            sink_latency: "0".into(),
            ..Conditions::default()
        },
        servers,
        ..Scenario::default()
    }
}

pub(super) fn rounds(server: &str, rounds: impl IntoIterator<Item = Round>) -> Rounds {
    let indexed = rounds.into_iter().zip(0..);
    Rounds {
        server: server.into(),
        rounds: indexed
            .map(|(round, index)| Round { index, ..round })
            .collect(),
        missing: None,
    }
}

/// A round of 1,000 messages.
pub(super) fn round(rate: f64, user_us: u64, system_us: u64) -> Round {
    let all = |us: u64| us * 1000;
    Round {
        messages: 1000,
        seconds: 1000.0 / rate,
        cpu: Cpu {
            user_us: all(user_us),
            system_us: all(system_us),
        },
        source_cpu: Cpu {
            user_us: all(10),
            system_us: all(20),
        },
        sink_cpu: Cpu {
            user_us: all(4),
            system_us: all(6),
        },
        ..Round::default()
    }
}

/// Times whose percentiles are multiples of one.
pub(super) fn times(p50: u64) -> Times {
    let at = [(50.0, 1), (90.0, 2), (99.0, 4), (99.9, 8), (100.0, 16)];
    Times {
        count: 1000,
        mean: p50 as f64,
        min: p50,
        p50,
        p90: p50 * 2,
        p99: p50 * 4,
        p999: p50 * 8,
        max: p50 * 16,
        curve: at.map(|(share, factor)| (share, p50 * factor)).to_vec(),
    }
}

/// All that the verdict looks for, on the good side of each limit.
pub(super) fn whole() -> Results {
    let of_both = |name: &str| {
        let mine = [12_000.0, 10_000.0, 11_000.0].map(|rate| round(rate, 10, 50));
        let theirs = [500.0, 510.0, 490.0].map(|rate| round(rate, 300, 700));
        let direct = Round {
            sink_cpu: Cpu {
                user_us: 10_000,
                system_us: 30_000,
            },
            ..round(20_000.0, 0, 0)
        };
        let all = [
            rounds(SUBJECT, mine),
            rounds(RIVAL, theirs),
            rounds(DIRECT, vec![direct; 3]),
        ];
        scenario(name, all.into())
    };
    let mine = |name: &str, round: Round, count: usize| {
        scenario(name, vec![rounds(SUBJECT, vec![round; count])])
    };
    let long = Round {
        messages: 1_000_000,
        seconds: 40.0,
        cpu: Cpu {
            user_us: 9_000_000,
            system_us: 50_000_000,
        },
        ..Round::default()
    };
    let counted = |each: u64| Round {
        syscalls: Some(each * 1000),
        ..round(100.0, 1, 1)
    };
    let large = Round {
        carried_bytes: Some(100_000_000),
        copied_bytes: Some(5_000_000),
        ..round(2_000.0, 20, 80)
    };
    let half = Round {
        latencies: [
            (step::FINAL.to_owned(), times(200)),
            (step::MESSAGE.to_owned(), times(400)),
        ]
        .into(),
        probe: Probe {
            sync_4k_direct: Some(times(100)),
            sync_4k_buffered: Some(times(150)),
            ..Probe::default()
        },
        lost: Some(0),
        duplicates: Some(0),
        peak_rss_bytes: Some(50_000_000),
        ..round(5_000.0, 10, 50)
    };
    let mut sessions = [
        (name::SESSIONS_50, 50, 50),
        (name::SESSIONS_500, 500, 55),
        (name::SESSIONS_5000, 5000, 65),
    ]
    .map(|(name, connections, us)| {
        let mut scenario = mine(name, round(9_000.0, 10, us - 10), 3);
        scenario.family = "sessions".into();
        scenario.conditions.connections = connections;
        scenario
    })
    .to_vec();
    let mut scenarios = vec![
        of_both(name::RELAY_50),
        of_both(name::RELAY_100),
        mine(name::LONG, long, 1),
        mine(name::SYSCALLS_PLAIN, counted(14), 1),
        mine(name::SYSCALLS_BDAT, counted(4), 1),
        Scenario {
            probe: Probe {
                tcp_mb_per_s: Some(4_000.0),
                sync_mb_per_s: Some(800.0),
                ..Probe::default()
            },
            ..scenario(
                name::LARGE,
                vec![
                    rounds(SUBJECT, vec![large]),
                    rounds(DIRECT, vec![round(2_500.0, 0, 0)]),
                ],
            )
        },
        mine(name::SHARDS_1, round(8_000.0, 10, 40), 7),
        mine(name::SHARDS_2, round(10_000.0, 10, 50), 7),
        mine(name::SHARDS_4, round(10_000.0, 20, 80), 7),
        mine(name::HALF_RATE, half, 3),
    ];
    scenarios.append(&mut sessions);
    results(scenarios)
}
