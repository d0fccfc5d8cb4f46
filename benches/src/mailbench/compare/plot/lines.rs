//! Scenarios that differ in one condition, side by side: rate and CPU over sessions or shards. Pure.

use super::super::median::Spread;
use super::super::results::{Results, Round, Scenario};
use super::axis::{Axis, tick};
use super::svg::{Anchor, Picture};
use super::{of_server, servers_of};

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 380.0;
const PANELS: [(f64, f64); 2] = [(84.0, 420.0), (524.0, 860.0)];
const PLACES_Y: (f64, f64) = (310.0, 104.0);
const LEGEND_Y: f64 = 60.0;

/// The picture; `None` where fewer than two scenarios have rounds.
pub(super) fn draw(results: &Results, family: &str) -> Option<String> {
    let members: Vec<&Scenario> = results
        .scenarios
        .iter()
        .filter(|scenario| scenario.family == family && has_rounds(scenario))
        .collect();
    if members.len() < 2 {
        return None;
    }
    let heading = format!("{family}: rate and CPU over {}", over(family));
    let mut picture = Picture::new(WIDTH, HEIGHT, &heading);
    picture.text(18.0, 28.0, Anchor::Start, "title", &heading);
    let servers = servers_of(results, members.iter().copied());
    let mut x = PANELS[0].0;
    for name in &servers {
        let (label, colour) = of_server(results, name);
        x += picture.legend(x, LEGEND_Y, colour, &label);
    }
    for (places, title, figure) in [
        (
            PANELS[0],
            "messages a second",
            Round::rate as fn(&Round) -> Option<f64>,
        ),
        (PANELS[1], "CPU a message, µs", Round::cpu_us),
    ] {
        panel(
            &mut picture,
            results,
            &members,
            &servers,
            places,
            title,
            figure,
        );
    }
    Some(picture.finish())
}

fn has_rounds(scenario: &Scenario) -> bool {
    scenario.servers.iter().any(|it| !it.rounds.is_empty())
}

fn over(family: &str) -> &str {
    match family {
        "sessions" => "connections at the same time",
        "shards" => "shards",
        "waiting" => "messages that wait",
        "idle" => "idle connections",
        other => other,
    }
}

fn panel(
    picture: &mut Picture,
    results: &Results,
    members: &[&Scenario],
    servers: &[&str],
    places: (f64, f64),
    title: &str,
    figure: fn(&Round) -> Option<f64>,
) {
    let spread = |scenario: &Scenario, name: &str| Spread::over(scenario.rounds(name), figure);
    let all = members
        .iter()
        .flat_map(|it| servers.iter().map(|name| spread(it, name)));
    let largest = all.flatten().map(|spread| spread.max).fold(0.0, f64::max);
    let axis = Axis::linear(largest, PLACES_Y, 5);
    for value in &axis.ticks {
        let y = axis.place(*value);
        picture.line((places.0, y), (places.1, y), "grid");
        picture.text(places.0 - 8.0, y + 4.0, Anchor::End, "tick", &tick(*value));
    }
    let (bottom, top) = PLACES_Y;
    picture.line((places.0, bottom), (places.1, bottom), "axis");
    picture.line((places.0, bottom), (places.0, top), "axis");
    picture.text(places.0, top - 14.0, Anchor::Start, "unit", title);
    let family = members.first().map_or("", |it| it.family.as_str());
    let middle = f64::midpoint(places.0, places.1);
    picture.text(middle, bottom + 44.0, Anchor::Middle, "unit", over(family));
    let step = (places.1 - places.0) / members.len() as f64;
    let x_of = |index: usize| places.0 + step * (index as f64 + 0.5);
    for (index, member) in members.iter().enumerate() {
        let text = mark(member);
        picture.text(x_of(index), bottom + 20.0, Anchor::Middle, "tick", &text);
    }
    for name in servers {
        let (_, colour) = of_server(results, name);
        let mut points = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let Some(spread) = spread(member, name) else {
                continue;
            };
            let (x, y) = (x_of(index), axis.place(spread.median));
            if spread.count > 1 {
                let ends = (axis.place(spread.min), axis.place(spread.max));
                picture.line((x, ends.0), (x, ends.1), "whisker");
            }
            points.push((x, y));
        }
        picture.path(&points, colour, false);
        for point in points {
            picture.dot(point, colour);
        }
    }
}

/// In what a member differs from the others of its family.
fn mark(scenario: &Scenario) -> String {
    let conditions = &scenario.conditions;
    match (&*scenario.family, conditions.shards) {
        ("sessions", _) => tick(f64::from(conditions.connections)),
        ("shards", Some(shards)) => shards.to_string(),
        (family, _) => {
            let rest = scenario.name.strip_prefix(family).unwrap_or(&scenario.name);
            let rest = rest.trim_start_matches('-');
            rest.parse().map_or_else(|_| rest.to_owned(), tick)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::made_up::scenario;
    use super::*;

    #[test]
    fn a_mark_is_what_differs() {
        for (name, family, text) in [
            ("sessions-5000", "sessions", "50"),
            ("shards-2", "shards", "2"),
            ("idle-5000", "idle", "5,000"),
            ("tls-on", "tls", "on"),
            ("other", "family", "other"),
        ] {
            let mut scenario = scenario(name, Vec::new());
            scenario.family = family.into();
            assert_eq!(mark(&scenario), text, "{name}");
        }
    }
}
