//! The comparison: source, server, sink, for each server in turn, round after round.
//!
//! Here servers and scenarios are chosen and the results written. What is measured and how is the rooms':
//!
//! | room | what lives there |
//! |---|---|
//! | `scenario` `plan` `terms` | values: what scenarios there are, who takes a turn when, under which conditions |
//! | `stage` `contestant` | a scenario carried out, and what came of it |
//! | `cast` `adapter` | its servers |
//! | `held` | what a server holds beside its load |
//! | `round` `ends` | a load, its source and its sink |
//! | `sample` `syscalls` `probe` | what server, ends and machine used and can do |
//! | `audit` | losses and duplicates |
//! | `watch` `child` | waits and processes, of which none outlives the comparison |
//! | `results` `conditions` | what was found, as values |
//! | `pages` `summary` `markdown` `plot` `verdict` `median` | what was found, for readers |

mod adapter;
mod audit;
mod cast;
mod child;
mod conditions;
mod contestant;
mod ends;
mod held;
mod list;
#[cfg(test)]
mod made_up;
pub(crate) mod markdown;
pub(crate) mod median;
pub(crate) mod pages;
mod plan;
pub(crate) mod plot;
pub(crate) mod probe;
pub(crate) mod results;
mod round;
mod sample;
mod scenario;
mod stage;
pub(crate) mod summary;
mod syscalls;
mod terms;
pub(crate) mod verdict;
mod watch;

use crate::cli::CompareOptions;
use adapter::{Adapter, Tools};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scenario::{Scenario, Servers};
use stage::{Stage, say};
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use watch::{Trouble, Watch};

/// Servers that a scenario takes when none is named, by their adapters' names.
const SUBJECT: &str = "mailrail-fsync";
const RIVAL: &str = "postfix";

/// Runs the rounds and writes what they showed.
///
/// # Errors
/// When nothing can be compared, or a result cannot be written. A server that fails is told in the results.
pub(crate) fn run(options: &CompareOptions) -> Result<(), Box<dyn Error>> {
    let adapters = Adapter::load_all(&options.adapters)?;
    let tools = Tools {
        programs: options.programs.clone(),
        mailrail: options.mailrail.clone(),
    };
    let scenarios = scenarios(&options.scenarios)?;
    if options.list {
        return list::write(&adapters, &tools, &mut std::io::stdout().lock());
    }
    let named = named(&adapters, &options.servers)?;
    raise_descriptors();
    let watch = Watch::new()?;
    let directory = Directory::make(&options.out)?;
    let mut results = results::Results {
        format: results::FORMAT,
        command: std::env::args().collect::<Vec<String>>().join(" "),
        started: conditions::started(),
        machine: conditions::machine(&directory.0),
        ..results::Results::default()
    };
    let mut stage = Stage {
        options,
        watch: &watch,
        certificate: certificate(&scenarios, &directory.0),
        tools: tools.clone(),
        directory: directory.0.clone(),
        next_run: (mailrail_runtime::clock::unix_millis() as u32) << 8,
    };
    let mut trouble = None;
    for scenario in scenarios {
        let of = match named.as_slice() {
            [] => usual(scenario, &adapters, &tools),
            named => named.to_vec(),
        };
        tell_servers(&mut results, &of, &tools, options);
        match stage.play(scenario, &of) {
            Ok(found) => results.scenarios.extend(found),
            Err(Trouble::Interrupted) => {
                results
                    .notes
                    .push(format!("interrupted during {}", scenario.name));
                trouble = Some(Trouble::Interrupted);
            }
            Err(Trouble::Failed(why)) => {
                say(scenario.name, format_args!("left out: {why}"));
                results
                    .notes
                    .push(format!("{} left out: {why}", scenario.name));
            }
        }
        // After each, so that a comparison that is ended has written what it found.
        pages::write(&results, &options.out)?;
        if trouble.is_some() {
            break;
        }
    }
    let text = pages::at_the_end(&results);
    std::io::stdout().write_all(text.as_bytes())?;
    trouble.map_or(Ok(()), |trouble| Err(trouble.into()))
}

/// The scenarios of these names, or the usual ones.
fn scenarios(names: &[String]) -> Result<Vec<&'static Scenario>, String> {
    if names.is_empty() {
        let is_usual = |scenario: &&Scenario| scenario.is_usual;
        return Ok(scenario::ALL.iter().filter(is_usual).collect());
    }
    let one = |name: &String| {
        scenario::by_name(name)
            .ok_or_else(|| format!("no scenario {name:?}; compare --list shows all"))
    };
    names.iter().map(one).collect()
}

/// The adapters of these names.
fn named<'a>(adapters: &'a [Adapter], names: &[String]) -> Result<Vec<&'a Adapter>, String> {
    let one = |name: &String| {
        let is = |adapter: &&Adapter| adapter.name() == name || known_as(adapter.name()) == *name;
        adapters.iter().find(is).ok_or_else(|| {
            let all: Vec<&str> = adapters.iter().map(Adapter::name).collect();
            format!("no server {name:?}; there are {}", all.join(", "))
        })
    };
    names.iter().map(one).collect()
}

/// Who takes part when none is named.
fn usual<'a>(scenario: &Scenario, adapters: &'a [Adapter], tools: &Tools) -> Vec<&'a Adapter> {
    let is_usual = |adapter: &&Adapter| match scenario.servers {
        Servers::Mailrail => adapter.name() == SUBJECT,
        Servers::MailrailAndPostfix => [SUBJECT, RIVAL].contains(&adapter.name()),
        Servers::All => adapter.missing(tools).is_none(),
    };
    adapters.iter().filter(is_usual).collect()
}

/// A server's name in the results: that of mailrail as it is delivered is `results::SUBJECT`.
fn known_as(adapter: &str) -> String {
    if adapter == SUBJECT {
        results::SUBJECT
    } else {
        adapter
    }
    .into()
}

/// Adds what is to be known of the servers that are not yet there.
fn tell_servers(
    results: &mut results::Results,
    adapters: &[&Adapter],
    tools: &Tools,
    options: &CompareOptions,
) {
    for adapter in adapters {
        let name = known_as(adapter.name());
        if results.servers.iter().any(|server| server.name == name) {
            continue;
        }
        let is_ours = name.starts_with(results::SUBJECT);
        let build = is_ours.then(|| conditions::build_of(&options.mailrail));
        let version = adapter.version(tools);
        results.servers.push(results::Server {
            title: adapter.label().into(),
            version: version.unwrap_or_else(|error| error.to_string()),
            build: build.flatten().unwrap_or_default(),
            settings: vec![format!("250 after {}", adapter.durability())],
            notes: vec![adapter.durability_seen().into()],
            name,
        });
    }
}

/// As many descriptors as may be had: five thousand sessions need as many at each end.
fn raise_descriptors() {
    const WANTED: u64 = 65_536;
    let limits = getrlimit(Resource::Nofile);
    let maximum = limits.maximum.unwrap_or(u64::MAX);
    for maximum in [maximum.max(WANTED), maximum] {
        let raised = Rlimit {
            current: Some(maximum.min(WANTED)),
            maximum: Some(maximum),
        };
        // Root alone may raise the maximum; whoever may not has what there is.
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return;
        }
    }
}

/// A certificate for scenarios with TLS; `None` where openssl is not there.
fn certificate(scenarios: &[&Scenario], directory: &Path) -> Option<adapter::Certificate> {
    if !scenarios.iter().any(|scenario| terms::has_tls(scenario)) {
        return None;
    }
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args([
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=relay.bench.example",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output();
    let is_made = made.is_ok_and(|output| output.status.success());
    // Servers read it as other users.
    let readable = |path: &Path| fs::set_permissions(path, everybody_reads());
    (is_made && readable(&key).is_ok() && readable(&cert).is_ok())
        .then_some(adapter::Certificate { cert, key })
}

fn everybody_reads() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o644)
}

/// The directory of a comparison, which goes when it is over.
struct Directory(PathBuf);

impl Directory {
    fn make(out: &Path) -> Result<Self, Box<dyn Error>> {
        let path = std::path::absolute(stage::directory_of(out))?;
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
