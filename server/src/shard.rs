//! The wiring of a whole server. To be written.

use crate::config::Config;

/// Why a server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServeError(pub String);

/// Runs a server until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub fn serve(config: Config) -> Result<(), ServeError> {
    let _ = config;
    unimplemented!()
}
