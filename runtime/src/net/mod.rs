//! Sockets of a shard. Every operation that can wait has a deadline; nothing here knows a protocol.

pub mod datagram;
pub mod inbox;
pub mod listener;
pub mod listening;
pub(crate) mod readiness;
mod socket;
pub mod stream;
