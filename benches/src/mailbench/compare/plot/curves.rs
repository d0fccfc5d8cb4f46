//! One scenario: how long the answer took, from the fastest message to the slowest. The percentiles stand at equal
//! distances for each further nine, the times by powers of ten. Pure.

use super::super::median::{Spread, duration};
use super::super::results::{Round, Scenario, step};
use super::Series;
use super::axis::Axis;
use super::svg::{Anchor, Picture};
use crate::report::Times;

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 440.0;
const PLACES_X: (f64, f64) = (84.0, 856.0);
const PLACES_Y: (f64, f64) = (380.0, 92.0);
const LEGEND_Y: f64 = 60.0;

/// Percentiles with a mark. The last stands for the slowest message of all.
const MARKS: [(f64, &str); 6] = [
    (0.0, "0"),
    (50.0, "50"),
    (90.0, "90"),
    (99.0, "99"),
    (99.9, "99.9"),
    (99.99, "99.99"),
];

/// Where the slowest message is drawn, in nines.
const NINES_MAX: f64 = 4.5;

type Curve = Vec<(f64, f64)>;

struct Drawn {
    label: String,
    colour: &'static str,
    is_dashed: bool,
    curve: Curve,
}

/// The picture; `None` where no source told times.
pub(super) fn draw(scenario: &Scenario, series: &[Series<'_>]) -> Option<String> {
    let mut drawn = Vec::new();
    let mut what = "";
    for (key, words) in [
        (step::FINAL, "from the content's last byte to its 250"),
        (step::MESSAGE, "from the message's begin to its 250"),
    ] {
        for it in series {
            let curve = median_curve(it.rounds, |round| round.latencies.get(key));
            push(&mut drawn, it.label.clone(), it.colour, false, curve);
        }
        if !drawn.is_empty() {
            what = words;
            break;
        }
    }
    if drawn.is_empty() {
        return None;
    }
    for it in series {
        let of_disk = |round: &Round| -> Option<Times> {
            let probe = &round.probe;
            probe
                .sync_4k_direct
                .clone()
                .or_else(|| probe.sync_4k_buffered.clone())
        };
        let times: Vec<Times> = it.rounds.iter().filter_map(of_disk).collect();
        push(
            &mut drawn,
            it.label.clone(),
            it.colour,
            true,
            median_of(times.iter()),
        );
    }
    let heading = format!("{}: latency, {what}", scenario.name);
    let mut picture = Picture::new(WIDTH, HEIGHT, &heading);
    picture.text(
        18.0,
        28.0,
        Anchor::Start,
        "title",
        &super::shortened(&heading, 100),
    );
    let axis = frame(&mut picture, &drawn);
    let mut x = PLACES_X.0;
    for it in &drawn {
        let points: Vec<(f64, f64)> = it
            .curve
            .iter()
            .map(|(share, us)| (place(*share), axis.place(*us)))
            .collect();
        picture.path(&points, it.colour, it.is_dashed);
        if !it.is_dashed {
            let label = super::shortened(&it.label, 24);
            x += picture.legend(x, LEGEND_Y, it.colour, &label);
        }
    }
    if drawn.iter().any(|it| it.is_dashed) {
        let (x, y) = (PLACES_X.1, PLACES_Y.1 - 8.0);
        let words = "dashed: one write and fdatasync of 4 KiB during the same load";
        picture.text(x, y, Anchor::End, "unit", words);
    }
    Some(picture.finish())
}

fn push(
    drawn: &mut Vec<Drawn>,
    label: String,
    colour: &'static str,
    is_dashed: bool,
    curve: Curve,
) {
    if !curve.is_empty() {
        drawn.push(Drawn {
            label,
            colour,
            is_dashed,
            curve,
        });
    }
}

/// Both axes with their marks and units.
fn frame(picture: &mut Picture, drawn: &[Drawn]) -> Axis {
    let values = || {
        drawn
            .iter()
            .flat_map(|it| &it.curve)
            .map(|(_, us)| us.max(1.0))
    };
    let smallest = values().fold(f64::INFINITY, f64::min);
    let largest = values().fold(1.0, f64::max);
    let axis = Axis::log(smallest, largest, PLACES_Y);
    for us in &axis.ticks {
        let y = axis.place(*us);
        picture.line((PLACES_X.0, y), (PLACES_X.1, y), "grid");
        picture.text(
            PLACES_X.0 - 8.0,
            y + 4.0,
            Anchor::End,
            "tick",
            &duration(*us),
        );
    }
    let bottom = PLACES_Y.0;
    for (share, text) in MARKS {
        let x = place(share);
        picture.line((x, bottom), (x, PLACES_Y.1), "grid");
        picture.text(x, bottom + 18.0, Anchor::Middle, "tick", text);
    }
    picture.text(PLACES_X.1, bottom + 18.0, Anchor::End, "tick", "slowest");
    picture.line((PLACES_X.0, bottom), (PLACES_X.1, bottom), "axis");
    picture.line((PLACES_X.0, bottom), (PLACES_X.0, PLACES_Y.1), "axis");
    let middle_x = f64::midpoint(PLACES_X.0, PLACES_X.1);
    picture.text(
        middle_x,
        bottom + 42.0,
        Anchor::Middle,
        "unit",
        "percentile of messages",
    );
    picture.upright(22.0, f64::midpoint(bottom, PLACES_Y.1), "time (log)");
    axis
}

/// Where a percentile lies.
fn place(share: f64) -> f64 {
    let rest = (1.0 - share / 100.0).max(0.0);
    let nines = if rest > 0.0 {
        (-rest.log10()).min(NINES_MAX)
    } else {
        NINES_MAX
    };
    PLACES_X.0 + nines / NINES_MAX * (PLACES_X.1 - PLACES_X.0)
}

fn median_curve<'a>(rounds: &'a [Round], times: impl Fn(&'a Round) -> Option<&'a Times>) -> Curve {
    median_of(rounds.iter().filter_map(times))
}

/// Of each percentile the median over rounds.
fn median_of<'a>(times: impl Iterator<Item = &'a Times>) -> Curve {
    let times: Vec<&Times> = times.collect();
    let Some(first) = times.first() else {
        return Curve::new();
    };
    let at = |share: f64| {
        let of = |times: &&Times| {
            let point = times.curve.iter().find(|(it, _)| *it == share)?;
            Some(point.1 as f64)
        };
        Spread::of(times.iter().filter_map(of)).map(|spread| (share, spread.median))
    };
    first
        .curve
        .iter()
        .filter_map(|(share, _)| at(*share))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_further_nine_takes_as_much_room() {
        let [zero, ninety, two, three] = [0.0, 90.0, 99.0, 99.9].map(place);
        assert_eq!(zero, PLACES_X.0);
        assert!((ninety - zero - (two - ninety)).abs() < 1e-6);
        assert!((three - two - (two - ninety)).abs() < 1e-6);
        assert_eq!(place(100.0), PLACES_X.1);
    }

    #[test]
    fn a_curve_is_the_median_of_its_points() {
        let times = |us: [u64; 2]| Times {
            curve: vec![(50.0, us[0]), (99.0, us[1])],
            ..Times::default()
        };
        let all = [times([1, 10]), times([3, 20]), times([2, 90])];
        assert_eq!(median_of(all.iter()), [(50.0, 2.0), (99.0, 20.0)]);
        assert!(median_of([].iter()).is_empty());
    }
}
