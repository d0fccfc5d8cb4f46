//! What the demonstration shows: the line of progress, the table, and the last line. Pure.

use super::ledger::{Ledger, Progress, Times, Totals};
use crate::shard::Counts;
use std::fmt::Write;

/// Where the first column of numbers ends.
const NAME_WIDTH: usize = 34;
const NUMBER_WIDTH: usize = 12;

/// The line of progress; `before` was shown `micros` ago.
pub(super) fn progress(now: &Progress, before: &Progress, micros: u64) -> String {
    format!(
        "accepted {}  delivered {}  deferred {}  bounced {}  {} messages/s",
        now.accepted,
        now.delivered,
        now.deferred,
        now.bounced,
        grouped(rate(now.accepted.saturating_sub(before.accepted), micros)),
    )
}

/// The table, without its last line.
pub(super) fn table(ledger: &Ledger, totals: &Totals, counts: &Counts) -> String {
    let mut out = String::new();
    let submitted = pace(totals.accepted, ledger.submission_micros());
    row(&mut out, "accepted", totals.accepted, &submitted);
    let seen = pace(ledger.first_attempt_count(), ledger.first_attempt_micros());
    row(&mut out, "delivered", totals.delivered, "");
    row(
        &mut out,
        "  of these at the first attempt",
        ledger.first_attempt_count(),
        &seen,
    );
    row(&mut out, "bounced", totals.bounced, "");
    row(&mut out, "waiting", totals.waiting, "");
    row(&mut out, "lost", totals.lost, "");
    row(&mut out, "duplicates", totals.duplicates, "");
    row(&mut out, "altered on the way", totals.altered, "");
    row(&mut out, "bounced without a refusal", totals.undue, "");
    row(&mut out, "deferred by a sink at first", totals.deferred, "");
    if totals.refused > 0 {
        row(&mut out, "refused at submission", totals.refused, "");
    }
    if totals.in_doubt > 0 {
        row(&mut out, "sent but never answered", totals.in_doubt, "");
    }
    let _ = writeln!(
        out,
        "\n{:NAME_WIDTH$}{:>NUMBER_WIDTH$}{:>NUMBER_WIDTH$}",
        "", "p50", "p99"
    );
    times(&mut out, "time to the 250", &ledger.to_answer);
    times(&mut out, "time to delivery", &ledger.to_sink);
    times(
        &mut out,
        "  of what was deferred at first",
        &ledger.to_sink_later,
    );
    let (copied, carried) = (counts.content_copied, counts.content_carried);
    let _ = writeln!(
        out,
        "\ncontent bytes copied / carried: {} / {} = {}",
        grouped(copied),
        grouped(carried),
        ratio(copied, carried),
    );
    out
}

/// The last line.
pub(super) fn last_line(totals: &Totals) -> String {
    format!(
        "demo: accepted={} delivered={} bounced={} waiting={} lost={}",
        totals.accepted, totals.delivered, totals.bounced, totals.waiting, totals.lost
    )
}

fn row(out: &mut String, name: &str, number: u64, remark: &str) {
    let line = format!(
        "{name:NAME_WIDTH$}{:>NUMBER_WIDTH$}   {remark}",
        grouped(number)
    );
    out.push_str(line.trim_end());
    out.push('\n');
}

fn times(out: &mut String, name: &str, times: &Times) {
    let shown = |hundredths| {
        times
            .percentile(hundredths)
            .map_or_else(|| "-".into(), |micros| millis(micros) + " ms")
    };
    let _ = writeln!(
        out,
        "{name:NAME_WIDTH$}{:>NUMBER_WIDTH$}{:>NUMBER_WIDTH$}",
        shown(50),
        shown(99)
    );
}

fn pace(count: u64, micros: u64) -> String {
    match rate(count, micros) {
        0 => String::new(),
        rate => format!("in {} s: {} messages/s", seconds(micros), grouped(rate)),
    }
}

/// So many a second, to the nearest; 0 if no time has passed.
fn rate(count: u64, micros: u64) -> u64 {
    let micros = u128::from(micros);
    let scaled = u128::from(count) * 1_000_000 + micros / 2;
    scaled
        .checked_div(micros)
        .map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}

fn seconds(micros: u64) -> String {
    let hundredths = (micros + 5_000) / 10_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn millis(micros: u64) -> String {
    let tenths = (micros + 50) / 100;
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

fn ratio(part: u64, whole: u64) -> String {
    let hundredths = (u128::from(part) * 100 + u128::from(whole) / 2)
        .checked_div(u128::from(whole))
        .unwrap_or(0);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// A number with its thousands parted.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_people() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(millis(49), "0.0");
        assert_eq!(millis(1_234_567), "1,234.6");
        assert_eq!(seconds(1_999_999), "2.00");
        assert_eq!(rate(10, 0), 0);
        assert_eq!(rate(3, 2_000_000), 2);
        assert_eq!(ratio(1, 3), "0.33");
        assert_eq!(ratio(0, 0), "0.00");
    }

    #[test]
    fn a_line_of_progress_tells_the_pace_since_the_last() {
        let at = |accepted| Progress {
            accepted,
            delivered: 2,
            deferred: 1,
            bounced: 0,
        };
        assert_eq!(
            progress(&at(2100), &at(1000), 200_000),
            "accepted 2100  delivered 2  deferred 1  bounced 0  5,500 messages/s"
        );
    }

    #[test]
    fn the_table_has_a_row_for_each_end() {
        let mut ledger = Ledger::new(2);
        for number in 0..2 {
            ledger.take(0);
            ledger.acknowledged(number, 2000);
        }
        ledger.seen(0, true, 500_000);
        let counts = Counts {
            content_copied: 150,
            content_carried: 100,
            ..Counts::default()
        };
        let totals = ledger.totals(|_| false);
        let expected = "\
accepted                                     2   in 0.00 s: 1,000 messages/s
delivered                                    1
  of these at the first attempt              1   in 0.50 s: 2 messages/s
bounced                                      0
waiting                                      0
lost                                         1
duplicates                                   0
altered on the way                           0
bounced without a refusal                    0
deferred by a sink at first                  0

                                           p50         p99
time to the 250                         2.0 ms      2.0 ms
time to delivery                      500.2 ms    500.2 ms
  of what was deferred at first              -           -

content bytes copied / carried: 150 / 100 = 1.50
";
        assert_eq!(table(&ledger, &totals, &counts), expected);
        assert_eq!(
            last_line(&totals),
            "demo: accepted=2 delivered=1 bounced=0 waiting=0 lost=1"
        );
    }
}
