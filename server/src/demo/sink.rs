//! The receiving side: one connection from the server. It answers as its domain does by the script,
//! and tells the ledger what it has taken.

use super::ends::World;
use super::messages::{self, Message};
use super::places::{self, Manner};
use mailrail_protocol::address::ForwardPath;
use mailrail_protocol::reply::{Class, Code, Reply, Status};
use mailrail_protocol::server::{Event, Peer, Session};
use mailrail_protocol::time::Instant;
use mailrail_runtime::net::inbox::{Fill, Inbox};
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::{clock, shard};
use std::io;

/// How long the server may take to read a reply.
const WRITE_MICROS: u64 = 60_000_000;
/// Replies that are sent before the input is used up.
const FLUSH_LEN: usize = 4096;
/// Content beyond this is not one of ours.
const CONTENT_LEN_MAX: usize = 1024 * 1024;

const MAILBOX_BUSY: Reply<'static> = Reply::new(
    Code::of(450),
    Status::new(Class::Transient, 2, 1),
    "Mailbox busy, try again",
);
const SYSTEM_BUSY: Reply<'static> = Reply::new(
    Code::of(451),
    Status::new(Class::Transient, 3, 2),
    "System busy, try again",
);
const UNWANTED: Reply<'static> = Reply::new(
    Code::of(554),
    Status::new(Class::Permanent, 7, 1),
    "Message refused by policy",
);

/// What is known of the transaction that is open.
#[derive(Default)]
struct Transaction {
    /// The domain's manner, and the number in the address where it is of this run.
    recipient: Option<(Manner, Option<u64>)>,
    domain: &'static str,
    content: Vec<u8>,
    /// For comparing.
    scratch: Message,
}

/// Serves one connection to its end.
pub(super) async fn serve(mut stream: Stream, world: &World) -> io::Result<()> {
    let mut session = Session::new(&world.sink, Peer::PLAIN, now());
    let mut inbox = Inbox::new();
    let mut out = Vec::new();
    let mut transaction = Transaction::default();
    loop {
        let mut input = inbox.unread();
        let before = input.len();
        let event = session.receive(now(), &mut input, &mut out);
        let used = before - input.len();
        match event {
            Event::Connected(turn) => session.reply(turn, &Reply::GREETING, &mut out),
            Event::Hello(_, turn) => session.reply(turn, &Reply::HELLO, &mut out),
            Event::Mail(_, turn) => {
                transaction.recipient = None;
                session.reply(turn, &Reply::SENDER_OK, &mut out);
            }
            Event::Recipient(recipient, turn) => {
                let reply = transaction.recipient(&recipient.to, world);
                session.reply(turn, reply, &mut out);
            }
            Event::Data(turn) => {
                transaction.content.clear();
                session.reply(turn, &Reply::START_DATA, &mut out);
            }
            Event::Body(bytes) => transaction.body(bytes),
            Event::EndOfData(turn) => {
                let reply = transaction.end(world);
                session.reply(turn, reply, &mut out);
                inbox.consume(used);
                shard::yield_if_needed().await;
                continue;
            }
            Event::Other(_, turn)
            | Event::StartTls(turn)
            | Event::Auth(_, turn)
            | Event::Sasl(_, turn)
            | Event::EndOfDataFor(_, turn) => {
                session.reply(turn, &Reply::NOT_IMPLEMENTED, &mut out);
            }
            Event::Answered(..) | Event::Reset => {}
            Event::Close | Event::Handshake => {
                return stream.write_all(&out, clock::after(WRITE_MICROS)).await;
            }
            Event::NeedInput => {
                inbox.consume(used);
                flush(&mut stream, &mut out).await?;
                let deadline = session.deadline().map_or(clock::NEVER, Instant::as_micros);
                match inbox.fill(&mut stream, deadline).await? {
                    Fill::Some => {}
                    Fill::Eof => return Ok(()),
                    Fill::Deadline => session.handle_timeout(now(), &mut out),
                }
                continue;
            }
        }
        inbox.consume(used);
        if out.len() >= FLUSH_LEN {
            flush(&mut stream, &mut out).await?;
        }
    }
}

async fn flush(stream: &mut Stream, out: &mut Vec<u8>) -> io::Result<()> {
    if !out.is_empty() {
        stream.write_all(out, clock::after(WRITE_MICROS)).await?;
        out.clear();
    }
    Ok(())
}

fn now() -> Instant {
    Instant::from_micros(clock::micros())
}

impl Transaction {
    fn recipient(&mut self, to: &ForwardPath<'_>, world: &World) -> &'static Reply<'static> {
        let Some(mailbox) = to.mailbox() else {
            return &Reply::NO_SUCH_USER;
        };
        let Some(place) = places::find(mailbox.domain_str()) else {
            return &Reply::RELAY_DENIED;
        };
        let number = world.run.number_in(mailbox.local_part());
        if place.manner == Manner::RefuseRecipient {
            return &Reply::NO_SUCH_USER;
        }
        if place.manner == Manner::DeferRecipient && is_to_be_put_off(number, world) {
            return &MAILBOX_BUSY;
        }
        self.recipient = Some((place.manner, number));
        self.domain = place.domain;
        &Reply::RECIPIENT_OK
    }

    fn body(&mut self, bytes: &[u8]) {
        let room = CONTENT_LEN_MAX.saturating_sub(self.content.len());
        self.content
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The content is complete: takes it, or not.
    fn end(&mut self, world: &World) -> &'static Reply<'static> {
        let Some((manner, addressed)) = self.recipient.take() else {
            return &Reply::LOCAL_ERROR;
        };
        match manner {
            Manner::RefuseContent => return &UNWANTED,
            Manner::DeferContent if is_to_be_put_off(addressed, world) => return &SYSTEM_BUSY,
            _ => {}
        }
        // What it is, the content says and not the address: a message may not be taken for another.
        let Some(number) = world.run.number_of(&self.content) else {
            return &Reply::QUEUED;
        };
        let destination = messages::destination(number);
        if manner == Manner::Home {
            let is_due = destination.manner.is_refusal();
            world.note(|ledger| ledger.returned(number, is_due));
            return &Reply::QUEUED;
        }
        let is_intact = addressed == Some(number)
            && destination.domain == self.domain
            && world
                .run
                .is_intact(number, &self.content, &mut self.scratch);
        world.note(|ledger| ledger.seen(number, is_intact, clock::micros()));
        &Reply::QUEUED
    }
}

fn is_to_be_put_off(number: Option<u64>, world: &World) -> bool {
    number.is_some_and(|number| world.ledger.borrow_mut().put_off(number))
}
