//! What a message is given on its way in: its id, its Received field, its envelope as it is stored. Pure rooms of
//! the server; the count of their instructions is kept in `instructions.toml`.
//!
//! `cargo bench -p mailrail-benches --bench message`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailrail::message::header::Received;
use mailrail::message::{Envelope, EnvelopeView, Id, IdSource, Protocol, Timestamp};
use mailrail_benches::tell_conditions;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

const START: Timestamp = Timestamp::from_unix_millis(1_795_508_041_000);
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn fronts(criterion: &mut Criterion) {
    tell_conditions();
    let mut group = criterion.benchmark_group("message");
    group.throughput(Throughput::Elements(1));
    let mut out = Vec::with_capacity(16 * 1024);

    let mut ids = IdSource::new(3, None);
    group.bench_function("id given and written", |bencher| {
        bencher.iter(|| {
            out.clear();
            ids.next(black_box(START)).push(&mut out);
        });
    });
    let received = Received {
        hello: b"client.example",
        peer: Some(PEER),
        hostname: b"mx.example.com",
        protocol: Protocol::Esmtp,
        id: Id::from_bits(1_795_508_041_000 << 16),
        single_recipient: Some(b"user@example.net"),
        at: START,
    };
    group.bench_function("Received field", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(&received).write(&mut out);
        });
    });
    for recipients in [1, 100] {
        let names: Vec<String> = (0..recipients)
            .map(|number| format!("user{number}@d{}.example.net", number % 7))
            .collect();
        let mut envelope = Envelope::new();
        group.bench_function(
            BenchmarkId::new("envelope written", recipients),
            |bencher| {
                bencher.iter(|| {
                    out.clear();
                    envelope.clear();
                    envelope.peer = Some(PEER);
                    envelope.set_hello(b"client.example");
                    envelope.set_sender(b"first.sender@client.example.com");
                    for name in black_box(&names) {
                        assert!(envelope.add_recipient(name.as_bytes()));
                    }
                    envelope.encode(&mut out);
                });
            },
        );
        group.bench_function(BenchmarkId::new("envelope read", recipients), |bencher| {
            bencher.iter(|| {
                let view = EnvelopeView::decode(black_box(&out)).expect("as written");
                view.groups().fold(0, |count, group| {
                    count + black_box(group).all().count_ones()
                })
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = mailrail_benches::criterion();
    targets = fronts
}
criterion_main!(benches);
