//! Mailboxes between shards: bounded, lock-free, one ring for each pair.

use std::marker::PhantomData;
use std::rc::Rc;

/// A shard's end of the mesh: it posts to all shards and receives what is posted to it.
/// Not `Send`: it belongs to the shard it was made for.
#[derive(Debug)]
pub struct Mesh<M>(PhantomData<Rc<M>>);

impl<M> Clone for Mesh<M> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<M: Send + 'static> Mesh<M> {
    /// The shard this end belongs to.
    #[must_use]
    pub fn index(&self) -> usize {
        unimplemented!()
    }

    /// How many shards the mesh connects.
    #[must_use]
    pub fn count(&self) -> usize {
        unimplemented!()
    }

    /// Puts a message into the ring to shard `to` (which may be this one). Never waits; gives the
    /// message back when that ring is full or its receiver is gone (`is_closed` tells which).
    pub fn post(&self, _to: usize, _message: M) -> Result<(), M> {
        unimplemented!()
    }

    /// Whether shard `to` has stopped receiving.
    #[must_use]
    pub fn is_closed(&self, _to: usize) -> bool {
        unimplemented!()
    }

    /// The next message, if one is there. Turns through the senders, so that none is starved.
    #[must_use]
    pub fn try_receive(&self) -> Option<M> {
        unimplemented!()
    }

    /// Waits for the next message. One task of the shard receives; it never awaits a send.
    pub async fn receive(&self) -> M {
        unimplemented!()
    }

    /// Moves up to `count_max` waiting messages into `into` and says how many.
    pub fn drain(&self, _into: &mut Vec<M>, _count_max: usize) -> usize {
        unimplemented!()
    }

    /// Says that nothing more will be received: posts to this shard are given back from now on.
    pub fn close(&self) {
        unimplemented!()
    }
}

/// The way in from plain threads: many producers, bounded, never waits. `Send`, `Sync`, `Clone`.
#[derive(Debug)]
pub struct Outside<M>(PhantomData<M>);

impl<M> Clone for Outside<M> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<M: Send + 'static> Outside<M> {
    /// Puts a message into the shard's inbox; gives it back when that is full or closed.
    pub fn post(&self, _message: M) -> Result<(), M> {
        unimplemented!()
    }

    /// Whether the shard has stopped receiving.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
}
