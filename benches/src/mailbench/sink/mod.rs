//! The sink: takes what a server delivers, answers by its script, and counts each copy.

use crate::cli::SinkOptions;
use std::error::Error;

/// Serves until it is told to end, and reports.
///
/// # Errors
/// When it cannot be started, or its report cannot be written.
pub(crate) fn run(options: &SinkOptions) -> Result<(), Box<dyn Error>> {
    Err(format!("no sink yet for {options:?}").into())
}
