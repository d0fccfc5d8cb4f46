//! What a comparison says on a terminal at its end: a line for each server in each scenario, and the verdict.
//! Pure: values to text.

use super::markdown::label;
use super::median::{Spread, duration, number, size};
use super::results::{Results, Round, Rounds, step};
use super::verdict::{Line, Outcome};
use std::fmt::Write as _;

const HEAD: [&str; 8] = [
    "server",
    "messages/s",
    "CPU, µs",
    "user",
    "250: p50",
    "p99",
    "memory",
    "lost/twice",
];

/// The text, with an end of line at its end.
pub(crate) fn text(results: &Results, verdict: &[Line]) -> String {
    let mut rows: Vec<[String; 8]> = vec![HEAD.map(str::to_owned)];
    let mut heads: Vec<(usize, String)> = Vec::new();
    for scenario in &results.scenarios {
        heads.push((rows.len(), scenario.name.clone()));
        rows.extend(scenario.servers.iter().map(|of| row(results, of)));
    }
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (_, name) in heads.iter().filter(|(before, _)| *before == index) {
            let _ = writeln!(out, "{name}");
        }
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = match column {
                0 => write!(line, "  {cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
    out.push_str(&verdict_text(verdict));
    out
}

fn row(results: &Results, of: &Rounds) -> [String; 8] {
    let rounds = of.rounds.as_slice();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let middle = |figure: &dyn Fn(&Round) -> Option<f64>| {
        Spread::over(rounds, figure).map(|spread| spread.median)
    };
    let words = |figure: fn(&Round) -> Option<f64>| {
        or_dash(Spread::over(rounds, figure).map(|spread| spread.in_words()))
    };
    let p50 = middle(&|round| Some(round.latencies.get(step::FINAL)?.p50 as f64));
    let p99 = middle(&|round| Some(round.latencies.get(step::FINAL)?.p99 as f64));
    let peak = rounds.iter().filter_map(|round| round.peak_rss_bytes).max();
    let sum = |count: fn(&Round) -> Option<u64>| {
        let counted: Vec<u64> = rounds.iter().filter_map(count).collect();
        or_dash((!counted.is_empty()).then(|| counted.iter().sum::<u64>().to_string()))
    };
    [
        label(results, &of.server),
        words(Round::rate),
        words(Round::cpu_us),
        or_dash(middle(&Round::user_us).map(number)),
        or_dash(p50.map(duration)),
        or_dash(p99.map(duration)),
        or_dash(peak.map(|bytes| size(bytes as f64))),
        format!(
            "{}/{}",
            sum(|round| round.lost),
            sum(|round| round.duplicates)
        ),
    ]
}

/// The verdict alone; what was neither measured nor judged is counted in one line.
pub(crate) fn verdict_text(lines: &[Line]) -> String {
    let mut out = String::new();
    let is_empty = |line: &Line| line.outcome == Outcome::Open && line.figure == "–";
    for line in lines.iter().filter(|line| !is_empty(line)) {
        let _ = write!(out, "{}. {}: {}", line.number, line.what, line.figure);
        if !line.limit.is_empty() {
            let _ = write!(out, " ({})", line.limit);
        }
        let _ = write!(out, ": {}", line.outcome.in_words());
        if !line.beside.is_empty() {
            let _ = write!(out, "; {}", line.beside);
        }
        out.push('\n');
    }
    let empty = lines.iter().filter(|line| is_empty(line)).count();
    if empty > 0 {
        let _ = writeln!(out, "{empty} lines of the verdict were not measured");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{round, rounds, scenario};
    use super::super::results::{RIVAL, SUBJECT};
    use super::super::{made_up, verdict};
    use super::*;

    #[test]
    fn the_text_is_as_it_was_drawn() {
        let servers = vec![
            rounds(SUBJECT, [round(12_000.0, 10, 50)]),
            rounds(RIVAL, [round(500.0, 300, 700)]),
        ];
        let results = made_up::results(vec![scenario("relay-50", servers)]);
        let text = text(&results, &verdict::lines(&results));
        let expected = "  \
  server    messages/s  CPU, µs  user  250: p50  p99  memory  lost/twice
relay-50
  Mailrail      12,000       60    10         –    –       –         –/–
  Post|fix         500    1,000   300         –    –       –         –/–

1. CPU a message, relay of 4 KiB with 50 sessions: 60 µs (≤ 65 µs): not judged; not judged: too few rounds for a median
1. messages a second, relay of 4 KiB with 50 sessions: 12,000 /s (≥ 7,500 /s): not judged; not judged: too few rounds for a median
1 told
";
        let expected = expected.replace("1 told\n", "");
        assert!(text.starts_with(&expected), "\n{text}");
        assert!(
            text.ends_with(" lines of the verdict were not measured\n"),
            "\n{text}"
        );
    }
}
