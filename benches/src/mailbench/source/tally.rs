//! What a shard's sessions saw: counts and times by step. Each shard has its own, and they are added at the
//! end, so that nothing is shared while messages flow. Nothing is measured or printed here.

use crate::identity::Copies;
use crate::report::{SourceReport, Times};
use hdrhistogram::Histogram;
use mailrail_protocol::client::Answer;
use std::collections::BTreeMap;

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// From the connection's start to the greeting; over TLS from the first byte, from the handshake's end.
    Connect,
    /// The handshake.
    Tls,
    Mail,
    Recipient,
    /// From DATA to its 354.
    Data,
    /// From the last byte of the content to the answer that takes the message.
    Final,
    /// From the moment at which a message was due, or begun, to the answer that takes it.
    Message,
}

/// As the report calls them.
const STEPS: [(Step, &str); 7] = [
    (Step::Connect, "connect"),
    (Step::Tls, "tls"),
    (Step::Mail, "mail"),
    (Step::Recipient, "rcpt"),
    (Step::Data, "data"),
    (Step::Final, "final"),
    (Step::Message, "message"),
];

/// Longer times are counted as an hour.
const TIME_US_MAX: u64 = 3_600_000_000;
/// Different answers that are counted by their words.
const ANSWER_COUNT_MAX: usize = 100;
/// What the others are called.
const OTHER_ANSWERS: &str = "others";
/// Words of an answer, its code included: what follows often names a host or an id.
const WORD_COUNT_MAX: usize = 5;

/// All that is counted.
#[derive(Debug)]
pub(super) struct Tally {
    times: [Histogram<u64>; STEPS.len()],
    pub(super) messages: u64,
    pub(super) copies: u64,
    pub(super) deferred: u64,
    pub(super) refused: u64,
    pub(super) in_doubt: u64,
    pub(super) connections: u64,
    pub(super) broken: u64,
    pub(super) content_bytes: u64,
    answers: BTreeMap<String, u64>,
    /// Which copies were acknowledged, where somebody wants to know.
    pub(super) acknowledged: Option<Copies>,
    /// Connections that came as far as a first message.
    pub(super) ready_count: u64,
    /// Why the first connection was lost or not made.
    pub(super) first_loss: Option<String>,
    /// Why nobody should go on.
    pub(super) useless: Option<String>,
    pub(super) begun: u64,
    pub(super) ended: u64,
}

/// How far a shard has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) messages: u64,
    pub(super) deferred: u64,
    pub(super) refused: u64,
    pub(super) open: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

/// How a message that was not taken is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Deferred,
    Refused,
}

impl Failure {
    pub(super) fn of(code: u16) -> Self {
        match code {
            ..500 => Self::Deferred,
            _ => Self::Refused,
        }
    }
}

impl Tally {
    pub(super) fn new(begun: u64, keeps_copies: bool) -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, TIME_US_MAX, 3)
                .expect("the bounds are in order, and three digits are few enough")
        };
        Self {
            times: STEPS.map(|_| histogram()),
            messages: 0,
            copies: 0,
            deferred: 0,
            refused: 0,
            in_doubt: 0,
            connections: 0,
            broken: 0,
            content_bytes: 0,
            answers: BTreeMap::new(),
            acknowledged: keeps_copies.then(Copies::default),
            ready_count: 0,
            first_loss: None,
            useless: None,
            begun,
            ended: begun,
        }
    }

    /// A step was done.
    pub(super) fn took(&mut self, step: Step, from: u64, to: u64) {
        self.times[step as usize].saturating_record(to.saturating_sub(from));
    }

    /// An answer that was no success.
    pub(super) fn answered(&mut self, answer: &Answer<'_>) {
        let line = answer.raw().split(|byte| *byte == b'\r').next();
        self.told(&String::from_utf8_lossy(line.unwrap_or_default()));
    }

    /// The same in words.
    pub(super) fn told(&mut self, text: &str) {
        let words: Vec<&str> = text.split_whitespace().take(WORD_COUNT_MAX).collect();
        let mut key = words.join(" ");
        if self.answers.len() >= ANSWER_COUNT_MAX && !self.answers.contains_key(&key) {
            key = OTHER_ANSWERS.to_owned();
        }
        *self.answers.entry(key).or_insert(0) += 1;
    }

    /// A message was not taken.
    pub(super) fn failed(&mut self, failure: Failure) {
        match failure {
            Failure::Deferred => self.deferred += 1,
            Failure::Refused => self.refused += 1,
        }
    }

    /// A connection was lost, or could not be made.
    pub(super) fn lost(&mut self, why: &str) {
        self.broken += 1;
        if self.first_loss.is_none() {
            self.first_loss = Some(why.to_owned());
        }
    }

    /// Adds what another shard saw.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.times.iter_mut().zip(&other.times) {
            mine.add(theirs).expect("all have the same bounds");
        }
        self.messages += other.messages;
        self.copies += other.copies;
        self.deferred += other.deferred;
        self.refused += other.refused;
        self.in_doubt += other.in_doubt;
        self.connections += other.connections;
        self.broken += other.broken;
        self.content_bytes += other.content_bytes;
        for (answer, count) in &other.answers {
            *self.answers.entry(answer.clone()).or_insert(0) += count;
        }
        if let (Some(mine), Some(theirs)) = (&mut self.acknowledged, &other.acknowledged) {
            mine.add(theirs);
        }
        self.ready_count += other.ready_count;
        for (mine, theirs) in [
            (&mut self.first_loss, &other.first_loss),
            (&mut self.useless, &other.useless),
        ] {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
        self.begun = self.begun.min(other.begun);
        self.ended = self.ended.max(other.ended);
    }

    pub(super) fn progress(&self, open: u64) -> Progress {
        let times = &self.times[Step::Message as usize];
        Progress {
            messages: self.messages,
            deferred: self.deferred,
            refused: self.refused,
            open,
            p50_us: times.value_at_percentile(50.0),
            p99_us: times.value_at_percentile(99.0),
        }
    }

    /// The counts as a report of that many planned messages; who ran it, and how, is for others to add.
    pub(super) fn report(&self, message_count: u64) -> SourceReport {
        let settled = self.messages + self.deferred + self.refused + self.in_doubt;
        let steps = STEPS
            .iter()
            .zip(&self.times)
            .filter(|(_, times)| !times.is_empty());
        SourceReport {
            seconds: (self.ended - self.begun) as f64 / 1e6,
            messages: self.messages,
            copies: self.copies,
            deferred: self.deferred,
            refused: self.refused,
            in_doubt: self.in_doubt,
            unsent: message_count.saturating_sub(settled),
            connections: self.connections,
            broken: self.broken,
            content_bytes: self.content_bytes,
            steps: steps
                .map(|((_, name), times)| ((*name).to_owned(), Times::of(times)))
                .collect(),
            answers: self.answers.clone(),
            ..SourceReport::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_in_the_order_of_their_names() {
        for (place, (step, _)) in STEPS.iter().enumerate() {
            assert_eq!(*step as usize, place);
        }
    }

    #[test]
    fn shards_add_up() {
        let (mut first, mut second) = (Tally::new(50, true), Tally::new(40, true));
        first.took(Step::Message, 100, 350);
        first.messages = 1;
        first.ended = 350;
        second.took(Step::Message, 100, 150);
        second.took(Step::Connect, 0, 0);
        second.messages = 2;
        second.ended = 240;
        second.failed(Failure::of(451));
        second.failed(Failure::of(550));
        second.failed(Failure::of(554));
        let count = |tally: &mut Tally, copy| {
            tally.acknowledged.as_mut().expect("asked for").count(copy);
        };
        count(&mut first, 0);
        count(&mut second, 3);
        count(&mut second, 4);
        second.told("451 4.3.0 try again later mx1.example");
        second.told("451 4.3.0 try again later mx2.example");
        second.lost("connection reset");
        second.lost("connection refused");
        first.add(&second);
        let report = first.report(9);
        assert_eq!(
            (report.messages, report.deferred, report.refused),
            (3, 1, 2)
        );
        assert_eq!((report.unsent, report.broken), (3, 2));
        assert!((report.seconds - 0.000_310).abs() < 1e-9);
        assert_eq!(
            report.steps.keys().collect::<Vec<_>>(),
            ["connect", "message"]
        );
        let times = &report.steps["message"];
        assert_eq!((times.count, times.min, times.max), (2, 50, 250));
        assert_eq!(report.answers["451 4.3.0 try again later"], 2);
        assert_eq!(first.first_loss.as_deref(), Some("connection reset"));
        assert_eq!(first.acknowledged.expect("asked for").seen(), 3);
    }

    #[test]
    fn answers_that_are_all_different_do_not_fill_the_memory() {
        let mut tally = Tally::new(0, false);
        for number in 0..1000 {
            tally.told(&format!("451 {number}"));
        }
        let answers = tally.report(0).answers;
        assert_eq!(answers.len(), ANSWER_COUNT_MAX + 1);
        assert_eq!(answers[OTHER_ANSWERS], 900);
    }
}
