//! The settings of a transcript: its `config` words, and what it says of TLS. What they lead to is not
//! known here.

use super::runner::Transcript;
use mailrail_protocol::command::{Attribute, AttributeSet, PriorityProfile};
use mailrail_protocol::extension::{Extension, Extensions, FutureRelease};
use mailrail_protocol::sasl::{Mechanism, Mechanisms};
use mailrail_protocol::server::{Peer, Tls, Verdict};
use std::time::Duration;

impl Transcript {
    pub(super) fn configure(&mut self, word: &str) {
        let (key, value) = word.split_once('=').unwrap();
        let number = || value.parse().unwrap();
        let seconds = || Duration::from_secs(value.parse().unwrap());
        let extension = || named(value);
        let verdict = || match value {
            "accept" => Verdict::Accept,
            "reject" => Verdict::Reject,
            other => panic!("no verdict: {other}"),
        };
        let mechanisms = || {
            value.split(',').fold(Mechanisms::NONE, |set, word| {
                set.with(Mechanism::of(word.as_bytes()).unwrap())
            })
        };
        let attributes = || {
            value.split(',').fold(AttributeSet::NONE, |set, word| {
                set.with(Attribute::of(word.as_bytes()).unwrap())
            })
        };
        let config = &mut self.config;
        match key {
            "only" => {
                let words = value.split(',');
                config.extensions = words.fold(Extensions::NONE, |set, word| set.with(named(word)));
            }
            "lmtp" => config.lmtp = value == "yes",
            "tls" => self.peer = Peer::behind(tls(value)),
            "tls_required" => config.tls_required = value == "yes",
            "auth_required" => config.auth_required = value == "yes",
            "private_commands" => config.private_commands = value == "yes",
            "mechanisms" => config.extensions = config.extensions.with_mechanisms(mechanisms()),
            "mechanisms_in_clear" => config.mechanisms_in_clear = mechanisms(),
            "x_client" => config.extensions = config.extensions.with_x_client(attributes()),
            "x_forward" => config.extensions = config.extensions.with_x_forward(attributes()),
            "deliver_by_min" => {
                config.extensions = config.extensions.with_deliver_by_min(number());
            }
            "hold_max_s" => {
                config.extensions = config.extensions.with_future_release(FutureRelease {
                    interval_max_s: number(),
                    until_max: 4_000_000_000,
                });
            }
            "priority_profile" => {
                assert_eq!(value, "MIXER");
                let with = config
                    .extensions
                    .with_priority_profile(PriorityProfile::Mixer);
                config.extensions = with;
            }
            "mail_count_max" => config.limits.mail_count_max = number(),
            "greeting" => config.greeting = value.into(),
            "with" => config.extensions = config.extensions.with(extension()),
            "without" => config.extensions = config.extensions.without(extension()),
            "size_max" => {
                config.extensions = config.extensions.with_size_max(value.parse().unwrap());
            }
            "recipient_count_max" => config.limits.recipient_count_max = number(),
            "error_count_max" => config.limits.error_count_max = number(),
            "refusal_count_max" => config.limits.refusal_count_max = number(),
            "command_count_max" => config.limits.command_count_max = number(),
            "swallow_max" => config.limits.swallow_max = value.parse().unwrap(),
            "bare_line_ends" => config.strictness.bare_line_ends = verdict(),
            "nul" => config.strictness.nul = verdict(),
            "bare_lf_in_commands" => config.strictness.bare_lf_in_commands = verdict(),
            "spaces_around_colon" => config.strictness.spaces_around_colon = verdict(),
            "missing_brackets" => config.strictness.missing_brackets = verdict(),
            "utf8_unannounced" => config.strictness.utf8_unannounced = verdict(),
            "hello_syntax" => config.strictness.hello_syntax = verdict(),
            "address_lengths" => config.strictness.address_lengths = verdict(),
            "text_line_len_max" => config.strictness.text_line_len_max = Some(number()),
            "command_s" => config.timeouts.command = seconds(),
            "body_s" => config.timeouts.body = seconds(),
            "body_total_s" => config.timeouts.body_total = seconds(),
            "idle_total_s" => config.timeouts.idle_total = seconds(),
            other => panic!("unknown setting: {other}"),
        }
    }
}

fn named(keyword: &str) -> Extension {
    let known = Extension::ALL.into_iter();
    let mut found = known.filter(|extension| extension.keyword() == keyword);
    found
        .next()
        .unwrap_or_else(|| panic!("no extension: {keyword}"))
}

/// What a transcript says of TLS.
pub(super) fn tls(words: &str) -> Tls {
    let mut tls = Tls::PLAIN;
    for word in words.split(',') {
        match word {
            "plain" => {}
            "binding" => tls.channel_binding = true,
            "certificate" => tls.client_certificate = true,
            other => panic!("no such thing is known of TLS: {other}"),
        }
    }
    tls
}
