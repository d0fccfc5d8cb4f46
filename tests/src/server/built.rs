//! What was built: the workspace with its sources, and the server's program, which is built anew where it
//! is older than they are.
//!
//! It starts no server; with what one is started is `setup`'s.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// `target/tmp`: on the disk that is built on, and not in a file system of memory.
///
/// # Panics
/// When it cannot be made.
pub fn directory_of_tests() -> PathBuf {
    let path = profile_directory().with_file_name("tmp");
    fs::create_dir_all(&path).expect("a directory below target");
    path
}

/// `target/<profile>`, where this very program was built.
pub(crate) fn profile_directory() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let deps = program.parent().expect("a directory");
    deps.parent().expect("the profile's directory").to_owned()
}

/// The server's program; built first if it is missing or older than the sources. `MAILRAIL` in the
/// environment names another one to try.
pub(super) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("MAILRAIL") {
            return path.into();
        }
        let directory = profile_directory();
        let path = directory.join("mailrail");
        let built = fs::metadata(&path)
            .and_then(|metadata| metadata.modified())
            .ok();
        if built.is_none_or(|built| built < newest_source()) {
            let mut cargo =
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args([
                "build",
                "--quiet",
                "--package",
                "mailrail",
                "--bin",
                "mailrail",
            ]);
            if directory.ends_with("release") {
                cargo.arg("--release");
            }
            let status = cargo
                .current_dir(workspace())
                .status()
                .expect("cargo starts");
            assert!(status.success(), "the server does not build");
        }
        path
    })
}

/// The directory of the workspace.
///
/// # Panics
/// Never, in a checkout.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
}

fn newest_source() -> SystemTime {
    ["protocol/src", "runtime/src", "server/src"]
        .iter()
        .flat_map(|directory| sources(&workspace().join(directory)))
        .filter_map(|path| fs::metadata(path).ok()?.modified().ok())
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// All files with Rust source below a directory, sorted.
pub fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.append(&mut sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
