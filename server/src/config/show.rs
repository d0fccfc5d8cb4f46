//! The configuration written down: a complete file that means the same when it is read again.

use std::fmt::{self, Display, Formatter, Write};

use super::units::{show_duration, show_size};
use super::{Config, LineEndings, Listener};

impl Display for Config {
    /// All settings in effect, as TOML.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        text(f, "hostname", &self.hostname)?;
        text(f, "data_dir", self.data_dir.display())?;
        bare(f, "shards", self.shards)?;
        text(f, "stop_timeout", show_duration(self.stop_timeout))?;
        text(f, "postmaster", &self.postmaster)?;
        for listener in &self.listeners {
            show_listener(f, listener)?;
        }
        writeln!(f, "\n[relay]")?;
        list(f, "hosts", &self.relay.hosts)?;
        for route in &self.routes {
            writeln!(f, "\n[[route]]")?;
            text(f, "domain", &route.domain)?;
            list(f, "via", &route.via)?;
            bare(f, "connection_limit", route.connection_limit)?;
        }
        writeln!(f, "\n[dns]")?;
        list(f, "servers", &self.dns.servers)?;
        text(f, "timeout", show_duration(self.dns.timeout))?;
        writeln!(f, "\n[queue]")?;
        text(
            f,
            "retry_interval",
            show_duration(self.queue.retry_interval),
        )?;
        if let Some(longest) = self.queue.max_retry_interval {
            text(f, "max_retry_interval", show_duration(longest))?;
        }
        text(f, "max_age", show_duration(self.queue.max_age))?;
        bare(f, "max_ready", self.queue.max_ready)?;
        self.show_delivery(f)?;
        writeln!(f, "\n[spool]")?;
        text(f, "segment_size", show_size(self.spool.segment_size))?;
        text(f, "min_free_space", show_size(self.spool.min_free_space))?;
        text(f, "memory_budget", show_size(self.spool.memory_budget))?;
        writeln!(f, "\n[events]")?;
        text(f, "path", self.events.path.display())
    }
}

impl Config {
    fn show_delivery(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let delivery = &self.delivery;
        writeln!(f, "\n[delivery]")?;
        bare(f, "connection_limit", delivery.connection_limit)?;
        bare(
            f,
            "max_deliveries_per_connection",
            delivery.max_deliveries_per_connection,
        )?;
        bare(
            f,
            "max_recipients_per_batch",
            delivery.max_recipients_per_batch,
        )?;
        for (key, timeout) in [
            ("connect_timeout", delivery.connect_timeout),
            ("banner_timeout", delivery.banner_timeout),
            ("ehlo_timeout", delivery.ehlo_timeout),
            ("mail_from_timeout", delivery.mail_from_timeout),
            ("rcpt_to_timeout", delivery.rcpt_to_timeout),
            ("data_timeout", delivery.data_timeout),
            ("data_dot_timeout", delivery.data_dot_timeout),
            ("idle_timeout", delivery.idle_timeout),
        ] {
            text(f, key, show_duration(timeout))?;
        }
        bare(f, "port", delivery.port)?;
        list(f, "prohibited_hosts", &delivery.prohibited_hosts)?;
        if let Some(address) = delivery.source_address {
            text(f, "source_address", address)?;
        }
        text(f, "ehlo_domain", &delivery.ehlo_domain)?;
        text(f, "enable_tls", delivery.enable_tls.name())?;
        text(f, "ca_file", delivery.ca_file.display())?;
        text(f, "in_doubt", delivery.in_doubt.name())?;
        text(f, "in_doubt_policy", delivery.in_doubt_policy.name())
    }
}

fn show_listener(f: &mut Formatter<'_>, listener: &Listener) -> fmt::Result {
    writeln!(f, "\n[[listener]]")?;
    text(f, "address", listener.address)?;
    bare(f, "max_connections", listener.max_connections)?;
    bare(
        f,
        "max_messages_per_connection",
        listener.max_messages_per_connection,
    )?;
    bare(
        f,
        "max_recipients_per_message",
        listener.max_recipients_per_message,
    )?;
    text(f, "max_message_size", show_size(listener.max_message_size))?;
    text(f, "client_timeout", show_duration(listener.client_timeout))?;
    let LineEndings::Deny = listener.invalid_line_endings;
    text(f, "invalid_line_endings", "Deny")?;
    text(f, "durability", listener.durability.name())?;
    text(f, "tls", listener.tls.name())?;
    if let Some(files) = &listener.certificate {
        text(f, "certificate", files.certificate.display())?;
        text(f, "key", files.key.display())?;
    }
    Ok(())
}

fn bare(f: &mut Formatter<'_>, key: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{key} = {value}")
}

fn text(f: &mut Formatter<'_>, key: &str, value: impl Display) -> fmt::Result {
    write!(f, "{key} = ")?;
    quoted(f, &value)?;
    writeln!(f)
}

fn list<T: Display>(f: &mut Formatter<'_>, key: &str, values: &[T]) -> fmt::Result {
    write!(f, "{key} = [")?;
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            f.write_str(", ")?;
        }
        quoted(f, value)?;
    }
    writeln!(f, "]")
}

fn quoted(f: &mut Formatter<'_>, value: &impl Display) -> fmt::Result {
    f.write_char('"')?;
    for letter in value.to_string().chars() {
        match letter {
            '"' | '\\' => write!(f, "\\{letter}")?,
            _ if letter.is_control() => write!(f, "\\u{:04X}", u32::from(letter))?,
            _ => f.write_char(letter)?,
        }
    }
    f.write_char('"')
}
