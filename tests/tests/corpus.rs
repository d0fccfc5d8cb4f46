//! Every file of each fuzz corpus through its target, as an ordinary test; and with each file a
//! thousand seeded changes of it, so that a compiler without a fuzzer looks a little further, too.

use mailrail_tests::server::workspace;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

#[path = "../../fuzz/targets/address.rs"]
mod address;
#[path = "../../fuzz/targets/body.rs"]
mod body;
#[path = "../../fuzz/targets/client.rs"]
mod client;
#[path = "../../fuzz/targets/client_against_server.rs"]
mod client_against_server;
#[path = "../../fuzz/targets/command.rs"]
mod command;
#[path = "../../fuzz/targets/dns_answer.rs"]
mod dns_answer;
#[path = "../../fuzz/targets/entry.rs"]
mod entry;
#[path = "../../fuzz/targets/log_recover.rs"]
mod log_recover;
#[path = "../../fuzz/targets/proxy.rs"]
mod proxy;
#[path = "../../fuzz/targets/reply.rs"]
mod reply;
#[path = "../../fuzz/targets/sasl.rs"]
mod sasl;
#[path = "../../fuzz/targets/server.rs"]
mod server;

/// Changed copies of each file.
const CHANGED_COUNT: u64 = 1000;

#[test]
fn address() {
    check("address", address::run);
}

#[test]
fn body() {
    check("body", body::run);
}

#[test]
fn client() {
    check("client", client::run);
}

#[test]
fn client_against_server() {
    // A dialogue takes milliseconds, and the engine's own property test is made of it.
    check_some("client_against_server", client_against_server::run, 30);
}

#[test]
fn command() {
    check("command", command::run);
}

#[test]
fn dns_answer() {
    check("dns_answer", dns_answer::run);
}

#[test]
fn entry() {
    check("entry", entry::run);
}

#[test]
fn log_recover() {
    check("log_recover", log_recover::run);
}

#[test]
fn proxy() {
    check("proxy", proxy::run);
}

#[test]
fn reply() {
    check("reply", reply::run);
}

#[test]
fn sasl() {
    check("sasl", sasl::run);
}

#[test]
fn server() {
    check("server", server::run);
}

#[test]
fn every_target_is_here() {
    let targets = workspace().join("fuzz/targets");
    let here = include_str!("corpus.rs");
    for file in files(targets) {
        let name = file.file_name().expect("a name").to_string_lossy();
        let path = format!("#[path = \"../../fuzz/targets/{name}\"]");
        assert!(here.contains(&path), "{name} has no test here");
    }
}

fn files(directory: PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&directory).expect("a directory");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {}", directory.display());
    files
}

fn check(target: &str, run: fn(&[u8])) {
    check_some(target, run, CHANGED_COUNT);
}

fn check_some(target: &str, run: fn(&[u8]), changed_count: u64) {
    let files = files(workspace().join("fuzz/corpus").join(target));
    let seeds: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).expect("a file"))
        .collect();
    for (file, seed) in files.iter().zip(&seeds) {
        let name = file.strip_prefix(workspace()).expect("below the workspace");
        named(run, seed, || format!("{}", name.display()));
        // Long files are slow, and most of their bytes are alike.
        for number in 0..changed_count / (1 + seed.len() as u64 / 1024) {
            let changed = change(seed, &seeds, number);
            named(run, &changed, || {
                format!("{}, change {number}", name.display())
            });
        }
    }
}

/// Runs the target, and names its input when that fails.
fn named(run: fn(&[u8]), bytes: &[u8], name: impl FnOnce() -> String) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(bytes))) {
        eprintln!("the input was {}", name());
        resume_unwind(panic);
    }
}

/// The same number makes the same change.
fn change(seed: &[u8], seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut state = number + 1;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let mut bytes = seed.to_vec();
    for _ in 0..=random(4) {
        let at = random(bytes.len() + 1);
        match random(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random(8),
            1 if at < bytes.len() => bytes[at] = random(256) as u8,
            2 => bytes.insert(at, b"\r\n.\0 <>-\xff\x80"[random(10)]),
            3 => drop(bytes.drain(at..(at + random(8)).min(seed.len().min(bytes.len())).max(at))),
            4 => bytes.truncate(at),
            _ => {
                let other = &seeds[random(seeds.len())];
                let from = random(other.len() + 1);
                let end = (from + random(40)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
    bytes
}
