//! Timers of a shard: one wheel, one driver task that sleeps until the wheel has something to do.
//!
//! Arming and disarming take about 25 ns together, the clone of the waker included (measured with
//! 10,000 other alarms armed), and allocate nothing once the wheel is warm. What is due when is
//! decided in `wheel`, which is pure; here are the futures, the thread-local wheel and the driver that
//! `shard` starts. Nothing here knows what it is that is waited for.

mod precise;
mod wheel;

pub use precise::Precise;

use crate::clock;
use glommio::timer::Timer;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use wheel::{Key, Wheel};

/// The deadline passed before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline passed")]
pub struct Elapsed;

/// Ready `micros` from now: never early, and late by a tick and a nap (about 1 ms each) at most on an idle shard.
pub fn sleep(micros: u64) -> Sleep {
    sleep_until(clock::after(micros))
}

/// Ready when `clock::micros` reaches `deadline`; `u64::MAX` never comes.
pub fn sleep_until(deadline: u64) -> Sleep {
    Sleep {
        deadline,
        alarm: Alarm::new(),
    }
}

/// The wait for a moment.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: u64,
    alarm: Alarm,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        match self.alarm.is_due(deadline, context) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// What `future` gives, or [`Elapsed`] once `deadline` (in `clock::micros`) has passed and the
/// future is still not ready. The future is polled first: what is ready at once is never late, and
/// costs no timer.
pub fn until<F: Future>(deadline: u64, future: F) -> Until<F> {
    Until {
        future,
        deadline,
        alarm: Alarm::new(),
    }
}

/// A future under a deadline.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Until<F> {
    future: F,
    deadline: u64,
    alarm: Alarm,
}

impl<F: Future> Future for Until<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is never moved out of the pinned struct, which has no `Drop` of its own
        // and is `Unpin` only if `F` is; the other fields are not pinned.
        let (future, deadline, alarm) = unsafe {
            let this = self.get_unchecked_mut();
            (
                Pin::new_unchecked(&mut this.future),
                this.deadline,
                &mut this.alarm,
            )
        };
        if let Poll::Ready(output) = future.poll(context) {
            alarm.disarm();
            return Poll::Ready(Ok(output));
        }
        match alarm.is_due(deadline, context) {
            true => Poll::Ready(Err(Elapsed)),
            false => Poll::Pending,
        }
    }
}

/// A deadline within a larger future: asked at each poll that found nothing, armed by the first
/// asking, disarmed when dropped. Eight bytes.
#[derive(Debug)]
pub(crate) struct Alarm(Key);

impl Alarm {
    pub(crate) const fn new() -> Self {
        Self(Key::NONE)
    }

    /// Whether `deadline` has passed; if not, the task will be woken when it does. The deadline must
    /// be the same at each asking until the alarm was due or disarmed.
    pub(crate) fn is_due(&mut self, deadline: u64, context: &Context<'_>) -> bool {
        if deadline == clock::NEVER {
            return false;
        }
        if self.0 != Key::NONE {
            if touch(self.0, context.waker()) {
                return false;
            }
            self.0 = Key::NONE;
            return true;
        }
        let now = clock::micros();
        if now >= deadline {
            return true;
        }
        self.0 = arm(now, deadline, context.waker());
        false
    }

    pub(crate) fn disarm(&mut self) {
        if self.0 != Key::NONE {
            // The thread may be ending and its wheel gone: then there is nothing to disarm. The waker
            // is dropped after the borrow, since it may be the last of its task.
            let waker = TIMERS.try_with(|timers| timers.wheel.borrow_mut().cancel(self.0));
            self.0 = Key::NONE;
            drop(waker);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// The timers of this thread's shard.
struct Timers {
    wheel: RefCell<Wheel<Waker>>,
    /// When the driver will wake by itself; `NEVER` while it waits for a first alarm.
    planned: Cell<u64>,
    /// Whether a driver is there at all.
    driven: Cell<bool>,
    driver: Cell<Option<Waker>>,
}

thread_local! {
    static TIMERS: Timers = const {
        Timers {
            wheel: RefCell::new(Wheel::new()),
            planned: Cell::new(clock::NEVER),
            driven: Cell::new(false),
            driver: Cell::new(None),
        }
    };
}

fn arm(now: u64, deadline: u64, waker: &Waker) -> Key {
    TIMERS.with(|timers| {
        assert!(timers.driven.get(), "timers exist on shards only");
        let waker = waker.clone();
        let mut wheel = timers.wheel.borrow_mut();
        let key = wheel.arm(now, deadline, waker);
        let next = wheel.next().unwrap_or(clock::NEVER);
        drop(wheel);
        if next < timers.planned.get() {
            timers.planned.set(next);
            if let Some(driver) = timers.driver.take() {
                driver.wake();
            }
        }
        key
    })
}

/// Lets an armed alarm wake this task; false if it is not armed any more.
fn touch(key: Key, waker: &Waker) -> bool {
    TIMERS.with(|timers| {
        let mut wheel = timers.wheel.borrow_mut();
        let Some(own) = wheel.payload(key) else {
            return false;
        };
        let old = (!own.will_wake(waker)).then(|| std::mem::replace(own, waker.clone()));
        drop(wheel);
        drop(old);
        true
    })
}

/// Wakes the driver, or whoever has slept precisely, if it is time; whether it was. glommio would tell them at the
/// end of a turn of its loop.
pub(crate) fn look(now: u64) -> bool {
    let driver = TIMERS.with(|timers| {
        let is_time = timers.planned.get() <= now;
        is_time.then(|| timers.driver.take()).flatten()
    });
    let is_precise = precise::look(now);
    if let Some(driver) = &driver {
        driver.wake_by_ref();
    }
    driver.is_some() || is_precise
}

/// Nothing is due before that has to be told without delay.
pub(crate) fn next_precise() -> u64 {
    precise::next()
}

/// The driver of this shard's timers; `shard` runs it as long as the shard lives. Dropping it ends
/// the timers: what is still armed is never due.
pub(crate) fn drive() -> Driver {
    TIMERS.with(|timers| assert!(!timers.driven.replace(true), "a shard has one driver"));
    Driver {
        timer: None,
        due: Vec::new(),
    }
}

/// A seeded world begins on this thread: it has no driver, but moves the time itself.
#[cfg(feature = "sim")]
pub(crate) fn begin_world() {
    TIMERS.with(|timers| {
        assert!(!timers.driven.replace(true), "a thread has one driver");
        timers.wheel.replace(Wheel::new());
    });
}

/// It ends.
#[cfg(feature = "sim")]
pub(crate) fn end_world() {
    TIMERS.with(|timers| {
        timers.driven.set(false);
        timers.planned.set(clock::NEVER);
        drop(timers.wheel.replace(Wheel::new()));
    });
}

/// When an alarm of the world is due next.
#[cfg(feature = "sim")]
pub(crate) fn next_in_world() -> Option<u64> {
    TIMERS.with(|timers| timers.wheel.borrow().next())
}

/// The world's time has moved on: wakes whoever is due.
#[cfg(feature = "sim")]
pub(crate) fn advance_world(now: u64) {
    let mut due = Vec::new();
    TIMERS.with(|timers| timers.wheel.borrow_mut().advance(now, &mut due));
    due.into_iter().for_each(Waker::wake);
}

/// See [`drive`].
pub(crate) struct Driver {
    timer: Option<Timer>,
    due: Vec<Waker>,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let now = clock::micros();
            let next = TIMERS.with(|timers| {
                let mut wheel = timers.wheel.borrow_mut();
                wheel.advance(now, &mut this.due);
                let next = wheel.next().unwrap_or(clock::NEVER);
                timers.planned.set(next);
                timers.driver.set(Some(context.waker().clone()));
                next
            });
            for waker in this.due.drain(..) {
                waker.wake();
            }
            if next == clock::NEVER {
                this.timer = None;
                return Poll::Pending;
            }
            let wait = Duration::from_micros(next.saturating_sub(now));
            let timer = this.timer.get_or_insert_with(|| Timer::new(wait));
            timer.reset(wait);
            if Pin::new(timer).poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let rest = TIMERS.try_with(|timers| {
            timers.driven.set(false);
            timers.planned.set(clock::NEVER);
            (timers.driver.take(), timers.wheel.replace(Wheel::new()))
        });
        drop(rest);
    }
}
