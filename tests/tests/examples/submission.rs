//! TLS and AUTH on the tokio server: swaks, curl, smtplib and gsasl hand mail in.

use mailrail_tests::examples::{Example, only_file};
use mailrail_tests::program::{find, run, succeed};
use mailrail_tests::{Client, message, peers};
use std::path::PathBuf;
use tempfile::TempDir;

use super::{RECIPIENT, SENDER, assert_same, directory, text};

pub(super) const USER: &str = "tim:tanstaaf";

pub(super) struct Submission {
    pub(super) server: Example,
    pub(super) store: TempDir,
    pub(super) certificate: PathBuf,
}

impl Submission {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let store = directory();
        let certificate = store.path().with_extension("pem");
        let mut all = vec!["--store", text(store.path()), "--auth", USER];
        all.extend(["--certificate", text(&certificate)]);
        all.extend(arguments);
        let server = Example::start("tokio_server", &all);
        Self {
            server,
            store,
            certificate,
        }
    }

    /// A message has come, from whoever has authenticated in this way.
    #[track_caller]
    pub(super) fn took(&self, peer: &str, mechanism: &str, content: &[u8]) {
        let said = self.server.says("tim has authenticated by ");
        assert_eq!(said, mechanism, "{peer}");
        self.server.says("message ");
        let received = only_file(self.store.path());
        assert_same(peer, peers::as_sent(peer, &received), content);
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.certificate);
    }
}

#[test]
fn swaks_submits_behind_tls() {
    let Some(swaks) = find("swaks", "swaks") else {
        return;
    };
    let content = message::awkward("swaks");
    for (mode, tls) in [(None, "--tls"), (Some("--tls"), "--tls-on-connect")] {
        let submission = Submission::start(&Vec::from_iter(mode));
        let server = submission.server.address().to_string();
        for mechanism in ["PLAIN", "LOGIN"] {
            let mut arguments = vec!["--silent", "3", "--server", &server, "--from", SENDER];
            arguments.extend(["--to", RECIPIENT, "--data", "-", tls, "--auth", mechanism]);
            arguments.extend(["--auth-user", "tim", "--auth-password"]);
            let bad = run(&swaks, &[&*arguments, &["wrong"]].concat(), &content);
            assert!(!bad.status.success(), "a wrong password was taken");
            arguments.push("tanstaaf");
            succeed(&swaks, &arguments, &content);
            submission.took("swaks", mechanism, &content);
        }
    }
}

#[test]
fn curl_submits_behind_tls() {
    let Some(curl) = find("curl", "curl") else {
        return;
    };
    let content = message::awkward("curl");
    for (mode, scheme) in [(None, "smtp"), (Some("--tls"), "smtps")] {
        let submission = Submission::start(&Vec::from_iter(mode));
        // The name in the certificate, and no other address behind it.
        let url = format!(
            "{scheme}://localhost:{}",
            submission.server.address().port()
        );
        for mechanism in ["PLAIN", "LOGIN"] {
            let login = format!("AUTH={mechanism}");
            let mut arguments = vec!["--silent", "--show-error", "--ipv4", "--max-time", "60"];
            arguments.extend(["--ssl-reqd", "--cacert", text(&submission.certificate)]);
            arguments.extend([
                "--login-options",
                &login,
                "--url",
                &url,
                "--mail-from",
                SENDER,
            ]);
            arguments.extend(["--mail-rcpt", RECIPIENT, "--upload-file", "-", "--user"]);
            let bad = run(&curl, &[&*arguments, &["tim:wrong"]].concat(), &content);
            assert!(!bad.status.success(), "a wrong password was taken");
            arguments.push(USER);
            succeed(&curl, &arguments, &content);
            submission.took("curl", mechanism, &content);
        }
    }
}

#[test]
fn smtplib_submits_behind_tls() {
    const SCRIPT: &str = "\
import smtplib, ssl, sys
port, file, mode, mechanism, password = sys.argv[1:]
context = ssl.create_default_context(cafile=file)
options = dict(host='localhost', port=int(port), local_hostname='client.example', timeout=60)
if mode == 'tls':
    server = smtplib.SMTP_SSL(context=context, **options)
else:
    server = smtplib.SMTP(**options)
    server.starttls(context=context)
server.ehlo()
server.user, server.password = 'tim', password
server.auth(mechanism, getattr(server, 'auth_' + mechanism.lower()))
content = sys.stdin.buffer.read()
refused = server.sendmail('a@client.example', ['b@mx.example'], content, mail_options=['BODY=8BITMIME'])
assert not refused, refused
server.quit()
";
    let Some(python) = find("python3", "python3") else {
        return;
    };
    let content = message::awkward("smtplib");
    for mode in ["starttls", "tls"] {
        let arguments: &[&str] = if mode == "tls" { &["--tls"] } else { &[] };
        let submission = Submission::start(arguments);
        let port = submission.server.address().port().to_string();
        for mechanism in ["PLAIN", "LOGIN"] {
            let file = text(&submission.certificate);
            let arguments = ["-c", SCRIPT, &port, file, mode, mechanism];
            let bad = run(&python, &[&arguments[..], &["wrong"]].concat(), &content);
            assert!(!bad.status.success(), "a wrong password was taken");
            succeed(&python, &[&arguments[..], &["tanstaaf"]].concat(), &content);
            submission.took("python3", mechanism, &content);
        }
    }
}

/// GNU SASL knows SCRAM, which hides the password without TLS, too. It sends no mail.
#[test]
fn gsasl_authenticates_by_scram() {
    let Some(gsasl) = find("gsasl", "gsasl") else {
        return;
    };
    let submission = Submission::start(&[]);
    let server = submission.server.address().to_string();
    let mut arguments = vec!["--smtp", "--connect", &server, "--no-starttls", "--quiet"];
    arguments.extend(["--mechanism", "SCRAM-SHA-256", "--authentication-id", "tim"]);
    arguments.push("--password");
    let bad = run(&gsasl, &[&*arguments, &["wrong"]].concat(), b"");
    assert!(!bad.status.success(), "a wrong password was taken");
    succeed(&gsasl, &[&*arguments, &["tanstaaf"]].concat(), b"");
    let said = submission.server.says("tim has authenticated by ");
    assert_eq!(said, "SCRAM-SHA-256");
}

#[test]
fn nobody_submits_without_auth_or_a_password_in_clear() {
    let submission = Submission::start(&[]);
    let mut client = Client::open(submission.server.address()).expect("a connection");
    client.reply().expect(220);
    let offered = client.command("EHLO client.example").expect(250).lines;
    assert!(
        offered.contains(&"AUTH SCRAM-SHA-256".to_owned()),
        "{offered:?}"
    );
    client
        .command("MAIL FROM:<a@client.example>")
        .expect_text(530, "5.7.0");
    let refused = client.command("AUTH PLAIN AHRpbQB0YW5zdGFhZg==");
    assert!(refused.code >= 500, "{refused:?}");
}
