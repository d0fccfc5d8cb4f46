//! What source and sink tell, as values that are written and read as JSON: the seam between them and the
//! comparison. Nothing is counted here.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The processor time of a process, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cpu {
    /// In user space.
    pub(crate) user_us: u64,
    /// In the kernel.
    pub(crate) system_us: u64,
}

impl Cpu {
    /// Of this process so far (getrusage).
    pub(crate) fn own() -> Self {
        let usage = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<&str> = usage.rsplit(") ").next().unwrap_or("").split(' ').collect();
        let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let ticks = |index: usize| {
            fields
                .get(index)
                .and_then(|field| field.parse::<u64>().ok())
        };
        Self {
            user_us: ticks(11).unwrap_or(0) * tick_us,
            system_us: ticks(12).unwrap_or(0) * tick_us,
        }
    }
}

/// Times of one step, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) min: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
    /// Points of the distribution, for a plot: percentile and microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) curve: Vec<(f64, u64)>,
}

impl Times {
    /// What a histogram of microseconds holds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |percentile| histogram.value_at_percentile(percentile);
        const POINTS: [f64; 16] = [
            1.0, 5.0, 10.0, 25.0, 50.0, 60.0, 75.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9,
            99.99, 100.0,
        ];
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            min: histogram.min(),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: histogram.max(),
            curve: POINTS.iter().map(|point| (*point, at(*point))).collect(),
        }
    }
}

/// What a source saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceReport {
    /// The run, as in the recipients' addresses.
    pub(crate) run: u32,
    /// From the first connection's start to the last answer.
    pub(crate) seconds: f64,
    /// Messages that were acknowledged with 250.
    pub(crate) messages: u64,
    /// Recipients of them that were accepted.
    pub(crate) copies: u64,
    /// Messages put off (4xx) for good within this run.
    pub(crate) deferred: u64,
    /// Messages refused (5xx).
    pub(crate) refused: u64,
    /// Messages whose end was sent and never answered.
    pub(crate) in_doubt: u64,
    /// Messages never handed over: the time was over, or the connections failed.
    pub(crate) unsent: u64,
    /// Connections made.
    pub(crate) connections: u64,
    /// Connections that failed or broke.
    pub(crate) broken: u64,
    /// Bytes of content of acknowledged messages.
    pub(crate) content_bytes: u64,
    pub(crate) cpu: Cpu,
    /// By step: connect, tls, mail, rcpt, data, final (from the last byte of the content to its answer),
    /// message (from the moment it was due, or begun, to its answer).
    pub(crate) steps: BTreeMap<String, Times>,
    /// What was asked for, in words, for the conditions of a table.
    pub(crate) conditions: BTreeMap<String, String>,
    /// First words of answers that were no success, and how often.
    pub(crate) answers: BTreeMap<String, u64>,
}

/// What a sink tells while it runs: all so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Messages accepted.
    pub(crate) messages: u64,
    /// Copies accepted (recipients of those), of whatever name.
    pub(crate) copies: u64,
    /// Copies that had come before.
    pub(crate) duplicates: u64,
    /// Answers 4xx.
    pub(crate) deferred: u64,
    /// Answers 5xx.
    pub(crate) refused: u64,
    /// Connections open now.
    pub(crate) open: u64,
}

/// What a sink saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SinkReport {
    pub(crate) seconds: f64,
    #[serde(flatten)]
    pub(crate) told: Told,
    /// Connections in all.
    pub(crate) connections: u64,
    /// Connections closed with 421 by the script.
    pub(crate) closed: u64,
    /// Copies whose name is of no source.
    pub(crate) unknown: u64,
    pub(crate) content_bytes: u64,
    pub(crate) cpu: Cpu,
    /// By run (eight hexadecimal digits).
    pub(crate) runs: BTreeMap<String, RunReport>,
}

/// What a sink saw of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunReport {
    /// Different copies.
    pub(crate) copies: u64,
    pub(crate) duplicates: u64,
    /// Acknowledged to the source and never come, where the source's file was given.
    pub(crate) lost: Option<u64>,
}
