//! Whether a verdict of the queue is a right one: recipient by recipient, and in the time of the next attempt.
//!
//! Nothing is settled here; that is the parent's.

use super::{Twin, ms};
use crate::queue::state::Stage;
use crate::queue::{Outcome, Verdict};

impl Twin {
    /// Whether the verdict is a right one for this outcome, recipient by recipient.
    pub(super) fn check_attempt(&self, now: u64, at: usize, outcome: &Outcome, verdict: &Verdict) {
        let (entry, message) = (&self.entries[at], &self.messages[&self.entries[at].id]);
        let has = |set: u128, bit: u32| set & 1 << bit != 0;
        let mut untried = None;
        let mut is_left = false;
        for bit in (0..128).filter(|&bit| has(entry.open, bit)) {
            let (delivered, failed) = (has(outcome.delivered, bit), has(outcome.failed, bit));
            assert_eq!(has(verdict.delivered, bit), delivered);
            assert_eq!(has(verdict.failed, bit), failed);
            let left = !delivered && !failed;
            is_left |= left;
            assert_eq!(
                has(verdict.open | verdict.expired, bit),
                left,
                "nothing is lost"
            );
            if left && bit >= entry.from && !has(outcome.deferred, bit) {
                untried = untried.or(Some(bit));
            }
        }
        assert_eq!(verdict.open & verdict.expired, 0);
        let all = verdict.delivered | verdict.failed | verdict.open | verdict.expired;
        assert_eq!(all, entry.open, "nothing is invented");
        if is_left && now < message.expires && untried.is_some() {
            assert_eq!(verdict.expired, 0, "the attempt goes on");
            assert_eq!((verdict.attempt, ms(verdict.next)), (entry.attempt, now));
            assert_eq!(Some(u32::from(verdict.batch)), untried);
            assert_eq!(verdict.deferred, outcome.deferred);
        } else if is_left && now < message.expires {
            assert_eq!(verdict.attempt, entry.attempt + 1);
            self.check_next(now, message.expires, verdict);
        } else if is_left {
            assert_eq!(verdict.open, 0, "too old");
            assert!(!verdict.is_deferral());
        }
    }

    /// Whether the time of the next attempt is a right one, or the end is.
    fn check_next(&self, now: u64, expires: u64, verdict: &Verdict) {
        let longest = self.interval_max(verdict.attempt);
        let first = self.settings.curve.retry_interval.as_millis() as u64;
        let has_time = expires.saturating_sub((first / 20).max(1)) >= now + first;
        if verdict.open == 0 {
            assert!(!has_time && now + longest >= expires, "given up too early");
        } else {
            assert!(verdict.is_deferral());
            assert_eq!(verdict.expired, 0);
            let pause = ms(verdict.next) - now;
            assert!(ms(verdict.next) < expires && pause <= longest);
            let is_last_call = expires - ms(verdict.next) == (first / 20).max(1);
            assert!(
                pause * 9 >= longest * 8 || is_last_call,
                "{pause} of {longest}"
            );
        }
        assert_eq!(verdict.batch, 0);
    }

    /// Whether the verdict about an entry that waited is a right one. The entry is held now.
    pub(super) fn check_ending(&mut self, now: u64, at: usize, verdict: &Verdict) {
        let now = self.observe(now);
        let entry = &self.entries[at];
        let expires = self.messages[&entry.id].expires;
        match entry.stage {
            Stage::Failed => assert_eq!(verdict.failed, entry.open),
            Stage::Postponed if now < expires => {
                assert_eq!(verdict.attempt, entry.attempt + 1);
                assert_eq!(verdict.open | verdict.expired, entry.open);
                self.check_next(now, expires, verdict);
            }
            _ => assert_eq!((verdict.expired, verdict.open), (entry.open, 0)),
        }
        self.entries[at].stage = Stage::Held;
        self.entries[at].lane = None;
    }
}
