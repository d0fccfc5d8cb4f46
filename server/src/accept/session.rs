//! One peer's session: the loop that carries bytes between a stream and the protocol's session, and
//! its questions to policy and shard. It awaits, and decides nothing.

mod handshake;

pub use self::handshake::Security;

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
use mailrail_runtime::net::inbox::{Fill, INBOX_LEN, Inbox};
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::tls::TlsInfo;
use mailrail_runtime::{clock, shard};
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

/// Replies are sent when nothing is left to read, or when so many bytes of them have come together.
const FLUSH_LEN: usize = 4096;
/// A session lets the others run after so many commands,
const COMMANDS_A_TURN: u32 = 100;
/// or after so many bytes of content.
const BYTES_A_TURN: usize = 64 * 1024;
/// Behind a large message so much is read of what comes next: enough for its envelope, so that the content
/// that a peer sends along with its BDAT is read to its own place and not copied there.
const HEAD_LEN: usize = 2048;
/// A message is large from so many bytes on: the log writes it from where it lies.
const LARGE_LEN: usize = 32 * 1024;
/// How long a peer may take to read our replies.
const WRITE_MICROS_MAX: u64 = 300_000_000;
/// What the output of an idle session may keep of its memory.
const IDLE_OUT_LEN_MAX: usize = 256;

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

/// The bytes: what was read, what is to be written, and how much of it in this turn.
struct Connection<'s, F> {
    stream: Stream,
    inbox: Inbox,
    out: Vec<u8>,
    closing: Pin<&'s mut F>,
    is_closing: bool,
    stop_at: &'s Cell<u64>,
    command_count: u32,
    byte_count: usize,
    /// Bytes that are read at once into the inbox.
    read_len: usize,
}

/// What a wait for the peer ended with.
enum Waited {
    Read(usize),
    Eof,
    Deadline,
    Closing,
    /// The server stops, and what was still open has had its time.
    Stopped,
}

impl<F: Future<Output = ()>> Connection<'_, F> {
    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            let deadline = clock::coarse_after(WRITE_MICROS_MAX);
            self.stream.write_all(&self.out, deadline).await?;
            self.out.clear();
            self.out.shrink_to(IDLE_OUT_LEN_MAX);
        }
        Ok(())
    }

    fn turn_is_over(&mut self) -> bool {
        let is_over = self.command_count >= COMMANDS_A_TURN || self.byte_count >= BYTES_A_TURN;
        if is_over {
            (self.command_count, self.byte_count) = (0, 0);
        }
        is_over
    }

    /// Reads into `space`, or into the inbox where there is none; ends early when the server stops.
    async fn wait(
        &mut self,
        space: Option<&mut [u8]>,
        deadline: Option<Instant>,
    ) -> io::Result<Waited> {
        let mut deadline = deadline.map_or(clock::NEVER, Instant::as_micros);
        if self.is_closing {
            deadline = deadline.min(self.stop_at.get());
        }
        let read = async {
            match space {
                Some(space) => match self.stream.read(space, deadline).await {
                    Ok(0) => Ok(Waited::Eof),
                    Ok(count) => Ok(Waited::Read(count)),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(Waited::Deadline),
                    Err(error) => Err(error),
                },
                None => match self
                    .inbox
                    .fill_up_to(self.read_len, &mut self.stream, deadline)
                    .await?
                {
                    Fill::Some => Ok(Waited::Read(0)),
                    Fill::Eof => Ok(Waited::Eof),
                    Fill::Deadline => Ok(Waited::Deadline),
                },
            }
        };
        let mut read = pin!(read);
        poll_fn(|context| {
            if let Poll::Ready(waited) = read.as_mut().poll(context) {
                return Poll::Ready(match waited {
                    // The session knows its own deadline only, and this was not its own.
                    Ok(Waited::Deadline)
                        if self.is_closing && clock::micros() >= self.stop_at.get() =>
                    {
                        Ok(Waited::Stopped)
                    }
                    waited => waited,
                });
            }
            if !self.is_closing && self.closing.as_mut().poll(context).is_ready() {
                self.is_closing = true;
                return Poll::Ready(Ok(Waited::Closing));
            }
            Poll::Pending
        })
        .await
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
        let Some(body) = self.transaction.as_mut().and_then(|all| all.body.as_mut()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let incoming = &mut body.incoming;
        if incoming.wants_chunk() && !self.intake.may_grow() {
            self.put_back(connection);
            self.abort();
            return Ok(ControlFlow::Continue(()));
        }
        let space = incoming.space();
        if space.is_empty() {
            // The chunk ends between bytes that belong together, such as a CR and its LF: what
            // follows has to be seen with them, and is copied.
            connection.inbox.push(incoming.give_up_unread());
            return Ok(ControlFlow::Continue(()));
        }
        let waited = connection.wait(Some(space), deadline).await?;
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
                let waited = connection.wait(None, self.session.deadline()).await?;
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

    /// Makes room for a body: in front of it stand what the log, the spool and the trace need.
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
        let hostname = self.listener.hostname.as_bytes();
        let body = Body::begin(&mut transaction.envelope, id, accepted, hostname);
        transaction.body = Some(body);
        &Reply::START_DATA
    }

    /// Content that did not arrive where it belongs.
    fn copy(&mut self, bytes: &[u8]) {
        let Some(body) = self.transaction.as_mut().and_then(|all| all.body.as_mut()) else {
            return;
        };
        if body.incoming.wants_chunk() && !self.intake.may_grow() {
            self.abort();
            return;
        }
        body.incoming.append_content(bytes);
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
