//! The sink as a program: it is started, spoken to over TCP and UDP, ended, and its reports are read.
//! Transcripts: `C` sends a line, `S` awaits a reply whose last line begins so, `E` awaits the end.

use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::tls::Connector;
use mailrail_runtime::{clock, shard};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

/// How long anything may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn mailbench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mailbench"))
}

/// A running sink; it is ended when this is dropped.
struct Sink {
    child: Child,
    addresses: Vec<SocketAddr>,
    dns: Option<SocketAddr>,
    stdout: Option<BufReader<ChildStdout>>,
    directory: tempfile::TempDir,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sink {
    fn start(script: &str, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("script.toml");
        std::fs::write(&path, script).expect("a script");
        let mut child = mailbench()
            .current_dir(directory.path())
            .args(["sink", "--listen", "127.0.0.1:0", "--script"])
            .arg(&path)
            // Nothing is left behind when a test is killed.
            .args(["--limit-s", "120", "--json", "report.json"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut line = String::new();
        let stderr = child.stderr.take().expect("it is piped");
        let mut stderr = BufReader::new(stderr);
        stderr.read_line(&mut line).expect("a line");
        let (place, dns) = match line.trim_end().split_once("; DNS on ") {
            Some((place, dns)) => (place, Some(dns.parse().expect("an address"))),
            None => (line.trim_end(), None),
        };
        let place = place.strip_prefix("mailbench: sink on ");
        let place = place.unwrap_or_else(|| panic!("it did not start: {line}"));
        let addresses = place
            .split(", ")
            .map(|one| one.parse().expect("an address"));
        let addresses = addresses.collect();
        let stdout = child.stdout.take().map(BufReader::new);
        // What it says later is for people.
        std::thread::Builder::new()
            .spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()))
            .expect("a thread");
        Self {
            child,
            addresses,
            dns,
            stdout,
            directory,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn talk(&self, transcript: &str) {
        Peer::connect(self.addresses[0]).talk(transcript);
    }

    /// Ends it by the signal that operators use; the exit code and the report.
    fn end(&mut self) -> (Option<i32>, Value) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        let text = std::fs::read_to_string(self.path("report.json")).expect("a report");
        let report = serde_json::from_str(&text).expect("JSON");
        (status.code(), report)
    }

    /// The next line of what it tells.
    fn told(&mut self) -> Value {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("it is open");
        stdout.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

/// A client.
struct Peer {
    reader: BufReader<TcpStream>,
}

impl Peer {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let reader = BufReader::new(stream);
        Self { reader }
    }

    #[track_caller]
    fn talk(&mut self, transcript: &str) {
        let lines = transcript.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty()) {
            let (who, text) = line.split_once(' ').unwrap_or((line, ""));
            match who {
                "C" => {
                    let sent = format!("{}\r\n", text.replace("\\r\\n", "\r\n"));
                    self.reader
                        .get_mut()
                        .write_all(sent.as_bytes())
                        .expect("sent");
                }
                "S" => {
                    let reply = self.reply();
                    let last = reply.lines().last().unwrap_or_default();
                    assert!(last.starts_with(text), "{text:?} is not what came: {reply}");
                }
                "E" => {
                    let mut rest = String::new();
                    self.reader.read_to_string(&mut rest).expect("the end");
                    assert_eq!(rest, "");
                }
                _ => panic!("no line of a transcript: {line}"),
            }
        }
    }

    fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            let len = self.reader.read_line(&mut reply).expect("a reply");
            assert!(len > 0, "the connection ended behind {reply:?}");
            if reply.as_bytes()[start..].get(3) != Some(&b'-') {
                return reply;
            }
        }
    }
}

/// A file as `mailbench source --acknowledged` writes it.
fn write_copies(path: &Path, run: &str, counts: &[u8]) {
    let bytes = [format!("mailbench copies 1 {run}\n").as_bytes(), counts].concat();
    std::fs::write(path, bytes).expect("written");
}

#[track_caller]
fn check(value: &Value, expected: &[(&str, u64)]) {
    for (key, number) in expected {
        assert_eq!(value[key], *number, "{key} in {value}");
    }
}

const HELLO: &str = "S 220 sink.mailbench.example\nC EHLO a.example\nS 250 \n";

#[test]
fn copies_are_counted_once_each() {
    let mut sink = Sink::start("", &["--received", "received"]);
    let mut peer = Peer::connect(sink.addresses[0]);
    peer.talk(HELLO);
    peer.talk(
        "C MAIL FROM:<x@d0.sender.example>
         S 250 2.1.0
         C RCPT TO:<0000cafe.0@d0.rcpt.example>
         S 250 2.1.5
         C RCPT TO:<0000cafe.2@d0.rcpt.example>
         S 250 2.1.5
         C DATA
         S 354
         C Subject: two\\r\\n\\r\\nHello
         C ..
         C .
         S 250 2.0.0
         C MAIL FROM:<>
         S 250
         C RCPT TO:<0000cafe.2@d0.rcpt.example>
         S 250
         C RSET
         S 250
         C MAIL FROM:<>\\r\\nRCPT TO:<0000cafe.2@d0.rcpt.example>\\r\\nRCPT TO:<someone@d1.rcpt.example>\\r\\nDATA
         S 250 2.1.0
         S 250 2.1.5
         S 250 2.1.5
         S 354
         C .\\r\\nQUIT
         S 250 2.0.0
         S 221
         E",
    );
    let (code, report) = sink.end();
    let copies = std::fs::read(sink.path("received/0000cafe.copies")).expect("a file of copies");
    assert_eq!(copies, b"mailbench copies 1 0000cafe\n\x01\x00\x02");
    assert_eq!(code, Some(0));
    check(
        &report,
        &[
            ("messages", 2),
            ("copies", 4),
            ("duplicates", 1),
            ("unknown", 1),
        ],
    );
    check(
        &report,
        &[
            ("deferred", 0),
            ("refused", 0),
            ("connections", 1),
            ("closed", 0),
        ],
    );
    // "Subject: two", an empty line, "Hello" and a dot, each with its CRLF.
    check(&report, &[("content_bytes", 14 + 2 + 7 + 3)]);
    check(
        &report["runs"]["0000cafe"],
        &[("copies", 2), ("duplicates", 1)],
    );
}

#[test]
fn it_answers_as_the_script_says() {
    let mut sink = Sink::start(
        r#"
        [[rule]]
        recipients = ["gone.example"]
        answers = [{ at = "rcpt", code = 550, status = "5.1.1", text = "Gone" }]
        [[rule]]
        recipients = ["later.example"]
        answers = [{ at = "rcpt", attempts = 1, code = 450, text = "Later" }]
        [[rule]]
        recipients = ["busy.example"]
        answers = [{ at = "end", attempts = 2, code = 451, status = "4.3.2", text = "Busy" }]
        [[rule]]
        senders = ["bad.example"]
        answers = [{ at = "mail", code = 554, text = "Bad" }]
        [[rule]]
        recipients = ["shut.example"]
        answers = [{ at = "data", code = 421, text = "Shut" }]
        [[rule]]
        recipients = ["slow.example"]
        delay_ms = { rcpt = 1, data = 1, end = 1 }
        "#,
        &[],
    );
    let mut peer = Peer::connect(sink.addresses[0]);
    peer.talk(HELLO);
    peer.talk(
        "C MAIL FROM:<x@bad.example>
         S 554 5.0.0 Bad
         C MAIL FROM:<x@good.example>
         S 250
         C RCPT TO:<00000001.0@gone.example>
         S 550 5.1.1 Gone
         C RCPT TO:<00000001.1@Later.Example>
         S 450 4.0.0 Later
         C RCPT TO:<00000001.1@Later.Example>
         S 250
         C RCPT TO:<00000001.2@busy.example>
         S 250
         C DATA
         S 354
         C .
         S 250",
    );
    // The first recipient decides about the content: three attempts, two of them put off.
    for end in ["451 4.3.2 Busy", "250 2.0.0"] {
        peer.talk(&format!(
            "C MAIL FROM:<x@good.example>
             S 250
             C RCPT TO:<00000001.2@busy.example>
             S 250
             C DATA
             S 354
             C .
             S {end}"
        ));
    }
    peer.talk(
        "C MAIL FROM:<x@good.example>\\r\\nRCPT TO:<00000001.3@slow.example>\\r\\nDATA
         S 250
         S 250
         S 354
         C .
         S 250
         C MAIL FROM:<x@good.example>
         S 250
         C RCPT TO:<x@shut.example>
         S 250
         C DATA
         S 421 4.0.0 Shut
         E",
    );
    let (code, report) = sink.end();
    assert_eq!(code, Some(0));
    check(
        &report,
        &[
            ("messages", 3),
            ("copies", 4),
            ("duplicates", 1),
            ("unknown", 0),
        ],
    );
    check(&report, &[("deferred", 3), ("refused", 2), ("closed", 1)]);
}

#[test]
fn sites_keep_their_limits() {
    let script = r#"
        [[rule]]
        sites = ["127.0.0.1"]
        messages_per_connection = 2
        connections_max = 1
        delay_ms = { connect = 1 }
        [[rule]]
        sites = ["127.0.0.2"]
        messages_per_second = 0.001
    "#;
    let mut sink = Sink::start(script, &["--listen", "127.0.0.2:0", "--shards", "2"]);
    let message =
        "C MAIL FROM:<>\nS 250\nC RCPT TO:<a@b.example>\nS 250\nC DATA\nS 354\nC .\nS 250\n";
    let mut second = Peer::connect(sink.addresses[1]);
    second.talk(HELLO);
    second.talk(message);
    second.talk("C MAIL FROM:<>\nS 451 4.7.1\nC QUIT\nS 221\nE");
    let mut first = Peer::connect(sink.addresses[0]);
    first.talk(HELLO);
    // Nobody else as long as this one is there.
    sink.talk("S 421 Too many connections\nE");
    first.talk(message);
    first.talk(message);
    first.talk("C MAIL FROM:<>\nS 421 4.3.2\nE");
    let (_, report) = sink.end();
    check(&report, &[("messages", 3), ("connections", 3)]);
    check(&report, &[("closed", 2), ("deferred", 3)]);
}

#[test]
fn bdat_is_taken_where_it_is_offered() {
    let script = r#"rule = [{ sites = ["127.0.0.2"], bdat = true }]"#;
    let mut sink = Sink::start(script, &["--listen", "127.0.0.2:0"]);
    let commands = "C MAIL FROM:<>\nS 250\nC RCPT TO:<00000007.0@b.example>\nS 250\n";
    let mut without = Peer::connect(sink.addresses[0]);
    without.talk(HELLO);
    without.talk(commands);
    without.talk("C BDAT 2\nS 50");
    let mut with = Peer::connect(sink.addresses[1]);
    with.talk(HELLO);
    with.talk(commands);
    // The CRLF that ends a sent line is the chunk's.
    with.talk("C BDAT 5\\r\\nabc\nS 250\nC BDAT 4 LAST\\r\\nde\nS 250 2.0.0\nC QUIT\nS 221\nE");
    let (_, report) = sink.end();
    check(
        &report,
        &[("messages", 1), ("copies", 1), ("content_bytes", 9)],
    );
}

#[test]
fn what_was_acknowledged_and_never_came_is_lost() {
    for (acknowledged, lost) in [(&[1, 1, 0, 1][..], 2), (&[0, 1], 0)] {
        let mut sink = Sink::start("", &["--against", "acknowledged"]);
        let mut peer = Peer::connect(sink.addresses[0]);
        peer.talk(HELLO);
        peer.talk("C MAIL FROM:<>\nS 250\nC RCPT TO:<00000009.1@b.example>\nS 250\nC DATA\nS 354\nC .\nS 250");
        write_copies(&sink.path("acknowledged"), "00000009", acknowledged);
        let (code, report) = sink.end();
        assert_eq!(code, Some(i32::from(lost > 0)));
        check(
            &report["runs"]["00000009"],
            &[("copies", 1), ("lost", lost)],
        );
    }
}

#[test]
fn it_tells_what_has_come() {
    let mut sink = Sink::start("", &["--tell-ms", "5"]);
    check(&sink.told(), &[("messages", 0), ("open", 0)]);
    let mut peer = Peer::connect(sink.addresses[0]);
    peer.talk(HELLO);
    peer.talk(
        "C MAIL FROM:<>\nS 250\nC RCPT TO:<00000003.1@b.example>\nS 250\nC DATA\nS 354\nC .\nS 250",
    );
    loop {
        let told = sink.told();
        if told["messages"] == 1 && told["copies"] == 1 {
            check(&told, &[("duplicates", 0), ("open", 1)]);
            break;
        }
    }
    // Nobody listens any more, and it goes on.
    drop(sink.stdout.take());
    peer.talk(
        "C MAIL FROM:<>\nS 250\nC RCPT TO:<00000003.1@b.example>\nS 250\nC DATA\nS 354\nC .\nS 250",
    );
    peer.talk("C QUIT\nS 221\nE");
    let (code, report) = sink.end();
    assert_eq!(code, Some(0));
    check(&report, &[("messages", 2), ("duplicates", 1)]);
}

#[test]
fn messages_are_kept_as_they_came() {
    let sink = Sink::start("", &["--keep", "kept"]);
    let mut peer = Peer::connect(sink.addresses[0]);
    peer.talk(HELLO);
    for _ in 0..2 {
        peer.talk(
            "C MAIL FROM:<>\nS 250\nC RCPT TO:<000000aa.5@b.example>\nS 250
             C DATA\nS 354\nC Subject: a\\r\\n\\r\\n..b\nC .\nS 250",
        );
    }
    for serial in 0..2 {
        let path = sink.path(&format!("kept/000000aa.5-0-{serial}.eml"));
        assert_eq!(
            std::fs::read(path).expect("a message"),
            b"Subject: a\r\n\r\n.b\r\n"
        );
    }
}

#[test]
fn the_dns_leads_to_the_sites() {
    let hosts = [
        "--hosts",
        "127.1.0.1,3",
        "--dns",
        "127.0.0.1:0",
        "--domains",
        "5",
    ];
    let sink = Sink::start("", &hosts);
    let ports: Vec<u16> = sink.addresses.iter().map(SocketAddr::port).collect();
    assert_eq!(sink.addresses.len(), 4);
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    Peer::connect(sink.addresses[2]).talk(HELLO);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
        .connect(sink.dns.expect("an address"))
        .expect("connected");
    let ask = |name: &str, kind: u8| {
        let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(&[0, 0, kind, 0, 1]);
        socket.send(&query).expect("sent");
        let mut answer = vec![0; 512];
        let len = socket.recv(&mut answer).expect("an answer");
        answer.truncate(len);
        assert_eq!(answer[..2], query[..2]);
        answer
    };
    let exchangers = ask("d4.rcpt.example", 15);
    assert!(exchangers.windows(5).any(|window| window == b"\x02mx\x02s"));
    assert!(
        exchangers.windows(3).any(|window| window == b"\x02s1"),
        "4 modulo 3"
    );
    assert!(ask("mx.s1.sites.example", 1).ends_with(&[0, 4, 127, 1, 0, 2]));
    assert_eq!(
        ask("d5.rcpt.example", 15)[3] & 15,
        3,
        "there is no such domain"
    );
}

#[test]
fn it_says_why_it_does_not_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("script.toml");
    std::fs::write(
        &script,
        "rule = [{ answers = [{ at = \"rcpt\", code = 200 }] }]",
    )
    .expect("written");
    let script = script.to_str().expect("a path");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").to_string();
    for (arguments, words) in [
        (
            &["--listen", "127.0.0.1:0", "--script", script][..],
            "code = 200: allowed is 400 to 599",
        ),
        (
            &["--listen", "127.0.0.1:0", "--script", "/nowhere.toml"],
            "/nowhere.toml",
        ),
        (
            &["--listen", "127.0.0.1:0", "--hosts", "10.0.0.1,3"],
            "FIRST,COUNT",
        ),
        (
            &["--listen", "127.0.0.1:0", "--domains", "1000001"],
            "0 to 1000000",
        ),
        (&["--listen", &taken], &taken),
    ] {
        let Output { status, stderr, .. } = mailbench()
            .arg("sink")
            .args(arguments)
            .output()
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(words), "{words:?} is not in: {stderr}");
    }
}

/// Says a line inside TLS or outside, and awaits a reply with this code.
async fn ask(stream: &mut Stream, line: &str, code: &str) {
    let deadline = clock::after(PATIENCE.as_micros() as u64);
    stream
        .write_all(line.as_bytes(), deadline)
        .await
        .expect("sent");
    let mut reply = Vec::new();
    loop {
        let mut bytes = [0; 1024];
        let len = stream.read(&mut bytes, deadline).await.expect("a reply");
        assert!(len > 0, "it ended behind {reply:?}");
        reply.extend_from_slice(&bytes[..len]);
        let text = String::from_utf8_lossy(&reply);
        if let Some(text) = text.strip_suffix("\r\n") {
            let last = text.lines().last().unwrap_or_default();
            if last.as_bytes().get(3) == Some(&b' ') {
                assert!(last.starts_with(code), "{line:?} got {text}");
                return;
            }
        }
    }
}

#[test]
fn tls_is_offered_or_there_from_the_first_byte() {
    for mode in ["starttls", "implicit"] {
        let mut sink = Sink::start("", &["--tls", mode]);
        let address = sink.addresses[0];
        shard::run_one(async move {
            let deadline = clock::after(PATIENCE.as_micros() as u64);
            let mut stream = Stream::connect(address, None, deadline)
                .await
                .expect("connected");
            let connector = Connector::opportunistic().expect("a connector");
            if mode == "starttls" {
                ask(&mut stream, "", "220 ").await;
                ask(&mut stream, "EHLO a.example\r\n", "250 ").await;
                ask(&mut stream, "STARTTLS\r\n", "220 ").await;
            }
            let secured = stream
                .connect_tls(&connector, "sink.example", deadline)
                .await;
            secured.expect("a handshake");
            if mode == "implicit" {
                ask(&mut stream, "", "220 ").await;
            }
            ask(&mut stream, "EHLO a.example\r\n", "250 ").await;
            ask(&mut stream, "MAIL FROM:<>\r\n", "250 ").await;
            ask(&mut stream, "RCPT TO:<00000005.0@b.example>\r\n", "250 ").await;
            ask(&mut stream, "DATA\r\n", "354 ").await;
            ask(&mut stream, ".\r\n", "250 ").await;
        })
        .expect("a shard");
        let (_, report) = sink.end();
        check(
            &report["runs"]["00000005"],
            &[("copies", 1), ("duplicates", 0)],
        );
    }
}
