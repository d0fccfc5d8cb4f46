//! Postfix's smtp-sink, which writes each message that it takes to a file.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use crate::Client;
use crate::program::{Background, find};
use crate::server::free_address;
use crate::wait;

/// A running smtp-sink; it ends when this is dropped.
#[derive(Debug)]
pub struct SmtpSink {
    directory: tempfile::TempDir,
    address: SocketAddr,
    _running: Background,
}

impl SmtpSink {
    /// One with these options; `None`, and a message, where it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(options: &[&str]) -> Option<Self> {
        let program = find("smtp-sink", "postfix")?;
        let directory = tempfile::tempdir().expect("a directory");
        // It gives up root before it writes.
        let open_to_all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(directory.path(), open_to_all).expect("our own directory");
        let address = free_address();
        let listen = address.to_string();
        let mut arguments = vec!["-u", "nobody", "-d", "message."];
        arguments.extend(options);
        arguments.extend([&*listen, "128"]);
        let mut running = Background::start(&program, &arguments, directory.path());
        // It may have been told to refuse whoever connects.
        wait::until("smtp-sink speaks", || {
            running.check();
            Client::open(address).ok()?.try_reply().ok()
        });
        Some(Self {
            directory,
            address,
            _running: running,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it has written a message with this content, its lines ended by LF, and takes that away.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn took(&self, content: &[u8]) {
        let expected = String::from_utf8_lossy(content).replace("\r\n", "\n");
        wait::until("smtp-sink has written the message", || {
            let files = std::fs::read_dir(self.directory.path()).ok()?;
            // One that is not whole yet is looked at again.
            let found = files.flatten().find(|file| {
                let bytes = std::fs::read(file.path()).unwrap_or_default();
                String::from_utf8_lossy(&bytes).contains(&expected)
            })?;
            std::fs::remove_file(found.path()).ok()
        });
    }
}
