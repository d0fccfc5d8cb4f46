//! Numbers as entries and messages keep them: without padding, in as few bytes as they need. Pure.
//!
//! What they mean is `state`'s.

use super::wheel::TIME_MAX;

/// A time in milliseconds as it is kept: in six bytes, as far as the wheel reaches, and aligned to two, so
/// that an item needs no padding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment([u16; 3]);

impl Moment {
    /// What lies beyond the wheel's last time is that time.
    pub(super) fn new(millis: u64) -> Self {
        let millis = millis.min(TIME_MAX);
        Self([millis as u16, (millis >> 16) as u16, (millis >> 32) as u16])
    }

    pub(super) fn millis(self) -> u64 {
        let [low, middle, high] = self.0.map(u64::from);
        high << 32 | middle << 16 | low
    }
}

/// A number of 64 bits in halves, aligned to four, for the same reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Halves([u32; 2]);

impl Halves {
    pub(super) fn new(number: u64) -> Self {
        Self([number as u32, (number >> 32) as u32])
    }

    pub(super) fn get(self) -> u64 {
        u64::from(self.0[1]) << 32 | u64::from(self.0[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_halves_are_what_they_were_made_of() {
        for number in [0, 1, 0xffff, 0x1_0000, 1_795_508_041_007, TIME_MAX] {
            assert_eq!(Moment::new(number).millis(), number);
            assert_eq!(Halves::new(number).get(), number);
        }
        assert_eq!(Moment::new(u64::MAX).millis(), TIME_MAX);
        assert_eq!(Halves::new(u64::MAX).get(), u64::MAX);
    }
}
