//! A dialogue: one connection, from its greeting to its end. The loop carries bytes between a stream and the
//! protocol's session; it awaits, and decides nothing. What comes before the first message is in `opening`,
//! what an answer means for the counts in `hearing`.
//!
//! Where the server offers PIPELINING and content goes by DATA, the end of one message and the envelope of the
//! next leave in one write, so up to two messages are in work. By BDAT a whole message is one write anyway,
//! and to begin the next before the answer would cost a RSET (RFC 3030 section 2): there it is one at a time.

mod hearing;
mod opening;

use super::message::Message;
use super::outgoing::Outgoing;
use super::session::{Desk, describe};
use super::shard::World;
use super::supply::{Taken, Ticket};
use super::tally::Failure;
use crate::cli::Tls;
use hearing::{Heard, settle};
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{Envelope, Next, Recipient, Session};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::time::Instant;
use mailrail_runtime::net::inbox::{Fill, Inbox};
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::{clock, shard};
use std::collections::VecDeque;

/// How long the server may take for an answer, and to read what we write.
const ANSWER_US_MAX: u64 = 120_000_000;
/// The same for the answer to QUIT, which hardly matters.
const QUIT_US_MAX: u64 = 2_000_000;

/// What ended a connection.
#[derive(Debug)]
pub(super) enum End {
    /// It was of no more use to us.
    Done,
    /// It broke, or the server ended it.
    Lost(String),
    /// No other connection will do better.
    Useless(String),
}

/// A message whose end has not been told.
#[derive(Debug)]
struct Work {
    ticket: Ticket,
    /// When its commands were last written.
    asked: u64,
    /// When the last byte of its content was.
    content_ended: u64,
    content_len: u64,
    /// Recipients that were refused, in their order.
    refused: Vec<u16>,
    /// The last refusal.
    failure: Option<Failure>,
}

/// One connection.
pub(super) struct Dialogue<'w> {
    world: &'w World,
    stream: Stream,
    inbox: Inbox,
    session: Session<'w>,
    outgoing: Outgoing,
    /// Oldest first; at most two.
    works: VecDeque<Work>,
    started: u64,
    /// When something last came, or was taken up.
    now: u64,
    begun_count: u32,
    answered_count: u32,
    is_quitting: bool,
}

impl<'w> Dialogue<'w> {
    /// On a connection that stands, and was begun at `started`.
    pub(super) fn new(world: &'w World, stream: Stream, started: u64) -> Self {
        world.open_count.set(world.open_count.get() + 1);
        let now = clock::micros();
        let begun = Instant::from_micros(now);
        let session = match world.work.plan.tls {
            Tls::Implicit => Session::over_tls(&world.config, begun),
            Tls::Off | Tls::Starttls => Session::new(&world.config, begun),
        };
        Self {
            world,
            stream,
            inbox: Inbox::new(),
            session,
            outgoing: Outgoing::default(),
            works: VecDeque::with_capacity(2),
            started,
            now,
            begun_count: 0,
            answered_count: 0,
            is_quitting: false,
        }
    }

    /// Messages that the server has answered on this connection.
    pub(super) fn answered_count(&self) -> u32 {
        self.answered_count
    }

    /// Sends messages until there are no more for this connection, or it ends.
    pub(super) async fn run(&mut self, desk: &mut Desk) -> End {
        match self.lead(desk).await {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }

    async fn lead(&mut self, desk: &mut Desk) -> Result<(), End> {
        while let Some(ticket) = self.next().await? {
            let work = &self.world.work;
            desk.message.compose(&work.plan, &work.date, ticket.number);
            let message = &mut desk.message;
            let mut recipients = emptied(std::mem::take(&mut desk.recipients));
            recipients.extend(message.recipients().filter_map(recipient));
            let is_due = self.send_envelope(ticket, message, &recipients).await?;
            desk.recipients = emptied(recipients);
            if is_due {
                self.add_content(message);
            }
            shard::yield_if_needed().await;
        }
        self.take_leave().await
    }

    /// The next message for this connection, as soon as the dialogue is ready for it; `None`: there is none, and
    /// QUIT was said.
    async fn next(&mut self) -> Result<Option<Ticket>, End> {
        loop {
            let is_used_up = self.session.is_used_up()
                || self.begun_count >= self.world.work.plan.message_count_max;
            let taken = if is_used_up {
                Taken::Nothing
            } else if self.may_begin() {
                self.world.take(self.now)
            } else {
                Taken::Later
            };
            match taken {
                Taken::Message(ticket) => return Ok(Some(ticket)),
                Taken::Later if self.works.is_empty() && self.may_begin() => {
                    self.flush().await?;
                    if let Some(ticket) = self.world.wait().await {
                        self.now = clock::micros();
                        return Ok(Some(ticket));
                    }
                }
                Taken::Nothing if self.session.quit(self.outgoing.commands()) => {
                    self.is_quitting = true;
                    return Ok(None);
                }
                // Where QUIT must wait, or the next message, it is for an answer.
                Taken::Later | Taken::Nothing => self.hear_some().await?,
            }
        }
    }

    fn may_begin(&self) -> bool {
        let is_chunking =
            self.world.config.chunking && self.session.extensions().has(Extension::Chunking);
        self.session.can_begin() && (self.works.is_empty() || !is_chunking)
    }

    /// Leads a transaction up to its content; false if it has ended before that.
    async fn send_envelope(
        &mut self,
        ticket: Ticket,
        message: &Message,
        recipients: &[Recipient<'_>],
    ) -> Result<bool, End> {
        let from = Mailbox::parse(&message.sender, Charset::Ascii);
        let from = from.map_or(ReversePath::Null, ReversePath::Mailbox);
        let mut envelope = Envelope::new(from, recipients);
        envelope.mail.size = Some(message.size as u64);
        envelope.leading_dots = false;
        self.session.begin();
        self.begun_count += 1;
        self.works.push_back(Work {
            ticket,
            asked: self.now,
            content_ended: self.now,
            content_len: message.size as u64,
            refused: Vec::new(),
            failure: None,
        });
        while self.session.write(&envelope, self.outgoing.commands()) != Next::Body {
            self.hear_some().await?;
            let newest = self.works.back().map(|work| work.ticket.number);
            if newest != Some(ticket.number) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The content and its end are the next to be written; the commands of a next message may follow in the same
    /// write.
    fn add_content(&mut self, message: &mut Message) {
        let body_len = message.size - message.header.len();
        self.session.set_unsent(true);
        let (lines, last) = self.world.work.content.slices(body_len);
        let pieces: [&[u8]; 3] = [&message.header, lines, last];
        for piece in pieces {
            // No line begins with a dot, so each piece goes out as it is.
            let _ = self.session.segments(piece);
        }
        self.outgoing.set_content(&mut message.header, body_len);
        self.session.end_body(self.outgoing.commands());
    }

    /// Writes all there is.
    async fn flush(&mut self) -> Result<(), End> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let has_content = self.outgoing.has_content();
        let deadline = clock::coarse_after(ANSWER_US_MAX);
        let content = &self.world.work.content;
        let written = self.outgoing.flush(&mut self.stream, content, deadline);
        if let Err(error) = written.await {
            return Err(self.last_words(End::Lost(describe(&error))));
        }
        if !has_content {
            if let Some(newest) = self.works.back_mut() {
                newest.asked = self.now;
            }
            return Ok(());
        }
        self.session.set_unsent(false);
        // A long content takes its time; what follows it was asked behind it.
        self.now = clock::micros();
        let count = self.works.len();
        if let Some(oldest) = self.works.front_mut() {
            oldest.content_ended = self.now;
        }
        if let (2, Some(newest)) = (count, self.works.back_mut()) {
            newest.asked = self.now;
        }
        Ok(())
    }

    /// Writes what waits, and hears something: what is there already, or what comes next.
    async fn hear_some(&mut self) -> Result<(), End> {
        self.flush().await?;
        let mut has_heard = false;
        loop {
            match self.hear() {
                Heard::Something => has_heard = true,
                Heard::End(end) => return Err(end),
                Heard::NeedInput if has_heard => return Ok(()),
                Heard::NeedInput => self.read(ANSWER_US_MAX).await?,
            }
        }
    }

    async fn read(&mut self, wait_us: u64) -> Result<(), End> {
        let deadline = clock::coarse_after(wait_us);
        let filled = self.inbox.fill(&mut self.stream, deadline).await;
        self.now = clock::micros();
        match filled {
            Ok(Fill::Some) => Ok(()),
            Ok(Fill::Eof) => Err(End::Lost("the server closed the connection".into())),
            Ok(Fill::Deadline) => Err(End::Lost("no answer in time".into())),
            Err(error) => Err(End::Lost(describe(&error))),
        }
    }

    /// The connection broke: what the server said before that may still be there to be read.
    fn last_words(&mut self, end: End) -> End {
        let mut space = [0; 4096];
        while let Ok(Some(count @ 1..)) = self.stream.try_read(&mut space) {
            self.inbox.push(&space[..count]);
            loop {
                match self.hear() {
                    Heard::Something => {}
                    Heard::NeedInput => break,
                    Heard::End(end) => return end,
                }
            }
        }
        end
    }

    /// QUIT was said: hears what is still to be answered, and the farewell.
    async fn take_leave(&mut self) -> Result<(), End> {
        loop {
            self.flush().await?;
            match self.hear() {
                Heard::Something => {}
                Heard::End(End::Done) => return Ok(()),
                Heard::End(end) => return Err(end),
                Heard::NeedInput if self.works.is_empty() => {
                    // A server that says no farewell has taken all the same what it has taken.
                    if self.read(QUIT_US_MAX).await.is_err() {
                        return Ok(());
                    }
                }
                Heard::NeedInput => self.read(ANSWER_US_MAX).await?,
            }
        }
    }
}

impl Drop for Dialogue<'_> {
    /// Whatever ended the connection, each message of it gets its end.
    fn drop(&mut self) {
        self.world.open_count.set(self.world.open_count.get() - 1);
        let fates = self.session.fates();
        for (fate, work) in fates.into_iter().zip(self.works.drain(..)) {
            settle(self.world, &work, fate);
        }
    }
}

fn recipient(address: &[u8]) -> Option<Recipient<'_>> {
    let mailbox = Mailbox::parse(address, Charset::Ascii)?;
    Some(Recipient::new(ForwardPath::Mailbox(mailbox)))
}

/// The same memory for recipients that live for another time: collecting an empty row keeps its allocation.
fn emptied<'to>(mut recipients: Vec<Recipient<'_>>) -> Vec<Recipient<'to>> {
    recipients.clear();
    recipients
        .into_iter()
        .map(|_| unreachable!("the row was emptied"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_row_keeps_its_memory() {
        let text = b"x@a.example".to_vec();
        let mut recipients = Vec::with_capacity(100);
        recipients.extend(recipient(&text));
        let before = recipients.as_ptr().cast::<u8>();
        let recipients: Vec<Recipient<'static>> = emptied(recipients);
        assert!(recipients.is_empty() && recipients.capacity() == 100);
        assert_eq!(recipients.as_ptr().cast::<u8>(), before);
    }
}
