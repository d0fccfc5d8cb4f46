//! A submission client on tokio: STARTTLS or implicit TLS by rustls, AUTH by the strongest mechanism that the
//! server offers, SCRAM bound to the TLS connection first of all. The loop is that of `tokio_client`,
//! with `await` in it.
//!
//! ```text
//! tokio_client --server localhost:2525 --starttls --ca /tmp/server.pem --auth tim:tanstaaftanstaaf \
//!     --from a@client.example --to b@mx.example --file letter.eml
//! ```
//! It ends with 0 if every recipient was given the message, with 1 if one was not, and with 2 if
//! something else went wrong.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // a program has a terminal and a clock

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{BodyKind, Config, Envelope, Event, Next, Recipient, Session};
use mailrail_protocol::sasl::client::Exchange;
use mailrail_protocol::sasl::{Mechanism, Mechanisms, base64};
use mailrail_protocol::time::Instant;
use std::error::Error;
use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore};

const USAGE: &str = "usage: tokio_client --server ADDRESS --to MAILBOX [--to MAILBOX]... \
    [--from MAILBOX] [--file FILE] [--hello NAME] [--auth USER:PASSWORD] [--starttls | --tls] [--ca FILE] \
    [--no-pipelining] [--no-chunking]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tokio_client: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let (mut server, mut from, mut to, mut file) = (None, String::new(), Vec::new(), None);
    let (mut config, mut user) = (Config::new("localhost"), None);
    let (mut tls, mut ca) = (Begin::Never, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value\n{USAGE}"))
        };
        match name.as_str() {
            "--server" => server = Some(value()?),
            "--from" => from = value()?,
            "--to" => to.push(value()?),
            "--file" => file = Some(value()?),
            "--hello" => config.hostname = value()?,
            "--auth" => user = Some(value()?),
            "--starttls" => tls = Begin::Later,
            "--tls" => tls = Begin::AtOnce,
            "--ca" => ca = Some(value()?),
            "--no-pipelining" => config.pipelining = false,
            "--no-chunking" => config.chunking = false,
            "--help" => {
                println!("{USAGE}");
                return Ok(true);
            }
            _ => return Err(format!("{name} is not known here\n{USAGE}").into()),
        }
    }
    let server = server.ok_or_else(|| format!("--server is missing\n{USAGE}"))?;
    if to.is_empty() {
        return Err(format!("--to is missing\n{USAGE}").into());
    }
    let mut content = Vec::new();
    match &file {
        Some(file) => {
            content = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        }
        None => drop(io::stdin().read_to_end(&mut content)?),
    }
    let content = with_line_ends(&content);

    let from = match from.as_str() {
        "" => ReversePath::Null,
        from => ReversePath::Mailbox(mailbox(from)?),
    };
    let to = to
        .iter()
        .map(|to| Ok(Recipient::new(ForwardPath::Mailbox(mailbox(to)?))));
    let recipients = to.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let mut envelope = Envelope::new(from, &recipients);
    envelope.mail.size = Some(content.len() as u64);
    envelope.mail.body = (!content.is_ascii()).then_some(BodyKind::EightBitMime);
    envelope.mail.smtputf8 = !header(&content).is_ascii();

    let user = match &user {
        Some(user) => Some(user.split_once(':').ok_or("--auth wants USER:PASSWORD")?),
        None => None,
    };
    let job = Job {
        server,
        tls,
        ca,
        user,
        envelope,
        content,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(job.send(&config))
}

/// When TLS begins.
#[derive(Clone, Copy, PartialEq)]
enum Begin {
    Never,
    Later,
    AtOnce,
}

/// What is to be sent, where to, and as whom.
struct Job<'j> {
    server: String,
    tls: Begin,
    /// Whoever has signed the server's certificate, in PEM.
    ca: Option<String>,
    user: Option<(&'j str, &'j str)>,
    envelope: Envelope<'j>,
    content: Vec<u8>,
}

/// A connection, in clear text or behind TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl Job<'_> {
    /// True if every recipient was given the message.
    async fn send(&self, config: &Config) -> Result<bool, Box<dyn Error>> {
        let (server, envelope) = (&self.server, &self.envelope);
        let stream = TcpStream::connect(server).await;
        let stream = stream.map_err(|error| format!("{server}: {error}"))?;
        stream.set_nodelay(true)?;
        let (mut stream, mut binding): (Box<dyn Stream>, _) = (Box::new(stream), None);
        let mut encrypted = self.tls == Begin::AtOnce;
        if encrypted {
            (stream, binding) = self.shake_hands(stream).await?;
        }
        let started = std::time::Instant::now();
        let now = || Instant::from_micros(started.elapsed().as_micros() as u64);
        let mut session = Session::new(config, now());
        let (mut inbox, mut out) = (Inbox::new(), Vec::new());
        // Those who are not refused yet, and how many of them have the message.
        let (mut taken, mut given, mut over) = (Vec::new(), 0, false);
        let mut exchange = None;
        loop {
            if session.write(envelope, &mut out) == Next::Body {
                for piece in session.segments(&self.content) {
                    out.extend_from_slice(piece); // TLS makes a copy anyway
                }
                session.end_body(&mut out);
            }
            let mut input = inbox.unread();
            let event = session.receive(now(), &mut input, &mut out);
            let used = inbox.unread().len() - input.len();
            match event {
                Event::Ready(_) if self.tls == Begin::Later && !encrypted => {
                    session.start_tls(&mut out);
                }
                Event::TlsRefused(answer) => return Err(format!("STARTTLS: {answer}").into()),
                Event::Handshake => {
                    (stream, binding) = self.shake_hands(stream).await?;
                    encrypted = true;
                    session.tls_established(&mut out);
                }
                Event::Ready(extensions) => match self.user {
                    Some(user) => {
                        let offered = extensions.mechanisms();
                        let exchange =
                            exchange.insert(strongest(offered, user, encrypted, binding)?);
                        println!("authenticating by {}", exchange.mechanism().keyword());
                        session.auth(exchange.mechanism(), exchange.initial(), &mut out);
                    }
                    None => session.begin(),
                },
                Event::Challenge(challenge) => {
                    let exchange: &mut Exchange =
                        exchange.as_mut().expect("a challenge follows AUTH");
                    match exchange.respond(challenge) {
                        Ok(response) => session.respond(response, &mut out),
                        Err(fault) => {
                            eprintln!("{fault}");
                            session.cancel_auth(&mut out); // `AuthRefused` will follow
                        }
                    }
                }
                Event::Authenticated(_) => {
                    exchange.as_ref().expect("AUTH was said").finish()?; // may it be believed?
                    session.begin();
                }
                Event::AuthRefused(answer) => return Err(format!("AUTH: {answer}").into()),
                Event::Mail(answer) => println!("sender: {answer}"),
                Event::Recipient(n, answer) => {
                    let to = envelope.recipients[usize::from(n)].to;
                    println!("recipient <{to}>: {answer}");
                    if answer.is_positive() {
                        taken.push(to);
                    }
                }
                Event::Sent(answer) => {
                    println!("message: {answer}");
                    given = if answer.is_positive() { taken.len() } else { 0 };
                    over = true;
                }
                Event::Over => over = true,
                Event::Refused(answer) => {
                    println!("message: {answer}");
                    return Ok(false);
                }
                Event::Close(_) if over => return Ok(given == envelope.recipients.len()),
                Event::Close(answer) => return Err(format!("the server said {answer}").into()),
                Event::Unsendable(reason) => {
                    return Err(format!("the server cannot be given this message: {reason}").into());
                }
                Event::Broken(violation, bytes) => {
                    return Err(format!("{violation}: {}", bytes.escape_ascii()).into());
                }
                Event::NeedInput if !out.is_empty() => {
                    let write = async {
                        stream.write_all(&out).await?;
                        stream.flush().await
                    };
                    timeout(config.timeouts.data_dot, write).await??;
                    out.clear();
                }
                Event::NeedInput => {
                    let deadline = session.deadline().unwrap_or_default();
                    match timeout(deadline.since(now()), inbox.fill(&mut stream)).await {
                        Ok(Ok(0)) => return Err("the server has hung up".into()),
                        Ok(filled) => drop(filled?),
                        Err(_) => session.handle_timeout(now()),
                    }
                }
                Event::LeftOver(n) => println!("only {n} recipients are taken at once"),
                _ => {} // an answer that concerns the session alone
            }
            inbox.consume(used);
            if over {
                session.quit(&mut out);
            }
        }
    }

    /// The stream behind TLS, and what SCRAM binds to.
    async fn shake_hands(
        &self,
        stream: Box<dyn Stream>,
    ) -> Result<(Box<dyn Stream>, Option<[u8; 32]>), Box<dyn Error>> {
        let ca = self
            .ca
            .as_ref()
            .ok_or("TLS needs --ca: nobody else is trusted here")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca)? {
            roots.add(certificate?)?;
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (name, _port) = self
            .server
            .rsplit_once(':')
            .ok_or("--server wants HOST:PORT")?;
        let name = ServerName::try_from(name.to_owned())?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let (_, connection) = stream.get_ref();
        //= RFC 9266 section 4.2: before TLS 1.3 the exporter binds under conditions only
        let binding = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => {
                //= RFC 9266 section 2: 32 octets under this label, with an empty context
                let (octets, label) = ([0; 32], b"EXPORTER-Channel-Binding");
                Some(connection.export_keying_material(octets, label, Some(b""))?)
            }
            _ => None,
        };
        Ok((Box::new(stream), binding))
    }
}

/// The strongest mechanism of those that the server offers. What shows the password wants TLS.
fn strongest(
    offered: Mechanisms,
    user: (&str, &str),
    encrypted: bool,
    binding: Option<[u8; 32]>,
) -> Result<Exchange, Box<dyn Error>> {
    let (user, password) = user;
    let (mut octets, mut nonce) = ([0; 18], Vec::new());
    getrandom::fill(&mut octets)?;
    base64::encode(&octets, &mut nonce);
    let nonce = String::from_utf8(nonce)?;
    let has = |mechanism| offered.has(mechanism);
    Ok(match binding {
        Some(octets) if has(Mechanism::ScramSha256Plus) => {
            Exchange::scram_sha_256_plus(user, password, &nonce, "tls-exporter", &octets)?
        }
        // A server that did offer -PLUS learns by this that somebody in between has taken it away.
        Some(_) if has(Mechanism::ScramSha256) => {
            Exchange::scram_sha_256(user, password, &nonce)?.could_bind()
        }
        None if has(Mechanism::ScramSha256) => Exchange::scram_sha_256(user, password, &nonce)?,
        _ if encrypted && has(Mechanism::Plain) => Exchange::plain("", user, password)?,
        _ if encrypted && has(Mechanism::Login) => Exchange::login(user, password)?,
        _ => return Err("the server offers no AUTH that can be used here".into()),
    })
}

fn mailbox(text: &str) -> Result<Mailbox<'_>, String> {
    let mailbox = Mailbox::parse(text.as_bytes(), Charset::Utf8);
    mailbox.ok_or_else(|| format!("{text} is no mailbox"))
}

/// Every line ends with CRLF in mail, and with LF in most files.
fn with_line_ends(content: &[u8]) -> Vec<u8> {
    let mut mail = Vec::with_capacity(content.len() + content.len() / 32);
    for line in content.split_inclusive(|&octet| octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) if !text.ends_with(b"\r") => {
                mail.extend_from_slice(text);
                mail.extend_from_slice(b"\r\n");
            }
            _ => mail.extend_from_slice(line),
        }
    }
    mail
}

/// What stands before the first empty line.
fn header(content: &[u8]) -> &[u8] {
    let end = content.windows(4).position(|octets| octets == b"\r\n\r\n");
    &content[..end.unwrap_or(content.len())]
}

/// What was read and not yet taken by the session.
struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Inbox {
    fn new() -> Self {
        let buffer = vec![0; 32 * 1024].into(); // `ANSWER_LEN_MAX` at least
        Self {
            buffer,
            start: 0,
            end: 0,
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// Reads once, behind what is unread; 0 at the end of the connection.
    async fn fill(&mut self, stream: &mut Box<dyn Stream>) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let count = stream.read(&mut self.buffer[self.end..]).await?;
        self.end += count;
        Ok(count)
    }
}
