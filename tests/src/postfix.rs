//! A Postfix of the test's own: configuration, queue and master in a directory that goes away. Nothing
//! of the system's Postfix is touched. Only root can start one.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::{Pid, Signal, geteuid, kill_process};

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
    queue: PathBuf,
    address: SocketAddr,
}

impl Postfix {
    /// One that hands each domain on by its transport (`lmtp:inet:127.0.0.1:24`, `smtp:[127.0.0.1]:25`);
    /// `None`, and a message, where there can be none.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(transports: &[(&str, &str)]) -> Option<Self> {
        Self::start_with(transports, None, "")
    }

    /// One whose queue lies elsewhere, and with these lines more in its configuration; `None`, and a
    /// message, where there can be none.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(
        transports: &[(&str, &str)],
        queue: Option<&Path>,
        lines: &str,
    ) -> Option<Self> {
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
        for part in ["conf", "state"] {
            std::fs::create_dir(home.join(part)).expect("a directory");
        }
        let queue = queue.map_or_else(|| home.join("queue"), Path::to_owned);
        std::fs::create_dir(&queue).expect("a directory");
        chown(home.join("state"), Some(owner), None).expect("root may");
        let address = free_address();
        let transports: String = transports
            .iter()
            .map(|(domain, transport)| format!(" {{ {domain} = {transport} }}"))
            .collect();
        let (daemons, home) = (text(&daemons), home.display());
        let main = format!(
            "compatibility_level = 3.6
queue_directory = {}
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
{lines}
",
            queue.display()
        );
        let master = format!("{address} inet n - n - - smtpd\n{SERVICES}");
        let conf = directory.path().join("conf");
        std::fs::write(conf.join("main.cf"), main).expect("a file");
        std::fs::write(conf.join("master.cf"), master).expect("a file");
        let postfix = Self {
            program,
            directory,
            queue,
            address,
        };
        postfix.start_again();
        Some(postfix)
    }

    /// Starts it after it was killed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        let output = self.command("start");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        wait::until("Postfix greets", || {
            Client::open(self.address)
                .ok()?
                .try_reply()
                .ok()
                .filter(|reply| reply.code == 220)
        });
    }

    fn command(&self, command: &str) -> Output {
        let conf = self.directory.path().join("conf");
        run(
            &self.program,
            &["-c", &conf.to_string_lossy(), command],
            b"",
        )
    }

    /// SIGSTOP to all its processes, and which they are: none of them does anything until they are killed.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) -> Vec<Pid> {
        let mut frozen = Vec::new();
        // One that is stopped starts no other, so this ends.
        loop {
            let alive = self.processes();
            if alive == frozen {
                return frozen;
            }
            for &process in &alive {
                let _ = kill_process(process, Signal::STOP);
            }
            frozen = alive;
        }
    }

    /// SIGKILL to all its processes, which [`Self::freeze`] has named, and their end.
    ///
    /// # Panics
    /// When one of them does not end.
    pub fn kill(&self, processes: &[Pid]) {
        for &process in processes {
            let _ = kill_process(process, Signal::KILL);
        }
        wait::until("Postfix ends", || {
            let is_alive = |process: &Pid| session(*process).is_some();
            (!processes.iter().any(is_alive)).then_some(())
        });
    }

    /// The processes of its master's session that are alive, sorted.
    fn processes(&self) -> Vec<Pid> {
        let master: i32 = read(&self.queue.join("pid/master.pid"))
            .trim()
            .parse()
            .expect("a process id");
        let mut found: Vec<Pid> = std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .filter(|&process| session(process) == Some(master))
            .collect();
        found.sort_by_key(|process| process.as_raw_nonzero());
        found
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
        self.command("stop");
        if std::thread::panicking() {
            eprintln!("what Postfix has logged:\n{}", self.log());
        }
    }
}

/// The session of a process that is alive.
fn session(process: Pid) -> Option<i32> {
    let stat = read(Path::new(&format!(
        "/proc/{}/stat",
        process.as_raw_nonzero()
    )));
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    // The parent and the group stand in front of it.
    let session = fields.nth(2)?.parse().ok()?;
    (state != "Z").then_some(session)
}

fn read(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
