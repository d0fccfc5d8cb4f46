//! The listener: one socket a shard on a shared port.

use super::stream::Stream;
use std::io;
use std::net::SocketAddr;

/// A listening TCP socket of this shard (SO_REUSEPORT: each shard has its own on the same port).
#[derive(Debug)]
pub struct Listener(());

impl Listener {
    /// Listens at `address`; port 0 takes a free one (see `local`).
    pub fn bind(_address: SocketAddr) -> io::Result<Self> {
        unimplemented!()
    }

    /// The address it listens at.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        unimplemented!()
    }

    /// The next connection. An error here is the machine's (descriptors, memory), never a peer's;
    /// after one, `accept` waits a moment by itself, so a loop around it cannot spin.
    pub async fn accept(&self) -> io::Result<Stream> {
        unimplemented!()
    }
}
