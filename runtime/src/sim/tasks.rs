//! The tasks of a world, and which of them can run. When they do is `executor`'s.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

thread_local! {
    /// Which of the thread's worlds its present one is.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    /// Its tasks that can run, in the order in which they were woken.
    static READY: RefCell<Vec<TaskId>> = const { RefCell::new(Vec::new()) };
}

/// Another world begins on this thread: whoever was woken in an earlier one is forgotten.
pub(super) fn begin_world() {
    NUMBER.set(NUMBER.get() + 1);
    READY.take();
}

/// Takes all that can run, and leaves an empty list for those who will.
pub(super) fn swap_ready(with: &mut Vec<TaskId>) {
    READY.with_borrow_mut(|ready| std::mem::swap(ready, with));
}

/// The tasks, each in a seat that is used again after it.
#[derive(Default)]
pub(super) struct Tasks {
    seats: Vec<Seat>,
    free: Vec<u32>,
}

struct Seat {
    /// How many tasks it has had: what names an earlier one names nobody.
    generation: u32,
    state: State,
}

enum State {
    Free,
    /// Its step is being taken.
    Running,
    Waiting(Slot),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TaskId {
    index: u32,
    generation: u32,
}

impl Tasks {
    /// A new task, which can run.
    pub(super) fn add(
        &mut self,
        process: u64,
        shard: usize,
        is_alive: Rc<Cell<bool>>,
        future: Pin<Box<dyn Future<Output = ()>>>,
    ) -> TaskId {
        let id = self.reserve();
        let wakeup = Arc::new(Wakeup {
            world: NUMBER.get(),
            task: id,
            is_queued: AtomicBool::new(true),
        });
        let slot = Slot {
            process,
            shard,
            is_alive,
            future,
            waker: Waker::from(Arc::clone(&wakeup)),
            wakeup,
        };
        self.wait(id, slot);
        READY.with_borrow_mut(|ready| ready.push(id));
        id
    }

    /// A name for a task, and the seat it will have.
    fn reserve(&mut self) -> TaskId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.seats.push(Seat {
                generation: 0,
                state: State::Free,
            });
            u32::try_from(self.seats.len() - 1).expect("fewer than 2^32 tasks")
        });
        let seat = &mut self.seats[index as usize];
        seat.state = State::Running;
        TaskId {
            index,
            generation: seat.generation,
        }
    }

    fn seat(&mut self, id: TaskId) -> Option<&mut Seat> {
        let seat = self.seats.get_mut(id.index as usize)?;
        (seat.generation == id.generation).then_some(seat)
    }

    /// Takes out a task for its step.
    pub(super) fn begin(&mut self, id: TaskId) -> Option<Slot> {
        let seat = self.seat(id)?;
        match std::mem::replace(&mut seat.state, State::Running) {
            State::Waiting(slot) => Some(slot),
            // Nobody is there to be taken.
            other => {
                seat.state = other;
                None
            }
        }
    }

    /// Puts it back; gives it to the caller if it was removed meanwhile.
    pub(super) fn wait(&mut self, id: TaskId, slot: Slot) -> Option<Slot> {
        let Some(seat) = self.seat(id) else {
            return Some(slot);
        };
        seat.state = State::Waiting(slot);
        None
    }

    /// The task, to be dropped once nothing is borrowed.
    pub(super) fn remove(&mut self, id: TaskId) -> Option<Slot> {
        let seat = self.seat(id)?;
        seat.generation = seat.generation.wrapping_add(1);
        let state = std::mem::replace(&mut seat.state, State::Free);
        self.free.push(id.index);
        match state {
            State::Waiting(slot) => Some(slot),
            State::Free | State::Running => None,
        }
    }

    /// All tasks of a process, or of all, that do not run just now.
    pub(super) fn remove_all(&mut self, process: Option<u64>) -> Vec<Slot> {
        let ids: Vec<TaskId> = (0..)
            .zip(&self.seats)
            .filter(|(_, seat)| match &seat.state {
                State::Waiting(slot) => process.is_none_or(|process| slot.process == process),
                State::Free | State::Running => false,
            })
            .map(|(index, seat)| TaskId {
                index,
                generation: seat.generation,
            })
            .collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }
}

/// A task that waits, or runs.
pub(super) struct Slot {
    pub(super) process: u64,
    pub(super) shard: usize,
    /// Whether its process is.
    pub(super) is_alive: Rc<Cell<bool>>,
    future: Pin<Box<dyn Future<Output = ()>>>,
    wakeup: Arc<Wakeup>,
    /// The same, as a waker.
    waker: Waker,
}

impl Slot {
    pub(super) fn poll(&mut self) -> Poll<()> {
        self.wakeup.is_queued.store(false, Ordering::Relaxed);
        let mut context = Context::from_waker(&self.waker);
        self.future.as_mut().poll(&mut context)
    }
}

struct Wakeup {
    world: u64,
    task: TaskId,
    is_queued: AtomicBool,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Only the world's own thread wakes its tasks, and a waker that outlived its world wakes nobody.
        if !self.is_queued.swap(true, Ordering::Relaxed) && NUMBER.get() == self.world {
            let _ = READY.try_with(|ready| ready.borrow_mut().push(self.task));
        }
    }
}
