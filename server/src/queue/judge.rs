//! What an outcome leads to. Decides, and changes nothing.

use super::schedule;
use super::state::{Entry, Stage};
use super::view::Message;
use super::{Cause, DestinationId, EntryId, Outcome, Settings, Verdict};
use crate::message::Timestamp;

/// Everything a verdict depends on.
pub(super) struct Case<'a> {
    pub(super) key: EntryId,
    pub(super) entry: &'a Entry,
    pub(super) message: Message,
    pub(super) destination: DestinationId,
    pub(super) now: Timestamp,
    pub(super) settings: &'a Settings,
    /// Of the open recipients those that were in doubt before.
    pub(super) doubt: u128,
}

/// All positions from this one on.
fn from(position: u8) -> u128 {
    u128::MAX.checked_shl(u32::from(position)).unwrap_or(0)
}

/// The lowest `count` of these recipients.
fn lowest(recipients: u128, count: u32) -> u128 {
    let mut rest = recipients;
    for _ in 0..count {
        rest &= rest.wrapping_sub(1);
    }
    recipients & !rest
}

/// The recipients of the entry's next parcel, without those that are held.
pub(super) fn batch(entry: &Entry, held: u128, recipients_max: u32) -> u128 {
    let all = entry.open() & !held;
    let behind = all & from(entry.batch());
    // Those behind may all be held meanwhile: then it is a new attempt.
    let next = if behind == 0 { all } else { behind };
    lowest(next, recipients_max.max(1))
}

impl Case<'_> {
    /// Of an attempt: the caller's word for each recipient it tried. Of these, `doubt` are in doubt now, and
    /// no others.
    pub(super) fn attempted(&self, outcome: &Outcome, tried: u128, doubt: u128) -> Verdict {
        let open = self.entry.open();
        let delivered = outcome.delivered & open;
        let failed = outcome.failed & open & !delivered;
        let left = open & !delivered & !failed;
        let deferred = outcome.deferred & left;
        let doubt = (self.doubt & !tried | doubt) & left;
        let held = self.settings.held(doubt);
        let untried = left & !deferred & !held & from(self.entry.batch());
        let verdict = Verdict {
            delivered,
            failed,
            deferred,
            doubt,
            is_silent: outcome.is_silent,
            ..self.nothing(Cause::Attempt)
        };
        let over = self.entry.attempt().saturating_add(1);
        if left == 0 {
            Verdict {
                attempt: over,
                ..verdict
            }
        } else if self.now >= self.message.expires {
            Verdict {
                expired: left,
                deferred: 0,
                attempt: over,
                ..verdict
            }
        } else if untried != 0 {
            // The attempt goes on with those that were not tried yet.
            Verdict {
                open: left,
                next: self.now,
                batch: untried.trailing_zeros() as u8,
                ..verdict
            }
        } else {
            self.postponed(left, held, verdict)
        }
    }

    /// Of an entry that ended while it waited.
    pub(super) fn ended(&self, stage: Stage, answer: Cause) -> Verdict {
        let open = self.entry.open();
        let held = self.settings.held(self.doubt);
        match stage {
            // What failed is the way to them: it says nothing about those that are held.
            Stage::Failed => Verdict {
                failed: open & !held,
                open: held,
                doubt: held,
                ..self.nothing(answer)
            },
            Stage::Postponed if self.now < self.message.expires => {
                let verdict = Verdict {
                    deferred: open & !held,
                    doubt: self.doubt,
                    ..self.nothing(answer)
                };
                self.postponed(open, held, verdict)
            }
            _ => Verdict {
                expired: open,
                ..self.nothing(Cause::Age)
            },
        }
    }

    /// The attempt is over, and some are left; `held` of them wait for no time.
    fn postponed(&self, left: u128, held: u128, verdict: Verdict) -> Verdict {
        let attempt = self.entry.attempt().saturating_add(1);
        if left == held {
            return Verdict {
                open: left,
                attempt,
                ..verdict
            };
        }
        let group = self.message.id.to_bits().rotate_left(20) ^ u64::from(self.entry.first());
        let next = schedule::next_attempt(
            &self.settings.curve,
            attempt,
            self.now,
            self.message.expires,
            schedule::mix(self.settings.seed, group),
        );
        match next {
            Some(next) => Verdict {
                open: left,
                attempt,
                next,
                ..verdict
            },
            None => Verdict {
                expired: left & !held,
                deferred: verdict.deferred & held,
                open: held,
                attempt,
                ..verdict
            },
        }
    }

    fn nothing(&self, cause: Cause) -> Verdict {
        Verdict {
            entry: self.key,
            id: self.message.id,
            place: self.message.place,
            first: self.entry.first(),
            delivered: 0,
            failed: 0,
            expired: 0,
            deferred: 0,
            open: 0,
            doubt: 0,
            attempt: self.entry.attempt(),
            next: self.now,
            cause,
            accepted: self.message.accepted,
            destination: self.destination,
            batch: 0,
            is_silent: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_recipients() {
        for (recipients, count, found) in [
            (0b1011, 1, 0b1),
            (0b1011, 2, 0b11),
            (0b1011, 3, 0b1011),
            (0b1011, 128, 0b1011),
            (u128::MAX, 128, u128::MAX),
            (1 << 127, 1, 1 << 127),
            (0, 5, 0),
        ] {
            assert_eq!(lowest(recipients, count), found, "{recipients:b} {count}");
        }
        assert_eq!(from(0), u128::MAX);
        assert_eq!(from(127), 1 << 127);
    }
}
