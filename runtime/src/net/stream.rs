//! The stream: a TCP connection with a deadline on every operation.
//!
//! An operation is tried at once and costs no timer if it succeeds; only one that has to wait arms an
//! alarm. The futures are small structs and not `async fn`s, because a session holds one while it
//! waits and ten thousand sessions wait. No buffers live here (see `inbox`), and no protocol.

#![cfg_attr(
    not(feature = "sim"),
    allow(
        clippy::infallible_destructuring_match,
        reason = "a socket is of one kind here, and of two beside a seeded world"
    )
)]

use super::readiness;
use crate::shard::courtesy;
#[cfg(feature = "sim")]
use crate::sim;
#[cfg(feature = "sim")]
use crate::timer;
use crate::timer::Alarm;
use crate::tls::stream::Secure;
use crate::tls::{Acceptor, Connector, TlsInfo};
use socket2::{Domain, Protocol, Socket, Type};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How many slices one system call takes; more are written by several.
const SLICES_MAX: usize = 16;

/// A TCP connection of this shard. Dropping it closes it. Deadlines are in `clock::micros`; `u64::MAX`
/// is none. What is possible at once succeeds even after its deadline.
#[derive(Debug)]
pub struct Stream {
    socket: Kind,
    peer: SocketAddr,
}

/// Of which world it is.
#[derive(Debug)]
enum Kind {
    Real(readiness::Socket),
    /// It has become a TLS connection. Boxed: those without TLS do not pay for it.
    Secure(Box<Secure>),
    #[cfg(feature = "sim")]
    Sim(sim::net::Socket),
}

impl Stream {
    /// Takes over a connected or connecting socket; Nagle's delay is the caller's to switch off.
    pub(super) fn adopt(socket: OwnedFd, peer: SocketAddr, is_connected: bool) -> io::Result<Self> {
        let socket = Kind::Real(readiness::Socket::adopt(socket, is_connected)?);
        Ok(Self { socket, peer })
    }

    #[cfg(feature = "sim")]
    pub(super) fn adopt_sim(socket: sim::net::Socket, peer: SocketAddr) -> Self {
        let socket = Kind::Sim(socket);
        Self { socket, peer }
    }

    /// The end of a connection of a seeded world that it is, if it is one.
    #[cfg(feature = "sim")]
    pub(crate) fn in_world(&self) -> Option<&sim::net::Socket> {
        match &self.socket {
            Kind::Real(_) | Kind::Secure(_) => None,
            Kind::Sim(socket) => Some(socket),
        }
    }

    /// Connects, from `source` if one is given. A refusal is an error here, not at the first read.
    pub async fn connect(
        address: SocketAddr,
        source: Option<IpAddr>,
        deadline: u64,
    ) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(world) = sim::here() {
            let attempt = sim::net::connect(world, address, source);
            let connected = timer::until(deadline, attempt).await;
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            return Ok(Self::adopt_sim(connected.map_err(late)??, address));
        }
        let mut stream = Self::start(address, source)?;
        stream.connected(deadline).await?;
        Ok(stream)
    }

    /// A socket on its way to being connected. glommio's own connect cannot bind a source.
    fn start(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            bind_address_no_port(&socket)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => Self::adopt(socket.into(), address, true),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                Self::adopt(socket.into(), address, false)
            }
            Err(error) => Err(error),
        }
    }

    fn connected(&mut self, deadline: u64) -> impl Future<Output = io::Result<()>> {
        let mut alarm = Alarm::new();
        std::future::poll_fn(move |context| {
            let connected = match &self.socket {
                Kind::Real(socket) => socket.poll_connected(context),
                _ => Poll::Ready(Ok(())),
            };
            match connected {
                Poll::Pending => late(&mut alarm, deadline, context),
                ready => ready,
            }
        })
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This end.
    pub fn local(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Kind::Real(socket) => socket.local(),
            Kind::Secure(secure) => secure.socket().local(),
            #[cfg(feature = "sim")]
            Kind::Sim(socket) => Ok(socket.local()),
        }
    }

    /// Reads what is there, up to `into.len()` bytes; 0 is the end of the stream, `TimedOut` the
    /// deadline. Dropping the future loses nothing.
    pub fn read<'s>(&'s mut self, into: &'s mut [u8], deadline: u64) -> Read<'s> {
        debug_assert!(!into.is_empty(), "reading nothing looks like the end");
        Read {
            stream: self,
            into,
            deadline,
            alarm: Alarm::new(),
        }
    }

    /// Waits until reading is worth a try, or the deadline has passed: for a caller who takes memory to read into
    /// only then. It may find nothing all the same.
    pub fn readable(&mut self, deadline: u64) -> Readable<'_> {
        Readable {
            stream: self,
            deadline,
            alarm: Alarm::new(),
        }
    }

    /// What can be read without waiting: `None` when nothing is there, `Some(0)` at the end.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match &mut self.socket {
            Kind::Real(socket) => socket.try_read(into),
            Kind::Secure(secure) => secure.try_read(into),
            #[cfg(feature = "sim")]
            Kind::Sim(socket) => socket.try_read(into),
        }
    }

    /// Writes all of `bytes`. If the future is dropped or fails, some of them may have gone.
    pub fn write_all<'s>(&'s mut self, bytes: &'s [u8], deadline: u64) -> WriteAll<'s> {
        WriteAll {
            stream: self,
            rest: bytes,
            deadline,
            alarm: Alarm::new(),
        }
    }

    /// Writes all slices, in order; one system call when there are not more than 16 and the socket
    /// has room. If the future is dropped or fails, some of the bytes may have gone.
    pub fn write_slices<'s>(
        &'s mut self,
        slices: &'s [&'s [u8]],
        deadline: u64,
    ) -> WriteSlices<'s> {
        WriteSlices {
            stream: self,
            slices,
            written: 0,
            deadline,
            alarm: Alarm::new(),
        }
    }

    /// Ends the writing direction (FIN); reading goes on.
    pub fn shut_down(&mut self) -> io::Result<()> {
        match &mut self.socket {
            Kind::Real(socket) => socket.shut_down()?,
            Kind::Secure(secure) => {
                secure.close()?;
                secure.socket().shut_down()?;
            }
            #[cfg(feature = "sim")]
            Kind::Sim(socket) => socket.shut_down(),
        }
        Ok(())
    }

    /// Becomes a TLS connection, as the server: what is read and written from now on is inside it. Nothing that
    /// was read in clear text may be taken for what came inside: the caller's inbox is empty. After an error
    /// the connection is of no use any more.
    pub async fn accept_tls(&mut self, acceptor: &Acceptor, deadline: u64) -> io::Result<TlsInfo> {
        let secure = Secure::server(acceptor)?;
        self.secure(secure)?.shake_hands(deadline).await
    }

    /// As [`Stream::accept_tls`], as the client of a server with this name.
    pub async fn connect_tls(
        &mut self,
        connector: &Connector,
        server_name: &str,
        deadline: u64,
    ) -> io::Result<TlsInfo> {
        let secure = Secure::client(connector, server_name, self.peer.ip())?;
        self.secure(secure)?.shake_hands(deadline).await
    }

    fn secure(&mut self, secure: Box<Secure>) -> io::Result<&mut Secure> {
        if !matches!(self.socket, Kind::Real(_)) {
            let text = "TLS within TLS, or in a seeded world";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let plain = std::mem::replace(&mut self.socket, Kind::Secure(secure));
        match (&mut self.socket, plain) {
            (Kind::Secure(secure), Kind::Real(socket)) => {
                secure.take_over(socket);
                Ok(secure)
            }
            _ => unreachable!("both were looked at above"),
        }
    }

    /// Time is up for a wait: what came since the shard last looked at its sockets counts all the same, so
    /// that what is possible is never late.
    pub(super) fn look_again(&self) {
        match &self.socket {
            Kind::Real(socket) => socket.doubt(),
            Kind::Secure(secure) => secure.socket().doubt(),
            #[cfg(feature = "sim")]
            Kind::Sim(_) => {}
        }
    }

    pub(super) fn poll_read(
        &mut self,
        context: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.socket {
            Kind::Real(socket) => socket.poll_read(context, into),
            Kind::Secure(secure) => secure.poll_read(context, into),
            #[cfg(feature = "sim")]
            Kind::Sim(socket) => return socket.poll_read(context, into),
        };
        if result.is_ready() {
            courtesy::is_due();
        }
        result
    }

    fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        match &self.socket {
            Kind::Real(socket) => socket.poll_readable(context),
            Kind::Secure(secure) => secure.poll_readable(context),
            #[cfg(feature = "sim")]
            Kind::Sim(socket) => socket.poll_readable(context),
        }
    }

    /// What was written has left for the socket. Only TLS holds anything back, when the socket has no room.
    pub(super) fn poll_flush(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Kind::Secure(secure) => secure.poll_flush(context),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_write(&mut self, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Kind::Real(socket) => socket.poll_write(context, bytes),
            Kind::Secure(secure) => some(secure.poll_write(context, &[IoSlice::new(bytes)])),
            #[cfg(feature = "sim")]
            Kind::Sim(socket) => some(socket.poll_write(context, &[IoSlice::new(bytes)])),
        }
    }

    /// Writes some of the parts' bytes, in order, by one system call.
    fn poll_write_parts(
        &mut self,
        context: &Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Kind::Real(socket) => socket.poll_write_parts(context, parts),
            Kind::Secure(secure) => some(secure.poll_write(context, parts)),
            #[cfg(feature = "sim")]
            Kind::Sim(socket) => some(socket.poll_write(context, parts)),
        }
    }
}

/// Writing nothing of something would go on for ever.
fn some(written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    match written {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => written,
    }
}

/// Lets the kernel choose the port only when it knows the other end: a source address then has all
/// ports for each destination, not once.
fn bind_address_no_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option is read from an int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// An operation has to wait: either longer, or its deadline has passed.
pub(crate) fn late<T>(
    alarm: &mut Alarm,
    deadline: u64,
    context: &Context<'_>,
) -> Poll<io::Result<T>> {
    match alarm.is_due(deadline, context) {
        true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        false => Poll::Pending,
    }
}

/// See [`Stream::read`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Read<'s> {
    stream: &'s mut Stream,
    into: &'s mut [u8],
    deadline: u64,
    alarm: Alarm,
}

impl Future for Read<'_> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(result) = this.stream.poll_read(context, this.into) {
            return Poll::Ready(result);
        }
        let late = ready!(late(&mut this.alarm, this.deadline, context));
        this.stream.look_again();
        match this.stream.poll_read(context, this.into) {
            Poll::Pending => Poll::Ready(late),
            ready => ready,
        }
    }
}

/// See [`Stream::readable`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Readable<'s> {
    stream: &'s mut Stream,
    deadline: u64,
    alarm: Alarm,
}

impl Future for Readable<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.stream.poll_readable(context).is_ready() {
            return Poll::Ready(());
        }
        match this.alarm.is_due(this.deadline, context) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// See [`Stream::write_all`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct WriteAll<'s> {
    stream: &'s mut Stream,
    rest: &'s [u8],
    deadline: u64,
    alarm: Alarm,
}

impl Future for WriteAll<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while !this.rest.is_empty() {
            match this.stream.poll_write(context, this.rest) {
                Poll::Ready(count) => this.rest = &this.rest[count?..],
                Poll::Pending => return late(&mut this.alarm, this.deadline, context),
            }
        }
        match this.stream.poll_flush(context) {
            Poll::Pending => late(&mut this.alarm, this.deadline, context),
            ready => ready,
        }
    }
}

/// See [`Stream::write_slices`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct WriteSlices<'s> {
    pub(super) stream: &'s mut Stream,
    /// What is not written in full.
    slices: &'s [&'s [u8]],
    /// How much of the first of them is.
    written: usize,
    pub(super) deadline: u64,
    pub(super) alarm: Alarm,
}

impl WriteSlices<'_> {
    /// Counts bytes as written and passes over the slices that are done, empty ones included.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written += count;
        while let [first, rest @ ..] = self.slices
            && first.len() <= self.written
        {
            self.written -= first.len();
            self.slices = rest;
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.slices.is_empty()
    }

    /// One system call for as many slices as it takes.
    pub(super) fn poll_send(&mut self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        if let [only] = self.slices {
            return self.stream.poll_write(context, &only[self.written..]);
        }
        let mut parts = [IoSlice::new(&[]); SLICES_MAX];
        for (part, slice) in parts.iter_mut().zip(self.slices) {
            *part = IoSlice::new(slice);
        }
        parts[0] = IoSlice::new(&self.slices[0][self.written..]);
        let count = self.slices.len().min(SLICES_MAX);
        self.stream.poll_write_parts(context, &parts[..count])
    }
}

impl Future for WriteSlices<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.wrote(0);
        while !this.is_done() {
            match this.poll_send(context) {
                Poll::Ready(count) => this.wrote(count?),
                Poll::Pending => return late(&mut this.alarm, this.deadline, context),
            }
        }
        match this.stream.poll_flush(context) {
            Poll::Pending => late(&mut this.alarm, this.deadline, context),
            ready => ready,
        }
    }
}
