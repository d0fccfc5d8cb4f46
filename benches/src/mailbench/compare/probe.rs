//! What the machine can do without any mail server: plain TCP, writes with fdatasync. Figures beside which
//! those of a server are read. Here is real IO, and nothing is known of scenarios or verdicts.
//!
//! The disk is asked during a load too, by a process of its own (`mailbench probe-disk`), so that neither
//! source nor server lends it time, and at a pace that is no load itself.

use super::results::Probe;
use crate::cli::ProbeDiskOptions;
use crate::report::Times;
use hdrhistogram::Histogram;
use mailrail_runtime::clock;
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What a direct write has to be aligned to, and the size of the small writes.
const PAGE_LEN: usize = 4096;
/// Octets of one write on TCP.
const TCP_WRITE_LEN: usize = 64 << 10;
/// Octets of one write of the sequential probe: about what a busy log syncs at once with messages of 100 KB.
const SYNC_WRITE_LEN: usize = 1 << 20;
/// The files: written in full before, so that no sync has to wait for the file system's journal.
const SYNC_FILE_LEN: usize = 64 << 20;
const PAGES_FILE_LEN: usize = 4 << 20;
/// How long each probe takes.
const PROBE_US: u64 = 2_000_000;
/// No sync is expected to take longer; what does counts as this.
const SYNC_US_MAX: u64 = 60_000_000;

const _: () = assert!(SYNC_FILE_LEN.is_multiple_of(SYNC_WRITE_LEN));
const _: () = assert!(PAGES_FILE_LEN.is_multiple_of(SYNC_WRITE_LEN));

/// All probes one after the other, some eight seconds, on a machine at rest.
///
/// # Errors
/// The network's or the file system's.
pub(crate) fn at_rest(directory: &Path) -> io::Result<Probe> {
    let file = directory.join("probe");
    let mut disk = Disk::open(&file)?;
    let (never, end_us) = (AtomicBool::new(false), clock::micros() + PROBE_US);
    disk.run(end_us, Duration::from_millis(2), &never)?;
    Ok(Probe {
        tcp_mb_per_s: Some(tcp_mb_per_s(PROBE_US)?),
        sync_mb_per_s: Some(sync_mb_per_s(&file, PROBE_US)?),
        ..disk.told()
    })
}

/// One connection over loopback, one thread that writes and one that reads.
fn tcp_mb_per_s(length_us: u64) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut source = TcpStream::connect(listener.local_addr()?)?;
    let (mut sink, _) = listener.accept()?;
    let reader = thread::Builder::new()
        .name("probe-tcp".into())
        .spawn(move || {
            let (mut buffer, mut total) = (vec![0; TCP_WRITE_LEN], 0_u64);
            loop {
                match sink.read(&mut buffer)? {
                    0 => return Ok::<u64, io::Error>(total),
                    count => total += count as u64,
                }
            }
        })?;
    let (buffer, start_us) = (vec![b'x'; TCP_WRITE_LEN], clock::micros());
    while clock::micros() - start_us < length_us {
        source.write_all(&buffer)?;
    }
    drop(source);
    let total = reader
        .join()
        .map_err(|_| io::Error::other("the reader of the TCP probe panicked"))??;
    Ok(mb_per_s(total, clock::micros() - start_us))
}

/// One write behind the other, each synced before the next, past the page cache where the file system lets.
fn sync_mb_per_s(path: &Path, length_us: u64) -> io::Result<f64> {
    let scratch = Scratch(path.with_extension("sync"));
    write_in_full(&scratch.0, SYNC_FILE_LEN)?;
    let file = match open(&scratch.0, OFlags::DIRECT) {
        Ok(file) => file,
        Err(_) => open(&scratch.0, OFlags::empty())?,
    };
    let buffer = Aligned::new(SYNC_WRITE_LEN);
    let (start_us, mut total) = (clock::micros(), 0);
    while clock::micros() - start_us < length_us {
        file.write_all_at(buffer.bytes(), (total % SYNC_FILE_LEN) as u64)?;
        file.sync_data()?;
        total += SYNC_WRITE_LEN;
    }
    Ok(mb_per_s(total as u64, clock::micros() - start_us))
}

fn mb_per_s(total: u64, length_us: u64) -> f64 {
    // Octets in a microsecond are millions in a second.
    total as f64 / length_us.max(1) as f64
}

/// The process of its own: asks the disk until its time is over or it is told to end, then tells in JSON.
///
/// # Errors
/// The file system's, and when nobody reads what it tells.
pub(crate) fn run_disk(options: &ProbeDiskOptions) -> Result<(), Box<dyn Error>> {
    let told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&told_to_end))?;
    }
    let mut disk = Disk::open(&options.file)?;
    let end_us = clock::micros() + (options.seconds.max(0.0) * 1e6) as u64;
    let pace = Duration::from_millis(options.pace_ms);
    disk.run(end_us, pace, &told_to_end)?;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &disk.told())?;
    writeln!(out)?;
    Ok(())
}

/// A `mailbench probe-disk` that runs beside a load. If it is dropped it is ended unasked.
pub(crate) struct Beside {
    child: Child,
}

impl Beside {
    /// Starts it on a file in the directory, which should be on the disk of the spools.
    ///
    /// # Errors
    /// When this program cannot be started again.
    pub(crate) fn start(directory: &Path, limit_s: u64) -> io::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg("probe-disk")
            .arg("--file")
            .arg(directory.join("probe-beside"))
            .args(["--seconds", &limit_s.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self { child })
    }

    /// Ends it, and takes what it saw.
    ///
    /// # Errors
    /// When it failed, or told something else.
    pub(crate) fn end(mut self) -> io::Result<Probe> {
        self.tell_to_end();
        let mut told = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut told)?;
        }
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("probe-disk ended with {status}")));
        }
        serde_json::from_str(&told).map_err(io::Error::from)
    }

    fn tell_to_end(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.tell_to_end();
        let _ = self.child.wait();
    }
}

/// Two files that are written page by page, each page synced: past the page cache, and through it.
struct Disk {
    /// `None` where the file system takes no direct writes (tmpfs).
    direct: Option<Pages>,
    buffered: Pages,
    page: Aligned,
}

struct Pages {
    file: File,
    position: usize,
    times_us: Histogram<u64>,
    _scratch: Scratch,
}

impl Disk {
    fn open(path: &Path) -> io::Result<Self> {
        let direct = Pages::open(path.with_extension("direct"), OFlags::DIRECT);
        Ok(Self {
            direct: match direct {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => None,
                other => Some(other?),
            },
            buffered: Pages::open(path.with_extension("buffered"), OFlags::empty())?,
            page: Aligned::new(PAGE_LEN),
        })
    }

    /// Direct and buffered in turn, a write each `pace`.
    fn run(&mut self, end_us: u64, pace: Duration, told_to_end: &AtomicBool) -> io::Result<()> {
        while clock::micros() < end_us && !told_to_end.load(Ordering::Relaxed) {
            if let Some(direct) = &mut self.direct {
                direct.step(self.page.bytes())?;
                thread::sleep(pace);
            }
            self.buffered.step(self.page.bytes())?;
            thread::sleep(pace);
        }
        Ok(())
    }

    fn told(&self) -> Probe {
        Probe {
            sync_4k_direct: self.direct.as_ref().map(|it| Times::of(&it.times_us)),
            sync_4k_buffered: Some(Times::of(&self.buffered.times_us)),
            ..Probe::default()
        }
    }
}

impl Pages {
    fn open(path: PathBuf, flags: OFlags) -> io::Result<Self> {
        let scratch = Scratch(path);
        write_in_full(&scratch.0, PAGES_FILE_LEN)?;
        Ok(Self {
            file: open(&scratch.0, flags)?,
            position: 0,
            times_us: Histogram::new_with_bounds(1, SYNC_US_MAX, 3).map_err(io::Error::other)?,
            _scratch: scratch,
        })
    }

    fn step(&mut self, page: &[u8]) -> io::Result<()> {
        let start_us = clock::micros();
        self.file.write_all_at(page, self.position as u64)?;
        self.file.sync_data()?;
        self.times_us.saturating_record(clock::micros() - start_us);
        self.position = (self.position + PAGE_LEN) % PAGES_FILE_LEN;
        Ok(())
    }
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

fn write_in_full(path: &Path, len: usize) -> io::Result<()> {
    let (mut file, block) = (File::create(path)?, vec![0; SYNC_WRITE_LEN]);
    for _ in 0..len / SYNC_WRITE_LEN {
        file.write_all(&block)?;
    }
    file.sync_all()
}

/// A file that goes with whoever needed it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}

/// Octets whose address a direct write accepts.
struct Aligned {
    memory: Vec<u8>,
    offset: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let memory = vec![b'x'; len + PAGE_LEN];
        let address = memory.as_ptr().addr();
        Self {
            offset: address.next_multiple_of(PAGE_LEN) - address,
            memory,
            len,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.offset..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_written_and_counted_and_the_files_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut disk = Disk::open(&directory.path().join("probe")).expect("opened");
        let page = Aligned::new(PAGE_LEN);
        disk.buffered.step(page.bytes()).expect("written");
        disk.buffered.step(page.bytes()).expect("written");
        if let Some(direct) = &mut disk.direct {
            direct.step(page.bytes()).expect("written");
            assert_eq!(direct.times_us.len(), 1);
        }
        let told = disk.told();
        assert_eq!(told.sync_4k_buffered.expect("told").count, 2);
        drop(disk);
        let left = fs::read_dir(directory.path()).expect("read").count();
        assert_eq!(left, 0);
    }

    #[test]
    fn plain_tcp_carries_something() {
        assert!(tcp_mb_per_s(10_000).expect("measured") > 0.0);
    }

    #[test]
    fn direct_writes_are_aligned() {
        for len in [PAGE_LEN, SYNC_WRITE_LEN] {
            let aligned = Aligned::new(len);
            let address = aligned.bytes().as_ptr().addr();
            assert_eq!((address % PAGE_LEN, aligned.bytes().len()), (0, len));
        }
    }

    #[test]
    fn whoever_is_told_to_end_does() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut disk = Disk::open(&directory.path().join("probe")).expect("opened");
        let told_to_end = AtomicBool::new(true);
        disk.run(u64::MAX, Duration::ZERO, &told_to_end)
            .expect("run");
        assert_eq!(disk.told().sync_4k_buffered, Some(Times::default()));
    }
}
