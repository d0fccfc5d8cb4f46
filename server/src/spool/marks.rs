//! The highest id that was given, remembered beyond the records that had it: behind a freed segment by a
//! record in the same log, behind a deleted log, or where a full disk has no room for that record, by a name
//! beside the logs. Then a clock that goes back makes no id come again. Nothing of it is on a message's road.

use crate::message::Id;
use mailrail_runtime::log;
use std::io;
use std::path::Path;

/// What the names begin with; the id follows.
const PREFIX: &str = "ids-after-";

fn marked(name: &str) -> Option<Id> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// The highest id whose record was deleted, by the names in the spool's directory.
pub fn highest_among<'n>(names: impl Iterator<Item = &'n str>) -> Option<Id> {
    names.filter_map(marked).max()
}

/// Remembers an id whose record is about to be deleted, for good. One name is enough for all logs.
pub(super) async fn leave(directory: &Path, id: Id) -> io::Result<()> {
    let is_passed = |name: &str| marked(name).is_some_and(|other| other < id);
    log::leave_name(directory, &format!("{PREFIX}{id}"), is_passed).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_say_nothing() {
        let id = Id::from_bits(77);
        let names = [
            "log-0",
            "ids-after-",
            "ids-after-x",
            "ids-after-0000000000001",
        ];
        let name = format!("{PREFIX}{id}");
        assert_eq!(highest_among(names.into_iter()), Some(Id::from_bits(1)));
        assert_eq!(highest_among(names.into_iter().chain([&*name])), Some(id));
        assert_eq!(highest_among(["log-0"].into_iter()), None);
    }
}
