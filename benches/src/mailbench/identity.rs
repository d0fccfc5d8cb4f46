//! Which copy is which: a copy is one message for one recipient, and its name is in the recipient's
//! local part, which every server hands on as it is. So the sink need not look into contents.
//!
//! `RUN.COPY@domain`: the run in eight hexadecimal digits, the copy in decimal. Copy numbers of a run begin
//! at 0; message m of a run with r recipients a message has the copies m*r to m*r+r-1.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// Copies above this number are nobody's: a table of them would not fit into memory.
pub(crate) const COPY_MAX: u64 = 1 << 30;

/// The name of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    /// Which run of a source.
    pub(crate) run: u32,
    /// Which copy of it.
    pub(crate) copy: u64,
}

impl Name {
    /// Appends the local part.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = write!(out, "{:08x}.{}", self.run, self.copy);
    }

    /// Understands a local part; `None` is somebody else's mail.
    pub(crate) fn parse(local_part: &[u8]) -> Option<Self> {
        let (run, copy) = local_part.split_at_checked(8)?;
        let run = u32::from_str_radix(str::from_utf8(run).ok()?, 16).ok()?;
        let copy = str::from_utf8(copy.strip_prefix(b".")?)
            .ok()?
            .parse()
            .ok()?;
        (copy < COPY_MAX).then_some(Self { run, copy })
    }
}

/// How often each copy of one run was seen, up to 255 times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Copies {
    counts: Vec<u8>,
}

impl Copies {
    /// Counts a copy; how often it was seen before.
    pub(crate) fn count(&mut self, copy: u64) -> u8 {
        let index = copy as usize;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        let before = self.counts[index];
        self.counts[index] = before.saturating_add(1);
        before
    }

    /// How often it was seen.
    pub(crate) fn of(&self, copy: u64) -> u8 {
        self.counts.get(copy as usize).copied().unwrap_or(0)
    }

    /// Adds what was seen elsewhere.
    pub(crate) fn add(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// Copies that were seen at all.
    pub(crate) fn seen(&self) -> u64 {
        self.counts.iter().filter(|count| **count > 0).count() as u64
    }

    /// Copies beyond the first of each.
    pub(crate) fn duplicates(&self) -> u64 {
        let beyond = |count: &u8| u64::from(count.saturating_sub(1));
        self.counts.iter().map(beyond).sum()
    }

    /// Copies that are here and not in `received`: what was acknowledged and never came.
    pub(crate) fn missing_in(&self, received: &Self) -> u64 {
        let is_missing =
            |(index, count): &(usize, &u8)| **count > 0 && received.of(*index as u64) == 0;
        self.counts.iter().enumerate().filter(is_missing).count() as u64
    }

    /// Writes a file: a line `mailbench copies 1 RUN`, then a byte for each copy.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn save(&self, run: u32, path: &Path) -> io::Result<()> {
        let mut bytes = format!("mailbench copies 1 {run:08x}\n").into_bytes();
        bytes.extend_from_slice(&self.counts);
        fs::write(path, bytes)
    }

    /// Reads what `save` wrote.
    ///
    /// # Errors
    /// The file system's, and when it is another kind of file.
    pub(crate) fn load(path: &Path) -> io::Result<(u32, Self)> {
        let bytes = fs::read(path)?;
        let invalid = || {
            let text = format!("{}: not a file of copies", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let end = memchr::memchr(b'\n', &bytes).ok_or_else(invalid)?;
        let run = str::from_utf8(&bytes[..end])
            .ok()
            .and_then(|line| line.strip_prefix("mailbench copies 1 "))
            .and_then(|run| u32::from_str_radix(run, 16).ok())
            .ok_or_else(invalid)?;
        let counts = bytes[end + 1..].to_vec();
        Ok((run, Self { counts }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        for name in [(0, 0), (0xbad_cafe, 1_234_567), (u32::MAX, COPY_MAX - 1)] {
            let name = Name {
                run: name.0,
                copy: name.1,
            };
            let mut text = Vec::new();
            name.write(&mut text);
            assert_eq!(Name::parse(&text), Some(name));
        }
        for other in [
            "",
            "foo",
            "postmaster",
            "0badcafe",
            "0badcafe.",
            "0badcafe.x",
            "0badcafg.1",
            "0badcafe.1073741824",
            "é12345678.1",
        ] {
            assert_eq!(Name::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn losses_and_duplicates_are_told_apart() {
        let (mut acknowledged, mut received) = (Copies::default(), Copies::default());
        for copy in [0, 1, 2, 5] {
            acknowledged.count(copy);
        }
        for copy in [0, 0, 0, 2, 7] {
            received.count(copy);
        }
        assert_eq!(acknowledged.missing_in(&received), 2);
        assert_eq!((received.seen(), received.duplicates()), (3, 2));
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("copies");
        received.save(0xfeed, &path).expect("saved");
        assert_eq!(
            Copies::load(&path).expect("loaded"),
            (0xfeed, received.clone())
        );
        received.add(&acknowledged);
        assert_eq!((received.of(0), received.of(1), received.of(7)), (4, 1, 1));
        fs::write(&path, "something else").expect("written");
        assert!(Copies::load(&path).is_err());
    }
}
