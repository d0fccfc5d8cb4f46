//! Keeps the next segment ready, ends full ones, and takes back those that are given up.
//!
//! One task, one thing at a time, in order: a segment that was given up loses its name before the one
//! after it does, so no power cut can bring back a message without what settled it. While no segment can
//! be made it says so and tries again.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::commit::Inner;
use super::disk;
use super::index::Index;
use super::record::Stamp;
use super::segment::{self, Role, Segment};
use super::state::State;

/// How long after a failure the next segment is tried again; space given back is noticed at once.
const RETRY_MS: u64 = 500;

/// Between two pieces of a segment that nobody needs yet.
const PACE_MS: u64 = 2;

/// Spare files kept; what is given up beyond it is removed.
const SPARE_MAX: usize = 2;

/// The next thing to do.
enum Task {
    Seal(Rc<Segment>, u32),
    Recycle(Rc<Segment>),
    Discard(PathBuf),
    Prepare,
    Reserve,
}

impl Inner {
    /// Runs until the log is closed and every batch has come to its end.
    pub(super) async fn keeper(self: Rc<Self>) {
        // What could not be taken back after the close is the next start's, and keeps nothing from being ended.
        let mut takes_back = true;
        loop {
            let keeps_reserve = self.options.keeps_reserve;
            let task = self.state.borrow_mut().next_task(keeps_reserve, takes_back);
            let Some(task) = task else {
                if self.is_at_rest() {
                    break;
                }
                self.keep.notified().await;
                continue;
            };
            let is_taking_back = matches!(task, Task::Recycle(_));
            let done = self.perform(task).await;
            self.changed.notify_all();
            if done {
                continue;
            }
            if self.state.borrow().closed {
                takes_back &= !is_taking_back;
            } else {
                futures_lite::future::or(self.keep.notified(), disk::pause(RETRY_MS)).await;
            }
        }
        self.state.borrow_mut().kept = true;
        self.changed.notify_all();
    }

    async fn perform(&self, task: Task) -> bool {
        match task {
            Task::Seal(segment, end) => {
                // Without its trailer it takes longer to be read, and nothing worse.
                if let Err(error) = segment.seal(end).await {
                    tracing::warn!(segment = %segment.path.display(), %error, "ending a log segment failed");
                }
                self.use_file(&segment);
                true
            }
            Task::Recycle(segment) => self.recycle(&segment).await,
            Task::Discard(path) => {
                if let Err(error) = disk::remove(&path).await {
                    tracing::warn!(file = %path.display(), %error, "removing a spare log segment failed");
                }
                true
            }
            Task::Prepare => self.prepare().await,
            Task::Reserve => self.make_reserve().await,
        }
    }

    /// Makes a spare of a segment that was given up. One that was being written to when it failed, or has
    /// another length, is removed instead.
    async fn recycle(&self, segment: &Segment) -> bool {
        let result = if segment.failed.get() || segment.len != self.options.segment_len {
            disk::remove(&segment.path).await
        } else {
            let path = Role::Spare.path(&self.directory, segment.stamp.segment);
            let result = disk::rename(&segment.path, &path).await;
            if result.is_ok() {
                self.state.borrow_mut().spares.push(path);
            }
            result
        };
        if let Err(error) = &result {
            tracing::warn!(segment = %segment.path.display(), %error, "freeing a log segment failed");
        } else {
            self.state.borrow_mut().freed.pop_front();
        }
        result.is_ok()
    }

    async fn prepare(&self) -> bool {
        let made = match self.has_space().await {
            Ok(()) => self.make_segment(self.options.segment_len).await,
            Err(error) => Err(error),
        };
        let mut state = self.state.borrow_mut();
        match made {
            Ok(segment) => {
                if std::mem::replace(&mut state.full, false) {
                    tracing::info!("the log has room again");
                }
                state.prepared = Some(Rc::new(segment));
                true
            }
            Err(_) if state.closed => true,
            Err(error) => {
                if !std::mem::replace(&mut state.full, true) {
                    tracing::warn!(directory = %self.directory.display(), %error, "no further log segment can be made");
                }
                false
            }
        }
    }

    /// Whether a further file would leave enough of the disk to others.
    async fn has_space(&self) -> io::Result<()> {
        let needed = self
            .options
            .min_free_space
            .saturating_add(self.options.segment_len.into());
        let spared = !self.state.borrow().spares.is_empty();
        if spared || disk::free_space(&self.directory).await? >= needed {
            return Ok(());
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// The next segment: of a spare file, or of a new one.
    pub(super) async fn make_segment(&self, len: u32) -> io::Result<Segment> {
        let stamp = self.next_stamp();
        let spare = (len == self.options.segment_len)
            .then(|| self.state.borrow_mut().spares.pop())
            .flatten();
        let made = match spare {
            Some(path) => {
                let made = segment::begin(&self.directory, &path, None, stamp, len).await;
                // It may have got its name and not for good: then the next attempt, which has the same
                // number, takes its place.
                if made.is_err() && disk::exists(&path).await.unwrap_or(true) {
                    self.state.borrow_mut().spares.push(path);
                }
                made?
            }
            None => {
                let file = self.fill_new(stamp.segment, len).await?;
                let path = Role::New.path(&self.directory, stamp.segment);
                segment::begin(&self.directory, &path, Some(file), stamp, len).await?
            }
        };
        self.count_in(&made);
        Ok(made)
    }

    fn next_stamp(&self) -> Stamp {
        let mut state = self.state.borrow_mut();
        state.lives += 1;
        Stamp {
            log: self.options.log,
            segment: state.next_segment,
            generation: mix(self.options.seed, state.lives),
        }
    }

    /// A segment has been made: the next one gets another number.
    fn count_in(&self, made: &Segment) {
        self.state.borrow_mut().next_segment += 1;
        let index = Index::of_segment(&made.stamp, made.len, self.options.index_len_max);
        made.index.replace(Some(index));
    }

    /// Puts a file aside for a start on a full disk. Whether it works does not matter today.
    async fn make_reserve(&self) -> bool {
        let number = self.state.borrow().next_segment;
        let made = async {
            self.fill_new(number, self.options.first_segment_len)
                .await?;
            let path = Role::Reserve.path(&self.directory, 0);
            disk::rename(&Role::New.path(&self.directory, number), &path).await?;
            Ok::<_, io::Error>(path)
        };
        let reserve = made.await.ok();
        let is_made = reserve.is_some();
        self.state.borrow_mut().reserve = reserve;
        is_made
    }

    /// The first segment on a disk that has no room for one. It needs none: its file is there.
    pub(super) async fn take_reserve(&self) -> Option<Segment> {
        let reserve = self.state.borrow_mut().reserve.take()?;
        let (stamp, len) = (self.next_stamp(), self.options.first_segment_len);
        match segment::begin(&self.directory, &reserve, None, stamp, len).await {
            Ok(made) => {
                self.count_in(&made);
                Some(made)
            }
            Err(error) => {
                tracing::warn!(file = %reserve.display(), %error, "the reserve of the log cannot be used");
                None
            }
        }
    }

    async fn fill_new(&self, number: u32, len: u32) -> io::Result<disk::File> {
        segment::fill(&self.directory, number, len, async |done| {
            // Twice as far as the segment it follows is used: then it is ready in time without taking the
            // disk from the commits. While somebody waits for it, at full speed.
            let of_256 = (u64::from(done) * 256 / u64::from(len)) as u32;
            let (used, closed) = {
                let state = self.state.borrow();
                let used = state.used_of_256(self.options.reserve_len);
                (used, state.closed)
            };
            if of_256 > used * 2 {
                disk::pause(PACE_MS).await;
            }
            !closed
        })
        .await
    }
}

impl State {
    fn next_task(&mut self, keeps_reserve: bool, takes_back: bool) -> Option<Task> {
        let ended = self.segments.iter().find_map(|segment| {
            let due = segment.open_batches.get() == 0 && !segment.failed.get();
            Some((
                segment.clone(),
                segment
                    .ended
                    .get()
                    .filter(|_| due && !segment.sealed.get())?,
            ))
        });
        if let Some((segment, end)) = ended {
            segment.sealed.set(true);
            return Some(Task::Seal(segment, end));
        }
        if let Some(segment) = self.freed.front().filter(|_| takes_back) {
            return Some(Task::Recycle(segment.clone()));
        }
        if self.closed {
            return None;
        }
        if self.prepared.is_none() {
            return Some(Task::Prepare);
        }
        if keeps_reserve && self.reserve.is_none() {
            return Some(Task::Reserve);
        }
        (self.spares.len() > SPARE_MAX)
            .then(|| self.spares.pop())
            .flatten()
            .map(Task::Discard)
    }
}

/// A generation: as random as the seed, and another one for each life.
pub(super) const fn mix(seed: u64, life: u64) -> u64 {
    let mut word = seed.wrapping_add(life.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
