//! Where in a block of sixty-four octets an octet stands: a word with one bit for each place. What
//! the places mean is `scan`'s business.
//!
//! The block is a grid of eight rows of eight octets, and the bits stand column by column: that of
//! the octet in row `r` and column `c` is bit `8 * c + r`. In this order the compiler makes vector
//! code of the comparison on any processor that has some, without a line for any of them; steps
//! from place to place cost little in it, and the order of the octets is asked for rarely.

use core::ops::{BitAnd, BitOr, Not};

/// Octets in a block.
pub(super) const BLOCK_LEN: usize = 64;

/// That many octets.
pub(super) type Block = [u8; BLOCK_LEN];

/// A set of places in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Places(u64);

/// The bits of one row, as each octet of the word has them: bit 0 of each octet.
const ROW: u64 = 0x0101_0101_0101_0101;

/// Sixteen octets, two rows, are looked at side by side, so there are four of them: for each of the
/// sixteen columns the bits that its four octets have.
const BITS: [[u8; 4]; 16] = bits();

const fn bits() -> [[u8; 4]; 16] {
    let upper = [1, 1 << 2, 1 << 4, 1 << 6];
    let lower = [1 << 1, 1 << 3, 1 << 5, 1 << 7];
    [
        upper, upper, upper, upper, upper, upper, upper, upper, //
        lower, lower, lower, lower, lower, lower, lower, lower,
    ]
}

impl Places {
    pub(super) const NONE: Self = Self(0);

    /// Where this octet stands.
    #[inline(always)]
    pub(super) fn of(octet: u8, block: &Block) -> Self {
        Self::matching(block, |other| other == octet)
    }

    /// Where octets stand of which this is true. Written with plain numbers and without iterators, of
    /// which a build that does not optimize across units would leave the calls, and no vector.
    #[inline(always)]
    pub(super) fn matching(block: &Block, wanted: impl Fn(u8) -> bool) -> Self {
        let (rows, _) = block.as_chunks::<16>();
        let [a, b, c, d] = rows else {
            return Self::NONE;
        };
        let bit = |row: &[u8; 16], column: usize, bit: u8| match row.get(column) {
            Some(&octet) => u8::from(wanted(octet)).wrapping_neg() & bit,
            None => 0,
        };
        let mut columns = [0; 16];
        let mut column = 0;
        while let (Some(slot), Some(&[of_a, of_b, of_c, of_d])) =
            (columns.get_mut(column), BITS.get(column))
        {
            let upper = bit(a, column, of_a) | bit(b, column, of_b);
            *slot = upper | bit(c, column, of_c) | bit(d, column, of_d);
            column += 1;
        }
        let columns = u128::from_le_bytes(columns);
        Self((columns as u64) | (columns >> 64) as u64)
    }

    /// The first `len` places.
    #[inline(always)]
    pub(super) const fn first(len: usize) -> Self {
        if len >= BLOCK_LEN {
            return Self(!0);
        }
        let rows = (ROW << (len / 8)).wrapping_sub(ROW);
        let columns = (1 << (8 * (len % 8))) - 1;
        Self(rows | (ROW << (len / 8)) & columns)
    }

    /// The place behind each of these. The first one is there if `first` is; what was last is gone.
    #[inline(always)]
    pub(super) const fn next(self, first: bool) -> Self {
        let wrapped = self.0 >> 56;
        Self(self.0 << 8 | (wrapped << 1) & 0xff | first as u64)
    }

    #[inline(always)]
    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Is the place with this number in the set?
    #[inline(always)]
    pub(super) const fn has(self, place: usize) -> bool {
        self.0 >> (place % 8 * 8 + place / 8 % 8) & 1 != 0
    }

    /// If there are two places in the set, one behind the other, the number of the first.
    #[inline(always)]
    pub(super) const fn pair(self) -> Option<usize> {
        let low = self.0 & self.0.wrapping_neg();
        let high = self.0 ^ low;
        // In one row, or from the end of one to the start of the next.
        let first = match high {
            0 => return None,
            _ if high == low << 8 => low,
            _ if high == (low & 0xfe) << 55 => high,
            _ => return None,
        };
        let bit = first.trailing_zeros() as usize;
        Some(bit % 8 * 8 + bit / 8)
    }

    /// One bit for each place in the order of the octets: the first is the lowest.
    //  The grid as a matrix of bits, turned about its diagonal: first the bits of each two by two,
    //  then the pairs of each four by four, then the fours.
    #[inline(always)]
    pub(super) const fn in_order(self) -> u64 {
        let x = self.0;
        let swap = (x ^ (x >> 7)) & 0x00aa_00aa_00aa_00aa;
        let x = x ^ swap ^ (swap << 7);
        let swap = (x ^ (x >> 14)) & 0x0000_cccc_0000_cccc;
        let x = x ^ swap ^ (swap << 14);
        let swap = (x ^ (x >> 28)) & 0x0000_0000_f0f0_f0f0;
        x ^ swap ^ (swap << 28)
    }
}

impl BitAnd for Places {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Places {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Not for Places {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self(!self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn numbers(places: Places) -> Vec<usize> {
        (0..BLOCK_LEN).filter(|&place| places.has(place)).collect()
    }

    /// Octet by octet.
    fn naive(octet: u8, block: &Block) -> Vec<usize> {
        (0..BLOCK_LEN)
            .filter(|&place| block[place] == octet)
            .collect()
    }

    #[test]
    fn each_place_is_one_of_its_own() {
        for place in 0..BLOCK_LEN {
            let mut block = [b'a'; BLOCK_LEN];
            block[place] = b'x';
            let places = Places::of(b'x', &block);
            assert_eq!(numbers(places), [place]);
            assert_eq!(places.in_order(), 1 << place);
            assert_eq!(places.pair(), None);
        }
        assert_eq!(Places::NONE.pair(), None);
        assert_eq!(Places::first(3).pair(), None);
    }

    #[test]
    fn each_two_places_are_a_pair_or_not() {
        for first in 0..BLOCK_LEN {
            for second in first + 1..BLOCK_LEN {
                let mut block = [b'a'; BLOCK_LEN];
                block[first] = b'x';
                block[second] = b'x';
                let wanted = (second == first + 1).then_some(first);
                assert_eq!(Places::of(b'x', &block).pair(), wanted);
            }
        }
    }

    #[test]
    fn the_first_ones() {
        for len in 0..=BLOCK_LEN {
            let all: Vec<usize> = (0..len).collect();
            assert_eq!(numbers(Places::first(len)), all);
        }
    }

    proptest! {
        #[test]
        fn same_as_naive(
            octets in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], BLOCK_LEN),
            first: bool,
        ) {
            let block = Block::try_from(&octets[..]).unwrap();
            let places = Places::of(b'\n', &block);
            let wanted = naive(b'\n', &block);
            prop_assert_eq!(numbers(places), &wanted[..]);
            let in_order = wanted.iter().fold(0, |word, &place| word | 1 << place);
            prop_assert_eq!(places.in_order(), in_order);

            let next = wanted.iter().map(|&place| place + 1).filter(|&place| place < BLOCK_LEN);
            let next: Vec<usize> = first.then_some(0).into_iter().chain(next).collect();
            prop_assert_eq!(numbers(places.next(first)), next);
        }
    }
}
