//! `mailrail-runtime`: shards, mailboxes, sockets, timers, DNS and the append-only log.
//! It knows nothing of mail.

pub mod buffer;
pub mod clock;
pub mod dns;
pub mod gate;
pub mod log;
pub mod mailbox;
pub mod net;
pub mod shard;
pub mod signal;
pub mod timer;
