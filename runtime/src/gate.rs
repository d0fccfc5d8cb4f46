//! The gate: who may still begin, and when the last has left.
//!
//! Graceful stop in one word: close it, nobody enters any more, and `closed` is ready when every
//! pass has been dropped. One shard only.

use crate::signal::Notify;
use std::cell::Cell;
use std::rc::Rc;

/// A gate of this shard. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    closed: Cell<bool>,
    within: Cell<usize>,
    closing: Notify,
    left: Notify,
}

/// The proof of having entered; the gate counts it until it is dropped.
#[derive(Debug)]
#[must_use = "the gate forgets a pass that is dropped"]
pub struct Pass(Rc<Inner>);

impl Gate {
    /// An open gate with nobody within.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A pass, or `None` when the gate is closed.
    #[must_use]
    pub fn enter(&self) -> Option<Pass> {
        if self.is_closed() {
            return None;
        }
        self.0.within.set(self.0.within.get() + 1);
        Some(Pass(Rc::clone(&self.0)))
    }

    /// Closes the gate; those within may stay. To close it twice is to close it once.
    pub fn close(&self) {
        if !self.0.closed.replace(true) {
            self.0.closing.notify_all();
            if self.count() == 0 {
                self.0.left.notify_all();
            }
        }
    }

    /// Whether `close` was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// How many are within.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.within.get()
    }

    /// Ready once `close` has been called: what a long wait races against.
    pub async fn closing(&self) {
        while !self.is_closed() {
            self.0.closing.notified().await;
        }
    }

    /// Ready once the gate is closed and everybody has left.
    pub async fn closed(&self) {
        while !(self.is_closed() && self.count() == 0) {
            self.0.left.notified().await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let within = self.0.within.get() - 1;
        self.0.within.set(within);
        if within == 0 && self.0.closed.get() {
            self.0.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        block_on(poll_once(future)).is_some()
    }

    #[test]
    fn nobody_enters_a_closed_gate() {
        let gate = Gate::new();
        let pass = gate.enter();
        assert!(pass.is_some());
        gate.close();
        assert!(gate.enter().is_none());
        assert_eq!(gate.count(), 1);
    }

    #[test]
    fn closed_when_the_last_has_left() {
        let gate = Gate::new();
        let (first, second) = (gate.enter().unwrap(), gate.enter().unwrap());
        let mut closed = Box::pin(gate.closed());
        assert!(!is_ready(closed.as_mut()));
        gate.close();
        drop(first);
        assert!(!is_ready(closed.as_mut()));
        drop(second);
        assert!(is_ready(closed.as_mut()));
    }

    #[test]
    fn closed_at_once_with_nobody_within() {
        let gate = Gate::new();
        let mut closed = Box::pin(gate.closed());
        assert!(
            !is_ready(closed.as_mut()),
            "an open gate is not closed, however empty"
        );
        gate.close();
        assert!(is_ready(closed.as_mut()));
        assert!(is_ready(gate.closed()));
    }

    #[test]
    fn closing_tells_those_within() {
        let gate = Gate::new();
        let _pass = gate.enter();
        let mut closing = Box::pin(gate.closing());
        assert!(!is_ready(closing.as_mut()));
        gate.close();
        assert!(is_ready(closing.as_mut()));
        assert!(!is_ready(gate.closed()));
    }
}
