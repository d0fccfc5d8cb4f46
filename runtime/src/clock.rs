//! The clock: the only file of the workspace that asks what time it is.
//!
//! Two clocks, never mixed. `micros` is monotonic, starts at the first question of the process and
//! is what every deadline is made of; `unix_millis` is the wall clock, may jump, and is only for
//! times that are written down.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// Microseconds since the first call in this process. It never goes back.
#[must_use]
#[inline]
pub fn micros() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that the others ask"
    )]
    let now = Instant::now();
    let start = *START.get_or_init(|| now);
    u64::try_from(now.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970 by the wall clock; 0 if that clock stands before 1970.
#[must_use]
#[inline]
pub fn unix_millis() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that the others ask"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The moment `micros` from now on the monotonic clock, [`NEVER`] when that is beyond its end.
#[must_use]
#[inline]
pub fn after(micros: u64) -> u64 {
    self::micros().saturating_add(micros)
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
