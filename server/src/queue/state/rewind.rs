//! What a clock that went back does to messages and entries. It changes no entry's stage.

use super::{Entries, Stage};
use crate::message::Timestamp;
use crate::queue::packed::Moment;
use crate::queue::slab::NONE;

impl Entries {
    /// The clock went back to `now`: no message was accepted after it, none waits longer than its whole
    /// life from now, no entry longer than its present interval (as `interval_max` gives it).
    pub(in crate::queue) fn rewind(&mut self, now: Timestamp, interval_max: impl Fn(u16) -> u64) {
        let now = now.unix_millis();
        self.expiry.reset(now);
        self.scheduled.reset(now);
        let mut position = 0;
        while let Some(message) = self.messages.at(position) {
            position += 1;
            let Some(message) = message else { continue };
            let shared = &mut self.messages[message];
            let (accepted, expires) = (shared.accepted.millis(), shared.expires.millis());
            if accepted > now {
                shared.accepted = Moment::new(now);
                shared.expires = Moment::new(now.saturating_add(expires.saturating_sub(accepted)));
            }
            if !shared.has_expired() {
                self.expiry.insert(&mut self.messages, message);
            }
            let mut entry = self.messages[message].entry;
            while entry != NONE {
                let this = &mut self.entries[entry];
                let next_max = now.saturating_add(interval_max(this.attempt));
                this.next_attempt = Moment::new(this.next_attempt.millis().min(next_max));
                if this.stage == Stage::Scheduled {
                    self.scheduled.insert(&mut self.entries, entry);
                }
                entry = self.entries[entry].sibling;
            }
        }
    }
}
