//! What is wrong with a configuration, and where: one line for the operator.
//!
//! The place is an offset into the text. The line and the key are found from it here, for the
//! parser's errors and for `check`'s alike, so that no caller has to name a key twice.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// `FILE:LINE: KEY: what is wrong and what would be right`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    line: Option<usize>,
    key: Option<String>,
    what: String,
}

impl ConfigError {
    /// The file itself cannot be read.
    pub(super) fn read(path: &Path, source: &std::io::Error) -> Self {
        Self {
            path: path.into(),
            line: None,
            key: None,
            what: format!("cannot be read: {source}"),
        }
    }

    /// What the file says is right, and what it leads to is not.
    pub(super) fn of(path: &Path, key: String, what: String) -> Self {
        Self {
            path: path.into(),
            line: None,
            key: Some(key),
            what,
        }
    }

    /// The value at `span` is wrong.
    pub(super) fn at(path: &Path, text: &str, span: Range<usize>, what: String) -> Self {
        Self {
            path: path.into(),
            line: Some(line_of(text, span.start)),
            key: key_at(text, span.start),
            what,
        }
    }

    /// The table at `span` lacks `key`.
    pub(super) fn lacks(
        path: &Path,
        text: &str,
        span: Range<usize>,
        key: &str,
        what: String,
    ) -> Self {
        let line = Some(line_of(text, span.start));
        Self {
            path: path.into(),
            line,
            key: Some(key.to_owned()),
            what,
        }
    }

    /// The text is no TOML, or does not have the file's shape.
    pub(super) fn parse(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let Some(span) = error.span() else {
            return Self {
                path: path.into(),
                line: None,
                key: None,
                what: explain(error.message(), None),
            };
        };
        // Where the grammar is broken the parser may have dropped the key.
        let key = key_at(text, span.start).or_else(|| key_on_line(text, span.start));
        let what = explain(error.message(), key.as_deref());
        Self {
            path: path.into(),
            line: Some(line_of(text, span.start)),
            key,
            what,
        }
    }

    /// The line in the file, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key, as a path from the top of the file.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if let Some(key) = &self.key {
            write!(f, " {key}:")?;
        }
        write!(f, " {}", self.what)
    }
}

impl std::error::Error for ConfigError {}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
        + 1
}

/// The dotted path of the smallest key or value that covers `offset`.
fn key_at(text: &str, offset: usize) -> Option<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut best = None;
    look_in_table(table.get_ref(), "", offset, &mut best);
    best.map(|(_, key)| key)
}

/// What stands before the first `=` of the line, or between the brackets of a table's header.
fn key_on_line(text: &str, offset: usize) -> Option<String> {
    let line = text.lines().nth(line_of(text, offset) - 1)?;
    let key = match line.trim().strip_prefix('[') {
        Some(header) => header.trim_matches(['[', ']']),
        None => line.split_once('=')?.0.trim(),
    };
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (!key.is_empty() && key.bytes().all(is_key)).then(|| key.to_owned())
}

fn look_in_table(
    table: &DeTable<'_>,
    above: &str,
    offset: usize,
    best: &mut Option<(usize, String)>,
) {
    for (name, value) in table {
        let path = if above.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{above}.{}", name.get_ref())
        };
        offer(name.span(), &path, offset, best);
        look_in_value(value, &path, offset, best);
    }
}

fn look_in_value(
    value: &Spanned<DeValue<'_>>,
    path: &str,
    offset: usize,
    best: &mut Option<(usize, String)>,
) {
    offer(value.span(), path, offset, best);
    match value.get_ref() {
        DeValue::Table(table) => look_in_table(table, path, offset, best),
        DeValue::Array(items) => {
            for item in items.iter() {
                look_in_value(item, path, offset, best);
            }
        }
        _ => {}
    }
}

fn offer(span: Range<usize>, path: &str, offset: usize, best: &mut Option<(usize, String)>) {
    let smaller = best.as_ref().is_none_or(|(length, _)| span.len() < *length);
    if span.contains(&offset) && smaller {
        *best = Some((span.len(), path.to_owned()));
    }
}

/// The parser's message in our words: no Rust types, and a guess at what was meant.
fn explain(message: &str, key: Option<&str>) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown_key(rest);
    }
    if let Some(rest) = message.strip_prefix("invalid type: ")
        && let Some((found, expected)) = rest.split_once(", expected ")
    {
        let expected = match expected {
            "a sequence" => match key {
                Some(key @ ("listener" | "route")) => {
                    return format!("expected a list of tables; write [[{key}]] with two brackets");
                }
                _ => "a list in brackets",
            },
            "a string" => "a text in quotes",
            _ if expected.starts_with("struct ") => "a table",
            _ => expected,
        };
        let found = match found {
            "map" => "a table".to_owned(),
            "sequence" => "a list".to_owned(),
            _ => format!("the {}", found.replace('`', "")),
        };
        return format!("expected {expected}, found {found}");
    }
    match message {
        "duplicate key" => "is given twice; keep one".to_owned(),
        "string values must be quoted, expected literal string" => {
            "expected a value: a text in quotes, a number or a list in brackets".to_owned()
        }
        _ => message.replace('`', "'"),
    }
}

/// `rest` reads: `` `given`, expected one of `a`, `b` ``.
fn unknown_key(rest: &str) -> String {
    let mut words = rest.split('`').skip(1).step_by(2);
    let given = words.next().unwrap_or_default();
    let known: Vec<&str> = words.collect();
    let near = known
        .iter()
        .map(|word| (distance(given, word), word))
        .filter(|(distance, word)| *distance <= word.len() / 3)
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((_, word)) => format!("unknown key; did you mean \"{word}\"?"),
        None => format!("unknown key; known here: {}", known.join(", ")),
    }
}

/// How many letters have to be inserted, deleted or changed to make `b` out of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_letters() {
        for (a, b, expected) in [
            ("", "", 0),
            ("shards", "shards", 0),
            ("shard", "shards", 1),
            ("hostnmae", "hostname", 2),
            ("abc", "", 3),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} to {b}");
        }
    }

    #[test]
    fn the_key_is_found_in_nested_tables_and_lists() {
        let text = "a = 1\n[b]\nc = [\"x\", \"y\"]\n[[d]]\ne = { f = 2 }\n";
        for (at, expected) in [("1", "a"), ("b]", "b"), ("\"y\"", "b.c"), ("2", "d.e.f")] {
            let offset = text.find(at).expect("in the text");
            assert_eq!(key_at(text, offset).as_deref(), Some(expected));
        }
    }
}
