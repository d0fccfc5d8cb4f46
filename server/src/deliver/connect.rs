//! From a list of hosts to one that has greeted us: addresses are looked up, tried in turn, and the
//! dialogue is led as far as EHLO. Which hosts, and in which order, was decided before.

use super::connection::Settings;
use super::security::Step;
use crate::config::Network;
use mailrail_protocol::client::{Event, Session};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::time::Instant;
use mailrail_runtime::clock;
use mailrail_runtime::dns::Resolver;
use mailrail_runtime::net::inbox::{Fill, Inbox};
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::tls::TlsInfo;
use std::io;
use std::net::{IpAddr, SocketAddr};

//= RFC 3463 section 3.5: X.4.1 is no answer from a host
const UNREACHABLE: &str = "4.4.1";
//= RFC 3463 section 3.8: X.7.0 is a security matter of another kind
const INSECURE: &str = "4.7.0";

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
    /// What was agreed on, if the connection is encrypted.
    pub tls: Option<TlsInfo>,
}

impl std::fmt::Debug for Connected<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected")
            .field("peer", &self.stream.peer())
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Why no host could be used: the status and the last one's reason, for the log and for the sender.
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
    let mut reason = format!("{UNREACHABLE} no host to connect to");
    for target in targets {
        let addresses = match addresses(target, resolver, &settings.prohibited_hosts).await {
            Ok(addresses) => addresses,
            Err(why) => {
                reason = format!("{UNREACHABLE} {target}: {why}");
                continue;
            }
        };
        //= RFC 5321 section 5.1: all addresses of a host are tried in turn
        for address in addresses {
            let address = SocketAddr::new(address, target.port);
            let host = target.to_string();
            match greet_as_well_as_can_be(address, &host, settings).await {
                Ok(Greeted {
                    stream,
                    session,
                    inbox,
                    tls,
                }) => {
                    return Ok(Connected {
                        stream,
                        session,
                        inbox,
                        host,
                        tls,
                    });
                }
                Err(failed) => {
                    let (status, why) = failed.told();
                    reason = format!("{status} {target} [{address}]: {why}");
                }
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

/// A host that has answered, and how far that is safe.
struct Greeted<'c> {
    stream: Stream,
    session: Session<'c>,
    inbox: Inbox,
    tls: Option<TlsInfo>,
}

/// Why a host cannot be used.
enum Failed {
    /// Whatever it is, it is not TLS.
    Plainly(String),
    /// The handshake.
    Handshake(String),
    /// TLS is required, and there is none.
    Insecure(&'static str),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Plainly(why)
    }
}

impl Failed {
    fn told(self) -> (&'static str, String) {
        match self {
            Self::Plainly(why) => (UNREACHABLE, why),
            Self::Handshake(why) => (INSECURE, format!("TLS handshake: {why}")),
            Self::Insecure(why) => (INSECURE, why.to_owned()),
        }
    }
}

/// Inside TLS; where that fails and may fail, in clear text, on another connection.
async fn greet_as_well_as_can_be<'c>(
    address: SocketAddr,
    host: &str,
    settings: &'c Settings,
) -> Result<Greeted<'c>, Failed> {
    let security = &settings.security;
    let mut may_encrypt = security.may_encrypt(address, clock::coarse_micros());
    loop {
        match greet(address, host, may_encrypt, settings).await {
            Err(Failed::Handshake(why)) if security.failed(address, clock::coarse_micros()) => {
                tracing::debug!(%address, host, why, "no TLS, so it is tried in clear text");
                may_encrypt = false;
            }
            other => return other,
        }
    }
}

async fn greet<'c>(
    address: SocketAddr,
    host: &str,
    may_encrypt: bool,
    settings: &'c Settings,
) -> Result<Greeted<'c>, Failed> {
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
    let mut tls = None;
    let mut may_encrypt = may_encrypt;
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
                    Ok(Fill::Eof) => {
                        return Err(Failed::Plainly(
                            "closed the connection before a greeting".into(),
                        ));
                    }
                    Ok(Fill::Deadline) => {
                        session.handle_timeout(Instant::from_micros(clock::coarse_micros()));
                    }
                    Err(error) => {
                        return Err(format!("greeting: {}", describe(&error)).into());
                    }
                }
                continue;
            }
            Event::Ready(_) | Event::TlsRefused(_) => {
                let is_offered = match event {
                    Event::Ready(extensions) => extensions.has(Extension::StartTls),
                    _ => false,
                };
                inbox.consume(used);
                match settings
                    .security
                    .after_hello(is_offered, tls.is_some(), may_encrypt)
                {
                    Step::Go => {
                        return Ok(Greeted {
                            stream,
                            session,
                            inbox,
                            tls,
                        });
                    }
                    Step::StartTls => session.start_tls(&mut out),
                    Step::Refuse => return Err(Failed::Insecure("does not offer TLS")),
                }
                continue;
            }
            Event::Handshake => {
                let Some(connector) = &settings.security.connector else {
                    return Err(Failed::Insecure("nobody asked for TLS"));
                };
                inbox.consume(used);
                let deadline = clock::after(settings.connect_micros);
                let shaken = stream.connect_tls(connector, host, deadline).await;
                tls = Some(shaken.map_err(|error| Failed::Handshake(describe(&error)))?);
                may_encrypt = false;
                session.tls_established(&mut out);
                continue;
            }
            Event::Close(answer) => {
                let mut text = answer.code.to_string().into_bytes();
                text.push(b' ');
                answer.append_text(&mut text);
                return Err(String::from_utf8_lossy(&text).into_owned().into());
            }
            Event::Broken(violation, _) => {
                return Err(format!("does not speak SMTP as it should: {violation:?}").into());
            }
            // EHLO refused, HELO follows: another answer is on its way.
            Event::Answered => {}
            _ => return Err(Failed::Plainly("does not speak SMTP as it should".into())),
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
