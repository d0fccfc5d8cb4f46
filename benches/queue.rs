//! What the queue costs a message, with few and with a million others waiting: each step, and the way through.
//!
//! `cargo bench -p mailrail-benches --bench queue`; what each line means is in `README.md`.

use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailrail::message::{Id, Timestamp};
use mailrail::queue::{
    Arrival, Effect, Group, LaneId, Outcome, Parcel, Place, Queue, Resolution, Settings,
};
use mailrail_benches::tell_conditions;
use std::hint::black_box;
use std::time::Duration;

const START: u64 = 1_795_508_041_000;
const DESTINATIONS: u64 = 1000;
const MINUTE: u64 = 60_000;
/// Messages of one timed stretch, where a single one is too short for a clock.
const STRETCH: u64 = 256;

struct Bench {
    queue: Queue,
    now: u64,
    id: u64,
    names: Vec<String>,
    lane: Option<LaneId>,
}

impl Bench {
    /// `waiting` messages to a thousand domains behind one lane, due evenly over the next hours.
    fn new(waiting: u64) -> Self {
        let now = Timestamp::from_unix_millis(START);
        let mut bench = Self {
            queue: Queue::new(Settings::default(), now),
            now: START,
            id: 0,
            names: (0..DESTINATIONS).map(|n| format!("d{n}.example")).collect(),
            lane: None,
        };
        for number in 0..waiting {
            let next = START + 20 * MINUTE + (number * 7919) % (20 * MINUTE);
            bench.insert(5, Some(Timestamp::from_unix_millis(next)));
        }
        bench
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.now)
    }

    fn insert(&mut self, attempt: u16, next: Option<Timestamp>) {
        self.id += 1;
        let arrival = Arrival {
            id: Id::from_bits(self.id),
            place: Place {
                segment: 1,
                offset: self.id as u32,
                len: 4096,
            },
            accepted: self.now(),
            expires: None,
        };
        let group = Group {
            first: 0,
            open: 1,
            destination: &self.names[(self.id % DESTINATIONS) as usize],
            attempt,
            next,
            note: None,
        };
        self.queue.insert(self.now(), &arrival, [group]);
    }

    /// What the glue does with effects: every domain leads to one lane.
    fn effects(&mut self) {
        while let Some(effect) = self.queue.pop_effect(self.now()) {
            match effect {
                Effect::Resolve(destination) => {
                    let resolution = Resolution::Lane {
                        key: "via 127.0.0.1:2526",
                        connection_limit: 64,
                        until: Timestamp::from_unix_millis(u64::MAX),
                    };
                    let lane = self.queue.resolved(self.now(), destination, resolution);
                    self.lane = self.lane.or(lane);
                }
                Effect::Verdict(verdict) => {
                    let done = self.queue.settle(self.now(), verdict);
                    if done.is_some() {
                        self.insert_scheduled();
                    }
                }
                _ => {}
            }
        }
    }

    /// A message comes and is delivered at once.
    fn deliver(&mut self) {
        self.insert(0, None);
        self.queue.advance(self.now());
        self.effects();
        self.take(true);
    }

    /// The next message becomes due and is refused for now once more.
    fn retry(&mut self) {
        let next = self.queue.next_due().map_or(0, Timestamp::unix_millis);
        self.now = self.now.max(next);
        self.queue.advance(self.now());
        self.effects();
        self.take(false);
    }

    fn take(&mut self, delivered: bool) {
        let Some(lane) = self.lane else { return };
        while let Some(parcel) = self.queue.take(self.now(), lane) {
            let bits = if delivered {
                (parcel.bits, 0)
            } else {
                (0, parcel.bits)
            };
            let outcome = Outcome {
                delivered: bits.0,
                deferred: bits.1,
                ..Outcome::default()
            };
            let verdict = self.queue.judge(self.now(), parcel.entry, &outcome);
            let done = self.queue.settle(self.now(), verdict);
            if done.is_some() && !delivered {
                self.insert_scheduled();
            }
        }
    }

    /// So many new messages; how long their way into the queue took. They leave it untimed.
    fn time_insert(&mut self, count: u64) -> Duration {
        let start = WallTime.start();
        for _ in 0..count {
            self.insert(0, None);
        }
        let time = WallTime.end(start);
        self.queue.advance(self.now());
        self.effects();
        self.take(true);
        time
    }

    /// So many new messages are in the hands of connections; how long it took to judge and settle them.
    fn time_settle(&mut self, count: u64) -> Duration {
        for _ in 0..count {
            self.insert(0, None);
        }
        self.queue.advance(self.now());
        self.effects();
        let lane = self.lane.expect("something was resolved");
        let now = self.now();
        let held: Vec<Parcel> = std::iter::from_fn(|| self.queue.take(now, lane)).collect();
        assert_eq!(held.len() as u64, count);
        let start = WallTime.start();
        for parcel in held {
            let outcome = Outcome {
                delivered: parcel.bits,
                ..Outcome::default()
            };
            let verdict = self.queue.judge(now, parcel.entry, &outcome);
            black_box(self.queue.settle(now, verdict));
        }
        WallTime.end(start)
    }

    /// Time goes on until some messages are due; how many, and how long the queue took to see it. They are
    /// taken and put back untimed.
    fn time_due(&mut self, step_ms: u64) -> (u64, Duration) {
        self.now += step_ms;
        let start = WallTime.start();
        self.queue.advance(self.now());
        let time = WallTime.end(start);
        self.effects();
        let Some(counts) = self.lane.and_then(|lane| self.queue.lane(lane)) else {
            return (0, time);
        };
        self.take(false);
        (u64::from(counts.due), time)
    }

    /// One that takes the place of an expired one, so that as many go on waiting.
    fn insert_scheduled(&mut self) {
        let next = self.now().plus_millis(20 * MINUTE);
        self.insert(1, Some(next));
    }
}

/// Stretches until there were as many messages as asked for.
fn stretches(asked: u64, mut stretch: impl FnMut() -> (u64, Duration)) -> Duration {
    let (mut count, mut time) = (0, Duration::ZERO);
    while count < asked {
        let (more, longer) = stretch();
        count += more;
        time += longer;
    }
    time.mul_f64(asked as f64 / count.max(1) as f64)
}

fn queue(criterion: &mut Criterion) {
    tell_conditions();
    for waiting in [1_000, 10_000, 100_000, 1_000_000] {
        let mut bench = Bench::new(waiting);
        // So much later some hundreds of those that wait are due.
        let step_ms = (20 * MINUTE * STRETCH / waiting).max(1);
        let mut group = criterion.benchmark_group("queue");
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("insert", waiting), |bencher| {
            bencher.iter_custom(|asked| stretches(asked, || (STRETCH, bench.time_insert(STRETCH))));
        });
        group.bench_function(BenchmarkId::new("settle", waiting), |bencher| {
            bencher.iter_custom(|asked| stretches(asked, || (STRETCH, bench.time_settle(STRETCH))));
        });
        group.bench_function(BenchmarkId::new("due", waiting), |bencher| {
            bencher.iter_custom(|asked| stretches(asked, || bench.time_due(step_ms)));
        });
        group.bench_function(BenchmarkId::new("deliver", waiting), |bencher| {
            bencher.iter(|| bench.deliver());
        });
        group.bench_function(BenchmarkId::new("retry", waiting), |bencher| {
            bencher.iter(|| bench.retry());
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = mailrail_benches::criterion();
    targets = queue
}
criterion_main!(benches);
