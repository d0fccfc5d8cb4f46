//! The source: sessions that hand messages to a server, and what each step took.

use crate::cli::SourceOptions;
use std::error::Error;

/// Runs the load and reports on it.
///
/// # Errors
/// When it cannot be started, or its report cannot be written.
pub(crate) fn run(options: &SourceOptions) -> Result<(), Box<dyn Error>> {
    Err(format!("no source yet for {options:?}").into())
}
