//! The disk as the log needs it: files written and read in whole blocks, names changed for good.
//!
//! The lowest layer, and the log's only file that names glommio: within a world of `sim` each of these calls
//! goes to the simulated disk of the machine whose step it is. It knows no records and takes no decision: what
//! fails is reported.

use std::future::Future;
use std::io;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;

use glommio::GlommioError;
use glommio::io::{DmaFile, OpenOptions};
use rustix::io::Errno;

use crate::buffer::{ALIGNMENT, Chunk, ChunkMut};
use crate::ring;
#[cfg(feature = "sim")]
use crate::sim;

/// The system's own error: glommio wraps it in words, and the number is lost on the way.
fn plain(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => error.into(),
    }
}

/// An open file, read and written past the page cache.
#[derive(Debug)]
pub(super) struct File(Kind);

/// Of which world it is.
#[derive(Debug)]
enum Kind {
    Real(DmaFile),
    #[cfg(feature = "sim")]
    Sim(sim::disk::File),
}

impl File {
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(disk) = sim::disk::here() {
            return Ok(Self(Kind::Sim(disk.open(path).await?)));
        }
        // Now, and not with the first commit, it is told that there is none to be had.
        ring::open()?;
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .dma_open(path)
            .await
            .map_err(plain)?;
        Ok(Self(Kind::Real(file)))
    }

    /// Makes a file anew, with one block of zeros.
    pub(super) async fn create(path: &Path) -> io::Result<Self> {
        // The block has to be on disk before glommio opens the file: it tries at the first one whether the
        // device can be polled by reading from it, takes the empty answer of an empty file for a yes, and
        // then every read of that device fails with EOPNOTSUPP.
        faults::meet(faults::Call::Create).await?;
        let sync = !left_out!(PreparationSync);
        #[cfg(feature = "sim")]
        if let Some(disk) = sim::disk::here() {
            let file = disk.create(path).await?;
            file.write(&[0; ALIGNMENT], 0).await?;
            if sync {
                file.sync().await?;
            }
            return Ok(Self(Kind::Sim(file)));
        }
        let new = path.to_path_buf();
        blocking(move || {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(new)?;
            file.write_all(&[0; ALIGNMENT])?;
            if sync { file.sync_all() } else { Ok(()) }
        })
        .await?;
        Self::open(path).await
    }

    /// Closes it, unless somebody else still uses it: then it is closed with the last of them.
    pub(super) async fn close(self: Rc<Self>) {
        if let Some(Self(Kind::Real(file))) = Rc::into_inner(self) {
            // It was only read, or synced before: there is nothing that a failure could lose.
            let _ = file.close().await;
        }
    }

    pub(super) async fn len(&self) -> io::Result<u64> {
        match &self.0 {
            Kind::Real(file) => file.file_size().await.map_err(plain),
            #[cfg(feature = "sim")]
            Kind::Sim(file) => Ok(file.len()),
        }
    }

    /// Asks for the space of `len` bytes, in one piece if possible.
    pub(super) async fn reserve(&self, len: u64) -> io::Result<()> {
        match &self.0 {
            Kind::Real(file) => match file.pre_allocate(len, false).await {
                // Some file systems cannot; writing the zeros gets the space all the same.
                Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                    Ok(())
                }
                result => result.map_err(plain),
            },
            #[cfg(feature = "sim")]
            Kind::Sim(file) => file.reserve(len).await,
        }
    }

    /// Writes the whole memory behind some chunks (at least one, at most 1,024), one after the other.
    pub(super) async fn write(&self, chunks: &[&Chunk], offset: u64) -> io::Result<()> {
        faults::meet(faults::Call::Write).await?;
        let blocks = chunks.iter().map(|chunk| chunk.block());
        match &self.0 {
            Kind::Real(file) => {
                let len = blocks.clone().map(|block| block.len()).sum();
                let written = match chunks {
                    [only] => ring::write(descriptor(file), only.block().clone(), offset),
                    _ => ring::write_many(descriptor(file), blocks.cloned().collect(), offset),
                };
                match written?.await? {
                    written if written == len => Ok(()),
                    // In a file that was written in full before, a short write is the device's failure.
                    _ => Err(Errno::IO.into()),
                }
            }
            #[cfg(feature = "sim")]
            Kind::Sim(file) => {
                // All at once: a process that dies leaves some of them, and not always the first.
                let offsets = blocks.clone().scan(offset, |next, block| {
                    let offset = *next;
                    *next += block.len() as u64;
                    Some(offset)
                });
                let write = |(block, offset)| file.write(block, offset);
                let bytes = blocks.clone().map(|block| block.as_bytes());
                super::run::all(bytes.zip(offsets).map(write)).await
            }
        }
    }

    /// Reads whole blocks; fewer only at the file's end.
    pub(super) async fn read(&self, offset: u64, len: usize) -> io::Result<Chunk> {
        match &self.0 {
            Kind::Real(file) => {
                // Of memory that somebody has written: a read at the file's end leaves some of it, and it may be
                // used again.
                let chunk = ChunkMut::with_len(len.max(1));
                let space = chunk.capacity();
                let chunk = chunk.freeze(space);
                let memory = chunk.block().clone();
                let read = ring::read(descriptor(file), memory, offset)?.await?;
                Ok(chunk.slice(0..read))
            }
            #[cfg(feature = "sim")]
            Kind::Sim(file) => {
                let there = file.len().saturating_sub(offset).min(len as u64) as usize;
                let mut chunk = ChunkMut::with_len(there.max(1));
                let read = file
                    .read(offset, &mut chunk.as_mut_slice()[..there])
                    .await?;
                Ok(chunk.freeze(read))
            }
        }
    }

    pub(super) async fn sync(&self) -> io::Result<()> {
        faults::meet(faults::Call::Sync).await?;
        match &self.0 {
            Kind::Real(file) => ring::sync(descriptor(file))?.await.map(drop),
            #[cfg(feature = "sim")]
            Kind::Sim(file) => file.sync().await,
        }
    }
}

fn descriptor(file: &DmaFile) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open for as long as `file`, from which the result borrows.
    unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) }
}

/// Runs `call`, which blocks, beside the shard's thread.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    glommio::executor().spawn_blocking(call).await
}

/// Makes names that were given or taken in a directory survive a power cut.
fn sync_directory(path: &Path) -> io::Result<()> {
    if left_out!(DirectorySync) {
        return Ok(());
    }
    // Not fdatasync: a changed name is no data, and some file systems would leave it for later.
    std::fs::File::open(path)?.sync_all()
}

/// As [`sync_directory`], on a simulated disk.
#[cfg(feature = "sim")]
async fn sync_parent(disk: &sim::disk::Disk, path: &Path) -> io::Result<()> {
    if left_out!(DirectorySync) {
        return Ok(());
    }
    disk.sync_directory(parent(path)).await
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a directory and those above it, for good, and what stands in it.
///
/// Those that are there are synced as well: an earlier process may have made them, or changed names in them,
/// and ended before it could do so.
pub(super) async fn make_directory(path: &Path) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if let Some(disk) = sim::disk::here() {
        let above: Vec<&Path> = path.ancestors().collect();
        for path in above.into_iter().rev() {
            disk.make_directory(path).await?;
            sync_parent(&disk, path).await?;
        }
        // As if of a name in it.
        return sync_parent(&disk, &path.join("name")).await;
    }
    let path = path.to_path_buf();
    blocking(move || {
        let above: Vec<&Path> = path.ancestors().collect();
        for path in above.into_iter().rev() {
            if path.as_os_str().is_empty() {
                continue;
            }
            let is_new = !path.is_dir();
            if is_new {
                match std::fs::create_dir(path) {
                    // Another shard was faster.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    result => result?,
                }
            }
            match sync_directory(parent(path)) {
                // High above are directories that are not ours to open.
                Err(error) if !is_new && error.kind() == io::ErrorKind::PermissionDenied => {}
                result => result?,
            }
        }
        sync_directory(&path)
    })
    .await
}

/// The names in a directory.
pub(super) async fn list(path: &Path) -> io::Result<Vec<String>> {
    #[cfg(feature = "sim")]
    if let Some(disk) = sim::disk::here() {
        return disk.list(path).await;
    }
    let path = path.to_path_buf();
    blocking(move || {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    })
    .await
}

/// Renames for good. What was renamed already, and not for good because syncing the directory failed, is made
/// so now: an attempt can be made again.
pub(super) async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if let Some(disk) = sim::disk::here() {
        match disk.rename(from, to).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound && disk.exists(to).await? => {}
            result => result?,
        }
        return sync_parent(&disk, to).await;
    }
    let (from, to) = (from.to_path_buf(), to.to_path_buf());
    blocking(move || {
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => {}
            result => result?,
        }
        sync_directory(parent(&to))
    })
    .await
}

/// Removes for good, also what was removed and not for good.
pub(super) async fn remove(path: &Path) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if let Some(disk) = sim::disk::here() {
        match disk.remove(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        return sync_parent(&disk, path).await;
    }
    let path = path.to_path_buf();
    blocking(move || {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        sync_directory(parent(&path))
    })
    .await
}

/// Removes an empty directory for good.
pub(super) async fn remove_directory(path: &Path) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if let Some(disk) = sim::disk::here() {
        disk.remove(path).await?;
        return sync_parent(&disk, path).await;
    }
    let path = path.to_path_buf();
    blocking(move || {
        std::fs::remove_dir(&path)?;
        sync_directory(parent(&path))
    })
    .await
}

/// Puts bytes at the end of an ordinary file, for good.
pub(super) async fn keep(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if let Some(disk) = sim::disk::here() {
        let file = match disk.open(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path).await?,
            opened => opened?,
        };
        file.append(&bytes).await?;
        file.sync().await?;
        return sync_parent(&disk, path).await;
    }
    let path = path.to_path_buf();
    blocking(move || {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        sync_directory(parent(&path))
    })
    .await
}

/// Whether there is such a file.
pub(super) async fn exists(path: &Path) -> io::Result<bool> {
    #[cfg(feature = "sim")]
    if let Some(disk) = sim::disk::here() {
        return disk.exists(path).await;
    }
    let path = path.to_path_buf();
    blocking(move || path.try_exists()).await
}

/// Bytes of a file, without opening it.
pub(super) async fn len_of(path: &Path) -> io::Result<u64> {
    #[cfg(feature = "sim")]
    if let Some(disk) = sim::disk::here() {
        return Ok(disk.open(path).await?.len());
    }
    let path = path.to_path_buf();
    blocking(move || Ok(std::fs::metadata(path)?.len())).await
}

/// Bytes of the file system that an ordinary user may still fill.
pub(super) async fn free_space(path: &Path) -> io::Result<u64> {
    #[cfg(feature = "sim")]
    if let Some(disk) = sim::disk::here() {
        return Ok(disk.free());
    }
    let path = path.to_path_buf();
    blocking(move || {
        let stat = rustix::fs::statvfs(&path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    })
    .await
}

/// Runs beside everything else of the shard, to its end.
pub(super) fn spawn(future: impl Future<Output = ()> + 'static) {
    crate::shard::spawn_beside(future);
}

/// Until nothing more has come for now.
pub(super) async fn lull() {
    crate::shard::courtesy::lull().await;
}

pub(super) async fn pause(millis: u64) {
    crate::timer::sleep(millis * 1000).await;
}

/// Calls that tests can make fail, or wait.
pub(super) mod faults {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::log) enum Call {
        Write,
        Sync,
        Create,
    }

    #[cfg(not(test))]
    pub(super) async fn meet(_: Call) -> std::io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    pub(in crate::log) use planned::{Fault, all_met, forget, meet, plan};

    #[cfg(test)]
    mod planned {
        use std::cell::RefCell;
        use std::collections::VecDeque;
        use std::io;
        use std::rc::Rc;

        use super::Call;
        use crate::signal::Notify;

        #[derive(Clone, Debug)]
        pub(in crate::log) enum Fault {
            Fail(i32),
            /// Goes on when told to.
            Hold(Rc<Notify>),
            /// Fails when told to.
            HoldAndFail(Rc<Notify>, i32),
        }

        thread_local! {
            static PLAN: RefCell<VecDeque<(Call, Fault)>> = const { RefCell::new(VecDeque::new()) };
        }

        /// The next call of that kind without a plan meets this.
        pub(in crate::log) fn plan(call: Call, fault: Fault) {
            PLAN.with_borrow_mut(|plan| plan.push_back((call, fault)));
        }

        /// Whether nothing that was planned is still to come.
        pub(in crate::log) fn all_met() -> bool {
            PLAN.with_borrow(VecDeque::is_empty)
        }

        /// Nothing is planned any more.
        pub(in crate::log) fn forget() {
            PLAN.with_borrow_mut(VecDeque::clear);
        }

        pub(in crate::log) async fn meet(call: Call) -> io::Result<()> {
            let fault = PLAN.with_borrow_mut(|plan| {
                let at = plan.iter().position(|&(planned, _)| planned == call)?;
                plan.remove(at)
            });
            match fault {
                None => Ok(()),
                Some((_, Fault::Fail(errno))) => Err(io::Error::from_raw_os_error(errno)),
                Some((_, Fault::Hold(until))) => {
                    until.notified().await;
                    Ok(())
                }
                Some((_, Fault::HoldAndFail(until, errno))) => {
                    until.notified().await;
                    Err(io::Error::from_raw_os_error(errno))
                }
            }
        }
    }
}
