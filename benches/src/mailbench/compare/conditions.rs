//! Where a comparison runs: what /proc and /sys say of the machine, and which compiler made a program. The
//! functions that understand a text are pure; `machine`, `build_of` and `started` alone read anything. What
//! a scenario sets is not known here.

use super::results::Machine;
use mailrail_runtime::clock;
use memchr::memmem;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// A program larger than this is not searched for its compiler.
const PROGRAM_LEN_MAX: u64 = 512 << 20;

/// The machine, with the disk that a directory is on. What cannot be read is left empty.
pub(crate) fn machine(directory: &Path) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (processor, mounts) = (read("/proc/cpuinfo"), read("/proc/self/mountinfo"));
    let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let mount = mount_of(&directory, &mounts);
    let name = rustix::system::uname();
    Machine {
        cpu_model: cpu_model(&processor),
        core_count: thread::available_parallelism().map_or(1, |count| count.get() as u32),
        hypervisor: hypervisor(&processor, &read("/sys/devices/virtual/dmi/id/sys_vendor")),
        kernel: format!(
            "{} {}",
            name.sysname().to_string_lossy(),
            name.release().to_string_lossy()
        ),
        memory_bytes: memory_bytes(&read("/proc/meminfo")),
        disk: mount.as_ref().map(disk).unwrap_or_default(),
        file_system: mount.map(|mount| mount.in_words()).unwrap_or_default(),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            .trim()
            .to_owned(),
        load_before: load(&read("/proc/loadavg")),
        mailbench: own_build(),
    }
}

/// The compiler's name as it stands in a program, where it stands there: `rustc 1.95.0`, `GCC: (Debian …)`.
pub(crate) fn build_of(program: &Path) -> Option<String> {
    let len = fs::metadata(program).ok()?.len();
    if len > PROGRAM_LEN_MAX {
        return None;
    }
    compiler(&fs::read(program).ok()?)
}

/// Now, in UTC, for `Results::started`.
pub(crate) fn started() -> String {
    utc(clock::unix_millis())
}

fn own_build() -> String {
    let profile = if cfg!(debug_assertions) {
        "debug: its figures are nothing to compare"
    } else {
        "release"
    };
    let compiler = build_of(Path::new("/proc/self/exe"));
    let compiler = compiler.as_deref().unwrap_or("compiler unknown");
    format!("{} ({compiler}, {profile})", env!("CARGO_PKG_VERSION"))
}

/// rustc and gcc leave their names in the section `.comment`. A program of Rust holds both: its own and
/// that of the C library's start.
fn compiler(program: &[u8]) -> Option<String> {
    let printable = |at: usize| {
        let rest = &program[at..program.len().min(at + 80)];
        let end = rest.iter().position(|byte| !(b' '..=b'~').contains(byte));
        String::from_utf8_lossy(&rest[..end.unwrap_or(rest.len())]).into_owned()
    };
    const RUST: &[u8] = b"rustc version ";
    // This program holds the words themselves, too: a number follows where they mean something.
    let rust = memmem::find_iter(program, RUST).find_map(|at| {
        let text = printable(at + RUST.len());
        let number = text.split([' ', ')']).next().unwrap_or_default();
        let is_number = number.starts_with(|first: char| first.is_ascii_digit());
        is_number.then(|| format!("rustc {number}"))
    });
    rust.or_else(|| memmem::find(program, b"GCC: (").map(printable))
}

fn cpu_model(processor: &str) -> String {
    field(processor, "model name")
        .or_else(|| field(processor, "Model"))
        .unwrap_or("unknown")
        .to_owned()
}

fn hypervisor(processor: &str, vendor: &str) -> String {
    let is_virtual = field(processor, "flags")
        .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    match (is_virtual, vendor.trim()) {
        (false, _) => String::new(),
        (true, "") => "virtual machine".to_owned(),
        (true, vendor) => format!("virtual machine ({vendor})"),
    }
}

fn memory_bytes(text: &str) -> u64 {
    let kib = field(text, "MemTotal").and_then(|value| value.split(' ').next()?.parse().ok());
    kib.unwrap_or(0_u64) * 1024
}

fn load(text: &str) -> f64 {
    let first = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    first.unwrap_or(0.0)
}

/// The first `name : value` of a file of /proc.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

/// What is mounted where a directory is.
#[derive(Debug, PartialEq)]
struct Mount {
    /// Major and minor number, as in /sys/dev/block.
    device: String,
    kind: String,
    options: String,
    source: String,
}

impl Mount {
    fn in_words(&self) -> String {
        format!("{} ({})", self.kind, self.options)
    }
}

/// The mount with the longest path above the directory; of two on one path the later one covers the other.
fn mount_of(directory: &Path, mounts: &str) -> Option<Mount> {
    let parse = |line: &str| {
        let (before, behind) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let mut behind = behind.split(' ');
        let (device, point, options) = (before.get(2)?, before.get(4)?, before.get(5)?);
        let mount = Mount {
            device: (*device).to_owned(),
            kind: behind.next()?.to_owned(),
            source: behind.next().unwrap_or_default().to_owned(),
            options: (*options).to_owned(),
        };
        let point = PathBuf::from(point.replace("\\040", " "));
        directory
            .starts_with(&point)
            .then(|| (point.components().count(), mount))
    };
    let above = mounts.lines().filter_map(parse);
    above.max_by_key(|(depth, _)| *depth).map(|(_, it)| it)
}

/// Name, size, kind and cache of the block device, read below /sys/dev/block.
fn disk(mount: &Mount) -> String {
    let link = Path::new("/sys/dev/block").join(&mount.device);
    let Ok(mut device) = fs::canonicalize(link) else {
        return mount.source.clone();
    };
    // A partition has no queue: its disk, one folder up, does.
    if !device.join("queue").exists() {
        device.pop();
    }
    let read = |name: &str| {
        let text = fs::read_to_string(device.join(name)).unwrap_or_default();
        text.trim().to_owned()
    };
    let name = device.file_name().map(|name| name.to_string_lossy());
    disk_in_words(&Disk {
        name: &name.unwrap_or_default(),
        model: &read("device/model"),
        sectors: &read("size"),
        rotational: &read("queue/rotational"),
        cache: &read("queue/write_cache"),
    })
}

/// Texts of the files that they are named after.
struct Disk<'a> {
    name: &'a str,
    model: &'a str,
    /// Of 512 octets each, whatever the disk's own are.
    sectors: &'a str,
    rotational: &'a str,
    cache: &'a str,
}

fn disk_in_words(disk: &Disk<'_>) -> String {
    let mut words = vec![disk.name.to_owned()];
    if !disk.model.is_empty() {
        words.push(disk.model.to_owned());
    }
    if let Ok(sectors) = disk.sectors.parse::<u64>() {
        words.push(format!("{:.0} GB", sectors as f64 * 512.0 / 1e9));
    }
    match disk.rotational {
        "0" => words.push("not rotational".to_owned()),
        // A virtual disk says so of itself whatever it is.
        "1" => words.push("says it is rotational".to_owned()),
        _ => {}
    }
    if !disk.cache.is_empty() {
        words.push(format!("cache: {}", disk.cache));
    }
    words.join(", ")
}

/// A time of the wall clock as `2026-01-31T12:00:00Z`.
fn utc(unix_ms: u64) -> String {
    let (days, second) = (unix_ms / 86_400_000, unix_ms / 1000 % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z",
        second % 60
    )
}

/// Year, month and day of a number of days since 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date() {
        for (unix_ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (1_798_761_599_000, "2026-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(unix_ms), expected);
        }
    }

    #[test]
    fn the_longest_mount_above_is_the_one() {
        let mounts = "\
            27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
            31 27 0:27 / /data rw,noatime - xfs /dev/sdb1 rw\n\
            32 27 0:28 / /data rw - tmpfs tmpfs rw\n\
            33 27 0:29 / /dat ro - xfs /dev/sdc1 rw\n\
            34 27 0:30 / /with\\040space rw - btrfs /dev/sdd rw\n\
            a line that is none\n";
        for (directory, device, words) in [
            ("/home/x", "254:0", "ext4 (rw,relatime)"),
            ("/data/spool", "0:28", "tmpfs (rw)"),
            ("/database", "254:0", "ext4 (rw,relatime)"),
            ("/with space/x", "0:30", "btrfs (rw)"),
        ] {
            let mount = mount_of(Path::new(directory), mounts).expect(directory);
            assert_eq!((&*mount.device, &*mount.in_words()), (device, words));
        }
        assert_eq!(mount_of(Path::new("/x"), ""), None);
    }

    #[test]
    fn the_processor_is_named() {
        let bare = "processor\t: 0\nmodel name\t: Made Up 9000\nflags\t\t: fpu sse2\n";
        let guest = "model name\t: Made Up 9000\nflags\t\t: fpu hypervisor sse2\n";
        assert_eq!(cpu_model(bare), "Made Up 9000");
        assert_eq!(cpu_model(""), "unknown");
        assert_eq!(hypervisor(bare, "Maker"), "");
        assert_eq!(hypervisor(guest, ""), "virtual machine");
        assert_eq!(hypervisor(guest, "Maker\n"), "virtual machine (Maker)");
        let memory = "MemTotal:       24668864 kB\nMemFree: 1 kB\n";
        assert_eq!(
            (memory_bytes(memory), memory_bytes("")),
            (25_260_916_736, 0)
        );
        assert_eq!((load("0.42 0.50 0.61 1/123 456"), load("")), (0.42, 0.0));
    }

    #[test]
    fn the_disk_is_named() {
        let disk = Disk {
            name: "vda",
            model: "",
            sectors: "2000000",
            rotational: "1",
            cache: "write back",
        };
        let words = "vda, 1 GB, says it is rotational, cache: write back";
        assert_eq!(disk_in_words(&disk), words);
        let disk = Disk {
            name: "nvme0n1",
            model: "Made Up Disk",
            sectors: "",
            rotational: "0",
            cache: "",
        };
        assert_eq!(
            disk_in_words(&disk),
            "nvme0n1, Made Up Disk, not rotational"
        );
    }

    #[test]
    fn the_compiler_is_found_in_the_program() {
        let rust = b"\0GCC: (Debian 12) 12.2.0\0rustc version 1.95.0 (abc 2026-04-14)\0";
        assert_eq!(compiler(rust).as_deref(), Some("rustc 1.95.0"));
        let words = b"rustc version GCC: (\0rustc version 1.95.0 (abc 2026-04-14)\0";
        assert_eq!(compiler(words).as_deref(), Some("rustc 1.95.0"));
        assert_eq!(
            compiler(&rust[..25]).as_deref(),
            Some("GCC: (Debian 12) 12.2.0")
        );
        assert_eq!(compiler(b"#!/bin/sh\n"), None);
        assert_eq!(build_of(Path::new("/nowhere")), None);
    }
}
