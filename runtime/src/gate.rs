//! The gate: who may still begin, and when the last has left.
//!
//! Graceful stop in one word: close it, nobody enters any more, and `closed` is ready when every
//! pass has been dropped. One shard only.

use std::marker::PhantomData;
use std::rc::Rc;

/// A gate of this shard. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(PhantomData<Rc<()>>);

/// The proof of having entered; the gate counts it until it is dropped.
#[derive(Debug)]
#[must_use = "the gate forgets a pass that is dropped"]
pub struct Pass(PhantomData<Rc<()>>);

impl Gate {
    /// An open gate with nobody within.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A pass, or `None` when the gate is closed.
    #[must_use]
    pub fn enter(&self) -> Option<Pass> {
        unimplemented!()
    }

    /// Closes the gate; those within may stay.
    pub fn close(&self) {
        unimplemented!()
    }

    /// Whether `close` was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }

    /// How many are within.
    #[must_use]
    pub fn count(&self) -> usize {
        unimplemented!()
    }

    /// Ready once `close` has been called: what a long wait races against.
    pub async fn closing(&self) {
        unimplemented!()
    }

    /// Ready once the gate is closed and everybody has left.
    pub async fn closed(&self) {
        unimplemented!()
    }
}
