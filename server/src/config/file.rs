//! The configuration as typed: the shape of the TOML file, and nothing of what it means.
//!
//! Every value keeps its place in the text, so that `check` can point at it. A key that is not
//! listed here is an error. The names are those of the field's other servers where they have one.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use toml::Spanned;

/// A value that may be left out, with its place in the text.
pub(super) type Given<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) hostname: Given<String>,
    pub(super) data_dir: Given<String>,
    pub(super) shards: Given<Number>,
    pub(super) stop_timeout: Given<Interval>,
    pub(super) postmaster: Given<String>,
    pub(super) listener: Option<Vec<Spanned<Listener>>>,
    #[serde(default)]
    pub(super) relay: Relay,
    pub(super) route: Option<Vec<Spanned<Route>>>,
    #[serde(default)]
    pub(super) dns: Dns,
    #[serde(default)]
    pub(super) queue: Queue,
    #[serde(default)]
    pub(super) delivery: Delivery,
    #[serde(default)]
    pub(super) spool: Spool,
    #[serde(default)]
    pub(super) events: Events,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) address: Given<String>,
    pub(super) max_connections: Given<Number>,
    pub(super) max_messages_per_connection: Given<Number>,
    pub(super) max_recipients_per_message: Given<Number>,
    pub(super) max_message_size: Given<Size>,
    pub(super) client_timeout: Given<Interval>,
    pub(super) invalid_line_endings: Given<String>,
    pub(super) durability: Given<String>,
    pub(super) tls: Given<String>,
    pub(super) certificate: Given<String>,
    pub(super) key: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relay {
    pub(super) hosts: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) domain: Given<String>,
    pub(super) via: Given<Vec<Spanned<String>>>,
    pub(super) connection_limit: Given<Number>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    pub(super) servers: Given<Vec<Spanned<String>>>,
    pub(super) timeout: Given<Interval>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queue {
    pub(super) retry_interval: Given<Interval>,
    pub(super) max_retry_interval: Given<Interval>,
    pub(super) max_age: Given<Interval>,
    pub(super) max_ready: Given<Number>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delivery {
    pub(super) connection_limit: Given<Number>,
    pub(super) max_deliveries_per_connection: Given<Number>,
    pub(super) max_recipients_per_batch: Given<Number>,
    pub(super) connect_timeout: Given<Interval>,
    pub(super) banner_timeout: Given<Interval>,
    pub(super) ehlo_timeout: Given<Interval>,
    pub(super) mail_from_timeout: Given<Interval>,
    pub(super) rcpt_to_timeout: Given<Interval>,
    pub(super) data_timeout: Given<Interval>,
    pub(super) data_dot_timeout: Given<Interval>,
    pub(super) idle_timeout: Given<Interval>,
    pub(super) port: Given<Number>,
    pub(super) prohibited_hosts: Option<Vec<Spanned<String>>>,
    pub(super) source_address: Given<String>,
    pub(super) ehlo_domain: Given<String>,
    pub(super) enable_tls: Given<String>,
    pub(super) ca_file: Given<String>,
    pub(super) in_doubt: Given<String>,
    pub(super) in_doubt_policy: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spool {
    pub(super) segment_size: Given<Size>,
    pub(super) min_free_space: Given<Size>,
    pub(super) memory_budget: Given<Size>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Events {
    pub(super) path: Given<String>,
}

/// A whole number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) i64);

/// The text of a duration.
#[derive(Clone, Debug)]
pub(super) struct Interval(pub(super) String);

/// A size: a text with a unit, or a bare number of bytes.
#[derive(Clone, Debug)]
pub(super) enum Size {
    Bytes(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, without quotes")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value))
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Duration;
        impl Visitor<'_> for Duration {
            type Value = Interval;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes, such as \"90s\", \"20m\" or \"1h30m\"")
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Interval, E> {
                Ok(Interval(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Duration)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size in quotes, such as \"64 MiB\", or a number of bytes")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Size, E> {
                if value < 0 {
                    return Err(E::invalid_type(Unexpected::Signed(value), &self));
                }
                Ok(Size::Bytes(value.unsigned_abs()))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Size, E> {
                Ok(Size::Text(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Bytes)
    }
}
