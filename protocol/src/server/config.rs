//! What a server is set to: built once, lent to each session. Nothing here changes while a session
//! runs, and nothing here knows where the values come from.

use crate::extension::{Extension, Extensions};
use alloc::string::String;
use core::time::Duration;

/// What a server says and allows. `new`, then change fields.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The name that greeting and EHLO open with.
    pub hostname: String,
    /// The words behind the greeting's `ESMTP`; may be empty.
    pub greeting: String,
    /// What EHLO offers; SIZE names the largest message in octets.
    pub extensions: Extensions,
    /// What a peer may use up.
    pub limits: Limits,
    /// How long a peer may take.
    pub timeouts: Timeouts,
    /// A CR or LF alone in a body.
    pub bare_line_ends: Verdict,
    /// An octet 0 in a body.
    pub nul: Verdict,
}

impl Config {
    /// The defaults, under this name.
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.into(),
            greeting: String::new(),
            extensions: Extensions::NONE
                .with(Extension::Pipelining)
                .with_size_max(50 * 1024 * 1024)
                .with(Extension::EightBitMime)
                .with(Extension::EnhancedStatusCodes)
                .with(Extension::Chunking)
                .with(Extension::SmtpUtf8),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            bare_line_ends: Verdict::Reject,
            nul: Verdict::Reject,
        }
    }
}

/// What to do with a message that holds what it should not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Refuse it after its end.
    Reject,
    /// Take it as it is.
    Accept,
}

/// What a peer may use up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Recipients that one transaction may have; the next get 452.
    pub recipient_count_max: u32,
    /// Errors of the peer's before it is sent away.
    pub error_count_max: u32,
    /// Refusals by the caller (of senders, recipients, ...) since the last message taken, before the peer is sent away.
    pub refusal_count_max: u32,
    /// Commands since the last message taken before the peer is sent away.
    pub command_count_max: u32,
    /// Octets of body read and thrown away behind a refusal before the connection is cut.
    pub swallow_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            recipient_count_max: 1000,
            error_count_max: 20,
            refusal_count_max: 200,
            command_count_max: 4000,
            swallow_max: 64 * 1024 * 1024,
        }
    }
}

/// How long a peer may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// For one whole command line.
    pub command: Duration,
    /// For the next stretch of a body.
    pub body: Duration,
    /// For a body from its first octet to its last.
    pub body_total: Duration,
    /// Since the connection began or the last message was taken, for as long as no body is under way.
    pub idle_total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        //= RFC 5321 section 4.5.3.2.7: a server waits at least 5 minutes for the next command
        Self {
            command: Duration::from_secs(300),
            body: Duration::from_secs(300),
            body_total: Duration::from_secs(3600),
            idle_total: Duration::from_secs(1800),
        }
    }
}
