//! Draws by the seed: the same message of the same run gets the same size and the same domains, whichever
//! session carries it. Pure; no state is kept between draws.

/// What a draw is for, so that draws for one message do not repeat each other.
#[derive(Debug, Clone, Copy)]
pub(in crate::source) enum Purpose {
    Size = 1,
    Sender = 2,
    Recipient = 3,
    Content = 4,
    Run = 5,
}

/// Sixty-four bits for the `index`th of these.
pub(in crate::source) fn draw(seed: u64, purpose: Purpose, index: u64) -> u64 {
    mix(mix(seed ^ ((purpose as u64) << 56)).wrapping_add(index))
}

/// One step of SplitMix64: every bit of the result depends on every bit of the argument.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn draws_repeat_for_the_same_and_differ_for_others() {
        assert_eq!(draw(1, Purpose::Size, 7), draw(1, Purpose::Size, 7));
        let purposes = [
            Purpose::Size,
            Purpose::Sender,
            Purpose::Recipient,
            Purpose::Content,
            Purpose::Run,
        ];
        let all: HashSet<u64> = (0..10)
            .flat_map(|seed| purposes.map(|purpose| (seed, purpose)))
            .flat_map(|(seed, purpose)| (0..100).map(move |index| draw(seed, purpose, index)))
            .collect();
        assert_eq!(all.len(), 10 * purposes.len() * 100);
    }
}
