//! A disk that forgets: an image whose writes are kept in memory until the disk is told to flush,
//! and that loses them when its power goes.
//!
//! The image is one file on a FUSE file system of our own (`wire` speaks with the kernel, `cache`
//! remembers what is not durable yet). A loop device over that file has a write-back cache like a
//! real disk's: ext4's flushes arrive as FSYNC, and whatever lies between two of them is lost, kept, or
//! kept in part, by seed. Unlike a shut-down file system this sees a missing sync of a commit, since
//! an overwrite past the page cache is no more durable here than any other.
//!
//! Linux, root and `/dev/fuse` are needed; where they are not, there is a message and no disk.

mod cache;
mod wire;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use self::cache::Cache;
pub use self::cache::Forgotten;
use crate::message::Chance;
use crate::wait;

/// What is left of a write that no flush covered when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    None,
    /// Each block of 4 KiB, or not, as this seed has it: in any order, torn anywhere.
    Some(u64),
}

/// A disk image that forgets at each cut what was not flushed. Goes, with its mount, when dropped.
#[derive(Debug)]
pub struct LossyDisk {
    directory: tempfile::TempDir,
    serving: Option<Serving>,
}

/// While there is power.
#[derive(Debug)]
struct Serving {
    power: Arc<AtomicBool>,
    thread: JoinHandle<Cache>,
}

impl LossyDisk {
    /// A disk of `len` zeros, without power. `directory` is on a real disk with that much room.
    ///
    /// # Panics
    /// When there is no room.
    pub fn new(directory: &Path, len: u64) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("lossy-")
            .tempdir_in(directory)
            .expect("a directory");
        let disk = Self {
            directory,
            serving: None,
        };
        let image = File::create_new(disk.platter()).expect("a file");
        image.set_len(len).expect("room for the image");
        File::create_new(disk.path()).expect("a file to mount on");
        disk
    }

    /// What lies on the platter: durable, and to be looked at only while there is no power.
    pub fn platter(&self) -> PathBuf {
        self.directory.path().join("platter")
    }

    /// The disk as programs see it, while there is power.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Power on. `None`, and a message, where this machine cannot.
    ///
    /// # Panics
    /// When it is on already.
    pub fn power_on(&mut self) -> Option<()> {
        assert!(self.serving.is_none(), "the power is on already");
        let device = match File::options().read(true).write(true).open("/dev/fuse") {
            Ok(device) => device,
            Err(error) => {
                eprintln!("SKIPPED: no lossy disk: /dev/fuse: {error}");
                return None;
            }
        };
        if let Err(error) = attach(&device, &self.path()) {
            eprintln!("SKIPPED: no lossy disk can be mounted here: {error}");
            return None;
        }
        let platter = File::options().read(true).write(true).open(self.platter());
        let cache = Cache::new(platter.expect("the image"));
        let power = Arc::new(AtomicBool::new(true));
        let supply = Arc::clone(&power);
        let thread = std::thread::Builder::new()
            .name("lossy disk".to_owned())
            .spawn(move || wire::serve(&device, cache, &supply))
            .expect("a thread");
        self.serving = Some(Serving { power, thread });
        Some(())
    }

    /// The power goes: from now on every write and every flush fails, and what is not durable never
    /// will be. Who still has the disk open has to be ended before [`settle`](Self::settle).
    ///
    /// # Panics
    /// When there is no power.
    pub fn cut(&self) {
        let serving = self.serving.as_ref().expect("the power is on");
        serving.power.store(false, Ordering::SeqCst);
    }

    /// After a cut, when nobody has the disk open any more: what was not durable is gone, or is not.
    ///
    /// # Panics
    /// When the power is still on, or the disk in use.
    pub fn settle(&mut self, survival: Survival) -> Forgotten {
        let serving = self.serving.take().expect("the power was on");
        assert!(
            !serving.power.load(Ordering::SeqCst),
            "the power is still on"
        );
        let cache = self.detach(serving);
        let mut chance = match survival {
            Survival::None => None,
            Survival::Some(seed) => Some(Chance::new(seed)),
        };
        cache.settle(|| chance.as_mut().is_some_and(|chance| chance.below(2) == 0))
    }

    fn detach(&self, serving: Serving) -> Cache {
        // A loop device lets go of it a moment after its file system is unmounted.
        wait::until("nobody has the disk open", || {
            unmount(self.path(), UnmountFlags::empty()).ok()
        });
        serving.thread.join().expect("the disk's thread")
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        if self.serving.take().is_some() {
            // Lazily: the end of this process ends the thread, too.
            let _ = unmount(self.path(), UnmountFlags::DETACH);
        }
    }
}

/// Mounts a file system of one file on the file `at`: its root is no directory.
fn attach(device: &File, at: &Path) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    let options = format!(
        "fd={},rootmode=100000,user_id=0,group_id=0",
        device.as_raw_fd()
    );
    let options = std::ffi::CString::new(options).expect("no zero in it");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("lossy", at, "fuse.lossy", flags, options.as_c_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    const LEN: u64 = 1 << 20;

    fn disk() -> Option<LossyDisk> {
        let mut disk = LossyDisk::new(&crate::server::directory_of_tests(), LEN);
        disk.power_on()?;
        Some(disk)
    }

    fn open(disk: &LossyDisk) -> File {
        let mut options = File::options();
        options
            .read(true)
            .write(true)
            .open(disk.path())
            .expect("the disk")
    }

    fn platter(disk: &LossyDisk, offset: u64) -> u8 {
        let mut byte = [0];
        let file = File::open(disk.platter()).expect("the image");
        file.read_exact_at(&mut byte, offset).expect("a byte");
        byte[0]
    }

    #[test]
    fn what_was_not_flushed_is_lost_and_the_rest_is_not() {
        let Some(mut disk) = disk() else { return };
        let file = open(&disk);
        file.write_all_at(&[1; 8192], 4096).expect("written");
        file.sync_all().expect("flushed");
        file.write_all_at(&[2; 100], 8190).expect("written");
        let mut read = [0; 4];
        file.read_exact_at(&mut read, 8188).expect("read");
        assert_eq!(read, [1, 1, 2, 2], "it reads what it wrote");
        disk.cut();
        assert!(file.write_all_at(&[3; 100], 0).is_err());
        assert!(file.sync_all().is_err());
        drop(file);
        let forgotten = disk.settle(Survival::None);
        assert_eq!((forgotten.lost, forgotten.kept), (2, 0));
        assert_eq!(platter(&disk, 8191), 1);
        disk.power_on().expect("it went before");
        open(&disk).read_exact_at(&mut read, 8188).expect("read");
        assert_eq!(read, [1; 4]);
        assert_eq!(std::fs::metadata(disk.path()).expect("the disk").len(), LEN);
    }

    #[test]
    fn some_of_it_may_survive() {
        let Some(mut disk) = disk() else { return };
        let file = open(&disk);
        file.write_all_at(&[1; 100 * 4096], 0).expect("written");
        disk.cut();
        drop(file);
        let forgotten = disk.settle(Survival::Some(7));
        assert_eq!(forgotten.lost + forgotten.kept, 100);
        assert!(forgotten.lost > 20 && forgotten.kept > 20, "{forgotten:?}");
        let kept = (0..100).filter(|block| platter(&disk, block * 4096) == 1);
        assert_eq!(kept.count(), forgotten.kept);
    }
}
