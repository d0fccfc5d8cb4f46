//! TLS with other people's programs and with ourselves: by STARTTLS and from the first byte on, in and out, and
//! what happens where it fails.

use mailrail_tests::program::{find, run, succeed};
use mailrail_tests::{Answer, Script, Server, Sink, message, wait};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// A certificate for 127.0.0.1, in files that can be renewed.
struct Paper {
    directory: TempDir,
}

impl Paper {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let paper = Self { directory };
        paper.renew();
        paper
    }

    /// Another certificate in the same files.
    fn renew(&self) {
        let names = vec!["127.0.0.1".into(), "mx.test.example".into()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        fs::write(self.certificate(), made.cert.pem()).expect("a file");
        fs::write(self.key(), made.signing_key.serialize_pem()).expect("a file");
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("mx.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("mx.key")
    }

    /// The lines of a listener that shows it.
    fn lines(&self, mode: &str) -> [String; 3] {
        [
            format!("tls = \"{mode}\""),
            format!("certificate = \"{}\"", self.certificate().display()),
            format!("key = \"{}\"", self.key().display()),
        ]
    }
}

/// A server whose first listener offers STARTTLS, and whose second is inside TLS.
fn secure_server(paper: &Paper, sink: &Sink) -> Server {
    let mut setup = Server::setup();
    for line in paper.lines("starttls") {
        setup = setup.listener(&line);
    }
    let implicit = paper.lines("implicit");
    let implicit: Vec<&str> = implicit.iter().map(String::as_str).collect();
    setup = setup.another_listener(&implicit);
    setup.route("*", sink.address()).start()
}

/// The event of a type with this number, counted from 1, once it is told.
#[track_caller]
fn event(server: &Server, kind: &str, number: usize) -> Value {
    wait::until(kind, || server.events_of(kind).into_iter().nth(number - 1))
}

/// The message with this number came inside TLS, and the sink has it. The version of TLS.
#[track_caller]
fn came_inside_tls(server: &Server, sink: &Sink, content: &[u8], number: usize) -> String {
    let received = sink.next();
    let body = message::without_received(&received.content);
    assert!(body.starts_with(content), "it changed on its way");
    let field = &received.content[..received.content.len() - body.len()];
    let field = String::from_utf8_lossy(field);
    //= RFC 3848 section 1: ESMTPS where STARTTLS, or TLS from the start, protects
    assert!(field.contains("with ESMTPS"), "{field}");
    let last = event(server, "Reception", number);
    assert_eq!(last["reception_protocol"], "ESMTPS");
    let version = last["tls_protocol_version"].as_str().unwrap_or_default();
    assert!(version.starts_with("TLSv1."), "{last}");
    assert!(
        last["tls_cipher"]
            .as_str()
            .unwrap_or_default()
            .starts_with("TLS_"),
        "{last}"
    );
    version.to_owned()
}

#[test]
fn swaks_and_curl_send_inside_tls() {
    let (paper, sink) = (Paper::new(), Sink::start());
    let server = secure_server(&paper, &sink);
    let content = message::awkward("tls");
    let mut numbers = 1..;
    let mut next = || numbers.next().expect("a number");
    if let Some(swaks) = find("swaks", "swaks") {
        for (listener, how) in [(0, "--tls"), (1, "--tlsc")] {
            let to = server.listener(listener).to_string();
            let arguments = [
                "--silent",
                "3",
                how,
                "--server",
                &to,
                "--helo",
                "client.example",
                "--from",
                "a@client.example",
                "--to",
                "b@sink.example",
                "--data",
                "-",
            ];
            succeed(&swaks, &arguments, &content);
            let sent = content.strip_suffix(b"\r\n").unwrap_or(&content);
            came_inside_tls(&server, &sink, sent, next());
        }
    }
    if let Some(curl) = find("curl", "curl") {
        for (listener, scheme) in [(0, "smtp"), (1, "smtps")] {
            let url = format!("{scheme}://{}/client.example", server.listener(listener));
            let certificate = paper.certificate().display().to_string();
            let arguments = [
                "--silent",
                "--show-error",
                "--max-time",
                "60",
                "--ssl-reqd",
                "--cacert",
                &certificate,
                "--url",
                &url,
                "--mail-from",
                "a@client.example",
                "--mail-rcpt",
                "b@sink.example",
                "--upload-file",
                "-",
            ];
            succeed(&curl, &arguments, &content);
            came_inside_tls(&server, &sink, &content, next());
        }
    }
}

/// What openssl's client is told by the server, with its own report in front.
fn s_client(openssl: &Path, server: &Server, arguments: &[&str], input: &str) -> String {
    let to = server.address().to_string();
    let mut all = vec!["s_client", "-starttls", "smtp", "-ign_eof", "-connect", &to];
    all.extend_from_slice(arguments);
    String::from_utf8_lossy(&run(openssl, &all, input.as_bytes()).stdout).into_owned()
}

#[test]
fn both_versions_are_spoken_and_mail_in_clear_text_goes_on() {
    let Some(openssl) = find("openssl", "openssl") else {
        return;
    };
    let (paper, sink) = (Paper::new(), Sink::start());
    let server = secure_server(&paper, &sink);
    let content = "Subject: s\r\n\r\nx\r\n";
    for (version, number) in [("-tls1_2", 1), ("-tls1_3", 2)] {
        // Behind EHLO everything may be sent at once.
        let input = format!(
            "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@sink.example>\r\n\
             BDAT {} LAST\r\n{content}QUIT\r\n",
            content.len()
        );
        let told = s_client(&openssl, &server, &[version], &input);
        let (_, told) = told.split_once("250").expect("an answer to EHLO");
        //= RFC 3207 section 4.2: STARTTLS is not offered again
        let behind = told
            .split_once("client.example")
            .map_or(told, |(_, rest)| rest);
        assert!(!behind.contains("STARTTLS"), "{told}");
        let spoken = came_inside_tls(&server, &sink, content.as_bytes(), number);
        assert_eq!(spoken.chars().last(), version.chars().last());
    }
    let mut client = server.client();
    client
        .submit("a@client.example", &["b@sink.example"], content.as_bytes())
        .expect("a connection")
        .expect(250);
    let received = sink.next();
    let text = String::from_utf8_lossy(&received.content);
    assert!(text.contains("with ESMTP") && !text.contains("with ESMTPS"));
    let last = event(&server, "Reception", 3);
    assert_eq!(last.get("tls_cipher"), None);
}

/// CVE-2011-0411: what somebody put behind STARTTLS in clear text must not count as the client's.
#[test]
fn commands_behind_starttls_are_not_carried_into_tls() {
    let (paper, sink) = (Paper::new(), Sink::start());
    let server = secure_server(&paper, &sink);
    let mut client = server.client();
    client
        .send(b"STARTTLS\r\nMAIL FROM:<evil@client.example>\r\n")
        .expect("a connection");
    client.reply().expect(554);
    assert!(client.is_closed());
    // And garbage in place of a handshake ends the connection.
    let mut client = server.client();
    client.command("STARTTLS").expect(220);
    client
        .send(b"EHLO client.example\r\n")
        .expect("a connection");
    assert!(client.try_reply().is_err());
    assert_eq!(sink.connection_count(), 0);
}

#[test]
fn a_reload_takes_a_renewed_certificate() {
    let Some(openssl) = find("openssl", "openssl") else {
        return;
    };
    let (paper, sink) = (Paper::new(), Sink::start());
    let mut server = secure_server(&paper, &sink);
    let shown = |server: &Server| {
        let told = s_client(&openssl, server, &[], "QUIT\r\n");
        let start = told.find("-----BEGIN").expect("a certificate");
        let end = told.find("-----END").expect("a whole one");
        told[start..end].to_owned()
    };
    let in_file = || {
        let text = fs::read_to_string(paper.certificate()).expect("a file");
        text[..text.find("-----END").expect("an end")].replace("\r\n", "\n")
    };
    let first = in_file();
    assert_eq!(shown(&server), first);
    paper.renew();
    assert_ne!(in_file(), first);
    server.reconfigure(|setup| setup);
    wait::until("the renewed certificate", || {
        (shown(&server) == in_file()).then_some(())
    });
}

/// From one server to another, which the first has to find trustworthy or not.
#[test]
fn mail_goes_out_inside_tls_as_it_is_asked_for() {
    let (paper, other, sink) = (Paper::new(), Paper::new(), Sink::start());
    let next = secure_server(&paper, &sink);
    let roots = |paper: &Paper| format!("ca_file = \"{}\"", paper.certificate().display());
    for (mode, ca_file, delivered) in [
        ("Opportunistic", None, Some(1)),
        ("RequiredInsecure", None, Some(2)),
        ("Required", Some(roots(&paper)), Some(3)),
        ("Required", Some(roots(&other)), None),
    ] {
        let mut setup = Server::setup().route("*", next.address());
        setup = setup.set("delivery", &format!("enable_tls = \"{mode}\""));
        if let Some(line) = ca_file {
            setup = setup.set("delivery", &line);
        }
        let server = setup.start();
        let content = message::awkward(mode);
        server
            .client()
            .submit("a@client.example", &["b@sink.example"], &content)
            .expect("a connection")
            .expect(250);
        if let Some(number) = delivered {
            let delivery = event(&server, "Delivery", 1);
            assert_eq!(delivery["tls_protocol_version"], "TLSv1.3");
            let body = sink.next().content;
            assert!(body.ends_with(&content), "{mode}: it changed on its way");
            let last = event(&next, "Reception", number);
            assert_eq!(last["reception_protocol"], "ESMTPS");
        } else {
            let failure = event(&server, "TransientFailure", 1);
            let response = &failure["response"];
            assert_eq!(response["enhanced_code"]["subject"], 7, "{failure}");
            let text = response["content"].as_str().unwrap_or_default();
            assert!(text.contains("certificate"), "{text}");
            assert!(sink.already().is_none());
        }
    }
}

/// Who offers STARTTLS and cannot do it gets mail in clear text.
#[test]
fn a_broken_offer_does_not_keep_mail_from_going() {
    let tried = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&tried);
    let script = Script::new(move |step| match step.verb {
        "STARTTLS" => {
            counter.fetch_add(1, Ordering::Relaxed);
            Answer::Close("220 go ahead")
        }
        _ => Answer::Accept,
    });
    let sink = Sink::with(script.offering(&["PIPELINING", "8BITMIME", "STARTTLS"]));
    let setup = Server::setup().top("shards = 1").route("*", sink.address());
    let server = setup
        .set("delivery", "max_deliveries_per_connection = 1")
        .start();
    for _ in 0..2 {
        let content = message::awkward("clear");
        server
            .client()
            .submit("a@client.example", &["b@sink.example"], &content)
            .expect("a connection")
            .expect(250);
        assert!(sink.next().content.ends_with(&content));
    }
    assert_ne!(tried.load(Ordering::Relaxed), 0);
    let delivery = event(&server, "Delivery", 1);
    assert_eq!(delivery.get("tls_cipher"), None);
}

#[test]
fn what_requires_tls_waits_without() {
    let sink = Sink::start();
    let setup = Server::setup().route("*", sink.address());
    let server = setup
        .set("delivery", "enable_tls = \"RequiredInsecure\"")
        .start();
    let content = message::awkward("waits");
    server
        .client()
        .submit("a@client.example", &["b@sink.example"], &content)
        .expect("a connection")
        .expect(250);
    let failure = event(&server, "TransientFailure", 1);
    assert_eq!(failure["response"]["code"], 421);
    assert_eq!(failure["response"]["enhanced_code"]["subject"], 7);
    let text = failure["response"]["content"].as_str().unwrap_or_default();
    assert!(text.contains("does not offer TLS"), "{text}");
    assert!(sink.already().is_none());
}
