//! A file system that is really full. Mounts a small one, so it needs root; elsewhere it is skipped with a
//! word.

use std::path::Path;
use std::process::Command;

use mailrail_runtime::buffer::{ChunkMut, ChunkSize};
use mailrail_runtime::log::{AppendError, Label, Log, Message, Options};
use mailrail_runtime::{shard, timer};

const LEN: usize = 8000;

/// A tmpfs of 1 MiB, unmounted at the end.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1M", "tmpfs"])
            .arg(directory.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

async fn open(path: &Path) -> (Log, Vec<u64>) {
    let mut ids = Vec::new();
    let options = Options {
        segment_len: 256 << 10,
        first_segment_len: 128 << 10,
        batch_len_max: 64 << 10,
        reserve_len: 16 << 10,
        min_free_space: 0,
        ..Options::new(path, 1)
    };
    let (log, _) = Log::open(options, &mut |view| ids.push(view.id))
        .await
        .unwrap();
    (log, ids)
}

async fn append(log: &Log, id: u64) -> Result<(), AppendError> {
    log.room(LEN).await?;
    let message = Message::new(ChunkMut::new(ChunkSize::Small), Vec::new(), LEN);
    let stored = log.append_chunks(Label::now(1, id), message)?;
    log.committed(stored.ticket).await.unwrap();
    Ok(())
}

/// Appends until the log is full, and returns the ids that were confirmed.
async fn fill(log: &Log, from: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    for id in from.. {
        match append(log, id).await {
            Ok(()) => ids.push(id),
            Err(error) => {
                assert_eq!(error, AppendError::Full);
                break;
            }
        }
    }
    ids
}

async fn until_available(log: &Log) {
    while !log.available() {
        timer::sleep(10_000).await;
    }
}

#[test]
fn a_full_disk_refuses_new_content_loses_nothing_and_recovers_by_itself() {
    let Some(mount) = Mount::new() else {
        eprintln!("skipped: no permission to mount a file system");
        return;
    };
    let path = mount.path();
    shard::run_one(async {
        let (log, _) = open(path).await;
        let mut ids = fill(&log, 1).await;
        assert!(
            (50..140).contains(&ids.len()),
            "{} records in 1 MiB",
            ids.len()
        );
        assert!(!log.available());
        // What settles still goes in, and what is freed comes back.
        let note = log
            .append_copied(Label::upkeep(2, 1000), &[b"settled"])
            .unwrap();
        log.committed(note.ticket).await.unwrap();
        let oldest = log.segments().oldest;
        while log.segments().oldest <= oldest + 1 {
            log.free_oldest().unwrap();
        }
        until_available(&log).await;
        ids.extend(fill(&log, 500).await);
        assert!(*ids.last().unwrap() > 500);
        log.close().await;

        // Started with no room to begin a segment: everything can be read, nothing taken.
        let (log, found) = open(path).await;
        let live: Vec<_> = found.iter().copied().filter(|&id| id != 1000).collect();
        assert!(live.len() > 50 && ids.ends_with(&live), "{live:?}");
        assert!(found.contains(&1000), "the note is there");
        assert!(!log.available());
        assert_eq!(append(&log, 2000).await, Err(AppendError::Full));
        let refused = log.append_copied(Label::upkeep(2, 2000), &[b"settled"]);
        assert_eq!(refused.unwrap_err(), AppendError::Full);
        // Content that is done with is all that can make room.
        log.free_oldest().unwrap();
        until_available(&log).await;
        append(&log, 2001).await.unwrap();
        log.close().await;
        let (log, found) = open(path).await;
        assert_eq!(found.last(), Some(&2001));
        log.close().await;
    })
    .unwrap();
}
