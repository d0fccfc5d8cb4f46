//! How fast the log takes records, and what one costs: N tasks, each appends, awaits its commit, again.
//!
//! `cargo run --release -p mailrail-runtime --example log_append -- [--tasks N] [--records N] [--len N]
//! [--chunks] [--durability fsync|write|memory] [--directory DIR] [--segment-mib N] [--think-us N]
//! [--in-flight N] [--head N] [--index-kib N]`
//!
//! The directory should lie on the disk that is to be measured; it is made anew and removed.

#![expect(
    clippy::print_stdout,
    reason = "printing figures is what this program is for"
)]

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use mailrail_runtime::buffer::{ChunkMut, ChunkSize};
use mailrail_runtime::log::{Durability, Label, Log, Message, Options, ROOM};
use mailrail_runtime::{clock, shard, timer};

#[derive(Clone)]
struct Arguments {
    tasks: u64,
    records: u64,
    len: usize,
    chunks: bool,
    durability: Durability,
    directory: PathBuf,
    segment_mib: u32,
    think_us: u64,
    in_flight: usize,
    head: u32,
    index_kib: u32,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments {
        tasks: 50,
        records: 200_000,
        len: 4096,
        chunks: false,
        durability: Durability::Fsync,
        directory: "target/log_append".into(),
        segment_mib: 64,
        think_us: 0,
        in_flight: 2,
        head: 200,
        index_kib: 8192,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--chunks" {
            arguments.chunks = true;
            continue;
        }
        let value = words
            .next()
            .unwrap_or_else(|| panic!("{word} needs a value"));
        let number = || {
            value
                .parse::<u64>()
                .unwrap_or_else(|_| panic!("{word} {value}: not a number"))
        };
        match word.as_str() {
            "--tasks" => arguments.tasks = number(),
            "--records" => arguments.records = number(),
            "--len" => arguments.len = number() as usize,
            "--segment-mib" => arguments.segment_mib = number() as u32,
            "--think-us" => arguments.think_us = number(),
            "--in-flight" => arguments.in_flight = number() as usize,
            "--head" => arguments.head = number() as u32,
            "--index-kib" => arguments.index_kib = number() as u32,
            "--directory" => arguments.directory = PathBuf::from(&value),
            "--durability" => {
                arguments.durability = match value.as_str() {
                    "fsync" => Durability::Fsync,
                    "write" => Durability::Write,
                    "memory" => Durability::Memory,
                    _ => panic!("--durability is fsync, write or memory"),
                }
            }
            _ => panic!("unknown argument {word}"),
        }
    }
    arguments
}

/// A payload as a session would hold it.
fn message(len: usize) -> Message {
    let mut left = (ROOM + len).saturating_sub(ChunkSize::Small.bytes());
    let mut further = Vec::new();
    while left > 0 {
        further.push(ChunkMut::new(ChunkSize::Large));
        left = left.saturating_sub(ChunkSize::Large.bytes());
    }
    Message::new(ChunkMut::new(ChunkSize::Small), further, len)
}

async fn append(log: &Log, arguments: &Arguments, id: u64, payload: &[u8]) {
    let label = Label {
        durability: arguments.durability,
        ..Label::now(1, id).with_head_len(arguments.head)
    };
    log.room(arguments.len).await.expect("room");
    let ticket = if arguments.chunks {
        log.append_chunks(label, message(arguments.len))
            .expect("room was there")
            .ticket
    } else {
        log.append_copied(label, &[payload])
            .expect("room was there")
            .ticket
    };
    log.committed(ticket).await.expect("the disk works");
}

async fn measure(arguments: Rc<Arguments>) {
    let options = Options {
        segment_len: arguments.segment_mib << 20,
        reserve_len: (8 << 20).min(arguments.segment_mib << 18),
        in_flight_max: arguments.in_flight,
        index_len_max: arguments.index_kib << 10,
        ..Options::new(&arguments.directory, 1)
    };
    let (log, _) = Log::open(options, &mut |_| {})
        .await
        .expect("the log opens");
    // The steady state: spare segments are there.
    log.room((arguments.segment_mib << 19) as usize)
        .await
        .expect("room");

    let payload: Rc<[u8]> = (0..arguments.len).map(|at| at as u8).collect();
    let next = Rc::new(Cell::new(0));
    let latencies = Rc::new(RefCell::new(Vec::with_capacity(arguments.records as usize)));
    let before = (clock::micros(), cpu_micros());
    let tasks: Vec<_> = (0..arguments.tasks)
        .map(|task| {
            let mut random = task;
            let (log, arguments, payload) = (log.clone(), arguments.clone(), payload.clone());
            let (next, latencies) = (next.clone(), latencies.clone());
            shard::spawn(shard::Lane::Accept, async move {
                while next.get() < arguments.records {
                    if arguments.think_us > 0 {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        timer::sleep((random >> 33) % (2 * arguments.think_us)).await;
                    }
                    next.set(next.get() + 1);
                    let start = clock::micros();
                    append(&log, &arguments, next.get(), &payload).await;
                    latencies
                        .borrow_mut()
                        .push((clock::micros() - start) as u32);
                    while log.segments().count > 3 {
                        log.free_oldest();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    let wall = clock::micros() - before.0;
    let cpu = cpu_micros() - before.1;
    let stats = log.stats();
    let mut latencies = latencies.take();
    latencies.sort_unstable();
    let at = |of_100: usize| latencies[(latencies.len() - 1) * of_100 / 100];
    println!(
        "{:5} tasks {:7} records/s {:6.1} us CPU each, {:7} commits of {:5.1} records, wait p50 {:5} us p99 {:5} us",
        arguments.tasks,
        stats.record_count * 1_000_000 / wall,
        cpu as f64 / stats.record_count as f64,
        stats.flight_count,
        stats.record_count as f64 / stats.flight_count as f64,
        at(50),
        at(99),
    );
    log.close().await;
}

fn cpu_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

fn main() {
    let arguments = arguments();
    let _ = std::fs::remove_dir_all(&arguments.directory);
    println!(
        "{} records of {} bytes, {}, {:?}, in {}, segments of {} MiB, {} in flight, {} us between, one shard, {} cores, load {}",
        arguments.records,
        arguments.len,
        if arguments.chunks {
            "from chunks"
        } else {
            "copied"
        },
        arguments.durability,
        arguments.directory.display(),
        arguments.segment_mib,
        arguments.in_flight,
        arguments.think_us,
        std::thread::available_parallelism().map_or(0, usize::from),
        std::fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .trim(),
    );
    let options = shard::Options {
        count: 1,
        ..shard::Options::default()
    };
    let shared = arguments.clone();
    let make = move |_: shard::Place<()>| measure(Rc::new(shared.clone()));
    let running = shard::run(options, make).expect("a shard starts");
    let rescues = running.rescue_count();
    running.join().expect("the shard ends in order");
    println!("{} rescues of a sleeping shard", rescues.get());
    let _ = std::fs::remove_dir_all(&arguments.directory);
}
