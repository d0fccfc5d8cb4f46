//! Other people's programs, and limits of this one. A missing program skips a test, loudly.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::wait;

/// Where a program is, if it is installed. Says so when it is not.
pub fn find(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed (Debian package: {package})");
    }
    found
}

/// Runs a program with `input` on its standard input.
///
/// # Panics
/// When it cannot be started.
pub fn run(program: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that does not read its input to the end is none of our business.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("our own child")
}

/// Runs a program, and fails with its words unless it ends with 0.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn succeed(program: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let output = run(program, arguments, input);
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}\n{}{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A program that runs until it is dropped.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Starts it with nothing to read.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(program: &Path, arguments: &[&str], directory: &Path) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        Self(child.expect("the program starts"))
    }

    /// Fails if it has ended.
    ///
    /// # Panics
    /// When it has.
    pub fn check(&mut self) {
        if let Some(status) = self.0.try_wait().expect("our own child") {
            panic!("the program ended with {status}");
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A small file system of memory, mounted until this is dropped.
#[derive(Debug)]
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// One of this size; `None`, and a message, where mounting is not permitted.
    ///
    /// # Panics
    /// When there is no room for a directory.
    pub fn mount(size: &str) -> Option<Self> {
        let program = find("mount", "mount")?;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_string_lossy().into_owned();
        let options = format!("size={size},mode=0700");
        let output = run(
            &program,
            &["-t", "tmpfs", "-o", &options, "tmpfs", &path],
            b"",
        );
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            eprintln!(
                "SKIPPED: no small disk can be mounted here: {}",
                error.trim()
            );
            return None;
        }
        Some(Self(directory))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.0.path().to_string_lossy().into_owned();
        if let Some(program) = find("umount", "mount") {
            // The server's last descriptors may close a moment after its process is gone.
            let mut tries = 0;
            wait::until("the small disk is unmounted", || {
                tries += 1;
                (run(&program, &[&path], b"").status.success() || tries > 100).then_some(())
            });
        }
    }
}

/// Raises the limit of open descriptors to what is needed; `None`, and a message, if it is not
/// permitted. Children inherit it.
pub fn raise_descriptors(needed: u64) -> Option<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Some(());
    }
    limit.current = Some(needed);
    limit.maximum = limit.maximum.map(|maximum| maximum.max(needed));
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("SKIPPED: {needed} open descriptors are not permitted here: {error}");
        return None;
    }
    Some(())
}
