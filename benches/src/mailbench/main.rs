//! `mailbench`: a load of mail, a place where it ends, and a comparison of the servers between them.
//!
//! Source and sink run on the project's own runtime and protocol engine, a shard a core. Here the
//! command line is read and the subcommand called; nothing is measured here.

mod cli;
mod compare;
mod identity;
mod report;
mod sink;
mod source;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match cli::Cli::parse().command {
        cli::Command::Source(options) => source::run(&options),
        cli::Command::Sink(options) => sink::run(&options),
        cli::Command::Compare(options) => compare::run(&options),
        cli::Command::Pages(options) => compare::pages::run(&options),
        cli::Command::ProbeDisk(options) => compare::probe::run_disk(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mailbench: {error}");
            ExitCode::FAILURE
        }
    }
}
