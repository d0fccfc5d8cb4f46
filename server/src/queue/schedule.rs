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

/// The pause after `attempt` attempts, without jitter, in milliseconds.
pub fn interval(curve: &Curve, attempt: u16) -> u64 {
    let _ = (curve, attempt);
    unimplemented!()
}

/// When a message is tried again after `attempt` attempts; `None` when there will be no other one
/// before it expires.
pub fn next_attempt(
    curve: &Curve,
    attempt: u16,
    now: Timestamp,
    expires: Timestamp,
    seed: u64,
) -> Option<Timestamp> {
    let _ = (curve, attempt, now, expires, seed);
    unimplemented!()
}
