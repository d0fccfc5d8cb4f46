//! What the queue costs a message, with few and with a million others waiting.
//!
//! `cargo bench -p mailrail-benches --bench queue`

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mailrail::message::{Id, Timestamp};
use mailrail::queue::{
    Arrival, Effect, Group, LaneId, Outcome, Place, Queue, Resolution, Settings,
};

const START: u64 = 1_795_508_041_000;
const DESTINATIONS: u64 = 1000;
const MINUTE: u64 = 60_000;

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

    /// One that takes the place of an expired one, so that as many go on waiting.
    fn insert_scheduled(&mut self) {
        let next = self.now().plus_millis(20 * MINUTE);
        self.insert(1, Some(next));
    }
}

fn queue(criterion: &mut Criterion) {
    for waiting in [1_000, 10_000, 100_000, 1_000_000] {
        let mut bench = Bench::new(waiting);
        let mut group = criterion.benchmark_group("queue");
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
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_secs(1))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = queue
}
criterion_main!(benches);
