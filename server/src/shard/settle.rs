//! What comes of an attempt: verdicts are recorded, senders are told, events are written, and what
//! nobody waits for any more is forgotten.
//!
//! The order is the promise: a report to the sender is durable before the failure it tells of is
//! recorded, and a record is with the log before the queue forgets.

use super::intake::now;
use super::memory::Reservation;
use super::outbound::{self, Parcel};
use super::world::{Seat, World, queue_place, spool_place};
use crate::deliver::{self, Loaded, OwnedAnswer, Part, Report};
use crate::dsn;
use crate::events::{self, Event, PeerName, Recipients};
use crate::message::{
    Answer, BodyKind, Durability, Envelope, Flags, Id, META_LEN, Meta, PayloadView, Timestamp,
};
use crate::queue::{self, Cause, Verdict};
use crate::spool::LoadError;
use crate::spool::entry::{self, Deferred, Kind, Settled};
use mailrail_runtime::log::{AppendError, ReadError};
use mailrail_runtime::{shard, timer};
use std::cell::Cell;
use std::rc::Rc;

/// The pause before a note is tried again that the disk had no room for.
const RETRY_MICROS: u64 = 1_000_000;
/// How often a message is read whose sender has to be told of a failure, with the same pause.
const READ_TRIES_MAX: u32 = 60;
/// Rows of the queue looked at in one go.
const PAGE_LEN: usize = 1000;
/// Bytes of messages moved before their commit is awaited.
const MOVED_BYTES_MAX: usize = 1024 * 1024;

/// A verdict with all that is known about it.
struct Case {
    verdict: Verdict,
    report: Report,
    /// The message; `None` if it could not be read.
    message: Option<Loaded>,
    /// Room for the message, where it was read back.
    _room: Option<Rc<Reservation>>,
}

impl Case {
    /// Whether somebody has to be told of a failure.
    fn is_reported(&self) -> bool {
        let view = self
            .message
            .as_ref()
            .and_then(|message| message.view().ok());
        let has_sender = view.is_some_and(|view| view.envelope.return_path().is_some());
        self.verdict.bounced() != 0 && has_sender
    }
}

/// Something that waits for the disk. While there are many, no more parcels are taken.
struct Stuck(Rc<Cell<u32>>);

impl Stuck {
    fn new(count: &Rc<Cell<u32>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn bits(parts: &[Part]) -> u128 {
    parts.iter().fold(0, |bits, part| bits | part.bits)
}

impl World {
    /// A connection has tried a parcel.
    pub(super) fn settle(&self, parcel: Parcel, mut report: Report) {
        let tried = parcel.parcel.bits;
        let doubt = self.decide_doubt(&parcel.parcel, &mut report);
        let outcome = queue::Outcome {
            delivered: bits(&report.delivered),
            failed: bits(&report.failed),
            deferred: bits(&report.deferred),
        };
        let entry = parcel.parcel.entry;
        let verdict = self
            .queue
            .borrow_mut()
            .judge_in_doubt(now(), entry, &outcome, tried, doubt);
        // Others of the group become too old with those that were tried, and this report knows nothing of them.
        let unheard = verdict.expired & !outcome.deferred;
        let mut case = Case {
            verdict,
            report,
            message: parcel.loaded.into_inner(),
            _room: parcel.room,
        };
        if unheard == 0 {
            return self.conclude(case);
        }
        let world = self.rc();
        self.spawn_work(async move {
            let (id, first) = (case.verdict.id, case.verdict.first);
            let doubt = world.queue.borrow().in_doubt(id, first) & unheard;
            let answer = world.last_answer(&case.verdict).await;
            case.report = case
                .report
                .and(unheard & !doubt, answer)
                .and(doubt, deliver::in_doubt(None));
            world.conclude(case);
        });
    }

    /// The queue itself has come to a verdict: too old, or nowhere to go.
    pub(super) fn sentence(&self, verdict: Verdict, seat: Seat) {
        let world = self.rc();
        self.sentence_count.set(self.sentence_count.get() + 1);
        self.spawn_work(async move {
            let (message, room) = match seat {
                Seat::Taken(loaded) => (Some(loaded), None),
                Seat::Free(room) => {
                    let loaded = world.load(verdict.id, verdict.place).await;
                    (loaded.ok(), Some(Rc::new(room)))
                }
            };
            let doubt = world.queue.borrow().in_doubt(verdict.id, verdict.first) & verdict.expired;
            let answer = match &verdict.cause {
                Cause::Age => world.last_answer(&verdict).await,
                Cause::Answer(answer) => owned(&Answer::decode(answer)),
                Cause::Attempt => outbound::local_failure("no answer is known"),
            };
            let everybody = verdict.failed | verdict.expired | verdict.deferred;
            let report =
                Report::all(everybody & !doubt, answer).and(doubt, deliver::in_doubt(None));
            world.conclude(Case {
                verdict,
                report,
                message,
                _room: room,
            });
            world.sentence_count.set(world.sentence_count.get() - 1);
            world.pump();
        });
    }

    /// What was last answered for an entry that became too old.
    async fn last_answer(&self, verdict: &Verdict) -> OwnedAnswer {
        let note = self
            .queue
            .borrow()
            .groups(verdict.id)
            .find(|row| row.first == verdict.first)
            .and_then(|row| row.note);
        let told = self
            .answer_in(verdict.id, verdict.place, note, verdict.first)
            .await;
        told.map_or_else(
            || outbound::local_failure("the message was never tried"),
            |answer| owned(&Answer::decode(&answer)),
        )
    }

    /// The last answer for a group, as a note keeps it, or as the message's record does since it was
    /// moved.
    pub(super) async fn answer_in(
        &self,
        id: Id,
        place: queue::Place,
        note: Option<queue::Place>,
        first: u16,
    ) -> Option<Vec<u8>> {
        for place in [note?, place] {
            if let Ok(record) = self.spool.read(id, spool_place(id, place)).await
                && record.id == id.to_bits()
                && let Some(kind) = Kind::from_number(record.kind)
                && let Ok(Some(answer)) = entry::last_answer(kind, record.payload.head(), first)
            {
                let mut bytes = Vec::new();
                answer.encode(&mut bytes);
                return Some(bytes);
            }
        }
        None
    }

    /// A mere deferral: without its note nothing is lost but an attempt.
    fn may_go_unnoted(&self, verdict: &Verdict) -> bool {
        verdict.delivered == 0 && verdict.bounced() == 0 && !self.ends_doubt(verdict)
    }

    fn conclude(&self, mut case: Case) {
        // Nobody fails unheard because a disk could not be read for a moment.
        let is_unread = case.verdict.bounced() != 0 && case.message.is_none();
        if is_unread || case.is_reported() {
            let world = self.rc();
            self.spawn_work(async move {
                if is_unread {
                    case.message = world.load_patiently(&case.verdict).await;
                }
                if case.is_reported() {
                    world.tell_sender(&case).await;
                }
                world.record(case).await;
            });
            return;
        }
        match self.note(&case) {
            Ok(note) => self.forget(case, note),
            Err(AppendError::Full) if self.may_go_unnoted(&case.verdict) => {
                self.forget(case, None);
            }
            Err(error) => {
                tracing::warn!(%error, "an outcome waits for room in the log");
                let world = self.rc();
                self.spawn_work(async move { world.record(case).await });
            }
        }
    }

    /// The message of a verdict, read again and again for a while. What was read and is wrong stays wrong.
    async fn load_patiently(&self, verdict: &Verdict) -> Option<Loaded> {
        for _ in 0..READ_TRIES_MAX {
            if let Ok(loaded) = self.load(verdict.id, verdict.place).await {
                return Some(loaded);
            }
            let place = spool_place(verdict.id, verdict.place);
            let read = self.spool.load(verdict.id, place).await;
            if let Err(LoadError::Malformed(_) | LoadError::Read(ReadError::Damaged(_))) = read {
                break;
            }
            timer::sleep(RETRY_MICROS).await;
        }
        tracing::error!(id = %verdict.id, "a message fails that cannot be read: its sender is not told");
        None
    }

    /// Records a verdict, however long the disk may be full.
    async fn record(&self, case: Case) {
        let mut stuck = None;
        loop {
            // In one breath: the notes go to the log, and the queue forgets.
            match self.note(&case) {
                Ok(note) => return self.forget(case, note),
                // A deferral closes nobody: without its note there is an attempt more after a restart.
                Err(AppendError::Full) if self.may_go_unnoted(&case.verdict) => {
                    return self.forget(case, None);
                }
                Err(_) => {}
            }
            stuck.get_or_insert_with(|| Stuck::new(&self.stuck_count));
            let room = self.spool.room(case.verdict.id, entry::DEFERRED_LEN_MAX);
            if room.await.is_err() {
                timer::sleep(RETRY_MICROS).await;
            }
        }
    }

    /// What was noted in the log has happened: the queue forgets it, or waits for the next attempt.
    fn forget(&self, case: Case, note: Option<queue::Place>) {
        self.note_events(&case);
        let Case {
            verdict, message, ..
        } = case;
        let (id, entry, is_deferral) = (verdict.id, verdict.entry, verdict.is_deferral());
        let (delivered, bounced, deferred) =
            (verdict.delivered, verdict.bounced(), verdict.deferred);
        self.counts.update(|counts| {
            counts.delivered += u64::from(delivered.count_ones());
            counts.bounced += u64::from(bounced.count_ones());
            counts.deferred += u64::from(deferred.count_ones());
        });
        let done = self.queue.borrow_mut().settle(now(), verdict);
        drop(message);
        if let Some(done) = done {
            self.contents.borrow_mut().remove(&done.id);
            self.spool
                .release(done.id, spool_place(done.id, done.place));
        } else if is_deferral {
            // It comes back in minutes: until then its content is on the disk alone.
            self.contents.borrow_mut().remove(&id);
            if let Some(note) = note {
                self.queue.borrow_mut().noted(entry, note);
            }
        }
        self.pump();
    }

    /// Notes a verdict in the log; the place of the note that an attempt comes again.
    fn note(&self, case: &Case) -> Result<Option<queue::Place>, AppendError> {
        let verdict = &case.verdict;
        // What may be lost with its message needs no more care than that.
        let durability = case
            .message
            .as_ref()
            .and_then(|message| message.view().ok())
            .map_or(Durability::Fsync, |view| view.meta.durability);
        let settled = |bits: u128, outcome, code| {
            if bits == 0 {
                return Ok(());
            }
            let settled = Settled {
                first: verdict.first,
                bits,
                outcome,
                code,
            };
            let appended = self.spool.settled(verdict.id, &settled, durability)?;
            self.notes
                .watch(verdict.id, settled, durability, appended.ticket);
            Ok(())
        };
        for part in &case.report.delivered {
            let bits = part.bits & verdict.delivered;
            settled(bits, entry::Outcome::Delivered, part.answer.code)?;
        }
        let code = |parts: &[Part]| parts.first().map_or(0, |part| part.answer.code);
        let failed_code = code(&case.report.failed);
        settled(verdict.failed, entry::Outcome::Bounced, failed_code)?;
        let expired_code = code(&case.report.deferred);
        settled(verdict.expired, entry::Outcome::Expired, expired_code)?;
        if verdict.open == 0 || !(verdict.is_deferral() || self.ends_doubt(verdict)) {
            return Ok(None);
        }
        let mut answer = Vec::new();
        if let Some(part) = case.report.deferred.first() {
            part.answer.borrow().encode(&mut answer);
        }
        let deferred = Deferred {
            first: verdict.first,
            open: verdict.open,
            doubt: verdict.doubt,
            attempt: verdict.attempt,
            next: verdict.next,
            answer: &answer,
        };
        let appended = self.spool.deferred(verdict.id, &deferred, durability)?;
        Ok(Some(queue::Place {
            segment: appended.position.segment,
            offset: appended.position.offset,
            len: appended.position.len,
        }))
    }

    fn note_events(&self, case: &Case) {
        let verdict = &case.verdict;
        let view = case
            .message
            .as_ref()
            .and_then(|message| message.view().ok());
        let queue = self.queue.borrow();
        let domain = queue.destination_name(verdict.destination).as_bytes();
        let mut journal = self.journal.borrow_mut();
        let about = About {
            case,
            view,
            domain,
            at: now(),
        };
        let report = &case.report;
        for part in parts_of(&report.delivered, verdict.delivered) {
            journal.record(&Event::Delivery(about.attempt(part)));
        }
        for part in parts_of(&report.failed, verdict.failed) {
            journal.record(&Event::Bounce(about.attempt(part)));
        }
        for part in parts_of(&report.deferred, verdict.expired) {
            journal.record(&Event::Expiration(about.attempt(part)));
        }
        for part in parts_of(&report.deferred, verdict.deferred) {
            journal.record(&Event::TransientFailure(about.attempt(part)));
        }
    }

    /// Makes a report to the sender durable and queues it.
    async fn tell_sender(&self, case: &Case) {
        let Some(message) = &case.message else {
            return;
        };
        let Ok(view) = message.view() else {
            return;
        };
        let Some(to) = view.envelope.return_path() else {
            return;
        };
        let content_front = message.content_front(&view, dsn::MESSAGE_LEN_MAX);
        let at = now();
        let id = self.ids.borrow_mut().next(at);
        let config = Rc::clone(&self.config.borrow());
        let failures = failures(case, &view, at);
        let report = dsn::Report {
            id,
            hostname: config.hostname.as_bytes(),
            to,
            at,
            arrival: view.meta.accepted,
            original_id: case.verdict.id,
            failures: &failures,
            content: &content_front,
            content_len: u64::from(view.meta.content_len),
        };
        let mut content = Vec::new();
        report.write(&mut content);
        self.submit(id, at, report.envelope(), &content).await;
    }

    /// Takes a message of our own: durable first, then queued. Where the disk is full it waits.
    async fn submit(&self, id: Id, at: Timestamp, mut envelope: Envelope, content: &[u8]) {
        let is_eight_bit = !content.is_ascii();
        if is_eight_bit {
            envelope.body = BodyKind::EightBitMime;
        }
        let mut stored_envelope = Vec::new();
        envelope.encode(&mut stored_envelope);
        let meta = Meta {
            accepted: at,
            durability: Durability::Fsync,
            flags: Flags::none()
                .with_if(is_eight_bit, Flags::EIGHT_BIT)
                .with_if(has_leading_dots(content), Flags::LEADING_DOTS),
            envelope_len: stored_envelope.len() as u32,
            content_offset: (META_LEN + stored_envelope.len()) as u32,
            content_len: content.len() as u32,
            received_len: 0,
        };
        let front = meta.encode();
        let parts = [front.as_slice(), &stored_envelope, content];
        let mut stuck = None;
        loop {
            let message = crate::spool::in_one_chunk(parts.into_iter());
            let len = parts.iter().map(|part| part.len()).sum();
            let _ = self.spool.head().room(len).await;
            let committed = match self.spool.append_message(id, message, Durability::Fsync) {
                Ok(stored) => {
                    let place = crate::spool::place_of(id, stored.position);
                    let committed = self.spool.committed(id, stored.ticket).await;
                    if committed.is_err() {
                        self.spool.release(id, place);
                    }
                    committed
                        .map(|()| (queue_place(place), stored.payload))
                        .map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match committed {
                Ok((place, payload)) => {
                    let Ok(loaded) = Loaded::new(payload, 0) else {
                        return;
                    };
                    if let Ok(view) = loaded.view() {
                        self.enter(id, place, at, &view);
                    }
                    return;
                }
                Err(error) => {
                    if stuck.is_none() {
                        tracing::warn!(error, "a report to a sender waits for the disk");
                    }
                    stuck.get_or_insert_with(|| Stuck::new(&self.stuck_count));
                    timer::sleep(RETRY_MICROS).await;
                }
            }
        }
    }

    /// Moves what still lives in the oldest segment of a log to its head. False: not now.
    pub(super) async fn empty(&self, log: u16, segment: u32) -> bool {
        let mut cursor = None;
        let mut moved = false;
        loop {
            let mut found: Vec<(Id, queue::Place)> = Vec::new();
            cursor = self.queue.borrow().list(cursor, PAGE_LEN, &mut |row| {
                let message = row.message;
                let is_there = message.id.log() == log && message.place.segment == segment;
                if is_there && found.last().is_none_or(|last| last.0 != message.id) {
                    found.push((message.id, message.place));
                }
            });
            let mut pending = Vec::new();
            let mut byte_count = 0;
            for (id, place) in found {
                // Without room it would all be read and written in vain, again and again.
                match self.spool.room(id, place.len as usize).await {
                    Ok(()) => {}
                    // Written when segments were longer than they are now.
                    Err(AppendError::TooLong) => continue,
                    Err(_) => {
                        self.finish_moves(&mut pending).await;
                        return false;
                    }
                }
                // What cannot be read stays: it holds up its segment until it is too old, and no more.
                let Some(appended) = self.move_one(id, place).await else {
                    continue;
                };
                byte_count += place.len as usize;
                pending.push((id, place, appended));
                if byte_count >= MOVED_BYTES_MAX {
                    byte_count = 0;
                    moved |= self.finish_moves(&mut pending).await;
                }
            }
            moved |= self.finish_moves(&mut pending).await;
            shard::yield_if_needed().await;
            if cursor.is_none() {
                return moved;
            }
        }
    }

    async fn move_one(&self, id: Id, place: queue::Place) -> Option<mailrail_runtime::log::Stored> {
        let loaded = self.load(id, place).await.ok()?;
        let view = loaded.view().ok()?;
        let notes: Vec<(u16, queue::Place)> = self
            .queue
            .borrow()
            .groups(id)
            .filter_map(|row| Some((row.first, row.note?)))
            .collect();
        let mut answers: Vec<(u16, Vec<u8>)> = Vec::new();
        for (first, note) in notes {
            if let Some(answer) = self.answer_in(id, place, Some(note), first).await {
                answers.push((first, answer));
            }
        }
        let chunks: Vec<_> = loaded.chunks().collect();
        let message: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_slice()).collect();
        self.spool.room(id, place.len as usize + 4096).await.ok()?;
        // No await from here on: the states and the record are of one moment.
        let rows: Vec<_> = self
            .queue
            .borrow()
            .groups(id)
            .map(|row| (row.first, row.open, row.attempt, row.next))
            .collect();
        let queue = self.queue.borrow();
        let states = view.envelope.groups().map(|group| {
            let row = rows.iter().find(|row| row.0 == group.first);
            let (_, open, attempt, next) =
                row.copied()
                    .unwrap_or((group.first, 0, 0, view.meta.accepted));
            let answer = answers.iter().find(|answer| answer.0 == group.first);
            Deferred {
                first: group.first,
                open,
                doubt: queue.in_doubt(id, group.first) & open,
                attempt,
                next,
                answer: answer.map_or(b"", |answer| &answer.1),
            }
        });
        self.spool.moved(id, states, &message).ok()
    }

    async fn finish_moves(
        &self,
        pending: &mut Vec<(Id, queue::Place, mailrail_runtime::log::Stored)>,
    ) -> bool {
        let mut moved = false;
        for (id, old, stored) in pending.drain(..) {
            if self.spool.committed(id, stored.ticket).await.is_err() {
                continue;
            }
            let place = crate::spool::place_of(id, stored.position);
            if self.queue.borrow_mut().moved(id, queue_place(place)) {
                self.spool.hold(id, place);
                self.spool.release(id, spool_place(id, old));
            }
            moved = true;
        }
        moved
    }
}

/// What the events of one verdict have in common.
struct About<'c> {
    case: &'c Case,
    view: Option<PayloadView<'c>>,
    domain: &'c [u8],
    at: Timestamp,
}

impl<'c> About<'c> {
    fn attempt(&self, (part, bits): (&'c Part, u128)) -> events::Attempt<'c> {
        let Self { case, view, .. } = *self;
        let host = case.report.host.as_bytes();
        events::Attempt {
            at: self.at,
            created: case.verdict.accepted,
            id: case.verdict.id,
            sender: view.map_or(b"", |view| view.envelope.sender()),
            recipients: match view {
                Some(view) => Recipients::Some {
                    envelope: view.envelope,
                    first: case.verdict.first,
                    bits,
                },
                None => Recipients::One(b""),
            },
            queue: self.domain,
            site: host,
            size: view.map_or(0, |view| u64::from(view.meta.content_len)),
            response: part.answer.borrow(),
            peer: case.report.peer.map(|peer| PeerName {
                name: host,
                address: peer.ip(),
            }),
            attempt_count: case.verdict.attempt_count(),
            durability: view.map_or(Durability::Fsync, |view| view.meta.durability),
        }
    }
}

/// The answers that concern these recipients, and whom of them each.
fn parts_of(parts: &[Part], bits: u128) -> impl Iterator<Item = (&Part, u128)> {
    parts
        .iter()
        .map(move |part| (part, part.bits & bits))
        .filter(|(_, bits)| *bits != 0)
}

fn owned(answer: &Answer<'_>) -> OwnedAnswer {
    OwnedAnswer {
        code: answer.code,
        status: answer.status,
        text: answer.text.to_vec(),
    }
}

fn has_leading_dots(content: &[u8]) -> bool {
    content.starts_with(b".") || memchr::memmem::find(content, b"\r\n.").is_some()
}

/// Who failed, and why, as the report to the sender tells it.
fn failures<'c>(case: &'c Case, view: &PayloadView<'c>, at: Timestamp) -> Vec<dsn::Failure<'c>> {
    let verdict = &case.verdict;
    let mut failures = Vec::new();
    for (parts, bits, reason) in [
        (&case.report.failed, verdict.failed, dsn::Reason::Refused),
        (&case.report.deferred, verdict.expired, dsn::Reason::Expired),
    ] {
        for part in parts {
            let those = deliver::Bits {
                first: verdict.first,
                bits: part.bits & bits,
            };
            for position in those.positions() {
                failures.push(dsn::Failure {
                    recipient: view.envelope.recipient(position),
                    reason,
                    answer: part.answer.borrow(),
                    remote: case.report.peer.map(|_| case.report.host.as_bytes()),
                    last_attempt: Some(at),
                });
            }
        }
    }
    failures
}
