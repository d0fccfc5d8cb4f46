//! One life of a process, as far as a log on disk can tell: when it has ended, nothing of it acts any more.
//!
//! A shard's helper thread outlives it by what it was last given, and a rename that comes after the next
//! life has begun is nothing that a crash can do.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use mailrail_runtime::shard;

/// Runs `future` on a shard of this thread, and waits until the shard's helper thread is gone or has nothing to do
/// (what a life left in the middle of an order keeps the thread waiting for more).
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    static LIVES: AtomicU32 = AtomicU32::new(0);
    let before = own_name();
    // A thread without a name of its own has that of the thread which started it.
    let name = format!("life-{}", LIVES.fetch_add(1, Ordering::Relaxed));
    set_name(&name);
    let output = shard::run_one(future).expect("a shard starts");
    set_name(&before);
    while states().any(|(other, state)| other == name && state != "S") {
        std::thread::yield_now();
    }
    output
}

fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    name.trim_end().into()
}

fn set_name(name: &str) {
    std::fs::write("/proc/thread-self/comm", name).unwrap();
}

/// The names of this process's threads, and what each does.
fn states() -> impl Iterator<Item = (String, String)> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        Some((name.into(), rest.split(' ').next()?.into()))
    })
}
