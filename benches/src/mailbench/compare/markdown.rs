//! Results as a page for readers: the verdict, the machine, the servers, and a table for each scenario under its
//! conditions. Pure: values to text. Files are written by `pages`.

use super::median::{Spread, duration, number, size};
use super::results::{Conditions, DIRECT, Machine, Probe, Results, Round, Scenario, Server, step};
use super::verdict::Line;
use crate::report::Times;
use std::fmt::Write as _;

/// The page. Pictures are named by `pictures`: a scenario's or family's name, and its files.
pub(crate) fn page(results: &Results, verdict: &[Line], pictures: &[(String, String)]) -> String {
    let mut out = String::new();
    say(&mut out, format_args!("# Mail servers compared\n"));
    say(&mut out, format_args!("Begun {}, with\n", results.started));
    say(&mut out, format_args!("    {}\n", results.command));
    say(
        &mut out,
        format_args!(
            "Figures are medians over rounds, with the smallest and the largest round in brackets. CPU is that of all \
             of a server's processes, in microseconds a message; `–` is what was not measured.\n"
        ),
    );
    for note in &results.notes {
        say(&mut out, format_args!("- {note}"));
    }
    if !results.notes.is_empty() {
        out.push('\n');
    }
    verdict_table(&mut out, verdict);
    machine_table(&mut out, &results.machine);
    server_table(&mut out, &results.servers);
    for scenario in &results.scenarios {
        section(&mut out, results, scenario, pictures);
    }
    families(&mut out, results, pictures);
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Writing to a string cannot fail.
fn say(out: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{line}");
}

/// A table; columns in which no row has anything are left out.
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
        }
    }

    fn write(&self, out: &mut String) {
        let is_used = |column: usize| self.rows.iter().any(|row| row[column].is_some());
        let columns: Vec<usize> = (0..self.head.len()).filter(|it| is_used(*it)).collect();
        if columns.is_empty() {
            return;
        }
        let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let head = columns.iter().map(|it| cell(&self.head[*it])).collect();
        say(out, format_args!("{}", line(head)));
        say(out, format_args!("|{}", "---|".repeat(columns.len())));
        for row in &self.rows {
            let cells = columns.iter().map(|it| match &row[*it] {
                Some(text) => cell(text),
                None => "–".to_owned(),
            });
            say(out, format_args!("{}", line(cells.collect())));
        }
        out.push('\n');
    }
}

/// A text that cannot end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn verdict_table(out: &mut String, lines: &[Line]) {
    say(out, format_args!("## Verdict\n"));
    let mut table = Table::new(&["", "what", "figure", "limit", "", "beside it"]);
    for line in lines {
        table.rows.push(vec![
            Some(line.number.to_string()),
            filled(&line.what),
            filled(&line.figure),
            Some(line.limit.clone()),
            filled(line.outcome.in_words()),
            Some(line.beside.clone()),
        ]);
    }
    table.write(out);
}

fn machine_table(out: &mut String, machine: &Machine) {
    say(out, format_args!("## Machine\n"));
    let mut processor = format!("{}, {} cores", machine.cpu_model, machine.core_count);
    for more in [&machine.hypervisor, &machine.governor] {
        if !more.is_empty() {
            let _ = write!(processor, ", {more}");
        }
    }
    let memory = size(machine.memory_bytes as f64);
    let load = number(machine.load_before);
    for (what, value) in [
        ("processor", &processor),
        ("memory", &memory),
        ("kernel", &machine.kernel),
        ("disk", &machine.disk),
        ("file system", &machine.file_system),
        ("load before the first round", &load),
        ("mailbench", &machine.mailbench),
    ] {
        let value = if value.is_empty() { "not known" } else { value };
        say(out, format_args!("- {what}: {value}"));
    }
    out.push('\n');
}

fn server_table(out: &mut String, servers: &[Server]) {
    if servers.is_empty() {
        return;
    }
    say(out, format_args!("## Servers\n"));
    let mut table = Table::new(&["name", "server", "version", "build", "settings", "notes"]);
    for server in servers {
        table.rows.push(vec![
            filled(&server.name),
            filled(&server.title),
            filled(&server.version),
            filled(&server.build),
            filled(&server.settings.join("; ")),
            filled(&server.notes.join("; ")),
        ]);
    }
    table.write(out);
}

fn section(
    out: &mut String,
    results: &Results,
    scenario: &Scenario,
    pictures: &[(String, String)],
) {
    say(out, format_args!("## {}\n", scenario.name));
    if !scenario.title.is_empty() {
        say(out, format_args!("{}\n", scenario.title));
    }
    let conditions = conditions(&scenario.conditions);
    let conditions: Vec<String> = conditions
        .into_iter()
        .map(|(k, v)| format!("{k}: {v}"))
        .collect();
    say(
        out,
        format_args!("Conditions. {}.\n", conditions.join(" · ")),
    );
    figures_table(out, results, scenario);
    spread_table(out, results, scenario);
    let mut notes: Vec<String> = probe_in_words(&scenario.probe);
    for (name, figure) in &scenario.figures {
        notes.push(format!("{name}: {}", number(*figure)));
    }
    notes.extend(scenario.notes.iter().cloned());
    notes.extend(notes_of_rounds(results, scenario));
    for note in &notes {
        say(out, format_args!("- {note}"));
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    show(out, &scenario.name, pictures);
}

fn families(out: &mut String, results: &Results, pictures: &[(String, String)]) {
    let mut shown: Vec<&str> = Vec::new();
    for scenario in &results.scenarios {
        let family = scenario.family.as_str();
        let is_own = results.scenario(family).is_some();
        let has_any = pictures.iter().any(|(of, _)| of == family);
        if family.is_empty() || is_own || !has_any || shown.contains(&family) {
            continue;
        }
        shown.push(family);
        say(out, format_args!("## {family}, all together\n"));
        show(out, family, pictures);
    }
}

fn show(out: &mut String, of: &str, pictures: &[(String, String)]) {
    let files = pictures.iter().filter(|(name, _)| name == of);
    for (_, file) in files {
        let words = file.trim_end_matches(".svg").replace('-', " ");
        say(out, format_args!("![{words}]({file})\n"));
    }
}

/// All conditions with their names, known or not.
pub(crate) fn conditions(of: &Conditions) -> Vec<(String, String)> {
    let text = |value: &str| if value.is_empty() { "not known" } else { value }.to_owned();
    let is_on = |value: bool| if value { "on" } else { "off" }.to_owned();
    let each = match of.messages_per_connection {
        0 => "all of a session".to_owned(),
        count => number(f64::from(count)),
    };
    let rate = match of.rate {
        Some(rate) => format!("{}/s offered (open loop)", number(rate)),
        None => "as fast as it is taken (closed loop)".to_owned(),
    };
    let mut all: Vec<(String, String)> = [
        ("durability", text(&of.durability)),
        ("message size", format!("{} bytes", text(&of.size))),
        (
            "recipients a transaction",
            of.recipients_per_transaction.to_string(),
        ),
        ("messages a connection", each),
        ("connections", number(f64::from(of.connections))),
        ("messages a round", number(of.messages as f64)),
        ("rate", rate),
        ("ends", text(&of.ends)),
        ("pipelining", is_on(of.pipelining)),
        ("BDAT", is_on(of.bdat)),
        ("DKIM", text(&of.dkim)),
        ("TLS in", text(&of.tls_in)),
        ("TLS out", text(&of.tls_out)),
        ("DNS", text(&of.dns)),
        ("destination domains", number(f64::from(of.domains))),
        ("sites", number(f64::from(of.sites))),
        ("events", text(&of.events)),
        ("sink latency", milliseconds(&of.sink_latency)),
        (
            "sink's 4xx",
            format!("{} %", number(of.sink_deferral_share * 100.0)),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(shards) = of.shards {
        all.push(("shards".to_owned(), shards.to_string()));
    }
    all.extend(of.others.clone());
    all
}

fn milliseconds(text: &str) -> String {
    match text {
        "" => "not known".to_owned(),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("{number} ms"),
        other => other.to_owned(),
    }
}

/// Servers in the order of the results, others behind.
fn in_order<'a>(results: &Results, scenario: &'a Scenario) -> Vec<&'a super::results::Rounds> {
    let place = |name: &str| {
        let servers = &results.servers;
        let known = servers.iter().position(|server| server.name == name);
        known.unwrap_or(usize::MAX)
    };
    let mut all: Vec<_> = scenario.servers.iter().collect();
    all.sort_by_key(|rounds| place(&rounds.server));
    all
}

/// A server's name as tables and plots show it.
pub(crate) fn label(results: &Results, name: &str) -> String {
    if name == DIRECT {
        return "no relay between".to_owned();
    }
    let server = results.servers.iter().find(|server| server.name == name);
    let title = server.map(|server| server.title.as_str());
    title
        .filter(|title| !title.is_empty())
        .unwrap_or(name)
        .to_owned()
}

fn figures_table(out: &mut String, results: &Results, scenario: &Scenario) {
    let mut table = Table::new(&[
        "server",
        "rounds",
        "messages/s",
        "content/s",
        "CPU, µs",
        "in user space",
        "in the kernel",
        "CPU of the ends, µs",
        "system calls",
        "to the final 250: p50",
        "p99",
        "message accepted: p50",
        "p99",
        "peak memory",
        "content copied",
        "lost",
        "duplicates",
        "steady state, s",
    ]);
    for of in in_order(results, scenario) {
        let rounds = of.rounds.as_slice();
        let words = |figure: fn(&Round) -> Option<f64>| {
            Spread::over(rounds, figure).map(|spread| spread.in_words())
        };
        let middle = |figure: &dyn Fn(&Round) -> Option<f64>| {
            Spread::over(rounds, figure).map(|spread| spread.median)
        };
        let latency = |step: &str, p: fn(&Times) -> u64| {
            let figure = |round: &Round| round.latencies.get(step).map(|times| p(times) as f64);
            middle(&figure).map(duration)
        };
        let sum = |count: fn(&Round) -> Option<u64>| {
            let counts: Vec<u64> = rounds.iter().filter_map(count).collect();
            (!counts.is_empty()).then(|| number(counts.iter().sum::<u64>() as f64))
        };
        let peak = rounds.iter().filter_map(|round| round.peak_rss_bytes).max();
        table.rows.push(vec![
            Some(label(results, &of.server)),
            Some(rounds.len().to_string()),
            words(Round::rate),
            middle(&Round::mb_per_s).map(|mb| size(mb * 1e6)),
            words(Round::cpu_us),
            middle(&Round::user_us).map(number),
            middle(&Round::system_us).map(number),
            middle(&Round::ends_cpu_us).map(number),
            words(Round::syscalls_a_message),
            latency(step::FINAL, |times| times.p50),
            latency(step::FINAL, |times| times.p99),
            latency(step::MESSAGE, |times| times.p50),
            latency(step::MESSAGE, |times| times.p99),
            peak.map(|bytes| size(bytes as f64)),
            middle(&Round::copied_share).map(|share| format!("{} %", number(share * 100.0))),
            sum(|round| round.lost),
            sum(|round| round.duplicates),
            middle(&|round: &Round| Some(round.seconds)).map(number),
        ]);
    }
    table.write(out);
}

/// Quartiles, where there are rounds enough to have any.
fn spread_table(out: &mut String, results: &Results, scenario: &Scenario) {
    let mut table = Table::new(&[
        "spread",
        "server",
        "smallest",
        "1st quartile",
        "median",
        "3rd quartile",
        "largest",
    ]);
    for (what, figure) in [
        ("messages/s", Round::rate as fn(&Round) -> Option<f64>),
        ("CPU, µs", Round::cpu_us),
    ] {
        for of in in_order(results, scenario) {
            let spread = Spread::over(&of.rounds, figure).filter(|spread| spread.count > 2);
            let Some(spread) = spread else { continue };
            let figures = [
                spread.min,
                spread.low_quartile,
                spread.median,
                spread.high_quartile,
                spread.max,
            ];
            let mut row = vec![Some(what.to_owned()), Some(label(results, &of.server))];
            row.extend(figures.map(|figure| Some(number(figure))));
            table.rows.push(row);
        }
    }
    table.write(out);
}

fn probe_in_words(probe: &Probe) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(mb) = probe.tcp_mb_per_s {
        words.push(format!("plain TCP over loopback: {}/s", size(mb * 1e6)));
    }
    if let Some(mb) = probe.sync_mb_per_s {
        words.push(format!(
            "write and fdatasync of 1 MiB in sequence: {}/s",
            size(mb * 1e6)
        ));
    }
    for (how, times) in [
        ("past the page cache", &probe.sync_4k_direct),
        ("through the page cache", &probe.sync_4k_buffered),
    ] {
        let Some(times) = times.as_ref().filter(|times| times.count > 0) else {
            continue;
        };
        words.push(format!(
            "write and fdatasync of 4 KiB {how}: p50 {}, p99 {} ({} writes)",
            duration(times.p50 as f64),
            duration(times.p99 as f64),
            number(times.count as f64),
        ));
    }
    words
}

/// What was said of single rounds: each sentence once, with the rounds it is said of.
fn notes_of_rounds(results: &Results, scenario: &Scenario) -> Vec<String> {
    let mut notes = Vec::new();
    for of in in_order(results, scenario) {
        let label = label(results, &of.server);
        if let Some(why) = &of.missing {
            notes.push(format!("{label}: {why}"));
        }
        let mut said: Vec<(&str, Vec<String>)> = Vec::new();
        for round in &of.rounds {
            for note in &round.notes {
                let index = (round.index + 1).to_string();
                match said.iter_mut().find(|(text, _)| text == note) {
                    Some((_, rounds)) => rounds.push(index),
                    None => said.push((note, vec![index])),
                }
            }
            let counts = [("deferred", round.deferred), ("refused", round.refused)];
            for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                let (round, count) = (round.index + 1, number(count as f64));
                notes.push(format!("{label}, round {round}: {count} messages {what}"));
            }
            for text in probe_in_words(&round.probe) {
                notes.push(format!("beside {label}, round {}: {text}", round.index + 1));
            }
        }
        for (text, rounds) in said {
            notes.push(format!("{label}, round {}: {text}", rounds.join(", ")));
        }
        notes.extend(other_figures(&of.rounds).map(|text| format!("{label}: {text}")));
    }
    notes
}

fn other_figures(rounds: &[Round]) -> impl Iterator<Item = String> {
    let mut names: Vec<&String> = rounds
        .iter()
        .flat_map(|round| round.figures.keys())
        .collect();
    names.sort();
    names.dedup();
    names.into_iter().filter_map(|name| {
        let spread = Spread::over(rounds, |round| round.figures.get(name).copied())?;
        Some(format!("{name}: {}", spread.in_words()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{results, round, rounds, scenario};
    use super::super::results::{RIVAL, SUBJECT};
    use super::super::verdict;
    use super::*;

    #[test]
    fn the_page_is_as_it_was_drawn() {
        let mine = [12_000.0, 10_000.0, 11_000.0].map(|rate| Round {
            lost: Some(0),
            peak_rss_bytes: Some(50_000_000),
            latencies: [(step::FINAL.into(), super::super::made_up::times(250))].into(),
            ..round(rate, 10, 50)
        });
        let theirs = Round {
            notes: vec!["a note | of one round".into()],
            ..round(500.0, 300, 700)
        };
        let mut one = scenario(
            "relay-50",
            vec![rounds(SUBJECT, mine), rounds(RIVAL, [theirs])],
        );
        one.probe.tcp_mb_per_s = Some(4_000.0);
        let results = results(vec![one]);
        let verdict: Vec<Line> = verdict::lines(&results).into_iter().take(3).collect();
        let pictures = [("relay-50".into(), "relay-50-bars.svg".into())];
        let page = page(&results, &verdict, &pictures);
        let golden = include_str!("markdown/made_up.md");
        assert_eq!(page, golden, "\n{page}");
    }

    #[test]
    fn every_condition_of_a_number_is_named_even_if_it_is_not_known() {
        let all = conditions(&Conditions::default());
        assert_eq!(all.len(), 19);
        let named = |name: &str| {
            all.iter()
                .find(|(it, _)| it == name)
                .map(|(_, value)| &**value)
        };
        assert_eq!(named("durability"), Some("not known"));
        assert_eq!(named("messages a connection"), Some("all of a session"));
    }

    #[test]
    fn a_column_without_figures_is_left_out() {
        let mut table = Table::new(&["a", "b", "c"]);
        table.rows.push(vec![Some("1|2".into()), None, None]);
        table
            .rows
            .push(vec![Some("x\ny".into()), None, Some("3".into())]);
        let mut out = String::new();
        table.write(&mut out);
        assert_eq!(out, "| a | c |\n|---|---|\n| 1\\|2 | – |\n| x y | 3 |\n\n");
    }
}
