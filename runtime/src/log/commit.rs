//! Group commit: records into batches, batches to the disk, and word to those who wait.
//!
//! While one flight (a write of some batches and one sync) is under way the next batch fills; two flights
//! at most, whose writes go side by side, and whose syncs of one segment one after the other. They may land in
//! any order, but word goes out in log order only, so whoever is told that a record is durable can rely on all
//! before it.
//!
//! What is where stands in `state`; where the next segment comes from is `keeper`'s task.
//!
//! Lives on the log's shard from `open` to `close`.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::batch::Batch;
use super::record::{BLOCK_LEN, RECORD_HEADER_LEN};
use super::run::{all, runs};
use super::segment::Segment;
use super::state::{Fate, Filling, Ready, State};
use super::{
    AppendError, Appended, CommitError, Durability, Label, Message, Options, Position, ROOM,
    Stored, Ticket, Urgency, disk,
};
use crate::buffer::{ChunkMut, ChunkSize};
use crate::signal::Notify;

/// Bytes of batches that share one sync.
const FLIGHT_LEN_MAX: usize = 2 << 20;

/// What all clones of a log share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) directory: PathBuf,
    pub(super) state: RefCell<State>,
    /// There may be something to write.
    pub(super) kick: Notify,
    /// There may be something to prepare or to free.
    pub(super) keep: Notify,
    /// Room, or rest, may have come.
    pub(super) changed: Notify,
    /// A sync of some segment's records has ended.
    synced: Notify,
}

impl Inner {
    pub(super) fn new(options: Options, directory: PathBuf, state: State) -> Self {
        Self {
            options,
            directory,
            state: RefCell::new(state),
            kick: Notify::new(),
            keep: Notify::new(),
            changed: Notify::new(),
            synced: Notify::new(),
        }
    }

    pub(super) fn append_copied<'p>(
        self: &Rc<Self>,
        label: Label,
        parts: impl Iterator<Item = &'p [u8]> + Clone,
    ) -> Result<Appended, AppendError> {
        let len = parts.clone().map(<[u8]>::len).sum();
        if len > self.options.copy_max as usize {
            let stored = self.append_direct(label, copy_of(parts, len))?;
            return Ok(Appended {
                position: stored.position,
                ticket: stored.ticket,
            });
        }
        let mut state = self.state.borrow_mut();
        self.copy(&mut state, label, parts, len)
    }

    pub(super) fn append_chunks(
        self: &Rc<Self>,
        label: Label,
        mut message: Message,
    ) -> Result<Stored, AppendError> {
        let len = message.len;
        if len > self.options.copy_max as usize {
            return self.append_direct(label, message);
        }
        let mut state = self.state.borrow_mut();
        let Appended { position, ticket } = self.copy(&mut state, label, message.parts(), len)?;
        // A small first chunk goes back to the pool as it is.
        if !message.further.is_empty() {
            message.trim();
        }
        Ok(Stored {
            position,
            ticket,
            payload: message.freeze(),
        })
    }

    /// Into the batch being filled, or a new one.
    fn copy<'p>(
        self: &Rc<Self>,
        state: &mut State,
        label: Label,
        parts: impl Iterator<Item = &'p [u8]>,
        len: usize,
    ) -> Result<Appended, AppendError> {
        state.admit(label, len, &self.options)?;
        let head_len = label.head_len_of(len);
        let fits = state.filling.as_ref().is_some_and(|filling| {
            filling.batch.fits(len, filling.memory.capacity())
                && state.index_fits(filling.batch.len_with(len), head_len)
        });
        if !fits {
            self.begin_filling(state, label, Batch::len_of_one(len), head_len)?;
        }
        let filling = state.filling.as_mut().expect("there is one now");
        let memory = filling.memory.as_mut_slice();
        let (position, header) = filling.batch.push(memory, &label, parts);
        let start = (position.offset - filling.fate.offset) as usize + RECORD_HEADER_LEN;
        let head = &memory[start..start + head_len];
        let segment = &filling.fate.segment;
        segment.note(&header, position.offset, std::iter::once(head));
        filling.sync |= label.durability == Durability::Fsync;
        let ticket = Ticket {
            fate: filling.fate.clone(),
            durability: label.durability,
        };
        match label.urgency {
            Urgency::Now => {
                let first = !std::mem::replace(&mut filling.urgent, true);
                if (first || !fits) && state.in_flight < self.options.in_flight_max {
                    self.kick.notify_one();
                }
            }
            Urgency::Lazy => {
                if !filling.urgent && !std::mem::replace(&mut filling.timed, true) {
                    disk::spawn(self.clone().hurry_later(filling.fate.clone()));
                }
                if !fits && !state.ready.is_empty() {
                    self.kick.notify_one();
                }
            }
        }
        state.stats.record_count += 1;
        state.stats.copied_bytes += len as u64;
        Ok(Appended { position, ticket })
    }

    fn begin_filling(
        &self,
        state: &mut State,
        label: Label,
        need: usize,
        head_len: usize,
    ) -> Result<(), AppendError> {
        let kept = self.options.kept_behind(label);
        state.room(need, kept, self.options.segment_len)?;
        if state.make_place(need, kept, head_len) {
            self.keep.notify_one();
        }
        let capacity = state.left().min(self.options.batch_len_max as usize);
        let (batch, fate) = state.begin_batch();
        let memory = ChunkMut::with_len(capacity);
        state.filling = Some(Filling {
            batch,
            memory,
            fate,
            urgent: false,
            sync: false,
            timed: false,
        });
        Ok(())
    }

    /// As a batch of its own, from the memory it lies in.
    fn append_direct(&self, label: Label, mut message: Message) -> Result<Stored, AppendError> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.admit(label, message.len, &self.options)?;
        let need = Batch::len_of_one(message.len);
        let kept = self.options.kept_behind(label);
        state.room(need, kept, self.options.segment_len)?;
        if state.make_place(need, kept, label.head_len_of(message.len)) {
            self.keep.notify_one();
        }
        let (batch, fate) = state.begin_batch();
        // Before what is left of the last block is cleared.
        message.trim();
        let (position, header) = batch.wrap(
            message.first.as_mut_slice(),
            message.further.iter_mut().map(ChunkMut::as_mut_slice),
            &label,
            message.len,
        );
        fate.segment.note(&header, position.offset, message.parts());
        state.offset += need as u32;
        let payload = message.freeze();
        let ticket = Ticket {
            fate: fate.clone(),
            durability: label.durability,
        };
        state.ready.push_back(Ready {
            fate,
            first: payload.first.clone(),
            further: payload.further.clone(),
            sync: label.durability == Durability::Fsync,
        });
        debug_assert_eq!(state.ready.back().map(Ready::len), Some(need));
        state.stats.record_count += 1;
        state.stats.direct_bytes += payload.len as u64;
        if state.in_flight < self.options.in_flight_max {
            self.kick.notify_one();
        }
        Ok(Stored {
            position,
            ticket,
            payload,
        })
    }

    /// Ends the patience of a batch that holds lazy records only.
    async fn hurry_later(self: Rc<Self>, fate: Rc<Fate>) {
        disk::pause(self.options.lazy_commit_ms).await;
        let mut state = self.state.borrow_mut();
        if let Some(filling) = &mut state.filling
            && Rc::ptr_eq(&filling.fate, &fate)
        {
            filling.urgent = true;
            self.kick.notify_one();
        }
    }

    /// Waits for room for a payload of `len` bytes with so much behind it.
    pub(super) async fn room(&self, len: usize, kept: usize) -> Result<(), AppendError> {
        loop {
            let need = Batch::len_of_one(len);
            let room = self
                .state
                .borrow()
                .room(need, kept, self.options.segment_len);
            match room {
                Err(AppendError::Preparing) => self.changed.notified().await,
                result => return result,
            }
        }
    }

    /// Ends the segment being written, if anything is in it.
    pub(super) fn seal(&self) -> Result<(), AppendError> {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Err(AppendError::Closed);
        }
        if state.offset == BLOCK_LEN && state.filling.is_none() {
            return Ok(());
        }
        if state.prepared.is_none() {
            return Err(if state.full {
                AppendError::Full
            } else {
                AppendError::Preparing
            });
        }
        state.change_segment();
        self.kick.notify_one();
        self.keep.notify_one();
        Ok(())
    }

    /// The batch without a word yet in which a record lies.
    pub(super) fn open_batch(&self, position: Position) -> Option<Rc<Fate>> {
        let state = self.state.borrow();
        let place = (position.segment, position.offset);
        let at = |fate: &Rc<Fate>| (fate.segment.stamp.segment, fate.offset);
        let behind = state.pending.partition_point(|fate| at(fate) <= place);
        let fate = state.pending.get(behind.checked_sub(1)?)?;
        (fate.segment.stamp.segment == position.segment).then(|| fate.clone())
    }

    /// Sends batches to the disk until the log is closed and at rest.
    pub(super) async fn pump(self: Rc<Self>) {
        loop {
            self.kick.notified().await;
            // What others append until nothing more has come goes along.
            disk::lull().await;
            while let Some(flight) = self.next_flight() {
                disk::spawn(self.clone().fly(flight));
            }
            if self.is_at_rest() {
                self.keep.notify_one();
                return;
            }
        }
    }

    /// Takes nothing more, and waits until everything is written and the disk left alone.
    pub(super) async fn close(&self) {
        {
            let mut state = self.state.borrow_mut();
            if !std::mem::replace(&mut state.closed, true) {
                state.close_filling();
                if let Some(current) = state.current()
                    && state.offset > BLOCK_LEN
                {
                    current.ended.set(Some(state.offset));
                }
            }
        }
        self.kick.notify_one();
        self.keep.notify_one();
        // Looked at and waited for without an await between, so no change is missed.
        while !self.state.borrow().kept {
            self.changed.notified().await;
        }
    }

    /// Gives up the oldest segment, unless it is being written.
    pub(super) fn free_oldest(&self) -> Option<u32> {
        let mut state = self.state.borrow_mut();
        let oldest = state.segments.front()?;
        let written = state.segments.len() == 1 && state.current().is_some();
        if written || oldest.open_batches.get() > 0 {
            return None;
        }
        let segment = state.segments.pop_front()?;
        let number = segment.stamp.segment;
        state.forget_file(&segment);
        state.freed.push_back(segment);
        self.keep.notify_one();
        Some(number)
    }

    /// Closed, and every batch has come to its end.
    pub(super) fn is_at_rest(&self) -> bool {
        let state = self.state.borrow();
        state.closed && state.pending.is_empty() && state.in_flight == 0
    }

    /// Batches of one segment that are written together, if it is time for some.
    fn next_flight(&self) -> Option<Vec<Ready>> {
        let mut state = self.state.borrow_mut();
        if state.in_flight >= self.options.in_flight_max {
            return None;
        }
        if state
            .filling
            .as_ref()
            .is_some_and(|filling| filling.urgent || state.closed)
        {
            state.close_filling();
        }
        let segment = state.ready.front()?.fate.segment.clone();
        let mut len = 0;
        let count = state
            .ready
            .iter()
            .take_while(|ready| {
                let fits = len == 0 || len + ready.len() <= FLIGHT_LEN_MAX;
                len += ready.len();
                fits && Rc::ptr_eq(&ready.fate.segment, &segment)
            })
            .count();
        state.in_flight += 1;
        state.stats.flight_count += 1;
        state.stats.batch_count += count as u64;
        Some(state.ready.drain(..count).collect())
    }

    /// One flight: the writes, the sync, the word.
    async fn fly(self: Rc<Self>, flight: Vec<Ready>) {
        let segment = flight[0].fate.segment.clone();
        let result = self.write(&segment, &flight).await;
        let mut state = self.state.borrow_mut();
        state.in_flight -= 1;
        match result {
            // What failed meanwhile beside it stays failed.
            Ok(()) => flight.iter().for_each(|ready| {
                if ready.fate.outcome.get().is_none() {
                    ready.fate.outcome.set(Some(Ok(())));
                }
            }),
            Err(error) => {
                tracing::error!(segment = %segment.path.display(), %error, "writing the log failed");
                state.fail(
                    &segment,
                    CommitError {
                        errno: error.raw_os_error().unwrap_or(0),
                    },
                );
                self.keep.notify_one();
            }
        }
        state.publish();
        if segment.open_batches.get() == 0 && segment.ended.get().is_some() {
            self.keep.notify_one();
        }
        // Even when nothing waits: the pump sees whether all is at rest.
        self.kick.notify_one();
    }

    async fn write(&self, segment: &Segment, flight: &[Ready]) -> io::Result<()> {
        let result = self.write_and_sync(segment, flight).await;
        if left_out!(FailureSeen) {
            return Ok(());
        }
        result
    }

    async fn write_and_sync(&self, segment: &Segment, flight: &[Ready]) -> io::Result<()> {
        let file = segment.file().await?;
        let batches = flight
            .iter()
            .map(|ready| (u64::from(ready.fate.offset), ready.chunks()));
        let runs = runs(batches);
        let writes = runs.iter().map(|run| file.write(&run.chunks, run.offset));
        all(writes).await?;
        flight.iter().for_each(|ready| ready.fate.written.set(true));
        if !flight.iter().any(|ready| ready.sync) {
            return Ok(());
        }
        self.state.borrow_mut().publish();
        if left_out!(CommitSync) {
            return Ok(());
        }
        // One sync of a segment at a time: of two side by side one may be told of a failure, and the other,
        // whose records it took along, of nothing.
        while segment.syncing.get() && !left_out!(SyncsInTurn) {
            self.synced.notified().await;
        }
        if segment.failed.get() {
            // That failure has been told, and these batches failed with it.
            return Ok(());
        }
        segment.syncing.set(true);
        let result = file.sync().await;
        segment.syncing.set(false);
        // Whoever waits runs later than this flight's end, which tells of a failure.
        self.synced.notify_all();
        result
    }
}

/// Chunks with a copy of a payload too long for the shared batch.
fn copy_of<'p>(parts: impl Iterator<Item = &'p [u8]>, len: usize) -> Message {
    let size = ChunkSize::Large.bytes();
    let count = (ROOM + len).div_ceil(size);
    let mut chunks: Vec<_> = (0..count)
        .map(|_| ChunkMut::new(ChunkSize::Large))
        .collect();
    let mut at = ROOM;
    for mut part in parts {
        while !part.is_empty() {
            let place = &mut chunks[at / size].as_mut_slice()[at % size..];
            let here = part.len().min(place.len());
            place[..here].copy_from_slice(&part[..here]);
            part = &part[here..];
            at += here;
        }
    }
    let first = chunks.remove(0);
    Message::new(first, chunks, len)
}
