//! Waiting for something to happen, with an end.

use std::time::Duration;

use mailrail_runtime::clock;

/// How long anything may take before the server is taken for broken. Two shared cores run these
/// tests, the load and the peers at once; nothing measures itself against it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A point in time after which a test gives up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(u64);

impl Deadline {
    /// [`PATIENCE`] from now.
    pub fn patient() -> Self {
        Self::after(PATIENCE)
    }

    /// `duration` from now.
    pub fn after(duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).expect("a short duration");
        Self(clock::micros() + micros)
    }

    /// What is left of it; zero if it is over.
    pub fn left(self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(clock::micros()))
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

/// Asks until there is an answer.
///
/// # Panics
/// After [`PATIENCE`], naming what did not happen.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::patient();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            !deadline.is_over(),
            "waited {PATIENCE:?} for this to happen: {what}"
        );
        // Another process is the one that works: leave it the core.
        std::thread::sleep(Duration::from_millis(5));
    }
}
