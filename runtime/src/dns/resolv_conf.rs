//! Reads the text of `/etc/resolv.conf`. Pure: no file is opened here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Servers taken from the file, the rest is left.
pub const SERVER_COUNT_MAX: usize = 8;
const PORT: u16 = 53;
const TIMEOUT_DEFAULT: u64 = 5;
const TIMEOUT_MAX: u64 = 30;
const ATTEMPTS_DEFAULT: u32 = 2;
const ATTEMPTS_MAX: u32 = 5;

/// What the file says that is of use to us. Search lists are not: mail domains are complete names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvConf {
    /// In the order of the file; never empty: without any it is this host's own server.
    pub servers: Vec<SocketAddr>,
    /// For one try.
    pub timeout: Duration,
    /// Rounds over the servers.
    pub attempts: u32,
}

/// Reads the text. What is not understood is passed over, as resolv.conf(5) readers do.
pub fn parse(text: &str) -> ResolvConf {
    let mut servers = Vec::new();
    let mut timeout = TIMEOUT_DEFAULT;
    let mut attempts = ATTEMPTS_DEFAULT;
    for line in text.lines() {
        // Comments start a line only.
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.next().and_then(server)),
            Some("options") => {
                for option in words {
                    match option.split_once(':') {
                        Some(("timeout", value)) => {
                            timeout = value.parse().unwrap_or(timeout).clamp(1, TIMEOUT_MAX);
                        }
                        Some(("attempts", value)) => {
                            attempts = value.parse().unwrap_or(attempts).clamp(1, ATTEMPTS_MAX);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    servers.truncate(SERVER_COUNT_MAX);
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    ResolvConf {
        servers,
        timeout: Duration::from_secs(timeout),
        attempts,
    }
}

/// An address, with port 53. One with a scope (`fe80::1%eth0`) is passed over: the number of the
/// interface is not known here.
fn server(word: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let cases: &[(&str, &[&str], u64, u32)] = &[
            ("", &["127.0.0.1:53"], 5, 2),
            ("nameserver 192.0.2.1\n", &["192.0.2.1:53"], 5, 2),
            (
                "# comment\n; comment\nsearch example.com\nnameserver\t192.0.2.1\r\n\
                 nameserver 2001:db8::1   # not read\noptions rotate timeout:1 attempts:3 edns0",
                &["192.0.2.1:53", "[2001:db8::1]:53"],
                1,
                3,
            ),
            (
                "options timeout:0 attempts:99\nnameserver ::1",
                &["[::1]:53"],
                1,
                5,
            ),
            (
                "options timeout:99999999999999999999 attempts:x",
                &["127.0.0.1:53"],
                5,
                2,
            ),
            (
                "nameserver fe80::1%eth0\nnameserver nonsense\nnameserver",
                &["127.0.0.1:53"],
                5,
                2,
            ),
            (" nameserver 192.0.2.7", &["192.0.2.7:53"], 5, 2),
        ];
        for (text, servers, timeout, attempts) in cases {
            let want = ResolvConf {
                servers: servers.iter().map(|text| text.parse().unwrap()).collect(),
                timeout: Duration::from_secs(*timeout),
                attempts: *attempts,
            };
            assert_eq!(parse(text), want, "{text:?}");
        }
    }

    #[test]
    fn at_most_so_many_servers() {
        let text = "nameserver 192.0.2.1\n".repeat(100);
        assert_eq!(parse(&text).servers.len(), SERVER_COUNT_MAX);
    }
}
