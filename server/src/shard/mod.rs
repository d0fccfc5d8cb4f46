//! The wiring of a whole server: shards are started, told to reload and to stop, and asked questions.
//! The only room that knows accept, queue and deliver at once; it carries what one says to the other.

mod descriptors;
mod doubt;
mod homes;
mod intake;
mod letters;
mod memory;
mod moves;
mod notes;
mod outbound;
mod senders;
mod server;
mod settle;
mod start;
mod told;
mod world;

#[cfg(feature = "sim")]
pub(crate) use homes::RING_LEN;
pub use homes::{Away, Return};
pub(crate) use letters::IN_DOUBT;
pub use letters::{Letter, Listed, Page};
pub use server::{ServeError, Server, serve};
pub(crate) use server::{logs_in, page, try_lock};
pub(crate) use start::log_options;
pub use world::Counts;
#[cfg(feature = "sim")]
pub(crate) use {
    server::{logs_among, share_logs},
    start::{Seed, Started, run},
};
