//! The pure rooms of server and runtime, compiled alone from the very sources, and the routines whose instructions
//! are counted. Sockets, disks and clocks cannot be here, so the build takes seconds instead of minutes.
//!
//! What the counts are compared with is not known here: see `benches/src/instructions.rs`.

/// Of the runtime's buffers, what the record format asks for.
mod buffer {
    pub(crate) const ALIGNMENT: usize = 4096;

    pub(crate) const fn align_up(len: usize) -> usize {
        len.next_multiple_of(ALIGNMENT)
    }
}

#[path = "../../src/content.rs"]
pub mod content;
pub mod log;
#[path = "../../../server/src/message/mod.rs"]
pub mod message;
#[path = "../../../server/src/queue/mod.rs"]
pub mod queue;

mod protocol;
mod routine;
mod server;

pub use routine::{ROUTINES, Routine};
