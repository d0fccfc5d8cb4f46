//! What a server is started with: its configuration, the limits it runs under, and the duties that a
//! control leaves out.
//!
//! How a process is led once it runs is the parent's; where its program lies is `built`'s.

use super::Server;
use super::built::{binary, directory_of_tests, profile_directory};
use mailrail_runtime::sim::Sabotage;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The name the server gives itself.
pub const HOSTNAME: &str = "mx.test.example";

/// A configuration to start a server with.
#[derive(Clone, Debug)]
pub struct Setup {
    top: Vec<String>,
    pub(super) listeners: Vec<(SocketAddr, Vec<String>)>,
    routes: Vec<String>,
    sections: Vec<(&'static str, Vec<String>)>,
    pub(super) data_dir: Option<PathBuf>,
    sabotage: Vec<Sabotage>,
    open_files: Option<u64>,
}

impl Setup {
    pub(super) fn new() -> Self {
        let listener = vec!["max_message_size = \"4 MiB\"".to_owned()];
        let setup = Self {
            top: vec![
                format!("hostname = \"{HOSTNAME}\""),
                "shards = 2".to_owned(),
            ],
            listeners: vec![(free_address(), listener)],
            routes: Vec::new(),
            sections: Vec::new(),
            data_dir: None,
            sabotage: Vec::new(),
            open_files: None,
        };
        setup
            // Nobody answers there: no test asks the net by mistake.
            .set("dns", "servers = [\"127.0.0.1:9\"]")
            .set("spool", "segment_size = \"8 MiB\"")
            .set("spool", "min_free_space = \"0 B\"")
    }

    /// A line at the top of the file; it replaces an earlier one with the same key.
    #[must_use]
    pub fn top(mut self, line: &str) -> Self {
        put(&mut self.top, line);
        self
    }

    /// A line in a section; it replaces an earlier one with the same key.
    #[must_use]
    pub fn set(mut self, section: &'static str, line: &str) -> Self {
        let place = self.sections.iter().position(|(name, _)| *name == section);
        let place = place.unwrap_or_else(|| {
            self.sections.push((section, Vec::new()));
            self.sections.len() - 1
        });
        put(&mut self.sections[place].1, line);
        self
    }

    /// A line in the first listener; it replaces an earlier one with the same key.
    #[must_use]
    pub fn listener(mut self, line: &str) -> Self {
        put(&mut self.listeners[0].1, line);
        self
    }

    /// One listener more, with these lines.
    #[must_use]
    pub fn another_listener(mut self, lines: &[&str]) -> Self {
        let mut all = vec!["max_message_size = \"4 MiB\"".to_owned()];
        lines.iter().for_each(|line| put(&mut all, line));
        self.listeners.push((free_address(), all));
        self
    }

    /// Mail for `domain` goes to this address.
    #[must_use]
    pub fn route(self, domain: &str, via: SocketAddr) -> Self {
        self.route_with(domain, via, "")
    }

    /// Mail for `domain` goes to this address, under one more setting.
    #[must_use]
    pub fn route_with(mut self, domain: &str, via: SocketAddr, line: &str) -> Self {
        self.routes.push(format!(
            "domain = \"{domain}\"\nvia = [\"{via}\"]\n{line}\n"
        ));
        self
    }

    /// A route with exactly these lines.
    #[must_use]
    pub fn route_lines(mut self, lines: &str) -> Self {
        self.routes.push(lines.to_owned());
        self
    }

    /// Takes all routes away.
    #[must_use]
    pub fn no_routes(mut self) -> Self {
        self.routes.clear();
        self
    }

    /// Data somewhere else than in the server's own directory.
    #[must_use]
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Leaves a duty out: for a control that has to notice it. Another build of the same server.
    #[must_use]
    pub fn sabotage(mut self, duty: Sabotage) -> Self {
        self.sabotage.push(duty);
        self
    }

    /// So many files may the process have open, and not one more.
    #[must_use]
    pub fn open_files(mut self, most: u64) -> Self {
        self.open_files = Some(most);
        self
    }

    /// What starts the program, under the limits that were asked for.
    pub(super) fn command(&self) -> Command {
        let program = if self.sabotage.is_empty() {
            binary().to_owned()
        } else {
            profile_directory().join("mailrail-sabotaged")
        };
        let mut command = match self.open_files {
            None => Command::new(program),
            Some(most) => {
                let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
                let mut command = Command::new("sh");
                command.args(["-c", &script]).arg(program);
                command
            }
        };
        if !self.sabotage.is_empty() {
            let names = self.sabotage.iter().map(|duty| format!("{duty:?}"));
            command.env("MAILRAIL_SABOTAGE", names.collect::<Vec<_>>().join(","));
        }
        command
    }

    /// Writes the configuration, starts the process and waits for its greeting.
    ///
    /// # Panics
    /// When there is no greeting.
    #[track_caller]
    pub fn start(self) -> Server {
        let directory = tempfile::Builder::new()
            .prefix("server-")
            .tempdir_in(directory_of_tests())
            .expect("a directory below target");
        let mut server = Server {
            setup: self,
            directory,
            child: None,
            begun: 0,
            greeted_after: Duration::ZERO,
            started_after: Duration::ZERO,
            log_len: 0,
        };
        server.start();
        server
    }

    pub(super) fn text(&self, data_dir: &Path) -> String {
        let mut text = self.top.join("\n");
        let _ = writeln!(text, "\ndata_dir = \"{}\"", data_dir.display());
        for (address, lines) in &self.listeners {
            let _ = writeln!(
                text,
                "\n[[listener]]\naddress = \"{address}\"\n{}",
                lines.join("\n")
            );
        }
        for route in &self.routes {
            let _ = writeln!(text, "\n[[route]]\n{route}");
        }
        for (section, lines) in &self.sections {
            let _ = writeln!(text, "\n[{section}]\n{}", lines.join("\n"));
        }
        text
    }
}

fn put(lines: &mut Vec<String>, line: &str) {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    lines.retain(|old| key(old) != key(line));
    lines.push(line.to_owned());
}

/// An address of the loopback with a port that nobody has, below those that the system gives to
/// outgoing connections: a server that is killed finds it free again.
///
/// # Panics
/// When there is none left.
pub fn free_address() -> SocketAddr {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test programs that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(997);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("a port")));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
