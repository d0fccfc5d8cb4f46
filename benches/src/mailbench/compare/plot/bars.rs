//! One scenario: a bar for each server, messages a second on the left and CPU a message on the right. Pure.

use super::super::median::{Spread, number};
use super::super::results::{Round, Scenario};
use super::Series;
use super::axis::{Axis, tick};
use super::svg::{Anchor, Picture, width_of};

const WIDTH: f64 = 880.0;
const ROW: f64 = 34.0;
const BAR: f64 = 20.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 44.0;
const MARGIN: f64 = 18.0;
/// Room behind the longest bar for its figure.
const FIGURE: f64 = 74.0;
const LABEL_WIDTH_MAX: f64 = 240.0;

/// The picture; `None` where no round has a rate.
pub(super) fn draw(scenario: &Scenario, series: &[Series<'_>]) -> Option<String> {
    let rated: Vec<&Series<'_>> = series
        .iter()
        .filter(|it| Spread::over(it.rounds, Round::rate).is_some())
        .collect();
    if rated.is_empty() {
        return None;
    }
    let height = TOP + ROW * rated.len() as f64 + BOTTOM;
    let mut picture = Picture::new(WIDTH, height, &format!("{}: rate and CPU", scenario.name));
    let heading = format!("{}: {}", scenario.name, scenario.title);
    picture.text(
        MARGIN,
        28.0,
        Anchor::Start,
        "title",
        &super::shortened(&heading, 100),
    );
    let widest = rated
        .iter()
        .map(|it| width_of(&it.label))
        .fold(0.0, f64::max);
    let left = MARGIN + widest.min(LABEL_WIDTH_MAX) + 12.0;
    let panel = (WIDTH - MARGIN - left) / 2.0;
    for (index, it) in rated.iter().enumerate() {
        let label = super::shortened(&it.label, 32);
        picture.text(left - 10.0, middle(index) + 4.5, Anchor::End, "", &label);
    }
    rates(&mut picture, (left, left + panel - FIGURE - 14.0), &rated);
    costs(
        &mut picture,
        (left + panel + 14.0, WIDTH - MARGIN - FIGURE),
        &rated,
    );
    Some(picture.finish())
}

fn middle(row: usize) -> f64 {
    TOP + ROW * (row as f64 + 0.5)
}

fn rates(picture: &mut Picture, places: (f64, f64), series: &[&Series<'_>]) {
    let of = |it: &&Series<'_>| Spread::over(it.rounds, Round::rate);
    let axis = frame(
        picture,
        places,
        series,
        "messages a second",
        series.iter().filter_map(of),
    );
    for (row, it) in series.iter().enumerate() {
        let Some(spread) = of(it) else { continue };
        let width = axis.place(spread.median) - places.0;
        picture.bar(
            (places.0, middle(row) - BAR / 2.0),
            (width, BAR),
            it.colour,
            1.0,
        );
        finish_row(picture, &axis, row, spread);
    }
}

fn costs(picture: &mut Picture, places: (f64, f64), series: &[&Series<'_>]) {
    let of = |it: &&Series<'_>| Spread::over(it.rounds, Round::cpu_us);
    let title = "CPU a message, µs (pale: in the kernel)";
    let axis = frame(picture, places, series, title, series.iter().filter_map(of));
    for (row, it) in series.iter().enumerate() {
        let Some(spread) = of(it) else {
            picture.text(
                places.0 + 6.0,
                middle(row) + 4.5,
                Anchor::Start,
                "tick",
                "–",
            );
            continue;
        };
        // The parts are medians of their own: drawn in proportion, so that they make the whole.
        let part = |figure: fn(&Round) -> Option<f64>| {
            Spread::over(it.rounds, figure).map_or(0.0, |spread| spread.median)
        };
        let (user, system) = (part(Round::user_us), part(Round::system_us));
        let share = if user + system > 0.0 {
            user / (user + system)
        } else {
            1.0
        };
        let width = axis.place(spread.median) - places.0;
        let (y, user) = (middle(row) - BAR / 2.0, width * share);
        picture.bar((places.0, y), (user, BAR), it.colour, 1.0);
        picture.bar((places.0 + user, y), (width - user, BAR), it.colour, 0.5);
        finish_row(picture, &axis, row, spread);
    }
}

/// Heading, grid and marks of a panel.
fn frame(
    picture: &mut Picture,
    places: (f64, f64),
    series: &[&Series<'_>],
    title: &str,
    spreads: impl Iterator<Item = Spread>,
) -> Axis {
    let largest = spreads.map(|spread| spread.max).fold(0.0, f64::max);
    let axis = Axis::linear(largest, places, 4);
    let bottom = TOP + ROW * series.len() as f64;
    picture.text(places.0, TOP - 16.0, Anchor::Start, "unit", title);
    for value in &axis.ticks {
        let x = axis.place(*value);
        picture.line((x, TOP - 4.0), (x, bottom), "grid");
        picture.text(x, bottom + 18.0, Anchor::Middle, "tick", &tick(*value));
    }
    picture.line((places.0, TOP - 4.0), (places.0, bottom), "axis");
    axis
}

/// The smallest and the largest round, and the figure.
fn finish_row(picture: &mut Picture, axis: &Axis, row: usize, spread: Spread) {
    let (from, to, y) = (axis.place(spread.min), axis.place(spread.max), middle(row));
    if spread.count > 1 {
        picture.line((from, y), (to, y), "whisker");
        for x in [from, to] {
            picture.line((x, y - 5.0), (x, y + 5.0), "whisker");
        }
    }
    picture.text(to + 8.0, y + 4.5, Anchor::Start, "", &number(spread.median));
}
