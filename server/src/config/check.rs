//! From the configuration as typed to the configuration as meant, or to the first error. Pure.
//!
//! Every default and every bound stands here. An error points at the value; of two values that
//! contradict each other, at the one that would usually be changed. How a single value is read is `value`'s.

mod tls;
mod value;

use crate::message::envelope::{GROUP_MAX, RECIPIENT_COUNT_MAX};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::file::{self, Given};
use super::units::{show_duration, show_size};
use super::{
    Config, ConfigError, Delivery, Dns, DoubtJournal, DoubtPolicy, Durability, Events, LineEndings,
    Listener, Loaded, Network, Pattern, Queue, Relay, Route, Routes, Spool, Surroundings, Via,
};
pub(super) use value::is_hostname;

/// The ids of messages have room for 1,024 logs, and a server may inherit those of a larger one.
const SHARDS_MAX: i64 = 256;

/// Records refer to the recipients of a batch by the bits of a `u128`, and a hundred of them is
/// what every peer has to take.
//= RFC 5321 section 4.5.3.1.8: a server takes at least 100 recipients
const BATCH_MAX: i64 = 100;

const SEGMENT_SIZE: u64 = 64 << 20;
const SEGMENT_SIZE_MIN: u64 = 64 << 10;
/// Positions in a segment are 32 bits wide.
const SEGMENT_SIZE_MAX: u64 = 2 << 30;
pub(super) const SEGMENT_ALIGN: u64 = 4096;
/// What the default segment keeps for notes.
pub(super) const RESERVE_SIZE: u64 = 8 << 20;
/// Headers, sender and index beside a message in its segment.
const RECORD_OVERHEAD: u64 = 16 << 10;
/// The longest path and its length.
const RECIPIENT_LEN_MAX: u64 = 320;

/// What a stored envelope has room for.
const RECIPIENTS_MAX: i64 = RECIPIENT_COUNT_MAX as i64;
const _: () = assert!(
    RECIPIENT_COUNT_MAX <= u16::MAX as usize && BATCH_MAX as usize <= GROUP_MAX,
    "what the configuration allows can be stored"
);

const MIN_FREE_SPACE: u64 = 1 << 30;
const MEMORY_BUDGET: u64 = 512 << 20;
const MESSAGE_SIZE: u64 = 50 << 20;

/// Where Debian and many others keep the roots they trust.
const CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The mailbox of whoever runs the machine, if none is given.
const LOOPBACK_LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2525);
const DNS_PORT: u16 = 53;

/// Checks a whole file.
pub(super) fn check(
    path: &Path,
    text: &str,
    file: &file::File,
    surroundings: &Surroundings,
) -> Result<Config, ConfigError> {
    Check { path, text }.config(file, surroundings)
}

/// The text that errors point into.
struct Check<'t> {
    path: &'t Path,
    text: &'t str,
}

type Checked<T> = Result<T, ConfigError>;

impl Check<'_> {
    fn config(&self, file: &file::File, surroundings: &Surroundings) -> Checked<Config> {
        let machine = Some(&*surroundings.hostname).filter(|name| is_hostname(name));
        let hostname = self.hostname(&file.hostname, machine.unwrap_or("localhost"))?;
        let data_dir = self.path(&file.data_dir, || PathBuf::from("mailrail-data"))?;
        let cores = u32::try_from(surroundings.cores.clamp(1, 256)).unwrap_or(1);
        let shards = self.number(&file.shards, cores, 1..=SHARDS_MAX)? as usize;
        let listeners = self.listeners(file.listener.as_deref())?;
        let postmaster = self.postmaster(&file.postmaster, &hostname)?;
        let relay = self.relay(&file.relay)?;
        let routes = self.routes(file.route.as_deref(), &listeners)?;
        let dns = self.dns(&file.dns, &surroundings.resolv_conf)?;
        let queue = self.queue(&file.queue)?;
        let delivery = self.delivery(&file.delivery, &hostname)?;
        let spool = self.spool(file, shards, &listeners)?;
        let events = Events {
            path: self.path(&file.events.path, || {
                data_dir.join("log").join("events.jsonl")
            })?,
        };
        let stop_timeout = self.interval(&file.stop_timeout, Duration::from_secs(30))?;
        Ok(Config {
            path: Some(self.path.into()),
            hostname,
            data_dir,
            shards,
            listeners,
            relay,
            routes,
            dns,
            queue,
            delivery,
            spool,
            events,
            stop_timeout,
            postmaster,
        })
    }

    fn listeners(&self, given: Option<&[Spanned<file::Listener>]>) -> Checked<Vec<Listener>> {
        let Some(given) = given else {
            return Ok(vec![
                self.listener(&file::Listener::default(), LOOPBACK_LISTENER)?,
            ]);
        };
        let mut listeners: Vec<Listener> = Vec::with_capacity(given.len());
        for table in given {
            let listener = table.get_ref();
            let Some(address) = &listener.address else {
                let what = "is missing; write for example address = \"127.0.0.1:2525\"".to_owned();
                return Err(self.lacks(table.span(), "listener.address", what));
            };
            let parsed = self.listen_address(address)?;
            if listeners.iter().any(|listener| listener.address == parsed) {
                let what =
                    format!("\"{parsed}\" has a listener already; give each its own address");
                return Err(self.at(address.span(), what));
            }
            listeners.push(self.listener(listener, parsed)?);
        }
        Ok(listeners)
    }

    fn listen_address(&self, given: &Spanned<String>) -> Checked<SocketAddr> {
        const FORM: &str = "write it like \"127.0.0.1:2525\", \"0.0.0.0:25\" or \"[::]:25\"";
        let text = given.get_ref();
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => Ok(address),
            Ok(_) => Err(self.at(
                given.span(),
                format!("\"{text}\" has port 0; give one from 1 to 65535"),
            )),
            Err(_) => Err(self.at(
                given.span(),
                format!("\"{text}\" is no address with a port; {FORM}"),
            )),
        }
    }

    fn listener(&self, given: &file::Listener, address: SocketAddr) -> Checked<Listener> {
        let many = 1..=1_000_000;
        let (tls, certificate) = self.listener_tls(given)?;
        Ok(Listener {
            address,
            max_connections: self.number(&given.max_connections, 32_768, many.clone())?,
            max_messages_per_connection: self.number(
                &given.max_messages_per_connection,
                10_000,
                1..=1_000_000_000,
            )?,
            max_recipients_per_message: self.number(
                &given.max_recipients_per_message,
                1024,
                //= RFC 5321 section 4.5.3.1.8: a server takes at least 100 recipients
                100..=RECIPIENTS_MAX,
            )?,
            max_message_size: self.size(
                &given.max_message_size,
                MESSAGE_SIZE,
                //= RFC 5321 section 4.5.3.1.7: a server takes messages of at least 64K octets
                64 << 10..=1 << 30,
            )?,
            client_timeout: self.interval(&given.client_timeout, 5 * MINUTE)?,
            invalid_line_endings: match &given.invalid_line_endings {
                Some(text) if text.get_ref() != "Deny" => {
                    let what = format!(
                        "\"{}\" is not possible: a bare CR or LF is always refused; \
                         write \"Deny\" or leave it out",
                        text.get_ref()
                    );
                    return Err(self.at(text.span(), what));
                }
                _ => LineEndings::Deny,
            },
            durability: self.durability(&given.durability)?,
            tls,
            certificate,
            acceptor: Loaded::default(),
        })
    }

    fn durability(&self, given: &Given<String>) -> Checked<Durability> {
        let Some(text) = given else {
            return Ok(Durability::Fsync);
        };
        Durability::from_name(text.get_ref()).ok_or_else(|| {
            let what = format!(
                "\"{}\" is no durability; write \"fsync\" (on disk before the 250), \"write\" \
                 (with the device, a power cut may lose it) or \"memory\" (a crash may lose it)",
                text.get_ref()
            );
            self.at(text.span(), what)
        })
    }

    fn relay(&self, given: &file::Relay) -> Checked<Relay> {
        let hosts = self.networks(given.hosts.as_deref(), &["127.0.0.0/8", "::1"])?;
        let open = hosts.iter().position(Network::is_everything);
        if let (Some(place), Some(given)) = (open, &given.hosts) {
            let what = format!(
                "\"{}\" would make this an open relay for the whole net; \
                 name the networks that may send",
                given[place].get_ref()
            );
            return Err(self.at(given[place].span(), what));
        }
        Ok(Relay { hosts })
    }

    fn routes(
        &self,
        given: Option<&[Spanned<file::Route>]>,
        listeners: &[Listener],
    ) -> Checked<Routes> {
        let mut routes: Vec<Route> = Vec::new();
        for table in given.unwrap_or_default() {
            let route = table.get_ref();
            let Some(domain) = &route.domain else {
                let what = "is missing; write for example domain = \"*\"".to_owned();
                return Err(self.lacks(table.span(), "route.domain", what));
            };
            let Some(via) = &route.via else {
                let what = "is missing; write for example via = [\"192.0.2.7:25\"]".to_owned();
                return Err(self.lacks(table.span(), "route.via", what));
            };
            let pattern: Pattern = self.parsed(domain)?;
            if routes.iter().any(|route| route.domain == pattern) {
                let what = format!("\"{pattern}\" has a route already; put all hosts in one via");
                return Err(self.at(domain.span(), what));
            }
            routes.push(Route {
                domain: pattern,
                via: self.via(via, listeners)?,
                connection_limit: self.number(&route.connection_limit, 64, 1..=100_000)?,
            });
        }
        Ok(Routes::new(routes))
    }

    fn via(&self, given: &Spanned<Vec<Spanned<String>>>, own: &[Listener]) -> Checked<Vec<Via>> {
        if given.get_ref().is_empty() {
            let what = "is empty; name at least one host, or leave the route out".to_owned();
            return Err(self.at(given.span(), what));
        }
        let mut hosts = Vec::with_capacity(given.get_ref().len());
        for host in given.get_ref() {
            let via: Via = self.parsed(host)?;
            if own
                .iter()
                .any(|listener| Via::from(listener.address) == via)
            {
                let what = format!("\"{via}\" is a listener of this server: mail would go round");
                return Err(self.at(host.span(), what));
            }
            hosts.push(via);
        }
        Ok(hosts)
    }

    fn dns(&self, given: &file::Dns, resolv_conf: &str) -> Checked<Dns> {
        let timeout = self.interval(&given.timeout, Duration::from_secs(5))?;
        let Some(servers) = &given.servers else {
            return Ok(Dns {
                servers: name_servers(resolv_conf),
                timeout,
            });
        };
        if servers.get_ref().is_empty() {
            let what = "is empty; name at least one, or leave it out for /etc/resolv.conf";
            return Err(self.at(servers.span(), what.to_owned()));
        }
        let parse = |server: &Spanned<String>| {
            let text = server.get_ref();
            let bare = text
                .parse::<IpAddr>()
                .map(|address| SocketAddr::new(address, DNS_PORT));
            text.parse::<SocketAddr>()
                .or(bare)
                .ok()
                .filter(|server| server.port() > 0)
                .ok_or_else(|| {
                    let form = "write it like \"192.0.2.53\", \"127.0.0.1:5353\" or \"[::1]:53\"";
                    self.at(
                        server.span(),
                        format!("\"{text}\" is no address of a resolver; {form}"),
                    )
                })
        };
        let servers = servers
            .get_ref()
            .iter()
            .map(parse)
            .collect::<Result<_, _>>()?;
        Ok(Dns { servers, timeout })
    }

    fn queue(&self, given: &file::Queue) -> Checked<Queue> {
        let retry_interval = self.interval(&given.retry_interval, 20 * MINUTE)?;
        let max_age = self.interval(&given.max_age, 7 * DAY)?;
        let max_retry_interval = match &given.max_retry_interval {
            Some(_) => Some(self.interval(&given.max_retry_interval, MINUTE)?),
            None => None,
        };
        let first = show_duration(retry_interval);
        if let (Some(longest), Some(place)) = (max_retry_interval, &given.max_retry_interval)
            && longest < retry_interval
        {
            let what = format!(
                "\"{}\" is shorter than the first pause, retry_interval = \"{first}\"; \
                 raise the one or lower the other",
                show_duration(longest)
            );
            return Err(self.at(place.span(), what));
        }
        if max_age < retry_interval {
            let place = given.max_age.as_ref().or(given.retry_interval.as_ref());
            let what = format!(
                "max_age = \"{}\" ends before the first pause, retry_interval = \"{first}\", is \
                 over; raise the one or lower the other",
                show_duration(max_age)
            );
            return Err(self.at(place.map_or(0..0, Spanned::span), what));
        }
        let max_ready = self.number(&given.max_ready, 1024, 1..=1_000_000)?;
        Ok(Queue {
            retry_interval,
            max_retry_interval,
            max_age,
            max_ready,
        })
    }

    fn delivery(&self, given: &file::Delivery, hostname: &str) -> Checked<Delivery> {
        let prohibited = ["127.0.0.0/8", "::1", "0.0.0.0", "::"];
        let in_doubt = self.journal(&given.in_doubt)?;
        Ok(Delivery {
            connection_limit: self.number(&given.connection_limit, 10, 1..=100_000)?,
            max_deliveries_per_connection: self.number(
                &given.max_deliveries_per_connection,
                100,
                1..=1_000_000_000,
            )?,
            max_recipients_per_batch: self.number(
                &given.max_recipients_per_batch,
                100,
                1..=BATCH_MAX,
            )?,
            connect_timeout: self.interval(&given.connect_timeout, MINUTE)?,
            banner_timeout: self.interval(&given.banner_timeout, MINUTE)?,
            ehlo_timeout: self.interval(&given.ehlo_timeout, 5 * MINUTE)?,
            mail_from_timeout: self.interval(&given.mail_from_timeout, 5 * MINUTE)?,
            rcpt_to_timeout: self.interval(&given.rcpt_to_timeout, 5 * MINUTE)?,
            data_timeout: self.interval(&given.data_timeout, 2 * MINUTE)?,
            data_dot_timeout: self.interval(&given.data_dot_timeout, 10 * MINUTE)?,
            idle_timeout: self.interval(&given.idle_timeout, MINUTE)?,
            port: u16::try_from(self.number(&given.port, 25, 1..=65_535)?).unwrap_or(25),
            prohibited_hosts: self.networks(given.prohibited_hosts.as_deref(), &prohibited)?,
            source_address: match &given.source_address {
                None => None,
                Some(text) => match text.get_ref().parse() {
                    Ok(address) => Some(address),
                    Err(_) => {
                        let what = format!(
                            "\"{}\" is no address; write it like \"192.0.2.7\", without a port",
                            text.get_ref()
                        );
                        return Err(self.at(text.span(), what));
                    }
                },
            },
            ehlo_domain: self.hostname(&given.ehlo_domain, hostname)?,
            enable_tls: self.delivery_tls(&given.enable_tls)?,
            ca_file: self.path(&given.ca_file, || PathBuf::from(CA_FILE))?,
            roots: Loaded::default(),
            in_doubt,
            in_doubt_policy: self.doubt_policy(&given.in_doubt_policy, in_doubt)?,
        })
    }

    fn journal(&self, given: &Given<String>) -> Checked<DoubtJournal> {
        let Some(text) = given else {
            return Ok(DoubtJournal::Off);
        };
        let found = DoubtJournal::ALL
            .into_iter()
            .find(|one| one.name() == text.get_ref());
        found.ok_or_else(|| {
            let what = format!(
                "\"{}\" is not possible; write \"record\" (a commit before the end of each message is \
                 sent) or \"off\"",
                text.get_ref()
            );
            self.at(text.span(), what)
        })
    }

    fn doubt_policy(&self, given: &Given<String>, journal: DoubtJournal) -> Checked<DoubtPolicy> {
        let Some(text) = given else {
            return Ok(DoubtPolicy::Retry);
        };
        let found = DoubtPolicy::ALL
            .into_iter()
            .find(|one| one.name() == text.get_ref());
        match found {
            None => {
                let what = format!(
                    "\"{}\" is no policy; write \"retry\" (there may be a second copy), \"hold\" (it waits) \
                     or \"assume-delivered\" (there may be no copy)",
                    text.get_ref()
                );
                Err(self.at(text.span(), what))
            }
            Some(policy) if policy != DoubtPolicy::Retry && journal == DoubtJournal::Off => {
                let what = format!(
                    "\"{}\" needs in_doubt = \"record\": without it a crash leaves nothing to decide on",
                    policy.name()
                );
                Err(self.at(text.span(), what))
            }
            Some(policy) => Ok(policy),
        }
    }

    fn spool(&self, file: &file::File, shards: usize, listeners: &[Listener]) -> Checked<Spool> {
        let given = &file.spool;
        let range = SEGMENT_SIZE_MIN..=SEGMENT_SIZE_MAX;
        let segment_size = self.size(&given.segment_size, SEGMENT_SIZE, range)?;
        if let (Some(place), true) = (&given.segment_size, segment_size % SEGMENT_ALIGN != 0) {
            let what = format!(
                "{} is no multiple of 4 KiB; the next one is {}",
                show_size(segment_size),
                show_size(segment_size.next_multiple_of(SEGMENT_ALIGN))
            );
            return Err(self.at(place.span(), what));
        }
        for (place, listener) in listeners.iter().enumerate() {
            let recipients = u64::from(listener.max_recipients_per_message) * RECIPIENT_LEN_MAX;
            let record = listener.max_message_size + recipients + RECORD_OVERHEAD;
            let reserve = Spool::reserve_size(segment_size);
            if record + reserve > segment_size {
                let listener = file.listener.as_ref().map(|given| given[place].get_ref());
                let span = listener
                    .and_then(|listener| listener.max_message_size.as_ref().map(Spanned::span))
                    .or_else(|| given.segment_size.as_ref().map(Spanned::span));
                let what = format!(
                    "a message of max_message_size = \"{}\" with its recipients does not fit into \
                     a segment of {}, of which {} are kept for notes; raise spool.segment_size to {} or lower \
                     max_message_size",
                    show_size(listeners[place].max_message_size),
                    show_size(segment_size),
                    show_size(reserve),
                    show_size(segment_size_for(record))
                );
                return Err(self.at(span.unwrap_or(0..0), what));
            }
        }
        let two_segments = 2 * segment_size * shards as u64;
        let min_free_space = MIN_FREE_SPACE.max(two_segments);
        Ok(Spool {
            segment_size,
            min_free_space: self.size(&given.min_free_space, min_free_space, 0..=1 << 50)?,
            memory_budget: self.size(&given.memory_budget, MEMORY_BUDGET, 1 << 20..=1 << 50)?,
        })
    }

    fn at(&self, span: Range<usize>, what: String) -> ConfigError {
        ConfigError::at(self.path, self.text, span, what)
    }

    fn lacks(&self, span: Range<usize>, key: &str, what: String) -> ConfigError {
        ConfigError::lacks(self.path, self.text, span, key, what)
    }
}

/// In whole MiB, the least that holds such a record beside its reserve.
fn segment_size_for(record: u64) -> u64 {
    let holds = |size: &u64| record + Spool::reserve_size(*size) <= *size;
    let sizes = (record >> 20..).map(|count| count << 20);
    sizes.into_iter().find(holds).unwrap_or(SEGMENT_SIZE_MAX)
}

/// The `nameserver` lines; the resolver of this machine if there is none.
fn name_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let servers: Vec<SocketAddr> = resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next())?
        })
        .filter_map(|word| word.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, DNS_PORT))
        .collect();
    if servers.is_empty() {
        return vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DNS_PORT)];
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_of_resolv_conf() {
        for (text, expected) in [
            ("", "127.0.0.1:53"),
            (
                "# nameserver 192.0.2.1\nsearch example.net\n",
                "127.0.0.1:53",
            ),
            ("nameserver 192.0.2.1\n", "192.0.2.1:53"),
            (
                "nameserver\t192.0.2.1 # x\nnameserver ::1\n",
                "192.0.2.1:53 [::1]:53",
            ),
            (
                "nameserver fe80::1%eth0\nnameserver 192.0.2.2",
                "192.0.2.2:53",
            ),
        ] {
            let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{text:?}");
        }
    }
}
