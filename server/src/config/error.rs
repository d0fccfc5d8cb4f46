//! What is wrong with a configuration, and where: one line for the operator.

use std::fmt;
use std::path::{Path, PathBuf};

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
