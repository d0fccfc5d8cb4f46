//! Which message is next: a shard's part of them in their order, and before those what came back. Pure; who
//! waits for a message, and how, is `shard`'s.

use super::plan::Share;
use std::collections::VecDeque;

/// A message that somebody has taken to send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// When it was due: from then on its time runs. Without a rate: when it was taken first.
    pub(super) due: u64,
}

/// What there is for somebody who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Message(Ticket),
    /// Nothing is due yet.
    Later,
    /// Nothing any more.
    Nothing,
}

/// The messages of one shard that nobody has taken.
#[derive(Debug)]
pub(super) struct Supply {
    share: Share,
    /// How many were taken for the first time.
    taken_count: u64,
    returned: VecDeque<Ticket>,
    /// When the schedule began; `None`: it has not.
    begun: Option<u64>,
    is_closed: bool,
}

impl Supply {
    /// All that the share has; nothing is due before `begin`. Without a rate everything is then.
    pub(super) fn new(share: Share) -> Self {
        Self {
            share,
            taken_count: 0,
            returned: VecDeque::new(),
            begun: None,
            is_closed: false,
        }
    }

    /// The schedule begins.
    pub(super) fn begin(&mut self, now: u64) {
        self.begun.get_or_insert(now);
    }

    /// Nothing more is given out.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether somebody who asks may still get something, now or later.
    pub(super) fn has_more(&self) -> bool {
        !self.is_closed && (self.taken_count < self.share.len() || !self.returned.is_empty())
    }

    /// The next message for whoever asks.
    pub(super) fn take(&mut self, now: u64) -> Taken {
        if !self.has_more() {
            return Taken::Nothing;
        }
        if let Some(ticket) = self.returned.pop_front() {
            return Taken::Message(ticket);
        }
        let due = match self.due(self.taken_count) {
            Some(due) if due <= now => due,
            _ => return Taken::Later,
        };
        let number = self.share.number(self.taken_count);
        self.taken_count += 1;
        Taken::Message(Ticket {
            number,
            // A message that is always due is late for nothing.
            due: if self.share.rate.is_some() { due } else { now },
        })
    }

    /// Takes back a message that the server did not get.
    pub(super) fn put_back(&mut self, ticket: Ticket) {
        self.returned.push_back(ticket);
    }

    /// When the `nth` message is due; `None` when there is none, or the schedule has not begun.
    pub(super) fn due(&self, nth: u64) -> Option<u64> {
        let begun = self.begun?;
        (nth < self.share.len()).then(|| begun + self.share.due_us(nth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(message_count: u64, rate: Option<f64>) -> Supply {
        Supply::new(Share {
            index: 0,
            count: 1,
            message_count,
            rate,
        })
    }

    fn message(number: u64, due: u64) -> Taken {
        Taken::Message(Ticket { number, due })
    }

    #[test]
    fn without_a_rate_a_message_is_due_when_it_is_taken() {
        let mut supply = supply(2, None);
        assert_eq!(supply.take(10), Taken::Later, "nothing before the begin");
        supply.begin(20);
        assert_eq!(supply.take(50), message(0, 50));
        assert_eq!(supply.take(70), message(1, 70));
        assert!(!supply.has_more());
        assert_eq!(supply.take(90), Taken::Nothing);
    }

    #[test]
    fn with_a_rate_the_wait_for_a_session_counts() {
        let mut supply = supply(3, Some(1000.0));
        assert_eq!(
            supply.take(5),
            Taken::Later,
            "nothing is due before the begin"
        );
        supply.begin(100);
        assert_eq!(supply.take(100), message(0, 100));
        assert_eq!(supply.take(1099), Taken::Later);
        // Nobody was free for long: the schedule has gone on.
        assert_eq!(supply.take(9000), message(1, 1100));
        assert_eq!(supply.take(9000), message(2, 2100));
        assert_eq!(supply.take(9000), Taken::Nothing);
    }

    #[test]
    fn what_comes_back_goes_first_and_keeps_its_moment() {
        let mut supply = supply(2, Some(1.0));
        supply.begin(0);
        let Taken::Message(first) = supply.take(10) else {
            panic!("the first is due");
        };
        supply.put_back(first);
        assert_eq!(supply.take(20), message(0, 0));
        assert_eq!(supply.take(2_000_000), message(1, 1_000_000));
        supply.put_back(first);
        assert!(supply.has_more());
        supply.close();
        assert_eq!(supply.take(3_000_000), Taken::Nothing);
    }
}
