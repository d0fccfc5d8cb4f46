//! What comes of an attempt: a verdict is recorded, and what nobody waits for any more is forgotten. How the
//! sender is told is `senders`' matter, what the events say is that of `told`.
//!
//! The order is the promise: a report to the sender is durable before the failure it tells of is
//! recorded, and a record is with the log before the queue forgets.

use super::intake::now;
use super::memory::Reservation;
use super::outbound::{self, Parcel};
use super::world::{Seat, World, spool_place};
use crate::deliver::{self, Loaded, OwnedAnswer, Part, Report};
use crate::message::{Answer, Durability, Id};
use crate::queue::{self, Cause, Verdict};
use crate::spool::LoadError;
use crate::spool::entry::{self, Deferred, Kind, Settled};
use mailrail_runtime::log::{AppendError, ReadError};
use mailrail_runtime::timer;
use std::cell::Cell;
use std::rc::Rc;

/// The pause before a note is tried again that the disk had no room for.
pub(super) const RETRY_MICROS: u64 = 1_000_000;
/// How often a message is read whose sender has to be told of a failure, with the same pause.
const READ_TRIES_MAX: u32 = 60;

/// A verdict with all that is known about it.
pub(super) struct Case {
    pub(super) verdict: Verdict,
    pub(super) report: Report,
    /// The message; `None` if it could not be read.
    pub(super) message: Option<Loaded>,
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
pub(super) struct Stuck(Rc<Cell<u32>>);

impl Stuck {
    pub(super) fn new(count: &Rc<Cell<u32>>) -> Self {
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
            is_silent: report.is_silent,
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
}

fn owned(answer: &Answer<'_>) -> OwnedAnswer {
    OwnedAnswer {
        code: answer.code,
        status: answer.status,
        text: answer.text.to_vec(),
    }
}
