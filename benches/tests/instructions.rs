//! The engine and the server's pure rooms take as many instructions as `benches/instructions.toml` says. What is
//! counted is in `benches/counted`; here it is built, run under valgrind, and its counts are compared.
//!
//! Nothing here depends on time: callgrind counts the same on a busy machine.

use mailrail_benches::instructions::{Conditions, Counted, Kept, render};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A routine runs so often, and then twice as often.
const ROUNDS: u64 = 100;

/// Callgrind processes side by side: as many as the small machines that run this have cores.
const AT_ONCE: usize = 2;

/// The C library's vectors are those that every x86-64 has, whatever valgrind shows of the processor.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,\
    -AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2,-BMI1,-BMI2,-LZCNT,-MOVBE,-RTM";

/// A word that the test harness does not swallow when the test passes.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "instructions: {text}");
}

/// The first line that a program writes, if it is there and succeeds.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.lines().next().map(str::to_owned))?
}

fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| env!("CARGO").into(), PathBuf::from)
}

fn conditions() -> Conditions {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let unknown = || "unknown".to_owned();
    Conditions {
        rustc: first_line(&rustc, &["--version"]).unwrap_or_else(unknown),
        arch: std::env::consts::ARCH.to_owned(),
        libc: first_line("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_else(unknown),
    }
}

/// Builds what is counted, with nothing but the profile of the workspace to go by.
fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("counted");
    let mut command = Command::new(cargo());
    command
        .args([
            "build",
            "--quiet",
            "--profile",
            "counted",
            "-p",
            "mailrail-counted",
        ])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/counted/Cargo.toml"),
        ])
        .arg("--target-dir")
        .arg(&target);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let changes_code = name.ends_with("RUSTFLAGS") || name.starts_with("CARGO_PROFILE_");
        if changes_code || name.starts_with("CARGO_BUILD_") {
            command.env_remove(&*name);
        }
    }
    let status = command.status().expect("cargo, which runs this test");
    assert!(status.success(), "what is counted does not build");
    target.join("counted").join("counted")
}

/// Instructions of a process that runs so many rounds of a routine.
fn instructions(counted: &Path, routine: usize, rounds: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(counted)
        .args([routine.to_string(), rounds.to_string()])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GLIBC_TUNABLES", TUNABLES)
        .output()
        .expect("valgrind, which was there before");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "routine {routine}: {told}");
    let number = told
        .split_once("Collected : ")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("callgrind tells no count: {told}"))
}

/// A routine in the list that `counted` prints: its name, things in a round, what one is.
fn count(counted: &Path, routine: usize, line: &str) -> Counted {
    let mut fields = line.split('\t');
    let mut field = || fields.next().expect("three fields").to_owned();
    let (name, in_a_round, one) = (field(), field(), field());
    let in_a_round: u64 = in_a_round.parse().expect("a number");
    let once = instructions(counted, routine, ROUNDS);
    let twice = instructions(counted, routine, 2 * ROUNDS);
    Counted {
        name,
        one,
        count: (twice - once) / (ROUNDS * in_a_round),
    }
}

fn count_all(counted: &Path) -> Vec<Counted> {
    let output = Command::new(counted).output().expect("it was just built");
    let list = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<(usize, &str)> = list.lines().enumerate().collect();
    assert!(!lines.is_empty(), "nothing to count");
    let some = |first: usize| -> Vec<(usize, Counted)> {
        let lines = lines.iter().skip(first).step_by(AT_ONCE);
        lines
            .map(|&(routine, line)| (routine, count(counted, routine, line)))
            .collect()
    };
    let mut all: Vec<(usize, Counted)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..AT_ONCE)
            .map(|first| scope.spawn(move || some(first)))
            .collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().expect("its own panic says why"));
        ended.flatten().collect()
    });
    all.sort_by_key(|&(routine, _)| routine);
    all.into_iter().map(|(_, counted)| counted).collect()
}

#[test]
fn as_many_as_are_kept() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml");
    let is_to_be_written = match std::env::var("INSTRUCTIONS").as_deref() {
        Ok("write") => true,
        Ok(other) => panic!("INSTRUCTIONS={other}: only `write` is known"),
        Err(_) => false,
    };
    if first_line("valgrind", &["--version"]).is_none() {
        assert!(!is_to_be_written, "valgrind is not installed");
        return tell("SKIPPED: valgrind is not installed (Debian package: valgrind)");
    }
    let here = conditions();
    if is_to_be_written {
        let counted = count_all(&build());
        std::fs::write(&path, render(&here, &counted)).expect("the file can be written");
        return tell(&format!(
            "{} counts written to {}",
            counted.len(),
            path.display()
        ));
    }
    let text = std::fs::read_to_string(&path).expect("the file is kept beside the benches");
    let kept = Kept::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if let Some(difference) = kept.conditions.difference(&here) {
        return tell(&format!("SKIPPED: nothing to compare with, {difference}"));
    }
    let found = kept.compare(&count_all(&build()));
    assert!(
        found.is_empty(),
        "{}\nif that is meant: INSTRUCTIONS=write cargo test -p mailrail-benches --test instructions",
        found.join("\n")
    );
}
