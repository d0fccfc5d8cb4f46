//! Which domains go where without asking the DNS. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::check::is_hostname;

/// The longest domain that is looked up; a longer one is nobody's name.
//= RFC 5321 section 4.5.3.1.2: a domain has at most 255 octets
const DOMAIN_LEN_MAX: usize = 255;

/// Where smart hosts listen unless a port is given.
const VIA_PORT: u16 = 25;

/// Domains and the smart hosts their mail goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which domains.
    pub domain: Pattern,
    /// Tried in this order; never empty.
    pub via: Vec<Via>,
    /// Connections to these hosts at once, over all shards.
    pub connection_limit: u32,
}

/// Which domains a route is for; names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// `example.net`: this domain alone.
    Exact(String),
    /// `.example.net`: all domains below it, and not itself. Held with the dot.
    Below(String),
    /// `*`: all the others.
    Any,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write \"example.net\", \".example.net\" for what is below it, or \"*\"";
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            return Ok(Self::Any);
        }
        if let Some(domain) = lower
            .strip_prefix("*.")
            .filter(|domain| is_hostname(domain))
        {
            return Err(format!(
                "\"{text}\" is no form of a domain; write \".{domain}\" for what is below {domain}"
            ));
        }
        match lower.strip_prefix('.') {
            Some(domain) if is_hostname(domain) => Ok(Self::Below(lower)),
            None if is_hostname(&lower) => Ok(Self::Exact(lower)),
            _ => Err(format!("\"{text}\" is no form of a domain; {FORM}")),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact(domain) | Self::Below(domain) => domain,
            Self::Any => "*",
        })
    }
}

/// A smart host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Name or address.
    pub host: Host,
    /// Its port; 25 unless said otherwise.
    pub port: u16,
}

/// How a smart host is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By its address.
    Address(IpAddr),
    /// By a name that still has to be looked up; its A and AAAA, not its MX.
    Name(String),
}

impl From<SocketAddr> for Via {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Host::Address(address.ip()),
            port: address.port(),
        }
    }
}

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "write it like \"mail.example.net\", \"192.0.2.7:2525\" or \"[2001:db8::1]:25\"";
        let no_host = || format!("\"{text}\" is no host; {FORM}");
        if let Ok(address) = text.parse::<SocketAddr>() {
            if address.port() == 0 {
                return Err(format!("\"{text}\" has port 0; give one from 1 to 65535"));
            }
            return Ok(address.into());
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self {
                host: Host::Address(address),
                port: VIA_PORT,
            });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => match port.parse::<u16>() {
                Ok(port) if port > 0 => (name, port),
                _ => {
                    return Err(format!(
                        "\"{text}\" has no port from 1 to 65535 behind the colon"
                    ));
                }
            },
            None => (text, VIA_PORT),
        };
        // A name that ends in digits alone was meant as an address.
        let last = name.rsplit('.').next().unwrap_or_default();
        if !is_hostname(name) || last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(no_host());
        }
        Ok(Self {
            host: Host::Name(name.to_ascii_lowercase()),
            port,
        })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// All routes, ready for look-ups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    routes: Vec<Route>,
    exact: BTreeMap<Vec<u8>, usize>,
    below: BTreeMap<Vec<u8>, usize>,
    any: Option<usize>,
}

impl Routes {
    /// Of two routes with the same domain the later one is found; `check` allows no such two.
    pub fn new(routes: Vec<Route>) -> Self {
        let mut index = Self::default();
        for (place, route) in routes.iter().enumerate() {
            match &route.domain {
                Pattern::Exact(domain) => {
                    index.exact.insert(domain.as_bytes().into(), place);
                }
                Pattern::Below(domain) => {
                    index.below.insert(domain.as_bytes().into(), place);
                }
                Pattern::Any => index.any = Some(place),
            }
        }
        Self { routes, ..index }
    }

    /// The route of a domain: the exact one, or else the longest `.suffix`, or else `*`.
    /// Upper and lower case of ASCII are the same. Does not allocate.
    pub fn find(&self, domain: &[u8]) -> Option<&Route> {
        self.place(domain)
            .or(self.any)
            .map(|place| &self.routes[place])
    }

    fn place(&self, domain: &[u8]) -> Option<usize> {
        let mut lower = [0; DOMAIN_LEN_MAX];
        let lower = lower.get_mut(..domain.len())?;
        lower.copy_from_slice(domain);
        lower.make_ascii_lowercase();
        if let Some(place) = self.exact.get(&*lower) {
            return Some(*place);
        }
        // The dots from the left, so the longest suffix comes first.
        memchr::memchr_iter(b'.', lower)
            .filter(|&dot| dot > 0)
            .find_map(|dot| self.below.get(&lower[dot..]).copied())
    }

    /// As written, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Route> {
        self.routes.iter()
    }
}

impl<'r> IntoIterator for &'r Routes {
    type Item = &'r Route;
    type IntoIter = std::slice::Iter<'r, Route>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(patterns: &[&str]) -> Routes {
        let route = |pattern: &&str| Route {
            domain: pattern.parse().expect(pattern),
            via: vec!["192.0.2.1".parse().expect("an address")],
            connection_limit: 1,
        };
        Routes::new(patterns.iter().map(route).collect())
    }

    #[test]
    fn exact_beats_the_longest_suffix_beats_the_star() {
        let all = [
            "*",
            ".net",
            ".example.net",
            "example.net",
            ".b.example.net",
            "a.b.example.net",
        ];
        for (domain, expected) in [
            ("example.net", "example.net"),
            ("EXAMPLE.Net", "example.net"),
            ("a.example.net", ".example.net"),
            ("A.EXAMPLE.NET", ".example.net"),
            ("b.example.net", ".example.net"),
            ("x.b.example.net", ".b.example.net"),
            ("x.y.b.example.net", ".b.example.net"),
            ("a.b.example.net", "a.b.example.net"),
            ("xexample.net", ".net"),
            ("net", "*"),
            ("example.com", "*"),
            ("[192.0.2.1]", "*"),
            ("", "*"),
            (".example.net", ".net"),
        ] {
            let found = routes(&all)
                .find(domain.as_bytes())
                .map(|route| route.domain.to_string());
            assert_eq!(found.as_deref(), Some(expected), "{domain}");
        }
    }

    #[test]
    fn without_a_star_others_have_no_route() {
        let some = routes(&["example.net", ".example.org"]);
        for domain in ["example.com", "a.example.net", "example.org", ""] {
            assert_eq!(some.find(domain.as_bytes()), None, "{domain}");
        }
        let long = format!("{}.example.org", "a".repeat(300));
        assert_eq!(some.find(long.as_bytes()), None);
    }

    #[test]
    fn smart_hosts() {
        for (text, shown) in [
            ("127.0.0.1:2526", "127.0.0.1:2526"),
            ("127.0.0.1", "127.0.0.1:25"),
            ("::1", "[::1]:25"),
            ("[::1]", "[::1]:25"),
            ("[::1]:2526", "[::1]:2526"),
            ("Mail.Example.Net", "mail.example.net:25"),
            ("mail.example.net:587", "mail.example.net:587"),
            ("localhost:2526", "localhost:2526"),
        ] {
            let via: Via = text.parse().expect(text);
            assert_eq!(via.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Via>().as_ref(), Ok(&via), "{text}");
        }
        for (text, why) in [
            ("", "is no host"),
            ("127.0.0.1:0", "has port 0"),
            ("mail.example.net:0", "has no port"),
            ("mail.example.net:smtp", "has no port"),
            ("mail.example.net:70000", "has no port"),
            ("smtp://mail.example.net", "has no port"),
            ("256.0.0.1", "is no host"),
            ("mail example net", "is no host"),
            ("mail..example.net", "is no host"),
        ] {
            let error = text.parse::<Via>().expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn patterns() {
        for (text, expected) in [
            ("*", Pattern::Any),
            ("Example.Net", Pattern::Exact("example.net".into())),
            (".Example.Net", Pattern::Below(".example.net".into())),
            ("localhost", Pattern::Exact("localhost".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("", "is no form of a domain"),
            (".", "is no form of a domain"),
            ("*.example.net", "write \".example.net\""),
            ("@example.net", "is no form of a domain"),
            ("joe@example.net", "is no form of a domain"),
            ("exa mple.net", "is no form of a domain"),
            ("example.*", "is no form of a domain"),
        ] {
            let error = text.parse::<Pattern>().expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
