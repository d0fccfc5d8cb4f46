//! The verdict: from results to lines, each with its figure, its limit, and whether it held. Pure: it reads
//! values and gives values. What was not measured, or not under the conditions that a line asks for, is told as
//! that and counts as neither.

use super::median::{Spread, duration, number, size};
use super::results::{DIRECT, RIVAL, Results, Round, SUBJECT, Scenario, name, step};
use crate::report::Times;

/// The server's processor time a message, in microseconds: the one line that all others stand around.
const CPU_US_MAX: f64 = 65.0;
/// That limit was drawn on a day when smtp-sink, which stores nothing, took 39 µs for the same messages on the same
/// machine. The machine is twice as slow on others, which the sink's figure in the same run shows.
const CPU_OF_SINK_MAX: f64 = CPU_US_MAX / 39.0;
/// Messages a second, as a multiple of the rival's ...
const RATE_OF_RIVAL_MIN: f64 = 15.0;
/// ... or as a share of what the cores could do if source, sink and server never left one idle.
const RATE_OF_CEILING_MIN: f64 = 0.9;
const USER_US_MAX: f64 = 10.0;
/// User and system time are told apart by ticks, so a shorter run says too little.
const USER_SECONDS_MIN: f64 = 30.0;
const SYSCALLS_PLAIN_MAX: f64 = 14.0;
const SYSCALLS_BDAT_MAX: f64 = 5.0;
const COPIED_SHARE_MAX: f64 = 0.1;
const RATE_OF_DIRECT_MIN: f64 = 0.6;
const SHARDS_RATIO_MAX: f64 = 1.25;
const SHARDS_ROUNDS_MIN: usize = 7;
/// A relay is judged by the median of so many.
const RELAY_ROUNDS_MIN: usize = 3;
const FINAL_OF_SYNC_MAX: f64 = 3.0;
const SESSIONS_RATIO_MAX: f64 = 1.3;

/// Whether a line held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Held,
    NotHeld,
    /// Not measured, or under other conditions.
    Open,
    /// A figure without a limit.
    Told,
}

impl Outcome {
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "NOT held",
            Self::Open => "not judged",
            Self::Told => "told only",
        }
    }
}

/// One line of the verdict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Lines of one number belong together.
    pub(crate) number: u8,
    pub(crate) what: String,
    pub(crate) figure: String,
    pub(crate) limit: String,
    pub(crate) outcome: Outcome,
    /// What stands beside the figure, or why it is not judged.
    pub(crate) beside: String,
}

/// Which side of a limit is the good one.
#[derive(Debug, Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::AtLeast(limit) => figure >= limit,
        }
    }

    fn in_words(self, unit: &str) -> String {
        let (sign, limit) = match self {
            Self::AtMost(limit) => ("≤", limit),
            Self::AtLeast(limit) => ("≥", limit),
        };
        format!("{sign} {}", with_unit(number(limit), unit))
    }
}

fn with_unit(text: String, unit: &str) -> String {
    if unit.is_empty() {
        text
    } else {
        format!("{text} {unit}")
    }
}

/// A line before its figure is known.
struct Question {
    number: u8,
    what: String,
    unit: &'static str,
    limit: Limit,
}

impl Question {
    fn judge(self, spread: Spread, beside: String) -> Line {
        let outcome = match self.limit.holds(spread.median) {
            true => Outcome::Held,
            false => Outcome::NotHeld,
        };
        Line {
            number: self.number,
            what: self.what,
            figure: with_unit(spread.in_words(), self.unit),
            limit: self.limit.in_words(self.unit),
            outcome,
            beside,
        }
    }

    /// Judged if `figure` is there, else `why` it is not.
    fn judge_or(self, figure: Option<Spread>, why: &str, beside: String) -> Line {
        match figure {
            Some(spread) => self.judge(spread, beside),
            None => self.open(None, why),
        }
    }

    fn open(self, figure: Option<Spread>, why: &str) -> Line {
        let figure = figure.map(|spread| with_unit(spread.in_words(), self.unit));
        Line {
            number: self.number,
            what: self.what,
            figure: figure.unwrap_or_else(|| "–".to_owned()),
            limit: self.limit.in_words(self.unit),
            outcome: Outcome::Open,
            beside: why.to_owned(),
        }
    }
}

/// All lines, in the order of their numbers.
pub(crate) fn lines(results: &Results) -> Vec<Line> {
    let mut lines = Vec::new();
    for (scenario, sessions) in [(name::RELAY_50, 50), (name::RELAY_100, 100)] {
        lines.extend(relay(results, scenario, sessions));
    }
    lines.push(user_share(results));
    lines.push(syscalls(
        results,
        name::SYSCALLS_PLAIN,
        "without pipelining",
        SYSCALLS_PLAIN_MAX,
    ));
    lines.push(syscalls(
        results,
        name::SYSCALLS_BDAT,
        "with pipelining and BDAT at both ends",
        SYSCALLS_BDAT_MAX,
    ));
    lines.extend(large(results));
    lines.extend(shards(results));
    lines.extend(half_rate(results));
    lines.extend(sessions(results));
    lines
}

const NOT_MEASURED: &str = "not measured in this comparison";

fn subject<'a>(results: &'a Results, scenario: &str) -> &'a [Round] {
    results
        .scenario(scenario)
        .map_or(&[], |scenario| scenario.rounds(SUBJECT))
}

fn median(rounds: &[Round], figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
    Spread::over(rounds, figure).map(|spread| spread.median)
}

fn relay(results: &Results, scenario: &str, sessions: u32) -> [Line; 3] {
    let rounds = subject(results, scenario);
    let cpu = Question {
        number: 1,
        what: format!("CPU a message, relay of 4 KiB with {sessions} sessions"),
        unit: "µs",
        limit: Limit::AtMost(CPU_US_MAX),
    };
    let cpu_us = Spread::over(rounds, Round::cpu_us);
    let unlike = results.scenario(scenario).and_then(unlike_the_relay);
    let cpu = match unlike {
        Some(why) => cpu.open(cpu_us, why),
        None => {
            let rival = results.scenario(scenario).and_then(|scenario| {
                let rival_us = median(scenario.rounds(RIVAL), Round::cpu_us)?;
                Some(format!("{RIVAL}: {} µs", number(rival_us)))
            });
            cpu.judge_or(cpu_us, NOT_MEASURED, rival.unwrap_or_default())
        }
    };
    [
        cpu,
        relay_of_sink(results, scenario, sessions, unlike),
        relay_rate(results, scenario, sessions, unlike),
    ]
}

/// The same cost by a measure that gets slower with the machine.
fn relay_of_sink(
    results: &Results,
    scenario: &str,
    sessions: u32,
    unlike: Option<&'static str>,
) -> Line {
    let question = Question {
        number: 1,
        what: format!(
            "CPU a message as a multiple of what smtp-sink takes for it alone, {sessions} sessions"
        ),
        unit: "×",
        limit: Limit::AtMost(CPU_OF_SINK_MAX),
    };
    let direct = results.scenario(scenario).map(|it| it.rounds(DIRECT));
    let sink_us = direct.and_then(|direct| median(direct, Round::sink_cpu_us));
    let spread = sink_us.and_then(|sink_us| {
        let of_sink = |round: &Round| Some(round.cpu_us()? / sink_us);
        Spread::over(subject(results, scenario), of_sink)
    });
    match unlike {
        Some(why) => question.open(spread, why),
        None => {
            let beside = sink_us.map_or_else(String::new, |us| {
                format!("smtp-sink with no relay before it: {} µs", number(us))
            });
            question.judge_or(spread, NOT_MEASURED, beside)
        }
    }
}

/// The line was drawn for nobody's ends, the full promise, and medians.
fn unlike_the_relay(scenario: &Scenario) -> Option<&'static str> {
    let conditions = &scenario.conditions;
    match (&*conditions.ends, &*conditions.durability) {
        ("postfix", "fsync") => {
            let is_few = (1..RELAY_ROUNDS_MIN).contains(&scenario.rounds(SUBJECT).len());
            is_few.then_some("not judged: too few rounds for a median")
        }
        ("postfix", _) => Some("not judged: the durability is not fsync for all"),
        _ => Some("not judged: these are not smtp-source and smtp-sink"),
    }
}

fn relay_rate(
    results: &Results,
    scenario: &str,
    sessions: u32,
    unlike: Option<&'static str>,
) -> Line {
    let rounds = subject(results, scenario);
    let rival = results.scenario(scenario).and_then(|scenario| {
        let rival = median(scenario.rounds(RIVAL), Round::rate)?;
        Some(rival * RATE_OF_RIVAL_MIN)
    });
    let ceiling = ceiling(results, rounds);
    let limit = [rival, ceiling.map(|it| it * RATE_OF_CEILING_MIN)];
    let smaller = limit.into_iter().flatten().reduce(f64::min);
    let rate = Spread::over(rounds, Round::rate);
    let question = Question {
        number: 1,
        what: format!("messages a second, relay of 4 KiB with {sessions} sessions"),
        unit: "/s",
        limit: Limit::AtLeast(smaller.unwrap_or(f64::NAN)),
    };
    let told = |what: &str, figure: Option<f64>| {
        format!("{what} {}/s", figure.map_or_else(|| "–".to_owned(), number))
    };
    let beside = format!(
        "{}, {}",
        told(
            &format!("{} × {RIVAL}:", number(RATE_OF_RIVAL_MIN)),
            limit[0]
        ),
        told("ceiling:", ceiling),
    );
    match (unlike, rate, smaller) {
        (Some(why), ..) => question.open(rate, why),
        (None, None, _) | (None, _, None) => question.open(rate, NOT_MEASURED),
        (None, Some(spread), Some(smaller)) => {
            // With one of the two limits only, what is below it may still be above the other.
            let is_whole = limit.iter().all(Option::is_some);
            if spread.median < smaller && !is_whole {
                return question.open(rate, "the other limit was not measured");
            }
            question.judge(spread, beside)
        }
    }
}

/// What the cores could do if source, sink and server never left one idle.
fn ceiling(results: &Results, rounds: &[Round]) -> Option<f64> {
    let ends_us = median(rounds, Round::ends_cpu_us)?;
    let server_us = median(rounds, Round::cpu_us)?;
    let cores = f64::from(results.machine.core_count);
    (cores > 0.0).then(|| cores * 1e6 / (ends_us + server_us))
}

fn user_share(results: &Results) -> Line {
    let rounds = subject(results, name::LONG);
    let question = Question {
        number: 2,
        what: "CPU in user space, a message".to_owned(),
        unit: "µs",
        limit: Limit::AtMost(USER_US_MAX),
    };
    let user_us = Spread::over(rounds, Round::user_us);
    let shortest = rounds.iter().map(|round| round.seconds).reduce(f64::min);
    match (user_us, shortest) {
        (Some(_), Some(seconds)) if seconds < USER_SECONDS_MIN => question.open(
            user_us,
            &format!(
                "not judged: {} s are too short to tell it from the kernel's",
                number(seconds)
            ),
        ),
        _ => {
            let system_us = median(rounds, Round::system_us);
            let beside = system_us.map_or_else(String::new, |us| {
                format!("in the kernel: {} µs", number(us))
            });
            question.judge_or(user_us, NOT_MEASURED, beside)
        }
    }
}

fn syscalls(results: &Results, scenario: &str, how: &str, max: f64) -> Line {
    let question = Question {
        number: 2,
        what: format!("system calls a message, {how}"),
        unit: "",
        limit: Limit::AtMost(max),
    };
    let each = Spread::over(subject(results, scenario), Round::syscalls_a_message);
    question.judge_or(each, NOT_MEASURED, String::new())
}

fn large(results: &Results) -> Vec<Line> {
    let rounds = subject(results, name::LARGE);
    let scenario = results.scenario(name::LARGE);
    let direct = scenario.map_or(&[][..], |scenario| scenario.rounds(DIRECT));
    let copied = Question {
        number: 3,
        what: "content copied in user space, of what was carried (100 KB)".to_owned(),
        unit: "",
        limit: Limit::AtMost(COPIED_SHARE_MAX),
    };
    let share = Spread::over(rounds, Round::copied_share);
    let copied = copied.judge_or(share, NOT_MEASURED, String::new());
    let (direct_rate, rate) = (median(direct, Round::rate), Round::rate);
    let of_direct = Question {
        number: 3,
        what: "messages a second, of the same ends with no relay between (100 KB)".to_owned(),
        unit: "",
        limit: Limit::AtLeast(RATE_OF_DIRECT_MIN),
    };
    let share = direct_rate.and_then(|direct| Spread::over(rounds, |it| Some(rate(it)? / direct)));
    let beside = match (median(rounds, Round::rate), direct_rate) {
        (Some(relayed), Some(direct)) => {
            format!("{}/s of {}/s", number(relayed), number(direct))
        }
        _ => String::new(),
    };
    let of_direct = of_direct.judge_or(share, NOT_MEASURED, beside);
    let mb_per_s = median(rounds, Round::mb_per_s);
    let probe = scenario.map(|scenario| &scenario.probe);
    let mb = |figure: Option<f64>| {
        figure.map_or_else(|| "–".to_owned(), |mb| format!("{}/s", size(mb * 1e6)))
    };
    let told = Line {
        number: 3,
        what: "content (100 KB)".to_owned(),
        figure: mb(mb_per_s),
        limit: String::new(),
        outcome: Outcome::Told,
        beside: format!(
            "plain TCP: {}, write and fdatasync: {}",
            mb(probe.and_then(|probe| probe.tcp_mb_per_s)),
            mb(probe.and_then(|probe| probe.sync_mb_per_s)),
        ),
    };
    vec![copied, of_direct, told]
}

/// CPU a message of one scenario as a multiple of another's median.
fn ratio(results: &Results, scenario: &str, base: &str) -> Option<(Spread, String)> {
    let base_us = median(subject(results, base), Round::cpu_us)?;
    let rounds = subject(results, scenario);
    let spread = Spread::over(rounds, |round| Some(round.cpu_us()? / base_us))?;
    let us = spread.median * base_us;
    let beside = format!("{} µs beside {} µs", number(us), number(base_us));
    Some((spread, beside))
}

fn shards(results: &Results) -> [Line; 2] {
    let line = |scenario: &str, what: &str| {
        let question = Question {
            number: 4,
            what: what.to_owned(),
            unit: "×",
            limit: Limit::AtMost(SHARDS_RATIO_MAX),
        };
        match ratio(results, scenario, name::SHARDS_1) {
            None => question.open(None, NOT_MEASURED),
            Some((spread, beside)) => {
                let base = subject(results, name::SHARDS_1).len();
                let rounds = spread.count.min(base);
                if rounds < SHARDS_ROUNDS_MIN {
                    let why = format!("not judged: {rounds} rounds of {SHARDS_ROUNDS_MIN}");
                    question.open(Some(spread), &why)
                } else {
                    question.judge(spread, beside)
                }
            }
        }
    };
    let two = line(name::SHARDS_2, "CPU a message, 2 shards against 1");
    let mut four = line(name::SHARDS_4, "CPU a message, 4 shards against 1");
    let core_count = results.machine.core_count;
    if core_count < 4 && four.outcome != Outcome::Open {
        four.outcome = Outcome::Told;
        four.limit = String::new();
        four.beside = format!("{}; on {core_count} cores", four.beside);
    }
    [two, four]
}

type Percentile = fn(&Times) -> u64;

fn half_rate(results: &Results) -> [Line; 2] {
    let rounds = subject(results, name::HALF_RATE);
    let question = Question {
        number: 5,
        what: "p50 to the final 250 at half of the highest rate, of one write and fdatasync"
            .to_owned(),
        unit: "×",
        limit: Limit::AtMost(FINAL_OF_SYNC_MAX),
    };
    let of_server = |round: &Round, p: Percentile| {
        let times = round.latencies.get(step::FINAL);
        times.filter(|it| it.count > 0).map(|it| p(it) as f64)
    };
    let of_disk = |round: &Round, p: Percentile| {
        let probe = &round.probe;
        let times = probe.sync_4k_direct.as_ref();
        let times = times.or(probe.sync_4k_buffered.as_ref());
        // A disk that answers within the clock's step still took some of it.
        times
            .filter(|it| it.count > 0)
            .map(|it| (p(it) as f64).max(1.0))
    };
    let both = |p: Percentile| {
        let told = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), duration);
        (
            told(median(rounds, |round| of_server(round, p))),
            told(median(rounds, |round| of_disk(round, p))),
        )
    };
    let (server, sync) = both(|times| times.p50);
    let ratio = Spread::over(rounds, |round| {
        Some(of_server(round, |times| times.p50)? / of_disk(round, |times| times.p50)?)
    });
    let beside = format!("{server} beside {sync} of the disk during the same load");
    let (server, sync) = both(|times| times.p99);
    [
        question.judge_or(ratio, NOT_MEASURED, beside),
        Line {
            number: 5,
            what: "p99 to the final 250 at half of the highest rate".to_owned(),
            figure: server,
            limit: String::new(),
            outcome: Outcome::Told,
            beside: format!("p99 of one write and fdatasync: {sync}"),
        },
    ]
}

fn sessions(results: &Results) -> [Line; 2] {
    [(name::SESSIONS_500, "500"), (name::SESSIONS_5000, "5,000")].map(|(scenario, count)| {
        let question = Question {
            number: 6,
            what: format!("CPU a message, {count} sessions against 50"),
            unit: "×",
            limit: Limit::AtMost(SESSIONS_RATIO_MAX),
        };
        match ratio(results, scenario, name::SESSIONS_50) {
            None => question.open(None, NOT_MEASURED),
            Some((spread, beside)) => question.judge(spread, beside),
        }
    })
}

#[cfg(test)]
mod tests;
