//! UDP sockets on the shard's ring: connected ones to ask with, bound ones to answer with.
//! No protocol lives here.

use glommio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd as _, IntoRawFd as _};

/// A UDP socket that talks to one peer: the kernel drops what others send to it.
pub struct Datagram {
    socket: UdpSocket,
}

impl Datagram {
    /// A fresh socket on a random port that the kernel picks, connected to `peer`.
    ///
    /// Not through glommio's `bind`: that sets SO_REUSEPORT, with which the kernel may give two
    /// sockets of ours the same port.
    pub fn connect(peer: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
        socket.connect(&peer.into())?;
        Ok(Self {
            socket: adopt(socket),
        })
    }

    /// Sends one datagram.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(bytes).await?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Waits for one datagram from the peer, at most until `deadline` (micros of `clock`):
    /// `ErrorKind::TimedOut` then.
    pub async fn receive(&self, into: &mut [u8], deadline: u64) -> io::Result<usize> {
        let _ = (into, deadline);
        unimplemented!()
    }
}

/// Hands a socket to glommio. It stays blocking on purpose: io_uring waits for readiness on a blocking
/// socket, and returns EAGAIN at once on a non-blocking one.
fn adopt(socket: Socket) -> UdpSocket {
    // SAFETY: the descriptor is open, a UDP socket, and owned by nobody else after `into_raw_fd`.
    unsafe { UdpSocket::from_raw_fd(socket.into_raw_fd()) }
}
