//! The watchdog: wakes a shard from outside when it sleeps on its own work.
//!
//! glommio's run loop can go to sleep while tasks are ready: when the preemption timer has fired
//! before the first task queue ran, the loop takes that for "nothing to do". A timer of the shard ends
//! that sleep only if the same does not happen again at that moment; then no timer is left, and only
//! a wake from another thread helps. With the default preemption timer of 10 ms it takes a machine
//! that leaves the thread waiting for so long: eight test programs on two cores do. So each shard has
//! a pulse, a task that writes down the time every `pulse_micros`, and one plain thread reads all of
//! them. A shard that is `late_micros` late and whose thread sleeps is woken and counted; one whose
//! thread runs is only slow.
//!
//! The wake is that of the shard's main task. Before that task ran for the first time nobody has its
//! waker, and glommio gives no other way in; until then a signal ends the sleep.

use crate::clock;
use crate::timer::Alarm;
use crossbeam::utils::CachePadded;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What shard and watchdog share. Each number has one writer.
#[derive(Debug, Default)]
pub(super) struct Beat {
    /// When the shard last wrote; 0 before it has begun, `NEVER` when it has ended.
    tick: CachePadded<AtomicU64>,
    /// How often the watchdog woke it.
    rescues: CachePadded<AtomicU64>,
    /// The main task's waker, as soon as it runs. A task's waker stays the same as long as it lives.
    waker: OnceLock<Waker>,
    thread: OnceLock<Thread>,
}

impl Beat {
    pub(super) fn rescues(&self) -> u64 {
        self.rescues.load(Ordering::Relaxed)
    }

    /// The shard begins on the calling thread, and is watched from now on until `end`.
    pub(super) fn begin(&self) {
        self.thread.get_or_init(Thread::own);
        self.write();
    }

    /// To be awaited by the shard's main task before anything else.
    pub(super) async fn wake_me(&self) {
        poll_fn(|context| {
            self.waker.get_or_init(|| context.waker().clone());
            Poll::Ready(())
        })
        .await;
    }

    /// The shard is no more, however it ended.
    pub(super) fn end(&self) {
        self.tick.store(clock::NEVER, Ordering::Relaxed);
    }

    fn write(&self) {
        self.tick.store(clock::micros().max(1), Ordering::Relaxed);
    }
}

/// The task of a shard that writes down that it is alive.
pub(super) struct Pulse {
    beat: Arc<Beat>,
    period_micros: u64,
    next: u64,
    alarm: Alarm,
}

impl Pulse {
    pub(super) fn new(beat: Arc<Beat>, period_micros: u64) -> Self {
        Self {
            beat,
            period_micros,
            next: 0,
            alarm: Alarm::new(),
        }
    }
}

impl Future for Pulse {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.beat.write();
        while this.alarm.is_due(this.next, context) {
            this.next = clock::after(this.period_micros.max(1));
        }
        Poll::Pending
    }
}

/// Starts the thread that watches; it ends when all shards have.
pub(super) fn watch(beats: Arc<[Arc<Beat>]>, late_micros: u64) -> std::io::Result<()> {
    let_the_signal_interrupt()?;
    let period = Duration::from_micros((late_micros / 2).max(100));
    std::thread::Builder::new()
        .name("watchdog".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let mut seen = vec![0; beats.len()];
            while beats
                .iter()
                .any(|beat| beat.tick.load(Ordering::Relaxed) != clock::NEVER)
            {
                std::thread::sleep(period);
                for (index, beat) in beats.iter().enumerate() {
                    look(index, beat, &mut seen[index], late_micros);
                }
            }
        })
        .map(drop)
}

fn look(index: usize, beat: &Beat, seen: &mut u64, late_micros: u64) {
    let tick = beat.tick.load(Ordering::Relaxed);
    let late = clock::micros().saturating_sub(tick);
    if tick == 0 || tick == clock::NEVER || late <= late_micros {
        return;
    }
    let Some(thread) = beat.thread.get() else {
        return;
    };
    let asleep = thread.is_asleep();
    if asleep {
        match beat.waker.get() {
            Some(waker) => waker.wake_by_ref(),
            None => thread.interrupt(),
        }
    }
    // One sleep is one rescue, however often it is looked at.
    if std::mem::replace(seen, tick) == tick {
        return;
    }
    if asleep {
        beat.rescues.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            shard = index,
            late_micros = late,
            "woke a shard that slept on its work"
        );
    } else {
        tracing::warn!(
            shard = index,
            late_micros = late,
            "a shard is busy without a pause"
        );
    }
}

/// A thread of this process.
#[derive(Debug)]
struct Thread {
    id: i32,
    /// Its state as /proc tells it. Kept open, since there may be no descriptor left when it is read.
    stat: Option<File>,
}

impl Thread {
    fn own() -> Self {
        let id = rustix::thread::gettid().as_raw_nonzero().get();
        Self {
            id,
            stat: File::open(format!("/proc/self/task/{id}/stat")).ok(),
        }
    }

    /// Whether it sleeps. Where /proc is missing it is taken to: a wake too many does no harm.
    fn is_asleep(&self) -> bool {
        let Some(stat) = &self.stat else {
            return true;
        };
        let mut line = [0; 128];
        let len = stat.read_at(&mut line, 0).unwrap_or(0);
        // The name stands in parentheses and may hold any byte, so the last one ends it.
        let after_name = line[..len].rsplit(|&byte| byte == b')').next();
        after_name.is_some_and(|rest| rest.starts_with(b" S"))
    }

    /// Ends the system call in which it sleeps. Between the look and the sleep a signal has no effect;
    /// then the next look sends another.
    fn interrupt(&self) {
        // SAFETY: the call reads no memory. A thread that is gone is an error that changes nothing,
        // and any other thread of this process that has its number by now runs the empty handler.
        unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                std::process::id() as libc::pid_t,
                self.id,
                SIGNAL,
            );
        }
    }
}

/// Nobody sends it without being asked to (`F_SETOWN`), and where no handler is set it is ignored.
const SIGNAL: libc::c_int = libc::SIGURG;

/// Gives the signal an empty handler: one that is ignored would not end a system call.
fn let_the_signal_interrupt() -> std::io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all zeros is a valid action: no flags, and an empty set of blocked signals. The handler
    // does nothing, which is allowed at any moment, and both live as long as the process.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(SIGNAL, &action, std::ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_thread_is_not_asleep_and_a_waiting_one_is() {
        assert!(!Thread::own().is_asleep());
        let (tell, told) = std::sync::mpsc::channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("odd) S name".into())
            .spawn(move || {
                tell.send(Thread::own()).unwrap();
                assert!(held.recv().is_err());
            })
            .unwrap();
        let other = told.recv().unwrap();
        while !other.is_asleep() {
            std::thread::yield_now();
        }
        drop(release);
        thread.join().unwrap();
        assert!(!other.is_asleep(), "a thread that is gone does not sleep");
        other.interrupt();
    }

    /// A thread that waits without end for a descriptor that never has anything.
    #[test]
    fn an_interrupt_ends_a_system_call() {
        let_the_signal_interrupt().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .spawn(move || {
                tell.send(Thread::own()).unwrap();
                rustix::event::poll(&mut [], None)
            })
            .unwrap();
        let other = told.recv().unwrap();
        while !thread.is_finished() {
            other.interrupt();
            std::thread::yield_now();
        }
        assert_eq!(thread.join().unwrap(), Err(rustix::io::Errno::INTR));
    }
}
