//! Plots of results, as SVG: which are drawn, and of whom. Pure: values to text; files are written by `pages`.
//!
//! | room | what it draws |
//! |---|---|
//! | `bars` | rate and CPU of each server in a scenario |
//! | `curves` | latencies of a scenario, from the fastest to the slowest message |
//! | `lines` | rate and CPU over the one condition in which scenarios of a family differ |
//! | `axis` `svg` | what all of them stand on |

mod axis;
mod bars;
mod curves;
mod lines;
mod svg;

use super::markdown::label;
use super::results::{DIRECT, Results, Round, Scenario};

/// A picture.
#[derive(Debug)]
pub(crate) struct Plot {
    /// The scenario or family it shows.
    pub(crate) of: String,
    /// A file's name.
    pub(crate) file: String,
    pub(crate) svg: String,
}

/// One server in a scenario.
struct Series<'a> {
    label: String,
    colour: &'static str,
    rounds: &'a [Round],
}

/// All that can be drawn.
pub(crate) fn all(results: &Results) -> Vec<Plot> {
    let mut plots = Vec::new();
    let mut families: Vec<&str> = Vec::new();
    for scenario in &results.scenarios {
        let series: Vec<Series<'_>> = servers_of(results, [scenario].into_iter())
            .into_iter()
            .map(|name| {
                let (label, colour) = of_server(results, name);
                Series {
                    label,
                    colour,
                    rounds: scenario.rounds(name),
                }
            })
            .collect();
        for (kind, svg) in [
            ("bars", bars::draw(scenario, &series)),
            ("latency", curves::draw(scenario, &series)),
        ] {
            plots.extend(svg.map(|svg| plot(&scenario.name, kind, svg)));
        }
        if !scenario.family.is_empty() && !families.contains(&&*scenario.family) {
            families.push(&scenario.family);
        }
    }
    for family in families {
        plots.extend(lines::draw(results, family).map(|svg| plot(family, "lines", svg)));
    }
    plots
}

fn plot(of: &str, kind: &str, svg: String) -> Plot {
    // A name becomes a file's: nothing in it may lead elsewhere.
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let name = of.replace(|letter| !is_plain(letter), "_");
    Plot {
        of: of.to_owned(),
        file: format!("{name}-{kind}.svg"),
        svg,
    }
}

/// Names of those who have a part in these scenarios, each once, in the order of the results.
fn servers_of<'a>(
    results: &'a Results,
    scenarios: impl Iterator<Item = &'a Scenario>,
) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for of in scenarios.flat_map(|scenario| &scenario.servers) {
        if !names.contains(&&*of.server) {
            names.push(&of.server);
        }
    }
    names.sort_by_key(|name| place(results, name));
    names
}

/// Label and colour, which are the same in all plots of these results.
fn of_server(results: &Results, name: &str) -> (String, &'static str) {
    let place = match place(results, name) {
        usize::MAX if name == DIRECT => 6,
        usize::MAX => results.servers.len(),
        place => place,
    };
    (label(results, name), svg::colour(place))
}

fn place(results: &Results, name: &str) -> usize {
    let known = results
        .servers
        .iter()
        .position(|server| server.name == name);
    known.unwrap_or(usize::MAX)
}

/// At most so many letters.
fn shortened(text: &str, letter_count: usize) -> String {
    if text.chars().count() <= letter_count {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(letter_count - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{results, scenario, whole};
    use super::*;

    #[test]
    fn every_plot_is_well_formed() {
        let plots = all(&whole());
        let files: Vec<&str> = plots.iter().map(|plot| &*plot.file).collect();
        for file in [
            "relay-50-bars.svg",
            "half-rate-latency.svg",
            "sessions-lines.svg",
        ] {
            assert!(files.contains(&file), "{files:?}");
        }
        for plot in &plots {
            assert_eq!(svg::fault(&plot.svg), None, "{}", plot.file);
            assert!(
                !plot.svg.contains("NaN") && !plot.svg.contains("inf"),
                "{}",
                plot.file
            );
        }
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let empty = results(vec![scenario("empty", Vec::new())]);
        assert_eq!(all(&empty).len(), 0);
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        assert_eq!(
            plot("../a b", "bars", String::new()).file,
            "___a_b-bars.svg"
        );
        assert_eq!(shortened("abcdef", 4), "abc…");
    }
}
