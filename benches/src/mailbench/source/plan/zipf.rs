//! Which domain: by Zipf's law, or evenly. Pure: a table made once, and a draw that costs two look-ups.

use super::size::scale;

/// Domains that a table is made for; each takes 8 bytes.
pub(in crate::source) const DOMAIN_COUNT_MAX: u32 = 1 << 20;

/// A table for Walker's method: each column is one domain up to its threshold, and its alias beyond.
#[derive(Debug, Clone)]
pub(in crate::source) struct Zipf {
    columns: Vec<Column>,
    count: u32,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    threshold: u32,
    alias: u32,
}

impl Zipf {
    /// Domain number k (from 1) is as likely as k to the power of `-exponent`; evenly at 0.
    pub(in crate::source) fn new(count: u32, exponent: f64) -> Self {
        if exponent == 0.0 || count < 2 {
            let columns = Vec::new();
            return Self { columns, count };
        }
        let weights = (1..=count).map(|rank| f64::from(rank).powf(-exponent));
        let weights: Vec<f64> = weights.collect();
        let columns = columns(&weights);
        Self { columns, count }
    }

    /// The domain that these 64 random bits mean.
    pub(in crate::source) fn pick(&self, bits: u64) -> u32 {
        let at = scale(bits, u64::from(self.count)) as u32;
        let Some(column) = self.columns.get(at as usize) else {
            return at;
        };
        // The column was chosen by the upper bits; it has at most 2^20 of them, so the lower are still free.
        if bits as u32 <= column.threshold {
            at
        } else {
            column.alias
        }
    }
}

/// Fills what a light domain leaves of its column with a part of a heavy one.
fn columns(weights: &[f64]) -> Vec<Column> {
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    let mut shares: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
    let full = |at: usize| Column {
        threshold: u32::MAX,
        alias: at as u32,
    };
    let mut columns: Vec<Column> = (0..weights.len()).map(full).collect();
    let (mut light, mut heavy): (Vec<usize>, Vec<usize>) =
        (0..shares.len()).partition(|at| shares[*at] < 1.0);
    while let (Some(low), Some(&high)) = (light.pop(), heavy.last()) {
        columns[low] = Column {
            threshold: (shares[low] * f64::from(u32::MAX)) as u32,
            alias: high as u32,
        };
        shares[high] -= 1.0 - shares[low];
        if shares[high] < 1.0 {
            heavy.pop();
            light.push(high);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How likely each domain is, by the table itself.
    fn likelihoods(zipf: &Zipf) -> Vec<f64> {
        let mut sums = vec![0.0; zipf.count as usize];
        for (at, column) in zipf.columns.iter().enumerate() {
            let own = f64::from(column.threshold) / f64::from(u32::MAX);
            sums[at] += own;
            sums[column.alias as usize] += 1.0 - own;
        }
        sums.iter().map(|sum| sum / sums.len() as f64).collect()
    }

    #[test]
    fn the_first_of_three_has_six_elevenths_by_zipf_himself() {
        let found = likelihoods(&Zipf::new(3, 1.0));
        for (found, expected) in found.iter().zip([6.0 / 11.0, 3.0 / 11.0, 2.0 / 11.0]) {
            assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
        }
    }

    #[test]
    fn evenly_without_an_exponent() {
        let zipf = Zipf::new(4, 0.0);
        let picks = [0, u64::MAX / 4 + 2, u64::MAX / 2 + 2, u64::MAX].map(|bits| zipf.pick(bits));
        assert_eq!(picks, [0, 1, 2, 3]);
        assert_eq!(Zipf::new(1, 1.5).pick(u64::MAX), 0);
    }

    proptest! {
        #[test]
        fn the_table_is_the_law(count in 2..300u32, exponent in 0.01..4.0f64) {
            let zipf = Zipf::new(count, exponent);
            let weight = |rank: u32| f64::from(rank).powf(-exponent);
            let sum: f64 = (1..=count).map(weight).sum();
            for (at, found) in likelihoods(&zipf).into_iter().enumerate() {
                prop_assert!((found - weight(at as u32 + 1) / sum).abs() < 1e-6);
            }
        }

        #[test]
        fn no_draw_is_beyond_the_domains(count in 1..5000u32, exponent in 0.0..4.0f64, bits in any::<u64>()) {
            prop_assert!(Zipf::new(count, exponent).pick(bits) < count);
        }
    }
}
