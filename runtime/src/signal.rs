//! Signals between tasks of one shard: `Notify` and `oneshot`.
//!
//! `Rc` and `Cell` on purpose: nothing here may leave its shard, nothing here locks. What crosses
//! shards goes through `mailbox`. No waker is called while something is borrowed.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Not a place in a row.
const NOWHERE: u32 = u32::MAX;

/// Tasks that wait, oldest first: a doubly linked list within one `Vec`, so that leaving from the
/// middle is as cheap as joining and a place is reused without allocation.
#[derive(Debug)]
struct Row {
    slots: Vec<Slot>,
    head: u32,
    tail: u32,
    free: u32,
}

#[derive(Debug)]
struct Slot {
    state: State,
    previous: u32,
    next: u32,
}

#[derive(Debug)]
enum State {
    Free,
    Waiting(Waker),
    /// Taken out of the row and woken; the place is kept until its owner looks. `handed` says that
    /// what it was woken with belongs to it alone and must not be lost.
    Called {
        handed: bool,
    },
}

impl Default for Row {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            head: NOWHERE,
            tail: NOWHERE,
            free: NOWHERE,
        }
    }
}

impl Row {
    fn slot(&mut self, place: u32) -> &mut Slot {
        &mut self.slots[place as usize]
    }

    fn join(&mut self, waker: Waker) -> u32 {
        let slot = Slot {
            state: State::Waiting(waker),
            previous: self.tail,
            next: NOWHERE,
        };
        let place = match self.free {
            NOWHERE => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 tasks wait")
            }
            place => {
                self.free = self.slot(place).next;
                *self.slot(place) = slot;
                place
            }
        };
        match self.tail {
            NOWHERE => self.head = place,
            tail => self.slot(tail).next = place,
        }
        self.tail = place;
        place
    }

    fn unlink(&mut self, place: u32) {
        let Slot { previous, next, .. } = *self.slot(place);
        match previous {
            NOWHERE => self.head = next,
            previous => self.slot(previous).next = next,
        }
        match next {
            NOWHERE => self.tail = previous,
            next => self.slot(next).previous = previous,
        }
    }

    fn release(&mut self, place: u32) {
        let free = self.free;
        let slot = self.slot(place);
        slot.state = State::Free;
        slot.next = free;
        self.free = place;
    }

    /// Calls the oldest; the waker is the caller's to wake once nothing is borrowed.
    fn call(&mut self, handed: bool) -> Option<Waker> {
        let place = self.head;
        if place == NOWHERE {
            return None;
        }
        self.unlink(place);
        match std::mem::replace(&mut self.slot(place).state, State::Called { handed }) {
            State::Waiting(waker) => Some(waker),
            State::Free | State::Called { .. } => unreachable!("only who waits stands in the row"),
        }
    }

    /// Whether the place has been called. If so it is free again; if not it waits with `waker`.
    fn poll(&mut self, place: u32, waker: &Waker) -> bool {
        match &mut self.slot(place).state {
            State::Called { .. } => {
                self.release(place);
                true
            }
            State::Waiting(own) => {
                own.clone_from(waker);
                false
            }
            State::Free => unreachable!("a place is looked at by its owner only"),
        }
    }

    /// Gives up a place; true if it had been handed something that somebody else must get now.
    fn leave(&mut self, place: u32) -> bool {
        let handed = match self.slot(place).state {
            State::Waiting(_) => {
                self.unlink(place);
                false
            }
            State::Called { handed } => handed,
            State::Free => unreachable!("a place is given up by its owner only"),
        };
        self.release(place);
        handed
    }

    fn waiting(&self) -> usize {
        let mut count = 0;
        let mut place = self.head;
        while place != NOWHERE {
            count += 1;
            place = self.slots[place as usize].next;
        }
        count
    }
}

/// Wakes waiting tasks; it carries no value. One `notify_one` with nobody waiting is remembered.
#[derive(Debug, Default)]
pub struct Notify {
    row: RefCell<Row>,
    remembered: Cell<bool>,
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
        let called = self.row.borrow_mut().call(true);
        match called {
            Some(waker) => waker.wake(),
            None => self.remembered.set(true),
        }
    }

    /// Wakes all tasks that wait now. Nothing is remembered.
    pub fn notify_all(&self) {
        // Counted first: a task that is woken may run at once and wait again, and is not meant.
        let count = self.row.borrow().waiting();
        for _ in 0..count {
            let called = self.row.borrow_mut().call(false);
            match called {
                Some(waker) => waker.wake(),
                None => break,
            }
        }
    }

    /// Waits to be notified. It takes its place in the row at the first poll; dropping it is safe:
    /// a `notify_one` that it got and did not use goes to the next.
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            place: NOWHERE,
        }
    }
}

/// The wait for a notification.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Notified<'n> {
    notify: &'n Notify,
    place: u32,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        if self.place != NOWHERE {
            if notify.row.borrow_mut().poll(self.place, context.waker()) {
                self.place = NOWHERE;
                return Poll::Ready(());
            }
            return Poll::Pending;
        }
        if notify.remembered.take() {
            return Poll::Ready(());
        }
        self.place = notify.row.borrow_mut().join(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if self.place != NOWHERE {
            let handed = self.notify.row.borrow_mut().leave(self.place);
            if handed {
                self.notify.notify_one();
            }
        }
    }
}

/// One value from one task to another of the same shard.
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: Cell::new(None),
        waker: Cell::new(None),
        sender_gone: Cell::new(false),
        receiver_gone: Cell::new(false),
    });
    (Sender(Rc::clone(&shared)), Receiver(shared))
}

struct Shared<T> {
    value: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
    sender_gone: Cell<bool>,
    receiver_gone: Cell<bool>,
}

/// Sends the one value.
pub struct Sender<T>(Rc<Shared<T>>);

impl<T> Sender<T> {
    /// Hands the value over; gives it back when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.0.value.set(Some(value));
        Ok(())
        // Dropping the sender wakes the receiver.
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.receiver_gone.get()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.sender_gone.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// Waits for the one value; `None` when the sender was dropped without sending.
#[must_use = "futures do nothing unless awaited"]
pub struct Receiver<T>(Rc<Shared<T>>);

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.0.sender_gone.get() {
            return Poll::Ready(self.0.value.take());
        }
        self.0.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.set(true);
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Receiver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn notify_one_without_a_waiter_is_remembered_once() {
        let notify = Notify::new();
        notify.notify_one();
        notify.notify_one();
        assert!(poll(&mut notify.notified()).is_ready());
        assert!(poll(&mut notify.notified()).is_pending());
    }

    #[test]
    fn notify_one_wakes_the_oldest_and_only_it() {
        let notify = Notify::new();
        let (mut first, mut second) = (notify.notified(), notify.notified());
        assert!(poll(&mut first).is_pending());
        assert!(poll(&mut second).is_pending());
        notify.notify_one();
        assert!(poll(&mut second).is_pending());
        assert!(poll(&mut first).is_ready());
        notify.notify_one();
        assert!(poll(&mut second).is_ready());
    }

    #[test]
    fn a_dropped_waiter_passes_its_notification_on() {
        let notify = Notify::new();
        let (mut first, mut second) = (notify.notified(), notify.notified());
        assert!(poll(&mut first).is_pending());
        assert!(poll(&mut second).is_pending());
        notify.notify_one();
        drop(first);
        assert!(poll(&mut second).is_ready());
        notify.notify_one();
        assert!(poll(&mut notify.notified()).is_ready());
    }

    #[test]
    fn a_waiter_leaves_from_the_middle() {
        let notify = Notify::new();
        let mut waiters: Vec<_> = (0..5).map(|_| notify.notified()).collect();
        for waiter in &mut waiters {
            assert!(poll(waiter).is_pending());
        }
        drop(waiters.remove(2));
        assert_eq!(notify.row.borrow().waiting(), 4);
        for waiter in &mut waiters {
            notify.notify_one();
            assert!(poll(waiter).is_ready());
        }
        assert_eq!(notify.row.borrow().slots.len(), 5);
        assert!(notify.row.borrow().head == NOWHERE);
    }

    #[test]
    fn notify_all_wakes_each_once_and_remembers_nothing() {
        let notify = Notify::new();
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let mut waiters: Vec<_> = (0..3).map(|_| notify.notified()).collect();
        for waiter in &mut waiters {
            assert!(
                Pin::new(waiter)
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        notify.notify_all();
        assert_eq!(counter.0.load(Ordering::Relaxed), 3);
        assert!(waiters.iter_mut().all(|waiter| poll(waiter).is_ready()));
        assert!(poll(&mut notify.notified()).is_pending());
    }

    #[test]
    fn places_are_reused() {
        let notify = Notify::new();
        for _ in 0..100 {
            let mut waiter = notify.notified();
            assert!(poll(&mut waiter).is_pending());
        }
        assert_eq!(notify.row.borrow().slots.len(), 1);
    }

    #[test]
    fn oneshot_hands_the_value_over() {
        let (sender, mut receiver) = oneshot();
        assert!(poll(&mut receiver).is_pending());
        assert_eq!(sender.send(7), Ok(()));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some(7)));
    }

    #[test]
    fn oneshot_tells_either_end_that_the_other_is_gone() {
        let (sender, mut receiver) = oneshot::<u8>();
        drop(sender);
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send(7), Err(7));
    }
}
