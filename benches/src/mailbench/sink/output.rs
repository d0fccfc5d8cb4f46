//! What the sink tells: lines while it runs, the report at its end, files of what was received, and what is
//! missing of what a source had acknowledged. Nothing is counted here.

use super::tally::{Harvest, Sum};
use crate::cli::SinkOptions;
use crate::identity::Copies;
use crate::report::{Cpu, RunReport, SinkReport, Told};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Tells on stdout what has changed, for as long as somebody listens.
#[derive(Debug, Default)]
pub(super) struct Teller {
    last: Option<Told>,
    is_deaf: bool,
}

impl Teller {
    /// One line, if it says something new.
    pub(super) fn tell(&mut self, told: Told) {
        if self.is_deaf || self.last == Some(told) {
            return;
        }
        self.last = Some(told);
        let line = serde_json::to_string(&told).unwrap_or_default();
        // Who has closed the pipe wants to hear no more, which is no reason to lose what is counted.
        self.is_deaf = say(&format!("{line}\n")).is_err();
    }
}

/// Writes to stdout at once. A pipe without a reader is no error of a sink.
fn say(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// What sources had acknowledged, by run.
pub(super) type Acknowledged = BTreeMap<u32, Copies>;

/// Reads the files of `--against`.
///
/// # Errors
/// Which file cannot be read, and why.
pub(super) fn load_acknowledged(paths: &[PathBuf]) -> Result<Acknowledged, String> {
    let mut acknowledged = Acknowledged::new();
    for path in paths {
        let (run, copies) =
            Copies::load(path).map_err(|error| format!("{}: {error}", path.display()))?;
        acknowledged.entry(run).or_default().add(&copies);
    }
    Ok(acknowledged)
}

/// The report of it all.
pub(super) fn report(
    sum: &Sum,
    harvest: &Harvest,
    acknowledged: &Acknowledged,
    cpu: Cpu,
) -> SinkReport {
    let mut runs = BTreeMap::new();
    for run in harvest.runs.keys().chain(acknowledged.keys()) {
        let none = Copies::default();
        let received = harvest.runs.get(run).unwrap_or(&none);
        let lost = acknowledged
            .get(run)
            .map(|copies| copies.missing_in(received));
        let report = RunReport {
            copies: received.seen(),
            duplicates: received.duplicates(),
            lost,
        };
        runs.insert(format!("{run:08x}"), report);
    }
    let mut told = sum.told;
    // A shard saw its own duplicates alone; of a copy that came more than 255 times the runs see too few.
    told.duplicates = told
        .duplicates
        .max(runs.values().map(|run| run.duplicates).sum());
    SinkReport {
        seconds: harvest.span.seconds(),
        told,
        connections: sum.connections,
        closed: sum.closed,
        unknown: sum.unknown,
        content_bytes: sum.content_bytes,
        cpu,
        runs,
    }
}

/// Writes all that was asked for; what is lost is an error.
///
/// # Errors
/// What could not be written, or how much is lost.
pub(super) fn finish(
    options: &SinkOptions,
    report: &SinkReport,
    harvest: &Harvest,
) -> Result<(), Box<dyn Error>> {
    let at = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    if let Some(directory) = &options.received {
        fs::create_dir_all(directory).map_err(|error| at(directory, error))?;
        for (run, copies) in &harvest.runs {
            let path = directory.join(format!("{run:08x}.copies"));
            copies.save(*run, &path).map_err(|error| at(&path, error))?;
        }
    }
    let json = serde_json::to_string(report)? + "\n";
    let said = match &options.json {
        Some(path) if path == Path::new("-") => say(&json),
        Some(path) => {
            fs::write(path, json).map_err(|error| at(path, error))?;
            say(&table(report))
        }
        None => say(&table(report)),
    };
    if let Err(error) = said
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(format!("cannot write the report: {error}").into());
    }
    match lost(report) {
        0 => Ok(()),
        lost => Err(format!("{lost} copies were acknowledged to the source and never came").into()),
    }
}

fn lost(report: &SinkReport) -> u64 {
    report.runs.values().filter_map(|run| run.lost).sum()
}

/// The report for people.
fn table(report: &SinkReport) -> String {
    let told = &report.told;
    let per_message_us = match told.messages {
        0 => 0.0,
        messages => (report.cpu.user_us + report.cpu.system_us) as f64 / messages as f64,
    };
    let rate = match report.seconds > 0.0 {
        true => told.messages as f64 / report.seconds,
        false => 0.0,
    };
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to memory cannot fail.
        let _ = writeln!(text, "{name:<14}{value:>14}");
    };
    row("messages", told.messages.to_string());
    row("copies", told.copies.to_string());
    row("duplicates", told.duplicates.to_string());
    row("unknown", report.unknown.to_string());
    row("deferred", told.deferred.to_string());
    row("refused", told.refused.to_string());
    row("connections", report.connections.to_string());
    row("closed by 421", report.closed.to_string());
    row("content bytes", report.content_bytes.to_string());
    row("seconds", format!("{:.3}", report.seconds));
    row("messages/s", format!("{rate:.1}"));
    row("CPU us/message", format!("{per_message_us:.1}"));
    for (run, of_run) in &report.runs {
        let lost = of_run
            .lost
            .map_or(String::new(), |lost| format!(", {lost} lost"));
        let _ = writeln!(
            text,
            "run {run}: {} copies, {} duplicates{lost}",
            of_run.copies, of_run.duplicates
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(numbers: &[u64]) -> Copies {
        let mut copies = Copies::default();
        for number in numbers {
            copies.count(*number);
        }
        copies
    }

    #[test]
    fn losses_are_told_by_run() {
        let harvest = Harvest {
            runs: [(1, copies(&[0, 1, 1, 4])), (2, copies(&[0]))].into(),
            ..Harvest::default()
        };
        let acknowledged = [(1, copies(&[0, 1, 2, 3])), (3, copies(&[9]))].into();
        let report = report(&Sum::default(), &harvest, &acknowledged, Cpu::default());
        let row = |copies, duplicates, lost| RunReport {
            copies,
            duplicates,
            lost,
        };
        let expected: Vec<_> = [
            ("00000001", row(3, 1, Some(2))),
            ("00000002", row(1, 0, None)),
            ("00000003", row(0, 0, Some(1))),
        ]
        .map(|(run, row)| (run.to_owned(), row))
        .into();
        assert_eq!(
            report.runs.clone().into_iter().collect::<Vec<_>>(),
            expected
        );
        assert_eq!((lost(&report), report.told.duplicates), (3, 1));
        let table = table(&report);
        assert!(
            table.contains("run 00000001: 3 copies, 1 duplicates, 2 lost\n"),
            "{table}"
        );
        assert!(
            table.contains("run 00000002: 1 copies, 0 duplicates\n"),
            "{table}"
        );
    }
}
