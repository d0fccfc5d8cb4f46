//! A task of the world, from the side of those who wait for it.
//!
//! How it is run is the parent's.

use super::{Inner, World};
use crate::sim::tasks::TaskId;
use std::cell::Cell;
use std::fmt;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// What a task and those who wait for it share.
struct Joint<T> {
    value: Cell<Option<T>>,
    is_over: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// A task of the world, as `shard::Task` holds it: dropping it cancels it.
pub(crate) struct SimTask<T> {
    world: Weak<Inner>,
    /// None if it could not begin.
    id: Option<TaskId>,
    shared: Rc<Joint<T>>,
    is_detached: bool,
}

impl<T> SimTask<T> {
    pub(crate) fn detach(mut self) {
        self.is_detached = true;
    }

    pub(crate) fn cancel(self) -> Option<T> {
        self.end();
        self.shared.value.take()
    }

    fn end(&self) {
        if let (Some(world), Some(id)) = (self.world.upgrade(), self.id) {
            World(world).remove(id);
        }
    }

    pub(crate) fn poll_value(&self, context: &Context<'_>) -> Poll<T> {
        match self.shared.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                debug_assert!(!self.shared.is_over.get(), "polled after its end");
                self.shared.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for SimTask<T> {
    fn drop(&mut self) {
        if !self.is_detached {
            self.end();
        }
    }
}

impl<T> fmt::Debug for SimTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTask").field("id", &self.id).finish()
    }
}

impl World {
    /// A task of the process and shard whose step this is.
    pub(crate) fn task<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> SimTask<T> {
        let shared = Rc::new(Joint {
            value: Cell::new(None),
            is_over: Cell::new(false),
            waker: Cell::new(None),
        });
        let weak = Rc::downgrade(&shared);
        let future = async move {
            let value = future.await;
            if let Some(shared) = weak.upgrade() {
                shared.value.set(Some(value));
                shared.is_over.set(true);
                if let Some(waker) = shared.waker.take() {
                    waker.wake();
                }
            }
        };
        let (process, shard) = self.0.turn.get();
        let id = self.add(process, shard, Box::pin(future));
        SimTask {
            world: Rc::downgrade(&self.0),
            id,
            shared,
            is_detached: false,
        }
    }
}
