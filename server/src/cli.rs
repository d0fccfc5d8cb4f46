//! The command line: arguments in, an exit code out. It decides nothing about mail.
//!
//! Exit codes: 0 all is well, 1 the command failed, 2 wrong arguments or a wrong configuration.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with its arguments, the program's name first.
pub fn run<I>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = OsString>,
{
    let _ = arguments.into_iter();
    unimplemented!()
}
