//! A Postfix of the test's own: configuration, queue and master in a directory that goes away. Nothing
//! of the system's Postfix is touched. Only root can start one.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::Client;
use crate::program::{find, run, succeed};
use crate::server::free_address;
use crate::wait;

/// The services that a relay needs, unconfined.
const SERVICES: &str = "\
pickup   unix n - n 60 1 pickup
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
verify   unix - - n - 1 verify
flush    unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp     unix - - n - - smtp
lmtp     unix - - n - - lmtp
relay    unix - - n - - smtp
showq    unix n - n - - showq
error    unix - - n - - error
retry    unix - - n - - error
discard  unix - - n - - discard
anvil    unix - - n - 1 anvil
scache   unix - - n - 1 scache
postlog  unix-dgram n - n - 1 postlogd
";

/// A running Postfix; it is stopped when this is dropped.
#[derive(Debug)]
pub struct Postfix {
    program: PathBuf,
    directory: tempfile::TempDir,
    address: SocketAddr,
}

impl Postfix {
    /// One that hands each domain on by its transport (`lmtp:inet:127.0.0.1:24`, `smtp:[127.0.0.1]:25`);
    /// `None`, and a message, where there can be none.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(transports: &[(&str, &str)]) -> Option<Self> {
        let (program, postconf) = (find("postfix", "postfix")?, find("postconf", "postfix")?);
        if !geteuid().is_root() {
            eprintln!("SKIPPED: Postfix is started by root only");
            return None;
        }
        let daemons = succeed(&postconf, &["-dh", "daemon_directory"], b"").stdout;
        let owner = succeed(&find("id", "coreutils")?, &["-u", "postfix"], b"").stdout;
        let owner: u32 = text(&owner).parse().expect("a user's number");

        let directory = tempfile::tempdir().expect("a directory");
        let home = directory.path();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home, open).expect("our own directory");
        for part in ["conf", "queue", "state"] {
            std::fs::create_dir(home.join(part)).expect("a directory");
        }
        chown(home.join("state"), Some(owner), None).expect("root may");
        let address = free_address();
        let transports: String = transports
            .iter()
            .map(|(domain, transport)| format!(" {{ {domain} = {transport} }}"))
            .collect();
        let (daemons, home) = (text(&daemons), home.display());
        let main = format!(
            "compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/state
maillog_file = {home}/log
maillog_file_prefixes = /tmp, {home}
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{nobody@lmtp.example=REJECT}}
local_header_rewrite_clients =
transport_maps = inline:{{{transports} }}
alias_maps =
alias_database =
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtp_skip_5xx_greeting = no
"
        );
        let master = format!("{address} inet n - n - - smtpd\n{SERVICES}");
        let conf = directory.path().join("conf");
        std::fs::write(conf.join("main.cf"), main).expect("a file");
        std::fs::write(conf.join("master.cf"), master).expect("a file");
        let postfix = Self {
            program,
            directory,
            address,
        };
        let output = run(
            &postfix.program,
            &["-c", &conf.to_string_lossy(), "start"],
            b"",
        );
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stderr),
            postfix.log()
        );
        wait::until("Postfix greets", || {
            Client::open(address)
                .ok()?
                .try_reply()
                .ok()
                .filter(|reply| reply.code == 220)
        });
        Some(postfix)
    }

    /// Where its smtpd listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        read(&self.directory.path().join("log"))
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let conf = self.directory.path().join("conf");
        let _ = run(&self.program, &["-c", &conf.to_string_lossy(), "stop"], b"");
        if std::thread::panicking() {
            eprintln!("what Postfix has logged:\n{}", self.log());
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
