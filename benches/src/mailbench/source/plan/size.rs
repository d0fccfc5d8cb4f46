//! Sizes of contents: what `--size` may say, and which size a draw means. Pure.

/// The least: what a content needs for its header fields, with room.
pub(in crate::source) const SIZE_MIN: usize = 256;
/// The most: the content of this size is held in memory once.
pub(in crate::source) const SIZE_MAX: usize = 64 << 20;
/// Draws farther from the median are taken for this many sigmas: one in 16,000.
const SIGMA_COUNT_MAX: f64 = 4.0;

/// Which sizes there are, and how often.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::source) enum Sizes {
    /// Sizes with the sums of their weights and of those before them.
    List(Vec<(usize, u64)>),
    /// The logarithm of the size has a normal distribution.
    Lognormal { median: f64, sigma: f64 },
}

impl Sizes {
    /// Understands `4096`, `4k`, `4k:9,100k:1` and `lognormal:4k:1.5`.
    ///
    /// # Errors
    /// In the user's words.
    pub(in crate::source) fn parse(text: &str) -> Result<Self, String> {
        let sizes = match text.strip_prefix("lognormal:") {
            Some(rest) => lognormal(rest),
            None => list(text),
        };
        sizes.map_err(|why| format!("--size {text}: {why}"))
    }

    /// The size that these 64 random bits mean.
    pub(in crate::source) fn pick(&self, bits: u64) -> usize {
        match self {
            Self::List(list) => {
                let Some(&(last, weight_sum)) = list.last() else {
                    return SIZE_MIN;
                };
                let at = scale(bits, weight_sum);
                let found = list.iter().find(|(_, sum)| at < *sum);
                found.map_or(last, |(size, _)| *size)
            }
            Self::Lognormal { median, sigma } => {
                let deviation = normal(bits).clamp(-SIGMA_COUNT_MAX, SIGMA_COUNT_MAX);
                clamp(median * (sigma * deviation).exp())
            }
        }
    }

    /// The largest that `pick` gives.
    pub(in crate::source) fn largest(&self) -> usize {
        match self {
            Self::List(list) => list.iter().map(|(size, _)| *size).max().unwrap_or(SIZE_MIN),
            Self::Lognormal { median, sigma } => clamp(median * (sigma * SIGMA_COUNT_MAX).exp()),
        }
    }
}

/// A number below `limit`, each equally likely up to one in 2^64.
pub(super) fn scale(bits: u64, limit: u64) -> u64 {
    ((u128::from(bits) * u128::from(limit)) >> 64) as u64
}

fn clamp(size: f64) -> usize {
    (size as usize).clamp(SIZE_MIN, SIZE_MAX)
}

/// One number of the normal distribution, by the method of Box and Muller.
fn normal(bits: u64) -> f64 {
    let unit = |half: u64| (half as f64 + 1.0) / (f64::from(u32::MAX) + 1.0);
    let (radius, angle) = (unit(bits >> 32), unit(bits & u64::from(u32::MAX)));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

fn list(text: &str) -> Result<Sizes, String> {
    let mut list = Vec::new();
    let mut weight_sum = 0u64;
    for class in text.split(',') {
        let (size_text, weight) = match class.split_once(':') {
            None => (class, 1),
            Some((size_text, weight)) => (size_text, parse_weight(weight)?),
        };
        weight_sum += u64::from(weight);
        list.push((parse_size(size_text)?, weight_sum));
    }
    Ok(Sizes::List(list))
}

fn parse_weight(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(weight @ 1..) => Ok(weight),
        _ => Err(format!("the weight `{text}` is no whole number above 0")),
    }
}

fn lognormal(text: &str) -> Result<Sizes, String> {
    let (median, sigma) = text
        .split_once(':')
        .ok_or("it is lognormal:MEDIAN:SIGMA, as in lognormal:8k:1.5")?;
    let median = parse_size(median)? as f64;
    let sigma = sigma
        .parse::<f64>()
        .ok()
        .filter(|sigma| (0.0..=10.0).contains(sigma))
        .ok_or_else(|| format!("sigma `{sigma}` is no number from 0 to 10"))?;
    Ok(Sizes::Lognormal { median, sigma })
}

fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let size = digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("`{text}` is no size: write 4096, 4k or 1M"))?;
    if !(SIZE_MIN..=SIZE_MAX).contains(&size) {
        return Err(format!(
            "{text} is not from {SIZE_MIN} bytes (there are header fields) to {}M",
            SIZE_MAX >> 20
        ));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::super::chance::{Purpose, draw};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_understood() {
        let one = |size| Sizes::List(vec![(size, 1)]);
        let lognormal = |median, sigma| Sizes::Lognormal { median, sigma };
        for (text, sizes) in [
            ("4096", one(4096)),
            ("4k", one(4096)),
            ("1M", one(1 << 20)),
            ("64M", one(SIZE_MAX)),
            ("256", one(256)),
            ("4k:9,100k:1", Sizes::List(vec![(4096, 9), (102_400, 10)])),
            ("1k, 2K", Sizes::List(vec![(1024, 1), (2048, 2)])),
            ("lognormal:8k:1.5", lognormal(8192.0, 1.5)),
            ("lognormal:4096:0", lognormal(4096.0, 0.0)),
        ] {
            assert_eq!(Sizes::parse(text), Ok(sizes), "{text}");
        }
    }

    #[test]
    fn what_is_refused_and_how() {
        for (text, word) in [
            ("", "no size"),
            ("4x", "no size"),
            ("k", "no size"),
            ("-1", "no size"),
            ("99999999999999999999", "no size"),
            ("18446744073709551615k", "no size"),
            ("255", "256 bytes"),
            ("65M", "64M"),
            ("4k:", "weight"),
            ("4k:0", "weight"),
            ("4k:1.5", "weight"),
            ("4k,", "no size"),
            ("4k:1:2", "weight"),
            ("lognormal:", "MEDIAN:SIGMA"),
            ("lognormal:4k", "MEDIAN:SIGMA"),
            ("lognormal:4k:x", "sigma"),
            ("lognormal:4k:-1", "sigma"),
            ("lognormal:4k:NaN", "sigma"),
            ("lognormal:1:1", "256 bytes"),
        ] {
            let error = Sizes::parse(text).expect_err(text);
            assert!(
                error.contains(word) && error.starts_with("--size"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_list_is_drawn_by_weight_and_a_lognormal_around_its_median() {
        let draws = |sizes: &Sizes| -> Vec<usize> {
            let bits = (0..10_000).map(|index| draw(1, Purpose::Size, index));
            bits.map(|bits| sizes.pick(bits)).collect()
        };
        let list = Sizes::parse("4k:9,100k:1").expect("a list");
        let large = draws(&list).iter().filter(|size| **size > 4096).count();
        assert!((900..=1100).contains(&large), "{large} of 10,000");
        let mut sizes = draws(&Sizes::parse("lognormal:8k:1").expect("a lognormal"));
        sizes.sort_unstable();
        let (median, above) = (sizes[5000], sizes[8413]);
        assert!((7800..=8600).contains(&median), "median {median}");
        // One sigma above the median lies e times the median.
        assert!((20_000..=24_500).contains(&above), "a sigma above: {above}");
    }

    proptest! {
        #[test]
        fn no_size_is_beyond_its_bounds(bits in any::<u64>(), median in SIZE_MIN..SIZE_MAX, sigma in 0.0..10.0f64) {
            let sizes = Sizes::parse(&format!("lognormal:{median}:{sigma}")).expect("a lognormal");
            prop_assert!((SIZE_MIN..=sizes.largest()).contains(&sizes.pick(bits)));
            let list = Sizes::List(vec![(300, 2), (5000, 3), (400, 9)]);
            prop_assert!([300, 5000, 400].contains(&list.pick(bits)));
        }

        #[test]
        fn nothing_that_is_typed_panics(text in "(lognormal:)?[0-9kM:,.eN-]{0,12}") {
            let _ = Sizes::parse(&text);
        }
    }
}
