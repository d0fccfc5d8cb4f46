//! Under which conditions a scenario's figures were seen, for those who read them. Pure.

use super::ends;
use super::plan::Variant;
use super::results::Conditions;
use super::scenario::{Amount, Beside, Scenario, Vary};
use crate::cli::{Ends, Tls};

/// What has to be known besides the scenario.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) ends: Ends,
    /// What each server that takes part promises.
    pub(crate) durabilities: Vec<String>,
    /// Messages a round of the first server.
    pub(crate) messages: u64,
    /// Messages a round of each server.
    pub(crate) messages_of: &'a [(String, u64)],
    pub(crate) cores: usize,
}

pub(crate) fn conditions(scenario: &Scenario, variant: &Variant, known: &Known<'_>) -> Conditions {
    let load = &variant.load;
    let uses = |is_asked: bool| is_asked && known.ends == Ends::Mailbench;
    let sites = scenario.sink.sites;
    let (sink_latency, sink_deferral_share) = scenario.sink.script.map_or(("0", 0.0), |_| {
        (scenario.sink.latency, scenario.sink.deferral_share)
    });
    let mut others = std::collections::BTreeMap::new();
    for (server, messages) in known.messages_of {
        others.insert(
            format!("messages a round of {server}"),
            messages.to_string(),
        );
    }
    if scenario.beside == Beside::Syncs {
        let text = "half of the highest of each server, found in the same run";
        others.insert("rate".into(), text.into());
    }
    if let (Beside::Waiting(_), Some(count)) = (scenario.beside, variant.held) {
        others.insert("waiting messages".into(), count.to_string());
    }
    if let (Beside::Idle(_), Some(count)) = (scenario.beside, variant.held) {
        others.insert("idle connections".into(), count.to_string());
    }
    if matches!(scenario.amount, Amount::Seconds(_)) {
        others.insert(
            "length".into(),
            "of each round: in seconds, not in messages".into(),
        );
    }
    Conditions {
        durability: durability(&known.durabilities),
        size: load.size_len.to_string(),
        recipients_per_transaction: 1,
        messages_per_connection: load.per_connection,
        connections: load.sessions,
        messages: known.messages,
        rate: load.rate,
        ends: match known.ends {
            Ends::Mailbench => "mailbench".into(),
            Ends::Postfix => "postfix".into(),
        },
        pipelining: uses(load.pipelining),
        bdat: uses(load.bdat),
        dkim: "none".into(),
        tls_in: ends::tls(load.tls).into(),
        tls_out: ends::tls(scenario.sink.tls).into(),
        dns: if sites.is_some() { "stub" } else { "none" }.into(),
        domains: load.recipient_domains,
        sites: sites.map_or(1, |sites| sites.site_count),
        events: "as each server is delivered".into(),
        sink_latency: sink_latency.into(),
        sink_deferral_share,
        shards: match scenario.vary {
            Vary::Shards(_) => variant.shards,
            _ => variant.shards.or(Some(known.cores)),
        }
        .and_then(|count| u32::try_from(count).ok()),
        others,
    }
}

/// What all promise, or that they differ.
fn durability(all: &[String]) -> String {
    match all {
        [] => "none".into(),
        [first, rest @ ..] if rest.iter().all(|other| other == first) => first.clone(),
        _ => "by server".into(),
    }
}

/// Whether TLS is asked for at all.
pub(crate) fn has_tls(scenario: &Scenario) -> bool {
    scenario.demand.tls || scenario.load.tls != Tls::Off || scenario.sink.tls != Tls::Off
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{plan, scenario};

    fn of(name: &str, ends: Ends, durabilities: &[&str]) -> Conditions {
        let scenario = scenario::by_name(name).expect("a scenario");
        let known = Known {
            ends,
            durabilities: durabilities.iter().map(ToString::to_string).collect(),
            messages: 20_000,
            messages_of: &[("postfix".into(), 5000)],
            cores: 2,
        };
        conditions(scenario, &plan::variants(scenario)[0], &known)
    }

    #[test]
    fn a_relay_is_told_with_all_that_was_off() {
        let told = of("relay-50", Ends::Postfix, &["fsync", "fsync"]);
        assert_eq!(
            (told.durability.as_str(), told.dns.as_str()),
            ("fsync", "none")
        );
        assert_eq!((told.connections, told.size.as_str()), (50, "4096"));
        assert_eq!(
            (told.tls_in.as_str(), told.tls_out.as_str()),
            ("off", "off")
        );
        assert_eq!((told.ends.as_str(), told.shards), ("postfix", Some(2)));
        assert_eq!(told.others["messages a round of postfix"], "5000");
    }

    #[test]
    fn what_differs_from_a_relay_is_told() {
        let told = of("pipelined", Ends::Mailbench, &["fsync", "memory"]);
        assert_eq!(told.durability, "by server");
        assert!(told.pipelining && told.bdat);
        let told = of("domains", Ends::Mailbench, &[]);
        let dns = (told.dns.as_str(), told.domains, told.sites);
        assert_eq!(dns, ("stub", 1000, 50));
        let told = of("deferrals", Ends::Mailbench, &[]);
        assert!(told.sink_deferral_share > 0.2 && told.sink_latency.contains("ms"));
        assert_eq!(of("shards", Ends::Postfix, &[]).shards, Some(1));
        assert_eq!(
            of("idle", Ends::Mailbench, &[]).others["idle connections"],
            "0"
        );
        assert!(has_tls(scenario::by_name("tls").expect("a scenario")));
        assert!(!has_tls(scenario::by_name("large").expect("a scenario")));
    }
}
