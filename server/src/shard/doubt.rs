//! Recipients in doubt: the end of their message was sent, and no answer came.
//!
//! With the journal on, the log is told before the end of a message leaves, and what an answer says is noted
//! as always: so what a crash or a lost connection leaves without an answer is known by name, and the
//! operator's policy decides about it. Without it nothing here is ever called with a bit set.

use super::intake::now;
use super::letters::Letter;
use super::outbound::Parcel;
use super::world::World;
use crate::config::DoubtPolicy;
use crate::deliver::{self, Loaded, Report};
use crate::message::{Durability, Id};
use crate::queue::{self, Verdict};
use crate::spool::entry::{Deferred, IN_DOUBT_LEN, InDoubt};
use mailrail_runtime::signal::Notify;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// So many are named one by one when a server starts.
const NAMED_MAX: usize = 100;

/// Questions to the shards that parcels came from: by shard and ticket.
pub(super) type Asked = BTreeMap<(usize, usize), Rc<Question>>;

/// A lane's home waits until the shard that owns the message has noted that it is in doubt.
#[derive(Debug, Default)]
pub(super) struct Question {
    answer: RefCell<Option<Result<(), String>>>,
    answered: Notify,
}

impl World {
    /// Notes that the end of a message is about to be sent to these recipients of a parcel, and returns when
    /// that is as durable as the message.
    pub(super) async fn note_doubt(
        &self,
        parcel: &queue::Parcel,
        bits: u128,
        message: Option<&Loaded>,
    ) -> Result<(), String> {
        let (id, first) = (parcel.id, parcel.first);
        let durability = durability(message);
        let in_doubt = InDoubt { first, bits };
        let room = self.spool.room(id, IN_DOUBT_LEN).await;
        // From here on in one breath: what is moved meanwhile takes the doubt along.
        let appended = room.and_then(|()| self.spool.in_doubt(id, &in_doubt, durability));
        let appended = appended.map_err(|error| format!("it cannot be noted: {error}"))?;
        self.queue.borrow_mut().doubt(id, first, bits);
        let committed = self.spool.committed(id, appended.ticket).await;
        committed.map_err(|error| format!("it cannot be noted: {error}"))
    }

    /// As [`Self::note_doubt`], for a parcel that another shard has lent.
    pub(super) async fn ask_to_note(
        &self,
        from: usize,
        ticket: usize,
        bits: u128,
    ) -> Result<(), String> {
        let question = Rc::new(Question::default());
        let asked = Rc::clone(&question);
        self.homes.borrow_mut().asked.insert((from, ticket), asked);
        let letter = Letter::InDoubt {
            home: self.index,
            ticket,
            bits,
        };
        if self.mesh.post(from, letter).is_err() {
            self.homes.borrow_mut().asked.remove(&(from, ticket));
            return Err("the shard that owns the message takes no letters".into());
        }
        loop {
            let answer = question.answer.take();
            if let Some(answer) = answer {
                return answer;
            }
            question.answered.notified().await;
        }
    }

    /// A lane's home is about to send the end of a parcel that was lent to it.
    pub(super) fn note_lent(&self, home: usize, ticket: usize, bits: u128) {
        let lent = self.homes.borrow().lent_parcel(ticket);
        let Some((parcel, message)) = lent else {
            return self.tell_home(home, ticket, Err("it is not lent".into()));
        };
        let world = self.rc();
        self.spawn_work(async move {
            let noted = world.note_doubt(&parcel, bits, message.as_ref()).await;
            world.tell_home(home, ticket, noted);
        });
    }

    fn tell_home(&self, home: usize, ticket: usize, answer: Result<(), String>) {
        let letter = Letter::Noted {
            owner: self.index,
            ticket,
            answer,
        };
        if self.mesh.post(home, letter).is_err() && !self.mesh.is_closed(home) {
            tracing::error!(shard = home, "a ring had no room for an answer");
        }
    }

    /// The shard that owns the message has noted it.
    pub(super) fn noted(&self, owner: usize, ticket: usize, answer: Result<(), String>) {
        let question = self.homes.borrow_mut().asked.remove(&(owner, ticket));
        if let Some(question) = question {
            *question.answer.borrow_mut() = Some(answer);
            question.answered.notify_one();
        }
    }

    /// What the policy makes of those in doubt after an attempt. Returns who stays in doubt.
    pub(super) fn decide_doubt(&self, parcel: &queue::Parcel, report: &mut Report) -> u128 {
        match self.doubt_policy() {
            DoubtPolicy::Retry => report.doubt = 0,
            DoubtPolicy::Hold if report.doubt != 0 => report.hold(),
            DoubtPolicy::Hold => {}
            DoubtPolicy::AssumeDelivered => {
                // Those of the group that were held while another policy was in force go along.
                let before = self.queue.borrow().in_doubt(parcel.id, parcel.first) & !parcel.bits;
                if report.doubt | before != 0 {
                    report.assume_delivered(before);
                }
            }
        }
        report.doubt
    }

    /// Whether a verdict ends a doubt that the log knows of, in no other way than by its note.
    pub(super) fn ends_doubt(&self, verdict: &Verdict) -> bool {
        let before = self.queue.borrow().in_doubt(verdict.id, verdict.first);
        before & verdict.open & !verdict.doubt != 0
    }

    /// A parcel was not tried after all: nobody of it is in doubt.
    pub(super) fn resolve_doubt(&self, parcel: &queue::Parcel, message: Option<&Loaded>) {
        let (id, first) = (parcel.id, parcel.first);
        let mut queue = self.queue.borrow_mut();
        let before = queue.in_doubt(id, first);
        if before & parcel.bits == 0 {
            return;
        }
        queue.resolve_doubt(id, first, parcel.bits);
        let row = queue.groups(id).find(|row| row.first == first);
        let Some((open, attempt, next)) = row.map(|row| (row.open, row.attempt, row.next)) else {
            return;
        };
        let deferred = Deferred {
            first,
            open,
            doubt: before & !parcel.bits,
            attempt,
            next,
            answer: b"",
        };
        let noted = self.spool.deferred(id, &deferred, durability(message));
        if let Err(error) = noted {
            tracing::warn!(%id, %error, "it could not be noted that a message is not in doubt");
        }
    }

    fn doubt_policy(&self) -> DoubtPolicy {
        self.config.borrow().delivery.in_doubt_policy
    }

    /// What a start found in doubt is told to the operator, and decided by the policy.
    pub(super) fn meet_doubts(&self) {
        let policy = self.doubt_policy();
        let doubts: Vec<_> = self.queue.borrow().doubts().collect();
        if doubts.is_empty() {
            return;
        }
        for (id, first, bits) in doubts.iter().take(NAMED_MAX) {
            tracing::warn!(
                %id,
                first,
                recipients = bits.count_ones(),
                policy = policy.name(),
                "in doubt: its end was sent, and no answer is known"
            );
        }
        if doubts.len() > NAMED_MAX {
            tracing::warn!(
                groups = doubts.len() - NAMED_MAX,
                policy = policy.name(),
                "more are in doubt"
            );
        }
        // What is to be tried again is due already.
        if policy == DoubtPolicy::AssumeDelivered {
            self.decide_doubts();
        }
    }

    /// Another policy may be in force: what waits in doubt is decided by it.
    pub(super) fn decide_doubts(&self) {
        if self.doubt_policy() == DoubtPolicy::Hold {
            return;
        }
        let doubts: Vec<_> = self.queue.borrow().doubts().collect();
        if doubts.is_empty() {
            return;
        }
        let world = self.rc();
        self.spawn_work(async move {
            for (id, first, _) in doubts {
                world.decide_one(id, first).await;
            }
        });
    }

    async fn decide_one(&self, id: Id, first: u16) {
        let Some(message) = self.queue.borrow().get(id) else {
            return;
        };
        let loaded = match self.doubt_policy() {
            DoubtPolicy::Hold => return,
            DoubtPolicy::Retry => None,
            // Its event names sender and recipients.
            DoubtPolicy::AssumeDelivered => self.load(id, message.place).await.ok(),
        };
        let Some(parcel) = self.queue.borrow_mut().recall(now(), id, first) else {
            // On a connection, or due: it is decided when it is settled.
            return;
        };
        let (bits, entry) = (parcel.bits, parcel.entry);
        if let Some(loaded) = loaded {
            let mut report = Report::all(bits, deliver::in_doubt(None));
            report.doubt = bits;
            let parcel = Parcel {
                parcel,
                loaded: OnceCell::from(loaded),
                // One at a time, and only until it is settled.
                room: None,
            };
            return self.settle(parcel, report);
        }
        self.queue.borrow_mut().give_back(now(), entry);
        self.pump();
    }
}

/// What the message's own notes need.
fn durability(message: Option<&Loaded>) -> Durability {
    message
        .and_then(|message| message.view().ok())
        .map_or(Durability::Fsync, |view| view.meta.durability)
}
