//! The adapters of this repository, for real: all files load and render, and those servers that are here start,
//! deliver a message to a sink, and end without a process left.
//!
//! What a server's speed is, is not asked here.

#![allow(
    dead_code,
    reason = "the room is the tool's, and a test needs less of it"
)]

#[path = "../src/mailbench/compare/adapter/mod.rs"]
mod adapter;

use adapter::{Adapter, Routing, Setting, Tools};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

fn adapters() -> Vec<Adapter> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters");
    Adapter::load_all(&directory).expect("all files load and render")
}

fn tools() -> Tools {
    // Beside this test's binary: target/PROFILE/deps/adapters-HASH.
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("a profile's directory");
    Tools {
        programs: profile.with_file_name("mtas"),
        mailrail: profile.join("mailrail"),
    }
}

#[test]
fn all_files_load_and_render() {
    let names: Vec<String> = adapters().iter().map(|one| one.name().to_owned()).collect();
    for wanted in [
        "mailrail-fsync",
        "mailrail-write",
        "mailrail-memory",
        "postfix",
    ] {
        assert!(
            names.iter().any(|name| name == wanted),
            "{wanted}: {names:?}"
        );
    }
}

/// A sink that takes one message, and the content that it took.
struct Sink {
    address: SocketAddr,
    taken: std::thread::JoinHandle<String>,
}

impl Sink {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let taken = std::thread::Builder::new()
            .spawn(move || {
                loop {
                    let (stream, _) = listener.accept().expect("a connection");
                    if let Some(content) = take(stream) {
                        return content;
                    }
                }
            })
            .expect("a thread");
        Self { address, taken }
    }
}

/// One session without extensions; the content of its message.
fn take(stream: TcpStream) -> Option<String> {
    let mut writer = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines();
    writer.write_all(b"220 sink.example ESMTP\r\n").ok()?;
    let mut content = None;
    while let Some(Ok(line)) = lines.next() {
        let verb = line.get(..4).unwrap_or("").to_ascii_uppercase();
        if verb == "DATA" {
            writer.write_all(b"354 go on\r\n").ok()?;
            let body = lines.by_ref().map_while(Result::ok);
            let body: Vec<String> = body.take_while(|line| line != ".").collect();
            content = Some(body.join("\n"));
        }
        let answer: &[u8] = match verb.as_str() {
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        writer.write_all(answer).ok()?;
        if content.is_some() || verb == "QUIT" {
            // What had to be seen was seen; the peer's QUIT is not waited for.
            return content;
        }
    }
    content
}

fn send(to: SocketAddr) {
    let stream = TcpStream::connect(to).expect("a connection");
    let mut writer = stream.try_clone().expect("the same");
    let mut reader = BufReader::new(stream);
    let mut answered = |wanted: &str| {
        let mut line = String::new();
        loop {
            line.clear();
            reader.read_line(&mut line).expect("an answer");
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        assert!(line.starts_with(wanted), "{line}");
    };
    answered("220");
    for (command, wanted) in [
        ("EHLO client.example\r\n", "250"),
        ("MAIL FROM:<a@sender.example>\r\n", "250"),
        ("RCPT TO:<b@rcpt.example>\r\n", "250"),
        ("DATA\r\n", "354"),
        ("Subject: one\r\n\r\nThrough and through.\r\n.\r\n", "250"),
        ("QUIT\r\n", "221"),
    ] {
        writer.write_all(command.as_bytes()).expect("it is taken");
        answered(wanted);
    }
}

fn free_address() -> SocketAddr {
    // Bound and let go of: the kernel gives the same number to nobody else so soon.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// False where it cannot be tried.
fn relays(adapter: &Adapter) -> bool {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let sink = Sink::new();
    let setting = Setting {
        tools: tools(),
        directory: directory.path().join("server"),
        listen: free_address(),
        routing: Routing::Smarthost(sink.address),
        shards: 1,
        tls_in: None,
        tls_out: false,
        retry_s: None,
        start_limit_s: 60,
    };
    open(directory.path());
    let mut server = match adapter.start(&setting) {
        Ok(server) => server,
        // Below somebody's home a server that changes its user cannot be tried.
        Err(error) if error.to_string().contains("may not enter") => {
            eprintln!("{error}");
            return false;
        }
        Err(error) => panic!("{error}"),
    };
    send(server.address());
    let content = sink.taken.join().expect("the sink ended well");
    assert!(content.contains("Through and through."), "{content}");
    let pids = server.pids();
    assert!(!pids.is_empty(), "a server without a process");
    let group: Option<PathBuf> = server.cgroup().map(Path::to_owned);
    server.stop().expect("it ends when it is asked to");
    for pid in pids {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(command.is_empty(), "process {pid} is left: {command}");
    }
    if let Some(group) = group {
        assert!(!group.exists(), "{} is left", group.display());
    }
    true
}

/// Servers change their user and have to get in.
fn open(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

#[test]
fn each_relays_and_leaves_nothing_behind() {
    let mut tried = Vec::new();
    for adapter in adapters() {
        let wanted = ["mailrail-fsync", "postfix"].contains(&adapter.name());
        if !wanted {
            continue;
        }
        match adapter.missing(&tools()) {
            Some(missing) => eprintln!("{} is not tried: {missing}", adapter.name()),
            None if relays(&adapter) => tried.push(adapter.name().to_owned()),
            None => {}
        }
    }
    eprintln!("tried: {tried:?}");
}

#[test]
fn a_start_that_fails_says_why() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    std::fs::write(
        directory.path().join("wrong.toml"),
        "name = 'wrong'\nlabel = 'Wrong'\ndurability = 'memory'\ndurability_seen = 'x'\n\
         version = ['sh', '-c', 'echo 1.2']\n\
         start = ['sh', '-c', 'echo no such thing >&2; sleep 300 & exit 3']\n",
    )
    .expect("a file");
    let adapters = Adapter::load_all(directory.path()).expect("it loads");
    let setting = Setting {
        tools: tools(),
        directory: directory.path().join("server"),
        listen: free_address(),
        routing: Routing::Smarthost(free_address()),
        shards: 1,
        tls_in: None,
        tls_out: false,
        retry_s: None,
        start_limit_s: 60,
    };
    let error = adapters[0].start(&setting).expect_err("no greeting");
    let error = error.to_string();
    for wanted in [
        "wrong: ended before it greeted",
        "exit status: 3",
        "no such thing",
    ] {
        assert!(error.contains(wanted), "{error}");
    }
    assert_eq!(
        adapters[0].version(&setting.tools).ok().as_deref(),
        Some("1.2")
    );
    std::fs::write(directory.path().join("wrong.toml"), "colour = 1").expect("a file");
    let error = Adapter::load_all(directory.path()).expect_err("refused");
    assert!(error.to_string().contains("wrong.toml"), "{error}");
}

/// 200 messages through each server that is here: `SERVERS=exim4,haraka cargo test -p mailrail-benches --test adapters --
/// --ignored --nocapture`. With `TLS=1` the certificate `CERT` and its key `KEY` are offered; with `KEEP=1` the servers' directories stay.
#[test]
#[ignore = "by hand: it needs smtp-source, smtp-sink, and the servers in target/mtas"]
fn each_takes_two_hundred() {
    let asked = std::env::var("SERVERS").unwrap_or_default();
    let mut failed = Vec::new();
    for adapter in adapters() {
        let is_asked = asked.is_empty() || asked.split(',').any(|name| name == adapter.name());
        if !is_asked {
            continue;
        }
        if let Some(missing) = adapter.missing(&tools()) {
            eprintln!("{}: {missing}", adapter.name());
            continue;
        }
        match two_hundred(&adapter) {
            Ok(told) => eprintln!("{}: {told}", adapter.name()),
            Err(error) => {
                eprintln!("{error}");
                failed.push(adapter.name().to_owned());
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

fn two_hundred(adapter: &Adapter) -> Result<String, Box<dyn std::error::Error>> {
    const COUNT: usize = 200;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    open(directory.path());
    let sink = free_address();
    let file = |name: &str| -> Result<PathBuf, std::io::Error> {
        let path = std::env::var(name).unwrap_or_default();
        std::path::absolute(path)
    };
    let setting = Setting {
        tools: tools(),
        directory: directory.path().join("server"),
        listen: free_address(),
        routing: Routing::Smarthost(sink),
        shards: 1,
        tls_in: match std::env::var("TLS") {
            Ok(_) => Some(adapter::Certificate {
                cert: file("CERT")?,
                key: file("KEY")?,
            }),
            Err(_) => None,
        },
        tls_out: std::env::var("TLS").is_ok(),
        retry_s: None,
        start_limit_s: 60,
    };
    let counted = setting.directory.with_file_name("sink.count");
    let mut smtp_sink = std::process::Command::new("smtp-sink")
        .args(["-c", "-u", "nobody", &sink.to_string(), "1000"])
        .stdout(std::fs::File::create(&counted)?)
        .spawn()?;
    let told = (|| -> Result<String, Box<dyn std::error::Error>> {
        let version = adapter.version(&setting.tools)?;
        let mut server = adapter.start(&setting)?;
        let began = mailrail_runtime::clock::micros();
        let sent = std::process::Command::new("smtp-source")
            .args(["-d", "-s", "10", "-m", &COUNT.to_string(), "-l", "4096"])
            // By itself it writes to a user of this machine, whom sendmail keeps.
            .args(["-f", "from@sender.example", "-t", "to@rcpt.example"])
            .arg(server.address().to_string())
            .status()?;
        let sent_ms = (mailrail_runtime::clock::micros() - began) / 1000;
        let until = mailrail_runtime::clock::after(60_000_000);
        let arrived = || {
            let text = std::fs::read_to_string(&counted).unwrap_or_default();
            let count = text.rsplit("mesg=").next().unwrap_or_default().to_owned();
            let digits: String = count.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<usize>().unwrap_or(0)
        };
        while arrived() < COUNT && mailrail_runtime::clock::micros() < until {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let all_ms = (mailrail_runtime::clock::micros() - began) / 1000;
        let pids = server.pids().len();
        let group = server.cgroup().map(|path| path.display().to_string());
        let stopped = server.stop();
        let count = arrived();
        let told = format!(
            "{version}; {count} of {COUNT}, smtp-source {sent} after {sent_ms} ms, all after {all_ms} ms, {pids} \
             processes, group {group:?}, stop {stopped:?}"
        );
        match count == COUNT && sent.success() && stopped.is_ok() {
            true => Ok(told),
            false => Err(format!("{}: {told}", adapter.name()).into()),
        }
    })();
    smtp_sink.kill()?;
    smtp_sink.wait()?;
    if std::env::var("KEEP").is_ok() {
        eprintln!("kept: {}", directory.keep().display());
    }
    told
}
