//! The disk of a machine: what was written and not synced may be lost, torn or kept at a power cut.
//!
//! A request takes its time: until then its bytes are not there for readers, and when its process is killed
//! they may or may not land. A sync reaches exactly the writes that had come to their end when it began. What
//! else goes wrong is in [`Faults`], the caller's plan. `content` knows what a file holds, `names` what stands
//! where; here are the requests. The disk knows nothing of logs.

mod content;
mod faults;
mod names;

pub use self::faults::{Call, Failing, Faults};

use self::content::{Content, Mark, Mercy, PAGE_LEN, Page};
use self::names::{Entry, Names, parent};
use super::{Chance, World};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

fn error(errno: rustix::io::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}

fn not_found() -> io::Error {
    error(rustix::io::Errno::NOENT)
}

fn no_space() -> io::Error {
    error(rustix::io::Errno::NOSPC)
}

/// The disk of the process whose step this is, in a world.
pub(crate) fn here() -> Option<Disk> {
    let world = super::here()?;
    let host = world
        .host_here()
        .expect("a file belongs to a process on a host");
    Some(host.disk().clone())
}

/// A disk. Clones are the same one.
#[derive(Clone)]
pub struct Disk {
    world: World,
    state: Rc<RefCell<State>>,
}

struct State {
    /// Its own, so that what is drawn here changes nothing elsewhere.
    chance: Chance,
    names: Names,
    faults: Faults,
    /// Nothing comes to its end before.
    stalled_until: u64,
    under_way: Vec<Request>,
    next_request: u64,
}

struct Request {
    number: u64,
    process: u64,
    done_at: u64,
    work: Work,
}

/// What is done when a request comes to its end.
enum Work {
    Write {
        content: Rc<RefCell<Content>>,
        at: usize,
        pages: Vec<Page>,
        len: u64,
        fails: bool,
    },
    Sync {
        content: Rc<RefCell<Content>>,
        mark: Mark,
        fails: bool,
    },
    SyncDirectory {
        path: PathBuf,
        mark: u64,
        fails: bool,
    },
    /// Takes time, and is done where it is asked for.
    Nothing,
}

impl State {
    /// All requests that have come to their end by now.
    fn settle(&mut self, now: u64) {
        loop {
            let due = self.under_way.iter().enumerate();
            let due = due.filter(|(_, request)| request.done_at <= now);
            let first = due.min_by_key(|(_, request)| (request.done_at, request.number));
            let Some((at, _)) = first else { return };
            let request = self.under_way.swap_remove(at);
            self.perform(request.work);
        }
    }

    fn perform(&mut self, work: Work) {
        match work {
            Work::Write {
                content,
                at,
                pages,
                len,
                fails,
            } => {
                let mut content = content.borrow_mut();
                if fails {
                    content.write_in_part(at, &pages, &mut self.chance);
                } else {
                    content.write(at, &pages, len);
                }
            }
            Work::Sync {
                content,
                mark,
                fails,
            } => {
                let mut content = content.borrow_mut();
                if fails {
                    content.sync_failed(mark, &mut self.chance);
                } else {
                    content.sync(mark);
                }
            }
            Work::SyncDirectory { path, mark, fails } => {
                if !fails {
                    self.names.sync(&path, mark);
                }
            }
            Work::Nothing => {}
        }
    }

    /// What becomes of a request whose process is no more: it may come to its end, or not, or halfway.
    fn leave(&mut self, work: Work) {
        match (self.chance.below(3), work) {
            (0, work) => self.perform(work),
            (
                1,
                Work::Write {
                    content, at, pages, ..
                },
            ) => {
                let mut content = content.borrow_mut();
                content.write_in_part(at, &pages, &mut self.chance);
            }
            _ => {}
        }
    }

    /// The error number with which this call fails, if it does.
    fn failure(&mut self, call: Call) -> Option<i32> {
        let chance = &mut self.chance;
        let failing = self.faults.failing.iter_mut().find(|failing| {
            failing.call == call && failing.times > 0 && chance.in_a_million(failing.rate)
        })?;
        if failing.times != u32::MAX {
            failing.times -= 1;
        }
        Some(failing.errno)
    }

    fn used(&self) -> u64 {
        let spaces = self
            .names
            .files()
            .map(|(_, content)| content.borrow().space());
        spaces.sum()
    }

    fn free(&self) -> u64 {
        self.faults.capacity.saturating_sub(self.used())
    }

    /// Makes a file so long that it holds `len` bytes, if the disk has room.
    fn extend(&self, content: &RefCell<Content>, len: u64) -> io::Result<()> {
        let more = len
            .next_multiple_of(PAGE_LEN as u64)
            .saturating_sub(content.borrow().space());
        if more > 0 && more > self.free() {
            return Err(no_space());
        }
        content.borrow_mut().extend(len);
        Ok(())
    }
}

impl Disk {
    pub(super) fn new(world: &World) -> Self {
        let chance = world.chance().fork();
        Self {
            world: world.clone(),
            state: Rc::new(RefCell::new(State {
                chance,
                names: Names::default(),
                faults: Faults::default(),
                stalled_until: 0,
                under_way: Vec::new(),
                next_request: 0,
            })),
        }
    }

    /// Changes what the disk does wrong.
    pub fn with_faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(&mut self.state.borrow_mut().faults)
    }

    /// The next call of this kind fails with EIO.
    pub fn fail_once(&self, call: Call) {
        self.with_faults(|faults| faults.failing.push(Failing::once(call)));
    }

    /// Nothing comes to its end for so many microseconds from now, not even what is under way.
    pub fn stall(&self, micros: u64) {
        let mut state = self.state();
        let until = self.world.micros().saturating_add(micros);
        state.stalled_until = state.stalled_until.max(until);
        let until = state.stalled_until;
        for request in &mut state.under_way {
            request.done_at = request.done_at.max(until);
        }
    }

    /// Bytes that its files take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state.borrow().used()
    }

    /// Bytes that are free.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.state.borrow().free()
    }

    /// All files, with their lengths.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        let files = state.names.files();
        files
            .map(|(path, content)| (path.to_path_buf(), content.borrow().len()))
            .collect()
    }

    /// A file's bytes as a process sees them, at once.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let content = self.state().names.file(path)?;
        let content = content.borrow();
        let mut bytes = vec![0; content.len() as usize];
        content.read(0, &mut bytes);
        Some(bytes)
    }

    /// Puts a file there for good, at once, with the directories above it.
    pub fn write(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let mut content = Content::default();
        content.write(0, &content::pages(bytes), bytes.len() as u64);
        content.sync(content.mark());
        let above: Vec<_> = parent(path).ancestors().collect();
        let names = &mut state.names;
        for directory in above.into_iter().rev() {
            if !names.is_directory(directory) {
                names.make(directory, Entry::Directory);
                names.sync(parent(directory), names.mark());
            }
        }
        names.make(path, Entry::File(Rc::new(RefCell::new(content))));
        names.sync(parent(path), names.mark());
    }

    /// Flips a bit of a file, for good; false if there is no such byte.
    pub fn rot(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let state = self.state();
        let Some(content) = state.names.file(path) else {
            return false;
        };
        let mut content = content.borrow_mut();
        let is_there = offset < content.len();
        if is_there {
            content.rot(offset, bit);
        }
        is_there
    }

    /// The state, with all that has come to its end by now.
    fn state(&self) -> std::cell::RefMut<'_, State> {
        let mut state = self.state.borrow_mut();
        state.settle(self.world.micros());
        state
    }

    pub(super) fn process_ended(&self) {
        let mut state = self.state();
        let (left, kept) = std::mem::take(&mut state.under_way)
            .into_iter()
            .partition(|request| !self.world.is_alive(request.process));
        state.under_way = kept;
        let left: Vec<Request> = left;
        for request in left {
            state.leave(request.work);
        }
    }

    pub(super) fn power_cut(&self) {
        let mut state = self.state();
        for request in std::mem::take(&mut state.under_way) {
            state.leave(request.work);
        }
        let State { names, chance, .. } = &mut *state;
        let mercy = Mercy::draw(chance);
        // Those whose names are lost are cut for nothing.
        names.cut_contents(|content| content.power_cut(mercy, chance));
        names.power_cut(chance);
        state.stalled_until = 0;
    }

    /// Sends a request on its way, and waits for its end.
    async fn ask(&self, call: Call, work: impl FnOnce(&mut State, bool) -> Work) -> io::Result<()> {
        let (number, failure) = {
            let mut state = self.state();
            let state = &mut *state;
            let failure = state.failure(call);
            let range = match call {
                Call::Write => &state.faults.write_micros,
                Call::Sync | Call::SyncDirectory => &state.faults.sync_micros,
                Call::Open
                | Call::Create
                | Call::Reserve
                | Call::Read
                | Call::Rename
                | Call::Look => &state.faults.read_micros,
            };
            let mut micros = state.chance.within(range);
            if state.chance.in_a_million(state.faults.slow) {
                micros += state.chance.within(&state.faults.slow_micros);
            }
            let begins = self.world.micros().max(state.stalled_until);
            let number = state.next_request;
            state.next_request += 1;
            let work = work(state, failure.is_some());
            state.under_way.push(Request {
                number,
                process: self.world.process(),
                // Never at once: it is under way for a moment at least.
                done_at: begins.saturating_add(micros.max(1)),
                work,
            });
            self.world.note(&[call as u8, u8::from(failure.is_some())]);
            (number, failure)
        };
        loop {
            let now = self.world.micros();
            let due = {
                let state = self.state();
                let request = state
                    .under_way
                    .iter()
                    .find(|request| request.number == number);
                request.map(|request| request.done_at)
            };
            let Some(due) = due else { break };
            self.world.pause(due - now).await;
        }
        failure.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// Takes the time of a call that is done where it is asked for.
    async fn take_time(&self, call: Call) -> io::Result<()> {
        self.ask(call, |_, _| Work::Nothing).await
    }

    pub(crate) async fn open(&self, path: &Path) -> io::Result<File> {
        self.take_time(Call::Open).await?;
        let content = self.state().names.file(path).ok_or_else(not_found)?;
        Ok(File {
            disk: self.clone(),
            content,
        })
    }

    /// Makes a file anew, empty. Its name is not for good yet.
    pub(crate) async fn create(&self, path: &Path) -> io::Result<File> {
        self.take_time(Call::Create).await?;
        let mut state = self.state();
        if !state.names.is_directory(parent(path)) {
            return Err(not_found());
        }
        let content = Rc::default();
        state.names.make(path, Entry::File(Rc::clone(&content)));
        Ok(File {
            disk: self.clone(),
            content,
        })
    }

    pub(crate) async fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.take_time(Call::Create).await?;
        let mut state = self.state();
        if !state.names.is_directory(path) {
            state.names.make(path, Entry::Directory);
        }
        Ok(())
    }

    pub(crate) async fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.take_time(Call::Look).await?;
        let state = self.state();
        if !state.names.is_directory(path) {
            return Err(not_found());
        }
        Ok(state.names.list(path))
    }

    pub(crate) async fn exists(&self, path: &Path) -> io::Result<bool> {
        self.take_time(Call::Look).await?;
        let state = self.state();
        Ok(state.names.is_directory(path) || state.names.get(path).is_some())
    }

    /// Not for good yet.
    pub(crate) async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.take_time(Call::Rename).await?;
        let mut state = self.state();
        state.names.get(from).ok_or_else(not_found)?;
        state.names.rename(from, to);
        Ok(())
    }

    /// Not for good yet.
    pub(crate) async fn remove(&self, path: &Path) -> io::Result<()> {
        self.take_time(Call::Rename).await?;
        let mut state = self.state();
        state.names.get(path).ok_or_else(not_found)?;
        state.names.remove(path);
        Ok(())
    }

    pub(crate) async fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.ask(Call::SyncDirectory, |state, fails| Work::SyncDirectory {
            path: path.to_path_buf(),
            mark: state.names.mark(),
            fails,
        })
        .await
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

/// An open file of a simulated disk.
#[derive(Clone, Debug)]
pub(crate) struct File {
    disk: Disk,
    content: Rc<RefCell<Content>>,
}

impl File {
    pub(crate) fn len(&self) -> u64 {
        self.content.borrow().len()
    }

    pub(crate) async fn reserve(&self, len: u64) -> io::Result<()> {
        self.disk.take_time(Call::Reserve).await?;
        self.disk.state().extend(&self.content, len)
    }

    /// Writes from the start of a page on; a last part of a page takes the place of the whole page.
    pub(crate) async fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(
            offset.is_multiple_of(PAGE_LEN as u64),
            "written to {offset}"
        );
        let len = offset + bytes.len() as u64;
        self.disk.state().extend(&self.content, len)?;
        let write = |_: &mut State, fails| Work::Write {
            content: self.content.clone(),
            at: offset as usize / PAGE_LEN,
            pages: content::pages(bytes),
            len,
            fails,
        };
        self.disk.ask(Call::Write, write).await
    }

    /// Writes behind the end.
    pub(crate) async fn append(&self, bytes: &[u8]) -> io::Result<()> {
        // The last page is written again with what it holds.
        let end = self.len();
        let start = end - end % PAGE_LEN as u64;
        let mut all = vec![0; (end - start) as usize];
        self.content.borrow().read(start, &mut all);
        all.extend_from_slice(bytes);
        self.write(&all, start).await
    }

    /// Reads into `out`, and says how much there was.
    pub(crate) async fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.disk.take_time(Call::Read).await?;
        let _settled = self.disk.state();
        Ok(self.content.borrow().read(offset, out))
    }

    pub(crate) async fn sync(&self) -> io::Result<()> {
        let sync = |state: &mut State, fails: bool| {
            let mut content = self.content.borrow_mut();
            let mark = content.mark();
            if fails && state.chance.below(2) == 0 {
                // Lost already, while word of it comes at its end: a sync beside it may end well before.
                content.sync_failed(mark, &mut state.chance);
                return Work::Nothing;
            }
            let content = self.content.clone();
            Work::Sync {
                content,
                mark,
                fails,
            }
        };
        self.disk.ask(Call::Sync, sync).await
    }
}
