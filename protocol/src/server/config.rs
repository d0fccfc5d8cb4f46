//! What a server is set to: built once, lent to each session. Nothing here changes while a session
//! runs, and nothing here knows where the values come from.

use super::Tls;
use crate::command::Strictness;
use crate::extension::{self, Extension, Extensions};
use crate::limits::{AUTH_LINE_LEN_MAX, COMMAND_LINE_LEN_MAX};
use crate::sasl::{Mechanism, Mechanisms};
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
    /// What EHLO offers, where the connection allows it ([`Config::offered`]); SIZE names the largest
    /// message in octets, AUTH its mechanisms, LIMITS what `limits` holds.
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
    /// Nothing but NOOP, EHLO, STARTTLS, RSET and QUIT before TLS, and XCLIENT where it is offered.
    //= RFC 3207 section 4: before TLS, 530 to all but NOOP, EHLO, STARTTLS and QUIT
    pub tls_required: bool,
    /// No MAIL, VRFY, EXPN or ETRN before AUTH.
    pub auth_required: bool,
    /// Commands that are not known here are asked of the caller ([`crate::command::Other::Private`]).
    pub private_commands: bool,
}

impl Config {
    /// The defaults, under this name: PIPELINING, SIZE of 50 MiB, 8BITMIME, ENHANCEDSTATUSCODES, CHUNKING and
    /// SMTPUTF8; [`Strictness::STRICT`]; the rest off.
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

    /// Octets that a caller's input buffer must have room for, since an incomplete line stays in it:
    /// 2,048, and 12,288 where AUTH is in the set.
    ///
    /// A session that is given another configuration may then leave as much as that one says.
    #[must_use]
    pub const fn line_len_max(&self) -> usize {
        if self.extensions.mechanisms().is_empty() {
            COMMAND_LINE_LEN_MAX
        } else {
            AUTH_LINE_LEN_MAX
        }
    }

    /// The mechanisms of AUTH that a connection of this kind is offered.
    //= RFC 4954 section 4: what sends a password as it is needs TLS, or somebody who knows better
    #[must_use]
    pub const fn mechanisms(&self, tls: Option<Tls>) -> Mechanisms {
        let offered = self.extensions.mechanisms();
        let (binding, certificate, offered) = match tls {
            Some(tls) => (tls.channel_binding, tls.client_certificate, offered),
            None => (false, false, offered.and(self.mechanisms_in_clear)),
        };
        //= RFC 5802 section 6: without a channel to bind to there is no -PLUS
        let offered = match binding {
            true => offered,
            false => offered.without(Mechanism::ScramSha256Plus),
        };
        //= RFC 4422 appendix A: EXTERNAL takes what another layer has proved
        match certificate {
            true => offered,
            false => offered.without(Mechanism::External),
        }
    }

    /// What EHLO names on a connection of this kind.
    #[must_use]
    pub const fn offered(&self, tls: Option<Tls>) -> Extensions {
        let mut offered = self.extensions;
        offered = match tls {
            //= RFC 3207 section 4.2: STARTTLS is not offered where TLS is on
            Some(_) => offered.without(Extension::StartTls),
            //= RFC 8689 section 2: REQUIRETLS is offered behind TLS alone
            None => offered.without(Extension::RequireTls),
        };
        //= RFC 3030 section 3: BINARYMIME goes with CHUNKING alone
        if !offered.has(Extension::Chunking) {
            offered = offered.without(Extension::BinaryMime);
        }
        if offered.has(Extension::Auth) {
            offered = offered.with_mechanisms(self.mechanisms(tls));
            if offered.mechanisms().is_empty() {
                offered = offered.without(Extension::Auth);
            }
        }
        if offered.has(Extension::Limits) {
            //= RFC 9422 section 4: a limit that is announced is the one that is kept
            offered = offered.with_limits(extension::Limits {
                recipient_count_max: named(self.limits.recipient_count_max),
                mail_count_max: named(self.limits.mail_count_max),
                ..offered.limits()
            });
        }
        offered
    }
}

/// What nobody reaches is not named.
const fn named(limit: u32) -> u32 {
    if limit == u32::MAX { 0 } else { limit }
}

/// What a peer may use up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Recipients that one transaction may have; the next get 452. 1,000 by default.
    pub recipient_count_max: u32,
    /// Errors of the peer's before it is sent away; an AUTH that failed is one. 20 by default.
    pub error_count_max: u32,
    /// Refusals by the caller (of senders, recipients, ...) since the last message taken, before the peer is sent
    /// away. 200 by default.
    pub refusal_count_max: u32,
    /// Commands since the last message taken before the peer is sent away. Of one message's chunks those
    /// behind the first that have 1 KiB or more are not counted: SIZE limits them. 4,000 by default.
    pub command_count_max: u32,
    /// Transactions that one connection may have; the next get 452. By default `u32::MAX`, which means no limit.
    pub mail_count_max: u32,
    /// Octets of body read and thrown away behind a refusal before the connection is cut. 64 MiB by default.
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
    /// For one whole command line. 5 minutes by default.
    pub command: Duration,
    /// For the next stretch of a body. 5 minutes by default.
    pub body: Duration,
    /// For a body from its first octet to its last. An hour by default.
    pub body_total: Duration,
    /// Since the connection began or the last message was taken, for as long as no body is under way. Half an
    /// hour by default.
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
