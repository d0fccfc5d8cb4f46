//! What a shard is told from outside: by the main thread, and by those who ask questions.

use super::homes::{Away, Return};
use super::world::{Counts, World};
use crate::config::Config;
use crate::message::{Id, Timestamp};
use crate::queue::{Cursor, State};
use mailrail_runtime::shard;
use std::rc::Rc;
use std::sync::mpsc;

/// A letter to a shard.
#[derive(Debug)]
pub enum Letter {
    /// Stop: no new mail, what is open is finished.
    Stop,
    /// From now on this configuration holds.
    Reload(Box<Config>),
    /// Tell what you have done.
    Count(mpsc::Sender<Counts>),
    /// A parcel for a lane that lives on this shard.
    Parcel(Box<Away>),
    /// The outcome of the parcel that was lent under this number.
    Returned(usize, Box<Return>),
    /// A page of the queue.
    List {
        /// Where the page before ended.
        after: Option<u32>,
        /// Rows wanted.
        limit: usize,
        /// Where the page goes.
        answer: mpsc::Sender<Page>,
    },
}

/// A page of the queue.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its rows.
    pub rows: Vec<Listed>,
    /// Where the next begins; `None` at the end.
    pub next: Option<u32>,
}

/// Recipients of a message that wait together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The message.
    pub id: Id,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Its sender; empty is the null sender.
    pub sender: Vec<u8>,
    /// The recipients that wait.
    pub recipients: Vec<Vec<u8>>,
    /// Attempts so far.
    pub attempt: u16,
    /// When they are tried again.
    pub next: Timestamp,
    /// What they are doing.
    pub state: &'static str,
    /// What was last answered; empty if they were never tried.
    pub last_answer: Vec<u8>,
}

impl World {
    /// Reads letters, also while the shard stops: outcomes come home to the last.
    pub(super) async fn read_letters(self: Rc<Self>) {
        loop {
            match self.mesh.receive().await {
                Letter::Stop => self.stop_wanted.notify_one(),
                Letter::Parcel(away) => self.lead(*away),
                Letter::Returned(ticket, what) => self.returned(ticket, *what),
                Letter::Reload(config) => self.reconfigure(*config),
                Letter::Count(answer) => {
                    let _ = answer.send(self.count());
                }
                Letter::List {
                    after,
                    limit,
                    answer,
                } => {
                    let world = Rc::clone(&self);
                    shard::spawn(shard::Lane::Background, async move {
                        let _ = answer.send(world.page(after, limit).await);
                    })
                    .detach();
                }
            }
        }
    }

    pub(super) fn count(&self) -> Counts {
        Counts {
            waiting: u64::from(self.queue.borrow().counts().messages),
            sessions: self.gate.count() as u64,
            ..self.counts.get()
        }
    }

    async fn page(&self, after: Option<u32>, limit: usize) -> Page {
        let mut found = Vec::new();
        let next = {
            let queue = self.queue.borrow();
            queue.list(after.map(Cursor::from_bits), limit, &mut |row| {
                found.push((
                    row.message,
                    row.first,
                    row.open,
                    row.attempt,
                    row.next,
                    row.note,
                    row.state,
                ));
            })
        };
        let mut rows = Vec::with_capacity(found.len());
        for (message, first, open, attempt, next, note, state) in found {
            let mut listed = Listed {
                id: message.id,
                accepted: message.accepted,
                sender: Vec::new(),
                recipients: Vec::new(),
                attempt,
                next,
                state: match state {
                    State::Scheduled => "scheduled",
                    State::Due => "due",
                    State::Ending => "ending",
                    State::Held => "in delivery",
                },
                last_answer: Vec::new(),
            };
            // A message may end between the listing and the reading: its row then stays bare.
            if let Ok(loaded) = self.load(message.id, message.place).await
                && let Ok(view) = loaded.view()
            {
                listed.sender = view.envelope.sender().to_vec();
                let waiting = crate::deliver::Bits { first, bits: open };
                listed.recipients = waiting
                    .positions()
                    .map(|position| view.envelope.recipient(position).to_vec())
                    .collect();
            }
            let answer = self.answer_in(message.id, message.place, note, first).await;
            listed.last_answer = answer.unwrap_or_default();
            rows.push(listed);
        }
        Page {
            rows,
            next: next.map(Cursor::to_bits),
        }
    }

    /// Everything that was begun is finished, or cut when its time is up; then the logs are closed.
    pub(super) async fn stop(&self) {
        let config = Rc::clone(&self.config.borrow());
        let patience = u64::try_from(config.stop_timeout.as_micros()).unwrap_or(u64::MAX);
        let until = mailrail_runtime::clock::after(patience);
        self.stop_at.set(until);
        self.gate.close();
        let _ = mailrail_runtime::timer::until(until.saturating_add(1_000_000), self.gate.closed())
            .await;
        self.work.close();
        self.send_home();
        for lane in self.lanes.borrow().values() {
            lane.notify.notify_all();
        }
        if mailrail_runtime::timer::until(until.saturating_add(2_000_000), self.work.closed())
            .await
            .is_err()
        {
            tracing::warn!(
                open = self.work.count(),
                "deliveries were cut off at the end of stop_timeout"
            );
        }
        self.journal.borrow_mut().flush();
        self.spool.close().await;
        tracing::debug!(shard = self.index, counts = ?self.count(), read_back_bytes_peak = self.memory.peak(), log = ?self.spool.head().stats(), "stopped");
    }
}
