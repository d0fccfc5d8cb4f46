//! When to try again. Pure: the same arguments give the same answer.

use crate::message::Timestamp;
use std::time::Duration;

/// How the pauses between attempts grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Curve {
    /// The first pause; it doubles with each attempt.
    pub retry_interval: Duration,
    /// The longest pause; `None`: it goes on doubling.
    pub max_retry_interval: Option<Duration>,
}

impl Default for Curve {
    fn default() -> Self {
        Self {
            retry_interval: Duration::from_secs(20 * 60),
            max_retry_interval: None,
        }
    }
}

/// A pause is made longer by up to a part of this size, so that what failed together does not come
/// back together.
const JITTER_PART: u64 = 8;

/// The last attempt is made so long before the end, in parts of the retry interval: time for it to
/// come back.
const LAST_CALL_PART: u64 = 20;

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A number that looks random and depends on all bits of both.
pub(super) fn mix(seed: u64, value: u64) -> u64 {
    // Multiplying carries low bits up, shifting brings high ones down; three rounds reach all of them.
    // The factors are odd, with about as many ones as zeros.
    let mut number = seed.wrapping_mul(0x9e6c_63d0_876a_68ef) ^ value.rotate_left(32);
    for factor in [
        0xd1b5_4a32_d192_ed03,
        0xaef1_7502_b3a5_6c4f,
        0x5851_f42d_4c95_7f2d,
    ] {
        number ^= number >> 31;
        number = number.wrapping_mul(factor);
    }
    number ^ number >> 32
}

/// The pause after `attempt` attempts, without jitter, in milliseconds.
pub fn interval(curve: &Curve, attempt: u16) -> u64 {
    let doublings = u32::from(attempt.saturating_sub(1));
    let longest = curve.max_retry_interval.map_or(u64::MAX / 4, millis);
    // A pause of nothing would be no pause: a loop.
    let first = u128::from(millis(curve.retry_interval).max(1));
    let doubled = first << doublings.min(63);
    u64::try_from(doubled)
        .map_or(longest, |doubled| doubled.min(longest))
        .clamp(1, u64::MAX / 4)
}

/// The longest the pause after `attempt` attempts can be, jitter included, in milliseconds. A stored
/// time further away than this comes from a clock that has gone back since.
pub fn interval_max(curve: &Curve, attempt: u16) -> u64 {
    let interval = interval(curve, attempt);
    interval + interval / JITTER_PART
}

/// When a message is tried again after `attempt` attempts; `None` when there will be no other one
/// before it expires. Where the curve would lead past the end, a last attempt is made shortly before
/// it, if at least one retry interval lies between.
pub fn next_attempt(
    curve: &Curve,
    attempt: u16,
    now: Timestamp,
    expires: Timestamp,
    seed: u64,
) -> Option<Timestamp> {
    //= RFC 5321 section 4.5.4.1: pauses that grow, and an end after days; how long is the operator's choice
    let interval = interval(curve, attempt);
    let jitter = mix(seed, u64::from(attempt)) % (interval / JITTER_PART + 1);
    let next = now.plus_millis(interval + jitter);
    if next < expires {
        return Some(next);
    }
    let first = millis(curve.retry_interval).max(1);
    let last_call = expires
        .unix_millis()
        .saturating_sub((first / LAST_CALL_PART).max(1));
    let last_call = Timestamp::from_unix_millis(last_call);
    (last_call >= now.plus_millis(first)).then_some(last_call)
}

/// How long a lane rests after so many failures in a row, in milliseconds: doubling from `first` up to
/// `longest`, with jitter.
pub(super) fn rest(first: Duration, longest: Duration, failures: u32, seed: u64) -> u64 {
    let curve = Curve {
        retry_interval: first,
        max_retry_interval: Some(longest.max(first)),
    };
    let failures = u16::try_from(failures).unwrap_or(u16::MAX);
    let rest = interval(&curve, failures);
    rest + mix(seed, u64::from(failures)) % (rest / JITTER_PART + 1)
}

/// The longest that [`rest`] can be.
pub(super) fn rest_max(first: Duration, longest: Duration) -> u64 {
    let rest = millis(longest.max(first)).min(u64::MAX / 4);
    rest + rest / JITTER_PART
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const NOW: Timestamp = Timestamp::from_unix_millis(1_795_508_041_000);

    fn curve(first_minutes: u64, longest_minutes: Option<u64>) -> Curve {
        Curve {
            retry_interval: Duration::from_millis(first_minutes * MINUTE),
            max_retry_interval: longest_minutes.map(|m| Duration::from_millis(m * MINUTE)),
        }
    }

    #[test]
    fn doubles_up_to_the_longest() {
        for (longest, attempt, minutes) in [
            (None, 0, 20),
            (None, 1, 20),
            (None, 2, 40),
            (None, 3, 80),
            (None, 9, 20 << 8),
            (Some(240), 4, 160),
            (Some(240), 5, 240),
            (Some(240), u16::MAX, 240),
            (Some(5), 1, 5),
        ] {
            let found = interval(&curve(20, longest), attempt);
            assert_eq!(
                found,
                minutes * MINUTE,
                "attempt {attempt}, longest {longest:?}"
            );
        }
        assert_eq!(
            interval(&curve(20, None), u16::MAX),
            u64::MAX / 4,
            "never too large to add"
        );
        assert_eq!(interval(&curve(0, Some(0)), 3), 1, "never nothing");
    }

    #[test]
    fn jitter_is_bounded_steady_and_spreads() {
        let curve = curve(20, None);
        let expires = NOW.plus_millis(u64::MAX / 2);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let next = next_attempt(&curve, 1, NOW, expires, seed).expect("far from the end");
            assert_eq!(next_attempt(&curve, 1, NOW, expires, seed), Some(next));
            let pause = next.millis_since(NOW);
            assert!(
                (20 * MINUTE..=interval_max(&curve, 1)).contains(&pause),
                "{pause}"
            );
            seen.insert(pause);
        }
        assert!(seen.len() > 90, "{}", seen.len());
    }

    #[test]
    fn the_end() {
        let curve = curve(20, None);
        for (attempt, left, next) in [
            // 80 minutes (and jitter) lead past the end: a last call a minute before it.
            (3, 60, Some(59)),
            (3, 21, Some(20)),
            // Too near for another attempt.
            (3, 20, None),
            (1, 1, None),
            (1, 0, None),
        ] {
            let found = next_attempt(&curve, attempt, NOW, NOW.plus_millis(left * MINUTE), 1);
            assert_eq!(
                found,
                next.map(|m| NOW.plus_millis(m * MINUTE)),
                "{attempt}, {left} left"
            );
        }
        assert_eq!(
            next_attempt(&curve, 1, NOW, Timestamp::from_unix_millis(5), 1),
            None
        );
    }

    #[test]
    fn a_lane_rests_longer_each_time() {
        let (first, longest) = (Duration::from_secs(60), Duration::from_secs(1200));
        for (failures, seconds) in [(1, 60), (2, 120), (5, 960), (6, 1200), (u32::MAX, 1200)] {
            let found = rest(first, longest, failures, 9);
            assert!(
                (seconds * 1000..=seconds * 1125).contains(&found),
                "{failures}: {found}"
            );
        }
    }
}
