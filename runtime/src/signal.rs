//! Signals between tasks of one shard: `Notify`, `oneshot`, `Permits`.
//!
//! `Rc` and `Cell` on purpose: nothing here may leave its shard, nothing here locks. What crosses
//! shards goes through `mailbox`.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Wakes waiting tasks; it carries no value. One `notify_one` with nobody waiting is remembered.
#[derive(Debug, Default)]
pub struct Notify {
    local: PhantomData<Rc<()>>,
}

impl Notify {
    /// Nobody waits, nothing is remembered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the task that has waited longest. If none waits, the next `notified` returns at once
    /// (several such calls are remembered as one).
    pub fn notify_one(&self) {
        unimplemented!()
    }

    /// Wakes all tasks that wait now. Nothing is remembered.
    pub fn notify_all(&self) {
        unimplemented!()
    }

    /// Waits to be notified. It takes its place in the row at the first poll; dropping it is safe:
    /// a notification it got and did not use goes to the next.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self }
    }
}

/// The wait for a notification.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Notified<'n> {
    #[allow(dead_code)]
    notify: &'n Notify,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        unimplemented!()
    }
}

/// One value from one task to another of the same shard.
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    unimplemented!()
}

/// Sends the one value.
#[derive(Debug)]
pub struct Sender<T>(PhantomData<Rc<T>>);

impl<T> Sender<T> {
    /// Hands the value over; gives it back when the receiver is gone.
    pub fn send(self, _value: T) -> Result<(), T> {
        unimplemented!()
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
}

/// Waits for the one value; `None` when the sender was dropped without sending.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Receiver<T>(PhantomData<Rc<T>>);

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<T>> {
        unimplemented!()
    }
}

/// A number of permits, handed out in the order of asking.
#[derive(Debug, Clone)]
pub struct Permits(PhantomData<Rc<()>>);

impl Permits {
    /// `count` permits, all free.
    #[must_use]
    pub fn new(_count: usize) -> Self {
        unimplemented!()
    }

    /// A permit if one is free and nobody waits.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        unimplemented!()
    }

    /// Waits for a permit.
    pub async fn acquire(&self) -> Permit {
        unimplemented!()
    }

    /// How many are free.
    #[must_use]
    pub fn free(&self) -> usize {
        unimplemented!()
    }
}

/// The right to one of the [`Permits`]; dropping it gives it back.
#[derive(Debug)]
#[must_use = "a permit is given back when dropped"]
pub struct Permit(PhantomData<Rc<()>>);
