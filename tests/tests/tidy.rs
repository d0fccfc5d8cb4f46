//! Reads the sources and fails on what ARCHITECTURE.md says must not be there: an import against
//! the layers, a forgotten `todo!`, a citation without a section, `std` in the engine; and on a table of
//! RFCs that the sources do not bear out. Pure text, no compiler.

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
fn the_proxy_fits_in_150_lines() {
    let path = workspace().join("protocol/examples/proxy.rs");
    let text = std::fs::read_to_string(path).expect("the example");
    let count = text.lines().count();
    assert!(count <= 150, "{count} lines: it is to be read at one go");
}

#[test]
fn only_the_runtime_names_glommio() {
    let mut found = Vec::new();
    for source in everything() {
        // An example of the engine shows that it runs there, too, and its own test names the example.
        let free = [
            "tests/tests/tidy.rs",
            "tests/tests/examples/arguments.rs",
            "tests/tests/examples/servers.rs",
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

/// What a program does is said by its arguments and its configuration. Above all nobody can tell a server
/// from outside to leave a duty out: that is for the one program of the tests that is made for it.
#[test]
fn no_program_obeys_the_environment() {
    let mut found = Vec::new();
    for source in all(&["protocol/src", "runtime/src", "server/src"]) {
        for (number, line) in source.code() {
            if line.contains("env::var") {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("variables of the environment that are read", &found);
    let leaving_out = format!("leave_{}(", "out");
    for source in everything() {
        let may = ["runtime/src/sim/", "tests/src/bin/mailrail-sabotaged.rs"];
        let calls = source.code().any(|(_, line)| line.contains(&leaving_out));
        if calls && !may.iter().any(|path| source.path.starts_with(path)) {
            found.push(source.path);
        }
    }
    none("programs that leave duties out", &found);
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

/// `no_std` is what the compiler sees; this is what a reader can rely on, whatever the target.
#[test]
fn the_protocol_names_no_std() {
    let mut found = Vec::new();
    for source in all(&["protocol/src"]) {
        for (number, line) in source.code() {
            if names_std(line) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("std in the engine", &found);
    let text = std::fs::read_to_string(workspace().join("protocol/src/lib.rs")).expect("the crate");
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        assert!(text.lines().any(|line| line == attribute), "{attribute}");
    }
}

/// `std::…`, or the crate itself brought in; `"std"` of a feature is none.
fn names_std(code: &str) -> bool {
    code.match_indices("std").any(|(at, word)| {
        let before = code[..at].chars().next_back();
        let part_of_a_name =
            |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '"';
        !before.is_some_and(part_of_a_name)
            && (code[at + word.len()..].starts_with("::")
                || code[..at].trim_end().ends_with("extern crate"))
    })
}

#[test]
fn std_is_seen() {
    for (code, expected) in [
        ("use std::net::TcpStream;", true),
        ("let now = std::time::Instant::now();", true),
        ("use ::std::io;", true),
        ("extern crate std;", true),
        ("#![no_std]", false),
        ("#[cfg(feature = \"std\")]", false),
        ("nostd::x()", false),
    ] {
        assert_eq!(names_std(code), expected, "{code}");
    }
}

/// What the table must have a row for, with a file on either side.
const IMPLEMENTED: [&str; 27] = [
    "RFC 1870",
    "RFC 1985",
    "RFC 2033",
    "RFC 2034",
    "RFC 2852",
    "RFC 2920",
    "RFC 3030",
    "RFC 3207",
    "RFC 3461",
    "RFC 3463",
    "RFC 4616",
    "RFC 4865",
    "RFC 4954",
    "RFC 5248",
    "RFC 5321",
    "RFC 5802",
    "RFC 6152",
    "RFC 6531",
    "RFC 6533",
    "RFC 6710",
    "RFC 7628",
    "RFC 7677",
    "RFC 8689",
    "RFC 9422",
    "https://www.postfix.org/XCLIENT_README.html",
    "https://www.postfix.org/XFORWARD_README.html",
    "https://developers.google.com/gmail/imap/xoauth2-protocol",
];

/// Each file that the table names exists and cites its RFC, and each RFC that is cited has a row.
#[test]
fn the_table_of_rfcs_is_borne_out() {
    let table = std::fs::read_to_string(workspace().join("protocol/RFCS.md")).expect("the table");
    let sources = all(&["protocol/src"]);
    let mut found = Vec::new();
    let mut rows = BTreeMap::new();
    for row in table.lines().filter_map(row) {
        for file in row.cells.iter().flatten() {
            let path = format!("protocol/src/{file}");
            let source = sources.iter().find(|source| source.path == path);
            if !source.is_some_and(|source| cites(&source.text, &row.key)) {
                found.push(format!("{file} does not cite {}", row.key));
            }
        }
        rows.insert(row.key, row.cells);
    }
    for wanted in IMPLEMENTED {
        let both =
            |cells: &Vec<Vec<&str>>| cells.len() == 2 && cells.iter().all(|cell| !cell.is_empty());
        if !rows.get(wanted).is_some_and(both) {
            found.push(format!("{wanted} has no row with a file on either side"));
        }
    }
    for source in &sources {
        for line in source.text.lines() {
            let Some(citation) = line.trim_start().strip_prefix("//= RFC ") else {
                continue;
            };
            let key = format!("RFC {}", citation.split(' ').next().unwrap_or_default());
            if !rows.contains_key(&*key) {
                found.push(format!("{}: {key} has no row", source.path));
            }
        }
    }
    none("protocol/RFCS.md", &found);
}

struct Row<'t> {
    /// A source, as the sources cite it: an RFC by its number, or an address.
    key: String,
    /// The files behind the first two cells.
    cells: Vec<Vec<&'t str>>,
}

/// The source, what it is in words, and in each further cell files in backticks.
fn row(line: &str) -> Option<Row<'_>> {
    let mut cells = line.strip_prefix("| ")?.strip_suffix('|')?.split('|');
    let first = cells.next()?.trim();
    let key = match first.split_once("](") {
        Some((_, address)) => address.strip_suffix(')')?.to_owned(),
        None if first.starts_with("RFC ") => first.to_owned(),
        None => return None,
    };
    // The second says in words what it is.
    let cells = cells
        .skip(1)
        .map(|cell| cell.split('`').skip(1).step_by(2).collect())
        .collect();
    Some(Row { key, cells })
}

/// Is it named, and not the beginning of a longer number?
fn cites(text: &str, key: &str) -> bool {
    text.match_indices(key)
        .any(|(at, _)| !text[at + key.len()..].starts_with(|letter: char| letter.is_ascii_digit()))
}

#[test]
fn rows_are_read() {
    let read = row("| RFC 1 | words | `a.rs` `b/c.rs` | `d.rs` |").expect("a row");
    assert_eq!(read.key, "RFC 1");
    assert_eq!(read.cells, [vec!["a.rs", "b/c.rs"], vec!["d.rs"]]);
    let read = row("| [NAME](https://a.example/b) | words | `a.rs` |").expect("a row");
    assert_eq!((&*read.key, read.cells.len()), ("https://a.example/b", 1));
    assert!(row("| --- | --- |").is_none());
    assert!(cites("see RFC 1870 section 1", "RFC 1870"));
    assert!(!cites("see RFC 1870 section 1", "RFC 187"));
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

/// A file that has grown longer has two subjects.
#[test]
fn every_file_is_short() {
    const LINE_COUNT_MAX: usize = 600;
    let mut found = Vec::new();
    for source in everything() {
        let count = source.text.lines().count();
        if count > LINE_COUNT_MAX {
            found.push(format!("{}: {count} lines", source.path));
        }
    }
    none("files with more than one subject", &found);
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
