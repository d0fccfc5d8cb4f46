//! The `mailrail` binary as an operator meets it: exit codes, and what goes to which stream.

use std::path::Path;
use std::process::{Command, Output};

fn mailrail(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mailrail"))
        .args(arguments)
        .output()
        .expect("the binary is built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file with `text` in a directory of its own.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("mailrail.toml");
    std::fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("a path of ASCII").to_owned();
    (directory, path)
}

#[test]
fn version_and_help_are_answers() {
    let version = mailrail(&["--version"]);
    assert_eq!(
        stdout(&version),
        concat!("mailrail ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(version.status.code(), Some(0));
    let help = mailrail(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["serve", "check", "demo", "queue", "spool", "Exit codes"] {
        assert!(stdout(&help).contains(word), "{word} in {}", stdout(&help));
    }
}

#[test]
fn wrong_arguments_end_with_2() {
    for arguments in [
        &[][..],
        &["surf"],
        &["serve", "--port", "25"],
        &["check"],
        &["queue"],
        &["demo", "--messages", "0"],
        &["demo", "--messages", "many"],
        &["demo", "--shards", "0"],
        &["serve", "--config"],
    ] {
        let output = mailrail(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(stderr(&output).contains("Usage:") || stderr(&output).contains("--help"));
    }
}

#[test]
fn check_shows_the_settings_and_says_ok() {
    let (_directory, path) = file("hostname = \"mx.example.com\"\nshards = 3\n");
    let output = mailrail(&["check", "--config", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(
        shown.starts_with("hostname = \"mx.example.com\"\n"),
        "{shown}"
    );
    assert!(shown.contains("shards = 3\n"), "{shown}");
    assert!(shown.ends_with("\nok\n"), "{shown}");
}

#[test]
fn a_wrong_file_ends_every_command_with_2_and_one_line() {
    let (_directory, path) = file("[queue]\nretry_interval = \"0s\"\n");
    for command in ["serve", "check", "queue"] {
        let output = mailrail(&[command, "--config", &path]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert_eq!(stdout(&output), "", "{command}");
        let expected = format!(
            "mailrail: {path}:2: queue.retry_interval: \"0s\" is no time at all; \
             the default is \"20m\"\n"
        );
        assert_eq!(stderr(&output), expected, "{command}");
    }
    let output = mailrail(&["serve", "--config", "/does/not/exist.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!Path::new("/does/not/exist.toml").exists());
    assert!(stderr(&output).contains("/does/not/exist.toml: cannot be read: No such file"));
}
