//! What the benchmarks share: the conditions they run under, what they feed, a decoder to be compared with, and
//! the counts of instructions that are kept. Nothing is measured here.

pub mod content;
pub mod instructions;
pub mod naive;

use criterion::Criterion;
use std::time::Duration;

/// Short enough that all of them together take some two minutes, on a machine that others use too.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(400))
}

/// Tells on stderr what the figures depend on.
pub fn tell_conditions() {
    eprintln!(
        "conditions: {}; memchr takes {}; built for {}",
        processor(),
        memchr_vectors(),
        target_features(),
    );
}

/// Which vectors memchr's searches take, which is how one sees whether its `std` is on: without it,
/// it knows only what the build was allowed to use.
fn memchr_vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let at_build = cfg!(target_feature = "avx2");
        match memchr::arch::x86_64::avx2::memchr::One::is_available() {
            true if at_build => "AVX2, by the build's own features",
            true => "AVX2, found at run time: `std` is on",
            false => "SSE2: `std` is off, or the processor has no AVX2",
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        "what this architecture has"
    }
}

fn target_features() -> &'static str {
    match (cfg!(target_feature = "avx2"), cfg!(target_feature = "sse2")) {
        (true, _) => "AVX2",
        (_, true) => "SSE2",
        _ => std::env::consts::ARCH,
    }
}

fn processor() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(": ")?.1.to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
