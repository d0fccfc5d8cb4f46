//! Axes: which values are marked, and where a value lies. Pure.

use super::super::median::number;

/// From values to places, linear or by powers of ten.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    pub(crate) ticks: Vec<f64>,
    is_log: bool,
    /// Values at both ends, and their places.
    values: (f64, f64),
    places: (f64, f64),
}

impl Axis {
    /// From zero to a round number above the largest value.
    pub(crate) fn linear(largest: f64, places: (f64, f64), tick_count: usize) -> Self {
        let largest = if largest.is_finite() && largest > 0.0 {
            largest
        } else {
            1.0
        };
        let step = round_step(largest / tick_count.max(1) as f64);
        let count = (largest / step).ceil();
        Self {
            ticks: (0..=count as u32).map(|it| f64::from(it) * step).collect(),
            is_log: false,
            values: (0.0, count * step),
            places,
        }
    }

    /// Between the powers of ten around these values; 1, 2 and 5 are marked where there are few powers.
    pub(crate) fn log(smallest: f64, largest: f64, places: (f64, f64)) -> Self {
        let smallest = smallest.max(f64::MIN_POSITIVE);
        let largest = largest.max(smallest);
        let few = largest / smallest < 300.0;
        let marks: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let powers = smallest.log10().floor() as i32..=largest.log10().ceil() as i32;
        let all: Vec<f64> = powers
            .flat_map(|power| marks.iter().map(move |mark| mark * 10_f64.powi(power)))
            .collect();
        // The last mark at or below the smallest, to the first at or above the largest.
        let slack = 1.0 + 1e-9;
        let first = all
            .iter()
            .rposition(|it| *it <= smallest * slack)
            .unwrap_or(0);
        let last = all.iter().position(|it| *it * slack >= largest);
        let last = last
            .unwrap_or(all.len() - 1)
            .max(first + 1)
            .min(all.len() - 1);
        let ticks = all[first.min(last.saturating_sub(1))..=last].to_vec();
        Self {
            values: (ticks[0], ticks[ticks.len() - 1]),
            ticks,
            is_log: true,
            places,
        }
    }

    /// Where a value lies; outside of the ends it lies on them.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| {
            if self.is_log {
                value.max(1e-300).log10()
            } else {
                value
            }
        };
        let (first, last) = (scale(self.values.0), scale(self.values.1));
        let share = ((scale(value) - first) / (last - first)).clamp(0.0, 1.0);
        self.places.0 + share * (self.places.1 - self.places.0)
    }
}

/// 1, 2 or 5 times a power of ten, at least as large.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let found = steps.into_iter().find(|it| *it >= step * (1.0 - 1e-9));
    found.unwrap_or(power * 10.0)
}

/// A mark's text, as short as it is exact.
pub(crate) fn tick(value: f64) -> String {
    let text = number(value);
    match text.split_once('.') {
        Some((whole, rest)) => {
            let rest = rest.trim_end_matches('0');
            if rest.is_empty() {
                whole.to_owned()
            } else {
                format!("{whole}.{rest}")
            }
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers() {
        for (largest, expected) in [
            (9.0, vec![0.0, 2.0, 4.0, 6.0, 8.0, 10.0]),
            (10_400.0, vec![0.0, 5_000.0, 10_000.0, 15_000.0]),
            (0.0, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ] {
            let axis = Axis::linear(largest, (0.0, 100.0), 5);
            let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
            let same =
                axis.ticks.len() == expected.len() && axis.ticks.iter().zip(&expected).all(close);
            assert!(same, "{largest}: {:?}", axis.ticks);
        }
    }

    #[test]
    fn powers_of_ten_lie_at_equal_distances() {
        let axis = Axis::log(1.0, 1000.0, (0.0, 300.0));
        assert_eq!(axis.ticks, [1.0, 10.0, 100.0, 1000.0]);
        let places = [0.1, 1.0, 10.0, 1000.0, 1e9].map(|value| axis.place(value).round());
        assert_eq!(places, [0.0, 0.0, 100.0, 300.0, 300.0]);
        assert_eq!(Axis::log(30.0, 90.0, (0.0, 1.0)).ticks, [20.0, 50.0, 100.0]);
        assert_eq!(Axis::log(5.0, 5.0, (0.0, 1.0)).ticks.len(), 2);
        assert!(Axis::log(0.0, 0.0, (0.0, 1.0)).ticks.len() > 1);
    }

    #[test]
    fn a_value_lies_between_the_ends() {
        let axis = Axis::linear(10.0, (200.0, 0.0), 5);
        assert_eq!(
            [0.0, 5.0, 10.0, 99.0].map(|it| axis.place(it)),
            [200.0, 100.0, 0.0, 0.0]
        );
        assert_eq!([0.2, 15_000.0, 5.0].map(tick), ["0.2", "15,000", "5"]);
    }
}
