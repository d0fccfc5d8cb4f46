//! A real `mailrail` process: started, stopped, killed, measured.
//!
//! Its directory lies below `target/tmp`, on a real disk, and goes when the `Server` goes. What
//! the process writes to its standard error is kept, and shown when a test fails.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use mailrail_runtime::clock;
use mailrail_runtime::sim::Sabotage;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::Client;
use crate::wait;

/// The name the server gives itself.
pub const HOSTNAME: &str = "mx.test.example";

/// A configuration to start a server with.
#[derive(Clone, Debug)]
pub struct Setup {
    top: Vec<String>,
    listeners: Vec<(SocketAddr, Vec<String>)>,
    routes: Vec<String>,
    sections: Vec<(&'static str, Vec<String>)>,
    data_dir: Option<PathBuf>,
    sabotage: Vec<Sabotage>,
    open_files: Option<u64>,
}

impl Setup {
    fn new() -> Self {
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
    fn command(&self) -> Command {
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
            greeted_after: Duration::ZERO,
        };
        server.start();
        server
    }

    fn text(&self, data_dir: &Path) -> String {
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

/// A server's process and its directory.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    directory: tempfile::TempDir,
    child: Option<Child>,
    greeted_after: Duration,
}

impl Server {
    /// The usual configuration: two shards, one listener, nobody asked for DNS.
    pub fn setup() -> Setup {
        Setup::new()
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.setup.listeners[0].0
    }

    /// The address of a listener, counted from 0.
    pub fn listener(&self, number: usize) -> SocketAddr {
        self.setup.listeners[number].0
    }

    /// A client that has been greeted.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::hello(self.address())
    }

    /// A client from a certain address that has been greeted.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn client_from(&self, source: &str) -> Client {
        let source: IpAddr = source.parse().expect("an address");
        Client::open_from(source, self.address())
            .expect("a connection")
            .greeted()
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        self.setup
            .data_dir
            .clone()
            .unwrap_or_else(|| self.directory.path().join("data"))
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("mailrail.toml")
    }

    /// The process id.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Starts the process (again) and waits for its greeting.
    ///
    /// # Panics
    /// When there is no greeting.
    #[track_caller]
    pub fn start(&mut self) {
        if let Err(status) = self.try_start() {
            panic!("the server ended with {status} instead of greeting");
        }
    }

    /// Starts the process (again) and waits for its greeting, or for its end.
    ///
    /// # Errors
    /// What it ended with, when it did not greet.
    ///
    /// # Panics
    /// When it does neither.
    #[track_caller]
    pub fn try_start(&mut self) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "the server runs already");
        fs::write(self.config_path(), self.setup.text(&self.data_dir())).expect("a file");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path());
        let mut command = self.setup.command();
        let begun = clock::micros();
        let child = command
            .args(["serve", "--config"])
            .arg(self.config_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a file"))
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
        for (address, _) in &self.setup.listeners.clone() {
            let greeted = wait::until("the server greets", || {
                if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok()?) {
                    return Some(Err(status));
                }
                let mut client = Client::open(*address).ok()?;
                let reply = client.try_reply().ok();
                reply.filter(|reply| reply.code == 220).map(|_| Ok(()))
            });
            if greeted.is_err() {
                self.child = None;
                return greeted;
            }
        }
        self.greeted_after = Duration::from_micros(clock::micros() - begun);
        Ok(())
    }

    /// From the last start of the process until every listener had greeted.
    pub const fn greeted_after(&self) -> Duration {
        self.greeted_after
    }

    /// Writes a changed configuration and sends SIGHUP.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn reconfigure(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.change(change);
        self.reconfigure_as(&self.setup.text(&self.data_dir()));
    }

    /// Changes what the next start will use.
    pub fn change(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.setup = change(self.setup.clone());
    }

    /// Writes this text as the configuration and sends SIGHUP.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn reconfigure_as(&self, text: &str) {
        fs::write(self.config_path(), text).expect("a file");
        self.signal(Signal::HUP);
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT and does not wait.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, signal).expect("the process is there");
    }

    /// Waits until the process has ended.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("the server runs");
        let status = wait::until("the server ends", || {
            child.try_wait().expect("our own child")
        });
        self.child = None;
        status
    }

    /// SIGTERM, and a good end.
    ///
    /// # Panics
    /// When the exit code is not 0.
    #[track_caller]
    pub fn stop(&mut self) {
        self.terminate();
        let status = self.wait();
        assert!(
            status.success(),
            "the server ended with {status} after SIGTERM"
        );
    }

    /// SIGKILL: no last word, no last write.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }

    /// SIGSTOP: from its return on the process does nothing until it is killed.
    ///
    /// # Panics
    /// When it is gone.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let path = format!("/proc/{}/stat", self.pid());
        wait::until("the process stands still", || {
            let stat = fs::read_to_string(&path).expect("a process");
            let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
            fields.trim_start().starts_with('T').then_some(())
        });
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.expect("VmRSS in /proc") * 1024
    }

    /// Processor time so far, user and system.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("a process");
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        let ticks: u64 = fields
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
    }

    /// All events so far, oldest first. A last line that is not whole yet is left out.
    ///
    /// # Panics
    /// When a whole line is not JSON.
    pub fn events(&self) -> Vec<Value> {
        let path = self.data_dir().join("log").join("events.jsonl");
        let text = fs::read(path).unwrap_or_default();
        let whole = text
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        text[..whole]
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line).unwrap_or_else(|error| {
                    panic!(
                        "an event is not JSON: {error}: {}",
                        String::from_utf8_lossy(line)
                    )
                })
            })
            .collect()
    }

    /// What the process has written to its standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// What `mailrail queue` says about this server.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn queue(&self) -> String {
        let output = run(&["queue", "--config", &self.config_path().to_string_lossy()]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "mailrail queue: {}: {error}",
            output.status
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("stderr.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!(
                "--- the server's standard error ends with:\n{}\n---",
                last.join("\n")
            );
        }
    }
}

/// Runs `mailrail` with these arguments to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .output()
        .expect("the binary starts")
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

/// `target/tmp`: on the disk that is built on, and not in a file system of memory.
///
/// # Panics
/// When it cannot be made.
pub fn directory_of_tests() -> PathBuf {
    let path = profile_directory().with_file_name("tmp");
    fs::create_dir_all(&path).expect("a directory below target");
    path
}

/// `target/<profile>`, where this very program was built.
pub(crate) fn profile_directory() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let deps = program.parent().expect("a directory");
    deps.parent().expect("the profile's directory").to_owned()
}

/// The server's program; built first if it is missing or older than the sources. `MAILRAIL` in the
/// environment names another one to try.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("MAILRAIL") {
            return path.into();
        }
        let directory = profile_directory();
        let path = directory.join("mailrail");
        let built = fs::metadata(&path)
            .and_then(|metadata| metadata.modified())
            .ok();
        if built.is_none_or(|built| built < newest_source()) {
            let mut cargo =
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args([
                "build",
                "--quiet",
                "--package",
                "mailrail",
                "--bin",
                "mailrail",
            ]);
            if directory.ends_with("release") {
                cargo.arg("--release");
            }
            let status = cargo
                .current_dir(workspace())
                .status()
                .expect("cargo starts");
            assert!(status.success(), "the server does not build");
        }
        path
    })
}

/// The directory of the workspace.
///
/// # Panics
/// Never, in a checkout.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
}

fn newest_source() -> SystemTime {
    ["protocol/src", "runtime/src", "server/src"]
        .iter()
        .flat_map(|directory| sources(&workspace().join(directory)))
        .filter_map(|path| fs::metadata(path).ok()?.modified().ok())
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// All files with Rust source below a directory, sorted.
pub fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.append(&mut sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
