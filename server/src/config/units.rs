//! Values with a unit, as an operator writes them: durations, sizes, networks. Pure.
//!
//! Each is read by one function and written by one, and what is written reads back the same.
//! The error of each says what would be right, without naming a key.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

/// Ten years. A longer duration is a slip, and this one still fits every clock in use.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(3650 * DAY);

const DAY: u64 = 24 * 60 * 60;

/// Milliseconds of each unit, the longest first: the order in which they are written.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("w", 7 * DAY * 1000),
    ("d", DAY * 1000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

const DURATION_FORM: &str = "write it like \"90s\", \"20m\", \"1h30m\" or \"7d\"";

/// Bytes of each unit, the largest of each family first.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("B", 1),
];

const SIZE_FORM: &str = "write it like \"64 MiB\" (1,024 based) or \"50 MB\" (1,000 based)";

/// A duration out of numbers and units, the longest unit first, each at most once.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut total_ms: u64 = 0;
    let mut units = DURATION_UNITS.iter();
    if rest.is_empty() {
        return Err(format!("no duration is given; {DURATION_FORM}"));
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let length = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = after.split_at(length);
        if number.is_empty() || unit.is_empty() {
            return Err(format!("\"{text}\" is no duration; {DURATION_FORM}"));
        }
        let Some((_, unit_ms)) = units.find(|(name, _)| *name == unit) else {
            return Err(format!("\"{text}\" is no duration; {DURATION_FORM}"));
        };
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*unit_ms));
        let sum = part.and_then(|part| total_ms.checked_add(part));
        let Some(sum) = sum.filter(|&sum| Duration::from_millis(sum) <= DURATION_MAX) else {
            return Err(format!("\"{text}\" is more than ten years"));
        };
        total_ms = sum;
        rest = behind.trim_start();
    }
    Ok(Duration::from_millis(total_ms))
}

/// A duration as [`parse_duration`] reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    let mut left_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // Weeks are understood, and not written: "14d" is what operators are used to read.
    for (unit, unit_ms) in &DURATION_UNITS[1..] {
        if left_ms >= *unit_ms {
            text.push_str(&format!("{}{unit}", left_ms / unit_ms));
            left_ms %= unit_ms;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// A whole number and a unit; the unit's letters may be of either case.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text.trim());
    let unit = unit.trim_start();
    let known = SIZE_UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let (false, Some((_, bytes))) = (number.is_empty(), known) else {
        return Err(format!("\"{text}\" is no size; {SIZE_FORM}"));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*bytes))
        .filter(|&size| i64::try_from(size).is_ok())
        .ok_or_else(|| format!("\"{text}\" is more than any disk holds"))
}

/// A size as [`parse_size`] reads it, in the largest unit that divides it.
pub(super) fn show_size(size: u64) -> String {
    let whole = SIZE_UNITS
        .iter()
        .find(|(_, bytes)| size != 0 && size.is_multiple_of(*bytes));
    match whole {
        Some((unit, bytes)) => format!("{} {unit}", size / bytes),
        None => "0 B".to_owned(),
    }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// A network in CIDR form; no bit is set behind the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    /// Whether it holds every address of its family.
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }
}

impl FromStr for Network {
    type Err = String;

    /// An address alone is the network of that one address.
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it like \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(format!("\"{text}\" is no network; {FORM}"));
        };
        let prefix_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix.map(str::parse::<u8>) {
            None => prefix_max,
            Some(Ok(prefix)) if prefix <= prefix_max => prefix,
            Some(_) => {
                return Err(format!(
                    "\"{text}\" has no prefix length from 0 to {prefix_max} behind the slash"
                ));
            }
        };
        let network = Self {
            address: masked(address, prefix),
            prefix,
        };
        if network.address != address {
            return Err(format!(
                "\"{text}\" has bits set behind its prefix; write \"{network}\""
            ));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("90s", 90_000),
            ("20m", 1_200_000),
            ("1h30m", 5_400_000),
            (" 1h 30m ", 5_400_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
            ("1m30s500ms", 90_500),
            ("3650d", 315_360_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for (text, why) in [
            ("", "no duration is given"),
            ("20", "is no duration"),
            ("m", "is no duration"),
            ("-5s", "is no duration"),
            ("1.5h", "is no duration"),
            ("20 minutes", "is no duration"),
            ("30m1h", "is no duration"),
            ("1h1h", "is no duration"),
            ("3650d1s", "is more than ten years"),
            ("99999999999999999999s", "is more than ten years"),
        ] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("0 B", 0),
            ("64 MiB", 67_108_864),
            ("64MiB", 67_108_864),
            ("50MB", 50_000_000),
            ("50 mb", 50_000_000),
            ("1 GiB", 1 << 30),
            ("2 TB", 2_000_000_000_000),
            ("100 b", 100),
            ("4 kib", 4096),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for (text, why) in [
            ("", "is no size"),
            ("64", "is no size"),
            ("64 M", "is no size"),
            ("MiB", "is no size"),
            ("1.5 GiB", "is no size"),
            ("-1 KiB", "is no size"),
            ("9999999999999 TiB", "is more than any disk holds"),
            ("99999999999999999999 B", "is more than any disk holds"),
        ] {
            let error = parse_size(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn networks() {
        for (text, inside, outside) in [
            ("127.0.0.0/8", "127.255.0.1", "128.0.0.1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("::1", "::1", "::2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
        ] {
            let network: Network = text.parse().expect(text);
            assert!(
                network.contains(inside.parse().expect(inside)),
                "{inside} in {text}"
            );
            assert!(
                !network.contains(outside.parse().expect(outside)),
                "{outside} in {text}"
            );
        }
        for (text, why) in [
            ("localhost", "is no network"),
            ("10.0.0.0/33", "has no prefix length from 0 to 32"),
            ("::1/129", "has no prefix length from 0 to 128"),
            ("10.0.0.0/", "has no prefix length from 0 to 32"),
            ("10.0.0.1/8", "write \"10.0.0.0/8\""),
        ] {
            let error = text.parse::<Network>().expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ms in 0u64..=315_360_000_000, size in 0u64..1 << 62) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&show_size(size)), Ok(size));
        }

        #[test]
        fn no_text_makes_them_panic(text in ".{0,40}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
            let _ = text.parse::<Network>();
        }
    }
}
