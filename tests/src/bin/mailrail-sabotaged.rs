//! The server as it is, built with the feature `sim`: the duties that the environment variable
//! `MAILRAIL_SABOTAGE` names are left out. For controls, which have to fail; it does nothing of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    mailrail::cli::run(std::env::args_os())
}
