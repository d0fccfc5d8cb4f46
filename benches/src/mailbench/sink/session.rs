//! One connection: carries bytes between the stream and the protocol's session, and answers its events by
//! the script. It decides nothing, looks at no content, and allocates nothing for a message.
//!
//! A copy counts when the bytes of its 250 have been written, not before.

use super::keep::Keeper;
use super::script::{Bucket, Lot, SiteScript, Step, Subject, Verdict};
use super::tally::Tally;
use crate::identity::Name;
use mailrail_protocol::address::ForwardPath;
use mailrail_protocol::command::Mail;
use mailrail_protocol::reply::{Code, OwnedReply, Reply, Status};
use mailrail_protocol::server::{Config, Event, Peer, Session, Tls};
use mailrail_protocol::time::Instant;
use mailrail_runtime::net::inbox::{Fill, Inbox};
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::tls::Acceptor;
use mailrail_runtime::{clock, shard, timer};
use std::cell::Cell;
use std::io;
use std::rc::Rc;

/// Replies are sent when nothing is left to read, or when so many bytes of them have come together.
const FLUSH_LEN: usize = 4096;
/// How long a peer may take to read our replies.
const WRITE_US_MAX: u64 = 300_000_000;
/// How long a handshake may take.
const HANDSHAKE_US_MAX: u64 = 60_000_000;
/// What an idle connection may keep of its output's memory.
const IDLE_OUT_LEN_MAX: usize = 256;

const TOO_FAST: Reply<'static> = Reply::new(
    Code::of(451),
    Status::for_code(Code::of(451), 7, 1),
    "Too many messages, try again later",
);
const ENOUGH: Reply<'static> = Reply::new(
    Code::of(421),
    Status::for_code(Code::of(421), 3, 2),
    "Enough messages on this connection",
);

/// What a site does about TLS.
#[derive(Debug, Clone)]
pub(super) enum Security {
    Plain,
    /// It is offered.
    Starttls(Acceptor),
    /// From the first byte.
    Implicit(Acceptor),
}

/// One address, on one shard.
#[derive(Debug)]
pub(super) struct Site {
    security: Security,
    pub(super) config: Config,
    pub(super) script: SiteScript,
    /// Connections open now.
    open: Cell<u32>,
    bucket: Cell<Option<Bucket>>,
}

impl Site {
    pub(super) fn new(config: Config, script: SiteScript, security: Security) -> Self {
        let bucket = script.limits.messages_per_second.map(Bucket::new);
        Self {
            security,
            config,
            script,
            open: Cell::new(0),
            bucket: Cell::new(bucket),
        }
    }

    /// Whether one more message may come now.
    fn may_come(&self, now_us: u64) -> bool {
        let Some(mut bucket) = self.bucket.get() else {
            return true;
        };
        let may_come = bucket.take(now_us);
        self.bucket.set(Some(bucket));
        may_come
    }
}

/// What all connections of a shard share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) tally: Tally,
    pub(super) keeper: Option<Keeper>,
    /// Questions about things that have no name, so far.
    draws: Cell<u64>,
}

impl World {
    pub(super) const fn new(tally: Tally, keeper: Option<Keeper>) -> Self {
        Self {
            tally,
            keeper,
            draws: Cell::new(0),
        }
    }

    fn draw(&self) -> Lot {
        let number = self.draws.get();
        self.draws.set(number + 1);
        Lot::Number(number)
    }
}

fn now() -> Instant {
    Instant::from_micros(clock::coarse_micros())
}

/// Counts a connection as open for as long as it is.
struct Presence<'c>(&'c Site, &'c World);

impl<'c> Presence<'c> {
    fn new(site: &'c Site, world: &'c World) -> Self {
        site.open.set(site.open.get() + 1);
        world.tally.opened(clock::coarse_micros());
        Self(site, world)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.1.tally.counters.open.less(1);
    }
}

/// Serves one connection to its end.
///
/// # Errors
/// When the connection is lost.
pub(super) async fn serve(mut stream: Stream, site: Rc<Site>, world: Rc<World>) -> io::Result<()> {
    let _presence = Presence::new(&site, &world);
    let mut peer = Peer::PLAIN;
    if let Security::Implicit(acceptor) = &site.security {
        shake_hands(&mut stream, acceptor).await?;
        peer = Peer::TLS;
    }
    let mut session = Session::new(&site.config, peer, now());
    let mut inbox = Inbox::new();
    let mut dialogue = Dialogue::new(&site, &world);
    loop {
        let mut input = inbox.unread();
        let before = input.len();
        let event = session.receive(now(), &mut input, &mut dialogue.out);
        let used = before - input.len();
        let (turn, said) = match event {
            Event::Body(bytes) => {
                dialogue.body(bytes);
                inbox.consume(used);
                continue;
            }
            Event::Connected(turn) => (turn, dialogue.connected()),
            Event::Hello(_, turn) => (turn, dialogue.hello()),
            Event::Mail(mail, turn) => (turn, dialogue.mail(&mail)),
            Event::Recipient(recipient, turn) => (turn, dialogue.recipient(&recipient.to)),
            Event::Data(turn) => (turn, dialogue.data()),
            Event::EndOfData(turn) => (turn, dialogue.end()),
            Event::Other(other, turn) => (turn, Said::at_once(other.default_reply())),
            Event::StartTls(turn) => (turn, Said::at_once(dialogue.start_tls())),
            Event::Auth(_, turn) | Event::Sasl(_, turn) | Event::EndOfDataFor(_, turn) => {
                (turn, Said::at_once(Reply::NOT_IMPLEMENTED))
            }
            Event::Answered(..) => {
                inbox.consume(used);
                continue;
            }
            Event::Reset => {
                dialogue.forget();
                inbox.consume(used);
                continue;
            }
            Event::Handshake => {
                inbox.consume(used);
                dialogue.flush(&mut stream).await?;
                if let Security::Starttls(acceptor) = &site.security {
                    shake_hands(&mut stream, acceptor).await?;
                }
                session.tls_established(Tls::PLAIN);
                continue;
            }
            Event::Close => return dialogue.flush(&mut stream).await,
            Event::NeedInput => {
                inbox.consume(used);
                dialogue.flush(&mut stream).await?;
                let deadline_us = session.deadline().map_or(clock::NEVER, Instant::as_micros);
                match inbox.fill(&mut stream, deadline_us).await? {
                    Fill::Some => {}
                    Fill::Eof => return Ok(()),
                    Fill::Deadline => session.handle_timeout(now(), &mut dialogue.out),
                }
                continue;
            }
        };
        inbox.consume(used);
        if said.delay_us > 0 {
            // What was answered before is not late.
            dialogue.flush(&mut stream).await?;
            timer::sleep(said.delay_us).await;
        }
        let reply = match said.takes_message() && world.keeper.is_some() {
            true => dialogue.keep(said.reply).await,
            false => said.reply,
        };
        session.reply(turn, &reply, &mut dialogue.out);
        dialogue.note(said.step, &reply);
        if said.step == Some(Step::End) {
            shard::yield_if_needed().await;
        }
        if dialogue.out.len() >= FLUSH_LEN {
            dialogue.flush(&mut stream).await?;
        }
    }
}

/// Boxed, so that a connection without TLS does not carry the room for it.
async fn shake_hands(stream: &mut Stream, acceptor: &Acceptor) -> io::Result<()> {
    let deadline_us = clock::coarse_after(HANDSHAKE_US_MAX);
    Box::pin(stream.accept_tls(acceptor, deadline_us)).await?;
    Ok(())
}

/// An answer that is decided and not given.
struct Said<'s> {
    /// `None`: nothing that is counted.
    step: Option<Step>,
    reply: Reply<'s>,
    delay_us: u64,
}

impl<'s> Said<'s> {
    const fn at_once(reply: Reply<'s>) -> Self {
        Self {
            step: None,
            reply,
            delay_us: 0,
        }
    }

    fn by(step: Step, verdict: Verdict<'s>, usual: Reply<'s>) -> Self {
        Self {
            step: Some(step),
            reply: verdict.reply.map_or(usual, OwnedReply::as_reply),
            delay_us: verdict.delay_us,
        }
    }

    fn takes_message(&self) -> bool {
        self.step == Some(Step::End) && self.reply.is_positive()
    }
}

/// What was said on a connection and is to be said.
struct Dialogue<'w> {
    site: &'w Site,
    world: &'w World,
    out: Vec<u8>,
    /// Copies: first those whose 250 is in `out`, then those of the open transaction.
    names: Vec<Option<Name>>,
    taken_len: usize,
    /// Messages whose 250 is in `out`, and their content.
    taken_count: u64,
    taken_bytes: u64,
    /// Content of the open transaction.
    bytes: u64,
    /// The same itself, where it is kept.
    content: Vec<u8>,
    /// Messages taken on this connection.
    message_count: u32,
    /// The sender's domain, where the script wants to know it.
    sender: String,
    /// What becomes of the open transaction: its first recipient decides.
    data: Verdict<'w>,
    end: Verdict<'w>,
}

impl<'w> Dialogue<'w> {
    fn new(site: &'w Site, world: &'w World) -> Self {
        Self {
            site,
            world,
            out: Vec::new(),
            names: Vec::new(),
            taken_len: 0,
            taken_count: 0,
            taken_bytes: 0,
            bytes: 0,
            content: Vec::new(),
            message_count: 0,
            sender: String::new(),
            data: Verdict::default(),
            end: Verdict::default(),
        }
    }

    /// Writes what is to be said, and counts what it has acknowledged.
    async fn flush(&mut self, stream: &mut Stream) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let deadline_us = clock::coarse_after(WRITE_US_MAX);
        stream.write_all(&self.out, deadline_us).await?;
        self.out.clear();
        self.out.shrink_to(IDLE_OUT_LEN_MAX);
        if self.taken_count > 0 {
            let tally = &self.world.tally;
            for name in self.names.drain(..self.taken_len) {
                tally.copy(name);
            }
            tally.messages(self.taken_count, self.taken_bytes, clock::coarse_micros());
            (self.taken_len, self.taken_count, self.taken_bytes) = (0, 0, 0);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.names.truncate(self.taken_len);
        self.content.clear();
        self.bytes = 0;
    }

    fn connected(&self) -> Said<'w> {
        let limits = &self.site.script.limits;
        if limits
            .connections_max
            .is_some_and(|max| self.site.open.get() > max)
        {
            return Said {
                step: Some(Step::Connect),
                ..Said::at_once(Reply::TOO_MANY_CONNECTIONS)
            };
        }
        self.decide_by_draw(Step::Connect, &Subject::default(), Reply::GREETING)
    }

    fn hello(&mut self) -> Said<'w> {
        self.forget();
        self.decide_by_draw(Step::Hello, &Subject::default(), Reply::HELLO)
    }

    const fn start_tls(&self) -> Reply<'static> {
        match self.site.security {
            Security::Starttls(_) => Reply::START_TLS,
            _ => Reply::NOT_IMPLEMENTED,
        }
    }

    fn decide_by_draw(&self, step: Step, subject: &Subject<'_>, usual: Reply<'static>) -> Said<'w> {
        let verdict = self.site.script.decide(step, subject, self.world.draw());
        Said::by(step, verdict, usual)
    }

    fn mail(&mut self, mail: &Mail<'_>) -> Said<'w> {
        self.forget();
        let script = &self.site.script;
        let at_mail = |reply| Said {
            step: Some(Step::Mail),
            ..Said::at_once(reply)
        };
        let is_enough = |max| self.message_count >= max;
        if script.limits.messages_per_connection.is_some_and(is_enough) {
            return at_mail(ENOUGH);
        }
        if !self.site.may_come(clock::coarse_micros()) {
            return at_mail(TOO_FAST);
        }
        let domain = mail
            .from
            .mailbox()
            .map_or("", |mailbox| mailbox.domain_str());
        if script.heeds_senders {
            self.sender.clear();
            self.sender.push_str(domain);
        }
        let subject = Subject {
            sender: Some(domain),
            recipient: None,
        };
        self.decide_by_draw(Step::Mail, &subject, Reply::SENDER_OK)
    }

    fn recipient(&mut self, to: &ForwardPath<'_>) -> Said<'w> {
        let (name, domain) = match to.mailbox() {
            Some(mailbox) => (
                Name::parse(mailbox.local_part().as_bytes()),
                mailbox.domain_str(),
            ),
            None => (None, ""),
        };
        let script = &self.site.script;
        let lot = match name {
            Some(name) if script.counts_attempts => Lot::Copy(name, self.world.tally.asked(name)),
            Some(name) => Lot::Copy(name, 1),
            None => self.world.draw(),
        };
        let subject = Subject {
            sender: Some(&self.sender),
            recipient: Some(domain),
        };
        let said = Said::by(
            Step::Recipient,
            script.decide(Step::Recipient, &subject, lot),
            Reply::RECIPIENT_OK,
        );
        if said.reply.is_positive() {
            if self.names.len() == self.taken_len {
                self.data = script.decide(Step::Data, &subject, lot);
                self.end = script.decide(Step::End, &subject, lot);
            }
            self.names.push(name);
        }
        said
    }

    fn data(&self) -> Said<'w> {
        Said::by(Step::Data, self.data, Reply::START_DATA)
    }

    fn body(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.world.keeper.is_some() {
            self.content.extend_from_slice(bytes);
        }
    }

    fn end(&self) -> Said<'w> {
        Said::by(Step::End, self.end, Reply::QUEUED)
    }

    /// Keeps the content, or says why not.
    async fn keep(&mut self, reply: Reply<'w>) -> Reply<'w> {
        let Some(keeper) = &self.world.keeper else {
            return reply;
        };
        let name = self.names.get(self.taken_len).copied().flatten();
        let content = std::mem::take(&mut self.content);
        match keeper.keep(name, content).await {
            Ok(()) => reply,
            Err(error) => {
                eprintln!("mailbench: {error}");
                Reply::LOCAL_ERROR
            }
        }
    }

    /// An answer is in `out`.
    fn note(&mut self, step: Option<Step>, reply: &Reply<'_>) {
        let Some(step) = step else { return };
        let counters = &self.world.tally.counters;
        match reply.code.get() {
            421 => {
                counters.deferred.add(1);
                counters.closed.add(1);
            }
            400..=499 => counters.deferred.add(1),
            500..=599 => counters.refused.add(1),
            _ if step == Step::End => {
                self.taken_len = self.names.len();
                self.taken_count += 1;
                self.taken_bytes += self.bytes;
                self.message_count = self.message_count.saturating_add(1);
            }
            _ => {}
        }
        if step == Step::End {
            self.forget();
        }
    }
}
