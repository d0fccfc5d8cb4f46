//! Wall-clock time as a stored value, and its texts. It asks no clock.

use super::decimal::push_padded;

/// Milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(u64);

/// 9999-12-31 23:59:59.999: what comes later is written as this, so that a year always has four digits.
const WRITTEN_MAX: u64 = 253_402_300_799_999;

/// Length of a date as RFC 5322 section 3.3 writes it.
pub const DATE_LEN: usize = 31;

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This time and `millis` more.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds since `earlier`; 0 if the clock went back between the two.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Appends the date for a header field: `Tue, 24 Nov 2026 08:14:01 +0000`.
    pub fn push_date(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.date());
    }

    /// The date for a header field: `Tue, 24 Nov 2026 08:14:01 +0000`.
    pub fn date(self) -> [u8; DATE_LEN] {
        //= RFC 5322 section 3.3: day name, day, month name, four-digit year, time, numeric zone
        const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed"; // 1970 began on a Thursday
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let seconds = self.0.min(WRITTEN_MAX) / 1000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 +0000";
        let (name_of_day, name_of_month) = (3 * (days % 7) as usize, 3 * (month - 1) as usize);
        text[..3].copy_from_slice(&DAYS[name_of_day..name_of_day + 3]);
        text[5..7].copy_from_slice(&two_digits(day));
        text[8..11].copy_from_slice(&MONTHS[name_of_month..name_of_month + 3]);
        text[12..14].copy_from_slice(&two_digits(year / 100));
        text[14..16].copy_from_slice(&two_digits(year % 100));
        text[17..19].copy_from_slice(&two_digits(second / 3600));
        text[20..22].copy_from_slice(&two_digits(second / 60 % 60));
        text[23..25].copy_from_slice(&two_digits(second % 60));
        text
    }

    /// Appends the time for a machine: `2026-11-24T08:14:01.123Z`.
    pub fn push_rfc3339(self, out: &mut Vec<u8>) {
        let millis = self.0.min(WRITTEN_MAX);
        let (days, second) = (millis / 86_400_000, millis / 1000 % 86_400);
        let (year, month, day) = civil(days);
        let mut text = *b"1970-01-01T00:00:00.";
        text[..2].copy_from_slice(&two_digits(year / 100));
        text[2..4].copy_from_slice(&two_digits(year % 100));
        text[5..7].copy_from_slice(&two_digits(month));
        text[8..10].copy_from_slice(&two_digits(day));
        text[11..13].copy_from_slice(&two_digits(second / 3600));
        text[14..16].copy_from_slice(&two_digits(second / 60 % 60));
        text[17..19].copy_from_slice(&two_digits(second % 60));
        out.extend_from_slice(&text);
        push_padded(out, millis % 1000, 3);
        out.push(b'Z');
    }
}

fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Years begin in March here, so that the leap day is a year's last, and are counted in eras of 400.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_ERA: u64 = 146_097;
    let days = days + 719_468; // 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let leaps = day_of_era / 1460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date(millis: u64) -> String {
        let mut out = Vec::new();
        Timestamp(millis).push_date(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn rfc3339(millis: u64) -> String {
        let mut out = Vec::new();
        Timestamp(millis).push_rfc3339(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn known_days() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_704_067_200, "Mon, 01 Jan 2024 00:00:00 +0000"),
            (1_795_508_041, "Tue, 24 Nov 2026 08:14:01 +0000"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 +0000"),
        ] {
            assert_eq!(date(seconds * 1000), text);
        }
        assert_eq!(date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 +0000");
        assert_eq!(rfc3339(1_795_508_041_007), "2026-11-24T08:14:01.007Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    /// A calendar that counts year by year.
    fn naive_civil(mut days: u64) -> (u64, u64, u64) {
        let leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let mut year = 1970;
        while days >= 365 + u64::from(leap(year)) {
            days -= 365 + u64::from(leap(year));
            year += 1;
        }
        let february = 28 + u64::from(leap(year));
        for (index, length) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
            .into_iter()
            .enumerate()
        {
            if days < length {
                return (year, index as u64 + 1, days + 1);
            }
            days -= length;
        }
        unreachable!("a year has twelve months")
    }

    proptest! {
        #[test]
        fn same_as_naive(days in 0u64..2_932_897) {
            prop_assert_eq!(civil(days), naive_civil(days));
        }
    }
}
