//! The engine's examples as programs of their own: built, started, listened to. What they say is known
//! here by its form alone; what it means is the tests' business.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};

use crate::server::{profile_directory, workspace};
use crate::wait::{self, PATIENCE};

/// An example's program; all of them are built first, once.
///
/// # Panics
/// When they do not build.
pub fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--package", "mailrail-protocol"]);
        cargo.arg("--examples");
        let directory = profile_directory();
        if directory.ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo.current_dir(workspace()).status();
        let status = status.expect("cargo starts");
        assert!(status.success(), "the examples do not build");
        directory.join("examples")
    });
    directory.join(name)
}

/// A server that is an example; it is ended when this is dropped.
#[derive(Debug)]
pub struct Example {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    lines: Receiver<String>,
}

impl Example {
    /// Starts one on a port of its own choice.
    ///
    /// # Panics
    /// When it ends instead of listening.
    pub fn start(name: &'static str, arguments: &[&str]) -> Self {
        let listen = ["--listen", "127.0.0.1:0"];
        Self::run(name, &[&listen, arguments].concat())
    }

    /// Starts the proxy in front of a server.
    ///
    /// # Panics
    /// When it ends instead of listening.
    pub fn proxy(server: SocketAddr) -> Self {
        Self::run("proxy", &["127.0.0.1:0", &server.to_string()])
    }

    fn run(name: &'static str, arguments: &[&str]) -> Self {
        let mut child = Command::new(example(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the example starts");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        let read = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        };
        let reader = std::thread::Builder::new().name("example".to_owned());
        reader.spawn(read).expect("a thread");
        let mut example = Self {
            name,
            child,
            address: SocketAddr::from(([0; 4], 0)),
            lines,
        };
        let line = example.line();
        let address = line.strip_prefix("listening on ");
        example.address = address
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("{name} does not say where it listens: {line}"));
        example
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next line that it prints.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("{} says nothing more: {error}", self.name),
        }
    }

    /// The next line, which has to start like this; what follows.
    ///
    /// # Panics
    /// When another one comes, or none.
    #[track_caller]
    pub fn says(&self, start: &str) -> String {
        let line = self.line();
        match line.strip_prefix(start) {
            Some(rest) => rest.to_owned(),
            None => panic!("{} should say {start:?}, but says {line:?}", self.name),
        }
    }

    /// Waits until it ends by itself, well.
    ///
    /// # Panics
    /// When it goes on, or ends with an error.
    #[track_caller]
    pub fn finish(mut self) {
        let status = wait::until("the example ends", || {
            self.child.try_wait().expect("our own child")
        });
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one file in a directory, taken out of it.
///
/// # Panics
/// When there are more, or none.
#[track_caller]
pub fn only_file(directory: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let [path] = &*paths else {
        panic!("one file was expected: {paths:?}");
    };
    let content = std::fs::read(path).expect("a file");
    std::fs::remove_file(path).expect("a file");
    content
}
