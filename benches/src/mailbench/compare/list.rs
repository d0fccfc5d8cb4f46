//! What `--list` shows: servers and scenarios, and what is missing for which.

use super::adapter::{Adapter, Tools};
use super::ends;
use super::known_as;
use super::plan;
use super::scenario::{self, Beside, Scenario};
use crate::cli::Ends;
use std::error::Error;
use std::io::Write;

/// # Errors
/// When nobody reads it.
pub(crate) fn write(
    adapters: &[Adapter],
    tools: &Tools,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    writeln!(out, "servers (--server)")?;
    for adapter in adapters {
        let (name, label) = (known_as(adapter.name()), adapter.label());
        let state = match adapter.missing(tools) {
            Some(missing) => format!("missing: {missing}"),
            None => adapter
                .version(tools)
                .unwrap_or_else(|error| error.to_string()),
        };
        writeln!(
            out,
            "  {name:<18} {label}, {}: {state}",
            adapter.durability()
        )?;
    }
    writeln!(
        out,
        "\nscenarios (--scenario); those with * run when none is named"
    )?;
    for scenario in scenario::ALL {
        let mark = if scenario.is_usual { '*' } else { ' ' };
        writeln!(out, "{mark} {:<18} {}", scenario.name, scenario.about)?;
        writeln!(out, "  {:<18} {}", "", how(scenario))?;
        if let Some(missing) = missing(scenario) {
            writeln!(out, "  {:<18} missing: {missing}", "")?;
        }
    }
    Ok(())
}

/// How often and how much, in words.
fn how(scenario: &Scenario) -> String {
    if let Beside::Unmeasured(_) = scenario.beside {
        return "not measured".into();
    }
    let ends = match scenario.ends {
        Ends::Mailbench => "mailbench's ends",
        Ends::Postfix => "smtp-source and smtp-sink",
    };
    let amount = |amount| match amount {
        scenario::Amount::Messages(count) => format!("{count} messages"),
        scenario::Amount::Seconds(seconds) => format!("{seconds} s"),
    };
    let (ours, others) = (amount(scenario.amount), amount(scenario.amount_of_others));
    let amounts = match ours == others {
        true => ours,
        false => format!("{ours} (others: {others})"),
    };
    let variants: Vec<String> = plan::variants(scenario)
        .into_iter()
        .map(|it| it.name)
        .collect();
    format!(
        "{} rounds of {amounts}, {ends}; in the results: {}",
        scenario.rounds,
        variants.join(", ")
    )
}

fn missing(scenario: &Scenario) -> Option<String> {
    match scenario.beside {
        Beside::Unmeasured(why) => Some(why.into()),
        Beside::Waiting(_) => ends::missing(Ends::Postfix),
        _ => ends::missing(scenario.ends),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_listed_with_a_sentence_and_with_what_is_missing() {
        let tools = Tools {
            programs: "/nowhere".into(),
            mailrail: "/nowhere/mailrail".into(),
        };
        let mut text = Vec::new();
        write(&[], &tools, &mut text).expect("written");
        let text = String::from_utf8(text).expect("text");
        for scenario in scenario::ALL {
            assert!(text.contains(scenario.about), "{}", scenario.name);
        }
        assert!(text.contains("* relay-50 "), "{text}");
        assert!(
            text.contains("missing: mailrail does not sign yet"),
            "{text}"
        );
        assert!(text.contains("shards-1, shards-2, shards-4"), "{text}");
    }
}
