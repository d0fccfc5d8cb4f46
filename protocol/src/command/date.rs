//! Moments as RFC 3339 section 5.6 writes them, and as seconds since the start of 1970: nothing but the
//! calendar, and no clock.

/// The last second that a year of four digits can name: 9999-12-31T23:59:59Z.
pub(crate) const LAST: u64 = 253_402_300_799;

const DAY_S: u64 = 86_400;
/// Days in 400 years, after which the calendar begins again.
const ERA_DAYS: u64 = 146_097;
/// Days from the first of March of the year 0 to the start of 1970.
const EPOCH_DAYS: u64 = 719_468;

/// Reads `2026-11-24T11:05:00Z`, or the same with an offset in place of the `Z`; a fraction of a
/// second counts as the next whole one, so that nothing happens before the moment. `None` for what
/// breaks the grammar, for days that no month has, and for moments before 1970.
//= RFC 3339 section 5.6: date-time = full-date "T" full-time
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *<&[u8; 10]>::try_from(date).ok()? else {
        return None;
    };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    if day == 0 || day > days_in(year, month)? {
        return None;
    }
    let (time, rest) = rest.split_at_checked(9)?;
    let [b'T' | b't', h1, h2, b':', n1, n2, b':', s1, s2] = *<&[u8; 9]>::try_from(time).ok()?
    else {
        return None;
    };
    let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
    //= RFC 3339 section 5.6: time-second is 00 to 60, for leap seconds
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => {
            let len = rest.iter().position(|octet| !octet.is_ascii_digit())?;
            let (digits, rest) = rest.split_at_checked(len)?;
            if digits.is_empty() {
                return None;
            }
            (u64::from(digits.iter().any(|&digit| digit != b'0')), rest)
        }
        _ => (0, rest),
    };
    let local = days_before(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
    let universal = match *rest {
        [b'Z' | b'z'] => local,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            if sign == b'+' {
                local.checked_sub(offset)?
            } else {
                local + offset
            }
        }
        _ => return None,
    };
    let moment = (universal + fraction).checked_sub(EPOCH_DAYS * DAY_S)?;
    (moment <= LAST).then_some(moment)
}

/// Writes a moment as `2026-11-24T11:05:00Z`; what comes after the year 9999 is written as its end.
pub(crate) fn write(moment: u64) -> [u8; 20] {
    let moment = moment.min(LAST);
    let (year, month, day) = date(moment / DAY_S);
    let second = moment % DAY_S;
    let mut text = *b"0000-00-00T00:00:00Z";
    let numbers = [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, second / 3600),
        (14, second / 60 % 60),
        (17, second % 60),
    ];
    for (at, number) in numbers {
        if let Some([tens, ones]) = text.get_mut(at..at + 2) {
            *tens = b'0' + (number / 10) as u8;
            *ones = b'0' + (number % 10) as u8;
        }
    }
    text
}

/// A number of two digits.
fn two(tens: u8, ones: u8) -> Option<u64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u64::from(tens) * 10 + u64::from(ones))
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> Option<u64> {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if is_leap(year) => Some(29),
        2 => Some(28),
        _ => None,
    }
}

/// Days from the first of March of the year 0 to this day; 0 for the days before it.
///
/// Years are counted from March, so that the day that some years have more comes last in its year.
const fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else if year > 0 {
        (year - 1, month + 9)
    } else {
        return 0;
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // From March on, five months have 153 days, however they are cut.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1
}

/// Year, month and day of the day that comes `days` after the start of 1970.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    // Each fourth year is a day longer, but not each hundredth: the days of those are taken out first.
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    fn written(moment: u64) -> String {
        String::from_utf8(write(moment).into()).unwrap()
    }

    #[test]
    fn known_moments() {
        for (moment, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_000_000_000, "2001-09-09T01:46:40Z"),
            (1_234_567_890, "2009-02-13T23:31:30Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(moment), "{text}");
            assert_eq!(written(moment), text);
        }
        assert_eq!(written(LAST + 1), "9999-12-31T23:59:59Z");
        assert_eq!(written(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn the_same_moment_in_other_words() {
        for text in [
            "2001-09-09T01:46:40z",
            "2001-09-09t01:46:40Z",
            "2001-09-09T01:46:40.000Z",
            "2001-09-09T01:46:39.001Z",
            "2001-09-09T01:46:40+00:00",
            "2001-09-09T03:46:40+02:00",
            "2001-09-08T20:16:40-05:30",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(1_000_000_000), "{text}");
        }
        assert_eq!(
            parse(b"2016-12-31T23:59:60Z"),
            parse(b"2017-01-01T00:00:00Z")
        );
    }

    #[test]
    fn no_moments() {
        for text in [
            "",
            "2001-09-09",
            "2001-09-09T01:46:40",
            "2001-09-09 01:46:40Z",
            "2001-09-09T01:46Z",
            "2001-09-09T01:46:40.Z",
            "2001-09-09T01:46:40.5",
            "2001-09-09T01:46:40ZZ",
            "2001-09-09T01:46:40+2:00",
            "2001-09-09T01:46:40+02",
            "2001-09-09T01:46:40+24:00",
            "2001-09-09T24:00:00Z",
            "2001-09-09T01:60:00Z",
            "2001-09-09T01:46:61Z",
            "2001-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2001-04-31T00:00:00Z",
            "2001-13-01T00:00:00Z",
            "2001-00-01T00:00:00Z",
            "2001-01-00T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+001-09-09T01:46:40Z",
            "20010909T014640Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    /// Counts year by year, then month by month.
    fn naive(year: u64, month: u64, day: u64) -> u64 {
        let mut days = 0;
        for earlier in 1970..year {
            days += if is_leap(earlier) { 366 } else { 365 };
        }
        for earlier in 1..month {
            days += days_in(year, earlier).unwrap();
        }
        (days + day - 1) * 86_400
    }

    #[test]
    fn same_as_naive_on_every_day_of_many_years() {
        for year in (1970..2110).chain([2399, 2400, 2401, 9999]) {
            for month in 1..=12 {
                for day in 1..=days_in(year, month).unwrap() {
                    let text = format!("{year}-{month:02}-{day:02}T00:00:00Z");
                    let moment = naive(year, month, day);
                    assert_eq!(parse(text.as_bytes()), Some(moment), "{text}");
                    assert_eq!(written(moment), text);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn there_and_back(moment in 0..=LAST) {
            prop_assert_eq!(parse(&write(moment)), Some(moment));
        }

        #[test]
        fn no_octets_break_it(text in "[0-9TZ:.+-]{0,30}", near in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,30})?([Z]|[+-][0-9]{2}:[0-9]{2})") {
            for text in [text, near] {
                let _ = parse(text.as_bytes());
            }
        }
    }
}
