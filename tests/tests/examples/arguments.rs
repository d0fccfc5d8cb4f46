//! The command lines: what is wrong is named, and `--help` is an answer.

use mailrail_tests::examples::example;
use mailrail_tests::program::run;

use super::{RECIPIENT, directory, text};

#[test]
fn wrong_arguments_are_named() {
    const PROGRAMS: [&str; 7] = [
        "blocking_client",
        "blocking_server",
        "glommio_server",
        "lmtp_server",
        "proxy",
        "tokio_client",
        "tokio_server",
    ];
    let ends = |name: &str, arguments: &[&str], code: i32, said: &str| {
        let output = run(&example(name), arguments, b"");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{name} {arguments:?}: {error}"
        );
        assert!(error.contains(said), "{name} {arguments:?}: {error}");
        output.stdout
    };
    for name in PROGRAMS {
        let code = if name.ends_with("client") { 2 } else { 1 };
        let usage = ends(name, &["--help"], 0, "");
        assert!(usage.starts_with(b"usage: "), "{name}");
        if name == "proxy" {
            ends(name, &[], code, "usage: ");
            ends(name, &["nowhere", "127.0.0.1:1"], code, "nowhere: ");
            continue;
        }
        ends(name, &["--bogus"], code, "--bogus is not known");
        if name.ends_with("client") {
            ends(name, &[], code, "--server is missing");
            ends(name, &["--server"], code, "--server needs a value");
            let server = ["--server", "127.0.0.1:1", "--to", RECIPIENT];
            ends(name, &server, code, "127.0.0.1:1: ");
        } else {
            ends(name, &["--count", "x"], code, "--count x: ");
            let directory = directory();
            let mut arguments = vec!["--listen", "nowhere"];
            if name == "lmtp_server" {
                arguments.extend(["--maildirs", text(directory.path())]);
            }
            ends(name, &arguments, code, "nowhere: ");
        }
    }
}
