//! What a server is set to: built once, lent to each session. Nothing here changes while a session
//! runs, and nothing here knows where the values come from.

use crate::command::Strictness;
use crate::extension::{Extension, Extensions};
use crate::sasl::Mechanisms;
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
    /// How exactly a peer must obey the grammar.
    pub strictness: Strictness,
    /// LMTP and not SMTP: LHLO, and an answer for each recipient behind the body.
    //= RFC 2033 section 4: LHLO in place of EHLO, and a reply for each recipient after the final dot
    pub lmtp: bool,
    /// Mechanisms of AUTH that are offered without TLS too.
    //= RFC 4954 section 4: passwords in clear text want an encrypted connection
    pub mechanisms_in_clear: Mechanisms,
    /// Nothing but NOOP, EHLO, STARTTLS, RSET and QUIT before TLS.
    pub tls_required: bool,
    /// No MAIL before AUTH.
    pub auth_required: bool,
    /// Commands that are not known here are asked of the caller ([`crate::command::Other::Private`]).
    pub private_commands: bool,
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
            strictness: Strictness::STRICT,
            lmtp: false,
            mechanisms_in_clear: Mechanisms::NONE,
            tls_required: false,
            auth_required: false,
            private_commands: false,
        }
    }
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
    /// Transactions that one connection may have; the next get 452.
    pub mail_count_max: u32,
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
            mail_count_max: u32::MAX,
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
