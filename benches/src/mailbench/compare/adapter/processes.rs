//! All processes of a server, those that it forks and forgets included: which they are, and their end. What processor
//! time they took is asked in `sample`.
//!
//! Where a control group can be made, the server lives in one, and the kernel keeps the account; of version
//! 2 before version 1. Elsewhere the tree below its first process is followed, and this process takes in those
//! whose parent ended; what such a process had used is then forgotten with it.

use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The processes of one server.
#[derive(Debug)]
pub(super) enum Processes {
    Group(PathBuf),
    Tree {
        first: Option<u32>,
        /// Seen below the first at some time; with when they were started, since numbers come again.
        seen: BTreeSet<(u32, u64)>,
    },
}

impl Processes {
    /// A group if one can be made, or else a tree.
    pub(super) fn new() -> Self {
        for parent in parents() {
            // Numbers, so that two servers of one comparison have two groups.
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let group = parent.join(format!("mailbench-{}-{number}", std::process::id()));
            if fs::create_dir(&group).is_ok() {
                if has_account(&group) {
                    return Self::Group(group);
                }
                let _ = fs::remove_dir(&group);
            }
        }
        Self::tree()
    }

    fn tree() -> Self {
        // Any number but none switches it on.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        Self::Tree {
            first: None,
            seen: BTreeSet::new(),
        }
    }

    /// The file into which a process that is to belong here writes its number.
    pub(super) fn door(&self) -> Option<PathBuf> {
        self.group().map(|group| group.join("cgroup.procs"))
    }

    pub(super) fn group(&self) -> Option<&Path> {
        match self {
            Self::Group(group) => Some(group),
            Self::Tree { .. } => None,
        }
    }

    /// The first process runs.
    pub(super) fn began(&mut self, pid: u32) {
        if let Self::Tree { first, .. } = self {
            *first = Some(pid);
        }
    }

    /// Those that live now.
    pub(super) fn pids(&mut self) -> Vec<u32> {
        match self {
            Self::Group(group) => numbers(&group.join("cgroup.procs")),
            Self::Tree { first, seen } => {
                let all = stats();
                follow(*first, seen, &all);
                let alive = |pid: &u32| all.iter().any(|stat| stat.pid == *pid && !stat.is_zombie);
                seen.iter().map(|(pid, _)| *pid).filter(alive).collect()
            }
        }
    }

    /// Sends each the signal, and takes leave of those that are ours to take leave of.
    pub(super) fn signal(&mut self, signal: Signal) {
        for pid in self.pids() {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
        self.reap();
    }

    /// Waits, without waiting, for those that came to us when their parent ended.
    pub(super) fn reap(&self) {
        let Self::Tree { first, seen } = self else {
            return;
        };
        // The first is waited for by whoever started it.
        for (pid, _) in seen.iter().filter(|(pid, _)| Some(*pid) != *first) {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if let Self::Group(group) = self {
            // It is empty by now: otherwise it stays, and can be found by its name.
            let _ = fs::remove_dir(group);
        }
    }
}

/// Where groups may be made: below our own, in the hierarchies that account for the processor.
fn parents() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    parents_in(&mounts, &own)
}

fn parents_in(mounts: &str, own: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for version_2 in [true, false] {
        for mount in mounts.lines() {
            let fields: Vec<&str> = mount.split(' ').collect();
            let [_, at, kind, options, ..] = fields[..] else {
                continue;
            };
            let accounts = options.split(',').any(|option| option == "cpuacct");
            let wanted = match version_2 {
                true => kind == "cgroup2",
                false => kind == "cgroup" && accounts,
            };
            let path = own.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                let ours = match version_2 {
                    true => controllers.is_empty(),
                    false => controllers.split(',').any(|name| name == "cpuacct"),
                };
                ours.then_some(path)
            });
            if let (true, Some(path)) = (wanted, path) {
                found.push(Path::new(at).join(path.trim_start_matches('/')));
            }
        }
    }
    found
}

/// Whether the kernel keeps an account of a group, of either version.
fn has_account(group: &Path) -> bool {
    let stat = fs::read_to_string(group.join("cpu.stat")).unwrap_or_default();
    stat.lines().any(|line| line.starts_with("usage_usec ")) || group.join("cpuacct.usage").exists()
}

fn numbers(path: &Path) -> Vec<u32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// What is needed of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    is_zombie: bool,
    began: u64,
}

fn stats() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
        })
        .collect()
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name in parentheses may hold anything, parentheses too.
    let (before, after) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        pid: before.split(' ').next()?.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        is_zombie: matches!(fields.first(), Some(&("Z" | "X"))),
        began: number(19)?,
    })
}

/// Adds what is now below those already seen, and forgets those that are no more.
fn follow(first: Option<u32>, seen: &mut BTreeSet<(u32, u64)>, all: &[Stat]) {
    seen.retain(|(pid, began)| all.iter().any(|s| s.pid == *pid && s.began == *began));
    loop {
        let before = seen.len();
        for stat in all {
            let ours = Some(stat.pid) == first || seen.iter().any(|(pid, _)| *pid == stat.parent);
            if ours {
                seen.insert((stat.pid, stat.began));
            }
        }
        if seen.len() == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_groups_are_made() {
        let v1 = "cgroup /sys/fs/cgroup/cpuacct cgroup rw,relatime,cpuacct 0 0\n";
        let joint = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n";
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        for (mounts, own, expected) in [
            ("", "0::/\n", vec![]),
            (
                v2,
                "0::/user.slice/a\n",
                vec!["/sys/fs/cgroup/user.slice/a"],
            ),
            (v1, "2:cpuacct:/\n0::/\n", vec!["/sys/fs/cgroup/cpuacct"]),
            (
                joint,
                "4:cpu,cpuacct:/x\n",
                vec!["/sys/fs/cgroup/cpu,cpuacct/x"],
            ),
            (
                &format!("{v1}{v2}"),
                "2:cpuacct:/\n0::/\n",
                vec!["/sys/fs/cgroup", "/sys/fs/cgroup/cpuacct"],
            ),
            ("proc /proc proc rw 0 0\n", "0::/\n", vec![]),
        ] {
            let found = parents_in(mounts, own);
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(found, expected, "{mounts}{own}");
        }
    }

    #[test]
    fn stat_with_an_odd_name() {
        let text = "12 (a) b) S 3 12 12 0 -1 0 1 2 3 4 10 20 30 40 20 0 1 0 555 6 7";
        let expected = Stat {
            pid: 12,
            parent: 3,
            is_zombie: false,
            began: 555,
        };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("12 (a) S 3"), None);
    }

    fn stat(pid: u32, parent: u32, began: u64) -> Stat {
        Stat {
            pid,
            parent,
            is_zombie: false,
            began,
        }
    }

    #[test]
    fn a_tree_is_followed() {
        let mut seen = BTreeSet::new();
        let first = Some(10);
        follow(
            first,
            &mut seen,
            &[
                stat(12, 11, 1),
                stat(11, 10, 1),
                stat(10, 1, 1),
                stat(9, 1, 1),
            ],
        );
        assert_eq!(seen, BTreeSet::from([(10, 1), (11, 1), (12, 1)]));
        // 11 ended, 12 came to somebody else, and another process has the number 11.
        follow(
            first,
            &mut seen,
            &[stat(12, 1, 1), stat(10, 1, 1), stat(11, 1, 2)],
        );
        assert_eq!(seen, BTreeSet::from([(10, 1), (12, 1)]));
    }

    #[test]
    fn a_group_without_an_account_is_none() {
        for (file, text, expected) in [
            ("cgroup.procs", "", false),
            ("cpu.stat", "nr_periods 0\n", false),
            ("cpu.stat", "usage_usec 12\nuser_usec 5\n", true),
            ("cpuacct.usage", "0\n", true),
        ] {
            let directory = tempfile::tempdir().expect("a directory");
            fs::write(directory.path().join(file), text).expect("a file");
            assert_eq!(has_account(directory.path()), expected, "{file}: {text}");
        }
    }
}
