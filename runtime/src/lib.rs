//! `mailrail-runtime`: shards, mailboxes, sockets, timers, DNS and the append-only log.
//!
//! It knows nothing of mail, and it is the only crate that names glommio: what the server needs of
//! tasks, timers, sockets and files it gets by the names of this crate. Everything here belongs to
//! one shard (a pinned thread with its own executor) unless its type says otherwise.

pub mod buffer;
pub mod clock;
pub mod dns;
pub mod gate;
pub mod log;
pub mod mailbox;
pub mod net;
mod random;
mod ring;
pub mod shard;
pub mod signal;
#[cfg(feature = "sim")]
pub mod sim;
pub mod timer;
pub mod tls;
