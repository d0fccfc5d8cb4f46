//! A tiny comparison by the program itself: a real server between real ends, and the values that come of it.
//! Figures are not judged here: a debug build has none.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const MESSAGES: u64 = 100;

/// `target/PROFILE`.
fn profile_directory() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_mailbench"));
    program.parent().expect("a directory").to_owned()
}

/// The server's program: `MAILRAIL`, or that of this profile, which is built where it is missing.
fn mailrail() -> PathBuf {
    if let Some(path) = std::env::var_os("MAILRAIL") {
        return path.into();
    }
    let path = profile_directory().join("mailrail");
    if !path.exists() {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "build",
            "--quiet",
            "--package",
            "mailrail",
            "--bin",
            "mailrail",
        ]);
        if profile_directory().ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo.status().expect("cargo starts");
        assert!(status.success(), "the server does not build");
    }
    path
}

fn compare(arguments: &[&str], out: &Path) -> Output {
    command(arguments, out).output().expect("mailbench starts")
}

fn command(arguments: &[&str], out: &Path) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailbench"));
    command
        .arg("compare")
        .args(arguments)
        .args(["--limit-s", "60"])
        .arg("--adapters")
        .arg(here.join("adapters"))
        .arg("--mailrail")
        .arg(mailrail())
        .arg("--out")
        .arg(out);
    command
}

/// A directory on the disk that is built on: a file system of memory may not do what a spool needs.
fn directory(name: &str) -> PathBuf {
    let path = profile_directory().with_file_name("tmp").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

fn results(out: &Path) -> Value {
    let text = std::fs::read(out.join("results.json")).expect("results");
    serde_json::from_slice(&text).expect("JSON")
}

/// The rounds of a server in a scenario.
fn rounds<'a>(results: &'a Value, scenario: &str, server: &str) -> &'a [Value] {
    let named = |list: &'a Value, key: &str, name: &str| -> &'a Value {
        let list = list.as_array().expect("a list");
        let found = list.iter().find(|value| value[key] == name);
        found.unwrap_or_else(|| panic!("{name} in {list:#?}"))
    };
    let scenario = named(&results["scenarios"], "name", scenario);
    let server = named(&scenario["servers"], "server", server);
    assert!(server["missing"].is_null(), "{server:#}");
    server["rounds"].as_array().expect("rounds")
}

#[test]
fn every_message_of_a_tiny_comparison_is_told_of() {
    let out = directory("compare-tiny");
    let arguments = [
        "--scenario",
        "relay-50",
        "--scenario",
        "large",
        "--server",
        "mailrail",
        "--ends",
        "mailbench",
        "--rounds",
        "1",
        "--messages",
        "100",
    ];
    let output = compare(&arguments, &out);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let results = results(&out);
    for (scenario, server) in [
        ("relay-50", "mailrail"),
        ("large", "mailrail"),
        ("large", "direct"),
    ] {
        let [round] = rounds(&results, scenario, server) else {
            panic!("one round of {server}: {results:#}");
        };
        assert_eq!(round["messages"], MESSAGES, "{round:#}");
        assert_eq!(
            (&round["lost"], &round["duplicates"]),
            (&0.into(), &0.into())
        );
        let used = |of: &str| {
            let cpu = &round[of];
            cpu["user_us"].as_u64().unwrap_or(0) + cpu["system_us"].as_u64().unwrap_or(0)
        };
        assert_eq!(used("cpu") > 0, server == "mailrail", "{round:#}");
        assert!(used("source_cpu") > 0 && used("sink_cpu") > 0, "{round:#}");
        assert_eq!(round["latencies"]["final"]["count"], MESSAGES, "{round:#}");
    }
    let large = &rounds(&results, "large", "mailrail")[0];
    assert!(
        large["copied_bytes"].is_u64(),
        "mailrail tells what it copied: {large:#}"
    );
    let left: Vec<_> = std::fs::read_dir(&out)
        .expect("a directory")
        .flatten()
        .collect();
    let is_left =
        |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("run-");
    assert!(
        !left.iter().any(is_left),
        "spools and files of copies have gone: {left:?}"
    );
}

#[test]
fn a_server_that_fails_is_told_of_and_the_others_go_on() {
    let out = directory("compare-failing");
    let program = out.join("no-server");
    std::fs::write(&program, "#!/bin/sh\necho cannot >&2\nexit 3\n").expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("executable");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_mailbench"))
        .args(["compare", "--scenario", "large", "--server", "mailrail"])
        .args(["--rounds", "1", "--messages", "20", "--adapters"])
        .arg(here.join("adapters"))
        .arg("--mailrail")
        .arg(&program)
        .arg("--out")
        .arg(&out)
        .output()
        .expect("mailbench starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let results = results(&out);
    assert_eq!(rounds(&results, "large", "direct").len(), 1);
    let servers = results["scenarios"][0]["servers"]
        .as_array()
        .expect("a list");
    let mailrail = servers.iter().find(|of| of["server"] == "mailrail");
    let why = mailrail
        .and_then(|of| of["missing"].as_str())
        .unwrap_or_default();
    assert!(why.contains("ended before it greeted"), "{why}");
}

#[test]
fn postfix_takes_its_turn_where_it_is_installed() {
    let is_there =
        Path::new("/usr/sbin/postfix").exists() && Path::new("/usr/sbin/smtp-sink").exists();
    if !is_there || !rustix::process::geteuid().is_root() {
        eprintln!("left out: postfix is not installed, or this is not root");
        return;
    }
    let out = directory("compare-postfix");
    let arguments = [
        "--scenario",
        "relay-50",
        "--rounds",
        "1",
        "--messages",
        "100",
    ];
    let output = compare(&arguments, &out);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let results = results(&out);
    for server in ["mailrail", "postfix"] {
        let round = &rounds(&results, "relay-50", server)[0];
        assert_eq!(round["messages"], MESSAGES, "{round:#}");
        assert!(round["lost"].is_null(), "these ends cannot tell: {round:#}");
    }
}

#[test]
fn what_is_not_known_is_named() {
    let out = directory("compare-unknown");
    for (arguments, expected) in [
        (["--scenario", "nothing"], "no scenario \"nothing\""),
        (["--server", "nobody"], "no server \"nobody\""),
    ] {
        let output = compare(&arguments, &out);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{said}");
    }
    let output = compare(&["--list"], &out);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("relay-100-fresh") && said.contains("mailrail"),
        "{said}"
    );
}

#[test]
fn nobody_outlives_a_comparison_that_is_interrupted() {
    let out = directory("compare-interrupted");
    let mut command = command(&["--scenario", "large", "--server", "mailrail"], &out);
    command.args(["--rounds", "100000", "--messages", "20"]);
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("mailbench starts");
    let said = child.stderr.take().expect("its stderr");
    let mut lines = BufReader::new(said).lines();
    let is_round = |line: &String| line.contains("round 2/");
    let seen = lines.by_ref().map_while(Result::ok).find(is_round);
    assert!(seen.is_some(), "it has begun");
    let of_ours = || processes_that_name(&out.display().to_string());
    assert!(
        !of_ours().is_empty(),
        "the server and the sink have their files there"
    );
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupted");
    // So that it can go on speaking.
    let rest = lines.map_while(Result::ok).last().unwrap_or_default();
    assert!(!child.wait().expect("it ends").success());
    assert!(rest.contains("interrupted"), "{rest}");
    assert_eq!(of_ours(), Vec::<String>::new());
}

/// The command lines of processes that have a text in theirs.
fn processes_that_name(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let line = |entry: std::fs::DirEntry| {
        let bytes = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
    };
    let is_it = |line: &String| line.contains(text) && !line.contains(" compare ");
    entries.filter_map(line).filter(is_it).collect()
}
