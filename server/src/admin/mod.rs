//! Questions to a running or stopped server. To be written.

use std::io::Write;

use crate::config::Config;

/// Why the queue cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct QueueError(pub String);

/// Writes what is in the spool to `out`: asked over the socket in the data directory while the
/// server runs, read under the lock without changing it when it is stopped.
///
/// # Errors
/// When neither is possible, or `out` cannot be written.
pub fn queue(config: &Config, out: &mut dyn Write) -> Result<(), QueueError> {
    let _ = (config, out);
    unimplemented!()
}
