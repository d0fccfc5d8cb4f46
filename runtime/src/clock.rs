//! The clock: the only file of the workspace that asks what time it is.
//!
//! Two clocks, never mixed. `micros` is monotonic, starts at the first question of the process and
//! is what every deadline is made of; `unix_millis` is the wall clock, may jump, and is only for
//! times that are written down.
//!
//! Both are read some thirty times a message, so most readers ask the coarse ones: the kernel keeps
//! those up to date once a tick (1 to 10 ms), and reading them costs a few nanoseconds instead of some
//! thirty. They lag by a tick at most and agree with each other.

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::sync::OnceLock;

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// Microseconds since the first question in this process. It never goes back.
#[must_use]
#[inline]
pub fn micros() -> u64 {
    #[cfg(feature = "sim")]
    if let Some(world) = crate::sim::here() {
        return world.micros();
    }
    since_start(clock_gettime(ClockId::Monotonic))
}

/// As [`micros`], up to a tick of the kernel behind it: for deadlines of seconds and more.
#[must_use]
#[inline]
pub fn coarse_micros() -> u64 {
    #[cfg(feature = "sim")]
    if let Some(world) = crate::sim::here() {
        return world.micros();
    }
    since_start(clock_gettime(ClockId::MonotonicCoarse))
}

/// Milliseconds since 1970 by the wall clock, up to a tick of the kernel behind it; 0 if that clock
/// stands before 1970.
#[must_use]
#[inline]
pub fn unix_millis() -> u64 {
    #[cfg(feature = "sim")]
    if let Some(world) = crate::sim::here() {
        return world.unix_millis();
    }
    in_micros(clock_gettime(ClockId::RealtimeCoarse)) / 1000
}

fn since_start(now: Timespec) -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    let now = in_micros(now);
    // A coarse reading may lag behind the first fine one.
    now.saturating_sub(*START.get_or_init(|| now))
}

fn in_micros(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanos / 1000
}

/// The moment `micros` from now on the monotonic clock, [`NEVER`] when that is beyond its end.
#[must_use]
#[inline]
pub fn after(micros: u64) -> u64 {
    self::micros().saturating_add(micros)
}

/// As [`after`], counted from [`coarse_micros`]: for deadlines of seconds and more.
#[must_use]
#[inline]
pub fn coarse_after(micros: u64) -> u64 {
    coarse_micros().saturating_add(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_clock_does_not_go_back() {
        let mut last = micros();
        for _ in 0..10_000 {
            let now = micros();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn coarse_clock_is_behind_by_little() {
        let before = micros();
        let coarse = coarse_micros();
        assert!(coarse <= micros());
        assert!(coarse + 100_000 >= before);
    }

    #[test]
    fn threads_share_one_start() {
        let before = micros();
        let seen = std::thread::scope(|scope| scope.spawn(micros).join().unwrap());
        assert!(seen >= before && seen <= micros());
    }

    #[test]
    fn wall_clock_is_after_the_day_this_was_written() {
        assert!(unix_millis() > 1_750_000_000_000);
    }

    #[test]
    fn after_saturates_at_never() {
        assert_eq!(after(NEVER), NEVER);
    }
}
