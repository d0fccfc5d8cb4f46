//! Every transcript in `transcripts/server`, each run whole, byte by byte, and in seeded cuts: the
//! same events and the same replies each time.

use super::runner::{Cut, Transcript};
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// Cuts that each transcript is run with, beside whole and byte by byte.
const SEED_COUNT: u64 = 20;

/// Not fewer than these: a path gone wrong must not pass as a test with nothing to do.
const TRANSCRIPT_COUNT_MIN: usize = 185;

#[test]
fn all_transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/server");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    let mut failures = Vec::new();
    for path in &paths {
        let name = path.file_name().unwrap().to_string_lossy();
        let transcript = Transcript::parse(&fs::read_to_string(path).unwrap());
        let seeded = (0..SEED_COUNT).map(|seed| (format!("seed {seed}"), Cut::Seeded(seed)));
        let cuts = [("whole".into(), Cut::Whole), ("bytes".into(), Cut::Bytes)]
            .into_iter()
            .chain(seeded);
        for (how, cut) in cuts {
            let seen = transcript.run(cut);
            if seen != transcript.expected {
                failures.push(difference(&name, &how, &seen, &transcript.expected));
                break;
            }
        }
    }
    // Past the test harness's capture: the number is part of what this test says.
    let _ = writeln!(
        std::io::stderr(),
        "{} transcripts, each in {} cuts, {} failed",
        paths.len(),
        SEED_COUNT + 2,
        failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(paths.len() >= TRANSCRIPT_COUNT_MIN);
}

fn difference(name: &str, how: &str, seen: &[String], expected: &[String]) -> String {
    let same = seen
        .iter()
        .zip(expected)
        .take_while(|(seen, expected)| seen == expected)
        .count();
    let line = |lines: &[String]| {
        lines.get(same).map_or_else(
            || "nothing more".into(),
            |line| line.chars().take(300).collect::<String>(),
        )
    };
    format!(
        "{name} ({how}), entry {same}:\n  seen      {}\n  expected  {}",
        line(seen),
        line(expected)
    )
}
