//! What the decisions cost that shape the outgoing traffic: where a lane lives, its share of connections, when it
//! opens another one, whose turn it is, when to try again, and which hosts take a domain's mail.
//!
//! `cargo bench -p mailrail-benches --bench shaping`; what each line means is in `README.md`. Limits of a rate do
//! not exist yet, so there is none here.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailrail::message::{Id, Timestamp};
use mailrail::queue::placement::{placement, rebalance, share};
use mailrail::queue::schedule::{Curve, next_attempt};
use mailrail::queue::{Arrival, Effect, Group, LaneId, Place, Queue, Resolution, Settings, site};
use mailrail_benches::tell_conditions;
use std::hint::black_box;

const START: Timestamp = Timestamp::from_unix_millis(1_795_508_041_000);
const LANE: &str = "mx1.example.net;mx2.example.net";
const SHARDS: usize = 64;

fn places(criterion: &mut Criterion) {
    tell_conditions();
    let mut group = criterion.benchmark_group("shaping");
    group.throughput(Throughput::Elements(1));
    group.bench_function("lane hash, home", |bencher| {
        bencher.iter(|| placement(black_box(LANE), 10, SHARDS));
    });
    group.bench_function("lane hash, spread", |bencher| {
        bencher.iter(|| placement(black_box(LANE), 1000, SHARDS));
    });
    group.bench_function("share of a spread lane", |bencher| {
        bencher.iter(|| share(black_box(LANE), 1000, SHARDS, 17));
    });
    let demand: Vec<u32> = (0..SHARDS as u32).map(|shard| shard * 7 % 31).collect();
    let mut shares = vec![0; SHARDS];
    group.bench_function(BenchmarkId::new("rebalance", SHARDS), |bencher| {
        bencher.iter(|| rebalance(black_box(1000), &demand, &mut shares));
    });
    group.finish();
}

fn times(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shaping");
    group.throughput(Throughput::Elements(1));
    let curve = Curve::default();
    let expires = START.plus_millis(7 * 24 * 3_600_000);
    for attempt in [1, 12] {
        group.bench_function(BenchmarkId::new("next attempt", attempt), |bencher| {
            bencher.iter(|| next_attempt(&curve, black_box(attempt), START, expires, 99));
        });
    }
    let records = [
        (10, "mx1.example.net"),
        (10, "mx2.example.net"),
        (20, "mx3.example.org"),
    ];
    group.bench_function("site of 3 MX records", |bencher| {
        bencher.iter(|| site::exchangers(black_box(records), "mx.example.com"));
    });
    let plan = site::exchangers(records, "mx.example.com").expect("hosts");
    group.bench_function("order of 3 hosts", |bencher| {
        bencher.iter(|| plan.order(black_box(7)));
    });
    group.finish();
}

/// A lane with `destinations` domains, each with messages due.
struct Lane {
    queue: Queue,
    lane: LaneId,
}

impl Lane {
    fn new(destinations: u64, due: u64) -> Self {
        let mut queue = Queue::new(Settings::default(), START);
        let mut lane = None;
        for number in 0..due {
            let arrival = Arrival {
                id: Id::from_bits(number + 1),
                place: Place::default(),
                accepted: START,
                expires: None,
            };
            let group = Group {
                first: 0,
                open: 1,
                destination: &format!("d{}.example", number % destinations),
                attempt: 0,
                next: None,
                note: None,
            };
            queue.insert(START, &arrival, [group]);
        }
        queue.advance(START);
        while let Some(effect) = queue.pop_effect(START) {
            if let Effect::Resolve(destination) = effect {
                let resolution = Resolution::Lane {
                    key: LANE,
                    connection_limit: 20,
                    until: Timestamp::from_unix_millis(u64::MAX),
                };
                let resolved = queue.resolved(START, destination, resolution);
                lane = lane.or(resolved);
            }
        }
        let lane = lane.expect("something was resolved");
        Self { queue, lane }
    }
}

fn lanes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shaping");
    group.throughput(Throughput::Elements(1));
    let Lane { mut queue, lane } = Lane::new(100, 10_000);
    group.bench_function("connections wanted", |bencher| {
        bencher.iter(|| queue.wants(START, black_box(lane)));
    });
    group.bench_function("whether to wake one", |bencher| {
        bencher.iter(|| queue.wake(black_box(lane), 3));
    });
    // As long as another one is open, the lane neither rests nor goes.
    queue.opening(lane);
    queue.opened(START, lane);
    group.bench_function("connection opened and closed", |bencher| {
        bencher.iter(|| {
            queue.opening(black_box(lane));
            queue.opened(START, lane);
            queue.closed(START, lane);
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("shaping/turn");
    for destinations in [1, 100, 10_000] {
        const TAKEN: u64 = 10_000;
        group.throughput(Throughput::Elements(TAKEN));
        group.sample_size(10);
        group.bench_function(BenchmarkId::from_parameter(destinations), |bencher| {
            bencher.iter_batched_ref(
                || Lane::new(destinations, TAKEN),
                |Lane { queue, lane }| {
                    while let Some(parcel) = queue.take(START, *lane) {
                        black_box(parcel);
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = mailrail_benches::criterion();
    targets = places, times, lanes
}
criterion_main!(benches);
