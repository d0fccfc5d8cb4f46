//! The watchdog: wakes a shard from outside when it sleeps on its own work.
//!
//! glommio's run loop can go to sleep while tasks are ready: when the preemption timer has fired
//! before the first task queue ran, the loop takes that for "nothing to do". A timer of the shard ends
//! that sleep only if the same does not happen again at that moment; then no timer is left, and only
//! a wake from another thread helps. So each shard has a pulse, a task that writes down the time every
//! `pulse_micros`, and one plain thread reads all of them. A shard that is `late_micros` late and
//! whose thread sleeps is woken and counted; one whose thread runs is only slow. With the default
//! preemption timer of 10 ms this is a net below a net: it was never seen to be needed there.

use crate::clock;
use crate::timer::Alarm;
use crossbeam::utils::CachePadded;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What shard and watchdog share. Each number has one writer.
#[derive(Debug, Default)]
pub(super) struct Beat {
    /// When the shard last wrote; `NEVER` when it has ended, 0 before it has begun: a shard that slept
    /// on its very first task could not be woken, since there is no waker of it yet.
    tick: CachePadded<AtomicU64>,
    /// How often the watchdog woke it.
    rescues: CachePadded<AtomicU64>,
    /// The pulse's waker. A task's waker stays the same as long as the task lives.
    waker: OnceLock<Waker>,
    /// The shard's thread, as /proc knows it.
    thread: OnceLock<i32>,
}

impl Beat {
    pub(super) fn rescues(&self) -> u64 {
        self.rescues.load(Ordering::Relaxed)
    }

    /// The shard is no more, however it ended.
    pub(super) fn end(&self) {
        self.tick.store(clock::NEVER, Ordering::Relaxed);
    }
}

/// The task of a shard that writes down that it is alive. Dropped when the shard ends.
pub(super) struct Pulse {
    beat: Arc<Beat>,
    period_micros: u64,
    next: u64,
    alarm: Alarm,
}

impl Pulse {
    /// For the shard of the calling thread.
    pub(super) fn new(beat: Arc<Beat>, period_micros: u64) -> Self {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        beat.thread.get_or_init(|| thread);
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
        this.beat.waker.get_or_init(|| context.waker().clone());
        let now = clock::micros();
        this.beat.tick.store(now.max(1), Ordering::Relaxed);
        while this.alarm.is_due(this.next, context) {
            this.next = now + this.period_micros.max(1);
        }
        Poll::Pending
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.beat.end();
    }
}

/// Starts the thread that watches; it ends when all shards have.
pub(super) fn watch(beats: Arc<[Arc<Beat>]>, late_micros: u64) -> std::io::Result<()> {
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
    let (Some(waker), Some(&thread)) = (beat.waker.get(), beat.thread.get()) else {
        return;
    };
    let asleep = is_asleep(thread);
    if asleep {
        waker.wake_by_ref();
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

/// Whether a thread of this process sleeps, by the state that follows its name in /proc.
fn is_asleep(thread: i32) -> bool {
    let stat = std::fs::read(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    // The name stands in parentheses and may hold any byte, so the last one ends it.
    let after_name = stat.rsplit(|&byte| byte == b')').next().unwrap_or_default();
    after_name.starts_with(b" S")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_thread_is_not_asleep_and_a_waiting_one_is() {
        let own = rustix::thread::gettid().as_raw_nonzero().get();
        assert!(!is_asleep(own));
        let (tell, told) = std::sync::mpsc::channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("odd) S name".into())
            .spawn(move || {
                tell.send(rustix::thread::gettid().as_raw_nonzero().get())
                    .unwrap();
                assert!(held.recv().is_err());
            })
            .unwrap();
        let other = told.recv().unwrap();
        while !is_asleep(other) {
            std::thread::yield_now();
        }
        drop(release);
        thread.join().unwrap();
        assert!(!is_asleep(other), "a thread that is gone does not sleep");
    }
}
