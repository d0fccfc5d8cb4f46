//! Reads the sources and fails on what ARCHITECTURE.md says must not be there: an import against
//! the layers, a forgotten `todo!`, a citation without a section. Pure text, no compiler.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mailrail_tests::server::{sources, workspace};

/// A file's path from the top of the workspace, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines that are code, with their numbers: comments cut off.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().filter_map(|(number, line)| {
            let code = line.split("//").next().unwrap_or_default();
            (!code.trim().is_empty()).then_some((number + 1, code))
        })
    }

    /// The first folder or file below `src`, without its ending.
    fn room(&self) -> &str {
        let (_, below) = self.path.split_once("/src/").unwrap_or(("", ""));
        below
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }
}

fn all(directories: &[&str]) -> Vec<Source> {
    let read = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).expect("a source file"),
        path: path
            .strip_prefix(workspace())
            .expect("below the workspace")
            .display()
            .to_string(),
    };
    let found: Vec<Source> = directories
        .iter()
        .flat_map(|directory| sources(&workspace().join(directory)))
        .map(read)
        .collect();
    assert!(!found.is_empty(), "no sources below {directories:?}");
    found
}

fn everything() -> Vec<Source> {
    let parts = ["protocol", "runtime", "server", "benches", "tests", "fuzz"];
    let mut found = all(&parts);
    found.retain(|source| !source.path.contains("/target/"));
    found
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Which rooms of its own crate a line of code names: `crate::x`, and each of `crate::{x, y::z}`.
fn rooms_named(line: &str) -> Vec<&str> {
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(first_names(group)),
            None => rooms.push(name_at(rest)),
        }
    }
    rooms
}

/// The names at the top level of a group that has just been opened.
fn first_names(group: &str) -> Vec<&str> {
    let (mut depth, mut expecting, mut names) = (0, true, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expecting = true,
            _ if expecting && depth == 0 && !letter.is_whitespace() => {
                names.push(name_at(&group[at..]));
                expecting = false;
            }
            _ => {}
        }
    }
    names
}

fn name_at(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The code of a file on one line each statement: an import may span lines.
fn statements(source: &Source) -> Vec<(usize, String)> {
    let (mut statements, mut open) = (Vec::new(), None);
    for (number, line) in source.code() {
        let (start, mut text) = open.take().unwrap_or((number, String::new()));
        text.push_str(line.trim());
        text.push(' ');
        let is_import = text.trim_start().starts_with("use ") || text.contains(" use ");
        if is_import && !text.contains(';') {
            open = Some((start, text));
        } else {
            statements.push((start, text));
        }
    }
    statements.extend(open);
    statements
}

/// Names of rooms that a crate's files may not use, by the room they stand in.
fn check_layers(directory: &str, forbidden: &BTreeMap<&str, &[&str]>) -> Vec<String> {
    let mut found = Vec::new();
    for source in all(&[directory]) {
        let Some(rooms) = forbidden.get(source.room()) else {
            continue;
        };
        for (number, statement) in statements(&source) {
            for room in rooms_named(&statement) {
                if rooms.contains(&room) {
                    found.push(format!("{}:{number}: {}", source.path, statement.trim()));
                }
            }
        }
    }
    found
}

#[test]
fn rooms_of_the_server_keep_their_layers() {
    const MESSAGE: &[&str] = &[
        "events", "dkim", "spool", "dsn", "accept", "queue", "deliver", "shard", "admin", "cli",
        "demo",
    ];
    const EVENTS: &[&str] = &[
        "spool", "dsn", "accept", "queue", "deliver", "shard", "admin", "cli", "demo",
    ];
    const SPOOL: &[&str] = &[
        "accept", "queue", "deliver", "shard", "admin", "cli", "demo",
    ];
    let forbidden = BTreeMap::from([
        ("message", MESSAGE),
        ("config", MESSAGE),
        ("events", EVENTS),
        ("dkim", EVENTS),
        ("spool", SPOOL),
        ("dsn", SPOOL),
        (
            "accept",
            &["queue", "deliver", "shard", "admin", "cli", "demo"][..],
        ),
        (
            "queue",
            &["accept", "deliver", "shard", "admin", "cli", "demo"][..],
        ),
        (
            "deliver",
            &["accept", "queue", "shard", "admin", "cli", "demo"][..],
        ),
        ("shard", &["cli", "demo"][..]),
        ("admin", &["cli", "demo"][..]),
    ]);
    none(
        "imports against the layers",
        &check_layers("server/src", &forbidden),
    );
}

#[test]
fn rooms_of_the_protocol_keep_their_layers() {
    const ZERO: &[&str] = &[
        "line",
        "xtext",
        "proxy",
        "address",
        "reply",
        "body",
        "command",
        "extension",
        "sasl",
        "server",
        "client",
    ];
    const ONE: &[&str] = &["command", "extension", "sasl", "server", "client"];
    const SASL: &[&str] = &["command", "extension", "server", "client"];
    const TWO: &[&str] = &["server", "client"];
    let forbidden = BTreeMap::from([
        ("time", ZERO),
        ("limits", ZERO),
        ("ascii", ZERO),
        ("line", ONE),
        ("xtext", ONE),
        ("proxy", ONE),
        ("address", ONE),
        ("reply", ONE),
        ("body", ONE),
        ("command", TWO),
        ("extension", TWO),
        ("sasl", SASL),
        ("server", &["client"][..]),
        ("client", &["server"][..]),
    ]);
    none(
        "imports against the layers",
        &check_layers("protocol/src", &forbidden),
    );
}

#[test]
fn the_runtime_knows_no_mail_and_the_protocol_no_runtime() {
    let mut found = Vec::new();
    for (directory, names) in [
        (
            "runtime",
            &["mailrail_protocol", "mailrail-protocol", "mailrail::"][..],
        ),
        (
            "protocol",
            &["mailrail_runtime", "mailrail-runtime", "mailrail::"][..],
        ),
    ] {
        let manifest = workspace().join(directory).join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).expect("a manifest");
        for name in names {
            if manifest.contains(name) {
                found.push(format!("{directory}/Cargo.toml: {name}"));
            }
        }
        for source in all(&[&format!("{directory}/src")]) {
            for (number, line) in source.code() {
                if names.iter().any(|name| line.contains(name)) {
                    found.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    none("crates that know too much", &found);
}

#[test]
fn only_the_runtime_names_glommio() {
    let mut found = Vec::new();
    for source in everything() {
        // An example of the engine shows that it runs there, too, and its own test names the example.
        let free = [
            "tests/tests/tidy.rs",
            "tests/tests/examples.rs",
            "protocol/examples/glommio_server.rs",
        ];
        if source.path.starts_with("runtime/") || free.contains(&source.path.as_str()) {
            continue;
        }
        for (number, line) in source.code() {
            if line.contains("glommio") {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    for part in ["protocol", "server", "benches", "tests"] {
        let manifest = workspace().join(part).join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).expect("a manifest");
        // What an example needs is no dependency of the crate.
        let (dependencies, _) = manifest
            .split_once("[dev-dependencies]")
            .unwrap_or((&manifest, ""));
        if dependencies.contains("glommio") {
            found.push(format!("{part}/Cargo.toml"));
        }
    }
    none("glommio outside of runtime", &found);
}

#[test]
fn nothing_is_left_to_be_written() {
    let forgotten = ["todo", "unimplemented"].map(|name| format!("{name}!"));
    let mut found = Vec::new();
    for source in everything() {
        for (number, line) in source.code() {
            if forgotten.iter().any(|name| line.contains(&**name)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("work that was forgotten", &found);
}

/// An RFC that a comment names is named with its section: the next reader has to find the words.
#[test]
fn a_citation_names_its_section() {
    let mut found = Vec::new();
    for source in everything() {
        for (number, line) in source.text.lines().enumerate() {
            let Some((_, comment)) = line.split_once("//") else {
                continue;
            };
            if citations(comment).any(|rest| !names_a_section(rest)) {
                found.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    none("citations without a section", &found);
}

/// What follows each citation's number.
fn citations(comment: &str) -> impl Iterator<Item = &str> {
    comment.match_indices("RFC ").filter_map(|(at, word)| {
        let rest = &comment[at + word.len()..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        (digits >= 3).then(|| &rest[digits..])
    })
}

fn names_a_section(rest: &str) -> bool {
    let rest = rest.trim_start_matches([',', ' ']);
    let words = ["section ", "sections ", "appendix ", "Appendix "];
    words.iter().any(|word| {
        rest.strip_prefix(word).is_some_and(|number| {
            number
                .starts_with(|letter: char| letter.is_ascii_digit() || letter.is_ascii_uppercase())
        })
    })
}

#[test]
fn every_file_has_a_label() {
    let mut found = Vec::new();
    for source in everything() {
        let first = source
            .text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        let label = first.strip_prefix("//!").map(str::trim).unwrap_or_default();
        if label.len() < 10 || label.contains("To be written") {
            found.push(format!("{}: {first}", source.path));
        }
    }
    none("files without a label on the door", &found);
}

#[test]
fn the_reader_of_imports_reads() {
    for (text, expected) in [
        ("use crate::queue::Queue;", &["queue"][..]),
        (
            "use crate::{accept, queue::{self, state}, spool};",
            &["accept", "queue", "spool"],
        ),
        (
            "let x = crate::deliver::lane(crate::spool::y);",
            &["deliver", "spool"],
        ),
        ("use super::queue;", &[]),
        ("pub(crate) fn a() {}", &[]),
    ] {
        assert_eq!(rooms_named(text), expected, "{text}");
    }
    let source = Source {
        path: "server/src/accept/mod.rs".to_owned(),
        text: "//! A label.\nuse crate::{\n    spool, // not crate::queue\n    deliver,\n};\nfn a() {}\n"
            .to_owned(),
    };
    assert_eq!(source.room(), "accept");
    let named: Vec<(usize, String)> = statements(&source)
        .iter()
        .flat_map(|(number, text)| {
            rooms_named(text)
                .into_iter()
                .map(|r| (*number, r.to_owned()))
        })
        .collect();
    assert_eq!(named, [(2, "spool".to_owned()), (2, "deliver".to_owned())]);
    for (comment, expected) in [
        (" RFC 5321 section 4.5.2: x", true),
        (" RFC 5321, section 4.5.2", true),
        (" RFC 3464 appendix A", true),
        (" RFC 5321 says", false),
        (" RFC 5321", false),
    ] {
        assert_eq!(
            citations(comment).all(names_a_section),
            expected,
            "{comment}"
        );
    }
}
