//! The state of a session, and the only file that changes it.

use super::{Config, Event, Expects, Findings, Peer, Turn};
use crate::reply::Reply;
use crate::time::Instant;
use alloc::vec::Vec;

/// One peer's dialogue: about a hundred bytes, no heap, no buffer of its own.
#[derive(Debug)]
pub struct Session<'c> {
    config: &'c Config,
}

impl<'c> Session<'c> {
    /// A session whose first event will be [`Event::Connected`].
    #[must_use]
    pub fn new(config: &'c Config, _peer: Peer, _now: Instant) -> Self {
        Self { config }
    }

    /// Takes at most one command, or one stretch of body, off the front of `input`.
    ///
    /// # Panics
    /// If the turn of the event before was dropped without a reply.
    pub fn receive<'i>(
        &mut self,
        _now: Instant,
        _input: &mut &'i [u8],
        _out: &mut Vec<u8>,
    ) -> Event<'i> {
        let _ = self.config;
        unimplemented!()
    }

    /// Answers the open turn. The reply is the verdict: a positive one moves the dialogue on, 421 closes.
    ///
    /// # Panics
    /// If `turn` is not the one that is open.
    pub fn reply(&mut self, _turn: Turn, _reply: &Reply<'_>, _out: &mut Vec<u8>) {
        unimplemented!()
    }

    /// In the middle of a body: the rest is swallowed, up to `Limits::swallow_max`, and answered with `reply`.
    ///
    /// # Panics
    /// Outside a body.
    pub fn abort(&mut self, _reply: &'static Reply<'static>) {
        unimplemented!()
    }

    /// From now on another configuration holds (after PROXY or XCLIENT, or for this kind of peer).
    pub fn set_config(&mut self, config: &'c Config) {
        self.config = config;
    }

    /// What comes next: a line or a body.
    #[must_use]
    pub fn expects(&self) -> Expects {
        unimplemented!()
    }

    /// What the current body has shown so far; the last one's until the next begins.
    #[must_use]
    pub fn findings(&self) -> Findings {
        unimplemented!()
    }

    /// When the peer's time is up; `None` while the turn is this side's.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// The deadline has passed: 421, and the next event is [`Event::Close`].
    pub fn handle_timeout(&mut self, _now: Instant, _out: &mut Vec<u8>) {
        unimplemented!()
    }

    /// The handshake is done: the dialogue starts from zero.
    pub fn tls_established(&mut self) {
        unimplemented!()
    }

    /// 421 at the next boundary between commands; a body that is under way is still taken.
    pub fn shut_down(&mut self) {
        unimplemented!()
    }

    /// No transaction is open and no turn is owed: cutting the connection now harms nothing.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        unimplemented!()
    }
}
