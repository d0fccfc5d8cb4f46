//! What runs came to, counted for reports. It judges nothing.

use super::{End, Ledger, Promise, Told};

/// What a run came to, for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages answered 250.
    pub accepted: u64,
    /// Copies of them.
    pub copies: u64,
    /// Copies taken by hosts.
    pub taken: u64,
    /// Copies of those taken more than once: at a crash, or where an answer was lost.
    pub duplicates: u64,
    /// Copies failed or expired.
    pub failed: u64,
    /// Lives of the server that have ended,
    pub lives: u64,
    /// those of them that were ended by force.
    pub crashes: u64,
    /// The most bytes of content and batches in memory at any time, over all shards.
    pub held_max: u64,
    /// The most beyond what content may take.
    pub held_beside_max: u64,
    /// Copies in doubt that counted as delivered.
    pub assumed: u64,
    /// Messages of which a record was damaged.
    pub rotten: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.copies += other.copies;
        self.taken += other.taken;
        self.duplicates += other.duplicates;
        self.failed += other.failed;
        self.lives += other.lives;
        self.crashes += other.crashes;
        self.held_max = self.held_max.max(other.held_max);
        self.held_beside_max = self.held_beside_max.max(other.held_beside_max);
        self.assumed += other.assumed;
        self.rotten += other.rotten;
    }
}
impl Ledger {
    /// What the run came to.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for case in &self.cases {
            tally.accepted += u64::from(matches!(case.promise, Promise::Accepted(_)));
            for copy in &case.copies {
                let taken = copy.takings.len() as u64;
                tally.copies += u64::from(matches!(case.promise, Promise::Accepted(_)));
                tally.taken += u64::from(taken > 0);
                tally.duplicates += taken.saturating_sub(1);
                tally.failed += u64::from(copy.ends.iter().any(|end| !end.2.is_delivery()));
                let assumed = copy.ends.iter().filter(|end| end.2 == Told::Assumed);
                tally.assumed += assumed.count() as u64;
            }
        }
        let crashes = self.lives.iter().filter(|life| life.1 != End::Stopped);
        tally.lives = self.lives.len() as u64;
        tally.crashes = crashes.count() as u64;
        tally.held_max = self.held_max;
        tally.held_beside_max =
            (self.held_max + self.plan.held_beside()).saturating_sub(self.plan.held_bytes_max());
        tally.rotten = self.rotten.len() as u64;
        tally
    }
}
