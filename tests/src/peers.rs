//! Other people's clients, each taught to send one message as it is given.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::program::{find, succeed};

type Send = fn(&Path, &Letter<'_>);

/// A client program.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name.
    pub name: &'static str,
    program: PathBuf,
    send: Send,
}

/// What a peer shall send.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'l> {
    /// The server.
    pub server: SocketAddr,
    /// The reverse path.
    pub sender: &'l str,
    /// One recipient.
    pub recipient: &'l str,
    /// Header and body, lines ended by CRLF.
    pub content: &'l [u8],
}

impl Peer {
    /// All that are installed; the others are named on standard error.
    pub fn installed() -> Vec<Self> {
        [
            Self::find("swaks", "swaks", swaks),
            Self::find("curl", "curl", curl),
            Self::find("python3", "python3", smtplib),
            Self::find("smtp-source", "postfix", smtp_source),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn find(name: &'static str, package: &str, send: Send) -> Option<Self> {
        find(name, package).map(|program| Self {
            name,
            program,
            send,
        })
    }

    /// Sends a letter.
    ///
    /// # Panics
    /// When the program says that it failed.
    pub fn send(&self, letter: &Letter<'_>) {
        (self.send)(&self.program, letter);
    }
}

fn swaks(program: &Path, letter: &Letter<'_>) {
    let server = letter.server.to_string();
    let arguments = [
        "--silent",
        "3",
        "--server",
        &server,
        "--helo",
        "client.example",
        "--from",
        letter.sender,
        "--to",
        letter.recipient,
        "--data",
        "-",
    ];
    succeed(program, &arguments, letter.content);
}

fn curl(program: &Path, letter: &Letter<'_>) {
    let url = format!("smtp://{}/client.example", letter.server);
    let arguments = [
        "--silent",
        "--show-error",
        "--max-time",
        "60",
        "--url",
        &url,
        "--mail-from",
        letter.sender,
        "--mail-rcpt",
        letter.recipient,
        "--upload-file",
        "-",
    ];
    succeed(program, &arguments, letter.content);
}

fn smtplib(program: &Path, letter: &Letter<'_>) {
    const SCRIPT: &str = "\
import smtplib, sys
host, port, sender, recipient = sys.argv[1:]
with smtplib.SMTP(host, int(port), local_hostname='client.example', timeout=60) as server:
    content = sys.stdin.buffer.read()
    refused = server.sendmail(sender, [recipient], content, mail_options=['BODY=8BITMIME'])
    assert not refused, refused
";
    let (host, port) = (
        letter.server.ip().to_string(),
        letter.server.port().to_string(),
    );
    let arguments = ["-c", SCRIPT, &host, &port, letter.sender, letter.recipient];
    succeed(program, &arguments, letter.content);
}

fn smtp_source(program: &Path, letter: &Letter<'_>) {
    // It reads lines of a file, and ends each with CRLF itself.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = String::from_utf8_lossy(letter.content).replace("\r\n", "\n");
    std::fs::write(file.path(), text).expect("a file");
    let target = format!("inet:{}", letter.server);
    let path = file.path().to_string_lossy();
    let arguments = [
        "-M",
        "client.example",
        "-f",
        letter.sender,
        "-t",
        letter.recipient,
        "-F",
        &path,
        &target,
    ];
    succeed(program, &arguments, b"");
}

/// What a peer has sent, without what it adds of its own.
pub fn as_sent<'c>(name: &str, content: &'c [u8]) -> &'c [u8] {
    match name {
        // They end the data with CRLF, dot, CRLF, whether the data has ended with CRLF or not.
        "swaks" | "smtp-source" => content.strip_suffix(b"\r\n").unwrap_or(content),
        _ => content,
    }
}
