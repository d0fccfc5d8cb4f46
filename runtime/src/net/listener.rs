//! The listener: one socket a shard on a shared port.
//!
//! It accepts by itself: glommio's accept makes three more system calls and leaves the descriptor open to
//! child processes.

use super::readiness;
use super::stream::Stream;
#[cfg(feature = "sim")]
use crate::sim;
use crate::{shard, timer};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

/// Connections the kernel holds for us until we accept them.
const BACKLOG: i32 = 1024;
/// How long to wait when the machine has no descriptor or no memory for a connection.
const PAUSE_MICROS: u64 = 100_000;

/// A listening TCP socket of this shard (SO_REUSEPORT: each shard has its own on the same port, and
/// the kernel spreads the connections).
#[derive(Debug)]
pub struct Listener {
    socket: Kind,
    local: SocketAddr,
}

/// Of which world it is.
#[derive(Debug)]
enum Kind {
    Real(readiness::Socket),
    #[cfg(feature = "sim")]
    Sim(sim::net::Door),
}

impl Listener {
    /// Listens at `address`; port 0 takes a free one (see `local`).
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(world) = sim::here() {
            let (door, local) = sim::net::Door::open(&world, address)?;
            let socket = Kind::Sim(door);
            return Ok(Self { socket, local });
        }
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit it, which saves a call for each.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        let socket = Kind::Real(readiness::Socket::adopt(socket.into(), false)?);
        Ok(Self { socket, local })
    }

    /// The address it listens at.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next connection. An error here is the machine's (descriptors, memory), never a peer's; it
    /// comes after a pause, so a loop around `accept` cannot spin. Dropping the future loses nothing.
    pub async fn accept(&self) -> io::Result<Stream> {
        shard::yield_if_needed().await;
        let result = match &self.socket {
            Kind::Real(socket) => accept(socket).await,
            #[cfg(feature = "sim")]
            Kind::Sim(door) => {
                let accepted = door.accept().await;
                accepted.map(|(socket, peer)| Stream::adopt_sim(socket, peer))
            }
        };
        if result.is_err() {
            timer::sleep(PAUSE_MICROS).await;
        }
        result
    }
}

async fn accept(socket: &readiness::Socket) -> io::Result<Stream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    loop {
        poll_fn(|context| socket.poll_readable(context)).await;
        match acceptfrom_with(socket.descriptor(), flags) {
            Ok((accepted, peer)) => match peer.map(SocketAddr::try_from) {
                Some(Ok(peer)) => return Stream::adopt(accepted, peer, true),
                // It is gone again, and with it its address.
                _ => continue,
            },
            Err(Errno::AGAIN) => socket.is_empty(),
            Err(error) if is_ours(error) => return Err(error.into()),
            // The connection failed before it was accepted; the next one is another.
            Err(_) => continue,
        }
    }
}

/// Whether accepting failed for want of something here, and not because of the peer.
fn is_ours(error: Errno) -> bool {
    matches!(
        error,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::BADF | Errno::INVAL
    )
}
