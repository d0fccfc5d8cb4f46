//! Who takes a turn when, and what of a scenario becomes a table of its own. Pure.

use super::results::{DIRECT, SUBJECT};
use super::scenario::{Amount, Beside, Load, Scenario, Vary};
use std::fmt::Display;

/// One condition of a scenario: what stands in the results under a name of its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variant {
    /// In the results.
    pub(crate) name: String,
    /// A line for the table's head.
    pub(crate) title: String,
    /// Those of one family are one plot.
    pub(crate) family: String,
    pub(crate) load: Load,
    /// Of the server; `None`: as many as it takes by itself.
    pub(crate) shards: Option<usize>,
    /// What waits or idles beside its load; it has servers of its own then.
    pub(crate) held: Option<u64>,
    /// Rounds with no server between the ends, too.
    pub(crate) has_direct: bool,
}

/// Who takes a turn in each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Which variant.
    pub(crate) variant: usize,
    /// Which of the named servers; `None`: none, source and sink alone.
    pub(crate) server: Option<usize>,
}

/// The variants of a scenario: at least one.
pub(crate) fn variants(scenario: &Scenario) -> Vec<Variant> {
    let plain = Variant {
        name: scenario.results.into(),
        title: scenario.about.into(),
        family: String::new(),
        load: scenario.load,
        shards: None,
        held: None,
        has_direct: scenario.vary == Vary::Straight,
    };
    if let Beside::Waiting(counts) | Beside::Idle(counts) = scenario.beside {
        let held = |variant: Variant, count| Variant {
            held: Some(count),
            ..variant
        };
        return family(&plain, counts, held);
    }
    match scenario.vary {
        Vary::Nothing | Vary::Straight => vec![plain],
        Vary::Shards(counts) => family(&plain, counts, |variant, count| Variant {
            shards: Some(count),
            ..variant
        }),
        Vary::Sessions(counts) => family(&plain, counts, |variant, sessions| Variant {
            load: Load {
                sessions,
                ..variant.load
            },
            ..variant
        }),
    }
}

/// A variant for each count, which is the end of its name.
fn family<T: Copy + Display>(
    plain: &Variant,
    counts: &[T],
    with: impl Fn(Variant, T) -> Variant,
) -> Vec<Variant> {
    let one = |count: &T| {
        let variant = Variant {
            name: format!("{}-{count}", plain.name),
            title: format!("{} ({count})", plain.title),
            family: plain.name.clone(),
            ..plain.clone()
        };
        with(variant, *count)
    };
    counts.iter().map(one).collect()
}

/// All turns of a round, in the order of the first.
pub(crate) fn turns(variants: &[Variant], server_count: usize) -> Vec<Turn> {
    let mut turns = Vec::new();
    for (variant, of) in variants.iter().enumerate() {
        let servers = (0..server_count).map(Some);
        let direct = of.has_direct.then_some(None);
        let turn = |server| Turn { variant, server };
        turns.extend(servers.chain(direct).map(turn));
    }
    turns
}

/// The order of a round: whoever was first is last in the next.
pub(crate) fn rotated<T: Copy>(turns: &[T], round: u32) -> Vec<T> {
    let mut turns = turns.to_vec();
    if !turns.is_empty() {
        let by = round as usize % turns.len();
        turns.rotate_left(by);
    }
    turns
}

/// How many messages a round of a server has: what the command line says, else what the scenario says of it.
pub(crate) fn amount(scenario: &Scenario, server: &str, asked: Option<u64>) -> Amount {
    match asked {
        Some(messages) => Amount::Messages(messages),
        None if server == SUBJECT || server == DIRECT => scenario.amount,
        None if is_kin(server) => scenario.amount,
        None => scenario.amount_of_others,
    }
}

/// Whether it is mailrail in another class.
fn is_kin(server: &str) -> bool {
    server
        .strip_prefix(SUBJECT)
        .is_some_and(|rest| rest.starts_with('-'))
}

/// Messages of a warm-up, which is never more than a round.
pub(crate) fn warm_up(scenario: &Scenario, asked: Option<u64>) -> u64 {
    scenario.warm_up.min(asked.unwrap_or(u64::MAX)).max(1)
}

/// Rounds: what the command line says, else what the scenario says.
pub(crate) fn rounds(scenario: &Scenario, asked: Option<u32>) -> u32 {
    match scenario.beside {
        Beside::Unmeasured(_) => 0,
        _ => asked.unwrap_or(scenario.rounds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scenario;

    fn named(name: &str) -> Vec<Variant> {
        variants(scenario::by_name(name).expect("a scenario"))
    }

    #[test]
    fn whoever_was_first_is_last_in_the_next_round() {
        for (round, order) in [(0, "abc"), (1, "bca"), (2, "cab"), (3, "abc"), (7, "bca")] {
            let turns: String = rotated(&['a', 'b', 'c'], round).into_iter().collect();
            assert_eq!(turns, order, "round {round}");
        }
        assert!(rotated::<u8>(&[], 3).is_empty());
    }

    #[test]
    fn each_condition_has_a_name_of_its_own() {
        let names = |name| -> Vec<String> { named(name).into_iter().map(|v| v.name).collect() };
        assert_eq!(names("relay-50"), ["relay-50"]);
        assert_eq!(names("shards"), ["shards-1", "shards-2", "shards-4"]);
        let sessions = ["sessions-50", "sessions-500", "sessions-5000"];
        assert_eq!(names("sessions"), sessions);
        let loads: Vec<u32> = named("sessions").iter().map(|v| v.load.sessions).collect();
        assert_eq!(loads, [50, 500, 5000]);
        let shards: Vec<Option<usize>> = named("shards").iter().map(|v| v.shards).collect();
        assert_eq!(shards, [Some(1), Some(2), Some(4)]);
        assert_eq!(names("idle"), ["idle-0", "idle-5000"]);
        let held: Vec<Option<u64>> = named("idle").iter().map(|v| v.held).collect();
        assert_eq!(held, [Some(0), Some(5000)]);
    }

    #[test]
    fn every_server_takes_its_turn_in_every_condition_and_the_bare_ends_where_asked_for() {
        let turn = |variant, server| Turn { variant, server };
        let fresh = turns(&named("relay-50-fresh"), 2);
        assert_eq!(fresh, [turn(0, Some(0)), turn(0, Some(1))]);
        let large = turns(&named("large"), 1);
        assert_eq!(large, [turn(0, Some(0)), turn(0, None)]);
        assert_eq!(turns(&named("shards"), 1).len(), 3);
        assert_eq!(turns(&named("sessions"), 2).len(), 6);
    }

    #[test]
    fn amounts_are_the_scenarios_unless_the_command_line_has_one() {
        let relay = scenario::by_name("relay-50").expect("a scenario");
        for (server, asked, messages) in [
            ("mailrail", None, 20_000),
            ("mailrail-memory", None, 20_000),
            ("direct", None, 20_000),
            ("postfix", None, 3000),
            ("mailrailway", None, 3000),
            ("mailrail", Some(7), 7),
            ("postfix", Some(7), 7),
        ] {
            let amount = amount(relay, server, asked);
            assert_eq!(amount, Amount::Messages(messages), "{server} {asked:?}");
        }
        assert_eq!((warm_up(relay, None), warm_up(relay, Some(10))), (1000, 10));
        assert_eq!((rounds(relay, None), rounds(relay, Some(2))), (5, 2));
        let dkim = scenario::by_name("dkim").expect("a scenario");
        assert_eq!(rounds(dkim, Some(2)), 0);
    }
}
