//! Statistics over rounds, and how their numbers are written. Pure; which figures are taken is not known here.

use super::results::Round;

/// Where the figures of some rounds lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    pub(crate) min: f64,
    pub(crate) low_quartile: f64,
    pub(crate) median: f64,
    pub(crate) high_quartile: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of these figures; `None` where there is none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let finite = figures.into_iter().filter(|figure| figure.is_finite());
        let mut figures: Vec<f64> = finite.collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        Some(Self {
            count: figures.len(),
            min,
            low_quartile: quantile(&figures, 0.25),
            median: quantile(&figures, 0.5),
            high_quartile: quantile(&figures, 0.75),
            max,
        })
    }

    /// Of one figure of each round that has it.
    pub(crate) fn over(rounds: &[Round], figure: impl Fn(&Round) -> Option<f64>) -> Option<Self> {
        Self::of(rounds.iter().filter_map(figure))
    }

    /// `median (min–max)`, or the figure alone if there is but one.
    pub(crate) fn in_words(&self) -> String {
        if self.count == 1 {
            return number(self.median);
        }
        let [min, max] = [self.min, self.max].map(number);
        format!("{} ({min}–{max})", number(self.median))
    }
}

/// Between the two figures that stand around it, in proportion. Of at least one, in ascending order.
fn quantile(figures: &[f64], share: f64) -> f64 {
    let place = share * (figures.len() - 1) as f64;
    let (below, above) = (
        figures[place.floor() as usize],
        figures[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

/// Three figures or more where there are as many: `0.123`, `1.23`, `12.3`, `1,234`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        _ if !value.is_finite() => return "–".to_owned(),
        // Rounding must not add a digit: 99.96 is 100, not 100.0.
        _ if size >= 99.95 => return with_commas(value.round()),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if size >= 0.9995 => format!("{value:.2}"),
        _ if value == 0.0 => return "0".to_owned(),
        _ => format!("{value:.3}"),
    };
    let is_round = text
        .split_once('.')
        .is_some_and(|(_, rest)| rest.bytes().all(|digit| digit == b'0'));
    match text.split_once('.') {
        Some((whole, _)) if is_round && size >= 0.5 => whole.to_owned(),
        _ => text,
    }
}

fn with_commas(whole: f64) -> String {
    let digits = format!("{:.0}", whole.abs());
    let mut text = String::new();
    if whole < 0.0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds in the unit in which they are read.
pub(crate) fn duration(us: f64) -> String {
    match us {
        _ if us >= 1e6 => format!("{} s", number(us / 1e6)),
        _ if us >= 1e3 => format!("{} ms", number(us / 1e3)),
        _ => format!("{} µs", number(us)),
    }
}

/// Octets in the unit in which they are read.
pub(crate) fn size(bytes: f64) -> String {
    match bytes {
        _ if bytes >= 1e9 => format!("{} GB", number(bytes / 1e9)),
        _ if bytes >= 1e6 => format!("{} MB", number(bytes / 1e6)),
        _ if bytes >= 1e3 => format!("{} kB", number(bytes / 1e3)),
        _ => format!("{} B", number(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_a_middle_and_a_spread() {
        for (figures, expected) in [
            (&[5.0][..], [5.0, 5.0, 5.0, 5.0, 5.0]),
            (&[2.0, 1.0], [1.0, 1.25, 1.5, 1.75, 2.0]),
            (&[9.0, 1.0, 3.0, 7.0, 5.0], [1.0, 3.0, 5.0, 7.0, 9.0]),
            (&[4.0, f64::NAN, 1.0, 2.0, 3.0], [1.0, 1.75, 2.5, 3.25, 4.0]),
        ] {
            let spread = Spread::of(figures.iter().copied()).expect("a spread");
            let found = [
                spread.min,
                spread.low_quartile,
                spread.median,
                spread.high_quartile,
                spread.max,
            ];
            assert_eq!(found, expected, "{figures:?}");
        }
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn a_spread_is_written_with_its_ends() {
        let words = |figures: &[f64]| Spread::of(figures.iter().copied()).map(|it| it.in_words());
        assert_eq!(words(&[12_345.0]).as_deref(), Some("12,345"));
        assert_eq!(words(&[1.0, 2.0, 40.0]).as_deref(), Some("2 (1–40)"));
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.123_4, "0.123"),
            (0.999_6, "1"),
            (1.234, "1.23"),
            (9.996, "10"),
            (12.34, "12.3"),
            (12.0, "12"),
            (99.96, "100"),
            (123.4, "123"),
            (1_234.5, "1,235"),
            (-1_234_567.0, "-1,234,567"),
            (-0.000_1, "-0.000"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(duration(250.0), "250 µs");
        assert_eq!(duration(2_500.0), "2.50 ms");
        assert_eq!(duration(3e6), "3 s");
        assert_eq!(size(999.0), "999 B");
        assert_eq!(size(12_340_000.0), "12.3 MB");
        assert_eq!(size(2e9), "2 GB");
    }
}
