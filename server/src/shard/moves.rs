//! Messages that live in the oldest segment of a log are written anew at its head, so that the segment
//! can be freed.

use super::memory::Reservation;
use super::world::{World, queue_place, spool_place};
use crate::message::Id;
use crate::queue;
use crate::spool::entry::Deferred;
use mailrail_runtime::log::{AppendError, Stored};
use mailrail_runtime::shard;

/// Rows of the queue looked at in one go.
const PAGE_LEN: usize = 1000;
/// Bytes of messages moved before their commit is awaited.
const MOVED_BYTES_MAX: usize = 1024 * 1024;

/// A message that was written anew, until that is durable.
struct Move {
    id: Id,
    old: queue::Place,
    stored: Stored,
    _room: Reservation,
}

impl World {
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
                let Some((stored, room)) = self.move_one(id, place).await else {
                    continue;
                };
                byte_count += place.len as usize;
                pending.push(Move {
                    id,
                    old: place,
                    stored,
                    _room: room,
                });
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

    async fn move_one(&self, id: Id, place: queue::Place) -> Option<(Stored, Reservation)> {
        // One that is read, and what is written of it until its commit.
        let (_room, written) = (self.memory.hold(place.len), self.memory.hold(place.len));
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
        let stored = self.spool.moved(id, states, &message).ok()?;
        Some((stored, written))
    }

    async fn finish_moves(&self, pending: &mut Vec<Move>) -> bool {
        let mut moved = false;
        for Move {
            id,
            old,
            stored,
            _room,
        } in pending.drain(..)
        {
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
