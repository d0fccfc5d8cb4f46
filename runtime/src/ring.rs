//! The shard's own ring for what a commit waits for: writes past the page cache, and their syncs.
//!
//! glommio learns of a completion at the end of a turn of its loop, and a turn costs some four calls into the
//! kernel, needed or not. Here a completion is a look into shared memory, made whenever the shard
//! looks for what has come; while the shard sleeps, the ring wakes it as a socket does (`readiness`).
//! So a shard with work goes from sockets to disk and back without a turn.
//!
//! Nothing is known here of files' contents, and nothing decided. Lives on one shard.

use crate::net::readiness;
use glommio::io::DmaBuffer;
use io_uring::{IoUring, opcode, squeue, types};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Operations that are handed over at once; more wait for those to be taken.
const ENTRIES: u32 = 64;

/// An operation under way.
#[derive(Default)]
enum Slot {
    #[default]
    Free,
    /// The memory stays until the kernel has done with it, also when nobody waits any more.
    Busy {
        waker: Option<Waker>,
        memory: Option<Rc<DmaBuffer>>,
    },
    Done(i32),
    Abandoned {
        _memory: Option<Rc<DmaBuffer>>,
    },
}

struct Ring {
    uring: IoUring,
    slots: Vec<Slot>,
    free: Vec<u32>,
    busy_count: usize,
    /// Wakes the shard when it sleeps.
    _bell: readiness::Watched,
}

thread_local! {
    static RING: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

/// Makes sure that this shard has a ring.
pub(crate) fn open() -> io::Result<()> {
    RING.with_borrow_mut(|ring| {
        if ring.is_none() {
            *ring = Some(Ring::new()?);
        }
        Ok(())
    })
}

/// Writes the whole memory at `offset`; how many bytes were written.
pub(crate) fn write(
    file: BorrowedFd<'_>,
    memory: Rc<DmaBuffer>,
    offset: u64,
) -> io::Result<Operation> {
    let bytes = memory.as_bytes();
    let file = types::Fd(file.as_raw_fd());
    let entry = opcode::Write::new(file, bytes.as_ptr(), bytes.len() as u32).offset(offset);
    begin(&entry.build(), Some(memory))
}

/// Makes what was written before durable (fdatasync).
pub(crate) fn sync(file: BorrowedFd<'_>) -> io::Result<Operation> {
    let entry = opcode::Fsync::new(types::Fd(file.as_raw_fd()));
    begin(&entry.flags(types::FsyncFlags::DATASYNC).build(), None)
}

fn begin(entry: &squeue::Entry, memory: Option<Rc<DmaBuffer>>) -> io::Result<Operation> {
    open()?;
    RING.with_borrow_mut(|ring| match ring {
        Some(ring) => ring.begin(entry, memory),
        None => unreachable!("it was opened above"),
    })
}

/// Wakes whoever waits for what is done; how many those are.
pub(crate) fn look() -> usize {
    let mut wakers = RING.with_borrow_mut(|ring| match ring {
        Some(ring) if ring.busy_count > 0 => ring.reap(),
        _ => Vec::new(),
    });
    let count = wakers.len();
    wakers.drain(..).for_each(Waker::wake);
    count
}

impl Ring {
    fn new() -> io::Result<Self> {
        // What is done is told when the shard next enters the kernel by itself, instead of by an interrupt. Older
        // kernels know no such thing.
        let cooperative = IoUring::builder()
            .setup_coop_taskrun()
            .setup_single_issuer()
            .build(ENTRIES);
        let uring = match cooperative {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::new(ENTRIES)?,
            built => built?,
        };
        // SAFETY: the ring is open for the time of the call.
        let descriptor = unsafe { BorrowedFd::borrow_raw(uring.as_raw_fd()) };
        let twin: OwnedFd = descriptor.try_clone_to_owned()?;
        Ok(Self {
            _bell: readiness::Watched::new(twin)?,
            uring,
            slots: Vec::new(),
            free: Vec::new(),
            busy_count: 0,
        })
    }

    fn begin(
        &mut self,
        entry: &squeue::Entry,
        memory: Option<Rc<DmaBuffer>>,
    ) -> io::Result<Operation> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() as u32 - 1
        });
        let entry = entry.clone().user_data(u64::from(index));
        // SAFETY: the memory that the entry points to is kept in the slot until the kernel has done with it, and
        // the kernel takes a reference of the file when it takes the entry, which is now.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        if pushed.is_err() {
            // Those before it were not taken yet.
            self.free.push(index);
            self.uring.submit()?;
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.slots[index as usize] = Slot::Busy {
            waker: None,
            memory,
        };
        self.busy_count += 1;
        loop {
            match self.uring.submit() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => break,
                // The kernel lacks memory, or has too much to tell first: it stays in line, and is handed over with
                // the next, or when the shard next looks.
                Err(_) => break,
            }
        }
        Ok(Operation { index })
    }

    fn reap(&mut self) -> Vec<Waker> {
        if !self.uring.submission().is_empty() {
            // They were not taken before; if not now either, then at the next look.
            let _ = self.uring.submit();
        }
        let mut wakers = Vec::new();
        for done in self.uring.completion() {
            let index = done.user_data() as usize;
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            self.busy_count -= 1;
            match std::mem::replace(slot, Slot::Done(done.result())) {
                Slot::Busy { waker, .. } => wakers.extend(waker),
                _ => {
                    *slot = Slot::Free;
                    self.free.push(index as u32);
                }
            }
        }
        wakers
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel still reads the memory of what is under way.
        while self.busy_count > 0 {
            if self.uring.submit_and_wait(1).is_err() {
                std::thread::yield_now();
            }
            self.reap();
        }
    }
}

/// The wait for an operation: its result as the kernel gives it.
#[must_use = "futures do nothing unless awaited"]
pub(crate) struct Operation {
    index: u32,
}

impl Future for Operation {
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        RING.with_borrow_mut(|ring| {
            let ring = ring.as_mut().expect("an operation's ring outlives it");
            match &mut ring.slots[self.index as usize] {
                Slot::Done(result) => {
                    let result = *result;
                    Poll::Ready(match usize::try_from(result) {
                        Ok(count) => Ok(count),
                        Err(_) => Err(io::Error::from_raw_os_error(-result)),
                    })
                }
                Slot::Busy { waker, .. } => {
                    match waker {
                        Some(waker) if waker.will_wake(context.waker()) => {}
                        _ => *waker = Some(context.waker().clone()),
                    }
                    Poll::Pending
                }
                Slot::Free | Slot::Abandoned { .. } => unreachable!("somebody waits for it"),
            }
        })
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // The thread may be ending and its ring gone.
        let _ = RING.try_with(|ring| {
            let Ok(mut ring) = ring.try_borrow_mut() else {
                return;
            };
            let Some(ring) = ring.as_mut() else { return };
            let slot = &mut ring.slots[self.index as usize];
            match std::mem::take(slot) {
                Slot::Busy { memory, .. } => *slot = Slot::Abandoned { _memory: memory },
                _ => ring.free.push(self.index),
            }
        });
    }
}
