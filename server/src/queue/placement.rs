//! Which shard a lane lives on, and how a spread lane's connections are shared. Pure.

use super::schedule::mix;

/// Where a lane lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// All of it on one shard, so that its limits are exact.
    Home(usize),
    /// On every shard, each with its [`share`] of the limit: each delivers what it accepted.
    Spread,
}

/// A lane with so many connections for each shard is spread.
const SPREAD_CONNECTIONS_MIN: usize = 2;

/// The same on every shard and after every restart: nothing but the name goes in.
fn hash(key: &str) -> u64 {
    key.as_bytes()
        .chunks(8)
        .fold(key.len() as u64, |hash, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(hash, u64::from_le_bytes(word))
        })
}

/// Where the lane `key` lives; the same on every shard and after every restart.
pub fn placement(key: &str, connection_limit: u32, shards: usize) -> Placement {
    assert!(shards > 0, "there is always a shard");
    if connection_limit as usize >= shards.saturating_mul(SPREAD_CONNECTIONS_MIN) {
        Placement::Spread
    } else {
        Placement::Home((hash(key) % shards as u64) as usize)
    }
}

/// What `shard` may use of a spread lane's limit; the shares of all shards sum to it. Which shards get
/// the odd ones depends on the lane.
pub fn share(key: &str, connection_limit: u32, shards: usize, shard: usize) -> u32 {
    assert!(shard < shards, "shards are counted from 0");
    let (shards, shard) = (shards as u64, shard as u64);
    let limit = u64::from(connection_limit);
    let turn = (hash(key) % shards + shard) % shards;
    (limit / shards + u64::from(turn < limit % shards)) as u32
}

/// Shares in proportion to each shard's demand, whole connections that sum to the limit, at least one
/// for each shard as far as they go. `shares` is as long as `demand`.
pub fn rebalance(connection_limit: u32, demand: &[u32], shares: &mut [u32]) {
    assert_eq!(demand.len(), shares.len(), "one share for each shard");
    let shards = demand.len() as u64;
    if shards == 0 {
        return;
    }
    let limit = u64::from(connection_limit);
    // One for each, and what is left by running sums: share n is floor(total to n) - floor(total to
    // n - 1), so the rounding never loses or gains a connection.
    let base = u64::from(limit >= shards);
    let rest = limit - base * shards;
    // Without any demand all are alike.
    let all: u64 = demand.iter().map(|&one| u64::from(one)).sum();
    let weight = |one: u32| if all == 0 { 1 } else { u64::from(one) };
    let weights = if all == 0 { shards } else { all };
    let mut sum = 0;
    for (share, &one) in shares.iter_mut().zip(demand) {
        let before = rest * sum / weights;
        sum += weight(one);
        *share = (base + rest * sum / weights - before) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn home_or_spread() {
        for (limit, shards, spread) in [
            (10, 1, true),
            (1, 1, false),
            (10, 5, true),
            (10, 6, false),
            (64, 32, true),
            (64, 33, false),
            (0, 4, false),
        ] {
            let found = placement("a lane", limit, shards);
            assert_eq!(
                found == Placement::Spread,
                spread,
                "{limit} on {shards}: {found:?}"
            );
        }
    }

    #[test]
    fn the_hash_is_for_ever() {
        // A change here would move lanes between shards that run different versions.
        let homes: Vec<_> = ["", "a", "mx1.example;mx2.example", "via 127.0.0.1:2526"]
            .iter()
            .map(|key| placement(key, 10, 64))
            .collect();
        assert_eq!(homes, HOMES.map(Placement::Home));
    }
    const HOMES: [usize; 4] = [0, 50, 23, 5];

    #[test]
    fn lanes_spread_evenly() {
        let mut counts = [0; 8];
        for number in 0..8000 {
            if let Placement::Home(home) = placement(&format!("mx.d{number}.example"), 1, 8) {
                counts[home] += 1;
            }
        }
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn rebalanced() {
        for (limit, demand, shares) in [
            (10, vec![0, 0], vec![5, 5]),
            (10, vec![1, 0], vec![9, 1]),
            (10, vec![3, 1], vec![7, 3]),
            (1, vec![1, 1], vec![0, 1]),
            (0, vec![4, 4], vec![0, 0]),
            (7, vec![0, 0, 0], vec![2, 2, 3]),
        ] {
            let mut found = vec![0; demand.len()];
            rebalance(limit, &demand, &mut found);
            assert_eq!(found, shares, "{limit} for {demand:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_limit(key in "[a-z.]{0,20}", limit in 0u32..500, shards in 1usize..64) {
            let shares: Vec<_> = (0..shards).map(|shard| share(&key, limit, shards, shard)).collect();
            prop_assert_eq!(shares.iter().sum::<u32>(), limit);
            let (least, most) = (shares.iter().min(), shares.iter().max());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
        }

        #[test]
        fn rebalanced_shares_sum_to_the_limit(
            limit in any::<u32>(),
            demand in prop::collection::vec(any::<u32>(), 1..32),
        ) {
            let mut shares = vec![0; demand.len()];
            let limit = limit.min(1 << 20);
            rebalance(limit, &demand, &mut shares);
            prop_assert_eq!(shares.iter().sum::<u32>(), limit);
            prop_assert!(limit < demand.len() as u32 || shares.iter().all(|&share| share > 0));
        }
    }
}
