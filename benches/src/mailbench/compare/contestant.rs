//! Who takes turns in a scenario, and what came of it: from outcomes of rounds to values of `results`. Nothing is
//! started or waited for here.

use super::adapter::Adapter;
use super::audit::audit;
use super::cast::{Copied, cores};
use super::ends::Sink;
use super::held::Held;
use super::known_as;
use super::plan::{Turn, Variant};
use super::results::{self, DIRECT, Round, Rounds};
use super::round::Outcome;
use super::scenario::{Load, Scenario};
use super::terms::{self, Known};
use crate::cli::Ends;

/// Who takes his turn, and what came of it.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) turn: Turn,
    pub(crate) name: String,
    pub(crate) load: Load,
    pub(crate) messages: u64,
    /// Messages a second in the last closed loop.
    pub(crate) rate: f64,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) syscalls: Option<Round>,
    pub(crate) missing: Option<String>,
    pub(crate) notes: Vec<String>,
}

/// Whether the sink got all of a round.
#[derive(Debug)]
pub(crate) enum Whole {
    Yes,
    /// What is missing.
    No(String),
}

impl Whole {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome.is_whole {
            true => Self::Yes,
            false => Self::No(outcome.round.notes.join("; ")),
        }
    }
}

impl Contestant {
    pub(crate) fn new(turn: Turn, variants: &[Variant], adapters: &[&Adapter]) -> Self {
        let server = turn.server.map(|server| known_as(adapters[server].name()));
        Self {
            turn,
            name: server.unwrap_or_else(|| DIRECT.into()),
            load: variants[turn.variant].load,
            messages: 0,
            rate: 0.0,
            outcomes: Vec::new(),
            syscalls: None,
            missing: None,
            notes: Vec::new(),
        }
    }
}

/// Compares what was acknowledged with what the sink has received, once it has ended.
pub(crate) fn count_losses(sink: &Sink, contestants: &mut [Contestant]) {
    let Some(received) = sink.received() else {
        return;
    };
    for outcome in contestants.iter_mut().flat_map(|one| &mut one.outcomes) {
        let Some(acknowledged) = &outcome.acknowledged else {
            continue;
        };
        match audit(outcome.run, acknowledged, received) {
            Ok(found) => {
                outcome.round.lost = (!outcome.is_cut).then_some(found.lost);
                outcome.round.duplicates = Some(found.duplicates);
            }
            Err(trouble) => outcome.round.notes.push(trouble.to_string()),
        }
    }
}

/// Bytes copied, where a server has told at its end which share of its content that was.
pub(crate) fn share_copied(
    copied: &[Copied],
    variants: &[Variant],
    contestants: &mut [Contestant],
) {
    for contestant in contestants {
        let Turn { variant, server } = contestant.turn;
        let is_of = |copied: &&Copied| {
            server.is_some_and(|server| copied.is_of(server, &variants[variant]))
        };
        let Some(copied) = copied.iter().find(is_of) else {
            continue;
        };
        for outcome in &mut contestant.outcomes {
            let carried = outcome.round.carried_bytes;
            let bytes = carried.map(|bytes| (bytes as f64 * copied.share) as u64);
            outcome.round.copied_bytes = bytes;
        }
    }
}

/// All that was found, a value for each variant, and one of the system calls.
pub(crate) fn told(
    scenario: &Scenario,
    variants: &[Variant],
    adapters: &[&Adapter],
    kind: Ends,
    contestants: Vec<Contestant>,
    notes: Vec<String>,
) -> Vec<results::Scenario> {
    let mut found: Vec<results::Scenario> = Vec::new();
    let mut calls: Vec<Rounds> = Vec::new();
    let durabilities = adapters.iter().map(|one| one.durability().to_string());
    let durabilities: Vec<String> = durabilities.collect();
    for (index, variant) in variants.iter().enumerate() {
        let of = |one: &&Contestant| one.turn.variant == index;
        let messages_of: Vec<(String, u64)> = contestants
            .iter()
            .filter(of)
            .map(|one| (one.name.clone(), one.messages))
            .collect();
        let known = Known {
            ends: kind,
            durabilities: durabilities.clone(),
            messages: messages_of.first().map_or(0, |(_, messages)| *messages),
            messages_of: &messages_of,
            cores: cores(),
        };
        found.push(results::Scenario {
            name: variant.name.clone(),
            title: variant.title.clone(),
            family: variant.family.clone(),
            conditions: terms::conditions(scenario, variant, &known),
            notes: notes.clone(),
            ..results::Scenario::default()
        });
    }
    for contestant in contestants {
        let rounds = contestant.outcomes.into_iter().map(|outcome| outcome.round);
        let scenario = &mut found[contestant.turn.variant];
        if contestant.load.rate.is_some() {
            let key = format!("{}_maximum_rate_per_s", contestant.name);
            scenario.figures.insert(key, contestant.rate);
        }
        scenario.notes.extend(contestant.notes);
        if let Some(round) = contestant.syscalls {
            calls.push(Rounds {
                server: contestant.name.clone(),
                rounds: vec![round],
                missing: None,
            });
        }
        scenario.servers.push(Rounds {
            server: contestant.name,
            rounds: rounds.collect(),
            missing: contestant.missing,
        });
    }
    if let Some(name) = scenario.counts_syscalls
        && !calls.is_empty()
    {
        found.push(results::Scenario {
            name: name.into(),
            title: format!("system calls: {}", scenario.about),
            family: String::new(),
            servers: calls,
            ..found[0].clone()
        });
    }
    found
}

/// What it costs to hold what a server held.
pub(crate) fn tell_held(scenario: &mut results::Scenario, server: &str, held: &Held) {
    for (key, value) in [
        ("empty_bytes", Some(held.empty_bytes as f64)),
        ("full_bytes", Some(held.full_bytes as f64)),
        ("bytes_each", held.bytes_each()),
        ("filled_s", Some(held.seconds)),
    ] {
        if let Some(value) = value {
            scenario.figures.insert(format!("{server}_{key}"), value);
        }
    }
}
