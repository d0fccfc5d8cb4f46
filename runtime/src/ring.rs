//! The shard's own ring for what mail waits for: reads and writes past the page cache, and syncs.
//!
//! glommio learns of a completion at the end of a turn of its loop, and a turn costs some four calls into the
//! kernel, needed or not. Here a completion is a look into shared memory, made whenever the shard
//! looks for what has come; while the shard sleeps, the ring wakes it as a socket does (`readiness`).
//! So a shard with work goes from sockets to disk and back without a turn.
//!
//! Nothing is known here of files' contents, and nothing decided. Lives on one shard.

use crate::buffer::Block;
use crate::net::readiness;
use crate::shard::courtesy;
use io_uring::{IoUring, opcode, squeue, types};
use std::cell::RefCell;
use std::collections::VecDeque;
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
        memory: Memory,
    },
    Done(i32),
    Abandoned {
        _memory: Memory,
    },
}

/// What the kernel reads or writes.
enum Memory {
    Nothing,
    One(#[expect(dead_code, reason = "kept")] Rc<Block>),
    Many {
        _blocks: Vec<Rc<Block>>,
        _vectors: Box<[libc::iovec]>,
    },
}

struct Ring {
    uring: IoUring,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Those that found no room: the kernel has not taken what is before them.
    line: VecDeque<squeue::Entry>,
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
pub(crate) fn write(file: BorrowedFd<'_>, memory: Rc<Block>, offset: u64) -> io::Result<Operation> {
    let bytes = memory.as_bytes();
    let file = types::Fd(file.as_raw_fd());
    let entry = opcode::Write::new(file, bytes.as_ptr(), bytes.len() as u32).offset(offset);
    begin(&entry.build(), Memory::One(memory))
}

/// As [`write()`], one memory behind the other: the disk gets large pieces, not as many as there are memories. Of more
/// than 1,024 the kernel writes none.
pub(crate) fn write_many(
    file: BorrowedFd<'_>,
    memories: Vec<Rc<Block>>,
    offset: u64,
) -> io::Result<Operation> {
    let vector = |memory: &Rc<Block>| libc::iovec {
        iov_base: memory.as_bytes().as_ptr().cast_mut().cast(),
        iov_len: memory.len(),
    };
    let vectors: Box<[libc::iovec]> = memories.iter().map(vector).collect();
    let (start, count) = (vectors.as_ptr(), vectors.len() as u32);
    let entry = opcode::Writev::new(types::Fd(file.as_raw_fd()), start, count).offset(offset);
    let memory = Memory::Many {
        _blocks: memories,
        _vectors: vectors,
    };
    begin(&entry.build(), memory)
}

/// Reads from `offset` on into the memory, as much as fits or is there; how many bytes were read. Nobody looks into
/// the memory before the operation is done.
pub(crate) fn read(file: BorrowedFd<'_>, memory: Rc<Block>, offset: u64) -> io::Result<Operation> {
    let bytes = memory.as_bytes();
    let (start, len) = (bytes.as_ptr().cast_mut(), bytes.len() as u32);
    let entry = opcode::Read::new(types::Fd(file.as_raw_fd()), start, len).offset(offset);
    begin(&entry.build(), Memory::One(memory))
}

/// Makes what was written before durable (fdatasync).
pub(crate) fn sync(file: BorrowedFd<'_>) -> io::Result<Operation> {
    let entry = opcode::Fsync::new(types::Fd(file.as_raw_fd()));
    begin(
        &entry.flags(types::FsyncFlags::DATASYNC).build(),
        Memory::Nothing,
    )
}

fn begin(entry: &squeue::Entry, memory: Memory) -> io::Result<Operation> {
    open()?;
    RING.with_borrow_mut(|ring| match ring {
        Some(ring) => Ok(ring.begin(entry, memory)),
        None => unreachable!("it was opened above"),
    })
}

/// Wakes whoever waits for what is done; how many those are.
pub(crate) fn look() -> usize {
    let (wakers, is_all_taken) = RING.with_borrow_mut(|ring| match ring {
        Some(ring) if ring.busy_count > 0 => (ring.reap(), ring.is_all_taken()),
        _ => (Vec::new(), true),
    });
    if !is_all_taken {
        // Nothing tells when the kernel could take more.
        courtesy::is_due();
    }
    let count = wakers.len();
    wakers.into_iter().for_each(Waker::wake);
    count
}

/// The shard ends: whoever still waits is let go. What is under way goes on.
pub(crate) fn end() {
    let wakers: Vec<Waker> = RING.with_borrow_mut(|ring| {
        let slots = ring.iter_mut().flat_map(|ring| &mut ring.slots);
        let waker = |slot: &mut Slot| match slot {
            Slot::Busy { waker, .. } => waker.take(),
            _ => None,
        };
        slots.filter_map(waker).collect()
    });
    drop(wakers);
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
            line: VecDeque::new(),
            busy_count: 0,
        })
    }

    fn begin(&mut self, entry: &squeue::Entry, memory: Memory) -> Operation {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() as u32 - 1
        });
        self.slots[index as usize] = Slot::Busy {
            waker: None,
            memory,
        };
        self.busy_count += 1;
        self.line
            .push_back(entry.clone().user_data(u64::from(index)));
        self.hand_over();
        Operation { index }
    }

    /// Has the kernel take what stands in line, as far as it does: it may lack memory, or have too much to tell
    /// first. Then it is tried again with the next, or when the shard next looks.
    fn hand_over(&mut self) {
        loop {
            while let Some(entry) = self.line.front() {
                // SAFETY: the memory that the entry points to is kept in the slot until the kernel has done with
                // it. The file is open until then or until the kernel has taken the entry, and with it a
                // reference of the file: see the drop of `Operation`.
                if unsafe { self.uring.submission().push(entry) }.is_err() {
                    break;
                }
                self.line.pop_front();
            }
            match self.uring.submit() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(1..) if !self.line.is_empty() => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn is_all_taken(&mut self) -> bool {
        self.line.is_empty() && self.uring.submission().is_empty()
    }

    fn reap(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        loop {
            if !self.is_all_taken() {
                self.hand_over();
            }
            self.collect(&mut wakers);
            // What the kernel had no room to tell, it tells when it is entered.
            if !self.uring.submission().cq_overflow() || self.uring.submit().is_err() {
                return wakers;
            }
        }
    }

    fn collect(&mut self, wakers: &mut Vec<Waker>) {
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
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel still reads the memory of what is under way.
        while self.busy_count > 0 {
            self.hand_over();
            if self.uring.submit_and_wait(1).is_err() {
                std::thread::yield_now();
            }
            drop(self.reap());
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
        let wakers = RING.try_with(|ring| {
            let mut ring = ring.try_borrow_mut().ok()?;
            let ring = ring.as_mut()?;
            let slot = &mut ring.slots[self.index as usize];
            let Slot::Busy { memory, .. } = std::mem::take(slot) else {
                ring.free.push(self.index);
                return None;
            };
            *slot = Slot::Abandoned { _memory: memory };
            // From now on its file may be closed, and the number of its descriptor be another's.
            let mut wakers = Vec::new();
            while !ring.is_all_taken() {
                wakers.append(&mut ring.reap());
                std::thread::yield_now();
            }
            Some(wakers)
        });
        let wakers = wakers.ok().flatten().unwrap_or_default();
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::ChunkMut;
    use crate::shard::run_one;
    use std::io::{PipeReader, Read, Write, pipe};
    use std::os::fd::AsFd;
    use std::rc::Weak;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    fn memory() -> Rc<Block> {
        ChunkMut::with_len(4096).freeze(4096).block().clone()
    }

    /// A write that the kernel cannot do before somebody reads: what it is of, its reader, and how much to read.
    fn stuck() -> (Operation, Weak<Block>, PipeReader, usize) {
        let (reader, mut writer) = pipe().unwrap();
        // SAFETY: the descriptor is open.
        let room = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
        let room = usize::try_from(room).unwrap();
        writer.write_all(&vec![b'x'; room]).unwrap();
        let memory = memory();
        let (weak, len) = (Rc::downgrade(&memory), memory.len());
        let operation = write(writer.as_fd(), memory, 0).unwrap();
        (operation, weak, reader, room + len)
    }

    fn look_until(mut is_over: impl FnMut() -> bool) {
        while !is_over() {
            look();
            std::thread::yield_now();
        }
    }

    #[test]
    fn memory_stays_until_the_kernel_has_done_with_it_though_nobody_waits() {
        run_one(async {
            let (operation, memory, mut reader, len) = stuck();
            drop(operation);
            look();
            assert!(memory.upgrade().is_some());
            reader.read_exact(&mut vec![0; len]).unwrap();
            look_until(|| memory.upgrade().is_none());
        })
        .unwrap();
    }

    #[test]
    fn many_are_written_one_behind_the_other_and_kept_until_then() {
        run_one(async {
            let filled = |len: usize, byte| {
                let mut chunk = ChunkMut::with_len(len);
                chunk.as_mut_slice().fill(byte);
                chunk.freeze(len).block().clone()
            };
            let memories = vec![filled(4096, b'a'), filled(8192, b'b'), filled(4096, b'c')];
            let weak: Vec<_> = memories.iter().map(Rc::downgrade).collect();
            let file = tempfile::tempfile().unwrap();
            let operation = write_many(file.as_fd(), memories, 4096).unwrap();
            // Also when nobody waits.
            drop(operation);
            look_until(|| weak.iter().all(|memory| memory.upgrade().is_none()));
            let mut expected = vec![0; 4096];
            for (len, byte) in [(4096, b'a'), (8192, b'b'), (4096, b'c')] {
                expected.resize(expected.len() + len, byte);
            }
            let mut written = Vec::new();
            (&file).read_to_end(&mut written).unwrap();
            assert!(written == expected);
        })
        .unwrap();
    }

    #[test]
    fn a_ring_that_ends_waits_for_what_is_under_way() {
        run_one(async {
            let (_operation, memory, mut reader, len) = stuck();
            let has_read = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(30));
                    has_read.store(true, Ordering::SeqCst);
                    reader.read_exact(&mut vec![0; len]).unwrap();
                });
                drop(RING.take());
                assert!(has_read.load(Ordering::SeqCst));
            });
            assert!(memory.upgrade().is_none());
        })
        .unwrap();
    }

    #[test]
    fn a_failure_is_told_as_the_kernel_names_it() {
        run_one(async {
            let (reader, _writer) = pipe().unwrap();
            let written = write(reader.as_fd(), memory(), 0).unwrap().await;
            assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EBADF));
            let synced = sync(reader.as_fd()).unwrap().await;
            assert_eq!(synced.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        })
        .unwrap();
    }

    #[test]
    fn more_is_done_at_once_than_the_kernel_has_room_to_tell() {
        run_one(async {
            let (_reader, writer) = pipe().unwrap();
            let all: Vec<Operation> = (0..10 * ENTRIES)
                .map(|_| sync(writer.as_fd()).unwrap())
                .collect();
            for operation in all {
                assert_eq!(
                    operation.await.unwrap_err().raw_os_error(),
                    Some(libc::EINVAL)
                );
            }
            RING.with_borrow(|ring| {
                let ring = ring.as_ref().unwrap();
                assert_eq!((ring.busy_count, ring.free.len()), (0, ring.slots.len()));
            });
        })
        .unwrap();
    }
}
