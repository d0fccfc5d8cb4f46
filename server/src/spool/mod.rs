//! The spool: what the log holds for the queue, record by record, and how it is found again after a restart.

pub mod entry;
mod marks;
pub mod recover;
mod store;

pub use marks::highest_among;
pub use store::{Found, LoadError, Spool, in_one_chunk, place_of};
