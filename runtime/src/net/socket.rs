//! What is done with a connected socket: reading and writing, tried when it may succeed.
//!
//! Whether it may is `readiness`' knowledge; deadlines and TLS are built on this, in `stream` and `tls`.

use super::readiness::Socket;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

/// A peer that is gone is an error of the call, and no signal.
const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

impl Socket {
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        Ok(rustix::net::getsockname(self.descriptor())?.try_into()?)
    }

    /// Ready when the connection stands: then there is room, or the socket knows why it does not.
    pub(crate) fn poll_connected(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_writable(context));
        let failure = rustix::net::sockopt::socket_error(self.descriptor())?;
        Poll::Ready(failure.map_err(Into::into))
    }

    /// What can be read without waiting: `None` when nothing is there, `Some(0)` at the end.
    pub(crate) fn try_read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::net::recv(self.descriptor(), into, RecvFlags::DONTWAIT) {
            Ok((_, count)) => Ok(Some(count)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What can be written without waiting: `None` when there is no room.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match rustix::net::send(self.descriptor(), bytes, SEND_FLAGS) {
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn poll_read(
        &self,
        context: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(context));
            match rustix::net::recv(self.descriptor(), &mut *into, RecvFlags::DONTWAIT) {
                Ok((_, count)) => {
                    if count > 0 && count < into.len() {
                        self.is_drained();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => self.is_empty(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// One datagram, and who sent it. Behind it there may be another one.
    pub(crate) fn poll_receive(
        &self,
        context: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, Option<SocketAddr>)>> {
        loop {
            ready!(self.poll_readable(context));
            match rustix::net::recvfrom(self.descriptor(), &mut *into, RecvFlags::DONTWAIT) {
                Ok((count, _, from)) => {
                    let from = from.and_then(|from| from.try_into().ok());
                    return Poll::Ready(Ok((count, from)));
                }
                Err(Errno::AGAIN) => self.is_empty(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    pub(crate) fn poll_write(
        &self,
        context: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, || {
            rustix::net::send(self.descriptor(), bytes, SEND_FLAGS)
        })
    }

    /// Writes some of the parts' bytes, in order, by one system call.
    pub(crate) fn poll_write_parts(
        &self,
        context: &Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, || {
            let mut nothing = SendAncillaryBuffer::default();
            rustix::net::sendmsg(self.descriptor(), parts, &mut nothing, SEND_FLAGS)
        })
    }

    fn poll_send(
        &self,
        context: &Context<'_>,
        send: impl Fn() -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_writable(context));
            match send() {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(Errno::AGAIN) => self.is_full(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Ends the writing direction (FIN); reading goes on.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.descriptor(), Shutdown::Write)?)
    }
}
