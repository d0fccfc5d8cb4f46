//! The number of a message: when it came, which log owns it, and a counter. Never used twice.
//!
//! As text it has thirteen characters and sorts as the number does. Pure: the time is an argument.

use super::Timestamp;
use std::fmt;
use std::str::FromStr;

const LOG_BITS: u32 = 10;
const COUNTER_BITS: u32 = 13;
const MILLIS_BITS: u32 = 64 - LOG_BITS - COUNTER_BITS;

/// Logs are numbered below this.
pub const LOG_COUNT_MAX: u16 = 1 << LOG_BITS;
/// Characters of an id's text.
pub const TEXT_LEN: usize = 13;

/// 2024-01-01 00:00 UTC in Unix milliseconds: 41 bits of milliseconds last until 2093.
const EPOCH: u64 = 1_704_067_200_000;
const MILLIS_MAX: u64 = (1 << MILLIS_BITS) - 1;
/// A year of 366 days.
const YEAR_MILLIS: u64 = 366 * 24 * 60 * 60 * 1000;

/// Digits and lower-case letters without i, l, o and u, in ASCII order, so that text sorts as the number.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Milliseconds since 2024 (41 bits), log (10 bits), counter within the millisecond (13 bits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

impl Id {
    /// The id with these bits, as the log keeps it.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits, for the log.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The log that owns the message, for ever.
    pub const fn log(self) -> u16 {
        (self.0 >> COUNTER_BITS) as u16 & (LOG_COUNT_MAX - 1)
    }

    /// When the id was given, or a little later if its counter had to borrow.
    pub const fn given(self) -> Timestamp {
        Timestamp::from_unix_millis(EPOCH + (self.0 >> (LOG_BITS + COUNTER_BITS)))
    }

    /// Whether less than a year's ids are left above this one: no message of ours has such an id before the
    /// year 2092.
    pub const fn is_near_the_end(self) -> bool {
        self.0 >> (LOG_BITS + COUNTER_BITS) > MILLIS_MAX - YEAR_MILLIS
    }

    /// The id as text.
    pub fn text(self) -> [u8; TEXT_LEN] {
        let mut text = [0; TEXT_LEN];
        let mut bits = self.0;
        for character in text.iter_mut().rev() {
            *character = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        text
    }

    /// Appends the id as text.
    pub fn push(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text());
    }

    /// The id that `text` spells; exactly one text spells it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; TEXT_LEN] = text.try_into().ok()?;
        let mut bits = 0u64;
        for (index, character) in text.iter().enumerate() {
            let value = ALPHABET.iter().position(|known| known == character)? as u64;
            if index == 0 && value > 15 {
                return None; // 13 characters hold 65 bits
            }
            bits = bits << 5 | value;
        }
        Some(Self(bits))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        formatter.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A text that is no message id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a message id has {TEXT_LEN} characters of 0-9 and a-z without i, l, o, u")]
pub struct IdError;

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text.as_bytes()).ok_or(IdError)
    }
}

/// Gives the ids of one log. Lives with the log's writer.
#[derive(Debug)]
pub struct IdSource {
    log: u16,
    /// Milliseconds and counter of the last id, in one number: so a full counter borrows from the next
    /// millisecond by mere addition, and a clock that jumps back cannot make an id come again.
    last: u64,
}

impl IdSource {
    /// Ids of `log`, all of later milliseconds than `highest`, the highest that recovery found: that one may
    /// be another log's, and then says nothing of how far this log's counter went in its millisecond.
    pub fn new(log: u16, highest: Option<Id>) -> Self {
        assert!(log < LOG_COUNT_MAX, "log {log} does not fit in an id");
        let last = highest.map_or(0, |id| {
            let millis = id.0 >> (LOG_BITS + COUNTER_BITS);
            millis << COUNTER_BITS | ((1 << COUNTER_BITS) - 1)
        });
        Self { log, last }
    }

    /// The next id.
    pub fn next(&mut self, now: Timestamp) -> Id {
        let millis = now.unix_millis().saturating_sub(EPOCH).min(MILLIS_MAX);
        self.last = (millis << COUNTER_BITS).max(self.last + 1);
        let millis = self.last >> COUNTER_BITS;
        assert!(millis <= MILLIS_MAX, "ids end in 2093");
        let counter = self.last & ((1 << COUNTER_BITS) - 1);
        Id((millis << LOG_BITS | u64::from(self.log)) << COUNTER_BITS | counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(EPOCH + 90_000_000_000);

    #[test]
    fn text_of_the_edges() {
        for (bits, text) in [
            (0, "0000000000000"),
            (31, "000000000000z"),
            (32, "0000000000010"),
            (u64::MAX, "fzzzzzzzzzzzz"),
        ] {
            assert_eq!(Id(bits).to_string(), text);
            assert_eq!(text.parse(), Ok(Id(bits)));
        }
    }

    #[test]
    fn not_an_id() {
        for text in [
            "",
            "000000000000",
            "00000000000000",
            "g000000000000",
            "000000000000l",
        ]
        .into_iter()
        .chain(["000000000000A", "00000000000 0", "é00000000000"])
        {
            assert_eq!(text.parse::<Id>(), Err(IdError), "{text:?}");
        }
    }

    #[test]
    fn a_full_counter_borrows_from_the_next_millisecond() {
        let mut source = IdSource::new(3, None);
        let ids: Vec<Id> = (0..20_000).map(|_| source.next(NOW)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ascending");
        assert!(ids.iter().all(|id| id.log() == 3));
        assert_eq!(ids[0].given(), NOW);
        assert_eq!(ids[8191].given(), NOW);
        assert_eq!(ids[8192].given().unix_millis(), NOW.unix_millis() + 1);
        let later = Timestamp::from_unix_millis(NOW.unix_millis() + 1);
        assert!(
            source.next(later) > ids[19_999],
            "borrowed numbers are not given again"
        );
    }

    #[test]
    fn starts_above_the_highest_found_even_when_the_clock_went_back() {
        let highest = IdSource::new(5, None).next(NOW);
        let mut source = IdSource::new(5, Some(highest));
        let first = source.next(Timestamp::from_unix_millis(0));
        assert!(first > highest);
        assert_eq!(
            first.given().unix_millis(),
            highest.given().unix_millis() + 1
        );
    }

    #[test]
    fn the_last_year_is_near_the_end() {
        let of = |millis: u64| Id(millis << (LOG_BITS + COUNTER_BITS));
        assert!(!of(MILLIS_MAX - YEAR_MILLIS).is_near_the_end());
        assert!(of(MILLIS_MAX - YEAR_MILLIS + 1).is_near_the_end());
        assert!(Id(u64::MAX).is_near_the_end());
        assert!(!IdSource::new(3, None).next(NOW).is_near_the_end());
    }

    #[test]
    fn the_highest_of_another_log_is_passed_too() {
        let highest = IdSource::new(1023, None).next(NOW);
        let mut source = IdSource::new(0, Some(highest));
        let given = [source.next(NOW), source.next(NOW)];
        assert!(given.iter().all(|id| *id > highest));
        // A start that finds the other log's id as the highest once more gives none of these again.
        let past = Timestamp::from_unix_millis(0);
        let again = IdSource::new(0, Some(highest.max(given[1]))).next(past);
        assert!(again > given[1], "{again} after {given:?}");
    }

    proptest! {
        #[test]
        fn text_comes_back_and_sorts_as_the_number(one: u64, two: u64) {
            let (one, two) = (Id(one), Id(two));
            prop_assert_eq!(Id::parse(&one.text()), Some(one));
            prop_assert_eq!(one.cmp(&two), one.text().cmp(&two.text()));
        }

        #[test]
        fn never_twice(jumps in prop::collection::vec(0u64..3_000_000_000_000, 1..200)) {
            let mut source = IdSource::new(7, None);
            let mut last = None;
            for jump in jumps {
                let id = source.next(Timestamp::from_unix_millis(jump));
                prop_assert!(Some(id) > last);
                prop_assert_eq!(id.log(), 7);
                last = Some(id);
            }
        }
    }
}
