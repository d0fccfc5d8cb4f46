//! Notes of what is settled, until they are durable: one whose commit fails is written anew.
//!
//! Nobody waits for a note, so nobody else would hear of that: the message would be delivered once more
//! after the next start, however much later that is.

use super::world::World;
use crate::message::{Durability, Id};
use crate::spool::entry::Settled;
use mailrail_runtime::log::{AppendError, Ticket};
use mailrail_runtime::signal::Notify;
use mailrail_runtime::timer;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// The pause before a note is written anew that has no room yet.
const RETRY_MICROS: u64 = 500_000;

struct Note {
    id: Id,
    settled: Settled,
    durability: Durability,
    ticket: Ticket,
}

/// Notes whose commit is under way, oldest first. As many as the log has records that are not durable yet.
/// Lives as long as the shard.
#[derive(Default)]
pub(super) struct Notes {
    open: RefCell<VecDeque<Note>>,
    added: Notify,
}

impl Notes {
    /// Looks after a note that was given to the log.
    pub(super) fn watch(&self, id: Id, settled: Settled, durability: Durability, ticket: Ticket) {
        let note = Note {
            id,
            settled,
            durability,
            ticket,
        };
        let mut open = self.open.borrow_mut();
        open.push_back(note);
        if open.len() == 1 {
            self.added.notify_one();
        }
    }
}

impl World {
    /// Hears how the commits of notes end.
    pub(super) async fn keep_notes(self: Rc<Self>) {
        loop {
            let Some(note) = self.notes.open.borrow_mut().pop_front() else {
                self.notes.added.notified().await;
                continue;
            };
            if self
                .spool
                .committed(note.id, note.ticket.clone())
                .await
                .is_err()
            {
                self.write_anew(note).await;
            }
        }
    }

    async fn write_anew(&self, note: Note) {
        loop {
            match self.spool.settled(note.id, &note.settled, note.durability) {
                Ok(appended) => {
                    let Note {
                        id,
                        settled,
                        durability,
                        ..
                    } = note;
                    return self.notes.watch(id, settled, durability, appended.ticket);
                }
                Err(AppendError::Closed) => return,
                Err(_) => timer::sleep(RETRY_MICROS).await,
            }
        }
    }
}
