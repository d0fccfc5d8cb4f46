//! The layer between clear bytes and records: pure, bytes in and bytes out, without a socket.
//!
//! Of a record that was read, what the reader has no room for waits here; what was encrypted waits
//! until it is sent. Both are bounded by the buffer that was read into. When to read and write is `stream`'s.

use super::TlsInfo;
use super::buffer::Buffer;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error};
use std::cell::RefCell;
use std::io::{self, IoSlice};

/// Clear bytes of the longest record.
const RECORD_LEN: usize = 16 * 1024;
/// Clear bytes that leave in one write: four records.
const BATCH_LEN: usize = 4 * RECORD_LEN;
/// No record adds more: header, explicit nonce, type and tag.
const OVERHEAD_LEN: usize = 5 + 8 + 1 + 16;
/// Room for an alert or a key update that goes before them.
const PRELUDE_LEN: usize = 256;
/// A batch may be cut into one more record than it fills: what is gathered, and what follows it.
const _: () = assert!(
    BATCH_LEN + 6 * OVERHEAD_LEN + PRELUDE_LEN <= super::buffer::BUFFER_LEN,
    "a batch always has room"
);

thread_local! {
    /// Where short pieces come together to one record.
    static GATHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Which end this is.
enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What was wished beside what has to be done anyway.
enum Wish<'w> {
    Nothing,
    Encrypt(&'w [u8]),
    Close,
}

/// What one step came to.
enum Step {
    /// So many clear bytes came to where they were wanted, and perhaps more to the rest.
    Clear(usize),
    /// The wish is fulfilled.
    Granted,
    /// Something else was done first.
    Again,
    /// The peer has ended its direction.
    Ended,
    /// Nothing is to be done before more comes.
    Blocked,
}

/// One end of a TLS connection.
pub(super) struct Layer {
    session: Session,
    /// Records that were read.
    pub(super) incoming: Buffer,
    /// Records that are to be sent.
    pub(super) outgoing: Buffer,
    /// Clear bytes that nobody has read yet, and how many of them somebody has.
    rest: Vec<u8>,
    rest_start: usize,
    /// The peer said that it ends.
    is_ended: bool,
    /// We said so.
    is_closed: bool,
    failure: Option<Error>,
}

impl Layer {
    pub(super) fn server(session: UnbufferedServerConnection) -> Self {
        Self::new(Session::Server(session))
    }

    pub(super) fn client(session: UnbufferedClientConnection) -> Self {
        Self::new(Session::Client(session))
    }

    fn new(session: Session) -> Self {
        Self {
            session,
            incoming: Buffer::default(),
            outgoing: Buffer::default(),
            rest: Vec::new(),
            rest_start: 0,
            is_ended: false,
            is_closed: false,
            failure: None,
        }
    }

    fn state(&self) -> &CommonState {
        match &self.session {
            Session::Server(session) => session,
            Session::Client(session) => session,
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// Whether nothing can be read, and nothing has to be sent, before the peer sends more.
    pub(super) fn is_idle(&self) -> bool {
        let is_over = self.is_ended || self.failure.is_some();
        !is_over && self.rest.is_empty() && self.incoming.is_empty() && self.outgoing.is_empty()
    }

    pub(super) fn info(&self) -> TlsInfo {
        TlsInfo::of(self.state())
    }

    /// Does of the handshake what can be done by now. Whether it is over: then what is to be sent still is.
    pub(super) fn shake_hands(&mut self) -> io::Result<bool> {
        loop {
            let step = self.step(&mut [], &Wish::Nothing)?;
            match step {
                // What came right behind the handshake waits for its reader.
                Step::Clear(_) if !self.is_handshaking() => return Ok(true),
                Step::Clear(_) | Step::Again | Step::Granted => {}
                Step::Blocked => return Ok(!self.is_handshaking()),
                Step::Ended => return Err(self.truncated()),
            }
        }
    }

    /// Clear bytes, as many as there are and `into` has room for. `None`: more must come first; `Some(0)`: the
    /// peer has ended its direction, as it should.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let mut count = self.take_rest(into);
        while count < into.len() && !self.is_ended {
            match self.step(&mut into[count..], &Wish::Nothing) {
                Ok(Step::Clear(more)) => count += more,
                Ok(Step::Again | Step::Granted) => {}
                Ok(Step::Ended) => self.is_ended = true,
                Ok(Step::Blocked) => break,
                // What came before it is told first.
                Err(_) if count > 0 => break,
                Err(error) => return Err(error),
            }
        }
        match count {
            0 if !self.is_ended => Ok(None),
            count => Ok(Some(count)),
        }
    }

    fn take_rest(&mut self, into: &mut [u8]) -> usize {
        let rest = &self.rest[self.rest_start..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.rest_start += count;
        if self.rest_start == self.rest.len() {
            (self.rest, self.rest_start) = (Vec::new(), 0);
        }
        count
    }

    /// Encrypts of these pieces what fits into one write, if nothing waits to be sent. How many bytes.
    pub(super) fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        debug_assert!(self.outgoing.is_empty(), "one batch after the other");
        if self.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut count = 0;
        if let [only] = parts {
            let bytes = &only[..only.len().min(BATCH_LEN)];
            self.encrypt(bytes)?;
            return Ok(bytes.len());
        }
        GATHER.with_borrow_mut(|gather| {
            gather.clear();
            for mut bytes in parts.iter().map(|part| &**part) {
                bytes = &bytes[..bytes.len().min(BATCH_LEN - count)];
                count += bytes.len();
                // What fills records by itself is not copied to come together with others.
                while !bytes.is_empty() {
                    let whole = bytes.len() - bytes.len() % RECORD_LEN;
                    if gather.is_empty() && whole > 0 {
                        self.encrypt(&bytes[..whole])?;
                        bytes = &bytes[whole..];
                        continue;
                    }
                    let some = bytes.len().min(RECORD_LEN - gather.len());
                    gather.extend_from_slice(&bytes[..some]);
                    bytes = &bytes[some..];
                    if gather.len() == RECORD_LEN {
                        self.encrypt(gather)?;
                        gather.clear();
                    }
                }
            }
            self.encrypt(gather)
        })?;
        Ok(count)
    }

    fn encrypt(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.fulfil(&Wish::Encrypt(bytes))
    }

    /// Tells the peer that nothing more comes. Once, and not after a failure.
    pub(super) fn close(&mut self) -> io::Result<()> {
        if self.is_closed || self.failure.is_some() || self.is_handshaking() {
            return Ok(());
        }
        self.is_closed = true;
        self.fulfil(&Wish::Close)
    }

    fn fulfil(&mut self, wish: &Wish<'_>) -> io::Result<()> {
        loop {
            match self.step(&mut [], wish)? {
                Step::Granted => return Ok(()),
                Step::Clear(_) | Step::Again => {}
                Step::Ended if !self.is_ended => self.is_ended = true,
                // Before the end of a handshake, or behind both ends.
                Step::Ended | Step::Blocked => return Err(io::ErrorKind::NotConnected.into()),
            }
        }
    }

    /// The end of the stream has come. It was not told inside TLS: somebody may have cut it off.
    //= RFC 8446 section 6.1: without close_notify nobody knows that all has come
    pub(super) fn truncated(&self) -> io::Error {
        let text = match self.is_handshaking() {
            true => "the connection ended in the middle of the TLS handshake",
            false => "the connection ended without an end of TLS",
        };
        io::Error::new(io::ErrorKind::UnexpectedEof, text)
    }

    /// More came than a record or a handshake's message may have.
    pub(super) fn overlong(&self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, "a TLS message is too long")
    }

    fn step(&mut self, into: &mut [u8], wish: &Wish<'_>) -> io::Result<Step> {
        if let Some(failure) = &self.failure {
            return Err(told(failure.clone()));
        }
        self.one_step(into, wish).map_err(|failure| {
            self.failure = Some(failure.clone());
            // What the peer is told of it stands ready, and nothing else is done any more.
            while self.state().wants_write() && self.one_step(&mut [], &Wish::Nothing).is_ok() {}
            told(failure)
        })
    }

    fn one_step(&mut self, into: &mut [u8], wish: &Wish<'_>) -> Result<Step, Error> {
        let incoming = self.incoming.filled();
        let mut hands = Hands {
            into,
            wish,
            rest: &mut self.rest,
            outgoing: &mut self.outgoing,
        };
        let (used, step) = match &mut self.session {
            Session::Server(session) => hands.handle(session.process_tls_records(incoming)),
            Session::Client(session) => hands.handle(session.process_tls_records(incoming)),
        };
        self.incoming.consume(used);
        step
    }
}

fn told(failure: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, failure)
}

/// Where a step puts what comes of it.
struct Hands<'h> {
    into: &'h mut [u8],
    wish: &'h Wish<'h>,
    rest: &'h mut Vec<u8>,
    outgoing: &'h mut Buffer,
}

impl Hands<'_> {
    /// Carries out what rustls asks for. How many bytes of the input are done with, and what it came to.
    fn handle<Data>(
        &mut self,
        status: UnbufferedStatus<'_, '_, Data>,
    ) -> (usize, Result<Step, Error>) {
        let mut used = status.discard;
        let step = status.state.and_then(|state| match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                let mut count = 0;
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    used += record.discard;
                    count += self.take(record.payload, count);
                }
                Ok(Step::Clear(count))
            }
            ConnectionState::EncodeTlsData(mut data) => {
                let encoded = data
                    .encode(self.outgoing.room())
                    .map_err(|error| match error {
                        EncodeError::InsufficientSize(_) => no_room(),
                        EncodeError::AlreadyEncoded => Error::General(error.to_string()),
                    })?;
                self.outgoing.add(encoded);
                Ok(Step::Again)
            }
            ConnectionState::TransmitTlsData(data) => {
                // It is in line, before all that comes.
                data.done();
                Ok(Step::Again)
            }
            ConnectionState::WriteTraffic(mut traffic) => {
                // Who only waits to read takes no room: it would be held until something is written.
                let encrypted = match self.wish {
                    Wish::Nothing => return Ok(Step::Blocked),
                    Wish::Encrypt(bytes) => traffic.encrypt(bytes, self.outgoing.room()),
                    Wish::Close => traffic.queue_close_notify(self.outgoing.room()),
                };
                let count = encrypted.map_err(|error| match error {
                    EncryptError::InsufficientSize(_) => no_room(),
                    EncryptError::EncryptExhausted => Error::EncryptError,
                })?;
                self.outgoing.add(count);
                Ok(Step::Granted)
            }
            ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Step::Ended),
            ConnectionState::BlockedHandshake => Ok(Step::Blocked),
            // Not offered: it could be played to us twice.
            ConnectionState::ReadEarlyData(_) => Err(Error::General("early data".into())),
            _ => Err(Error::General("an unknown state of TLS".into())),
        });
        (used, step)
    }

    /// Clear bytes: as many as there is room for behind the first `filled`; the others wait.
    fn take(&mut self, bytes: &[u8], filled: usize) -> usize {
        let room = &mut self.into[filled..];
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.rest.extend_from_slice(&bytes[count..]);
        count
    }
}

fn no_room() -> Error {
    Error::General("more is to be sent than there is room for".into())
}

#[cfg(test)]
mod tests;
