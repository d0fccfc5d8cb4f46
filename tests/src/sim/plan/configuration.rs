//! The server's configuration in a plan, drawn from chance: as text, as anybody would write it, and then with
//! limits smaller than anybody may configure.
//!
//! Hosts, domains and classes are drawn already. Pure.

use super::{Class, Domain, Host, NAMES, SEGMENT_LEN, SERVER, SIZE_MAX, Way};
use mailrail::config::{Config, DoubtJournal, DoubtPolicy, Surroundings};
use mailrail_runtime::sim::Chance;
use std::fmt::Write;
use std::path::Path;

/// Whether it is noted that the end of a message follows, and what is then made of it.
pub(super) fn doubt(chance: &mut Chance, config: &mut Config) {
    let policy = match chance.below(4) {
        0 => return,
        1 => DoubtPolicy::Retry,
        2 => DoubtPolicy::Hold,
        _ => DoubtPolicy::AssumeDelivered,
    };
    config.delivery.in_doubt = DoubtJournal::Record;
    config.delivery.in_doubt_policy = policy;
}

pub(super) fn config(
    chance: &mut Chance,
    shards: usize,
    classes: &[Class],
    domains: &[Domain],
    hosts: &[Host],
) -> Config {
    let mut text = String::new();
    let out = &mut text;
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{words}");
    };
    line(format_args!(
        "hostname = \"mx.server.example\"\ndata_dir = \"/data\"\nshards = {shards}"
    ));
    line(format_args!(
        "stop_timeout = \"{}ms\"",
        500 + chance.below(4000)
    ));
    for (index, class) in classes.iter().enumerate() {
        line(format_args!(
            "[[listener]]\naddress = \"{SERVER}:{}\"",
            2525 + index
        ));
        line(format_args!("durability = \"{}\"", class.name()));
        line(format_args!(
            "client_timeout = \"10s\"\nmax_messages_per_connection = {}",
            1 + chance.below(20)
        ));
    }
    line(format_args!("[relay]\nhosts = [\"10.0.1.0/24\"]"));
    line(format_args!(
        "[dns]\nservers = [\"{NAMES}\"]\ntimeout = \"1s\""
    ));
    let retry = 300 + chance.below(4_000);
    line(format_args!(
        "[queue]\nretry_interval = \"{retry}ms\"\nmax_retry_interval = \"{}ms\"\nmax_age = \"{}s\"\nmax_ready = {}",
        retry + chance.below(8_000),
        20 + chance.below(60),
        1 + chance.below(30),
    ));
    line(format_args!(
        "[delivery]\nconnection_limit = {}\nmax_deliveries_per_connection = {}\nmax_recipients_per_batch = {}",
        1 + chance.below(6),
        1 + chance.below(20),
        1 + chance.below(100),
    ));
    for key in [
        "connect",
        "banner",
        "ehlo",
        "mail_from",
        "rcpt_to",
        "data",
        "data_dot",
        "idle",
    ] {
        line(format_args!("{key}_timeout = \"{}s\"", 1 + chance.below(8)));
    }
    for domain in domains.iter().filter(|domain| domain.way == Way::Route) {
        let via: Vec<String> = domain
            .hosts
            .iter()
            .map(|host| format!("\"{}:25\"", hosts[*host].address))
            .collect();
        line(format_args!(
            "[[route]]\ndomain = \"{}\"\nvia = [{}]\nconnection_limit = {}",
            domain.name,
            via.join(", "),
            1 + chance.below(8),
        ));
    }
    line(format_args!("[spool]\nmin_free_space = {}", 64 << 10));
    let surroundings = Surroundings {
        hostname: "mx.server.example".into(),
        cores: 1,
        resolv_conf: String::new(),
    };
    let config = Config::from_text(Path::new("plan"), &text, &surroundings);
    let mut config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
    // Smaller than anybody may configure: so that the edges are near.
    config.spool.segment_size = SEGMENT_LEN;
    config.spool.memory_budget = (16 << 10) << chance.below(6);
    for listener in &mut config.listeners {
        listener.max_message_size = SIZE_MAX;
        listener.max_connections = 2 + chance.below(20) as u32;
    }
    config
}
