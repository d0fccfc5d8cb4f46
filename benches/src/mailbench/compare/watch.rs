//! Waiting: for something to be true, until a deadline, or until somebody interrupts the comparison. Every wait of
//! the comparison goes through here, so that none outlives a SIGINT.

use mailrail_runtime::clock;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Why something did not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Somebody wants the comparison to end.
    Interrupted,
    /// This server or these ends failed: the others go on.
    Failed(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

impl Error for Trouble {}

/// A failure with what was being done.
pub(crate) fn failed(what: impl fmt::Display, error: impl fmt::Display) -> Trouble {
    Trouble::Failed(format!("{what}: {error}"))
}

/// Looks for interruptions. One for the whole comparison.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    interrupted: Arc<AtomicBool>,
}

impl Watch {
    /// From now on SIGINT and SIGTERM end waits and not the process.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new() -> io::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        Ok(Self { interrupted })
    }

    /// # Errors
    /// [`Trouble::Interrupted`].
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Trouble::Interrupted);
        }
        Ok(())
    }

    /// Asks every `every_ms` until it is true; false when the deadline came first.
    ///
    /// # Errors
    /// An interruption, or what asking failed with.
    pub(crate) fn until(
        &self,
        deadline_us: u64,
        every_ms: u64,
        mut is_true: impl FnMut() -> Result<bool, Trouble>,
    ) -> Result<bool, Trouble> {
        loop {
            self.check()?;
            if is_true()? {
                return Ok(true);
            }
            if clock::micros() >= deadline_us {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(every_ms));
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// An interruption.
    pub(crate) fn pause(&self, length_ms: u64) -> Result<(), Trouble> {
        let deadline_us = clock::after(length_ms * 1000);
        self.until(deadline_us, 20.min(length_ms), || Ok(false))
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(interrupted: bool) -> Watch {
        Watch {
            interrupted: Arc::new(AtomicBool::new(interrupted)),
        }
    }

    #[test]
    fn a_wait_ends_by_truth_by_the_deadline_by_failure_or_by_interruption() {
        let mut asked = 0;
        let third = || {
            asked += 1;
            Ok(asked == 3)
        };
        assert_eq!(watch(false).until(clock::NEVER, 0, third), Ok(true));
        assert_eq!(watch(false).until(0, 0, || Ok(false)), Ok(false));
        let trouble = failed("asking", "no");
        let result = watch(false).until(clock::NEVER, 0, || Err(trouble.clone()));
        assert_eq!(result, Err(Trouble::Failed("asking: no".into())));
        let result = watch(true).until(clock::NEVER, 0, || Ok(true));
        assert_eq!(result, Err(Trouble::Interrupted));
    }
}
