//! The engine's idea of time: a number that the caller supplies. No clock lives here, nor
//! anything that could ask one.

use core::time::Duration;

/// A moment, in microseconds since an epoch that the caller picks.
///
/// Its own type, and not `std`'s, so that the crate stays `no_std`, a test writes a moment as a
/// literal, and nobody can ask it for "now".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The moment `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This moment and `duration` after it; the end of time where that overflows.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        let micros = duration.as_micros();
        if micros > (u64::MAX - self.0) as u128 {
            return Self(u64::MAX);
        }
        Self(self.0 + micros as u64)
    }

    /// From `earlier` until this moment; zero if that lies behind it. What a caller waits for: `deadline.since(now)`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
