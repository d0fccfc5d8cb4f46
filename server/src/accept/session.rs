//! One peer's session: the loop that carries bytes between a stream and the protocol's session, and
//! its questions to policy and shard. It awaits, and decides nothing.

mod connection;
mod handshake;

pub use self::handshake::Security;

use self::connection::{Connection, Space, Waited};

use super::transaction::{Body, Transaction};
use super::{Intake, Policy, Rejection};
use crate::config;
use crate::message::{self, Durability, Id, Protocol, Timestamp};
use mailrail_protocol::address::ForwardPath;
use mailrail_protocol::command::{BodyKind, Mail};
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::{Config, Event, Expects, Session, Tls, Turn};
use mailrail_protocol::time::Instant;
use mailrail_runtime::gate::Gate;
use mailrail_runtime::net::inbox::{INBOX_LEN, Inbox};
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::tls::TlsInfo;
use mailrail_runtime::{clock, shard};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::pin::pin;
use std::rc::Rc;

/// Replies are sent when nothing is left to read, or when so many bytes of them have come together.
const FLUSH_LEN: usize = 4096;
/// Behind a large message so much is read of what comes next: enough for its envelope, so that the content
/// that a peer sends along with its BDAT is read to its own place and not copied there.
const HEAD_LEN: usize = 2048;
/// A message is large from so many bytes on: the log writes it from where it lies.
const LARGE_LEN: usize = 32 * 1024;

/// What all sessions of one listener share; a reload makes a new one.
#[derive(Debug)]
pub struct Listener {
    /// What the protocol's sessions are set to.
    pub protocol: Config,
    /// Who may relay.
    pub relay: config::Relay,
    /// Messages on one connection.
    pub message_count_max: u32,
    /// The name in Received fields.
    pub hostname: String,
    /// How sure a message is before its 250.
    pub durability: Durability,
    /// Where mail for a postmaster without a domain goes.
    pub postmaster: String,
    /// How TLS is offered, where it is.
    pub security: Option<Security>,
    /// Closed when the server stops.
    pub gate: Gate,
    /// When the gate is closed: the moment (in `clock::micros`) at which open bodies are cut.
    pub stop_at: Rc<Cell<u64>>,
}

fn now() -> Instant {
    Instant::from_micros(clock::coarse_micros())
}

/// Speaks with one peer until either side ends it.
///
/// # Errors
/// When the connection fails, or is cut because time is up.
pub async fn serve<I: Intake>(
    stream: Stream,
    listener: Rc<Listener>,
    intake: Rc<I>,
) -> io::Result<()> {
    let peer = stream.peer();
    let mut connection = Connection {
        stream,
        inbox: Inbox::new(),
        out: Vec::new(),
        closing: pin!(listener.gate.closing()),
        is_closing: false,
        stop_at: &listener.stop_at,
        command_count: 0,
        byte_count: 0,
        read_len: INBOX_LEN,
    };
    let tls = connection.begin(listener.security.as_ref()).await?;
    let mut dialogue = Dialogue {
        session: Session::new(&listener.protocol, handshake::peer(tls), now()),
        policy: Policy::new(&listener.relay, peer.ip(), listener.message_count_max),
        listener: &listener,
        intake: &*intake,
        peer,
        hello: Vec::new(),
        is_extended: false,
        tls,
        message_count: 0,
        transaction: None,
    };
    loop {
        let step = if dialogue.reads_in_place(&connection.inbox) {
            dialogue.in_place(&mut connection).await
        } else {
            dialogue.hear_inbox(&mut connection).await
        };
        if step?.is_break() {
            return connection.flush().await;
        }
        // A peer that never pauses is never waited for, and hears of the stop all the same.
        if !connection.is_closing && listener.gate.is_closed() {
            connection.is_closing = true;
            dialogue.session.shut_down();
        }
        if connection.turn_is_over() {
            shard::yield_if_needed().await;
        }
        if connection.out.len() >= FLUSH_LEN {
            connection.flush().await?;
        }
    }
}

/// The dialogue: the session, and what was said so far.
struct Dialogue<'l, I> {
    session: Session<'l>,
    policy: Policy,
    listener: &'l Listener,
    intake: &'l I,
    peer: SocketAddr,
    hello: Vec<u8>,
    is_extended: bool,
    tls: Option<TlsInfo>,
    message_count: u32,
    transaction: Option<Box<Transaction>>,
}

/// What came of a call whose input lay in the message's own chunk.
enum Heard {
    Content,
    NeedInput,
    Answered,
    EndOfData(Turn),
    Reset,
    Close,
}

impl<I> Drop for Dialogue<'_, I> {
    fn drop(&mut self) {
        Transaction::give_back(&mut self.transaction);
    }
}

impl<I: Intake> Dialogue<'_, I> {
    fn body(&mut self) -> Option<&mut Body> {
        self.transaction.as_mut()?.body.as_mut()
    }

    /// What is read at once behind this body: a peer that sends large messages goes on doing so.
    fn next_read_len(&mut self) -> usize {
        match self.body() {
            Some(body) if body.incoming.stored_len() > LARGE_LEN as u64 => HEAD_LEN,
            _ => INBOX_LEN,
        }
    }

    /// Content is read to where it stays, unless bytes of it are in the inbox already.
    fn reads_in_place(&mut self, inbox: &Inbox) -> bool {
        inbox.unread().is_empty()
            && self.body().is_some()
            && self.session.expects() != Expects::Line
    }

    async fn in_place<F: Future<Output = ()>>(
        &mut self,
        connection: &mut Connection<'_, F>,
    ) -> io::Result<ControlFlow<()>> {
        let heard = self.hear_in_place(connection);
        if self.session.expects() == Expects::Line {
            self.put_back(connection);
        }
        match heard {
            Heard::Content | Heard::Answered => {}
            Heard::NeedInput => return self.read_in_place(connection).await,
            Heard::EndOfData(turn) => {
                self.put_back(connection);
                connection.read_len = self.next_read_len();
                let reply = self.commit().await;
                self.answer_message(turn, reply, &mut connection.out);
            }
            Heard::Reset => {
                self.put_back(connection);
                Transaction::give_back(&mut self.transaction);
            }
            Heard::Close => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn hear_in_place<F>(&mut self, connection: &mut Connection<'_, F>) -> Heard {
        let Some(body) = self.transaction.as_mut().and_then(|all| all.body.as_mut()) else {
            return Heard::NeedInput;
        };
        let mut input = body.incoming.unread();
        let before = input.len();
        let event = self.session.receive(now(), &mut input, &mut connection.out);
        let used = before - input.len();
        let (heard, content) = match event {
            Event::Body(bytes) => (Heard::Content, bytes.len()),
            Event::NeedInput => (Heard::NeedInput, 0),
            Event::Answered(..) => (Heard::Answered, 0),
            Event::EndOfData(turn) => (Heard::EndOfData(turn), 0),
            Event::Reset => (Heard::Reset, 0),
            Event::Close => (Heard::Close, 0),
            other => unreachable!("a command in the middle of a body: {other:?}"),
        };
        body.incoming.advance(used, content);
        connection.byte_count += used;
        heard
    }

    /// Bytes behind the body belong to the next commands.
    fn put_back<F>(&mut self, connection: &mut Connection<'_, F>) {
        if let Some(body) = self.body() {
            connection.inbox.push(body.incoming.give_up_unread());
        }
    }

    async fn read_in_place<F: Future<Output = ()>>(
        &mut self,
        connection: &mut Connection<'_, F>,
    ) -> io::Result<ControlFlow<()>> {
        connection.flush().await?;
        let deadline = self.session.deadline();
        let Some(body) = self.body() else {
            return Ok(ControlFlow::Continue(()));
        };
        // Many peers are waited for between their DATA and the content: no memory is held for that.
        if body.incoming.wants_chunk() {
            let waited = connection.wait(Space::NotYet, deadline).await?;
            if !matches!(waited, Waited::Read(_)) {
                return Ok(self.heed(&waited, &mut connection.out));
            }
            if !self.makes_room() {
                return Ok(ControlFlow::Continue(()));
            }
        }
        let Some(body) = self.body() else {
            return Ok(ControlFlow::Continue(()));
        };
        let incoming = &mut body.incoming;
        let space = incoming.space();
        if space.is_empty() {
            // The chunk ends between bytes that belong together, such as a CR and its LF: what
            // follows has to be seen with them, and is copied.
            connection.inbox.push(incoming.give_up_unread());
            return Ok(ControlFlow::Continue(()));
        }
        let waited = connection.wait(Space::Here(space), deadline).await?;
        if let Waited::Read(count) = waited {
            incoming.filled_space(count);
        }
        Ok(self.heed(&waited, &mut connection.out))
    }

    /// What a wait means for the dialogue.
    fn heed(&mut self, waited: &Waited, out: &mut Vec<u8>) -> ControlFlow<()> {
        match waited {
            Waited::Read(_) => {}
            Waited::Eof => return ControlFlow::Break(()),
            Waited::Deadline => self.session.handle_timeout(now(), out),
            Waited::Closing => self.session.shut_down(),
            Waited::Stopped => {
                Reply::SHUTTING_DOWN.write(out);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn hear_inbox<F: Future<Output = ()>>(
        &mut self,
        connection: &mut Connection<'_, F>,
    ) -> io::Result<ControlFlow<()>> {
        let mut input = connection.inbox.unread();
        let before = input.len();
        let out = &mut connection.out;
        let event = self.session.receive(now(), &mut input, out);
        let used = before - input.len();
        match event {
            Event::Connected(turn) => self.session.reply(turn, &Reply::GREETING, out),
            Event::Hello(hello, turn) => {
                Transaction::give_back(&mut self.transaction);
                self.is_extended = hello.extended;
                self.hello.clear();
                self.hello.extend_from_slice(hello.name.as_bytes());
                self.session.reply(turn, &Reply::HELLO, out);
            }
            Event::Mail(mail, turn) => {
                let reply = self.mail(&mail);
                self.session.reply(turn, reply, out);
            }
            Event::Recipient(recipient, turn) => {
                let reply = self.recipient(&recipient.to);
                self.session.reply(turn, reply, out);
            }
            Event::Data(turn) => {
                let reply = self.data();
                self.session.reply(turn, reply, out);
            }
            Event::Body(bytes) => {
                connection.byte_count += bytes.len();
                self.copy(bytes);
            }
            Event::EndOfData(turn) => {
                connection.read_len = self.next_read_len();
                let reply = self.commit().await;
                self.answer_message(turn, reply, out);
            }
            Event::Other(other, turn) => {
                self.session.reply(turn, &other.default_reply(), out);
            }
            Event::StartTls(turn) => {
                let reply = Security::answer(self.listener.security.as_ref());
                self.session.reply(turn, reply, out);
            }
            Event::Handshake => {
                connection.inbox.consume(used);
                connection.flush().await?;
                self.tls = connection
                    .shake_hands(self.listener.security.as_ref())
                    .await?;
                self.session.tls_established(Tls::PLAIN);
                self.hello.clear();
                return Ok(ControlFlow::Continue(()));
            }
            // Nothing of this is offered.
            Event::Auth(_, turn) | Event::Sasl(_, turn) | Event::EndOfDataFor(_, turn) => {
                self.session.reply(turn, &Reply::NOT_IMPLEMENTED, out);
            }
            Event::Answered(..) => {}
            Event::Reset => Transaction::give_back(&mut self.transaction),
            Event::Close => return Ok(ControlFlow::Break(())),
            Event::NeedInput => {
                connection.inbox.consume(used);
                connection.flush().await?;
                let waited = connection
                    .wait(Space::Inbox, self.session.deadline())
                    .await?;
                return Ok(self.heed(&waited, &mut connection.out));
            }
        }
        connection.command_count += 1;
        connection.inbox.consume(used);
        Ok(ControlFlow::Continue(()))
    }

    fn mail(&mut self, mail: &Mail<'_>) -> &'static Reply<'static> {
        let reply = match self.policy.mail(self.message_count) {
            refusal if !refusal.is_positive() => refusal,
            accepted => match self.intake.room(mail.size.unwrap_or(0)) {
                Ok(()) => accepted,
                Err(refusal) => refusal,
            },
        };
        if !reply.is_positive() {
            self.note_refusal(mail.from.as_str(), "", reply);
            return reply;
        }
        let transaction = self.transaction.insert(Transaction::take());
        let envelope = &mut transaction.envelope;
        envelope.peer = Some(self.peer.ip());
        envelope.protocol = Protocol::of(self.is_extended, mail.smtputf8, self.tls.is_some());
        envelope.body = match mail.body {
            Some(BodyKind::EightBitMime) => message::BodyKind::EightBitMime,
            // BINARYMIME is not offered.
            Some(BodyKind::SevenBit | BodyKind::BinaryMime) | None => message::BodyKind::SevenBit,
        };
        envelope.smtputf8 = mail.smtputf8;
        envelope.set_hello(&self.hello);
        envelope.set_sender(mail.from.as_str().as_bytes());
        reply
    }

    fn recipient(&mut self, to: &ForwardPath<'_>) -> &'static Reply<'static> {
        let reply = self.policy.recipient(to);
        if reply.is_positive() {
            //= RFC 5321 section 4.5.1: postmaster without a domain is this host's
            let mailbox = match to {
                ForwardPath::Postmaster(_) => &self.listener.postmaster,
                ForwardPath::Mailbox(mailbox) => mailbox.as_str(),
            };
            let envelope = self.transaction.as_mut().map(|all| &mut all.envelope);
            if envelope.is_some_and(|envelope| !envelope.add_recipient(mailbox.as_bytes())) {
                return &Reply::TOO_MANY_RECIPIENTS;
            }
        } else {
            self.note_refusal("", to.as_str(), reply);
        }
        reply
    }

    fn data(&mut self) -> &'static Reply<'static> {
        if let Err(refusal) = self.intake.room(0) {
            self.note_refusal("", "", refusal);
            return refusal;
        }
        let accepted = Timestamp::from_unix_millis(clock::unix_millis());
        let id = self.intake.next_id(accepted);
        let Some(transaction) = &mut self.transaction else {
            return &Reply::LOCAL_ERROR;
        };
        transaction.body = Some(Body::expected(id, accepted));
        &Reply::START_DATA
    }

    /// Content that did not arrive where it belongs.
    fn copy(&mut self, bytes: &[u8]) {
        let Some(body) = self.transaction.as_mut().and_then(|all| all.body.as_mut()) else {
            return;
        };
        if body.incoming.wants_chunk() && !self.makes_room() {
            return;
        }
        if let Some(body) = self.body() {
            body.incoming.append_content(bytes);
        }
    }

    /// The body's next bytes need memory: whether there is some. If not, the body is given up.
    fn makes_room(&mut self) -> bool {
        let may_grow = self.intake.may_grow();
        match &mut self.transaction {
            Some(transaction) if may_grow => transaction.begin_body(&self.listener.hostname),
            _ => self.abort(),
        }
        may_grow
    }

    /// There is no memory for the rest of the body: what came of it is given back at once, and not
    /// when the peer goes on.
    fn abort(&mut self) {
        self.note_refusal("", "", &Reply::STORAGE_FULL);
        self.session.abort(&Reply::STORAGE_FULL);
        Transaction::give_back(&mut self.transaction);
    }

    async fn commit(&mut self) -> Result<Id, &'static Reply<'static>> {
        let Some(transaction) = &mut self.transaction else {
            return Err(&Reply::LOCAL_ERROR);
        };
        // One without content has not begun.
        if transaction.is_expected() && !self.intake.may_grow() {
            return Err(&Reply::STORAGE_FULL);
        }
        transaction.begin_body(&self.listener.hostname);
        let Some(body) = transaction.body.take() else {
            return Err(&Reply::LOCAL_ERROR);
        };
        if body.is_loop() {
            return Err(&Reply::LOOP_DETECTED);
        }
        let id = body.id;
        let submission = body.finish(
            &transaction.envelope,
            self.peer,
            &self.session.findings(),
            self.listener.durability,
            self.tls,
        );
        self.intake.commit(submission).await?;
        Ok(id)
    }

    fn answer_message(
        &mut self,
        turn: Turn,
        result: Result<Id, &'static Reply<'static>>,
        out: &mut Vec<u8>,
    ) {
        match result {
            Ok(id) => {
                self.message_count += 1;
                const WORDS: &[u8; 10] = b"Queued as ";
                let mut text = [0; WORDS.len() + message::id::TEXT_LEN];
                text[..WORDS.len()].copy_from_slice(WORDS);
                text[WORDS.len()..].copy_from_slice(&id.text());
                let reply = Reply {
                    text: &text,
                    ..Reply::QUEUED
                };
                self.session.reply(turn, &reply, out);
            }
            Err(refusal) => {
                self.note_refusal("", "", refusal);
                self.session.reply(turn, refusal, out);
            }
        }
        Transaction::give_back(&mut self.transaction);
    }

    fn note_refusal(&self, sender: &str, recipient: &str, reply: &Reply<'_>) {
        let sender = match &self.transaction {
            Some(transaction) => transaction.envelope.sender(),
            None => sender.as_bytes(),
        };
        self.intake.rejected(&Rejection {
            peer: self.peer,
            hello: &self.hello,
            sender,
            recipient: recipient.as_bytes(),
            reply,
        });
    }
}
