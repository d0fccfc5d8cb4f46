//! How long a start takes with many messages waiting, and how much memory: the spool is filled straight
//! through the log, without a server, and opened by a process of its own.
//!
//! `cargo bench -p mailrail-benches --bench recovery -- [--messages N] [--len N] [--logs N] [--directory DIR] [--keep]`
//!
//! A million messages of 4096 bytes in two logs unless told otherwise: 4.5 GB in the directory, which
//! should lie on the disk that is to be measured. It is removed at the end, unless it is to be kept: then a
//! server with `data_dir` there and as many shards finds it.

#![expect(
    clippy::print_stdout,
    reason = "printing figures is what this program is for"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use mailrail::message::{Durability, Envelope, Flags, IdSource, META_LEN, Meta, Timestamp};
use mailrail::spool::recover::Fold;
use mailrail::spool::{Spool, in_one_chunk};
use mailrail_runtime::log::{Options, RecordView, survey};
use mailrail_runtime::{clock, shard};

const START: u64 = 1_795_508_041_000;
const DESTINATION_COUNT: u64 = 1000;
/// Messages whose commit is awaited together.
const ROUND: u64 = 256;

struct Arguments {
    messages: u64,
    len: usize,
    logs: u16,
    directory: PathBuf,
    keep: bool,
    /// What a process of its own does, and prints.
    step: Option<String>,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments {
        messages: 1_000_000,
        len: 4096,
        logs: 2,
        directory: "target/recovery".into(),
        keep: false,
        step: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .unwrap_or_else(|| panic!("{word} needs a value"))
        };
        match word.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--keep" => arguments.keep = true,
            "--messages" => arguments.messages = value().parse().expect("a number"),
            "--len" => arguments.len = value().parse().expect("a number"),
            "--logs" => arguments.logs = value().parse().expect("a number"),
            "--directory" => arguments.directory = value().into(),
            "--step" => arguments.step = Some(value()),
            _ => panic!("unknown argument {word}"),
        }
    }
    arguments
}

/// Runs `each` for every log, each on a shard of its own, and waits for all.
fn on_shards<F: Future<Output = ()> + 'static>(
    arguments: &Arguments,
    each: impl Fn(Options, u64) -> F + Send + Clone + 'static,
) {
    let (logs, messages) = (arguments.logs, arguments.messages);
    let spool = arguments.directory.join("spool");
    let options = shard::Options {
        count: usize::from(logs),
        ..shard::Options::default()
    };
    let make = move |place: shard::Place<()>| {
        let log = place.index as u16;
        let share =
            messages / u64::from(logs) + u64::from(u64::from(log) < messages % u64::from(logs));
        each(Options::new(&spool, log), share)
    };
    let running = shard::run(options, make).expect("shards start");
    running.join().expect("the shards end in order");
}

/// The bytes of a message: envelope and content, as a session would lay them out.
fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut envelope = Envelope::new();
    envelope.set_hello(b"client.example");
    envelope.set_sender(b"sender@sender.example");
    let recipient = format!("user{number}@d{}.example", number % DESTINATION_COUNT);
    assert!(envelope.add_recipient(recipient.as_bytes()));
    let mut bytes = vec![0; META_LEN];
    envelope.encode(&mut bytes);
    let meta = Meta {
        accepted: Timestamp::from_unix_millis(START + number / 10),
        durability: Durability::Fsync,
        flags: Flags::none(),
        envelope_len: (bytes.len() - META_LEN) as u32,
        content_offset: bytes.len() as u32,
        content_len: len as u32,
        received_len: 0,
    };
    bytes[..META_LEN].copy_from_slice(&meta.encode());
    bytes.extend((0..len).map(|at| b'a' + (at as u64 * 7 + number) as u8 % 26));
    bytes
}

async fn fill(options: Options, count: u64, len: usize) {
    let mut fold = Fold::new();
    let number = options.log;
    let (spool, _) = Spool::open(vec![options], &mut fold)
        .await
        .expect("the spool opens");
    let mut ids = IdSource::new(number, None);
    let mut last = None;
    for message in 0..count {
        let bytes = payload(message, len);
        let id = ids.next(Timestamp::from_unix_millis(START + message / 10));
        let room = spool.head().room(bytes.len()).await;
        room.expect("room on the disk");
        let stored = spool
            .append_message(
                id,
                in_one_chunk(std::iter::once(&bytes[..])),
                Durability::Fsync,
            )
            .expect("room was there");
        if message % ROUND == ROUND - 1 {
            spool
                .committed(id, stored.ticket)
                .await
                .expect("the disk works");
        } else {
            last = Some((id, stored.ticket));
        }
    }
    if let Some((id, ticket)) = last {
        spool.committed(id, ticket).await.expect("the disk works");
    }
    spool.close().await;
}

/// Opens the spool as a server does, and tells.
async fn open(options: Options, _: u64) {
    let from = clock::micros();
    let log = options.log;
    let mut fold = Fold::new();
    let (spool, reports) = Spool::open(vec![options], &mut fold)
        .await
        .expect("the spool opens");
    let read = clock::micros();
    let recovered = fold.finish();
    let sorted = clock::micros();
    println!(
        "  log {log}: {} messages of {} records, {} of {} segments by their index; read {} ms, sorted {} ms",
        recovered.messages.len(),
        reports[0].record_count,
        reports[0].indexed_count,
        reports[0].segment_count,
        (read - from) / 1000,
        (sorted - read) / 1000,
    );
    drop(recovered);
    spool.close().await;
}

/// Reads everything there is.
async fn read_in_full(options: Options, _: u64) {
    let from = clock::micros();
    let mut bytes = 0;
    let mut each = |record: RecordView<'_>| bytes += u64::from(record.position.len);
    survey(&options, &mut each)
        .await
        .expect("the log can be read");
    let micros = clock::micros() - from;
    println!(
        "  log {}: {} ms, {} MB/s",
        options.log,
        micros / 1000,
        bytes / micros.max(1)
    );
}

/// The most memory this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}

/// One step in a process of its own, so that its peak of memory is its own.
fn step(arguments: &Arguments, name: &str, words: &str) {
    println!("{words}");
    let status = Command::new(std::env::current_exe().expect("a program has a path"))
        .args(["--step", name, "--directory"])
        .arg(&arguments.directory)
        .args(["--messages", &arguments.messages.to_string()])
        .args(["--len", &arguments.len.to_string()])
        .args(["--logs", &arguments.logs.to_string()])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{name} failed");
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    let len = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(len).sum()
}

fn main() {
    let arguments = arguments();
    let before = peak_kib();
    let from = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    match arguments.step.as_deref() {
        None => {}
        Some("fill") => {
            let len = arguments.len;
            return on_shards(&arguments, move |options, count| fill(options, count, len));
        }
        Some(name) => {
            let clock = clock::micros();
            match name {
                "open" => on_shards(&arguments, open),
                "survey" => on_shards(&arguments, read_in_full),
                _ => panic!("unknown step {name}"),
            }
            println!(
                "  all: {} ms, peak of memory {} MiB above the {} MiB of a process that does nothing",
                (clock::micros() - clock) / 1000,
                (peak_kib() - before) / 1024,
                before / 1024,
            );
            return;
        }
    }
    let _ = std::fs::remove_dir_all(&arguments.directory);
    std::fs::create_dir_all(arguments.directory.join("spool")).expect("a directory");
    println!(
        "{} messages of {} bytes in {} logs in {}, load {}",
        arguments.messages,
        arguments.len,
        arguments.logs,
        arguments.directory.display(),
        from.trim(),
    );
    step(&arguments, "fill", "filling");
    println!("  {} MB", bytes_below(&arguments.directory) / 1_000_000);
    for _ in 0..3 {
        step(&arguments, "open", "opening, as a server does");
    }
    step(
        &arguments,
        "survey",
        "for comparison: all of it read in full",
    );
    if !arguments.keep {
        let _ = std::fs::remove_dir_all(&arguments.directory);
    }
}
