//! Single values of the configuration: a name, a path, a number, a size, a time, each as meant or with the
//! error that points at it. Pure.
//!
//! Which bounds a value has, and what it is if it is not given, the parent says.

use super::{Check, Checked};
use crate::config::Network;
use crate::config::file::{Given, Interval, Number, Size};
use crate::config::units::{parse_duration, parse_size, show_duration, show_size};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// Whether `text` is a host name: labels of letters, digits and inner hyphens.
//= RFC 5321 section 4.1.2: a domain is made of sub-domains of letters, digits and hyphens
pub(in crate::config) fn is_hostname(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

impl Check<'_> {
    pub(super) fn hostname(&self, given: &Given<String>, default: &str) -> Checked<String> {
        let Some(given) = given else {
            return Ok(default.to_owned());
        };
        let text = given.get_ref();
        if !is_hostname(text) {
            let what = format!("\"{text}\" is no host name; write it like \"mx.example.com\"");
            return Err(self.at(given.span(), what));
        }
        Ok(text.clone())
    }

    pub(super) fn postmaster(&self, given: &Given<String>, hostname: &str) -> Checked<String> {
        let Some(given) = given else {
            return Ok(format!("postmaster@{hostname}"));
        };
        let text = given.get_ref();
        let is_atom =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
        let is_mailbox = text.rsplit_once('@').is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len()) && local.bytes().all(is_atom) && is_hostname(domain)
        });
        if !is_mailbox {
            let what =
                format!("\"{text}\" is no mailbox; write it like \"postmaster@example.com\"");
            return Err(self.at(given.span(), what));
        }
        Ok(text.clone())
    }

    pub(super) fn path(
        &self,
        given: &Given<String>,
        default: impl FnOnce() -> PathBuf,
    ) -> Checked<PathBuf> {
        let Some(given) = given else {
            return Ok(default());
        };
        if given.get_ref().is_empty() || given.get_ref().contains('\0') {
            let what = "is no path; write it like \"/var/lib/mailrail\", or leave it out";
            return Err(self.at(given.span(), what.to_owned()));
        }
        Ok(PathBuf::from(given.get_ref()))
    }

    pub(super) fn networks(
        &self,
        given: Option<&[Spanned<String>]>,
        default: &[&str],
    ) -> Checked<Vec<Network>> {
        match given {
            Some(given) => given.iter().map(|network| self.parsed(network)).collect(),
            None => Ok(default
                .iter()
                .map(|network| network.parse().expect("a default is a network"))
                .collect()),
        }
    }

    pub(super) fn parsed<T>(&self, given: &Spanned<String>) -> Checked<T>
    where
        T: std::str::FromStr<Err = String>,
    {
        given
            .get_ref()
            .parse()
            .map_err(|what| self.at(given.span(), what))
    }

    pub(super) fn number(
        &self,
        given: &Given<Number>,
        default: u32,
        range: RangeInclusive<i64>,
    ) -> Checked<u32> {
        let Some(given) = given else {
            return Ok(default);
        };
        let Number(number) = *given.get_ref();
        match u32::try_from(number) {
            Ok(checked) if range.contains(&number) => Ok(checked),
            _ => {
                let (low, high) = (range.start(), range.end());
                let what = format!("{number} is out of range; give a number from {low} to {high}");
                Err(self.at(given.span(), what))
            }
        }
    }

    pub(super) fn size(
        &self,
        given: &Given<Size>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Checked<u64> {
        let Some(given) = given else {
            return Ok(default);
        };
        let size = match given.get_ref() {
            Size::Bytes(bytes) => *bytes,
            Size::Text(text) => parse_size(text).map_err(|what| self.at(given.span(), what))?,
        };
        if range.contains(&size) {
            return Ok(size);
        }
        let what = format!(
            "{} is out of range; give a size from {} to {}",
            show_size(size),
            show_size(*range.start()),
            show_size(*range.end())
        );
        Err(self.at(given.span(), what))
    }

    /// A duration longer than zero: a limit of zero would time out everything.
    pub(super) fn interval(&self, given: &Given<Interval>, default: Duration) -> Checked<Duration> {
        let Some(given) = given else {
            return Ok(default);
        };
        let Interval(text) = given.get_ref();
        let duration = parse_duration(text).map_err(|what| self.at(given.span(), what))?;
        if duration.is_zero() {
            let default = show_duration(default);
            let what = format!("\"{text}\" is no time at all; the default is \"{default}\"");
            return Err(self.at(given.span(), what));
        }
        Ok(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for name in [
            "a",
            "mx.example.com",
            "xn--bcher-kva.example",
            "1.2.3",
            "a-b.c",
        ] {
            assert!(is_hostname(name), "{name}");
        }
        let long = format!("{}.com", "a".repeat(64));
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "a b",
            "bücher.example",
            &long,
        ] {
            assert!(!is_hostname(name), "{name}");
        }
    }
}
