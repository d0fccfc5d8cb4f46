//! What a shard is told from outside: by the main thread, and by those who ask questions.

use super::homes::{Away, Return};
use super::world::{Counts, World};
use crate::config::Config;
use crate::message::{Id, PayloadView, Timestamp};
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
    /// Another shard is about to send the end of the parcel that was lent to it under this number.
    InDoubt {
        /// That shard.
        home: usize,
        /// The number.
        ticket: usize,
        /// The recipients that will be in doubt.
        bits: u128,
    },
    /// It has been noted, or cannot be.
    Noted {
        /// The shard that lent it.
        owner: usize,
        /// The number.
        ticket: usize,
        /// Why the end must not be sent, if so.
        answer: Result<(), String>,
    },
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

/// The state of recipients in doubt that are held.
pub(crate) const IN_DOUBT: &str = "in doubt";

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
                Letter::InDoubt { home, ticket, bits } => self.note_lent(home, ticket, bits),
                Letter::Noted {
                    owner,
                    ticket,
                    answer,
                } => self.noted(owner, ticket, answer),
                Letter::Reload(config) => self.reconfigure(*config),
                Letter::Count(answer) => {
                    let _ = answer.send(self.count());
                }
                Letter::List {
                    after,
                    limit,
                    answer,
                } => {
                    // One at a time, so that one message at most is read for them. Whoever asks while the page of
                    // somebody is read who has given up hears nothing.
                    if self.is_listing.replace(true) {
                        continue;
                    }
                    let world = Rc::clone(&self);
                    shard::spawn(shard::Lane::Background, async move {
                        let page = world.page(after, limit).await;
                        world.is_listing.set(false);
                        let _ = answer.send(page);
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
                    row.held,
                    row.attempt,
                    row.next,
                    row.note,
                    row.state,
                ));
            })
        };
        let mut rows = Vec::with_capacity(found.len());
        for (message, first, open, held, attempt, next, note, state) in found {
            // A message may end between the listing and the reading: its row then stays bare.
            let _room = self.memory.hold(message.place.len);
            let loaded = self.load(message.id, message.place).await.ok();
            let view = loaded.as_ref().and_then(|loaded| loaded.view().ok());
            let answer = self.answer_in(message.id, message.place, note, first).await;
            let word = match state {
                State::Scheduled => "scheduled",
                State::Due => "due",
                State::Ending => "ending",
                State::Held => "in delivery",
            };
            // Those on a connection may be in doubt at any moment: that is told when it is over.
            let held = if state == State::Held { 0 } else { held };
            for (bits, state) in [(open & !held, word), (held, IN_DOUBT)] {
                if bits == 0 {
                    continue;
                }
                let waiting = crate::deliver::Bits { first, bits };
                let recipient =
                    |view: &PayloadView<'_>, position| view.envelope.recipient(position).to_vec();
                rows.push(Listed {
                    id: message.id,
                    accepted: message.accepted,
                    sender: view
                        .as_ref()
                        .map_or_else(Vec::new, |view| view.envelope.sender().to_vec()),
                    recipients: view.as_ref().map_or_else(Vec::new, |view| {
                        waiting
                            .positions()
                            .map(|position| recipient(view, position))
                            .collect()
                    }),
                    attempt,
                    next,
                    state,
                    last_answer: answer.clone().unwrap_or_default(),
                });
            }
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
