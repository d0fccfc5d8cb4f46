//! The socket and its thread: a question is a word on a line, an answer is lines of JSON.
//!
//! One question at a time: whoever asks slowly makes only those wait who ask.

use super::row::Row;
use crate::shard::{Letter, page};
use mailrail_runtime::mailbox::Outside;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Rows that a shard is asked for at once.
const PAGE_LEN: usize = 100;
/// How long a client may take to ask, and to read.
const CLIENT_WAIT: Duration = Duration::from_secs(10);
/// The pause after a client that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest question, in bytes.
const QUESTION_LEN_MAX: u64 = 1024;

/// The question for the queue.
pub(super) const QUEUE: &str = "queue";

/// Where the socket of a data directory is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

/// Answers questions over a Unix socket in the data directory, on a thread of its own. Dropping it
/// removes the socket and ends the thread, at the latest when its present client has had a page.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    is_stopping: Arc<AtomicBool>,
}

impl Listener {
    /// Opens the socket and starts the thread. The caller holds the data directory's lock, so a socket
    /// that is there is a dead server's.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn start(data_dir: &Path, shards: Vec<Outside<Letter>>) -> io::Result<Self> {
        let path = path(data_dir);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(&path)?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_stopping);
        std::thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                loop {
                    let accepted = socket.accept();
                    if flag.load(Ordering::Acquire) {
                        return;
                    }
                    let answered = match accepted {
                        Ok((client, _)) => answer(&client, &shards, &flag),
                        // Descriptors may be scarce: that passes.
                        Err(error) => {
                            std::thread::sleep(ACCEPT_PAUSE);
                            Err(error)
                        }
                    };
                    if let Err(error) = answered {
                        tracing::debug!(%error, "a question was not answered");
                    }
                }
            })?;
        Ok(Self { path, is_stopping })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        // The thread waits in accept: a last client wakes it. It is not waited for: whoever asks or reads
        // as slowly as may be would hold up the stop of the server.
        let _ = UnixStream::connect(&self.path);
        let _ = std::fs::remove_file(&self.path);
    }
}

fn answer(
    client: &UnixStream,
    shards: &[Outside<Letter>],
    is_stopping: &AtomicBool,
) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_WAIT))?;
    client.set_write_timeout(Some(CLIENT_WAIT))?;
    let mut question = String::new();
    BufReader::new(client.take(QUESTION_LEN_MAX)).read_line(&mut question)?;
    let mut out = BufWriter::new(client);
    if question.trim_end() != QUEUE {
        writeln!(out, "{{\"error\":\"unknown question\"}}")?;
        return out.flush();
    }
    for shard in shards {
        let mut after = None;
        loop {
            if is_stopping.load(Ordering::Acquire) {
                writeln!(out, "{{\"error\":\"the server stops\"}}")?;
                return out.flush();
            }
            let Some(page) = page(shard, after, PAGE_LEN) else {
                writeln!(out, "{{\"error\":\"a shard does not answer\"}}")?;
                return out.flush();
            };
            for listed in &page.rows {
                serde_json::to_writer(&mut out, &Row::new(listed))?;
                out.write_all(b"\n")?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    writeln!(out, "{{\"end\":true}}")?;
    out.flush()
}
