//! The accounts: what was acknowledged, what was seen at a sink, what came back. Pure: time is an
//! argument.
//!
//! Every message has one entry, and an entry only ever gains marks, so nothing that happened twice
//! can hide that something else did not happen at all.

use hdrhistogram::Histogram;

/// Marks of an entry.
const ACKNOWLEDGED: u8 = 1;
const SEEN: u8 = 2;
const RETURNED: u8 = 4;
const DEFERRED: u8 = 8;

/// Times longer than this are counted as this, in microseconds.
const MICROS_MAX: u64 = 3_600_000_000;

/// Times, for their quantiles.
#[derive(Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, MICROS_MAX, 3);
        Self(histogram.expect("these bounds are in order"))
    }

    fn note(&mut self, micros: u64) {
        self.0.saturating_record(micros.clamp(1, MICROS_MAX));
    }

    /// So many of a hundred took at most so many microseconds; `None` if there were none at all.
    pub(super) fn percentile(&self, hundredths: u8) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(f64::from(hundredths) / 100.0))
    }
}

/// What a line of progress shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    pub(super) deferred: u64,
    pub(super) bounced: u64,
}

/// What it came to. `accepted` is the sum of `delivered`, `bounced`, `waiting` and `lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    pub(super) bounced: u64,
    pub(super) waiting: u64,
    pub(super) lost: u64,
    /// Copies too many.
    pub(super) duplicates: u64,
    /// Copies that were not what was sent.
    pub(super) altered: u64,
    /// Bounces of messages that no sink had refused.
    pub(super) undue: u64,
    /// Attempts that a sink put off.
    pub(super) deferred: u64,
    /// Refused for good at submission.
    pub(super) refused: u64,
    /// Sent whole, but without an answer: not accepted, though perhaps delivered.
    pub(super) in_doubt: u64,
}

/// The accounts of one run.
#[derive(Debug)]
pub(super) struct Ledger {
    message_count: u64,
    marks: Vec<u8>,
    begun: Vec<u64>,
    /// Numbers given back by a source that could not submit them.
    back: Vec<u64>,
    is_closed: bool,
    in_hand: u64,
    accounted: u64,
    progress: Progress,
    duplicates: u64,
    altered: u64,
    undue: u64,
    refused: u64,
    in_doubt: u64,
    last_refusal: Option<String>,
    /// From the beginning of a message's submission to its 250.
    pub(super) to_answer: Times,
    /// From the same to the sink, for messages that were never put off.
    pub(super) to_sink: Times,
    /// The same for those that were.
    pub(super) to_sink_later: Times,
    first_begun: Option<u64>,
    last_answer: u64,
    last_seen: u64,
}

impl Ledger {
    pub(super) fn new(message_count: u64) -> Self {
        Self {
            message_count,
            marks: Vec::new(),
            begun: Vec::new(),
            back: Vec::new(),
            is_closed: false,
            in_hand: 0,
            accounted: 0,
            progress: Progress::default(),
            duplicates: 0,
            altered: 0,
            undue: 0,
            refused: 0,
            in_doubt: 0,
            last_refusal: None,
            to_answer: Times::new(),
            to_sink: Times::new(),
            to_sink_later: Times::new(),
            first_begun: None,
            last_answer: 0,
            last_seen: 0,
        }
    }

    /// The next message to submit. It comes back by exactly one of the next four.
    pub(super) fn take(&mut self, now: u64) -> Option<u64> {
        if self.is_closed {
            return None;
        }
        let next = self.marks.len() as u64;
        let number = match self.back.pop() {
            Some(number) => number,
            None if next < self.message_count => {
                self.marks.push(0);
                self.begun.push(now);
                next
            }
            None => return None,
        };
        self.begun[number as usize] = now;
        self.first_begun.get_or_insert(now);
        self.in_hand += 1;
        Some(number)
    }

    /// The server has taken it.
    pub(super) fn acknowledged(&mut self, number: u64, now: u64) {
        self.in_hand -= 1;
        self.progress.accepted += 1;
        self.last_answer = now;
        let begun = self.begun[number as usize];
        self.to_answer.note(now.saturating_sub(begun));
        self.mark(number, ACKNOWLEDGED);
    }

    /// It was not taken for now, with these words: it will be submitted again.
    pub(super) fn put_back(&mut self, number: u64, words: Option<String>) {
        self.in_hand -= 1;
        self.back.push(number);
        if words.is_some() {
            self.last_refusal = words;
        }
    }

    /// It was refused for good.
    pub(super) fn refused(&mut self, number: u64, words: String) {
        debug_assert!((number as usize) < self.marks.len());
        self.in_hand -= 1;
        self.refused += 1;
        self.last_refusal = Some(words);
    }

    /// It was sent whole, and no answer came.
    pub(super) fn doubted(&mut self, number: u64) {
        debug_assert!((number as usize) < self.marks.len());
        self.in_hand -= 1;
        self.in_doubt += 1;
    }

    /// Is this the first attempt, to be put off?
    pub(super) fn put_off(&mut self, number: u64) -> bool {
        let is_first = self
            .marks
            .get(number as usize)
            .is_some_and(|marks| marks & DEFERRED == 0);
        if is_first {
            self.progress.deferred += 1;
            self.mark(number, DEFERRED);
        }
        is_first
    }

    /// A copy was taken at a sink.
    pub(super) fn seen(&mut self, number: u64, is_intact: bool, now: u64) {
        let Some(marks) = self.marks.get(number as usize).copied() else {
            return;
        };
        self.altered += u64::from(!is_intact);
        if marks & SEEN != 0 {
            self.duplicates += 1;
            return;
        }
        self.progress.delivered += 1;
        let times = match marks & DEFERRED {
            0 => {
                self.last_seen = now;
                &mut self.to_sink
            }
            _ => &mut self.to_sink_later,
        };
        times.note(now.saturating_sub(self.begun[number as usize]));
        self.mark(number, SEEN);
    }

    /// A bounce for it came to its sender; it `is_due` if the message could not be delivered.
    pub(super) fn returned(&mut self, number: u64, is_due: bool) {
        let Some(marks) = self.marks.get(number as usize).copied() else {
            return;
        };
        self.undue += u64::from(!is_due);
        if marks & RETURNED != 0 {
            self.duplicates += 1;
            return;
        }
        self.progress.bounced += 1;
        self.mark(number, RETURNED);
    }

    fn mark(&mut self, number: u64, mark: u8) {
        let marks = &mut self.marks[number as usize];
        let was = is_accounted(*marks);
        *marks |= mark;
        self.accounted += u64::from(!was && is_accounted(*marks));
    }

    /// From now on `take` gives nothing out.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Nothing will be given out any more.
    pub(super) fn is_over(&self) -> bool {
        let is_all_out = self.marks.len() as u64 == self.message_count && self.back.is_empty();
        is_all_out || self.is_closed
    }

    /// Every message was submitted, and whatever was taken has come out at an end.
    pub(super) fn is_settled(&self) -> bool {
        self.is_over() && self.in_hand == 0 && self.accounted == self.progress.accepted
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// The last reason why a message was not taken.
    pub(super) fn last_refusal(&self) -> Option<&str> {
        self.last_refusal.as_deref()
    }

    /// From the first submission to the last 250, in microseconds.
    pub(super) fn submission_micros(&self) -> u64 {
        self.since_begun(self.last_answer)
    }

    /// Messages delivered without having been put off.
    pub(super) fn first_attempt_count(&self) -> u64 {
        self.to_sink.0.len()
    }

    /// From the first submission to the last delivery of these, in microseconds.
    pub(super) fn first_attempt_micros(&self) -> u64 {
        self.since_begun(self.last_seen)
    }

    fn since_begun(&self, micros: u64) -> u64 {
        self.first_begun
            .map_or(0, |begun| micros.saturating_sub(begun))
    }

    /// The balance, given who waits in the queue.
    pub(super) fn totals(&self, waits: impl Fn(u64) -> bool) -> Totals {
        let mut totals = Totals {
            duplicates: self.duplicates,
            altered: self.altered,
            undue: self.undue,
            deferred: self.progress.deferred,
            refused: self.refused,
            in_doubt: self.in_doubt,
            ..Totals::default()
        };
        for (number, marks) in self.marks.iter().enumerate() {
            if marks & ACKNOWLEDGED == 0 {
                continue;
            }
            totals.accepted += 1;
            *match (marks & SEEN != 0, marks & RETURNED != 0) {
                (true, _) => &mut totals.delivered,
                (false, true) => &mut totals.bounced,
                (false, false) if waits(number as u64) => &mut totals.waiting,
                (false, false) => &mut totals.lost,
            } += 1;
            // Both delivered and bounced: told to one too many.
            totals.duplicates += u64::from(marks & SEEN != 0 && marks & RETURNED != 0);
        }
        totals
    }
}

const fn is_accounted(marks: u8) -> bool {
    marks & ACKNOWLEDGED != 0 && marks & (SEEN | RETURNED) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger of four messages, all submitted, at 0, 10, 20 and 30, and acknowledged 5 later.
    fn of_four() -> Ledger {
        let mut ledger = Ledger::new(4);
        for number in 0..4 {
            assert_eq!(ledger.take(number * 10), Some(number));
            ledger.acknowledged(number, number * 10 + 5);
        }
        assert_eq!(ledger.take(40), None);
        ledger
    }

    #[test]
    fn what_nobody_has_is_lost() {
        let mut ledger = of_four();
        ledger.seen(0, true, 100);
        ledger.returned(1, true);
        assert!(!ledger.is_settled());
        let totals = ledger.totals(|number| number == 3);
        let expected = Totals {
            accepted: 4,
            delivered: 1,
            bounced: 1,
            waiting: 1,
            lost: 1,
            ..Totals::default()
        };
        assert_eq!(totals, expected);
    }

    #[test]
    fn a_copy_too_many_does_not_make_up_for_a_lost_one() {
        let mut ledger = of_four();
        ledger.seen(0, true, 100);
        ledger.seen(0, true, 101);
        ledger.seen(1, true, 102);
        ledger.returned(1, false);
        ledger.returned(2, true);
        ledger.returned(2, true);
        assert!(!ledger.is_settled());
        let totals = ledger.totals(|_| false);
        assert_eq!((totals.delivered, totals.bounced, totals.lost), (2, 1, 1));
        assert_eq!((totals.duplicates, totals.undue), (3, 1));
    }

    #[test]
    fn what_is_seen_before_its_250_is_read_counts_once_it_is() {
        let mut ledger = Ledger::new(1);
        ledger.take(0);
        ledger.seen(0, true, 3);
        assert!(!ledger.is_settled());
        assert_eq!(ledger.totals(|_| false).accepted, 0);
        ledger.acknowledged(0, 4);
        assert!(ledger.is_settled());
        assert_eq!(ledger.totals(|_| false).delivered, 1);
    }

    #[test]
    fn what_is_in_the_queue_and_at_the_sink_is_delivered() {
        let mut ledger = of_four();
        ledger.seen(0, false, 9);
        let totals = ledger.totals(|_| true);
        assert_eq!((totals.delivered, totals.waiting, totals.lost), (1, 3, 0));
        assert_eq!(totals.altered, 1);
    }

    #[test]
    fn a_message_is_put_off_once_and_its_time_is_kept_apart() {
        let mut ledger = of_four();
        assert!(ledger.put_off(2));
        assert!(!ledger.put_off(2));
        assert!(!ledger.put_off(99), "not one of ours");
        ledger.seen(2, true, 1020);
        ledger.seen(3, true, 130);
        assert_eq!(ledger.to_sink_later.percentile(50), Some(1000));
        assert_eq!(ledger.to_sink.percentile(99), Some(100));
        assert_eq!(ledger.to_answer.percentile(50), Some(5));
        assert_eq!(ledger.progress().deferred, 1);
        assert_eq!(ledger.first_attempt_count(), 1);
        assert_eq!(
            (ledger.submission_micros(), ledger.first_attempt_micros()),
            (35, 130)
        );
    }

    #[test]
    fn no_times_have_no_percentile() {
        assert_eq!(Ledger::new(1).to_answer.percentile(50), None);
    }

    #[test]
    fn what_was_not_taken_is_no_loss() {
        let mut ledger = Ledger::new(3);
        for number in 0..3 {
            ledger.take(number);
        }
        ledger.put_back(1, Some("452 4.3.1 full".into()));
        assert!(!ledger.is_settled());
        assert_eq!(ledger.take(50), Some(1));
        ledger.acknowledged(1, 60);
        ledger.returned(1, true);
        ledger.refused(0, "550 no".into());
        ledger.doubted(2);
        assert!(ledger.is_settled());
        let totals = ledger.totals(|_| false);
        assert_eq!((totals.accepted, totals.lost), (1, 0));
        assert_eq!((totals.refused, totals.in_doubt), (1, 1));
        assert_eq!(ledger.last_refusal(), Some("550 no"));
        assert_eq!(ledger.to_answer.percentile(50), Some(10));
    }

    #[test]
    fn a_closed_ledger_gives_nothing_out_and_settles_with_what_is_under_way() {
        let mut ledger = Ledger::new(100);
        ledger.take(0);
        ledger.close();
        assert_eq!(ledger.take(1), None);
        assert!(!ledger.is_settled());
        ledger.put_back(0, None);
        assert!(ledger.is_settled());
    }
}
