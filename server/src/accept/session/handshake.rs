//! TLS on an accepted connection: from its first byte on, or behind STARTTLS. When is the session's to say.

use super::Connection;
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::Peer;
use mailrail_runtime::clock;
use mailrail_runtime::tls::{Acceptor, TlsInfo};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

/// How long a handshake may take.
const HANDSHAKE_MICROS_MAX: u64 = 60_000_000;

/// How a listener offers TLS.
#[derive(Clone, Debug)]
pub struct Security {
    /// Who shakes hands.
    pub acceptor: Acceptor,
    /// It is there from the first byte on, and not offered by STARTTLS.
    pub is_implicit: bool,
}

impl Security {
    /// The answer to STARTTLS.
    pub(super) const fn answer(security: Option<&Self>) -> &'static Reply<'static> {
        match security {
            Some(_) => &Reply::START_TLS,
            None => &Reply::TLS_UNAVAILABLE,
        }
    }
}

/// What a session has to know of its peer's TLS.
pub(super) fn peer(tls: Option<TlsInfo>) -> Peer {
    tls.map_or(Peer::PLAIN, |_| Peer::TLS)
}

impl<F: Future<Output = ()>> Connection<'_, F> {
    /// TLS before anything is said, where the listener has it so.
    pub(super) async fn begin(
        &mut self,
        security: Option<&Security>,
    ) -> io::Result<Option<TlsInfo>> {
        match security {
            Some(security) if security.is_implicit => self.shake_hands(Some(security)).await,
            _ => Ok(None),
        }
    }

    /// The handshake: what is read and written from now on is inside TLS. A server that stops has no time for it.
    pub(super) async fn shake_hands(
        &mut self,
        security: Option<&Security>,
    ) -> io::Result<Option<TlsInfo>> {
        let Some(security) = security else {
            return Err(io::Error::other("no certificate to show"));
        };
        //= RFC 3207 section 4.2: nothing that came in clear text may pass for what TLS protects
        debug_assert!(self.inbox.unread().is_empty(), "the session looked at it");
        let deadline = clock::after(HANDSHAKE_MICROS_MAX).min(self.stop_at.get());
        let mut handshake = pin!(self.stream.accept_tls(&security.acceptor, deadline));
        poll_fn(|context| {
            if let Poll::Ready(info) = handshake.as_mut().poll(context) {
                return Poll::Ready(info.map(Some));
            }
            if !self.is_closing && self.closing.as_mut().poll(context).is_ready() {
                self.is_closing = true;
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            Poll::Pending
        })
        .await
    }
}
