//! The engine's examples against other people's programs: the servers take mail from swaks, curl, smtplib,
//! smtp-source and gsasl, the clients deliver to smtp-sink and to Postfix, and every octet arrives. What the
//! files beside this one share is here.

mod arguments;
mod clients;
mod lmtp;
mod proxy;
mod servers;
mod submission;

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

const SENDER: &str = "a@client.example";
const RECIPIENT: &str = "b@mx.example";

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test's own")
}

#[track_caller]
fn assert_success(name: &str, options: &[&str], output: &Output) {
    let (said, error) = (&output.stdout, &output.stderr);
    let (said, error) = (
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(error),
    );
    assert!(output.status.success(), "{name} {options:?}: {said}{error}");
}

#[track_caller]
fn assert_same(name: &str, found: &[u8], expected: &[u8]) {
    let at = found.iter().zip(expected).position(|(a, b)| a != b);
    let (len, wanted) = (found.len(), expected.len());
    let at = at.unwrap_or_else(|| len.min(wanted));
    assert!(
        found == expected,
        "{name}: byte {at} of {wanted} differs (found {len})"
    );
}
