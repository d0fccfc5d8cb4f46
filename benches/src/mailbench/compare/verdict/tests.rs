//! The verdict's tests: each line on both sides of its limit, and without what it needs. All figures are made up.

use super::super::made_up::{rounds, whole};
use super::*;
use Outcome::{Held, NotHeld, Open, Told};

fn outcomes(results: &Results) -> Vec<(u8, Outcome)> {
    let lines = lines(results);
    lines
        .iter()
        .map(|line| (line.number, line.outcome))
        .collect()
}

/// The lines after a change to results that hold everywhere, found by words of `what`.
#[track_caller]
fn check(change: impl FnOnce(&mut Results), what: &str, outcome: Outcome, figure: &str) {
    let mut results = whole();
    change(&mut results);
    let lines = lines(&results);
    let mut found = lines.iter().filter(|line| line.what.contains(what));
    let line = found.next().expect("a line of these words");
    assert!(found.next().is_none(), "{what} names two lines");
    assert_eq!((line.outcome, &*line.figure), (outcome, figure), "{line:?}");
}

fn of<'a>(results: &'a mut Results, scenario: &str) -> &'a mut Scenario {
    let mut all = results.scenarios.iter_mut();
    all.find(|it| it.name == scenario).expect("a scenario")
}

fn first<'a>(results: &'a mut Results, scenario: &str) -> &'a mut [Round] {
    &mut of(results, scenario).servers[0].rounds
}

#[test]
fn all_lines_hold_where_all_figures_are_good() {
    let expected = [
        (1, Held),
        (1, Held),
        (1, Held),
        (1, Held),
        (1, Held),
        (1, Held),
        (2, Held),
        (2, Held),
        (2, Held),
        (3, Held),
        (3, Held),
        (3, Told),
        (4, Held),
        (4, Told),
        (5, Held),
        (5, Told),
        (6, Held),
        (6, Held),
    ];
    assert_eq!(outcomes(&whole()), expected);
}

#[test]
fn nothing_is_judged_where_nothing_was_measured() {
    let lines = lines(&Results::default());
    let judged = |line: &&Line| matches!(line.outcome, Held | NotHeld);
    assert_eq!(lines.iter().find(judged), None);
    assert_eq!(lines.len(), 18);
}

const RELAY: &str = "CPU a message, relay of 4 KiB with 50";
const OF_SINK: &str = "smtp-sink takes for it alone, 50";
const RATE: &str = "messages a second, relay of 4 KiB with 50";

#[test]
fn the_median_of_the_rounds_is_judged() {
    let cpu = |us: [u64; 3]| {
        move |results: &mut Results| {
            for (round, us) in first(results, name::RELAY_50).iter_mut().zip(us) {
                round.cpu.user_us = 0;
                round.cpu.system_us = us * 1000;
            }
        }
    };
    check(cpu([60, 65, 900]), RELAY, Held, "65 (60–900) µs");
    check(cpu([66, 1, 900]), RELAY, NotHeld, "66 (1–900) µs");
}

#[test]
fn the_relay_is_judged_by_the_sink_of_the_same_run_too() {
    let sink = |us: u64| {
        move |results: &mut Results| {
            for round in &mut of(results, name::RELAY_50).servers[2].rounds {
                round.sink_cpu.system_us = us * 1000 - round.sink_cpu.user_us;
            }
        }
    };
    // 60 µs of the server's.
    check(sink(40), OF_SINK, Held, "1.50 (1.50–1.50) ×");
    check(sink(36), OF_SINK, Held, "1.67 (1.67–1.67) ×");
    check(sink(35), OF_SINK, NotHeld, "1.71 (1.71–1.71) ×");
    let alone = |results: &mut Results| of(results, name::RELAY_50).servers.truncate(2);
    check(alone, OF_SINK, Open, "–");
}

#[test]
fn the_relay_is_judged_by_nobodys_ends_alone() {
    check(
        |results| of(results, name::RELAY_50).conditions.ends = "mailbench".into(),
        RELAY,
        Open,
        "60 µs".replace("60", "60 (60–60)").as_str(),
    );
    check(
        |results| of(results, name::RELAY_50).conditions.durability = "by server".into(),
        RATE,
        Open,
        "11,000 (10,000–12,000) /s",
    );
}

#[test]
fn a_relay_of_two_rounds_has_no_median() {
    for what in [RELAY, RATE] {
        let figure = match what {
            RELAY => "60 (60–60) µs",
            _ => "11,000 (10,000–12,000) /s",
        };
        check(
            |results| of(results, name::RELAY_50).servers[0].rounds.truncate(2),
            what,
            Open,
            figure,
        );
    }
}

#[test]
fn the_rate_has_the_smaller_of_two_limits() {
    // 15 × 500 is 7,500; two cores and 40 + 60 µs are 20,000, of which 90 % are 18,000.
    let limit = |change: &dyn Fn(&mut Results)| {
        let mut results = whole();
        change(&mut results);
        let lines = lines(&results);
        let line = lines.into_iter().find(|line| line.what.starts_with(RATE));
        line.map(|line| (line.limit, line.outcome)).expect("a line")
    };
    assert_eq!(limit(&|_| {}), ("≥ 7,500 /s".into(), Held));
    let faster_rival = |results: &mut Results| {
        for round in &mut of(results, name::RELAY_50).servers[1].rounds {
            round.seconds /= 4.0;
        }
    };
    assert_eq!(limit(&faster_rival), ("≥ 18,000 /s".into(), NotHeld));
    let no_rival = |results: &mut Results| {
        of(results, name::RELAY_50).servers.truncate(1);
    };
    assert_eq!(limit(&no_rival), ("≥ 18,000 /s".into(), Open));
}

#[test]
fn user_time_needs_a_long_run() {
    let change = |seconds: f64, user_us: u64| {
        move |results: &mut Results| {
            let round = &mut first(results, name::LONG)[0];
            (round.seconds, round.cpu.user_us) = (seconds, user_us);
        }
    };
    check(change(30.0, 10_000_000), "user space, a", Held, "10 µs");
    check(
        change(30.0, 10_100_000),
        "user space, a",
        NotHeld,
        "10.1 µs",
    );
    check(change(29.0, 9_000_000), "user space, a", Open, "9 µs");
}

#[test]
fn system_calls_have_a_limit_with_and_one_without_pipelining() {
    let change = |scenario: &'static str, count: u64| {
        move |results: &mut Results| first(results, scenario)[0].syscalls = Some(count)
    };
    let (plain, bdat) = (name::SYSCALLS_PLAIN, name::SYSCALLS_BDAT);
    check(change(plain, 14_000), "without pipelining", Held, "14");
    check(change(plain, 14_100), "without pipelining", NotHeld, "14.1");
    check(change(bdat, 5_000), "and BDAT", Held, "5");
    check(change(bdat, 5_100), "and BDAT", NotHeld, "5.10");
}

#[test]
fn a_large_content_is_compared_with_no_relay() {
    let copied = |bytes: u64| {
        move |results: &mut Results| first(results, name::LARGE)[0].copied_bytes = Some(bytes)
    };
    check(copied(10_000_000), "copied", Held, "0.100");
    check(copied(10_100_000), "copied", NotHeld, "0.101");
    let direct = |seconds: f64| {
        move |results: &mut Results| {
            of(results, name::LARGE).servers[1].rounds[0].seconds = seconds;
        }
    };
    check(direct(0.3), "no relay", Held, "0.600");
    check(direct(0.29), "no relay", NotHeld, "0.580");
    let none = |results: &mut Results| of(results, name::LARGE).servers.truncate(1);
    check(none, "no relay", Open, "–");
    check(none, "content (100 KB)", Told, "200 MB/s");
}

#[test]
fn shards_need_seven_rounds_and_four_of_them_four_cores() {
    let two = "2 shards against 1";
    let slower = |results: &mut Results| {
        for round in first(results, name::SHARDS_2) {
            round.cpu.system_us = 53_000;
        }
    };
    check(slower, two, NotHeld, "1.26 (1.26–1.26) ×");
    let fewer = |results: &mut Results| {
        of(results, name::SHARDS_1).servers[0].rounds.truncate(6);
    };
    check(fewer, two, Open, "1.20 (1.20–1.20) ×");
    let cores = |results: &mut Results| results.machine.core_count = 4;
    check(cores, "4 shards against 1", NotHeld, "2 (2–2) ×");
}

#[test]
fn latency_is_compared_with_the_disk_of_the_same_load() {
    let what = "p50 to the final 250";
    let change = |p50: u64| {
        move |results: &mut Results| {
            for round in first(results, name::HALF_RATE) {
                let times = round.latencies.get_mut(step::FINAL).expect("times");
                times.p50 = p50;
            }
        }
    };
    check(change(300), what, Held, "3 (3–3) ×");
    check(change(301), what, NotHeld, "3.01 (3.01–3.01) ×");
    let buffered = |results: &mut Results| {
        for round in first(results, name::HALF_RATE) {
            round.probe.sync_4k_direct = None;
        }
    };
    check(buffered, what, Held, "1.33 (1.33–1.33) ×");
    let none = |results: &mut Results| {
        for round in first(results, name::HALF_RATE) {
            round.probe = Default::default();
        }
    };
    check(none, what, Open, "–");
    check(none, "p99 to the final 250", Told, "800 µs");
}

#[test]
fn more_sessions_may_cost_a_third_more() {
    let what = "5,000 sessions";
    check(|_| {}, what, Held, "1.30 (1.30–1.30) ×");
    let dearer = |results: &mut Results| {
        for round in first(results, name::SESSIONS_5000) {
            round.cpu.system_us += 1_000;
        }
    };
    check(dearer, what, NotHeld, "1.32 (1.32–1.32) ×");
    let none = |results: &mut Results| {
        let servers = &mut of(results, name::SESSIONS_50).servers;
        servers[0] = rounds(SUBJECT, []);
    };
    check(none, what, Open, "–");
}
