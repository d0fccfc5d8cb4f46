//! One connection to another host, for as many messages as it takes: the loop that carries bytes
//! between a stream and the protocol's session. It awaits, and decides nothing.
//!
//! Where the peer offers PIPELINING, the end of one message and the envelope of the next leave in one
//! write, and with CHUNKING the next one as a whole, if they are small. So up to two parcels are in work: the older
//! waits for its answer, the newer is being sent.

use super::connect::{Connected, describe};
use super::output::Output;
use super::{Bits, Loaded, Outcome, OwnedAnswer, Report, Security, Source};
use crate::config::Network;
use crate::message::{Class, Flags, PayloadView, Status};
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{self, BodyKind, Envelope, Event, Fate, Next, Recipient, Session};
use mailrail_protocol::time::Instant;
use mailrail_runtime::net::inbox::{Fill, Inbox};
use mailrail_runtime::net::listening::Stretch;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::tls::TlsInfo;
use mailrail_runtime::{clock, shard};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::Poll;

/// Messages in a row before a connection lets the others run.
const MESSAGES_A_TURN: u32 = 16;
/// What a peer that answers nothing any more may take for reading a write of ours.
const QUIT_MICROS_MAX: u64 = 5_000_000;

/// How connections are led.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the protocol's sessions are set to.
    pub protocol: client::Config,
    /// Messages on one connection.
    pub message_count_max: u32,
    /// For the connection itself, in microseconds.
    pub connect_micros: u64,
    /// For the peer to take what we write, in microseconds.
    pub write_micros: u64,
    /// How long a connection without work is kept, in microseconds.
    pub idle_micros: u64,
    /// Addresses that an MX must not lead to.
    pub prohibited_hosts: Vec<Network>,
    /// Before the end of a message is sent it is noted that it follows.
    pub records_doubt: bool,
    /// What is asked of TLS.
    pub security: Security,
    /// Where to connect from.
    pub source_address: Option<IpAddr>,
}

/// A parcel in work.
struct Work<P> {
    parcel: P,
    recipients: Bits,
    outcome: Outcome,
    /// The message, until it is written.
    message: Option<Loaded>,
    /// It was noted that its end is about to be sent.
    is_noted: bool,
}

/// What ended a connection.
struct End {
    code: u16,
    detail: u16,
    text: String,
}

impl End {
    fn lost(text: String) -> Self {
        //= RFC 3463 section 3.5: X.4.2 is a bad connection
        Self {
            code: 421,
            detail: 2,
            text,
        }
    }

    fn answer(&self) -> OwnedAnswer {
        let status = Status::new(Class::Transient, 4, self.detail);
        OwnedAnswer::local(self.code, status, &self.text)
    }
}

/// Delivers a lane's parcels over a connection until there is no more work, or it ends.
pub async fn run<S: Source>(connected: Connected<'_>, source: &S, settings: &Settings) {
    let peer = connected.stream.peer();
    let mut connection = Connection {
        stream: connected.stream,
        inbox: connected.inbox,
        session: connected.session,
        output: Output::default(),
        works: VecDeque::with_capacity(2),
        source,
        settings,
        peer,
        host: connected.host,
        tls: connected.tls,
        begun_count: 0,
        answered_count: 0,
        is_quitting: false,
    };
    let end = connection.run().await;
    connection.finish(&end);
}

struct Connection<'c, S: Source> {
    stream: Stream,
    inbox: Inbox,
    session: Session<'c>,
    output: Output,
    /// Oldest first; at most two.
    works: VecDeque<Work<S::Parcel>>,
    source: &'c S,
    settings: &'c Settings,
    peer: SocketAddr,
    host: String,
    tls: Option<TlsInfo>,
    begun_count: u32,
    answered_count: u32,
    is_quitting: bool,
}

impl<S: Source> Connection<'_, S> {
    async fn run(&mut self) -> End {
        let mut turn_count = 0;
        // Whatever has come is heard before more is written: what was there before a command cannot answer it.
        let mut is_all_heard = true;
        loop {
            if is_all_heard {
                if let Err(end) = self.begin().await {
                    return end;
                }
                match self.write().await {
                    Ok(ControlFlow::Break(())) => continue,
                    Ok(ControlFlow::Continue(())) => {}
                    Err(end) => return end,
                }
            }
            let was_all_heard = is_all_heard;
            let heard = self.hear();
            is_all_heard = matches!(heard, Heard::NeedInput) && !was_all_heard;
            match heard {
                Heard::Something => {}
                Heard::MessageEnd => {
                    turn_count += 1;
                    if turn_count % MESSAGES_A_TURN == 0 {
                        shard::yield_if_needed().await;
                    }
                }
                // Whoever has refused a content, or goes, does not wait for the rest of it.
                Heard::End(end) if self.output.has_content() => return end,
                Heard::End(end) => {
                    let deadline = clock::coarse_after(QUIT_MICROS_MAX);
                    let (stream, inbox) = (&mut self.stream, &mut self.inbox);
                    let _ = self.output.flush(stream, inbox, deadline).await;
                    return end;
                }
                Heard::NeedInput if is_all_heard => {}
                Heard::NeedInput => {
                    if let Err(end) = self.wait().await {
                        return end;
                    }
                }
            }
        }
    }

    /// Whether the dialogue is ready for a next parcel.
    fn can_begin(&self) -> bool {
        !self.is_quitting
            && self.works.len() < 2
            && self.works.back().is_none_or(|work| work.message.is_none())
            && self.session.can_begin()
            && self.begun_count < self.settings.message_count_max
            && !self.source.is_stopping()
    }

    /// Takes the next parcel, if the dialogue is ready for one.
    async fn begin(&mut self) -> Result<(), End> {
        let source = self.source;
        while self.can_begin()
            && let Some(parcel) = source.take()
        {
            let (loaded, meanwhile) = {
                let mut loading = pin!(source.load(&parcel));
                let first = poll_fn(|context| Poll::Ready(loading.as_mut().poll(context)));
                match first.await {
                    Poll::Ready(loaded) => (loaded, Ok(true)),
                    Poll::Pending => {
                        // What is ready to leave does not wait for the disk.
                        let flushed = self.flush().await;
                        (loading.await, flushed.map(|_| self.can_begin()))
                    }
                }
            };
            match meanwhile {
                Ok(true) => {}
                Ok(false) => {
                    source.give_back(parcel);
                    return Ok(());
                }
                Err(end) => {
                    source.give_back(parcel);
                    return Err(end);
                }
            }
            let recipients = source.recipients(&parcel);
            match loaded {
                Ok(message) => {
                    let lost = unreadable(&message, recipients);
                    if lost != 0 {
                        // The others of the group are tried at once.
                        //= RFC 3463 section 3.2: X.1.3 is a bad destination mailbox address syntax
                        let status = Status::new(Class::Permanent, 1, 3);
                        let text = "the recipient's address makes no sense";
                        let answer = OwnedAnswer::local(553, status, text);
                        source.settle(parcel, Report::all(lost, answer));
                        continue;
                    }
                    self.session.begin();
                    self.begun_count += 1;
                    self.works.push_back(Work {
                        parcel,
                        recipients,
                        outcome: Outcome::new(recipients, self.peer, &self.host, self.tls),
                        message: Some(message),
                        is_noted: false,
                    });
                    return Ok(());
                }
                Err(reason) => {
                    //= RFC 3463 section 3.4: X.3.0 is an undefined mail system status
                    let status = Status::new(Class::Transient, 3, 0);
                    let answer = OwnedAnswer::local(451, status, &reason);
                    source.settle(parcel, Report::all(recipients.bits, answer));
                }
            }
        }
        Ok(())
    }

    /// Writes what the peer is ready for into the output. `Break`: a message is complete, and the next
    /// may follow in the same write.
    async fn write(&mut self) -> Result<ControlFlow<()>, End> {
        let Some(work) = self.works.back_mut() else {
            return Ok(ControlFlow::Continue(()));
        };
        let Some(message) = &work.message else {
            return Ok(ControlFlow::Continue(()));
        };
        let view = message
            .view()
            .map_err(|error| End::lost(error.to_string()))?;
        let next = with_envelope(&view, work.recipients, |envelope| {
            self.session.write(envelope, self.output.commands())
        });
        if next == Next::Wait {
            return Ok(ControlFlow::Continue(()));
        }
        let start = message.content_start(&view);
        let Some(message) = work.message.take() else {
            return Ok(ControlFlow::Continue(()));
        };
        // What is noted before a message's end is sent needs what is before it to have left.
        let joins = self.output.can_join() && !self.settings.records_doubt;
        if self.output.has_content() && !joins {
            self.flush().await?;
        }
        self.session.set_unsent(true);
        for chunk in message.payload().chunks_from(start) {
            let base = chunk.as_slice().as_ptr() as usize;
            for segment in self.session.segments(chunk.as_slice()) {
                if self.output.is_full() {
                    self.flush().await?;
                }
                let from = segment.as_ptr() as usize - base;
                self.output.push(chunk.slice(from..from + segment.len()));
            }
        }
        if self.settings.records_doubt {
            self.note_doubt().await?;
        }
        self.session.end_body(self.output.commands());
        self.output.mark_end();
        Ok(ControlFlow::Break(()))
    }

    /// Notes that the end of the newest message follows, when all but the last bytes of it have left.
    async fn note_doubt(&mut self) -> Result<(), End> {
        let last = self.output.keep_last();
        self.flush().await?;
        if let Some(last) = last {
            self.output.push(last);
        }
        let Some(work) = self.works.back_mut() else {
            return Ok(());
        };
        let bits = work.outcome.unanswered();
        match self.source.in_doubt(&work.parcel, bits).await {
            Ok(()) => work.is_noted = true,
            Err(why) => {
                let end = End::lost(format!("not sent to its end: {why}"));
                return Err(self.last_words(end));
            }
        }
        Ok(())
    }

    /// Writes all of the output. While the peer takes nothing it is heard: what it says ends the writing, if it
    /// ends the connection. Whether it has said something.
    async fn flush(&mut self) -> Result<bool, End> {
        let deadline = clock::coarse_after(self.settings.write_micros);
        let mut has_heard = false;
        loop {
            let (stream, inbox) = (&mut self.stream, &mut self.inbox);
            let stretch = self.output.flush(stream, inbox, deadline).await;
            for _ in 0..self.output.take_ended() {
                self.session.end_has_left();
            }
            match stretch {
                Ok(Stretch::Written) => return Ok(has_heard),
                Ok(Stretch::Heard) => {
                    has_heard = true;
                    if let Some(end) = self.hear_all() {
                        return Err(end);
                    }
                }
                Ok(Stretch::Eof) => {
                    return Err(End::lost("the next host closed the connection".into()));
                }
                Err(error) => return Err(self.last_words(End::lost(describe(&error)))),
            }
        }
    }

    /// One answer of the peer's.
    fn hear(&mut self) -> Heard<End> {
        let now = Instant::from_micros(clock::coarse_micros());
        let mut input = self.inbox.unread();
        let before = input.len();
        let event = self
            .session
            .receive(now, &mut input, self.output.commands());
        let used = before - input.len();
        let mut heard = Heard::Something;
        match event {
            Event::NeedInput => heard = Heard::NeedInput,
            Event::Mail(answer) => {
                if let Some(work) = self.works.front_mut() {
                    work.outcome.mail(&answer);
                }
            }
            Event::Recipient(index, answer) => {
                if let Some(work) = self.works.front_mut() {
                    work.outcome.recipient(index, &answer);
                }
            }
            Event::Sent(answer) => {
                if let Some(work) = self.works.front_mut() {
                    work.outcome.sent(&answer);
                }
                heard = Heard::MessageEnd;
            }
            Event::LeftOver(from) => {
                if let Some(work) = self.works.front_mut() {
                    work.outcome.left_over(from);
                }
            }
            Event::Over => heard = Heard::MessageEnd,
            Event::Unsendable(reason) => {
                if let Some(work) = self.works.front_mut() {
                    work.outcome.unsendable(reason);
                }
                heard = Heard::MessageEnd;
            }
            Event::Refused(answer) => {
                if let Some(mut work) = self.works.pop_front() {
                    work.outcome.sent(&answer);
                    self.answered_count += 1;
                    self.source.settle(work.parcel, work.outcome.finish());
                }
                heard = Heard::End(End::lost("refused in the middle of the content".into()));
            }
            Event::Close(answer) => {
                let answer = OwnedAnswer::of(&answer);
                heard = Heard::End(End {
                    code: answer.code,
                    detail: 2,
                    text: String::from_utf8_lossy(&answer.text).into_owned(),
                });
            }
            Event::Broken(violation, _) => {
                heard = Heard::End(End::lost(format!(
                    "the next host broke the protocol: {violation:?}"
                )));
            }
            Event::Closed => heard = Heard::End(End::lost("connection closed".into())),
            Event::Answered
            | Event::Ready(_)
            | Event::SendBody
            | Event::Handshake
            | Event::TlsRefused(_)
            // Nothing of this is asked for.
            | Event::Challenge(_)
            | Event::Authenticated(_)
            | Event::AuthRefused(_)
            | Event::Other(_)
            | Event::Delivered(..) => {}
        }
        self.inbox.consume(used);
        if matches!(heard, Heard::MessageEnd)
            && let Some(work) = self.works.pop_front()
        {
            if work.outcome.is_untried() {
                self.source.give_back(work.parcel);
            } else {
                self.answered_count += 1;
                self.source.settle(work.parcel, work.outcome.finish());
            }
        }
        heard
    }

    /// Sends what is written and waits: for the peer, or, without work, for a parcel.
    async fn wait(&mut self) -> Result<(), End> {
        if self.flush().await? {
            return Ok(());
        }
        if self.works.is_empty() && !self.is_quitting {
            return self.wait_for_work().await;
        }
        let deadline = self
            .session
            .deadline()
            .map_or(clock::NEVER, Instant::as_micros);
        match self.inbox.fill(&mut self.stream, deadline).await {
            Ok(Fill::Some) => Ok(()),
            Ok(Fill::Eof) => Err(End::lost("the next host closed the connection".into())),
            Ok(Fill::Deadline) => {
                self.session
                    .handle_timeout(Instant::from_micros(clock::coarse_micros()));
                Ok(())
            }
            Err(error) => Err(End::lost(describe(&error))),
        }
    }

    async fn wait_for_work(&mut self) -> Result<(), End> {
        //= RFC 9422 section 4: what the peer's limits leave no room for needs another connection
        let is_used_up =
            self.begun_count >= self.settings.message_count_max || self.session.is_used_up();
        let filled = if is_used_up || self.source.is_stopping() {
            Some(Ok(Fill::Deadline))
        } else {
            let idle_until = clock::coarse_after(self.settings.idle_micros);
            let mut fill = pin!(self.inbox.fill(&mut self.stream, idle_until));
            let mut work = pin!(self.source.work());
            poll_fn(|context| {
                if let Poll::Ready(filled) = fill.as_mut().poll(context) {
                    return Poll::Ready(Some(filled));
                }
                work.as_mut().poll(context).map(|()| None)
            })
            .await
        };
        match filled {
            None | Some(Ok(Fill::Some)) => Ok(()),
            Some(Ok(Fill::Deadline)) => {
                self.is_quitting = true;
                self.session.quit(self.output.commands());
                Ok(())
            }
            Some(Ok(Fill::Eof)) => Err(End::lost("the next host closed the connection".into())),
            Some(Err(error)) => Err(End::lost(describe(&error))),
        }
    }

    /// The connection broke: what the peer said before that may still be there to be read.
    fn last_words(&mut self, end: End) -> End {
        let mut space = [0; 4096];
        while let Ok(Some(count @ 1..)) = self.stream.try_read(&mut space) {
            self.inbox.push(&space[..count]);
            if let Some(told) = self.hear_all() {
                return told;
            }
        }
        end
    }

    /// Everything that has come; the end of the connection, if it is told.
    fn hear_all(&mut self) -> Option<End> {
        loop {
            match self.hear() {
                Heard::Something | Heard::MessageEnd => {}
                Heard::NeedInput => return None,
                Heard::End(end) => return Some(end),
            }
        }
    }

    /// Everything that is still in work gets its end.
    fn finish(&mut self, end: &End) {
        let fates = self.session.fates();
        let is_proven = self.answered_count > 0;
        for fate in fates.into_iter().chain(std::iter::repeat(None)) {
            let Some(work) = self.works.pop_front() else {
                return;
            };
            if work.outcome.is_untried() {
                self.source.give_back(work.parcel);
                continue;
            }
            let recipients = work.recipients;
            // One that carried messages is often ended just as the next one is sent: that says nothing of the host.
            let is_silent = !is_proven && work.outcome.is_silent();
            let fate = fate.unwrap_or(Fate::Unsent);
            let report = work.outcome.lost(fate, end.answer(), work.is_noted);
            // A connection that carried messages may just have reached its end; one that never
            // did would be tried again and again, so this counts as an attempt.
            let attempt = || (!is_proven).then(|| Report::all(recipients.bits, end.answer()));
            match report.or_else(attempt) {
                Some(mut report) => {
                    report.is_silent = is_silent;
                    self.source.settle(work.parcel, report);
                }
                None => self.source.give_back(work.parcel),
            }
        }
    }
}

enum Heard<E> {
    Something,
    NeedInput,
    MessageEnd,
    End(E),
}

/// Those of the recipients that no command can name. There should be none: they were parsed when they
/// came. But left out of the dialogue they would shift everybody else's answers.
fn unreadable(message: &Loaded, recipients: Bits) -> u128 {
    let Ok(view) = message.view() else {
        return 0;
    };
    let count = view.envelope.recipient_count();
    let is_bad = |position: &usize| {
        *position >= count
            || Mailbox::parse(view.envelope.recipient(*position), Charset::Utf8).is_none()
    };
    let bad = recipients.positions().filter(is_bad);
    bad.fold(0, |bits, position| {
        bits | 1 << (position - usize::from(recipients.first))
    })
}

/// Calls `with` with the envelope for these recipients of the message.
fn with_envelope<T>(
    view: &PayloadView<'_>,
    recipients: Bits,
    with: impl FnOnce(&Envelope<'_>) -> T,
) -> T {
    let mailbox = |text| Mailbox::parse(text, Charset::Utf8);
    let from = match mailbox(view.envelope.sender()) {
        Some(mailbox) => ReversePath::Mailbox(mailbox),
        None => ReversePath::Null,
    };
    let recipient = |position| {
        let to = mailbox(view.envelope.recipient(position))?;
        Some(Recipient::new(ForwardPath::Mailbox(to)))
    };
    let flags = view.meta.flags;
    let call = |recipients: &[Recipient<'_>]| {
        let mut envelope = Envelope::new(from, recipients);
        envelope.mail.size = Some(u64::from(view.meta.content_len));
        envelope.mail.smtputf8 = view.envelope.smtputf8();
        envelope.leading_dots = flags.has(Flags::LEADING_DOTS);
        envelope.mail.body = flags
            .has(Flags::EIGHT_BIT)
            .then_some(BodyKind::EightBitMime);
        with(&envelope)
    };
    let mut positions = recipients.positions();
    match (positions.next().and_then(recipient), positions.next()) {
        (Some(only), None) => call(&[only]),
        _ => {
            let all: Vec<Recipient<'_>> = recipients.positions().filter_map(recipient).collect();
            call(&all)
        }
    }
}
