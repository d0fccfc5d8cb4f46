//! What is where: the segment being written, batches filling, ready and under way, and who waits for them.
//!
//! Every move is made here, at once and without waiting, so that no other task ever sees half of one.
//! After a failed write or sync nothing in that segment that was not yet confirmed is ever confirmed, and
//! nothing more is written to it. It does no IO and knows no tasks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::batch::Batch;
use super::disk::File;
use super::record::BLOCK_LEN;
use super::segment::Segment;
use super::{AppendError, CommitError, Durability, Label, Options, Stats};
use crate::buffer::{Chunk, ChunkMut};

/// What is known of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Filling, waiting or under way.
    Open,
    /// It, and all before it, are with the device.
    Written,
    /// It, and all before it, came to their end: this one like this.
    Ended(Result<(), CommitError>),
}

/// A batch as those see it who wait for it.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) segment: Rc<Segment>,
    pub(super) offset: u32,
    progress: Cell<Progress>,
    /// Its own write is done, whatever became of those before it.
    pub(super) written: Cell<bool>,
    /// Its own end, whatever became of those before it.
    pub(super) outcome: Cell<Option<Result<(), CommitError>>>,
    waiting: RefCell<Vec<Waker>>,
    waiting_written: RefCell<Vec<Waker>>,
}

impl Fate {
    fn tell(&self, progress: Progress) {
        self.progress.set(progress);
        self.waiting_written
            .take()
            .into_iter()
            .for_each(Waker::wake);
        if matches!(progress, Progress::Ended(_)) {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// The word for a record of that durability, once there is one.
    fn word(&self, durability: Durability) -> Option<Result<(), CommitError>> {
        match (durability, self.progress.get()) {
            (_, Progress::Ended(result)) => Some(result),
            (Durability::Memory, _) | (Durability::Write, Progress::Written) => Some(Ok(())),
            _ if left_out!(WordBeforeCommit) => Some(Ok(())),
            (Durability::Write | Durability::Fsync, _) => None,
        }
    }

    /// Waits for the word. Each waiter's waker is kept once, however often it is polled.
    pub(super) async fn wait(&self, durability: Durability) -> Result<(), CommitError> {
        let waiting = match durability {
            Durability::Fsync => &self.waiting,
            Durability::Memory | Durability::Write => &self.waiting_written,
        };
        let mut slot = None;
        poll_fn(|context| {
            if let Some(word) = self.word(durability) {
                return Poll::Ready(word);
            }
            let mut waiting = waiting.borrow_mut();
            match slot.and_then(|slot: usize| waiting.get_mut(slot)) {
                Some(waker) => waker.clone_from(context.waker()),
                None => {
                    slot = Some(waiting.len());
                    waiting.push(context.waker().clone());
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The batch that takes copied records.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) batch: Batch,
    pub(super) memory: ChunkMut,
    pub(super) fate: Rc<Fate>,
    /// Somebody waits for a record in it.
    pub(super) urgent: bool,
    /// A record in it asks for a sync.
    pub(super) sync: bool,
    /// Its lazy records' time runs.
    pub(super) timed: bool,
}

/// A batch that is complete and waits for its write.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) fate: Rc<Fate>,
    pub(super) first: Chunk,
    pub(super) further: Vec<Chunk>,
    pub(super) sync: bool,
}

impl Ready {
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        std::iter::once(&self.first).chain(&self.further)
    }

    pub(super) fn len(&self) -> usize {
        self.chunks().map(|chunk| chunk.block().len()).sum()
    }
}

/// Whether a segment that is still empty has room for batches of `len` bytes.
fn holds(segment: &Segment, len: usize) -> bool {
    (segment.end() - BLOCK_LEN) as usize >= len
}

/// All that changes.
#[derive(Debug)]
pub(super) struct State {
    /// Segments in use, oldest first; the last is the one being written.
    pub(super) segments: VecDeque<Rc<Segment>>,
    /// Where the next batch starts in it.
    pub(super) offset: u32,
    pub(super) next_batch: u64,
    /// The next segment, ready to be written to.
    pub(super) prepared: Option<Rc<Segment>>,
    /// Segments given up, not yet renamed.
    pub(super) freed: VecDeque<Rc<Segment>>,
    /// Sealed segments whose file may be open, the one used last behind.
    open: VecDeque<Rc<Segment>>,
    /// Files that can become segments.
    pub(super) spares: Vec<PathBuf>,
    /// The number of the segment made next.
    pub(super) next_segment: u32,
    /// Segments begun since the start, for their generations.
    pub(super) lives: u64,
    /// The last try to make a segment failed.
    pub(super) full: bool,
    /// The file for a start on a full disk.
    pub(super) reserve: Option<PathBuf>,
    pub(super) closed: bool,
    /// Closed, and the keeper has done its last.
    pub(super) kept: bool,
    pub(super) filling: Option<Filling>,
    pub(super) ready: VecDeque<Ready>,
    /// Batches without a word, in log order; the one being filled is the last.
    pub(super) pending: VecDeque<Rc<Fate>>,
    pub(super) in_flight: usize,
    pub(super) stats: Stats,
}

impl State {
    /// Before the first segment of this run is begun.
    pub(super) fn new(
        kept: Vec<Rc<Segment>>,
        next_segment: u32,
        spares: Vec<PathBuf>,
        next_batch: u64,
    ) -> Self {
        Self {
            segments: kept.into(),
            offset: BLOCK_LEN,
            next_batch,
            prepared: None,
            freed: VecDeque::new(),
            open: VecDeque::new(),
            spares,
            next_segment,
            lives: 0,
            full: false,
            reserve: None,
            closed: false,
            kept: false,
            filling: None,
            ready: VecDeque::new(),
            pending: VecDeque::new(),
            in_flight: 0,
            stats: Stats::default(),
        }
    }

    /// The segment being written; there is none while the disk is full.
    pub(super) fn current(&self) -> Option<&Rc<Segment>> {
        let newest = self.segments.back()?;
        (newest.ended.get().is_none() && !newest.failed.get()).then_some(newest)
    }

    pub(super) const fn stats(&self) -> Stats {
        self.stats
    }

    /// Bytes left for batches in the segment being written, the filling one's not counted.
    pub(super) fn left(&self) -> usize {
        self.current()
            .map_or(0, |current| (current.end() - self.offset) as usize)
    }

    /// Bytes left once the batch being filled is complete.
    pub(super) fn left_behind_filling(&self) -> usize {
        let filling = self
            .filling
            .as_ref()
            .map_or(0, |filling| filling.batch.len());
        self.left().saturating_sub(filling)
    }

    /// How much of what content may have of the segment being written is used, of 256; all of it before there
    /// is one.
    pub(super) fn used_of_256(&self, reserve_len: u32) -> u32 {
        let len = self.segments.back().map_or(0, |current| current.len);
        let shared = u64::from(len.saturating_sub(reserve_len)).max(1);
        let left = self.left().saturating_sub(reserve_len as usize);
        256 - (left as u64 * 256 / shared) as u32
    }

    /// A segment's file is being used. Of those that take no more only `most` stay open, since a long queue
    /// has more segments than a process may have files: the one to be closed for it.
    pub(super) fn use_file(&mut self, segment: &Rc<Segment>, most: usize) -> Option<Rc<File>> {
        if !segment.sealed.get()
            || self
                .open
                .back()
                .is_some_and(|last| Rc::ptr_eq(last, segment))
        {
            return None;
        }
        self.forget_file(segment);
        self.open.push_back(segment.clone());
        if self.open.len() <= most {
            return None;
        }
        self.open.pop_front()?.take_file()
    }

    /// A segment is given up: its file is closed with it.
    pub(super) fn forget_file(&mut self, segment: &Rc<Segment>) {
        self.open.retain(|open| !Rc::ptr_eq(open, segment));
    }

    /// Whether a batch of `len` bytes has room, in this segment or in the next, so that `kept` bytes are left
    /// behind it: in this one, or the next as a whole.
    pub(super) fn room(
        &self,
        len: usize,
        kept: usize,
        segment_len: u32,
    ) -> Result<(), AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        if len + kept > (segment_len - 2 * BLOCK_LEN) as usize {
            return Err(AppendError::TooLong);
        }
        let left = self.left_behind_filling();
        let has_room = match &self.prepared {
            Some(next) => left >= len || holds(next, len + kept),
            None => left >= len + kept,
        };
        if has_room { Ok(()) } else { Err(self.lack()) }
    }

    /// Why there is no room.
    const fn lack(&self) -> AppendError {
        if self.full {
            AppendError::Full
        } else {
            AppendError::Preparing
        }
    }

    /// Whether the index of the segment being written still has its place behind `batches_len` more bytes
    /// of batches and with one entry more. An index that is too long anyway needs none.
    pub(super) fn index_fits(&self, batches_len: usize, head_len: usize) -> bool {
        let Some(current) = self.current() else {
            return true;
        };
        let index = current.index.borrow();
        let span = index.as_ref().and_then(|index| index.span_with(head_len));
        span.is_none_or(|span| batches_len + span <= self.left())
    }

    /// Completes the batch being filled and makes place for the next one, of `len` bytes or more, for
    /// which there is room. It goes on in the next segment when that is the only place, or when this one's
    /// index would lose its own; where there is no next segment, or `kept` would not be left in it, the
    /// index gives way. Returns whether it went on.
    pub(super) fn make_place(&mut self, len: usize, kept: usize, head_len: usize) -> bool {
        self.close_filling();
        let next_holds = |next: &Rc<Segment>| holds(next, len + kept);
        let change = self.left() < len
            || !self.index_fits(len, head_len) && self.prepared.as_ref().is_some_and(next_holds);
        if change {
            self.change_segment();
        }
        if !self.index_fits(len, head_len)
            && let Some(current) = self.current()
        {
            current.index.take();
        }
        change
    }

    /// Whether a record may come in at all: while there is no next segment, the rest of this one is kept for
    /// upkeep. Whether one is going to be made is not asked: a full disk is noticed late.
    pub(super) fn admit(
        &self,
        label: Label,
        len: usize,
        options: &Options,
    ) -> Result<(), AppendError> {
        if self.closed {
            Err(AppendError::Closed)
        } else if self.prepared.is_none() && !label.upkeep {
            let kept = options.kept_behind(label);
            self.room(Batch::len_of_one(len), kept, options.segment_len)
        } else {
            Ok(())
        }
    }

    /// Completes the batch being filled.
    pub(super) fn close_filling(&mut self) {
        let Some(mut filling) = self.filling.take() else {
            return;
        };
        let len = filling.batch.len();
        // It is the last of those without a word itself.
        let open_before = self.pending.len() as u32 - 1;
        let memory = filling.memory.as_mut_slice();
        filling.batch.finish(memory, open_before);
        filling.memory.trim(len);
        self.offset += len as u32;
        self.ready.push_back(Ready {
            fate: filling.fate,
            first: filling.memory.freeze(len),
            further: Vec::new(),
            sync: filling.sync,
        });
    }

    /// Gives a batch its place and number. It has room: [`State::room`] said so.
    pub(super) fn begin_batch(&mut self) -> (Batch, Rc<Fate>) {
        let segment = self.current().expect("room was found in it").clone();
        let open_before = self.pending.len() as u32;
        let batch = Batch::new(segment.stamp, self.offset, self.next_batch, open_before);
        segment.last_batch.set(self.next_batch);
        segment.open_batches.set(segment.open_batches.get() + 1);
        let fate = Rc::new(Fate {
            segment,
            offset: self.offset,
            progress: Cell::new(Progress::Open),
            written: Cell::new(false),
            outcome: Cell::new(None),
            waiting: RefCell::default(),
            waiting_written: RefCell::default(),
        });
        self.next_batch += 1;
        self.pending.push_back(fate.clone());
        (batch, fate)
    }

    /// Goes on in the next segment, which has to be there.
    pub(super) fn change_segment(&mut self) {
        self.close_filling();
        let next = self.prepared.take().expect("room was found in it");
        if let Some(current) = self.current() {
            current.ended.set(Some(self.offset));
        }
        self.segments.push_back(next);
        self.offset = BLOCK_LEN;
    }

    /// Sends word as far as everything before has come to its end.
    pub(super) fn publish(&mut self) {
        while let Some(result) = self.pending.front().and_then(|fate| fate.outcome.get()) {
            let fate = self.pending.pop_front().expect("just seen");
            fate.segment
                .open_batches
                .set(fate.segment.open_batches.get() - 1);
            fate.tell(Progress::Ended(result));
        }
        if left_out!(LogOrder) {
            for fate in &self.pending {
                fate.outcome
                    .get()
                    .inspect(|&result| fate.tell(Progress::Ended(result)));
            }
        }
        for fate in self.pending.iter().take_while(|fate| fate.written.get()) {
            if fate.progress.get() == Progress::Open {
                fate.tell(Progress::Written);
            }
        }
    }

    /// After an error nothing open in that segment is confirmed any more: what a failed sync lost is not
    /// known, and a second one beside it may have been told nothing.
    pub(super) fn fail(&mut self, segment: &Rc<Segment>, error: CommitError) {
        segment.failed.set(true);
        segment.index.take();
        self.ready
            .retain(|ready| !Rc::ptr_eq(&ready.fate.segment, segment));
        if self
            .filling
            .as_ref()
            .is_some_and(|filling| Rc::ptr_eq(&filling.fate.segment, segment))
        {
            self.filling = None;
        }
        let mut behind = false;
        for fate in self
            .pending
            .iter()
            .filter(|fate| Rc::ptr_eq(&fate.segment, segment))
        {
            behind |= fate.outcome.get() != Some(Ok(()));
            if behind {
                fate.outcome.set(Some(Err(error)));
            }
        }
    }
}
