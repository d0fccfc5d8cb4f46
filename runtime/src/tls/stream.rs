//! A socket behind TLS: reads and writes clear bytes of one and records of the other.
//!
//! One read of the socket takes up to four records, and one write sends as many. What is encrypted and
//! has no room in the socket waits here: it leaves before anything else, and reading drives it too.

use super::connector::server_name;
use super::layer::Layer;
use super::{Acceptor, Connector, TlsInfo};
use crate::net::readiness::Socket;
use crate::net::stream::late;
use crate::timer::Alarm;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::task::{Context, Poll, ready};

/// One end of a TLS connection, with its socket.
pub(crate) struct Secure {
    /// Empty only while it moves in.
    socket: Option<Socket>,
    layer: Layer,
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").finish_non_exhaustive()
    }
}

impl Secure {
    pub(crate) fn server(acceptor: &Acceptor) -> io::Result<Box<Self>> {
        let session = UnbufferedServerConnection::new(acceptor.config());
        let session = session.map_err(io::Error::other)?;
        Ok(Self::around(Layer::server(session)))
    }

    pub(crate) fn client(connector: &Connector, name: &str, peer: IpAddr) -> io::Result<Box<Self>> {
        let name = server_name(name, peer);
        let session = UnbufferedClientConnection::new(connector.config(), name);
        let session = session.map_err(io::Error::other)?;
        Ok(Self::around(Layer::client(session)))
    }

    fn around(layer: Layer) -> Box<Self> {
        Box::new(Self {
            socket: None,
            layer,
        })
    }

    /// Takes over the socket on which it speaks.
    pub(crate) fn take_over(&mut self, socket: Socket) {
        self.socket = Some(socket);
    }

    pub(crate) fn socket(&self) -> &Socket {
        self.socket.as_ref().expect("the socket moved in")
    }

    /// The handshake, to its end.
    pub(crate) fn shake_hands(
        &mut self,
        deadline: u64,
    ) -> impl Future<Output = io::Result<TlsInfo>> {
        let mut alarm = Alarm::new();
        poll_fn(move |context| match self.poll_shake_hands(context) {
            Poll::Pending => late(&mut alarm, deadline, context),
            ready => ready,
        })
    }

    fn poll_shake_hands(&mut self, context: &Context<'_>) -> Poll<io::Result<TlsInfo>> {
        loop {
            let is_over = match self.layer.shake_hands() {
                Ok(is_over) => is_over,
                Err(error) => return Poll::Ready(Err(self.last_word(error))),
            };
            ready!(self.poll_flush(context))?;
            if is_over {
                self.layer.incoming.settle();
                return Poll::Ready(Ok(self.layer.info()));
            }
            if ready!(self.poll_receive(context))? == 0 {
                return Poll::Ready(Err(self.layer.truncated()));
            }
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        context: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.layer.read(into) {
                Ok(Some(count)) => return Poll::Ready(Ok(count)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(self.last_word(error))),
            }
            // An answer to the peer's TLS, or what is left of a write.
            if let Poll::Ready(Err(error)) = self.poll_flush(context) {
                return Poll::Ready(Err(error));
            }
            if ready!(self.poll_receive(context))? == 0 {
                return Poll::Ready(Err(self.layer.truncated()));
            }
        }
    }

    /// Whether reading is worth a try; of the first part of a record that is said, too.
    pub(crate) fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        match self.layer.is_idle() {
            true => self.socket().poll_readable(context),
            false => Poll::Ready(()),
        }
    }

    /// Reads what is there of the peer's records. 0 is the end of the socket's stream.
    fn poll_receive(&mut self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.layer.incoming.room();
        if room.is_empty() {
            return Poll::Ready(Err(self.layer.overlong()));
        }
        let socket = self.socket.as_ref().expect("the socket moved in");
        let result = socket.poll_read(context, room);
        match result {
            Poll::Ready(Ok(count @ 1..)) => self.layer.incoming.add(count),
            _ => self.layer.incoming.settle(),
        }
        result
    }

    /// What can be read without waiting.
    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            if let Some(count) = self.layer.read(into)? {
                return Ok(Some(count));
            }
            let socket = self.socket.as_ref().expect("the socket moved in");
            let room = self.layer.incoming.room();
            if room.is_empty() {
                return Err(self.layer.overlong());
            }
            match socket.try_read(room) {
                Ok(Some(count @ 1..)) => self.layer.incoming.add(count),
                other => {
                    self.layer.incoming.settle();
                    return match other? {
                        Some(_) => Err(self.layer.truncated()),
                        None => Ok(None),
                    };
                }
            }
        }
    }

    /// Takes of these pieces what fits into one write, once what it took before has left, and sends it
    /// as far as the socket has room: see `poll_flush`.
    pub(crate) fn poll_write(
        &mut self,
        context: &Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(context))?;
        let count = self.layer.write(parts)?;
        match self.poll_flush(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    /// Sends what was taken and has not left.
    pub(crate) fn poll_flush(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        while !self.layer.outgoing.is_empty() {
            let socket = self.socket.as_ref().expect("the socket moved in");
            let count = ready!(socket.poll_write(context, self.layer.outgoing.filled()))?;
            self.layer.outgoing.consume(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.layer.close()?;
        self.send_at_once();
        Ok(())
    }

    /// The peer is told why, if that can be done at once.
    fn last_word(&mut self, error: io::Error) -> io::Error {
        self.send_at_once();
        error
    }

    fn send_at_once(&mut self) {
        while !self.layer.outgoing.is_empty() {
            let socket = self.socket.as_ref().expect("the socket moved in");
            match socket.try_write(self.layer.outgoing.filled()) {
                Ok(Some(count)) => self.layer.outgoing.consume(count),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

impl Drop for Secure {
    /// Who goes in good order says so; what is in the middle of something is cut, and looks like it.
    fn drop(&mut self) {
        if self.socket.is_some() && self.layer.outgoing.is_empty() {
            // Nobody is left to be told of an error.
            let _ = self.close();
        }
    }
}
