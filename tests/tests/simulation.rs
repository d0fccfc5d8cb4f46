//! Whole servers in a seeded world: nothing is lost, nothing is invented, and everything ends.
//!
//! A seed decides all: what is sent, to whom and how, what the next hosts, the network and the disk do, and
//! when the server is killed or loses its power. `SIM_SEEDS=100000 SIM_FIRST=0 cargo test --release
//! -p mailrail-tests --test simulation any_seed` runs many; `SIM_STORY=1` tells in words what happens.

use mailrail_runtime::sim::Sabotage;
use mailrail_tests::server::workspace;
use mailrail_tests::sim::{Run, Tally, run};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Seeds that are run where nobody asks for more.
const SEED_COUNT: u64 = 200;
/// Failing seeds that are told of, each.
const TOLD_MAX: usize = 20;
/// Within so many seeds a missing duty has to be noticed.
const NOTICED_WITHIN: u64 = 1000;

fn setting(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok();
    given.map(|given| given.parse().expect("a number"))
}

fn thread_count() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    setting("SIM_THREADS").unwrap_or(cores)
}

/// Calls `each` for all seeds, on all cores, until it is content.
fn on_all_cores(seeds: &[u64], each: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..thread_count() {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(seed) = seeds.get(at) else { return };
                    if each(*seed) {
                        is_over.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

/// Runs seeds, each twice if it is to prove that it repeats itself; the failing ones are an error.
fn check(seeds: &[u64], is_twice: bool) {
    let has_story = setting("SIM_STORY").is_some();
    let (told, failures) = std::sync::mpsc::channel();
    let began = mailrail_runtime::clock::micros();
    on_all_cores(seeds, |seed| {
        let mut first = run(seed, None, has_story);
        if is_twice {
            let second = run(seed, None, has_story);
            if first.hash != second.hash {
                let what = format!("hash {:x}, and then {:x}", first.hash, second.hash);
                first.problems.push(what);
            }
        }
        if has_story {
            eprintln!("seed {seed}\n{}", first.story);
        }
        told.send((seed, first)).is_err()
    });
    drop(told);
    let mut tally = Tally::default();
    let mut failed: BTreeMap<u64, Run> = BTreeMap::new();
    for (seed, run) in failures {
        tally.add(&run.tally);
        if !run.problems.is_empty() {
            failed.insert(seed, run);
        }
    }
    let seconds = (mailrail_runtime::clock::micros() - began) as f64 / 1e6;
    eprintln!(
        "{} seeds in {seconds:.1} s, {} failed; {tally:?}",
        seeds.len(),
        failed.len()
    );
    for (seed, run) in failed.iter().take(TOLD_MAX) {
        eprintln!(
            "seed {seed} fails; again, in words: SIM_STORY=1 SIM_SEEDS=1 SIM_FIRST={seed} \
             cargo test --release -p mailrail-tests --test simulation any_seed"
        );
        for problem in run.problems.iter().take(5) {
            eprintln!("    {problem}");
        }
    }
    let seeds: Vec<u64> = failed.into_keys().collect();
    assert!(
        seeds.is_empty(),
        "failing seeds, for tests/seeds.txt: {seeds:?}"
    );
}

#[test]
fn any_seed() {
    let first = setting("SIM_FIRST").unwrap_or(0);
    let count = setting("SIM_SEEDS");
    let seeds: Vec<u64> = (first..first + count.unwrap_or(SEED_COUNT)).collect();
    check(&seeds, count.is_none());
}

/// Seeds that failed once.
#[test]
fn seeds_of_the_past() {
    let path = workspace().join("tests/seeds.txt");
    let text = std::fs::read_to_string(path).expect("the list of seeds");
    let seed = |line: &str| {
        let word = line.split('#').next().unwrap_or_default().trim();
        (!word.is_empty()).then(|| word.parse().expect("a seed a line"))
    };
    let seeds: Vec<u64> = text.lines().filter_map(seed).collect();
    check(&seeds, true);
}

/// Leaves out a duty, and looks for the first seed in which that is noticed.
fn noticed(duty: Sabotage) -> Option<(u64, Run)> {
    let seeds: Vec<u64> = (0..NOTICED_WITHIN).collect();
    let (told, found) = std::sync::mpsc::channel();
    on_all_cores(&seeds, |seed| {
        let run = run(seed, Some(duty), false);
        let is_noticed = !run.problems.is_empty();
        if is_noticed {
            let _ = told.send((seed, run));
        }
        is_noticed
    });
    drop(told);
    found.iter().min_by_key(|(seed, _)| *seed)
}

#[test]
fn a_commit_without_its_sync_is_noticed() {
    let (seed, run) = noticed(Sabotage::CommitSync).expect("a seed that notices it");
    eprintln!("noticed by seed {seed}: {}", run.problems[0]);
    let is_loss = run.problems.iter().any(|problem| problem.contains("lost"));
    assert!(is_loss, "{:?}", run.problems);
}

/// Duties whose absence the simulation of whole servers notices, beside that of the commit's sync. The
/// others are noticed by the simulation of logs alone.
#[test]
#[ignore = "some minutes without optimisation"]
fn each_missing_duty_is_noticed() {
    let mut unnoticed = Vec::new();
    for duty in Sabotage::ALL {
        match noticed(duty) {
            Some((seed, run)) => eprintln!("{duty:?}: seed {seed}, {}", run.problems[0]),
            None => unnoticed.push(duty),
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
