//! Courtesy: what a shard does when it has nothing to do. It offers its core to whoever waits for it, then naps,
//! and only then goes to sleep.
//!
//! To sleep and to be woken through glommio costs a shard about eight system calls and a dozen requests to its
//! rings. Where its peers run on the same cores, they wait for the core just when the shard has nothing left to
//! do; given it, they answer within microseconds, and the shard finds their bytes without having slept.
//! And a nap over the sockets is one call: it ends when one of them is ready, when the disk has done
//! something, when another shard sends a letter, or after a moment. So a shard under load never sleeps.
//!
//! A core that nobody waits for comes back at once, and a core that somebody else keeps for long is
//! offered ever more rarely. When to offer is pure; the task beside it awaits, offers and naps.

use crate::clock;
use crate::net::readiness::{self, Bed};
use crate::ring;
use crate::timer;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Offers in a row: what one peer answers may be what the next one waits for.
const OFFER_COUNT_MAX: u32 = 3;
/// A core that comes back within so many microseconds was wanted by nobody.
const FREE_MICROS: u64 = 3;
/// Whoever keeps the core for so many microseconds, and leaves nothing for us, is no peer of ours that answers;
const LONG_MICROS: u64 = 1000;
/// and even a peer's answers are not worth a longer absence: a shard that sleeps is woken for the first of them.
const ANSWERED_LONG_MICROS: u64 = 5000;
/// A nap takes so long at most: a sleep of the whole shard over its sockets, in one system call. What glommio alone
/// knows of waits for its end.
const NAP_MILLIS_MAX: u32 = 1;
/// So long a lull is waited for.
const LULL_MICROS_MAX: u64 = 500;
/// Turns without an offer after the core was kept for long: doubled each time, up to this.
const REST_MAX: u32 = 4096;

/// When to offer the core. One for each shard.
#[derive(Debug, Default, Clone, Copy)]
struct Manners {
    /// Turns that pass without an offer.
    rest: u32,
    /// How many there will be when the core is kept for long again.
    next_rest: u32,
}

impl Manners {
    /// A turn begins: is the core offered at all?
    const fn begin(&mut self) -> bool {
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        true
    }

    /// The core came back after so many microseconds, and something has come meanwhile, or not: is it offered
    /// again, if not?
    fn came_back(&mut self, micros: u64, has_come: bool) -> bool {
        let long = if has_come {
            ANSWERED_LONG_MICROS
        } else {
            LONG_MICROS
        };
        if micros > long {
            self.next_rest = (self.next_rest * 2).clamp(1, REST_MAX);
            self.rest = self.next_rest;
            return false;
        }
        self.next_rest /= 2;
        micros >= FREE_MICROS
    }
}

thread_local! {
    /// Bytes came since the core was last offered.
    static IS_DUE: Cell<bool> = const { Cell::new(false) };
    static WAKER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    static LULLS: RefCell<Lulls> = const { RefCell::new(Lulls { since: 0, waiting: Vec::new() }) };
    /// What else may have come: each wakes who waits for it, and says whether somebody did.
    static OTHERS: RefCell<Vec<Box<dyn Other>>> = const { RefCell::new(Vec::new()) };
}

/// Something that may have come besides what sockets and ring tell.
pub(crate) trait Other {
    /// Wakes who waits for it; whether there was somebody and something.
    fn look(&self) -> bool;

    /// The shard is about to nap: may it? Then whatever comes from now on ends the nap, until it gets up.
    fn lie_down(&self) -> bool;

    /// The nap is over, or there was none.
    fn get_up(&self);
}

/// Looks there as well, whenever the shard looks for what has come, until the shard ends.
pub(crate) fn also_look(other: impl Other + 'static) {
    OTHERS.with_borrow_mut(|others| others.push(Box::new(other)));
}

/// The shard ends.
pub(super) fn end() {
    OTHERS.take();
    WAKER.take();
    readiness::end();
    ring::end();
    drop(LULLS.with_borrow_mut(|lulls| std::mem::take(&mut lulls.waiting)));
}

/// Bytes came: once what they led to is done, peers may be waiting for the core.
pub(crate) fn is_due() {
    if !IS_DUE.replace(true) {
        WAKER.with_borrow(|waker| {
            if let Some(waker) = waker {
                waker.wake_by_ref();
            }
        });
    }
}

/// Ready when nothing more has come for now, or when that has not been so for half a millisecond: what is better
/// done once for many than for each, waits for it. Where nothing is going on, that is at once.
pub(crate) fn lull() -> Lull {
    Lull { has_waited: false }
}

/// See [`lull`].
#[must_use = "futures do nothing unless awaited"]
pub(crate) struct Lull {
    has_waited: bool,
}

impl Future for Lull {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        #[cfg(feature = "sim")]
        if crate::sim::is_here() {
            return Poll::Ready(());
        }
        if std::mem::replace(&mut self.has_waited, true) {
            return Poll::Ready(());
        }
        LULLS.with_borrow_mut(|lulls| {
            if lulls.waiting.is_empty() {
                lulls.since = clock::micros();
            }
            lulls.waiting.push(context.waker().clone());
        });
        is_due();
        Poll::Pending
    }
}

/// Those who wait for a lull, and since when.
struct Lulls {
    since: u64,
    waiting: Vec<Waker>,
}

/// Wakes those who wait for a lull, if there is one or they have waited long; whether there were any.
fn rouse(is_lull: bool) -> bool {
    let wakers = LULLS.with_borrow_mut(|lulls| {
        let is_time =
            is_lull || !lulls.waiting.is_empty() && clock::micros() - lulls.since > LULL_MICROS_MAX;
        if is_time {
            std::mem::take(&mut lulls.waiting)
        } else {
            Vec::new()
        }
    });
    let has_some = !wakers.is_empty();
    wakers.into_iter().for_each(Waker::wake);
    has_some
}

/// The task that looks for what has come, and offers the core when nothing has. It belongs into a queue that
/// runs after all others.
pub(super) async fn attend() {
    let mut manners = Manners::default();
    let mut bed = Bed::default();
    loop {
        // What only glommio tells of (files that are made and removed, and what blocks) is told when its timer has
        // ended the turn, every `Options::preempt_micros`.
        while has_come(&mut manners) || nap() {
            // Those who were woken run now.
            glommio::executor().yield_task_queue_now().await;
        }
        // Whoever calls from now on is heard, and nobody waits for a lull while the shard sleeps.
        IS_DUE.set(false);
        rouse(true);
        let mut is_up = false;
        poll_fn(|context| {
            if std::mem::replace(&mut is_up, true) {
                return Poll::Ready(());
            }
            WAKER.with_borrow_mut(|waker| match waker {
                Some(waker) if waker.will_wake(context.waker()) => {}
                _ => *waker = Some(context.waker().clone()),
            });
            bed.lie_down(context);
            Poll::Pending
        })
        .await;
        // Of queues that become active at once, any may be the first; here those that have work are to be.
        glommio::executor().yield_task_queue_now().await;
    }
}

/// Whether a socket has become ready, or something was done on the disk; if not, peers that wait for the core
/// may still make one so.
fn has_come(manners: &mut Manners) -> bool {
    let has_come = look();
    if rouse(!has_come) || has_come {
        return true;
    }
    if !IS_DUE.replace(false) || !manners.begin() {
        return false;
    }
    for _ in 0..OFFER_COUNT_MAX {
        let offered = clock::micros();
        rustix::thread::sched_yield();
        let micros = clock::micros() - offered;
        // Where nobody ran meanwhile there is nothing to look for; the nap ends at once if there is, all the same.
        let has_come = micros >= FREE_MICROS && look();
        let goes_on = manners.came_back(micros, has_come);
        if has_come || !goes_on {
            return has_come;
        }
    }
    false
}

fn look() -> bool {
    // All of them are looked at.
    let has_socket = readiness::look() > 0;
    look_elsewhere(clock::micros()) || has_socket
}

fn look_elsewhere(now: u64) -> bool {
    let others = OTHERS.with_borrow(|others| others.iter().filter(|other| other.look()).count());
    let is_time = timer::look(now);
    ring::look() + others > 0 || is_time
}

/// Sleeps for a moment, if nothing but sockets, ring and others can matter meanwhile; whether something has come.
/// It is a tenth of what it costs to sleep and to be woken through glommio.
fn nap() -> bool {
    // Deadlines are looked at after each nap, so they are late by one at most. Who counts microseconds is waited for
    // without.
    if timer::next_precise() < clock::micros() + 2 * u64::from(NAP_MILLIS_MAX) * 1000 {
        return false;
    }
    let may = OTHERS.with_borrow(|others| others.iter().all(|other| other.lie_down()));
    let has_socket = may && readiness::nap(NAP_MILLIS_MAX) > 0;
    OTHERS.with_borrow(|others| others.iter().for_each(|other| other.get_up()));
    may && look_elsewhere(clock::micros()) || has_socket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_core_is_offered_once_a_turn() {
        let mut manners = Manners::default();
        for _ in 0..10 {
            assert!(manners.begin());
            assert!(!manners.came_back(0, false));
        }
    }

    #[test]
    fn a_core_that_peers_use_is_offered_again() {
        let mut manners = Manners::default();
        assert!(manners.begin());
        assert!(manners.came_back(FREE_MICROS, false));
        assert!(manners.came_back(LONG_MICROS, false));
        assert!(manners.came_back(ANSWERED_LONG_MICROS, true));
    }

    #[test]
    fn a_core_that_is_kept_for_long_is_offered_ever_more_rarely() {
        let mut manners = Manners::default();
        let mut rests = Vec::new();
        for _ in 0..14 {
            let mut rest = 0;
            while !manners.begin() {
                rest += 1;
            }
            rests.push(rest);
            assert!(!manners.came_back(LONG_MICROS + 1, false));
        }
        assert_eq!(rests[..5], [0, 1, 2, 4, 8]);
        assert_eq!(rests[13], REST_MAX);
    }

    #[test]
    fn trust_comes_back_with_short_absences() {
        let mut manners = Manners::default();
        for _ in 0..3 {
            while !manners.begin() {}
            manners.came_back(LONG_MICROS + 1, false);
        }
        assert_eq!(manners.rest, 4);
        while !manners.begin() {}
        for _ in 0..3 {
            manners.came_back(10, false);
        }
        manners.came_back(LONG_MICROS + 1, false);
        assert_eq!(manners.rest, 1);
    }
}
