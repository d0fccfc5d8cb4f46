//! Which name server to ask next. Pure: what happened and `now` (micros) in, an order out.

use std::net::SocketAddr;

/// The first pause after a server did not answer; doubled with each further time.
const PAUSE_MIN: u64 = 1_000_000;
/// The longest pause. A paused server is still asked when all others have failed.
const PAUSE_MAX: u64 = 60_000_000;

/// The servers of one shard and how they have behaved.
pub struct Servers {
    states: Vec<State>,
    /// The one that answered last.
    preferred: usize,
}

struct State {
    address: SocketAddr,
    silence_count: u32,
    paused_until: u64,
    /// It stumbled over EDNS and answered without.
    is_plain: bool,
}

impl Servers {
    /// All of them thought good.
    pub fn new(addresses: &[SocketAddr]) -> Self {
        let state = |address: &SocketAddr| State {
            address: *address,
            silence_count: 0,
            paused_until: 0,
            is_plain: false,
        };
        Self {
            states: addresses.iter().map(state).collect(),
            preferred: 0,
        }
    }

    /// Their places in the order in which to try them: the last good one first, the rest as
    /// configured; behind them those that have lately been silent, the one whose pause ends first
    /// before the others.
    pub fn order(&self, now: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.states.len()).collect();
        order.sort_by_key(|&index| {
            let paused_until = self.states[index].paused_until;
            let pause = if paused_until > now { paused_until } else { 0 };
            (pause, index != self.preferred, index)
        });
        order
    }

    /// Where it is.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.states[index].address
    }

    /// Whether to ask it without EDNS.
    pub fn is_plain(&self, index: usize) -> bool {
        self.states[index].is_plain
    }

    /// It answered, whatever it said.
    pub fn answered(&mut self, index: usize) {
        self.states[index].silence_count = 0;
        self.states[index].paused_until = 0;
    }

    /// What it said was of use.
    pub fn helped(&mut self, index: usize) {
        self.answered(index);
        self.preferred = index;
    }

    /// It did not answer in time, or could not be reached.
    pub fn was_silent(&mut self, index: usize, now: u64) {
        let state = &mut self.states[index];
        let pause = (PAUSE_MIN << state.silence_count.min(16)).min(PAUSE_MAX);
        state.silence_count = state.silence_count.saturating_add(1);
        state.paused_until = now + pause;
    }

    /// It answers without EDNS only.
    pub fn wants_plain(&mut self, index: usize) {
        self.states[index].is_plain = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Servers {
        Servers::new(&[1, 2, 3].map(|last| ([192, 0, 2, last], 53).into()))
    }

    #[test]
    fn the_last_good_one_first() {
        let mut servers = three();
        assert_eq!(servers.order(0), [0, 1, 2]);
        servers.helped(2);
        assert_eq!(servers.order(0), [2, 0, 1]);
        servers.answered(1);
        assert_eq!(
            servers.order(0),
            [2, 0, 1],
            "an answer of no use does not make it the favourite"
        );
    }

    #[test]
    fn the_silent_last_and_longer_each_time() {
        let mut servers = three();
        servers.was_silent(0, 0);
        assert_eq!(servers.order(0), [1, 2, 0]);
        assert_eq!(servers.order(PAUSE_MIN), [0, 1, 2]);
        servers.was_silent(0, PAUSE_MIN);
        assert_eq!(servers.order(2 * PAUSE_MIN), [1, 2, 0]);
        assert_eq!(servers.order(3 * PAUSE_MIN), [0, 1, 2]);
        for _ in 0..100 {
            servers.was_silent(0, 0);
        }
        assert_eq!(servers.order(PAUSE_MAX - 1), [1, 2, 0]);
        assert_eq!(servers.order(PAUSE_MAX), [0, 1, 2]);
        servers.was_silent(1, 0);
        assert_eq!(
            servers.order(0),
            [2, 1, 0],
            "the shorter pause before the longer"
        );
        servers.answered(0);
        assert_eq!(servers.order(0), [0, 2, 1]);
    }
}
