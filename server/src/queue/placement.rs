//! Which shard a lane lives on, and how a spread lane's connections are shared. Pure.

/// Where a lane lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// All of it on one shard, so that its limits are exact.
    Home(usize),
    /// On every shard, each with its [`share`] of the limit: each delivers what it accepted.
    Spread,
}

/// Where the lane `key` lives; the same on every shard and after every restart.
pub fn placement(key: &str, connection_limit: u32, shards: usize) -> Placement {
    let _ = (key, connection_limit, shards);
    unimplemented!()
}

/// What `shard` may use of a spread lane's limit; the shares of all shards sum to it.
pub fn share(key: &str, connection_limit: u32, shards: usize, shard: usize) -> u32 {
    let _ = (key, connection_limit, shards, shard);
    unimplemented!()
}

/// Shares in proportion to the demand of each shard, whole connections that sum to the limit, at
/// least one for each shard.
pub fn rebalance(connection_limit: u32, demand: &[u32], shares: &mut [u32]) {
    let _ = (connection_limit, demand, shares);
    unimplemented!()
}
