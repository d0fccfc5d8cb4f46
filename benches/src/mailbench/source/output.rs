//! What is printed: the live line, the table, the JSON. Nothing is counted here.

use super::tally::Progress;
use crate::cli::{SourceOptions, Tls};
use crate::report::{SourceReport, Times};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// What was asked for, in words. The password is not in it.
pub(super) fn conditions(options: &SourceOptions) -> BTreeMap<String, String> {
    let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let tls = match options.tls {
        Tls::Off => "no",
        Tls::Starttls => "STARTTLS",
        Tls::Implicit => "from the first byte",
    };
    let per_connection = match options.per_connection {
        0 => "all".to_owned(),
        count => count.to_string(),
    };
    let rate = match options.rate {
        None => "as fast as they are taken".to_owned(),
        Some(rate) => format!("{rate} a second"),
    };
    [
        ("server", options.server.to_string()),
        ("sessions", options.sessions.to_string()),
        ("messages", options.messages.to_string()),
        ("rate", rate),
        ("size", options.size.clone()),
        ("recipients a message", options.recipients.to_string()),
        ("messages a connection", per_connection),
        ("pipelining", yes_or_no(options.pipelining)),
        ("bdat", yes_or_no(options.bdat)),
        ("tls", tls.to_owned()),
        ("auth", yes_or_no(options.auth.is_some())),
        ("sender domains", options.sender_domains.to_string()),
        ("recipient domains", options.recipient_domains.to_string()),
        ("zipf", options.zipf.to_string()),
        ("shards", options.shards.to_string()),
        ("seed", options.seed.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// The line of one second: `since` is what the line before it told.
pub(super) fn live(second: u64, now: &Progress, since: &Progress) -> String {
    format!(
        "{second:>4} s  {:>9} messages  {:>7}/s  {:>6} deferred  {:>6} refused  {:>5} open  p50 {}  p99 {}",
        now.messages,
        now.messages - since.messages,
        now.deferred,
        now.refused,
        now.open,
        time(now.p50_us),
        time(now.p99_us),
    )
}

/// The table for a reader.
pub(super) fn table(report: &SourceReport) -> String {
    let mut text = String::new();
    let rate = |count: u64| match report.seconds > 0.0 {
        true => count as f64 / report.seconds,
        false => 0.0,
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "run {:08x}: {} messages ({} copies) in {:.2} s: {:.0} messages/s, {:.1} MB/s of content",
        report.run,
        report.messages,
        report.copies,
        report.seconds,
        rate(report.messages),
        rate(report.content_bytes) / 1e6,
    );
    let _ = writeln!(
        text,
        "{} deferred, {} refused, {} in doubt, {} unsent; {} connections, {} broken",
        report.deferred,
        report.refused,
        report.in_doubt,
        report.unsent,
        report.connections,
        report.broken,
    );
    let cpu_us = report.cpu.user_us + report.cpu.system_us;
    let _ = writeln!(
        text,
        "this process: {:.1} us of CPU a message ({:.1} user, {:.1} system)",
        cpu_us as f64 / report.messages.max(1) as f64,
        report.cpu.user_us as f64 / report.messages.max(1) as f64,
        report.cpu.system_us as f64 / report.messages.max(1) as f64,
    );
    let _ = writeln!(
        text,
        "\n{:<8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "step", "count", "mean", "p50", "p90", "p99", "p99.9", "max"
    );
    const ORDER: [&str; 7] = ["connect", "tls", "mail", "rcpt", "data", "final", "message"];
    for (name, times) in ORDER
        .iter()
        .filter_map(|name| Some((name, report.steps.get(*name)?)))
    {
        text.push_str(&row(name, times));
    }
    for (answer, count) in &report.answers {
        let _ = writeln!(text, "{count:>9} times: {answer}");
    }
    text
}

fn row(name: &str, times: &Times) -> String {
    format!(
        "{name:<8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        times.count,
        time(times.mean as u64),
        time(times.p50),
        time(times.p90),
        time(times.p99),
        time(times.p999),
        time(times.max),
    )
}

/// Microseconds in the unit that is read most easily.
fn time(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{micros} us"),
        10_000..10_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

/// Writes the report where it is wanted.
///
/// # Errors
/// The file system's, with the file's name.
pub(super) fn write(report: &SourceReport, json: Option<&Path>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match json {
        Some(path) if path.as_os_str() == "-" => {
            write_json(report, &mut stdout)?;
            return stdout.flush();
        }
        Some(path) => {
            let told = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            };
            let mut file = File::create(path).map_err(told)?;
            write_json(report, &mut file).map_err(told)?;
        }
        None => {}
    }
    stdout.write_all(table(report).as_bytes())?;
    stdout.flush()
}

fn write_json(report: &SourceReport, out: &mut impl Write) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    out.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_their_units() {
        for (micros, text) in [
            (0, "0 us"),
            (9_999, "9999 us"),
            (10_000, "10.0 ms"),
            (9_999_999, "10000.0 ms"),
            (12_340_000, "12.3 s"),
        ] {
            assert_eq!(time(micros), text);
        }
    }

    #[test]
    fn a_table_of_nothing_is_a_table() {
        let text = table(&SourceReport::default());
        assert!(text.starts_with("run 00000000: 0 messages"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    #[test]
    fn a_live_line_tells_what_is_new() {
        let progress = |messages| Progress {
            messages,
            ..Progress::default()
        };
        let line = live(2, &progress(150), &progress(100));
        assert!(
            line.contains("150 messages") && line.contains("50/s"),
            "{line}"
        );
    }
}
