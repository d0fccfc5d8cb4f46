//! How many transcripts there are: one that gets lost must not go unseen. What they say is run
//! elsewhere.

use std::io::Write as _;
use std::path::Path;

/// In both folders together.
const TRANSCRIPT_COUNT_MIN: usize = 350;

#[test]
fn none_is_lost() {
    let count = |folder: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .count()
    };
    let (server, client) = (
        count("tests/transcripts/server"),
        count("tests/transcripts/client"),
    );
    // Not by a macro: those the test harness keeps to itself.
    let _ = writeln!(
        std::io::stdout(),
        "{} transcripts: {server} of the server, {client} of the client",
        server + client
    );
    assert!(server + client >= TRANSCRIPT_COUNT_MIN);
}
