//! What the log costs: records taken and made durable together, on a real file below `target`, and the writing of
//! records alone, in memory. The disk decides about the first and the processor about the second.
//!
//! `cargo bench -p mailrail-benches --bench log`; what each line means is in `README.md`. It measures the disk that
//! the directory `target` lies on.

use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailrail_benches::tell_conditions;
use mailrail_counted::log as packed;
use mailrail_runtime::buffer::ChunkMut;
use mailrail_runtime::log::{Durability, Label, Log, Message, Options, ROOM, Ticket};
use mailrail_runtime::mailbox::Mesh;
use mailrail_runtime::shard;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// The lengths of messages: the small one is copied into the batch, the long one is written from where it lies.
const SMALL_LEN: usize = 4 << 10;
const LONG_LEN: usize = 100_000;
/// What a start has to know of a message: its envelope.
const HEAD_LEN: u32 = 200;
/// Segments that stay, in which nothing is needed any more.
const SEGMENT_COUNT: usize = 3;
const SEGMENT_LEN: u32 = 16 << 20;

/// A batch: so many messages of a length, whose commit is awaited together.
#[derive(Clone, Copy, Debug)]
struct Batch {
    count: usize,
    len: usize,
}

const BATCHES: [Batch; 4] = [
    Batch {
        count: 1,
        len: SMALL_LEN,
    },
    Batch {
        count: 8,
        len: SMALL_LEN,
    },
    Batch {
        count: 64,
        len: SMALL_LEN,
    },
    Batch {
        count: 1,
        len: LONG_LEN,
    },
];

impl Batch {
    fn name(self) -> String {
        format!("{} of {} bytes", self.count, self.len)
    }

    const fn throughput(self) -> Throughput {
        Throughput::ElementsAndBytes {
            elements: self.count as u64,
            bytes: (self.count * self.len) as u64,
        }
    }
}

/// A directory below `target` that is removed at the end.
fn directory() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(target).expect("a directory for what is measured");
    tempfile::tempdir_in(target).expect("a directory for what is measured")
}

/// Takes one message, as a session does when its content has ended.
async fn append(log: &Log, label: Label, payload: &[u8]) -> Ticket {
    log.room(payload.len()).await.expect("room on the disk");
    if payload.len() <= SMALL_LEN {
        let appended = log.append_copied(label, &[payload]);
        return appended.expect("room was there").ticket;
    }
    // In chunks as they come from a socket; what they hold is not looked at.
    let chunk = ChunkMut::with_len(ROOM + payload.len());
    let stored = log.append_chunks(label, Message::new(chunk, Vec::new(), payload.len()));
    stored.expect("room was there").ticket
}

/// Batches to be made durable one after the other.
#[derive(Clone, Copy, Debug)]
struct Work {
    batch: Batch,
    durability: Durability,
    rounds: u64,
}

async fn commit(log: &Log, work: Work) -> Duration {
    let Work {
        batch,
        durability,
        rounds,
    } = work;
    let payload = vec![b'x'; batch.len];
    let mut tickets = Vec::with_capacity(batch.count);
    let start = WallTime.start();
    for round in 0..rounds {
        for _ in 0..batch.count {
            let label = Label {
                durability,
                ..Label::now(1, round).with_head_len(HEAD_LEN)
            };
            tickets.push(append(log, label, &payload).await);
        }
        for ticket in tickets.drain(..) {
            log.committed(ticket).await.expect("the disk works");
        }
        while log.segments().count > SEGMENT_COUNT {
            log.free_oldest();
        }
    }
    WallTime.end(start)
}

/// A shard with a log that stays open for all figures, so that its segments are written anew and none has to be
/// made while a figure is taken.
async fn keeper(mesh: Mesh<Option<Work>>, directory: PathBuf, told: mpsc::Sender<Duration>) {
    let options = Options {
        segment_len: SEGMENT_LEN,
        reserve_len: SEGMENT_LEN / 4,
        ..Options::new(directory, 0)
    };
    let opened = Log::open(options, &mut |_| {}).await;
    let (log, _) = opened.expect("the log opens");
    let first = Work {
        batch: BATCHES[2],
        durability: Durability::Write,
        rounds: 1,
    };
    let through = (SEGMENT_COUNT as u64 + 1) * u64::from(SEGMENT_LEN);
    for _ in 0..through / (first.batch.count * first.batch.len) as u64 {
        commit(&log, first).await;
    }
    while let Some(work) = mesh.receive().await {
        if told.send(commit(&log, work).await).is_err() {
            break;
        }
    }
    log.close().await;
}

fn commits(criterion: &mut Criterion) {
    tell_conditions();
    let directory = directory();
    let (tell, told) = mpsc::channel();
    let path = directory.path().to_owned();
    let options = shard::Options {
        count: 1,
        ..shard::Options::default()
    };
    let make =
        move |place: shard::Place<Option<Work>>| keeper(place.mesh, path.clone(), tell.clone());
    let running = shard::run(options, make).expect("a shard starts");
    let shard = running.outside(0);
    for (durability, name) in [(Durability::Fsync, "fsync"), (Durability::Write, "write")] {
        let mut group = criterion.benchmark_group(format!("log/{name}"));
        group.sample_size(10);
        for batch in BATCHES {
            group.throughput(batch.throughput());
            group.bench_function(BenchmarkId::from_parameter(batch.name()), |bencher| {
                bencher.iter_custom(|rounds| {
                    let work = Work {
                        batch,
                        durability,
                        rounds,
                    };
                    shard.post(Some(work)).expect("the shard waits for work");
                    told.recv().expect("the shard runs")
                });
            });
        }
        group.finish();
    }
    shard.post(None).expect("the shard waits for work");
    running.join().expect("the shard ends in order");
}

/// Overwrites a file that is there already, piece by piece, and syncs each piece.
fn overwrite(file: &File, bytes: &[u8], rounds: u64) {
    let places = (REFERENCE_LEN - bytes.len()) as u64;
    for round in 0..rounds {
        let offset = round * bytes.len() as u64 % places;
        file.write_all_at(bytes, offset).expect("the disk works");
        file.sync_data().expect("the disk works");
    }
}

const REFERENCE_LEN: usize = 16 << 20;

/// The same disk without a log, and with several files side by side, as the logs of several shards are.
fn reference(criterion: &mut Criterion) {
    let directory = directory();
    let file = |number: usize| {
        let path = directory.path().join(format!("reference-{number}"));
        std::fs::write(&path, vec![b'x'; REFERENCE_LEN]).expect("room on the disk");
        let file = File::options().write(true).open(&path);
        let file = file.expect("it was just written");
        file.sync_all().expect("the disk works");
        file
    };
    let files: Vec<File> = (0..8).map(file).collect();
    let mut group = criterion.benchmark_group("log/reference: write and fdatasync");
    group.sample_size(10);
    for (len, count) in [
        (SMALL_LEN, 1),
        (SMALL_LEN, 2),
        (SMALL_LEN, 8),
        (64 * SMALL_LEN, 1),
        (64 * SMALL_LEN, 8),
    ] {
        let bytes = vec![b'y'; len];
        group.throughput(Throughput::ElementsAndBytes {
            elements: count as u64,
            bytes: (count * len) as u64,
        });
        let name = format!("{len} bytes, files: {count}");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|rounds| {
                let start = WallTime.start();
                std::thread::scope(|scope| {
                    for file in &files[..count] {
                        let bytes = &bytes;
                        scope.spawn(move || overwrite(file, bytes, rounds));
                    }
                });
                WallTime.end(start)
            });
        });
    }
    group.finish();
}

/// Headers, checksums and the copy into the batch: what a message costs the processor, whatever the disk does.
fn packing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log/packing alone");
    let label = packed::Label::now(1, 77).with_head_len(HEAD_LEN);
    for batch in BATCHES {
        let payload = vec![b'x'; batch.len];
        let mut packing = packed::Packing::new((batch.len + ROOM) * batch.count + SMALL_LEN);
        group.throughput(batch.throughput());
        group.bench_function(BenchmarkId::from_parameter(batch.name()), |bencher| {
            bencher
                .iter(|| black_box(packing.pack(&label, black_box(&payload), batch.count).len()));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = mailrail_benches::criterion();
    targets = commits, reference, packing
}
criterion_main!(benches);
