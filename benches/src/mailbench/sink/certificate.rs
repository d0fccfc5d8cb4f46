//! The certificate that the sink shows: made at the start and signed by itself, since nobody checks it.

use mailrail_runtime::tls::{Acceptor, Identity};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What shakes hands on all shards.
///
/// # Errors
/// When there is no room for a file, or no randomness.
pub(super) fn acceptor(hostname: &str) -> Result<Acceptor, String> {
    let made = rcgen::generate_simple_self_signed(vec![hostname.to_owned()])
        .map_err(|error| format!("cannot make a certificate: {error}"))?;
    let text = made.cert.pem() + &made.signing_key.serialize_pem();
    // The runtime reads certificates from files; this one is there for that moment only.
    let path = std::env::temp_dir().join(format!("mailbench-{}.pem", std::process::id()));
    let written = write_private(&path, &text);
    let identity = Identity::load(&path, &path);
    // Whatever stayed behind would be of no use to anybody.
    let _ = fs::remove_file(&path);
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    let identity = identity.map_err(|error| error.to_string())?;
    Acceptor::new(&identity).map_err(|error| error.to_string())
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
