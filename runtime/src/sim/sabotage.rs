//! Duties of ours that can be left out on purpose, so that tests prove that the loss is noticed.
//!
//! A world leaves out what it was told to; a real process what its own program told it before anything else
//! ran ([`leave_out`]), and nobody from outside. Only builds with the feature `sim` ask at all.

use std::sync::OnceLock;

/// A duty that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Records are not synced before they are confirmed.
    CommitSync,
    /// Records are confirmed before they are written.
    WordBeforeCommit,
    /// A failed write or sync of records counts as a good one.
    FailureSeen,
    /// A new segment is not synced before it gets its name.
    PreparationSync,
    /// A segment is ended before its records are synced.
    SealSync,
    /// A directory is not synced after names in it have changed.
    DirectorySync,
    /// What an earlier process left is not synced before it is handed out.
    RecoverySync,
    /// A record is confirmed though those before it are not durable yet.
    LogOrder,
    /// Records of one segment are synced though another sync of it is under way.
    SyncsInTurn,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::CommitSync,
        Self::WordBeforeCommit,
        Self::FailureSeen,
        Self::PreparationSync,
        Self::SealSync,
        Self::DirectorySync,
        Self::RecoverySync,
        Self::LogOrder,
        Self::SyncsInTurn,
    ];

    /// Its place among those that are switched on.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Whether this duty is left out, here and now.
pub(crate) fn is_on(duty: Sabotage) -> bool {
    match super::here() {
        Some(world) => world.is_sabotaged(duty),
        None => DUTIES.get().is_some_and(|duties| duties & duty.bit() != 0),
    }
}

/// Those that this process leaves out, once and for all.
static DUTIES: OnceLock<u32> = OnceLock::new();

/// This whole process leaves these duties out, outside of worlds. For programs that are made for that, at
/// their very beginning.
///
/// # Panics
/// When it was called before.
pub fn leave_out(duties: impl IntoIterator<Item = Sabotage>) {
    let bits = duties.into_iter().fold(0, |all, duty| all | duty.bit());
    assert!(DUTIES.set(bits).is_ok(), "said once, at the beginning");
}
