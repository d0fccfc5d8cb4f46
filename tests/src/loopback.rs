//! A file system in a file, on a loop device: one that a test may fill, break and cut the power of.
//!
//! Only root can mount, and not in every container: then there is none, and a message says why. It is
//! unmounted and removed when it is dropped; what a killed test program left mounted is cleaned up by the
//! next one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::process::{Pid, geteuid, test_kill_process};

use crate::program::{find, run};
use crate::server::directory_of_tests;
use crate::wait;

/// How the directories of all of them begin; the program's process id follows.
const PREFIX: &str = "loopback-";

/// `FS_IOC_SHUTDOWN`, by other names `EXT4_IOC_SHUTDOWN` and `XFS_IOC_GOINGDOWN`.
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);

/// Its argument: the journal in memory is not written out before.
const NOLOGFLUSH: u32 = 2;

/// Before a mount is tried again that others have got in the way of.
const RETRY: Duration = Duration::from_millis(500);

/// Which file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4, whose journal is committed when somebody syncs and never by the clock.
    Ext4,
    /// XFS, of 300 MiB at least.
    Xfs,
}

impl Kind {
    /// Its name for `mount`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    fn format(self, image: &str) -> Option<()> {
        let (name, package, arguments) = match self {
            Self::Ext4 => ("mkfs.ext4", "e2fsprogs", ["-q", "-F", image]),
            Self::Xfs => ("mkfs.xfs", "xfsprogs", ["-q", "-f", image]),
        };
        let output = run(&find(name, package)?, &arguments, b"");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {}", error.trim());
        Some(())
    }

    const fn options(self) -> &'static str {
        match self {
            // With the usual 5 s the clock would now and then make good what was not synced.
            Self::Ext4 => "loop,commit=600",
            Self::Xfs => "loop",
        }
    }
}

/// A file system in a file. It is mounted, but between `unmount` and `mount`.
#[derive(Debug)]
pub struct Loopback {
    kind: Kind,
    image: PathBuf,
    place: PathBuf,
    is_mounted: bool,
    // Dropped last: what lies in it is unmounted by then.
    _directory: tempfile::TempDir,
}

impl Loopback {
    /// A new one of `size` bytes, in a sparse file on the disk that is built on; `None`, and a message,
    /// where there can be none.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn make(kind: Kind, size: u64) -> Option<Self> {
        let directory = directory()?;
        let image = directory.path().join("image");
        let file = File::create(&image).expect("a file below target");
        file.set_len(size).expect("a sparse file");
        Self::on(kind, image, directory)
    }

    /// A new one in a file that is there, with all that is in it lost; `None`, and a message, where there
    /// can be none.
    ///
    /// # Panics
    /// When it cannot be made in that file.
    pub fn within(kind: Kind, image: &Path) -> Option<Self> {
        Self::on(kind, image.to_owned(), directory()?)
    }

    fn on(kind: Kind, image: PathBuf, directory: tempfile::TempDir) -> Option<Self> {
        kind.format(&image.to_string_lossy())?;
        let place = directory.path().join("mounted");
        std::fs::create_dir(&place).expect("a directory below target");
        let mut loopback = Self {
            kind,
            image,
            place,
            is_mounted: false,
            _directory: directory,
        };
        if let Err(error) = loopback.try_mount() {
            eprintln!("SKIPPED: {} cannot be mounted here: {error}", kind.name());
            return None;
        }
        Some(loopback)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.place
    }

    /// Which file system it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Lets nothing more reach the image, as if the disk were gone: all writes and syncs fail with EIO,
    /// and what only the journal in memory knew is lost. It ends with `unmount` and `mount`.
    ///
    /// Requests that are on their way to the device still arrive, whole; so does every write past the page
    /// cache that came before. What this shows is what became of names and of the sizes of files.
    ///
    /// # Panics
    /// When it is not mounted.
    pub fn shut_down(&self) {
        let directory = File::open(&self.place).expect("the mounted directory");
        // SAFETY: this request reads one u32 and writes nothing, on each file system that knows it.
        let result = unsafe { ioctl(&directory, Setter::<SHUTDOWN, u32>::new(NOLOGFLUSH)) };
        result.expect("the file system can be shut down");
    }

    /// Takes it away, once nobody has a file of it open.
    ///
    /// # Panics
    /// When somebody keeps one, or it is not mounted.
    #[track_caller]
    pub fn unmount(&mut self) {
        assert!(self.is_mounted, "nothing is mounted");
        // The last descriptors of a killed process close a moment after it is gone.
        wait::until("the loop file system is unmounted", || {
            unmount(&self.place).then_some(())
        });
        self.is_mounted = false;
    }

    /// Brings it back, its journal replayed.
    ///
    /// # Panics
    /// When it cannot be, or is there.
    #[track_caller]
    pub fn mount(&mut self) {
        assert!(!self.is_mounted, "it is mounted already");
        let what = "what could be mounted once is mounted again";
        // The loop device that is free may be somebody else's a moment later, and others may have all of them.
        wait::until(what, || match self.try_mount() {
            Ok(()) => Some(()),
            Err(error) => {
                eprintln!("not yet: {error}");
                std::thread::sleep(RETRY);
                None
            }
        });
    }

    fn try_mount(&mut self) -> Result<(), String> {
        let program = find("mount", "mount").ok_or("there is no mount")?;
        let (image, place) = (self.image.to_string_lossy(), self.place.to_string_lossy());
        let (name, options) = (self.kind.name(), self.kind.options());
        let output = run(&program, &["-t", name, "-o", options, &image, &place], b"");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        self.is_mounted = true;
        Ok(())
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        if !self.is_mounted {
            return;
        }
        // A server that is dropped later still has its files open: the loop device goes with them.
        let lazily = ["-l", &self.place.to_string_lossy()];
        if !unmount(&self.place)
            && let Some(program) = find("umount", "mount")
        {
            run(&program, &lazily, b"");
        }
    }
}

/// Room for an image and a place to mount it; `None`, and a message, for all but root.
fn directory() -> Option<tempfile::TempDir> {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root can mount a file system");
        return None;
    }
    clean_up();
    let directory = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir_in(directory_of_tests());
    Some(directory.expect("a directory below target"))
}

/// Unmounts and removes what programs that are no more have left.
fn clean_up() {
    for entry in std::fs::read_dir(directory_of_tests())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse().ok())
            .and_then(Pid::from_raw);
        if owner.is_some_and(|owner| test_kill_process(owner).is_err()) {
            unmount(&entry.path().join("mounted"));
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn unmount(place: &Path) -> bool {
    let Some(program) = find("umount", "mount") else {
        return false;
    };
    run(&program, &[&place.to_string_lossy()], b"")
        .status
        .success()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was synced stays, what was not is gone, and in between every write fails.
    fn check(kind: Kind) {
        let Some(mut loopback) = Loopback::make(kind, 320 << 20) else {
            return;
        };
        let (synced, lost) = (loopback.path().join("synced"), loopback.path().join("lost"));
        let file = File::create(&synced).expect("a file");
        file.sync_all().expect("a disk that works");
        File::create(&lost).expect("a file");

        loopback.shut_down();
        let error = file.sync_all().expect_err("the disk is gone");
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::IO.raw_os_error())
        );
        drop(file);

        loopback.unmount();
        loopback.mount();
        assert!(synced.exists(), "a synced file is lost");
        assert!(!lost.exists(), "a file that nobody synced is there");
        let place = loopback.path().to_owned();
        drop(loopback);
        assert!(!place.exists(), "something is left of it");
    }

    #[test]
    fn ext4_loses_what_was_not_synced() {
        check(Kind::Ext4);
    }

    #[test]
    fn xfs_loses_what_was_not_synced() {
        check(Kind::Xfs);
    }
}
