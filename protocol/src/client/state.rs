//! The state of a session, and the only file that changes it.

use super::{Config, Envelope, Event, Fate, Next};
use crate::body::stuff::Segments;
use crate::extension::Extensions;
use crate::time::Instant;
use alloc::vec::Vec;

/// One dialogue with a server: some 400 bytes, no heap, no buffer of its own.
#[derive(Debug)]
pub struct Session<'c> {
    config: &'c Config,
}

impl<'c> Session<'c> {
    /// A session that waits for the greeting; it answers it with EHLO by itself.
    #[must_use]
    pub fn new(config: &'c Config, _now: Instant) -> Self {
        Self { config }
    }

    /// What the peer offered; nothing before [`Event::Ready`].
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        let _ = self.config;
        unimplemented!()
    }

    /// May `begin` be called? Between transactions, and, if the peer offers PIPELINING, as soon as
    /// `end_body` was called, when no more than this one transaction is unanswered.
    #[must_use]
    pub fn can_begin(&self) -> bool {
        unimplemented!()
    }

    /// Opens the next transaction: from now on `write` is called with its envelope.
    ///
    /// # Panics
    /// If `can_begin` says no.
    pub fn begin(&mut self) {
        unimplemented!()
    }

    /// Appends every command of the newest transaction that the peer is ready for. Calling it twice changes nothing.
    pub fn write(&mut self, _envelope: &Envelope<'_>, _out: &mut Vec<u8>) -> Next {
        unimplemented!()
    }

    /// Takes at most one reply off the front of `input`. An incomplete one is not consumed.
    pub fn receive<'i>(
        &mut self,
        _now: Instant,
        _input: &mut &'i [u8],
        _out: &mut Vec<u8>,
    ) -> Event<'i> {
        unimplemented!()
    }

    /// The pieces to send for this chunk of the content: slices of it, cut where a dot goes out twice.
    ///
    /// # Panics
    /// If no body is due, or if there is more of it than `Envelope::size` said.
    pub fn segments<'b>(&mut self, _chunk: &'b [u8]) -> Segments<'b> {
        unimplemented!()
    }

    /// The content is complete: appends its end.
    ///
    /// # Panics
    /// If no body is due, or if there was less of it than `Envelope::size` said.
    pub fn end_body(&mut self, _out: &mut Vec<u8>) {
        unimplemented!()
    }

    /// Gives up the newest transaction: `Over` will follow. `false` if it is too late, since the
    /// content is due or on its way: then only hanging up can stop it.
    pub fn reset(&mut self, _out: &mut Vec<u8>) -> bool {
        unimplemented!()
    }

    /// Appends QUIT, whose answer will be [`Event::Close`]; the answers before it still come.
    /// Writes nothing while a transaction is half-way: hanging up is then the better word.
    pub fn quit(&mut self, _out: &mut Vec<u8>) {
        unimplemented!()
    }

    /// Appends STARTTLS, right after [`Event::Ready`].
    ///
    /// # Panics
    /// In a transaction.
    pub fn start_tls(&mut self, _out: &mut Vec<u8>) {
        unimplemented!()
    }

    /// The handshake is done: the dialogue starts again with EHLO.
    pub fn tls_established(&mut self, _out: &mut Vec<u8>) {
        unimplemented!()
    }

    /// When the peer's time is up; `None` while nothing is waited for.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// If the deadline has passed, the next event is [`Event::Broken`].
    pub fn handle_timeout(&mut self, _now: Instant) {
        unimplemented!()
    }

    /// What became of the transactions that no event has ended, oldest first; `None` for those
    /// that do not exist. To be asked when the connection has ended, for whatever reason.
    #[must_use]
    pub fn fates(&self) -> [Option<Fate>; 2] {
        unimplemented!()
    }
}
