//! Where the programs are that an adapter needs. Nothing is started here.

use super::file::File;
use super::template::Values;
use std::path::{Path, PathBuf};

/// Servers live in these, and the path of an ordinary user has them not.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// What each of the adapter's names was found as, set as a value; or the names that were found nowhere.
pub(super) fn find(file: &File, values: &mut Values) -> Result<(), String> {
    let mut missing = Vec::new();
    for (name, candidates) in &file.programs {
        let mut found = None;
        for candidate in candidates {
            let candidate = values.render(candidate)?;
            found = found.or_else(|| look(&candidate, &path_directories()));
        }
        match found {
            Some(path) => values.set(name, path.display()),
            None => missing.push(format!("{name} not found ({})", candidates.join(", "))),
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("; "))
    }
}

fn path_directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from))
        .collect()
}

fn look(candidate: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    if candidate.contains('/') {
        return std::path::absolute(candidate)
            .ok()
            .filter(|path| path.exists());
    }
    directories
        .iter()
        .map(|directory| directory.join(candidate))
        .find(|path| path.is_file())
}

/// The first directory on the way to this one that not everybody may enter: servers change their user.
pub(super) fn barred(directory: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let ancestors: Vec<&Path> = directory.ancestors().collect();
    let barred = ancestors.into_iter().rev().find(|path| {
        std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 == 0)
    });
    barred.map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn candidates_are_looked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("program");
        std::fs::write(&program, "").expect("a file");
        let inside = program.display().to_string();
        let directories = [directory.path().to_owned()];
        for (candidate, expected) in [
            (inside.as_str(), Some(&program)),
            ("program", Some(&program)),
            ("other", None),
            ("/nowhere/program", None),
        ] {
            assert_eq!(
                look(candidate, &directories).as_ref(),
                expected,
                "{candidate}"
            );
        }
    }

    #[test]
    fn a_barred_directory_is_named() {
        let outer = tempfile::tempdir_in("/tmp").expect("a directory");
        let inner = outer.path().join("inner");
        std::fs::create_dir(&inner).expect("a directory");
        let allow = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(outer.path(), mode).expect("a mode");
        };
        allow(0o700);
        assert_eq!(barred(&inner).as_deref(), Some(outer.path()));
        allow(0o755);
        assert_eq!(barred(&inner), None);
    }
}
