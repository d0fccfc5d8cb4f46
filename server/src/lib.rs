//! `mailrail`: the mail transfer agent: accept, spool, queue, deliver, events.

pub mod accept;
pub mod admin;
pub mod cli;
pub mod config;
pub mod deliver;
pub mod demo;
pub mod dsn;
pub mod events;
pub mod message;
pub mod queue;
pub mod shard;
#[cfg(feature = "sim")]
pub mod sim;
pub mod spool;
