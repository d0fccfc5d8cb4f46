//! When which message is due, and which shard's it is. Pure.
//!
//! All shards follow one rhythm in turn: message m is shard m modulo their number's, and due m intervals
//! behind the begin. So shards need not speak with each other, and together they keep the rate.

/// The part of the messages that one shard sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::source) struct Share {
    /// Which shard, of how many.
    pub(in crate::source) index: u64,
    pub(in crate::source) count: u64,
    /// Messages of all shards.
    pub(in crate::source) message_count: u64,
    /// Messages a second of all shards; `None`: each as soon as somebody takes it.
    pub(in crate::source) rate: Option<f64>,
}

impl Share {
    /// Messages of this shard.
    pub(in crate::source) fn len(&self) -> u64 {
        part(self.message_count, self.index, self.count)
    }

    /// The number of this shard's `nth` message.
    pub(in crate::source) fn number(&self, nth: u64) -> u64 {
        nth * self.count + self.index
    }

    /// When this shard's `nth` message is due, in microseconds behind the begin.
    pub(in crate::source) fn due_us(&self, nth: u64) -> u64 {
        match self.rate {
            None => 0,
            Some(rate) => (self.number(nth) as f64 * 1e6 / rate) as u64,
        }
    }
}

/// How many of `total` things that are dealt in turn the `index`th of `count` gets.
pub(in crate::source) fn part(total: u64, index: u64, count: u64) -> u64 {
    (total + count - 1 - index) / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shard_keeps_its_part_of_the_rhythm() {
        let share = |index, rate| Share {
            index,
            count: 2,
            message_count: 5,
            rate,
        };
        let dues = |share: Share| -> Vec<(u64, u64)> {
            let nths = 0..share.len();
            nths.map(|nth| (share.number(nth), share.due_us(nth)))
                .collect()
        };
        let thousand = Some(1000.0);
        assert_eq!(dues(share(0, thousand)), [(0, 0), (2, 2000), (4, 4000)]);
        assert_eq!(dues(share(1, thousand)), [(1, 1000), (3, 3000)]);
        assert_eq!(dues(share(1, None)), [(1, 0), (3, 0)]);
        assert_eq!(dues(share(1, Some(0.5))), [(1, 2_000_000), (3, 6_000_000)]);
    }

    proptest! {
        #[test]
        fn every_message_is_somebodys(message_count in 0..500u64, count in 1..9u64) {
            let mut numbers: Vec<u64> = (0..count)
                .map(|index| Share { index, count, message_count, rate: None })
                .flat_map(|share| (0..share.len()).map(move |nth| share.number(nth)))
                .collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (0..message_count).collect::<Vec<_>>());
        }

        #[test]
        fn dues_never_drift(rate in 0.1..1e6f64, nth in 0..100_000u64) {
            let share = Share { index: 0, count: 1, message_count: u64::MAX / 2, rate: Some(rate) };
            let exact = nth as f64 * 1e6 / rate;
            prop_assert!((share.due_us(nth) as f64 - exact).abs() <= 1.0);
        }
    }
}
