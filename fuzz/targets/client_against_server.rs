//! The engine's two sides talk to each other, and believe the same of every message in the end. The
//! harness is that of the engine's own property test: a crate stands alone, tests and all.

#[path = "../../protocol/tests/pair/mod.rs"]
mod pair;

/// A tape of choices: settings, messages, answers, cuts.
pub(crate) fn run(octets: &[u8]) {
    pair::run(octets);
}
