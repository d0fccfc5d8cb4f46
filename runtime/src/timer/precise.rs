//! A timer to the microsecond, beside the wheel and its ticks of a millisecond: for the one task of a shard
//! that sends by a schedule. Each sleep costs a timer of the ring's, so it is nothing for deadlines.

use crate::clock;
use glommio::timer::Timer;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

thread_local! {
    /// Until when the shard's one task sleeps.
    static DEADLINE: Cell<u64> = const { Cell::new(clock::NEVER) };
    static SLEEPER: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// Wakes who sleeps, if it is time; whether it was.
pub(super) fn look(now: u64) -> bool {
    if DEADLINE.get() > now {
        return false;
    }
    DEADLINE.set(clock::NEVER);
    match SLEEPER.take() {
        Some(waker) => {
            waker.wake();
            true
        }
        None => false,
    }
}

/// Until when somebody sleeps.
pub(super) fn next() -> u64 {
    DEADLINE.get()
}

/// Nobody sleeps any more.
struct GetUp;

impl Drop for GetUp {
    fn drop(&mut self) {
        DEADLINE.set(clock::NEVER);
        drop(SLEEPER.take());
    }
}

/// Sleeps one after the other, with one timer.
#[derive(Debug, Default)]
pub struct Precise {
    timer: Option<Timer>,
}

impl Precise {
    /// A timer that is not armed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready when `clock::micros` reaches `deadline`: never early, and late by as much as the shard is busy. In a
    /// seeded world it is a sleep like any other.
    pub async fn sleep_until(&mut self, deadline: u64) {
        #[cfg(feature = "sim")]
        if crate::sim::is_here() {
            return super::sleep_until(deadline).await;
        }
        let wait = |now| Duration::from_micros(deadline.saturating_sub(now));
        let now = clock::micros();
        if now >= deadline {
            return;
        }
        let timer = self.timer.get_or_insert_with(|| Timer::new(wait(now)));
        timer.reset(wait(now));
        let _up = GetUp;
        std::future::poll_fn(|context| {
            loop {
                let is_over = Pin::new(&mut *timer).poll(context).is_ready();
                // A busy shard looks at its clock before the timer is told of. And the timer's own clock counts
                // nanoseconds: it may be less than a microsecond early for ours.
                let now = clock::micros();
                if now >= deadline {
                    return Poll::Ready(());
                }
                if !is_over {
                    SLEEPER.replace(Some(context.waker().clone()));
                    DEADLINE.set(deadline);
                    return Poll::Pending;
                }
                timer.reset(wait(now));
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard;
    use futures_lite::future::poll_once;

    #[test]
    fn never_early_and_used_again() {
        let slept = shard::run_one(async {
            let mut timer = Precise::new();
            let mut slept = Vec::new();
            for wait in [0, 1, 300, 5_000, 40] {
                let deadline = clock::after(wait);
                timer.sleep_until(deadline).await;
                slept.push(clock::micros() >= deadline);
            }
            // One that is given up does not disturb the next.
            let given_up = poll_once(timer.sleep_until(clock::after(3_600_000_000))).await;
            slept.push(given_up.is_none());
            let deadline = clock::after(100);
            timer.sleep_until(deadline).await;
            slept.push(clock::micros() >= deadline);
            slept
        });
        assert_eq!(slept.expect("a shard"), [true; 7]);
    }
}
