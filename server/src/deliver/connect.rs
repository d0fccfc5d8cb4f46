//! From a list of hosts to one that has greeted us: addresses are looked up, tried in turn, and the
//! dialogue is led as far as EHLO. Which hosts, and in which order, was decided before.

use super::connection::Settings;
use crate::config::Network;
use mailrail_protocol::client::{Event, Session};
use mailrail_protocol::time::Instant;
use mailrail_runtime::clock;
use mailrail_runtime::dns::Resolver;
use mailrail_runtime::net::inbox::{Fill, Inbox};
use mailrail_runtime::net::stream::Stream;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// How a host is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By its address.
    Address(IpAddr),
    /// By a name that still has to be looked up.
    Name(String),
}

/// A host to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub host: Host,
    /// On which port.
    pub port: u16,
    /// It was named by the operator, so that prohibited addresses are allowed.
    pub is_trusted: bool,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Address(address) => address.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// A host that has answered our EHLO.
pub struct Connected<'c> {
    /// The connection.
    pub stream: Stream,
    /// The dialogue, ready for a first message.
    pub session: Session<'c>,
    /// What was read and not yet understood.
    pub inbox: Inbox,
    /// The host's name, as it was looked for.
    pub host: String,
}

impl std::fmt::Debug for Connected<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected")
            .field("peer", &self.stream.peer())
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Why no host could be used: the last one's reason, for the log and for the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable(pub String);

/// Tries the hosts in turn, and all addresses of each.
///
/// # Errors
/// With the last reason, when none could be used.
pub async fn connect<'c>(
    targets: &[Target],
    resolver: &Resolver,
    settings: &'c Settings,
) -> Result<Connected<'c>, Unreachable> {
    let mut reason = String::from("no host to connect to");
    for target in targets {
        let addresses = match addresses(target, resolver, &settings.prohibited_hosts).await {
            Ok(addresses) => addresses,
            Err(why) => {
                reason = format!("{target}: {why}");
                continue;
            }
        };
        //= RFC 5321 section 5.1: all addresses of a host are tried in turn
        for address in addresses {
            let address = SocketAddr::new(address, target.port);
            match greet(address, settings).await {
                Ok((stream, session, inbox)) => {
                    return Ok(Connected {
                        stream,
                        session,
                        inbox,
                        host: target.to_string(),
                    });
                }
                Err(why) => reason = format!("{target} [{address}]: {why}"),
            }
        }
    }
    Err(Unreachable(reason))
}

async fn addresses(
    target: &Target,
    resolver: &Resolver,
    prohibited: &[Network],
) -> Result<Vec<IpAddr>, String> {
    let found = match &target.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => {
            let found = resolver.addresses(name).await;
            let found = found.map_err(|error| format!("address look-up: {error}"))?;
            if found.is_empty() {
                return Err("the name has no address".into());
            }
            found.to_vec()
        }
    };
    if target.is_trusted {
        return Ok(found);
    }
    let permitted: Vec<IpAddr> = permitted(&found, prohibited).collect();
    if permitted.is_empty() {
        return Err("all its addresses are prohibited".into());
    }
    Ok(permitted)
}

/// Those of a host's addresses that mail may go to.
fn permitted(addresses: &[IpAddr], prohibited: &[Network]) -> impl Iterator<Item = IpAddr> {
    let is_prohibited = |address| prohibited.iter().any(|network| network.contains(address));
    addresses
        .iter()
        .copied()
        .filter(move |address| !is_prohibited(*address))
}

async fn greet<'c>(
    address: SocketAddr,
    settings: &'c Settings,
) -> Result<(Stream, Session<'c>, Inbox), String> {
    let source = settings
        .source_address
        .filter(|source| source.is_ipv4() == address.is_ipv4());
    let connect_by = clock::after(settings.connect_micros);
    let mut stream = Stream::connect(address, source, connect_by)
        .await
        .map_err(|error| format!("connect: {}", describe(&error)))?;
    let mut session = Session::new(
        &settings.protocol,
        Instant::from_micros(clock::coarse_micros()),
    );
    let mut inbox = Inbox::new();
    let mut out = Vec::new();
    loop {
        let now = Instant::from_micros(clock::coarse_micros());
        let mut input = inbox.unread();
        let before = input.len();
        let event = session.receive(now, &mut input, &mut out);
        let used = before - input.len();
        match event {
            Event::NeedInput => {
                let deadline = session.deadline().map_or(clock::NEVER, Instant::as_micros);
                if !out.is_empty() {
                    stream
                        .write_all(&out, deadline)
                        .await
                        .map_err(|error| format!("greeting: {}", describe(&error)))?;
                    out.clear();
                }
                match inbox.fill(&mut stream, deadline).await {
                    Ok(Fill::Some) => {}
                    Ok(Fill::Eof) => return Err("closed the connection before a greeting".into()),
                    Ok(Fill::Deadline) => {
                        session.handle_timeout(Instant::from_micros(clock::coarse_micros()));
                    }
                    Err(error) => return Err(format!("greeting: {}", describe(&error))),
                }
                continue;
            }
            Event::Ready(_) => {
                inbox.consume(used);
                return Ok((stream, session, inbox));
            }
            Event::Close(answer) => {
                let mut text = answer.code.to_string().into_bytes();
                text.push(b' ');
                answer.append_text(&mut text);
                return Err(String::from_utf8_lossy(&text).into_owned());
            }
            Event::Broken(violation, _) => {
                return Err(format!("does not speak SMTP as it should: {violation:?}"));
            }
            // EHLO refused, HELO follows: another answer is on its way.
            Event::Answered => {}
            _ => return Err("does not speak SMTP as it should".into()),
        }
        inbox.consume(used);
    }
}

/// An error of a socket in an operator's words.
pub(super) fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "timed out".into(),
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prohibited_addresses() {
        let config = crate::config::Config::embedded();
        let addresses = [
            "127.0.0.1",
            "192.0.2.1",
            "::1",
            "0.0.0.0",
            "2001:db8::1",
            "::ffff:127.9.9.9",
        ];
        let addresses = addresses.map(|address| address.parse::<IpAddr>().expect("an address"));
        let found: Vec<_> = permitted(&addresses, &config.delivery.prohibited_hosts)
            .map(|address| address.to_string())
            .collect();
        assert_eq!(found, ["192.0.2.1", "2001:db8::1"]);
    }
}
