//! What processes have used so far: processor time, precise in sum and divided into user and system time by the
//! kernel's ticks; resident memory. Read from control groups where a server has one, else from /proc.

use crate::report::Cpu;
use std::fs;
use std::path::{Path, PathBuf};

/// Whose use is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// All that ever ran in a control group: its directory (of `cpuacct`, or of the unified hierarchy).
    Group(PathBuf),
    /// These processes, and what their ended children were waited for with.
    Processes(Vec<u32>),
}

/// Processor time so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// In sum, by the scheduler's clock.
    pub(crate) total_ns: u64,
    /// In user space, and in the kernel: their proportion is what counts.
    pub(crate) user: u64,
    pub(crate) system: u64,
}

impl Whose {
    /// Processor time so far; processes that are no more have used nothing.
    pub(crate) fn used(&self) -> Used {
        match self {
            Self::Group(directory) => group(directory),
            Self::Processes(pids) => {
                pids.iter()
                    .map(|pid| process(*pid))
                    .fold(Used::default(), |sum, one| Used {
                        total_ns: sum.total_ns + one.total_ns,
                        user: sum.user + one.user,
                        system: sum.system + one.system,
                    })
            }
        }
    }
}

impl Used {
    /// What was used since `before`, in microseconds: the precise sum, divided as the ticks of the time between say.
    pub(crate) fn since(self, before: Self) -> Cpu {
        let total_us = self.total_ns.saturating_sub(before.total_ns) / 1000;
        let user = self.user.saturating_sub(before.user);
        let system = self.system.saturating_sub(before.system);
        let user_us = match user + system {
            // Less than a tick: nobody knows, so it is called the kernel's, where most of a relay's time goes.
            0 => 0,
            ticks => (u128::from(total_us) * u128::from(user) / u128::from(ticks)) as u64,
        };
        Cpu {
            user_us,
            system_us: total_us - user_us,
        }
    }
}

fn group(directory: &Path) -> Used {
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
    let usage = read("cpuacct.usage");
    if usage.is_empty() {
        return unified(&read("cpu.stat"));
    }
    let stat = read("cpuacct.stat");
    Used {
        total_ns: usage.trim().parse().unwrap_or(0),
        user: keyed(&stat, "user"),
        system: keyed(&stat, "system"),
    }
}

/// `cpu.stat` of the unified hierarchy.
fn unified(stat: &str) -> Used {
    Used {
        total_ns: keyed(stat, "usage_usec") * 1000,
        user: keyed(stat, "user_usec"),
        system: keyed(stat, "system_usec"),
    }
}

/// The number behind a key at the start of a line; 0 if there is none.
fn keyed(text: &str, key: &str) -> u64 {
    let number = |line: &str| line.strip_prefix(key)?.trim().parse().ok();
    text.lines().find_map(number).unwrap_or(0)
}

fn process(pid: u32) -> Used {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let stat = fs::read_to_string(directory.join("stat")).unwrap_or_default();
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let tasks = fs::read_dir(directory.join("task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let of_task = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).ok();
    let running_ns = tasks.filter_map(of_task).map(|text| first(&text)).sum();
    of_process(&stat, running_ns, tick_ns)
}

/// From a process's `stat` and the sum of its threads' run time. Threads that ended are in the ticks alone, and
/// the ticks lag behind: the larger of both is nearer.
fn of_process(stat: &str, running_ns: u64, tick_ns: u64) -> Used {
    let [user, system, children_user, children_system] = ticks(stat);
    let own_ns = running_ns.max((user + system) * tick_ns);
    Used {
        total_ns: own_ns + (children_user + children_system) * tick_ns,
        user: user + children_user,
        system: system + children_system,
    }
}

/// User and system ticks of a process and of its ended children; behind the name, which may hold anything.
fn ticks(stat: &str) -> [u64; 4] {
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut ticks = [0; 4];
    // The first field behind the name is the third of all, utime the fourteenth.
    for (tick, field) in ticks.iter_mut().zip(fields.split(' ').skip(11)) {
        *tick = field.parse().unwrap_or(0);
    }
    ticks
}

fn first(text: &str) -> u64 {
    let word = text.split(' ').next().unwrap_or_default();
    word.parse().unwrap_or(0)
}

/// Resident memory of these processes together, now. What several share is divided among them, so that a server of
/// a hundred processes is not charged its program a hundred times.
pub(crate) fn resident_bytes(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        proportional_bytes(&rollup)
    };
    pids.iter().map(of).sum()
}

/// `Pss` of a `smaps_rollup`.
fn proportional_bytes(rollup: &str) -> u64 {
    let kilobytes = |line: &str| {
        let rest = line.strip_prefix("Pss:")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    rollup.lines().find_map(kilobytes).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "77 (a) b (c) S 1 77 77 0 -1 4194304 100 0 0 0 120 340 7 5 20 0 1 0 99 1 2";

    #[test]
    fn ticks_stand_behind_any_name() {
        assert_eq!(ticks(STAT), [120, 340, 7, 5]);
        assert_eq!(ticks(""), [0; 4]);
        assert_eq!(ticks("77 (x"), [0; 4]);
    }

    #[test]
    fn the_sum_is_of_threads_that_run_and_children_that_ended() {
        const TICK_NS: u64 = 10_000_000;
        for (running_ns, total_ns) in [
            // The threads have run a little longer than the ticks say: they are believed.
            (4_603_000_000, 4_603_000_000 + 120_000_000),
            // A thread has ended and taken its time with it.
            (1_000_000_000, 4_600_000_000 + 120_000_000),
        ] {
            let used = of_process(STAT, running_ns, TICK_NS);
            assert_eq!((used.user, used.system), (127, 345));
            assert_eq!(used.total_ns, total_ns);
        }
    }

    #[test]
    fn a_sum_is_divided_as_the_ticks_between_two_samples_say() {
        let used = |total_ns, user, system| Used {
            total_ns,
            user,
            system,
        };
        for (before, after, user_us, system_us) in [
            (used(0, 0, 0), used(1_000_000, 1, 3), 250, 750),
            (used(5_000, 10, 10), used(5_008_000, 10, 20), 0, 5003),
            (used(5_000, 10, 10), used(9_000, 10, 10), 0, 4),
            // Processes that ended without being waited for have taken their time with them.
            (used(9_000, 10, 10), used(5_000, 8, 8), 0, 0),
        ] {
            let cpu = after.since(before);
            assert_eq!((cpu.user_us, cpu.system_us), (user_us, system_us));
        }
    }

    #[test]
    fn both_kinds_of_control_groups_are_read() {
        let stat = "usage_usec 1500\nuser_usec 500\nsystem_usec 1000\nnr_periods 0\n";
        let expected = Used {
            total_ns: 1_500_000,
            user: 500,
            system: 1000,
        };
        assert_eq!(unified(stat), expected);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        fs::write(path.join("cpu.stat"), stat).expect("written");
        let whose = Whose::Group(path.into());
        assert_eq!(whose.used(), expected);
        fs::write(path.join("cpuacct.usage"), "123456789\n").expect("written");
        fs::write(path.join("cpuacct.stat"), "user 4\nsystem 8\n").expect("written");
        let expected = Used {
            total_ns: 123_456_789,
            user: 4,
            system: 8,
        };
        assert_eq!(whose.used(), expected);
    }

    #[test]
    fn shared_memory_is_divided() {
        let rollup = "5581-7ffe ---p 00000000 00:00 0 [rollup]\nRss:   1900 kB\nPss:    442 kB\n\
                      Pss_Dirty:  90 kB\n";
        assert_eq!(proportional_bytes(rollup), 442 * 1024);
        assert_eq!(proportional_bytes(""), 0);
    }

    #[test]
    fn this_process_has_used_something() {
        let own = std::process::id();
        assert!(Whose::Processes(vec![own]).used().total_ns > 0);
        assert!(resident_bytes(&[own]) > 100_000);
        let nobody = Whose::Processes(vec![u32::MAX]);
        assert_eq!(nobody.used(), Used::default());
    }
}
