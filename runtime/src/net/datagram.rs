//! UDP sockets: connected ones to ask with, bound ones to answer with.
//! No protocol lives here.

#![cfg_attr(
    not(feature = "sim"),
    allow(
        clippy::infallible_destructuring_match,
        reason = "a socket is of one kind here, and of two beside a seeded world"
    )
)]

use super::readiness;
use super::stream::late;
use crate::clock;
use crate::shard::courtesy;
#[cfg(feature = "sim")]
use crate::sim;
#[cfg(feature = "sim")]
use crate::timer;
use crate::timer::Alarm;
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, Socket, Type};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

/// A UDP socket that talks to one peer: the kernel drops what others send to it.
#[derive(Debug)]
pub struct Datagram {
    socket: Kind,
}

/// Of which world a socket is.
#[derive(Debug)]
enum Kind {
    Real(readiness::Socket),
    #[cfg(feature = "sim")]
    Sim(sim::net::Letterbox),
}

impl Datagram {
    /// A fresh socket on a random port that the kernel picks, connected to `peer`.
    pub fn connect(peer: SocketAddr) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(world) = sim::here() {
            let letterbox = sim::net::Letterbox::open(&world, None, Some(peer))?;
            let socket = Kind::Sim(letterbox);
            return Ok(Self { socket });
        }
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
        socket.connect(&peer.into())?;
        let socket = Kind::Real(readiness::Socket::adopt(socket.into(), true)?);
        Ok(Self { socket })
    }

    /// Sends one datagram.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let socket = match &self.socket {
            Kind::Real(socket) => socket,
            #[cfg(feature = "sim")]
            Kind::Sim(letterbox) => return letterbox.send(bytes, None),
        };
        let sent = poll_fn(|context| socket.poll_write(context, bytes)).await?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Waits for one datagram from the peer, at most until `deadline` (micros of `clock`):
    /// `ErrorKind::TimedOut` then. What is longer than `into` is cut off.
    pub async fn receive(&self, into: &mut [u8], deadline: u64) -> io::Result<usize> {
        if deadline <= clock::micros() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let socket = match &self.socket {
            Kind::Real(socket) => socket,
            #[cfg(feature = "sim")]
            Kind::Sim(letterbox) => {
                let received = poll_fn(|context| letterbox.poll_receive(context, into));
                let late = |_| io::Error::from(io::ErrorKind::TimedOut);
                let received = timer::until(deadline, received).await.map_err(late)?;
                return received.map(|(len, _)| len);
            }
        };
        let mut alarm = Alarm::new();
        poll_fn(|context| {
            if let Poll::Ready(received) = receive(socket, context, into) {
                return Poll::Ready(received.map(|(len, _)| len));
            }
            let late = ready!(late(&mut alarm, deadline, context));
            // What came since the shard last looked at its sockets counts.
            socket.doubt();
            match receive(socket, context, into) {
                Poll::Ready(received) => Poll::Ready(received.map(|(len, _)| len)),
                Poll::Pending => Poll::Ready(late),
            }
        })
        .await
    }
}

/// A UDP socket that takes datagrams from anyone.
#[derive(Debug)]
pub struct Bound(BoundKind);

#[derive(Debug)]
enum BoundKind {
    Real(readiness::Socket),
    #[cfg(feature = "sim")]
    Sim(sim::net::Letterbox),
}

impl Bound {
    /// Takes the port of `address`; port 0: a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(world) = sim::here() {
            let letterbox = sim::net::Letterbox::open(&world, Some(address), None)?;
            return Ok(Self(BoundKind::Sim(letterbox)));
        }
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        let socket = readiness::Socket::adopt(socket.into(), true)?;
        Ok(Self(BoundKind::Real(socket)))
    }

    /// Its own address.
    pub fn local(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            BoundKind::Real(socket) => socket.local(),
            #[cfg(feature = "sim")]
            BoundKind::Sim(letterbox) => Ok(letterbox.local()),
        }
    }

    /// Waits for one datagram. What is longer than `into` is cut off.
    pub async fn receive(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match &self.0 {
            BoundKind::Real(socket) => {
                let (len, from) = poll_fn(|context| receive(socket, context, into)).await?;
                Ok((len, from.ok_or(io::ErrorKind::InvalidData)?))
            }
            #[cfg(feature = "sim")]
            BoundKind::Sim(letterbox) => {
                poll_fn(|context| letterbox.poll_receive(context, into)).await
            }
        }
    }

    /// Sends one datagram now or, when the socket is full, not at all: `ErrorKind::WouldBlock`.
    pub fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = match &self.0 {
            BoundKind::Real(socket) => socket,
            #[cfg(feature = "sim")]
            BoundKind::Sim(letterbox) => return letterbox.send(bytes, Some(to)),
        };
        let sent = rustix::net::sendto(socket.descriptor(), bytes, SendFlags::DONTWAIT, &to)?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

/// One datagram, if one is there.
fn receive(
    socket: &readiness::Socket,
    context: &Context<'_>,
    into: &mut [u8],
) -> Poll<io::Result<(usize, Option<SocketAddr>)>> {
    let received = socket.poll_receive(context, into);
    if received.is_ready() {
        courtesy::is_due();
    }
    received
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::run_one;

    #[test]
    fn there_and_back() {
        run_one(async {
            let server = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let client = Datagram::connect(server.local().unwrap()).unwrap();
            client.send(b"question").await.unwrap();
            let mut buffer = [0; 16];
            let (len, from) = server.receive(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..len], b"question");
            server.try_send(b"answer", from).unwrap();
            let len = client.receive(&mut buffer, clock::NEVER).await.unwrap();
            assert_eq!(&buffer[..len], b"answer");
        })
        .unwrap();
    }

    #[test]
    fn the_deadline_ends_the_wait_and_the_socket_goes_on() {
        run_one(async {
            let server = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let client = Datagram::connect(server.local().unwrap()).unwrap();
            let mut buffer = [0; 16];
            let late = client
                .receive(&mut buffer, clock::after(2_000))
                .await
                .unwrap_err();
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
            let late = client.receive(&mut buffer, 0).await.unwrap_err();
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
            client.send(b"x").await.unwrap();
            let (_, from) = server.receive(&mut buffer).await.unwrap();
            server.try_send(b"y", from).unwrap();
            assert_eq!(client.receive(&mut buffer, clock::NEVER).await.unwrap(), 1);
        })
        .unwrap();
    }

    #[test]
    fn nobody_there_is_an_error_not_a_wait() {
        run_one(async {
            let gone = Bound::bind("127.0.0.1:0".parse().unwrap())
                .unwrap()
                .local()
                .unwrap();
            let client = Datagram::connect(gone).unwrap();
            client.send(b"x").await.unwrap();
            let error = client
                .receive(&mut [0; 16], clock::NEVER)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        })
        .unwrap();
    }

    #[test]
    fn strangers_are_not_heard() {
        run_one(async {
            let server = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let stranger = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let client = Datagram::connect(server.local().unwrap()).unwrap();
            client.send(b"x").await.unwrap();
            let mut buffer = [0; 16];
            let (_, from) = server.receive(&mut buffer).await.unwrap();
            stranger.try_send(b"forged", from).unwrap();
            server.try_send(b"true", from).unwrap();
            let len = client.receive(&mut buffer, clock::NEVER).await.unwrap();
            assert_eq!(&buffer[..len], b"true");
        })
        .unwrap();
    }
}
