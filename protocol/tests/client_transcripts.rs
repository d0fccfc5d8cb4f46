//! Every transcript of `transcripts/client`, each whole, byte by byte and in seeded cuts.

mod client_dice;
mod client_support;

use client_support::{Cuts, run};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn all_of_them() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts/client");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("the transcripts")
        .map(|entry| entry.expect("a transcript").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    names.sort();
    assert!(
        names.len() >= 205,
        "transcripts have been lost: {} are left",
        names.len()
    );
    let mut failed = Vec::new();
    for path in &names {
        let text = std::fs::read_to_string(path).expect("a transcript's text");
        let whole = text.lines().any(|line| line == "whole");
        for cuts in Cuts::all().take(if whole { 1 } else { usize::MAX }) {
            if catch_unwind(AssertUnwindSafe(|| run(&text, cuts))).is_err() {
                failed.push(format!("{} {cuts:?}", path.display()));
                break;
            }
        }
    }
    // Shown also where the test passes: it is part of what a run reports.
    let _ = writeln!(
        std::io::stderr(),
        "{} transcripts, each in {} cuts, {} failed",
        names.len(),
        Cuts::all().count(),
        failed.len()
    );
    assert!(failed.is_empty(), "these do not hold: {failed:#?}");
}

#[test]
#[should_panic(expected = "at the line: C RSET")]
fn a_wrong_line_is_found() {
    run("peer\n> message from= to=postmaster\nC RSET\n", Cuts::Whole);
}

#[test]
#[should_panic(expected = "happened, but not expected")]
fn an_event_too_many_is_found() {
    run("S 220 hi\nC EHLO a.example\nS 250 hi\n", Cuts::Bytes);
}
