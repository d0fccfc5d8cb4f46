//! Postfix's smtp-source and smtp-sink: nobody's ends. What they cannot do is told, not left out in silence.

use super::Order;
use crate::cli::Tls;
use crate::compare::watch::Trouble;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// Connections that smtp-sink lets wait.
const BACKLOG: &str = "1000";
/// Both live where the path of an ordinary user does not lead.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/libexec/postfix"];

pub(super) fn sink(address: SocketAddr) -> Command {
    let mut command = Command::new(found("smtp-sink").unwrap_or_else(|| "smtp-sink".into()));
    command.arg("-c");
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "nobody"]);
    }
    command.args([&format!("inet:{}", written(address)), BACKLOG]);
    command
}

/// # Errors
/// When it cannot do what it should.
pub(super) fn source(order: Order<'_>) -> Result<Command, Trouble> {
    let load = order.load;
    let impossible = [
        (load.pipelining, "pipelining"),
        (load.bdat, "BDAT"),
        (load.tls != Tls::Off, "TLS"),
        (load.rate.is_some(), "a rate"),
        (load.per_connection > 1, "some messages a connection"),
    ];
    if let Some((_, what)) = impossible.iter().find(|(is_asked, _)| *is_asked) {
        return Err(Trouble::Failed(format!("smtp-source has no {what}")));
    }
    let mut command = Command::new(found("smtp-source").unwrap_or_else(|| "smtp-source".into()));
    if load.per_connection == 0 {
        command.arg("-d");
    }
    command.args(["-s", &load.sessions.to_string()]);
    command.args(["-m", &order.messages.to_string()]);
    command.args(["-l", &load.size_len.to_string()]);
    command.args(["-f", "from@d0.sender.example"]);
    command.args(["-t", order.recipient.unwrap_or("to@d0.rcpt.example")]);
    command.arg(format!("inet:{}", written(order.server)));
    Ok(command)
}

pub(super) fn missing() -> Option<String> {
    let is_missing = |name: &&str| found(name).is_none();
    let names: Vec<&str> = ["smtp-source", "smtp-sink"]
        .into_iter()
        .filter(is_missing)
        .collect();
    (!names.is_empty()).then(|| format!("{} (Debian: package postfix)", names.join(", ")))
}

fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// As Postfix writes addresses: an IPv6 address stands in brackets there, too.
fn written(address: SocketAddr) -> String {
    address.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scenario::{self, Load};

    fn arguments(load: &Load) -> Result<String, Trouble> {
        let order = Order {
            server: SocketAddr::from(([127, 0, 0, 1], 2525)),
            load,
            messages: 500,
            run: 1,
            recipient: None,
            limit_s: 9,
        };
        let words = |command: Command| -> Vec<String> {
            let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
            command.get_args().map(text).collect()
        };
        source(order).map(|command| words(command).join(" "))
    }

    #[test]
    fn connections_are_kept_unless_each_message_shall_have_its_own() {
        let load = scenario::by_name("relay-100").expect("a scenario").load;
        let rest = "-s 100 -m 500 -l 4096 -f from@d0.sender.example -t to@d0.rcpt.example \
                    inet:127.0.0.1:2525";
        assert_eq!(arguments(&load), Ok(format!("-d {rest}")));
        let fresh = Load {
            per_connection: 1,
            ..load
        };
        assert_eq!(arguments(&fresh), Ok(rest.into()));
    }

    #[test]
    fn what_it_cannot_do_is_refused() {
        let load = scenario::by_name("relay-50").expect("a scenario").load;
        for (load, what) in [
            (Load { bdat: true, ..load }, "BDAT"),
            (
                Load {
                    rate: Some(1.0),
                    ..load
                },
                "a rate",
            ),
            (
                Load {
                    per_connection: 7,
                    ..load
                },
                "some messages a connection",
            ),
            (
                Load {
                    tls: Tls::Starttls,
                    ..load
                },
                "TLS",
            ),
        ] {
            let expected = Trouble::Failed(format!("smtp-source has no {what}"));
            assert_eq!(arguments(&load), Err(expected));
        }
    }
}
