//! The server as it is, built with the feature `sim`: the duties that the environment variable
//! `MAILRAIL_SABOTAGE` names (`CommitSync`, say; several with commas between) are left out. For controls,
//! which have to fail; this program alone can do so, and it does nothing of its own.

use mailrail_runtime::sim::{Sabotage, leave_out};
use std::process::ExitCode;

fn main() -> ExitCode {
    let names = std::env::var("MAILRAIL_SABOTAGE").unwrap_or_default();
    let names = names.split(',').filter(|name| !name.is_empty());
    leave_out(names.map(|name| {
        let is_named = |duty: &Sabotage| format!("{duty:?}") == name;
        let named = Sabotage::ALL.into_iter().find(is_named);
        named.unwrap_or_else(|| panic!("there is no duty called {name}"))
    }));
    mailrail::cli::run(std::env::args_os())
}
