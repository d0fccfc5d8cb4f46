//! In the steady state a message goes through the queue without any allocation.

use mailrail::message::{Id, Timestamp};
use mailrail::queue::{
    Arrival, Effect, Group, LaneId, Outcome, Place, Queue, Resolution, Settings,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const START: u64 = 1_795_508_041_000;

/// One message comes to each of three domains, is deferred once, and is delivered the second time.
fn round(queue: &mut Queue, number: u64, lane: &mut Option<LaneId>) {
    let hour = 3_600_000;
    let mut now = Timestamp::from_unix_millis(START + number * 2 * hour);
    for (index, destination) in ["a.example", "b.example", "c.example"]
        .into_iter()
        .enumerate()
    {
        let arrival = Arrival {
            id: Id::from_bits(number * 4 + index as u64),
            place: Place::default(),
            accepted: now,
            expires: None,
        };
        let group = Group {
            first: 0,
            open: 0b11,
            destination,
            attempt: 0,
            next: None,
            note: None,
        };
        assert!(queue.insert(now, &arrival, [group]));
    }
    for deferred in [true, false] {
        queue.advance(now);
        while let Some(effect) = queue.pop_effect(now) {
            if let Effect::Resolve(destination) = effect {
                let resolution = Resolution::Lane {
                    key: "mx.example",
                    connection_limit: 10,
                    until: now.plus_millis(hour),
                };
                *lane = queue.resolved(now, destination, resolution);
            }
        }
        while let Some(parcel) = queue.take(now, lane.expect("resolved")) {
            let outcome = Outcome {
                delivered: if deferred { 0b01 } else { parcel.bits },
                deferred: if deferred { 0b10 } else { 0 },
                ..Outcome::default()
            };
            let verdict = queue.judge(now, parcel.entry, &outcome);
            queue.settle(now, verdict);
        }
        now = now.plus_millis(hour);
    }
    assert_eq!(queue.counts().messages, 0);
}

#[test]
fn no_allocation_for_a_message() {
    let mut queue = Queue::new(Settings::default(), Timestamp::from_unix_millis(START));
    let mut lane = None;
    for number in 0..200 {
        round(&mut queue, number, &mut lane);
    }
    let before = COUNT.get();
    assert!(before > 0, "the counter counts");
    for number in 200..1200 {
        round(&mut queue, number, &mut lane);
    }
    assert_eq!(COUNT.get() - before, 0);
}
