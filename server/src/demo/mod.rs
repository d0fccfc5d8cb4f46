//! The demonstration. To be written.

use std::path::PathBuf;
use std::process::ExitCode;

/// What `mailrail demo` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many messages to submit.
    pub messages: u64,
    /// How many shards; `None`: one a core.
    pub shards: Option<usize>,
    /// Where to keep its data; `None`: a directory of its own, deleted at the end.
    pub data_dir: Option<PathBuf>,
}

/// Runs the demonstration and reports on standard output.
pub fn run(options: Options) -> ExitCode {
    let _ = options;
    unimplemented!()
}
