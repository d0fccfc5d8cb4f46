//! Whole servers in a seeded world: what happens is planned by a seed, carried out by the servers' own
//! code on simulated machines, noted in a ledger, and judged at the end.
//!
//! * `plan`: everything that a seed decides before it begins. Pure.
//! * `mail`: the messages, byte for byte. Pure.
//! * `ledger`: what happened, in its order, and the judgement. Pure.
//! * `segment`: which records of a segment a damaged byte belongs to. Pure.
//! * `sender`: clients of all manners.
//! * `sink`: the next hosts, in all their moods.
//! * `scenario`: a run of a seed from its beginning to its end.

pub mod ledger;
pub mod mail;
pub mod plan;
mod scenario;
mod segment;
mod sender;
mod sink;

pub use ledger::Tally;
pub use scenario::{Run, run};
