//! The counts of instructions that `benches/instructions.toml` keeps: read, compared, written. Pure; what counts
//! them is `benches/tests/instructions.rs`.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A count may lie so far from the kept one, in percent of it, in both directions.
pub const TOLERANCE_PERCENT: u64 = 2;

/// What counts depend on. Those of other conditions are not compared.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// The compiler, as `rustc --version` says.
    pub rustc: String,
    /// The processor's architecture.
    pub arch: String,
    /// The C library, as `getconf GNU_LIBC_VERSION` says: copies and the heap are its.
    pub libc: String,
}

impl Conditions {
    /// What is not the same here as there.
    #[must_use]
    pub fn difference(&self, here: &Self) -> Option<String> {
        let pairs = [
            ("rustc", &self.rustc, &here.rustc),
            ("arch", &self.arch, &here.arch),
            ("libc", &self.libc, &here.libc),
        ];
        let mut other = pairs.into_iter().filter(|(_, kept, here)| kept != here);
        other.next().map(|(name, kept, here)| {
            format!("{name} is {here:?}, the kept counts are of {kept:?}")
        })
    }
}

/// Counts and what they depend on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What they depend on.
    pub conditions: Conditions,
    /// Instructions by the name of what was counted.
    pub counts: BTreeMap<String, u64>,
}

/// One count of this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What was counted.
    pub name: String,
    /// What one of it is.
    pub one: String,
    /// Instructions for one.
    pub count: u64,
}

impl Kept {
    /// Reads the file.
    ///
    /// # Errors
    /// If it is no such file; the text says where and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Every count that is not what was kept: too many, too few, new, or gone. None is good.
    #[must_use]
    pub fn compare(&self, counted: &[Counted]) -> Vec<String> {
        let mut found: Vec<String> = counted.iter().filter_map(|one| self.verdict(one)).collect();
        let gone = self
            .counts
            .keys()
            .filter(|kept| !counted.iter().any(|one| one.name == **kept));
        found.extend(gone.map(|name| format!("{name}: kept, but nobody counts it any more")));
        found
    }

    fn verdict(&self, counted: &Counted) -> Option<String> {
        let Counted { name, one, count } = counted;
        let Some(&kept) = self.counts.get(name) else {
            return Some(format!("{name}: {count} per {one}, and no count is kept"));
        };
        let is_near = count.abs_diff(kept) * 100 <= kept * TOLERANCE_PERCENT;
        let percent = (*count as f64 - kept as f64) * 100.0 / kept.max(1) as f64;
        (!is_near).then(|| format!("{name}: {count} per {one}, kept are {kept}: {percent:+.1} %"))
    }
}

const HEAD: &str = "\
# Instructions of the engine and of the server's pure rooms, counted by callgrind. `cargo test --workspace` fails
# where a count is more than 2 % away from this file, in either direction: what became cheaper is written down, too.
# To write the file anew, with the change that it belongs to:
#
#     INSTRUCTIONS=write cargo test -p mailrail-benches --test instructions -- --nocapture
#
# What makes the counts the same on every machine, as far as that can be:
# - They are of `benches/counted`, built with the profile `counted` of the workspace (optimised, one unit a crate, no
#   link-time optimisation) and without any RUSTFLAGS or CARGO_PROFILE of who runs the test.
# - memchr is without std there, and so takes SSE2 and never asks the processor for more.
# - The C library is told to take its SSE2 routines (GLIBC_TUNABLES), and the environment is otherwise empty.
# - crc32c takes the instruction of SSE 4.2, which valgrind has on every processor that has it.
# - A routine runs so many rounds and then twice as many, and the difference is divided: no start of a process is in it.
# Other compilers, architectures and C libraries count otherwise: there the test compares nothing, and says so.
";

/// The file, with what stands in front of it.
#[must_use]
pub fn render(conditions: &Conditions, counted: &[Counted]) -> String {
    let Conditions { rustc, arch, libc } = conditions;
    let mut text = format!(
        "{HEAD}\n[conditions]\nrustc = {rustc:?}\narch = {arch:?}\nlibc = {libc:?}\n\n[counts]\n"
    );
    for Counted { name, one, count } in counted {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:42} # per {one}", format!("{name} = {count}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions() -> Conditions {
        Conditions {
            rustc: "rustc 1.95.0".to_owned(),
            arch: "x86_64".to_owned(),
            libc: "glibc 2.36".to_owned(),
        }
    }

    fn counted(name: &str, count: u64) -> Counted {
        Counted {
            name: name.to_owned(),
            one: "command".to_owned(),
            count,
        }
    }

    fn kept(counted: &[Counted]) -> Kept {
        Kept::parse(&render(&conditions(), counted)).expect("what was rendered is read")
    }

    #[test]
    fn both_directions_count() {
        let kept = kept(&[counted("parse", 1000)]);
        for (count, is_good) in [
            (1000, true),
            (1020, true),
            (1021, false),
            (980, true),
            (979, false),
            (0, false),
        ] {
            let found = kept.compare(&[counted("parse", count)]);
            assert_eq!(found.is_empty(), is_good, "{count}: {found:?}");
        }
    }

    #[test]
    fn new_and_gone_are_told() {
        let found = kept(&[counted("old", 1000)]).compare(&[counted("new", 1000)]);
        assert_eq!(
            found,
            [
                "new: 1000 per command, and no count is kept",
                "old: kept, but nobody counts it any more"
            ]
        );
    }

    #[test]
    fn other_conditions_are_named() {
        let kept = kept(&[]);
        assert_eq!(kept.conditions.difference(&conditions()), None);
        let later = Conditions {
            rustc: "rustc 1.96.0".to_owned(),
            ..conditions()
        };
        let found = kept.conditions.difference(&later).expect("a difference");
        assert!(
            found.contains("rustc 1.96.0") && found.contains("rustc 1.95.0"),
            "{found}"
        );
    }

    #[test]
    fn a_file_with_something_else_in_it_is_refused() {
        let text = render(&conditions(), &[]).replace("[counts]", "[count]");
        assert!(Kept::parse(&text).is_err());
    }
}
