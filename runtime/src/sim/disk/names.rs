//! The names on a simulated disk: what a process sees, and what a power cut leaves of it. Pure but for the
//! chance it is handed.
//!
//! A change of a directory is for good once the directory was synced. Before that a power cut keeps a
//! beginning of the changes, as a journal does: of all of them, or of each directory's own.

use super::content::Content;
use crate::sim::Chance;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Directory,
    File(Rc<RefCell<Content>>),
}

#[derive(Clone, Debug)]
enum Change {
    Make(PathBuf, Entry),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

type Map = BTreeMap<PathBuf, Entry>;

impl Change {
    fn directory(&self) -> &Path {
        let (Self::Make(path, _) | Self::Rename(_, path) | Self::Remove(path)) = self;
        parent(path)
    }

    fn apply(self, map: &mut Map) {
        match self {
            Self::Make(path, entry) => {
                map.insert(path, entry);
            }
            Self::Rename(from, to) => {
                if let Some(entry) = map.remove(&from) {
                    map.insert(to, entry);
                }
            }
            Self::Remove(path) => {
                map.remove(&path);
            }
        }
    }
}

/// The directory a name stands in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

/// All names of a disk.
#[derive(Debug, Default)]
pub(super) struct Names {
    live: Map,
    durable: Map,
    /// Changes not yet for good, in their order, with their numbers.
    unsynced: Vec<(u64, Change)>,
    next_number: u64,
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<&Entry> {
        self.live.get(path)
    }

    pub(super) fn file(&self, path: &Path) -> Option<Rc<RefCell<Content>>> {
        match self.live.get(path)? {
            Entry::File(content) => Some(content.clone()),
            Entry::Directory => None,
        }
    }

    /// Whether there is such a directory; the root, and the place where a process stands, always are.
    pub(super) fn is_directory(&self, path: &Path) -> bool {
        path.parent().is_none() || matches!(self.live.get(path), Some(Entry::Directory))
    }

    /// All files, with their paths.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &Rc<RefCell<Content>>)> {
        self.live.iter().filter_map(|(path, entry)| match entry {
            Entry::File(content) => Some((path.as_path(), content)),
            Entry::Directory => None,
        })
    }

    /// The names in a directory.
    pub(super) fn list(&self, directory: &Path) -> Vec<String> {
        let within = self
            .live
            .range(directory.to_path_buf()..)
            .take_while(|(path, _)| path.starts_with(directory))
            .filter(|(path, _)| path.as_path() != directory && parent(path) == directory);
        let name = |path: &PathBuf| path.file_name()?.to_str().map(str::to_owned);
        within.filter_map(|(path, _)| name(path)).collect()
    }

    pub(super) fn make(&mut self, path: &Path, entry: Entry) {
        self.change(Change::Make(path.to_path_buf(), entry));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        self.change(Change::Rename(from.to_path_buf(), to.to_path_buf()));
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.change(Change::Remove(path.to_path_buf()));
    }

    fn change(&mut self, change: Change) {
        self.unsynced.push((self.next_number, change.clone()));
        self.next_number += 1;
        change.apply(&mut self.live);
    }

    /// What a sync that begins now will reach.
    pub(super) const fn mark(&self) -> u64 {
        self.next_number
    }

    /// A sync of a directory that began at `mark` has come to a good end.
    pub(super) fn sync(&mut self, directory: &Path, mark: u64) {
        let durable = &mut self.durable;
        self.unsynced.retain(|(number, change)| {
            let is_kept = *number >= mark || change.directory() != directory;
            if !is_kept {
                change.clone().apply(durable);
            }
            is_kept
        });
    }

    /// Each file that a name stands for, or may stand for after a power cut, once.
    pub(super) fn cut_contents(&self, mut cut: impl FnMut(&mut Content)) {
        let mut seen = BTreeSet::new();
        let changed = self.unsynced.iter().filter_map(|(_, change)| match change {
            Change::Make(_, entry) => Some(entry),
            Change::Rename(..) | Change::Remove(_) => None,
        });
        for entry in self
            .live
            .values()
            .chain(self.durable.values())
            .chain(changed)
        {
            let Entry::File(content) = entry else {
                continue;
            };
            if seen.insert(Rc::as_ptr(content)) {
                cut(&mut content.borrow_mut());
            }
        }
    }

    /// What is left when the power comes back.
    pub(super) fn power_cut(&mut self, chance: &mut Chance) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if chance.below(2) == 0 {
            let count = chance.below(unsynced.len() as u64 + 1) as usize;
            for (_, change) in unsynced.into_iter().take(count) {
                change.apply(&mut self.durable);
            }
        } else {
            // Once one change of a directory is lost, so are those behind it.
            let mut lost: Vec<PathBuf> = Vec::new();
            for (_, change) in unsynced {
                if lost.iter().any(|lost| lost == change.directory()) {
                    continue;
                }
                if chance.below(3) == 0 {
                    lost.push(change.directory().to_path_buf());
                } else {
                    change.apply(&mut self.durable);
                }
            }
        }
        // In the order of paths a directory stands before what is in it.
        let mut kept = Map::new();
        for (path, entry) in std::mem::take(&mut self.durable) {
            let directory = parent(&path);
            if directory.parent().is_none() || kept.contains_key(directory) {
                kept.insert(path, entry);
            }
        }
        self.durable = kept;
        self.live.clone_from(&self.durable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(names: &mut Names, path: &str) {
        names.make(Path::new(path), Entry::File(Rc::default()));
    }

    /// A directory with one durable name.
    fn names() -> Names {
        let mut names = Names::default();
        names.make(Path::new("/spool"), Entry::Directory);
        file(&mut names, "/spool/a");
        let mark = names.mark();
        names.sync(Path::new("/"), mark);
        names.sync(Path::new("/spool"), mark);
        names
    }

    /// What the names are after the changes and a cut, over many seeds.
    fn after_cuts(change: impl Fn(&mut Names)) -> BTreeSet<Vec<String>> {
        (0..100)
            .map(|seed| {
                let mut names = names();
                change(&mut names);
                names.power_cut(&mut Chance::new(seed));
                names.list(Path::new("/spool"))
            })
            .collect()
    }

    fn check(change: impl Fn(&mut Names), expected: &[&[&str]]) {
        let owned = |names: &&[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(after_cuts(change), expected.iter().map(owned).collect());
    }

    #[test]
    fn what_was_not_synced_is_kept_or_lost_in_its_order() {
        check(
            |names| {
                file(names, "/spool/b");
                names.rename(Path::new("/spool/a"), Path::new("/spool/c"));
                names.remove(Path::new("/spool/b"));
            },
            &[&["a"], &["a", "b"], &["b", "c"], &["c"]],
        );
    }

    #[test]
    fn what_was_synced_is_kept() {
        check(
            |names| {
                names.rename(Path::new("/spool/a"), Path::new("/spool/b"));
                names.sync(Path::new("/spool"), names.mark());
            },
            &[&["b"]],
        );
        check(
            |names| {
                names.rename(Path::new("/spool/a"), Path::new("/spool/b"));
                // Of another directory.
                names.sync(Path::new("/"), names.mark());
            },
            &[&["a"], &["b"]],
        );
    }

    #[test]
    fn what_stands_in_a_lost_directory_is_lost() {
        let change = |names: &mut Names| {
            names.make(Path::new("/spool/d"), Entry::Directory);
            file(names, "/spool/d/e");
            names.sync(Path::new("/spool/d"), names.mark());
        };
        check(change, &[&["a"], &["a", "d"]]);
    }

    #[test]
    fn a_list_names_its_own_alone() {
        let mut names = names();
        names.make(Path::new("/spool/d"), Entry::Directory);
        file(&mut names, "/spool/d/e");
        file(&mut names, "/spool2");
        assert_eq!(names.list(Path::new("/spool")), ["a", "d"]);
    }
}
