//! `counted NUMBER ROUNDS` runs a routine and prints nothing; `counted` alone tells which there are, a line each:
//! its name, how many things there are in a round, and what such a thing is, with tabs between.

#![expect(clippy::print_stdout, reason = "the list is what is asked for")]

use mailrail_counted::ROUTINES;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        for routine in ROUTINES {
            println!("{}\t{}\t{}", routine.name, (routine.run)(0), routine.one);
        }
        return ExitCode::SUCCESS;
    }
    let chosen = || {
        let [number, rounds] = &arguments[..] else {
            return None;
        };
        let routine = ROUTINES.get(number.parse::<usize>().ok()?)?;
        Some((routine, rounds.parse().ok()?))
    };
    match chosen() {
        Some((routine, rounds)) => {
            (routine.run)(rounds);
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("usage: counted [NUMBER ROUNDS]");
            ExitCode::FAILURE
        }
    }
}
