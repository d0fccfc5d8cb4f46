//! An adapter as typed: the shape of its TOML file, and nothing of what it means.
//!
//! A key that is not listed here is an error that names the file. Every text is a template (see
//! `template`), and so is each word of a command.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Fragments of a configuration, by the name under which the files take them in.
pub(super) type Fragments = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The name on the command line.
    pub(super) name: String,
    /// The name in a table.
    pub(super) label: String,
    pub(super) durability: Durability,
    /// How that is known.
    pub(super) durability_seen: String,
    /// Does it have to be started by root?
    #[serde(default)]
    pub(super) root: bool,
    /// The port of the DNS server, where it cannot be told another one.
    pub(super) dns_port: Option<u16>,
    /// A command whose first line with a digit says which version it is.
    pub(super) version: Vec<String>,
    /// Directories below `{dir}` to be made.
    #[serde(default)]
    pub(super) directories: Vec<String>,
    /// Commands before the start, in turn; each has to succeed.
    #[serde(default)]
    pub(super) before: Vec<Vec<String>>,
    /// The command that stays, as the parent of whatever else it starts.
    pub(super) start: Vec<String>,
    /// How it is asked to end.
    #[serde(default)]
    pub(super) stop: Stop,
    /// Files to show the ends of when a start fails, besides its standard error.
    #[serde(default)]
    pub(super) logs: Vec<String>,
    /// Programs and other files it needs: where to look, in turn. A word without a slash is looked for as
    /// a command. What was found is a placeholder of the same name.
    #[serde(default)]
    pub(super) programs: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    /// Written below `{dir}` before the start.
    #[serde(default)]
    pub(super) file: Vec<Text>,
    /// Seen by this server alone in place of what the system has (a mount of its own; root only).
    #[serde(default)]
    pub(super) over: Vec<Over>,
    #[serde(default)]
    pub(super) smarthost: Fragments,
    #[serde(default)]
    pub(super) mx: Fragments,
    #[serde(default)]
    pub(super) tls_in: Switch,
    #[serde(default)]
    pub(super) tls_out: Switch,
    /// With `on`: it can be told how soon to try again (`{retry_s}`).
    #[serde(default)]
    pub(super) retry: Switch,
    /// What it cannot do, and why.
    #[serde(default)]
    pub(super) unable: Unable,
    /// Several servers from one file; without: one.
    #[serde(default)]
    pub(super) variant: Vec<Variant>,
}

/// What a server has done with a message when it answers 250.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// Synced it to the device.
    Fsync,
    /// Handed it to the kernel: a crash of the process loses nothing, a power cut may.
    Write,
    /// Kept it in memory: either loses it.
    Memory,
}

impl std::fmt::Display for Durability {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Fsync => "fsync",
            Self::Write => "write",
            Self::Memory => "memory",
        })
    }
}

/// How it is asked to end: by a signal to its first process, or by a command. What has not ended in time is killed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Stop {
    Signal(Signal),
    Command(Vec<String>),
}

impl Default for Stop {
    fn default() -> Self {
        Self::Signal(Signal::Term)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Signal {
    Term,
    Int,
    Kill,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) path: String,
    pub(super) text: String,
    /// May it be executed?
    #[serde(default)]
    pub(super) executable: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Over {
    /// What is hidden: a file or directory that exists everywhere.
    pub(super) path: String,
    /// The text that takes the file's place ...
    pub(super) text: Option<String>,
    /// ... or the directory below `{dir}` that takes the directory's.
    pub(super) directory: Option<String>,
}

/// The fragments of something that is on or off.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Switch {
    #[serde(default)]
    pub(super) on: Fragments,
    #[serde(default)]
    pub(super) off: Fragments,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unable {
    pub(super) smarthost: Option<String>,
    pub(super) mx: Option<String>,
    pub(super) tls_in: Option<String>,
    pub(super) tls_out: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) durability: Durability,
    #[serde(default)]
    pub(super) values: Fragments,
}

/// Reads the text of a file.
pub(super) fn parse(text: &str) -> Result<File, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    for over in &file.over {
        if over.text.is_some() == over.directory.is_some() {
            return Err(format!(
                "over {}: it takes a text or a directory",
                over.path
            ));
        }
    }
    if file.start.is_empty() || file.version.is_empty() {
        return Err("start and version take a command".to_owned());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "name = 'a'\nlabel = 'A'\ndurability = 'fsync'\ndurability_seen = 'x'\n\
        version = ['a', '-v']\nstart = ['a']\n";

    #[test]
    fn what_is_read_and_what_is_refused() {
        for (more, expected) in [
            ("", None),
            ("root = true", None),
            ("stop = 'INT'", None),
            ("stop = ['a', 'stop']", None),
            ("colour = 'red'", Some("unknown field `colour`")),
            ("stop = 'HUP'", Some("stop = 'HUP'")),
            ("[unable]\nsmtp = 'no'", Some("unknown field `smtp`")),
            (
                "[[over]]\npath = '/etc/passwd'",
                Some("over /etc/passwd: it takes a text or a directory"),
            ),
            (
                "[[over]]\npath = '/x'\ntext = ''\ndirectory = 'y'",
                Some("over /x: it takes a text or a directory"),
            ),
        ] {
            let read = parse(&format!("{LEAST}{more}"));
            match (expected, &read) {
                (None, Ok(_)) => {}
                (Some(words), Err(error)) if error.contains(words) => {}
                _ => panic!("{more}: {read:?}"),
            }
        }
        let empty = LEAST.replace("start = ['a']", "start = []");
        assert!(parse(&empty).is_err_and(|error| error.contains("take a command")));
    }
}
