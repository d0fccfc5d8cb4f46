//! Keeps messages: each in a file of its own, as it came. What is in it is not looked at.

use crate::identity::Name;
use mailrail_runtime::shard;
use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of one shard.
#[derive(Debug)]
pub(super) struct Keeper {
    directory: PathBuf,
    shard: usize,
    serial: Cell<u64>,
}

impl Keeper {
    pub(super) fn new(directory: &Path, shard: usize) -> Self {
        Self {
            directory: directory.to_owned(),
            shard,
            serial: Cell::new(0),
        }
    }

    /// Writes a message: `RUN.COPY-SHARD-SERIAL.eml` by its first copy, or `unknown-SHARD-SERIAL.eml`.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub(super) async fn keep(&self, name: Option<Name>, content: Vec<u8>) -> io::Result<()> {
        let serial = self.serial.replace(self.serial.get() + 1);
        let path = self.directory.join(file_name(name, self.shard, serial));
        shard::blocking(move || {
            fs::write(&path, &content).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })
        })
        .await
    }
}

fn file_name(name: Option<Name>, shard: usize, serial: u64) -> String {
    let mut local_part = Vec::new();
    match name {
        Some(name) => name.write(&mut local_part),
        None => local_part.extend_from_slice(b"unknown"),
    }
    let mut text = String::from_utf8_lossy(&local_part).into_owned();
    // Writing to memory cannot fail.
    let _ = write!(text, "-{shard}-{serial}.eml");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_the_first_copy() {
        let name = Name {
            run: 0xbad_cafe,
            copy: 7,
        };
        assert_eq!(file_name(Some(name), 1, 3), "0badcafe.7-1-3.eml");
        assert_eq!(file_name(None, 0, 0), "unknown-0-0.eml");
    }
}
