//! The event log: from each shard's journal through a ring to a thread that writes the file.
//!
//! No shard ever waits here and no lock is taken. Nothing is dropped: while the file cannot be written the rings fill,
//! and a shard that sees its journal full pauses delivery. The file is written, not synced: the truth is the spool.

use super::Event;
use crossbeam::queue::ArrayQueue;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// A batch of lines is handed over when it has grown to this.
const BATCH_LEN: usize = 32 * 1024;
/// Batches that wait for the file, for each shard: 2 MiB, or some 5,000 lines.
const BATCH_COUNT_MAX: usize = 64;
/// Bytes beside a full ring, beyond which refusals are not recorded.
const OVERFULL_LEN: usize = 1024 * 1024;
/// A buffer that grew beyond this while the file lagged is not kept.
const BUFFER_KEPT_MAX: usize = 4 * BATCH_LEN;

/// How long a file that cannot be written is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Between two tries.
    pause: Duration,
    /// Tries that are left once the log is being stopped; before that there is no end.
    last_tries: u32,
}

const PATIENCE: Patience = Patience {
    pause: Duration::from_millis(500),
    last_tries: 10,
};

/// One shard's two rings. Each has one producer and one consumer: full batches go to the thread, empty buffers return.
#[derive(Debug)]
struct Rings {
    full: ArrayQueue<Vec<u8>>,
    empty: ArrayQueue<Vec<u8>>,
}

/// What is told to the thread, and whether it has to be woken for it.
#[derive(Debug, Default)]
struct Signals {
    asleep: AtomicBool,
    reopen: AtomicBool,
    stop: AtomicBool,
}

/// A shard's end: lines are collected and handed over in batches. Lives on its shard until the shard ends.
#[derive(Debug)]
pub struct Journal {
    lines: Vec<u8>,
    way: Way,
}

/// Where the lines go.
#[derive(Debug)]
enum Way {
    /// Through a ring to the thread that writes the file.
    File {
        rings: Arc<Rings>,
        signals: Arc<Signals>,
        thread: Thread,
    },
    /// Each at once to a listener: in a seeded world there are no threads and no files.
    #[cfg(feature = "sim")]
    Told(Told),
}

/// The listener's end of a journal in a seeded world.
#[cfg(feature = "sim")]
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Takes each line as it is recorded, with the time by the monotonic clock.
    pub(crate) lines: std::sync::mpsc::Sender<(u64, Vec<u8>)>,
    /// While it is set the journal counts as full, as when the file cannot be written.
    pub(crate) is_full: Arc<AtomicBool>,
}

impl Journal {
    /// A journal of a seeded world.
    #[cfg(feature = "sim")]
    pub(crate) const fn told(told: Told) -> Self {
        Self {
            lines: Vec::new(),
            way: Way::Told(told),
        }
    }

    /// Writes the event's line. Always succeeds: see [`is_full`](Self::is_full).
    pub fn record(&mut self, event: &Event<'_>) {
        event.push_line(&mut self.lines);
        #[cfg(feature = "sim")]
        if let Way::Told(told) = &self.way {
            // Whoever listened may be gone before the server.
            let line = std::mem::take(&mut self.lines);
            let _ = told.lines.send((mailrail_runtime::clock::micros(), line));
        }
        if self.lines.len() >= BATCH_LEN {
            self.flush();
        }
    }

    /// Hands over what was collected. Called once per turn of the shard's loop, or on a tick of some 100 ms.
    pub fn flush(&mut self) {
        let (rings, signals, thread) = match &self.way {
            Way::File {
                rings,
                signals,
                thread,
            } => (rings, signals, thread),
            #[cfg(feature = "sim")]
            Way::Told(_) => return,
        };
        // Only this side pushes, so that what is not full now will not be full below.
        if self.lines.is_empty() || rings.full.is_full() {
            return;
        }
        let next = rings
            .empty
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BATCH_LEN + 4096));
        let batch = std::mem::replace(&mut self.lines, next);
        let pushed = rings.full.push(batch);
        assert!(pushed.is_ok(), "a ring has one producer");
        // Pairs with the fence in `Writer::rest`: the thread sees the batch, or we see that it sleeps.
        fence(Ordering::SeqCst);
        if signals.asleep.load(Ordering::Relaxed) {
            thread.unpark();
        }
    }

    /// Whether what nobody has to be told of should be left out: the ring is full, and a megabyte beside it.
    pub fn is_overfull(&self) -> bool {
        self.is_full() && self.lines.len() >= OVERFULL_LEN
    }

    /// Whether the file is so far behind that delivery should pause. Nobody is woken when that ends: ask again on a tick.
    pub fn is_full(&self) -> bool {
        match &self.way {
            Way::File { rings, .. } => rings.full.is_full(),
            #[cfg(feature = "sim")]
            Way::Told(told) => told.is_full.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Journal {
    /// The shard ends: the last lines find their way even if the ring is full, unless the file stays dead.
    fn drop(&mut self) {
        self.flush();
        let mut tries = PATIENCE.last_tries;
        while !self.lines.is_empty() && tries > 0 && !thread::panicking() {
            thread::sleep(PATIENCE.pause);
            self.flush();
            tries -= 1;
        }
        if !self.lines.is_empty() {
            tracing::error!(
                bytes = self.lines.len(),
                "events are lost: the event log cannot be written"
            );
        }
    }
}

/// The thread that writes the file. Lives with the main thread.
#[derive(Debug)]
pub struct EventLog {
    signals: Arc<Signals>,
    thread: JoinHandle<io::Result<()>>,
}

impl EventLog {
    /// Opens the file (appending; directories are made) and starts the thread; one journal for each shard.
    pub fn start(path: &Path, shard_count: usize) -> io::Result<(Self, Vec<Journal>)> {
        Self::start_with(path, shard_count, PATIENCE)
    }

    fn start_with(
        path: &Path,
        shard_count: usize,
        patience: Patience,
    ) -> io::Result<(Self, Vec<Journal>)> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let rings: Vec<Arc<Rings>> = (0..shard_count)
            .map(|_| {
                let full = ArrayQueue::new(BATCH_COUNT_MAX);
                let empty = ArrayQueue::new(BATCH_COUNT_MAX);
                Arc::new(Rings { full, empty })
            })
            .collect();
        let signals = Arc::new(Signals::default());
        let writer = Writer {
            path: path.to_owned(),
            file: open(path)?,
            rings: rings.clone(),
            signals: Arc::clone(&signals),
            patience,
            is_failing: false,
        };
        let thread = thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || writer.run())?;
        let journals = rings
            .into_iter()
            .map(|rings| Journal {
                lines: Vec::with_capacity(BATCH_LEN + 4096),
                way: Way::File {
                    rings,
                    signals: Arc::clone(&signals),
                    thread: thread.thread().clone(),
                },
            })
            .collect();
        Ok((Self { signals, thread }, journals))
    }

    /// Opens the file again by its name, after it was moved away.
    pub fn reopen(&self) {
        self.signals.reopen.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }

    /// Writes all that the journals handed over, syncs, and ends the thread. Journals have to be dropped before. It is
    /// an error if the file stayed unwritable for some seconds: then events are lost.
    pub fn stop(self) -> io::Result<()> {
        self.signals.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the event log's thread panicked")))
    }
}

/// Where a new file has to begin: a line that was cut in the old one stands whole in the new one.
fn line_start(batch: &[u8], written: usize) -> usize {
    batch[..written]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}

fn open(path: &Path) -> io::Result<File> {
    // Rust opens with O_CLOEXEC; O_APPEND lets a copying logrotate truncate the file under us.
    OpenOptions::new().append(true).create(true).open(path)
}

/// The thread's side.
struct Writer {
    path: PathBuf,
    file: File,
    rings: Vec<Arc<Rings>>,
    signals: Arc<Signals>,
    patience: Patience,
    is_failing: bool,
}

impl Writer {
    fn run(mut self) -> io::Result<()> {
        loop {
            // Read first: what was handed over before the stop is found below.
            let stopping = self.signals.stop.load(Ordering::SeqCst);
            self.reopen_if_asked();
            let wrote = self.write_round()?;
            match (wrote, stopping) {
                (true, _) => {}
                (false, true) => return self.sync(),
                (false, false) => self.rest(),
            }
        }
    }

    /// One batch of each shard, so that none waits for another's backlog.
    fn write_round(&mut self) -> io::Result<bool> {
        let mut wrote = false;
        for index in 0..self.rings.len() {
            let Some(mut batch) = self.rings[index].full.pop() else {
                continue;
            };
            self.write(&batch)?;
            wrote = true;
            if batch.capacity() <= BUFFER_KEPT_MAX {
                batch.clear();
                // A full ring of empty buffers has enough of them.
                let _surplus = self.rings[index].empty.push(batch);
            }
        }
        Ok(wrote)
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        let mut written = 0;
        let mut last_tries = self.patience.last_tries;
        while written < batch.len() {
            let error = match self.file.write(&batch[written..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(len) => {
                    written += len;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            if self.signals.stop.load(Ordering::SeqCst) {
                if last_tries == 0 {
                    return Err(error);
                }
                last_tries -= 1;
            }
            self.complain(&error);
            thread::park_timeout(self.patience.pause);
            if self.reopen_if_asked() {
                written = line_start(batch, written);
            }
        }
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(path = %self.path.display(), "the event log is being written again");
        }
        Ok(())
    }

    /// Says it once, not at each try.
    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(path = %self.path.display(), %error, "cannot write the event log, trying on");
        }
    }

    fn reopen_if_asked(&mut self) -> bool {
        if !self.signals.reopen.swap(false, Ordering::SeqCst) {
            return false;
        }
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                true
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "cannot reopen the event log, keeping the old file");
                false
            }
        }
    }

    /// Sleeps until there is something to do.
    fn rest(&self) {
        self.signals.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `Journal::flush`.
        fence(Ordering::SeqCst);
        let nothing = self.rings.iter().all(|rings| rings.full.is_empty())
            && !self.signals.stop.load(Ordering::SeqCst)
            && !self.signals.reopen.load(Ordering::SeqCst);
        if nothing {
            thread::park();
        }
        self.signals.asleep.store(false, Ordering::Relaxed);
    }

    fn sync(&self) -> io::Result<()> {
        match self.file.sync_data() {
            // A pipe or a device cannot be synced.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{PeerName, Rejection};
    use crate::message::{Answer, Protocol, Timestamp};
    use std::net::IpAddr;
    use std::os::unix::fs::symlink;

    fn record(journal: &mut Journal, shard: usize, number: usize) {
        let sender = format!("{number}@shard{shard}.example");
        journal.record(&Event::Rejection(Rejection {
            at: Timestamp::from_unix_millis(0),
            sender: Some(sender.as_bytes()),
            recipient: None,
            peer: PeerName {
                name: b"client.example",
                address: IpAddr::from([192, 0, 2, 1]),
            },
            protocol: Protocol::Esmtp,
            response: Answer::new(550, None, b"no"),
        }));
    }

    fn rings(journal: &Journal) -> &Rings {
        match &journal.way {
            Way::File { rings, .. } => rings,
            #[cfg(feature = "sim")]
            Way::Told(_) => unreachable!("it goes to a file"),
        }
    }

    /// The numbers that `shard` wrote, in the order of the files. Every line has to be whole.
    fn numbers(paths: &[&Path], shard: usize) -> Vec<usize> {
        let read = |path: &&Path| std::fs::read_to_string(path).unwrap_or_default();
        let text: String = paths.iter().map(read).collect();
        text.lines()
            .filter_map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).expect("a whole line");
                let sender = value["sender"].as_str().expect("a sender").to_owned();
                let (number, domain) = sender.split_once('@').expect("a mailbox");
                (domain == format!("shard{shard}.example"))
                    .then(|| number.parse().expect("a number"))
            })
            .collect()
    }

    #[test]
    fn all_lines_of_all_shards_are_there_in_each_shards_order() {
        const COUNT: usize = 20_000; // 5 MB: more than the rings hold
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("made/on/demand/events.jsonl");
        let (log, journals) = EventLog::start(&path, 3).expect("started");
        thread::scope(|scope| {
            for (shard, mut journal) in journals.into_iter().enumerate() {
                scope.spawn(move || {
                    for number in 0..COUNT {
                        while journal.is_full() {
                            thread::yield_now();
                        }
                        record(&mut journal, shard, number);
                    }
                });
            }
        });
        log.stop().expect("written");
        for shard in 0..3 {
            assert!(
                numbers(&[&path], shard).into_iter().eq(0..COUNT),
                "shard {shard}"
            );
        }
    }

    #[test]
    fn each_flush_wakes_a_sleeping_thread() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("events.jsonl");
        let (log, mut journals) = EventLog::start(&path, 1).expect("started");
        for number in 0..200 {
            record(&mut journals[0], 0, number);
            journals[0].flush();
            // Ends only if the thread wakes; whether it slept before is left to chance, 200 times.
            while rings(&journals[0]).empty.is_empty() {
                thread::yield_now();
            }
            assert_eq!(numbers(&[&path], 0).len(), number + 1);
        }
        drop(journals);
        log.stop().expect("written");
    }

    #[test]
    fn a_moved_file_is_opened_again_and_nothing_is_lost_between() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, old) = (
            directory.path().join("events.jsonl"),
            directory.path().join("events.jsonl.1"),
        );
        let (log, mut journals) = EventLog::start(&path, 1).expect("started");
        for number in 0..1000 {
            record(&mut journals[0], 0, number);
            journals[0].flush();
            if number == 500 {
                std::fs::rename(&path, &old).expect("moved");
                log.reopen();
                while !path.exists() {
                    thread::yield_now();
                }
            }
        }
        drop(journals);
        log.stop().expect("written");
        assert!(numbers(&[&old, &path], 0).into_iter().eq(0..1000));
        assert!(numbers(&[&path], 0).len() >= 499, "the new file is in use");
    }

    #[test]
    fn a_full_disk_fills_the_journal_and_loses_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("events.jsonl");
        symlink("/dev/full", &path).expect("linked");
        let (log, mut journals) = EventLog::start(&path, 1).expect("started");
        let mut count = 0;
        while !journals[0].is_full() {
            record(&mut journals[0], 0, count);
            count += 1;
        }
        assert!(count > BATCH_COUNT_MAX * BATCH_LEN / 400, "{count} lines");
        // What is recorded all the same is kept.
        for number in count..count + 1000 {
            record(&mut journals[0], 0, number);
        }
        assert!(!journals[0].is_overfull());
        let more = OVERFULL_LEN / 100;
        for number in count + 1000..count + more {
            record(&mut journals[0], 0, number);
        }
        assert!(journals[0].is_overfull());
        std::fs::remove_file(&path).expect("removed");
        log.reopen();
        drop(journals);
        log.stop().expect("written");
        assert!(numbers(&[&path], 0).into_iter().eq(0..count + more));
    }

    #[test]
    fn a_disk_that_stays_full_is_an_error_at_the_end() {
        let patience = Patience {
            pause: Duration::ZERO,
            last_tries: 2,
        };
        let (log, mut journals) =
            EventLog::start_with(Path::new("/dev/full"), 1, patience).expect("started");
        record(&mut journals[0], 0, 0);
        drop(journals);
        assert_eq!(
            log.stop().expect_err("full").kind(),
            io::ErrorKind::StorageFull
        );
    }

    #[test]
    fn a_cut_line_is_begun_again_in_the_new_file() {
        for (written, start) in [(0, 0), (1, 0), (2, 0), (3, 3), (4, 3), (5, 3), (6, 6)] {
            assert_eq!(
                line_start(b"ab\ncd\n", written),
                start,
                "{written} bytes written"
            );
        }
    }

    #[test]
    fn buffers_come_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let (log, mut journals) =
            EventLog::start(&directory.path().join("events.jsonl"), 1).expect("started");
        let journal = &mut journals[0];
        let first = journal.lines.as_ptr();
        record(journal, 0, 0);
        journal.flush();
        while rings(journal).empty.is_empty() {
            thread::yield_now();
        }
        record(journal, 0, 1);
        journal.flush();
        assert_eq!(journal.lines.as_ptr(), first);
        drop(journals);
        log.stop().expect("written");
    }
}
