//! The command line: arguments in, an exit code out. It decides nothing about mail.
//!
//! Exit codes: 0 all is well, 1 the command failed, 2 wrong arguments or a wrong configuration.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::{admin, demo, shard};

/// Wrong arguments, or a wrong configuration; the same as clap's.
const EXIT_WRONG: u8 = 2;

const AFTER_HELP: &str = "\
Start with `mailrail demo`: one command, no root, no network, and a table at the end.
Then `mailrail serve`: a server on 127.0.0.1:2525 that relays for this machine.

Exit codes: 0 all is well, 1 the command failed, 2 wrong arguments or a wrong configuration.";

#[derive(Debug, Parser)]
#[command(
    name = "mailrail",
    version,
    about = "A durable SMTP server: accept, spool, queue, deliver"
)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM; SIGHUP reads the configuration again
    Serve {
        /// Configuration in TOML; without it: 127.0.0.1:2525, data in ./mailrail-data
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Check a configuration and print all settings in effect, as TOML
    Check {
        /// Configuration in TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Run a whole mail system on loopback: a server, a DNS server, sinks and senders
    Demo {
        /// How many messages to send through it
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
        messages: u64,
        /// How many shards the server runs; without it: one a core
        #[arg(long, value_name = "N")]
        #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
        shards: Option<u16>,
        /// Where the server keeps its data; without it: a directory that is deleted at the end
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Read the spool of a stopped server without changing it
    Spool {
        #[command(subcommand)]
        question: SpoolQuestion,
    },
    /// List the messages that wait, of a running server or of a stopped one
    Queue {
        /// Configuration in TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// What is asked about a spool. Code 1 also says that damage was found.
#[derive(Debug, Subcommand)]
enum SpoolQuestion {
    /// Read all of it, content too, and say whether it is whole: a line for each file and each damage
    Check {
        /// Configuration in TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a line for each record, in the order they were written
    Dump {
        /// Configuration in TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print what is in it, in figures
    Stats {
        /// Configuration in TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// Runs the program with its arguments, the program's name first.
pub fn run<I>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = OsString>,
{
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.command.run(),
        Err(error) => {
            // Help and version come this way too, on standard output and with code 0.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_WRONG))
        }
    }
}

impl Command {
    fn run(self) -> ExitCode {
        match self {
            Self::Serve { config } => with_config(config.as_deref(), serve),
            Self::Check { config } => with_config(Some(&config), check),
            Self::Queue { config } => with_config(Some(&config), queue),
            Self::Spool { question } => match question {
                SpoolQuestion::Check { config } => with_config(Some(&config), |config| {
                    spool(&config, admin::Question::Check)
                }),
                SpoolQuestion::Dump { config } => with_config(Some(&config), |config| {
                    spool(&config, admin::Question::Dump)
                }),
                SpoolQuestion::Stats { config } => with_config(Some(&config), |config| {
                    spool(&config, admin::Question::Stats)
                }),
            },
            Self::Demo {
                messages,
                shards,
                data_dir,
            } => {
                // Its own lines say what there is to say, unless something is wrong.
                log_to_stderr("error");
                demo::run(demo::Options {
                    messages,
                    shards: shards.map(usize::from),
                    data_dir,
                })
            }
        }
    }
}

fn with_config(path: Option<&Path>, then: fn(Config) -> ExitCode) -> ExitCode {
    match path.map_or_else(|| Ok(Config::embedded()), Config::load) {
        Ok(config) => then(config),
        Err(error) => complain(error, ExitCode::from(EXIT_WRONG)),
    }
}

fn serve(config: Config) -> ExitCode {
    log_to_stderr("info");
    match shard::serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(error, ExitCode::FAILURE),
    }
}

fn check(config: Config) -> ExitCode {
    written(writeln!(io::stdout(), "{config}\nok"))
}

fn queue(config: Config) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match admin::queue(&config, &mut out) {
        Ok(()) => written(out.flush()),
        Err(error) => complain(error, ExitCode::FAILURE),
    }
}

fn spool(config: &Config, question: admin::Question) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match admin::spool(config, question, &mut out) {
        Ok(damage) => {
            let code = written(out.flush());
            match damage {
                Some(damage) => complain(damage, ExitCode::FAILURE),
                None => code,
            }
        }
        Err(error) => complain(error, ExitCode::FAILURE),
    }
}

/// A reader that has seen enough (`mailrail queue | head`) is no failure.
fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("standard output: {error}"), ExitCode::FAILURE)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn complain(what: impl Display, code: ExitCode) -> ExitCode {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr(), "mailrail: {what}");
    code
}

/// What an operator should know, at `level` unless `RUST_LOG` says otherwise.
fn log_to_stderr(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // Fails only if a program that embeds this one has set up its own.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
}
