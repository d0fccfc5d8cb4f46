//! What a client is set to: built once, lent to each session. Which peer it talks to, and what a
//! peer is worth, is not known here.

use alloc::string::String;
use core::time::Duration;

/// How a client behaves. `new`, then change fields.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The name behind EHLO: a domain or an address literal.
    pub hostname: String,
    /// How long a peer may take.
    pub timeouts: Timeouts,
    /// Send several commands at once where PIPELINING is offered.
    pub pipelining: bool,
    /// Send by BDAT where CHUNKING is offered.
    pub chunking: bool,
    /// Send content of unknown size in chunks of the caller's where CHUNKING is offered, and not by DATA.
    /// Binary content of unknown size always goes so.
    pub own_chunks: bool,
    /// Speak LMTP: LHLO, and an answer for each recipient behind the content.
    pub lmtp: bool,
    /// Octets of a body that may follow BDAT at once, before the recipients are answered for. 64 KiB by
    /// default.
    pub at_once_max: u64,
    /// The same when this connection has already taken a message. 1 MiB by default.
    pub at_once_proven_max: u64,
}

impl Config {
    /// The defaults, under this name: pipelining and chunking where the peer offers them, SMTP.
    ///
    /// # Panics
    /// If the name is empty or holds anything but visible ASCII: it would break the dialogue.
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        assert!(
            !hostname.is_empty() && hostname.bytes().all(|octet| octet.is_ascii_graphic()),
            "a client's name is visible ASCII"
        );
        Self {
            hostname: hostname.into(),
            timeouts: Timeouts::default(),
            pipelining: true,
            chunking: true,
            own_chunks: false,
            lmtp: false,
            at_once_max: 64 * 1024,
            at_once_proven_max: 1024 * 1024,
        }
    }
}

/// How long a peer may take for each answer, from the moment it is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// For the greeting. 1 minute by default.
    pub greeting: Duration,
    /// For EHLO, HELO and STARTTLS. 5 minutes by default.
    pub ehlo: Duration,
    /// For AUTH and for each response of its exchange. 5 minutes by default.
    pub auth: Duration,
    /// For a command sent by [`super::Session::ask`]. 5 minutes by default.
    pub other: Duration,
    /// For MAIL and RSET. 5 minutes by default.
    pub mail: Duration,
    /// For each RCPT. 5 minutes by default.
    pub recipient: Duration,
    /// For DATA. 2 minutes by default.
    pub data: Duration,
    /// For the end of the content, for each chunk of it, and in LMTP for each recipient behind it. 10
    /// minutes by default.
    pub data_dot: Duration,
    /// For QUIT, whose answer hardly matters. 5 seconds by default.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        //= RFC 5321 section 4.5.3.2: 5 minutes for MAIL and RCPT, 2 for DATA, 10 for the end of the data;
        //= RFC 5321 section 4.5.3.2.1: 5 for the greeting, cut to one here: a host so slow is tried again later
        Self {
            greeting: Duration::from_secs(60),
            ehlo: Duration::from_secs(300),
            auth: Duration::from_secs(300),
            other: Duration::from_secs(300),
            mail: Duration::from_secs(300),
            recipient: Duration::from_secs(300),
            data: Duration::from_secs(120),
            data_dot: Duration::from_secs(600),
            quit: Duration::from_secs(5),
        }
    }
}
