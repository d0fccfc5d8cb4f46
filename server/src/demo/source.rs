//! The submitting side: connections that hand messages to the server, one after the other, and tell
//! the ledger how each was answered.

use super::ends::World;
use super::messages::Message;
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{
    Answer, BodyKind, Envelope, Event, Fate, Next, Recipient, Session,
};
use mailrail_protocol::time::Instant;
use mailrail_runtime::net::inbox::{Fill, Inbox};
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::{clock, shard, timer};
use std::io;
use std::net::SocketAddr;

/// How long the server may take for a connection, and to read what we write.
const WRITE_MICROS: u64 = 60_000_000;
/// How long the last answer may take, to QUIT.
const QUIT_MICROS: u64 = 2_000_000;
/// The pause after a refusal for now, or a connection that failed.
const PAUSE_MICROS: u64 = 200_000;

/// What became of a connection.
enum End {
    /// Nothing is left to submit.
    Done,
    /// Come again.
    Again,
}

/// Submits until nothing is left, over as many connections as it takes.
pub(super) async fn run(world: &World, server: SocketAddr, index: usize) {
    let config = &world.source[index % world.source.len()];
    loop {
        let end = match Stream::connect(server, None, clock::after(WRITE_MICROS)).await {
            Ok(stream) => {
                let mut connection = Connection {
                    world,
                    stream,
                    inbox: Inbox::new(),
                    session: Session::new(config, now()),
                    out: Vec::new(),
                    message: Message::default(),
                    open: None,
                    is_quitting: false,
                };
                let end = connection.run().await;
                connection.finish();
                end
            }
            Err(error) => Err(error),
        };
        match end {
            Ok(End::Done) => return,
            Ok(End::Again) => {}
            Err(error) => tracing::debug!(%error, "a submission was cut"),
        }
        if world.ledger.borrow().is_over() {
            return;
        }
        timer::sleep(PAUSE_MICROS).await;
    }
}

fn now() -> Instant {
    Instant::from_micros(clock::micros())
}

/// A message under way.
struct Open {
    number: u64,
    is_written: bool,
    /// The last refusal of its sender or recipient: its code, and the words.
    refusal: Option<(u16, String)>,
}

struct Connection<'w> {
    world: &'w World,
    stream: Stream,
    inbox: Inbox,
    session: Session<'w>,
    out: Vec<u8>,
    message: Message,
    open: Option<Open>,
    is_quitting: bool,
}

/// What an event asks for.
enum Step {
    Go,
    Read,
    Pause,
    End(End),
}

impl Connection<'_> {
    async fn run(&mut self) -> io::Result<End> {
        loop {
            self.begin();
            self.write().await?;
            match self.hear() {
                Step::Go => {}
                Step::Pause => timer::sleep(PAUSE_MICROS).await,
                Step::End(end) => return Ok(end),
                Step::Read => {
                    self.flush().await?;
                    let deadline = if self.is_quitting {
                        clock::after(QUIT_MICROS)
                    } else {
                        let deadline = self.session.deadline();
                        deadline.map_or(clock::NEVER, Instant::as_micros)
                    };
                    match self.inbox.fill(&mut self.stream, deadline).await? {
                        Fill::Some => {}
                        Fill::Eof | Fill::Deadline if self.is_quitting => return Ok(End::Done),
                        Fill::Eof => return Ok(End::Again),
                        Fill::Deadline => self.session.handle_timeout(now()),
                    }
                }
            }
        }
    }

    /// Takes the next message, or takes leave.
    fn begin(&mut self) {
        if self.is_quitting || self.open.is_some() || !self.session.can_begin() {
            return;
        }
        let next = self.world.ledger.borrow_mut().take(clock::micros());
        match next {
            Some(number) => {
                self.world.run.compose(number, &mut self.message);
                self.session.begin();
                self.open = Some(Open {
                    number,
                    is_written: false,
                    refusal: None,
                });
            }
            None => self.is_quitting = self.session.quit(&mut self.out),
        }
    }

    /// Writes what the server is ready for.
    async fn write(&mut self) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|open| !open.is_written) else {
            return Ok(());
        };
        let (Some(from), Some(to)) = (
            Mailbox::parse(self.message.sender.as_bytes(), Charset::Ascii),
            Mailbox::parse(self.message.recipient.as_bytes(), Charset::Ascii),
        ) else {
            unreachable!("made-up addresses are addresses");
        };
        let recipients = [Recipient::new(ForwardPath::Mailbox(to))];
        let mut envelope = Envelope::new(ReversePath::Mailbox(from), &recipients);
        envelope.mail.size = Some(self.message.content.len() as u64);
        if self.message.is_eight_bit {
            envelope.mail.body = Some(BodyKind::EightBitMime);
        }
        if self.session.write(&envelope, &mut self.out) == Next::Wait {
            return Ok(());
        }
        open.is_written = true;
        let mut tail = Vec::new();
        let pieces: Vec<&[u8]> = self.session.segments(&self.message.content).collect();
        self.session.end_body(&mut tail);
        let mut slices = Vec::with_capacity(pieces.len() + 2);
        slices.push(self.out.as_slice());
        slices.extend(pieces);
        slices.push(&tail);
        let deadline = clock::after(WRITE_MICROS);
        self.stream.write_slices(&slices, deadline).await?;
        self.out.clear();
        shard::yield_if_needed().await;
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            let deadline = clock::after(WRITE_MICROS);
            self.stream.write_all(&self.out, deadline).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// One answer of the server's.
    fn hear(&mut self) -> Step {
        let mut input = self.inbox.unread();
        let before = input.len();
        let event = self.session.receive(now(), &mut input, &mut self.out);
        let used = before - input.len();
        let mut step = Step::Go;
        match event {
            Event::NeedInput => step = Step::Read,
            Event::Mail(answer) | Event::Recipient(_, answer) => {
                if let Some(open) = self.open.as_mut().filter(|_| !answer.is_positive()) {
                    open.refusal = Some((answer.code.get(), told(&answer)));
                }
            }
            Event::Sent(answer) if answer.is_positive() => {
                if let Some(open) = self.open.take() {
                    let at = clock::micros();
                    self.world
                        .note(|ledger| ledger.acknowledged(open.number, at));
                }
            }
            Event::Sent(answer) => {
                let refusal = (answer.code.get(), told(&answer));
                step = give_up(self.world, self.open.take(), Some(refusal));
            }
            Event::Over => step = give_up(self.world, self.open.take(), None),
            Event::Unsendable(why) => {
                let refusal = (554, format!("the server lacks an extension: {why:?}"));
                step = give_up(self.world, self.open.take(), Some(refusal));
            }
            Event::Refused(answer) => {
                let refusal = (answer.code.get(), told(&answer));
                give_up(self.world, self.open.take(), Some(refusal));
                step = Step::End(End::Again);
            }
            Event::Close(_) if self.is_quitting => step = Step::End(End::Done),
            Event::Close(_) | Event::Broken(..) | Event::Closed => step = Step::End(End::Again),
            Event::Answered
            | Event::Ready(_)
            | Event::SendBody
            | Event::Handshake
            | Event::TlsRefused(_)
            | Event::Challenge(_)
            | Event::Authenticated(_)
            | Event::AuthRefused(_)
            | Event::Other(_)
            | Event::LeftOver(_)
            | Event::Delivered(..) => {}
        }
        self.inbox.consume(used);
        step
    }

    /// The connection is over: what was under way is submitted again, unless the server may have it.
    fn finish(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let fate = self.session.fates()[0];
        self.world.note(|ledger| match fate {
            Some(Fate::InDoubt) => ledger.doubted(open.number),
            _ => ledger.put_back(open.number, None),
        });
    }
}

/// A message that was not taken: again later, or never.
fn give_up(world: &World, open: Option<Open>, refusal: Option<(u16, String)>) -> Step {
    let Some(open) = open else {
        return Step::Go;
    };
    match refusal.or(open.refusal) {
        Some((500.., words)) => {
            world.note(|ledger| ledger.refused(open.number, words));
            Step::Go
        }
        other => {
            let words = other.map(|(_, words)| words);
            world.note(|ledger| ledger.put_back(open.number, words));
            Step::Pause
        }
    }
}

fn told(answer: &Answer<'_>) -> String {
    String::from_utf8_lossy(answer.raw()).into_owned()
}
