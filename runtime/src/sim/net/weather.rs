//! What the network does to its traffic: values only, set by the caller, drawn from by the network.

use crate::sim::Chance;
use std::ops::Range;

/// How a connection ends that nobody closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cut {
    /// Both ends are told by a reset; it may overtake what is still on its way.
    Reset,
    /// Both ends read the end of the stream, as if the other had closed it in good order.
    End,
    /// Nobody is told anything, and nothing comes through any more.
    Silence,
}

impl Cut {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Reset, Self::End, Self::Silence];
}

/// The weather of a network. Numbers without a unit in their name are "so many in a million".
///
/// It may be changed at any time: what is drawn for each piece (latency, loss, failures) follows at once,
/// what is drawn for a connection when it is made (window, raggedness, where it is cut) stays as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weather {
    /// The way of a piece or a datagram from one machine to another. Streams keep their order.
    pub latency_micros: Range<u64>,
    /// Bytes that one direction of a connection holds between a write and a read.
    pub window_len: Range<u64>,
    /// Connections on which reads and writes come in pieces of any size from one byte.
    pub ragged: u32,
    /// Attempts to connect that are refused though somebody listens.
    pub refused: u32,
    /// Attempts to connect that get no answer.
    pub unanswered: u32,
    /// Connections that are cut.
    pub cut: u32,
    /// After how many bytes, both directions together; small numbers are more frequent than large ones.
    pub cut_after: Range<u64>,
    /// How: each as likely as the others.
    pub cut_by: &'static [Cut],
    /// Datagrams that are lost.
    pub datagram_lost: u32,
    /// Datagrams that arrive twice.
    pub datagram_doubled: u32,
    /// Accepts that fail for want of a descriptor.
    pub accept_failed: u32,
    /// Sockets that one process may have.
    pub socket_count_max: usize,
    /// Questions that the answerer of `dns::server` answers with SERVFAIL.
    pub dns_failed: u32,
    /// Questions that it does not answer.
    pub dns_silent: u32,
    /// Questions that it answers late.
    pub dns_late: u32,
    /// How late.
    pub dns_late_micros: Range<u64>,
}

impl Weather {
    /// Nothing fails, and every way takes 50 to 200 microseconds.
    #[must_use]
    pub const fn fair() -> Self {
        Self {
            latency_micros: 50..200,
            window_len: 65_536..65_537,
            ragged: 0,
            refused: 0,
            unanswered: 0,
            cut: 0,
            cut_after: 0..1,
            cut_by: Cut::ALL,
            datagram_lost: 0,
            datagram_doubled: 0,
            accept_failed: 0,
            socket_count_max: usize::MAX,
            dns_failed: 0,
            dns_silent: 0,
            dns_late: 0,
            dns_late_micros: 0..1,
        }
    }

    /// Anything from a breeze to a storm, in which everything still comes through sooner or later.
    #[must_use]
    pub fn any(chance: &mut Chance) -> Self {
        const THOUSANDTHS: u32 = 1000;
        let some = |chance: &mut Chance, most: u64| {
            let is_any = chance.below(2) == 0;
            let times = chance.below(most) as u32 * THOUSANDTHS;
            if is_any { times } else { 0 }
        };
        let latency = [100, 1_000, 20_000, 300_000];
        let latency = *chance.pick(&latency);
        let window = [512, 4_096, 65_536];
        let window = *chance.pick(&window);
        Self {
            latency_micros: 10..latency,
            window_len: 256..window + 1,
            ragged: some(chance, 1_000),
            refused: some(chance, 200),
            unanswered: some(chance, 100),
            cut: some(chance, 300),
            cut_after: 0..1 << (8 + chance.below(12)),
            cut_by: Cut::ALL,
            datagram_lost: some(chance, 300),
            datagram_doubled: some(chance, 300),
            accept_failed: some(chance, 100),
            socket_count_max: usize::MAX,
            dns_failed: some(chance, 200),
            dns_silent: some(chance, 200),
            dns_late: some(chance, 500),
            dns_late_micros: 0..5_000_000,
        }
    }
}

impl Default for Weather {
    fn default() -> Self {
        Self::fair()
    }
}
