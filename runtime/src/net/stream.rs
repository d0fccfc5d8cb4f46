//! The stream: a TCP connection with a deadline on every operation.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// A TCP connection of this shard. Deadlines are in `clock::micros`; `u64::MAX` is none.
#[derive(Debug)]
pub struct Stream(());

impl Stream {
    /// Connects, from `source` if one is given.
    pub async fn connect(
        _address: SocketAddr,
        _source: Option<IpAddr>,
        _deadline: u64,
    ) -> io::Result<Self> {
        unimplemented!()
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        unimplemented!()
    }

    /// This end.
    pub fn local(&self) -> io::Result<SocketAddr> {
        unimplemented!()
    }

    /// Reads what is there, up to `into.len()`; 0 is the end. Dropping the future loses nothing.
    pub async fn read(&mut self, _into: &mut [u8], _deadline: u64) -> io::Result<usize> {
        unimplemented!()
    }

    /// What can be read without waiting: `None` when nothing is there, `Some(0)` at the end.
    pub fn try_read(&mut self, _into: &mut [u8]) -> io::Result<Option<usize>> {
        unimplemented!()
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&mut self, _bytes: &[u8], _deadline: u64) -> io::Result<()> {
        unimplemented!()
    }

    /// Writes all slices, in order, by one system call when the socket has room.
    pub async fn write_slices(&mut self, _slices: &[&[u8]], _deadline: u64) -> io::Result<()> {
        unimplemented!()
    }

    /// Ends the writing direction (FIN); reading goes on.
    pub fn shut_down(&mut self) -> io::Result<()> {
        unimplemented!()
    }
}
