//! A server that runs: from its files to its greeting, and to the end of its last process.
//!
//! What is written and started was decided in `plan`.

use super::file::{self, Stop};
use super::plan::Plan;
use super::processes::Processes;
use super::{Error, Setting, programs};
use mailrail_runtime::clock;
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a server may take to end when it was asked to.
const STOP_LIMIT_S: u64 = 15;
/// How long the kernel may take to end what was killed.
const KILL_LIMIT_S: u64 = 10;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);
const GREETING_WAIT: Duration = Duration::from_secs(5);
/// Of a log, when a start failed.
const TAIL_LEN_MAX: usize = 2000;

/// Enters the control group, hides what is to be hidden, and becomes the command.
const ENTER: &str = r#"[ -z "$1" ] || echo $$ >"$1" || exit 1
shift
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 1; shift 2; done
shift
exec "$@""#;

/// A server that has greeted. It is killed where it is dropped without `stop`.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    address: SocketAddr,
    plan: Plan,
    child: Child,
    processes: Processes,
    is_over: bool,
}

impl Server {
    pub(super) fn start(name: &str, plan: Plan, setting: &Setting) -> Result<Self, String> {
        write(&plan)?;
        let directory = plan.directories[0].clone();
        for words in &plan.before {
            run(words, &plan)?;
        }
        let mut processes = Processes::new();
        let errors = directory.join("stderr.log");
        let mut command = enter(&plan.start, &plan, processes.door().as_deref());
        let child = command
            .stdout(create(&directory.join("stdout.log"))?)
            .stderr(create(&errors)?)
            // A signal from the terminal is for us, and the server ends when we say so.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", plan.start[0]))?;
        processes.began(child.id());
        let mut server = Self {
            name: name.to_owned(),
            address: setting.listen,
            plan,
            child,
            processes,
            is_over: false,
        };
        if let Err(problem) = server.wait_for_greeting(setting.start_limit_s) {
            server.kill();
            let logs = [errors].into_iter().chain(server.plan.logs.iter().cloned());
            let tails: String = logs.map(|path| tail(&path)).collect();
            return Err(format!("{problem}{tails}"));
        }
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its own directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.plan.directories[0]
    }

    /// Its processes that live now.
    pub(crate) fn pids(&mut self) -> Vec<u32> {
        self.processes.pids()
    }

    /// Its control group, where one could be made.
    pub(crate) fn cgroup(&self) -> Option<&Path> {
        self.processes.group()
    }

    /// Asks it to end, waits, and kills what is left.
    ///
    /// # Errors
    /// When something had to be killed that should have ended, or could not be.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        let asked = match &self.plan.stop {
            Stop::Command(words) => run(words, &self.plan),
            Stop::Signal(signal) => {
                let signal = match signal {
                    file::Signal::Term => Signal::TERM,
                    file::Signal::Int => Signal::INT,
                    file::Signal::Kill => Signal::KILL,
                };
                let first = rustix::process::Pid::from_child(&self.child);
                rustix::process::kill_process(first, signal).map_err(|error| error.to_string())
            }
        };
        let is_over = self.wait_for_end(STOP_LIMIT_S);
        if !is_over {
            self.kill();
        }
        self.is_over = true;
        let left = self.pids();
        let problem = match (asked, is_over, left.is_empty()) {
            (_, true, _) => return Ok(()),
            (Err(problem), false, true) => {
                format!("could not be asked to end ({problem}) and was killed")
            }
            (Ok(()), false, true) => format!("did not end within {STOP_LIMIT_S} s and was killed"),
            (_, false, false) => format!("processes {left:?} could not be killed"),
        };
        Err(Error::new(&self.name, problem))
    }

    fn wait_for_greeting(&mut self, limit_s: u64) -> Result<(), String> {
        let until = clock::after(limit_s * 1_000_000);
        loop {
            if greets(self.address) {
                return Ok(());
            }
            match self.child.try_wait() {
                Ok(Some(status)) => return Err(format!("ended before it greeted: {status}")),
                Err(error) => return Err(format!("cannot be waited for: {error}")),
                Ok(None) => {}
            }
            if clock::micros() >= until {
                return Err(format!(
                    "does not greet at {} within {limit_s} s",
                    self.address
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Is the last process gone?
    fn wait_for_end(&mut self, limit_s: u64) -> bool {
        let until = clock::after(limit_s * 1_000_000);
        loop {
            let first_is_over = !matches!(self.child.try_wait(), Ok(None));
            self.processes.reap();
            if first_is_over && self.processes.pids().is_empty() {
                return true;
            }
            if clock::micros() >= until {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn kill(&mut self) {
        let until = clock::after(KILL_LIMIT_S * 1_000_000);
        // Again and again: a process may have forked between the list and the signal.
        loop {
            let _ = self.child.kill();
            self.processes.signal(Signal::KILL);
            if self.wait_for_end(0) || clock::micros() >= until {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        self.is_over = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_over {
            self.kill();
        }
    }
}

fn write(plan: &Plan) -> Result<(), String> {
    let problem = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    for path in &plan.directories {
        fs::create_dir_all(path).map_err(|error| problem(path, error))?;
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(path, open).map_err(|error| problem(path, error))?;
    }
    if plan.changes_user
        && let Some(barred) = programs::barred(&plan.directories[0])
    {
        return Err(format!(
            "other users may not enter {}, and it runs as one",
            barred.display()
        ));
    }
    for file in &plan.files {
        if let Some(parent) = file.path.parent() {
            fs::create_dir_all(parent).map_err(|error| problem(parent, error))?;
        }
        fs::write(&file.path, &file.text).map_err(|error| problem(&file.path, error))?;
        let mode = fs::Permissions::from_mode(if file.executable { 0o755 } else { 0o644 });
        fs::set_permissions(&file.path, mode).map_err(|error| problem(&file.path, error))?;
    }
    Ok(())
}

/// The command as the server's processes see the world.
fn enter(words: &[String], plan: &Plan, door: Option<&Path>) -> Command {
    let mut command = match plan.mounts.is_empty() {
        true => Command::new("sh"),
        false => {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "--", "sh"]);
            command
        }
    };
    command
        .args(["-c", ENTER, "sh"])
        .arg(door.unwrap_or_else(|| Path::new("")));
    for (source, target) in &plan.mounts {
        command.arg(source).arg(target);
    }
    command.arg("--").args(words);
    for (name, value) in &plan.environment {
        command.env(name, value);
    }
    command
        .stdin(Stdio::null())
        .current_dir(&plan.directories[0]);
    command
}

/// A command that has to succeed.
fn run(words: &[String], plan: &Plan) -> Result<(), String> {
    let output = enter(words, plan, None)
        .output()
        .map_err(|error| format!("{}: {error}", words[0]))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{}: {}\n{}{}",
        words.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, GREETING_WAIT) else {
        return false;
    };
    let mut code = [0; 3];
    let _ = stream.set_read_timeout(Some(GREETING_WAIT));
    let is_greeted = stream.read_exact(&mut code).is_ok() && &code == b"220";
    // Not to be told of as a client that was lost.
    let _ = std::io::Write::write_all(&mut stream, b"QUIT\r\n");
    let mut rest = Vec::new();
    let _ = stream.take(4096).read_to_end(&mut rest);
    is_greeted
}

/// The end of a file, under its name; nothing if it has none.
fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let from = bytes.len().saturating_sub(TAIL_LEN_MAX);
    let text = String::from_utf8_lossy(&bytes[from..]);
    match text.trim() {
        "" => String::new(),
        text => format!("\n-- {}\n{text}", path.display()),
    }
}
