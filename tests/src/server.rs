//! A real `mailrail` process: started, stopped, killed, measured.
//!
//! Its directory lies below `target/tmp`, on a real disk, and goes when the `Server` goes. What
//! the process writes to its standard error is kept, and shown when a test fails. What it is started
//! with is `setup`'s, and its program `built`'s.

mod built;
mod setup;

use std::fs::{self, OpenOptions};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use mailrail_runtime::clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::Client;
use crate::wait;

pub(crate) use built::profile_directory;
pub use built::{directory_of_tests, sources, workspace};
pub use setup::{HOSTNAME, Setup, free_address};

/// A server's process and its directory.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    directory: tempfile::TempDir,
    child: Option<Child>,
    begun: u64,
    greeted_after: Duration,
    started_after: Duration,
    /// What had been written to its standard error before its last start.
    log_len: usize,
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

    /// Starts the process (again) and waits for its greeting and for the rest of its start, or for its end.
    ///
    /// # Errors
    /// What it ended with, when it did not start.
    ///
    /// # Panics
    /// When it does neither.
    #[track_caller]
    pub fn try_start(&mut self) -> Result<(), ExitStatus> {
        self.begin_start();
        self.end_start()
    }

    /// Starts the process (again), and waits for nothing.
    ///
    /// # Panics
    /// When it runs already, or cannot be started.
    #[track_caller]
    pub fn begin_start(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        fs::write(self.config_path(), self.setup.text(&self.data_dir())).expect("a file");
        self.log_len = self.log_bytes().len();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path());
        let mut command = self.setup.command();
        self.begun = clock::micros();
        let child = command
            .args(["serve", "--config"])
            .arg(self.config_path())
            // What it says by default is what tests wait for.
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a file"))
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
    }

    fn end_start(&mut self) -> Result<(), ExitStatus> {
        for (address, lines) in &self.setup.listeners.clone() {
            // Inside TLS it greets nobody who does not shake hands first.
            if lines.iter().any(|line| line == "tls = \"implicit\"") {
                continue;
            }
            self.wait_unless_it_ends("the server greets", || {
                let mut client = Client::open(*address).ok()?;
                let reply = client.try_reply().ok()?;
                (reply.code == 220).then_some(())
            })?;
        }
        self.greeted_after = Duration::from_micros(clock::micros() - self.begun);
        // The shard that is ready first greets, whatever becomes of the others' start. The socket for questions
        // is opened when all have started.
        let socket = self.data_dir().join("admin.sock");
        self.wait_unless_it_ends("all shards have started", || {
            UnixStream::connect(&socket).ok().map(drop)
        })?;
        self.started_after = Duration::from_micros(clock::micros() - self.begun);
        Ok(())
    }

    /// Waits until something has happened, or the process has ended.
    #[track_caller]
    fn wait_unless_it_ends(
        &mut self,
        what: &str,
        mut ask: impl FnMut() -> Option<()>,
    ) -> Result<(), ExitStatus> {
        let child = self.child.as_mut().expect("the server runs");
        let happened = wait::until(what, || match child.try_wait().expect("our own child") {
            Some(status) => Some(Err(status)),
            None => ask().map(Ok),
        });
        if happened.is_err() {
            self.child = None;
        }
        happened
    }

    /// From the last start of the process until every listener had greeted.
    pub const fn greeted_after(&self) -> Duration {
        self.greeted_after
    }

    /// How long the last start took that was waited for, with all of its shards.
    pub const fn started_after(&self) -> Duration {
        self.started_after
    }

    /// Whether the process, which may be gone, came to the end of its last start: it says so by itself, before it
    /// does anything else.
    pub fn has_started(&self) -> bool {
        String::from_utf8_lossy(&self.log_bytes()[self.log_len..]).contains(" is up")
    }

    /// What the process has ended with by itself, if it has.
    ///
    /// # Panics
    /// When it was killed or stopped.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut().expect("the server was started");
        let status = child.try_wait().expect("our own child")?;
        self.child = None;
        Some(status)
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
        let threads = format!("/proc/{}/task", self.pid());
        // Each thread stops by itself, as it is about to leave the kernel. One that has ended meanwhile is still, too.
        wait::until("the process stands still", || {
            let mut threads = fs::read_dir(&threads).expect("a process").flatten();
            let is_still = threads.all(|thread| {
                let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else {
                    return true;
                };
                let (name, fields) = stat.rsplit_once(')').expect("a name in brackets");
                // The kernel's own, which carry out what was asked before, say nothing to anybody.
                name.contains("(iou-") || fields.trim_start().starts_with(['T', 'Z'])
            });
            is_still.then_some(())
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

    /// The events of a type so far, oldest first.
    pub fn events_of(&self, kind: &str) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|event| event["type"] == kind);
        events
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
        String::from_utf8_lossy(&self.log_bytes()).into_owned()
    }

    fn log_bytes(&self) -> Vec<u8> {
        fs::read(self.log_path()).unwrap_or_default()
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
    Command::new(built::binary())
        .args(arguments)
        .output()
        .expect("the binary starts")
}
