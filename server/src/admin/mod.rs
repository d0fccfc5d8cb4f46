//! Questions to a running or a stopped server: what is in the queue?
//!
//! A running server answers page by page over a Unix socket in its data directory, on a thread of its
//! own, so that no answer ever holds a shard up. A stopped one's spool is read under its lock.

mod client;
mod offline;
mod row;
mod socket;
mod spool;

pub use client::{QueueError, queue};
pub(crate) use offline::each_recipient;
pub use socket::Listener;
pub use spool::{Question, SpoolError, spool};
