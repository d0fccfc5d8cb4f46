//! Questions to a running or stopped server. To be written.

use std::io::Write;

use crate::config::Config;
use crate::shard::Letter;
use mailrail_runtime::mailbox::Outside;

/// Why the queue cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct QueueError(pub String);

/// Answers questions over a Unix socket in the data directory, on a thread of its own. Dropping it
/// ends the thread and removes the socket.
#[derive(Debug)]
pub struct Listener {}

impl Listener {
    /// Opens the socket and starts the thread.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn start(
        data_dir: &std::path::Path,
        shards: Vec<Outside<Letter>>,
    ) -> std::io::Result<Self> {
        let _ = (data_dir, shards);
        Ok(Self {})
    }
}

/// Writes what is in the spool to `out`: asked over the socket in the data directory while the
/// server runs, read under the lock without changing it when it is stopped.
///
/// # Errors
/// When neither is possible, or `out` cannot be written.
pub fn queue(config: &Config, out: &mut dyn Write) -> Result<(), QueueError> {
    let _ = (config, out);
    unimplemented!()
}
