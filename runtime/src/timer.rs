//! Timers of a shard.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The deadline passed before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline passed")]
pub struct Elapsed;

/// Ready `micros` from now, never early, late by a tick of the wheel at most.
pub fn sleep(micros: u64) -> Sleep {
    sleep_until(crate::clock::after(micros))
}

/// Ready when the monotonic clock reaches `deadline`; `u64::MAX` never comes.
pub fn sleep_until(deadline: u64) -> Sleep {
    Sleep { deadline }
}

/// The wait for a moment.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    #[allow(dead_code)]
    deadline: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        unimplemented!()
    }
}

/// What `future` gives, or [`Elapsed`] once `deadline` (in `clock::micros`) has passed and the
/// future is still not ready. The future is polled first: what is ready at once is never late.
pub fn until<F: Future>(deadline: u64, future: F) -> Until<F> {
    Until { future, deadline }
}

/// A future under a deadline.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Until<F> {
    #[allow(dead_code)]
    future: F,
    #[allow(dead_code)]
    deadline: u64,
}

impl<F: Future> Future for Until<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        unimplemented!()
    }
}
