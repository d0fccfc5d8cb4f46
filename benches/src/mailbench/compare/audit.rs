//! Losses and duplicates: what a source had acknowledged, beside what the sink has received, by run.

use super::watch::{Trouble, failed};
use crate::identity::Copies;
use std::path::Path;

/// What became of one run's copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Acknowledged and never received.
    pub(crate) lost: u64,
    /// Received again.
    pub(crate) duplicates: u64,
}

/// Compares the file of a source (`--acknowledged`) with that of a sink (`--received`), which is not there when
/// nothing of the run came.
///
/// # Errors
/// When a file cannot be read, or is of another run.
pub(crate) fn audit(run: u32, acknowledged: &Path, received: &Path) -> Result<Audit, Trouble> {
    let acknowledged = load(run, acknowledged)?;
    let file = received.join(format!("{run:08x}.copies"));
    let received = match file.exists() {
        true => load(run, &file)?,
        false => Copies::default(),
    };
    Ok(Audit {
        lost: acknowledged.missing_in(&received),
        duplicates: received.duplicates(),
    })
}

fn load(run: u32, path: &Path) -> Result<Copies, Trouble> {
    let (of, copies) = Copies::load(path).map_err(|error| failed(path.display(), error))?;
    if of != run {
        let text = format!("{}: of run {of:08x}, not of {run:08x}", path.display());
        return Err(Trouble::Failed(text));
    }
    Ok(copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_is_lost_and_what_came_again_is_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let acknowledged = directory.path().join("acknowledged");
        for (sent, came, lost, duplicates) in [
            (&[0, 1, 2][..], &[0, 1, 2][..], 0, 0),
            (&[0, 1, 2], &[2, 2, 2], 2, 2),
            (&[0], &[], 1, 0),
            // Not acknowledged and came all the same: in doubt, and no loss.
            (&[], &[0, 1], 0, 0),
        ] {
            let save = |of: &[u64], path: &Path| {
                let mut copies = Copies::default();
                for copy in of {
                    copies.count(*copy);
                }
                copies.save(7, path).expect("saved");
            };
            save(sent, &acknowledged);
            save(came, &directory.path().join("00000007.copies"));
            let found = audit(7, &acknowledged, directory.path());
            assert_eq!(found, Ok(Audit { lost, duplicates }), "{sent:?} {came:?}");
        }
        let none = audit(7, &acknowledged, &directory.path().join("nowhere"));
        assert_eq!(none, Ok(Audit::default()));
        assert!(audit(8, &acknowledged, directory.path()).is_err());
    }
}
