//! A submission server on tokio: STARTTLS or implicit TLS by rustls, with a certificate made at the start, and
//! AUTH for one user. The loop is that of `blocking_server`, with `await` in it.
//!
//! ```text
//! tokio_server --listen 127.0.0.1:2525 --auth tim:tanstaaftanstaaf --certificate /tmp/server.pem
//! ```
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // a program has a terminal and a clock

use mailrail_protocol::extension::Extension;
use mailrail_protocol::reply::Reply;
use mailrail_protocol::sasl::server::{Exchange, Step};
use mailrail_protocol::sasl::{Decoy, Mechanism, Mechanisms, ScramSecret, base64};
use mailrail_protocol::server::{Config, Event, Peer, Session, Tls};
use mailrail_protocol::time::Instant;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig};

const USAGE: &str = "usage: tokio_server [--listen ADDRESS] [--hostname NAME] [--tls] \
    [--certificate FILE] [--auth USER:PASSWORD] [--store DIRECTORY] [--count MESSAGES]";

/// What all connections share.
struct Server {
    config: Config,
    started: std::time::Instant,
    acceptor: TlsAcceptor,
    /// TLS from the first octet, and not by STARTTLS.
    implicit: bool,
    user: Option<User>,
    decoy: Decoy,
    /// Where messages go; without it they are only counted.
    store: Option<PathBuf>,
    /// After so many messages the program ends.
    count_max: u64,
    count: AtomicU64,
    connections: AtomicU64,
}

/// The one who may send. A real server has the secret alone, in a store.
struct User {
    name: String,
    password: String,
    secret: ScramSecret,
}

/// A transaction under way.
#[derive(Default)]
struct Message {
    from: String,
    recipients: Vec<String>,
    content: Vec<u8>,
}

/// A connection, in clear text or behind TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

fn main() {
    if let Err(error) = run() {
        eprintln!("tokio_server: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut listen, mut hostname) = ("127.0.0.1:2525".to_owned(), "localhost".to_owned());
    let (mut store, mut count_max, mut user) = (None, u64::MAX, None);
    let (mut implicit, mut certificate) = (false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value\n{USAGE}"))
        };
        match name.as_str() {
            "--listen" => listen = value()?,
            "--hostname" => hostname = value()?,
            "--tls" => implicit = true,
            "--certificate" => certificate = Some(PathBuf::from(value()?)),
            "--auth" => user = Some(User::parse(&value()?)?),
            "--store" => store = Some(PathBuf::from(value()?)),
            "--count" => {
                let count = value()?;
                count_max = count
                    .parse()
                    .map_err(|_| format!("--count {count}: not a number"))?;
            }
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            _ => return Err(format!("{name} is not known here\n{USAGE}").into()),
        }
    }
    if let Some(store) = &store {
        let made = std::fs::create_dir_all(store);
        made.map_err(|error| format!("{}: {error}", store.display()))?;
    }
    let mut config = Config::new(&hostname);
    config.extensions = config.extensions.with(Extension::StartTls);
    if user.is_some() {
        let mechanisms = Mechanisms::NONE
            .with(Mechanism::ScramSha256Plus)
            .with(Mechanism::ScramSha256)
            .with(Mechanism::Plain)
            .with(Mechanism::Login);
        config.extensions = config.extensions.with_mechanisms(mechanisms);
        // It never shows the password; the others are for TLS alone.
        config.mechanisms_in_clear = Mechanisms::NONE.with(Mechanism::ScramSha256);
        config.auth_required = true;
    }
    let server = Arc::new(Server {
        config,
        started: std::time::Instant::now(),
        acceptor: acceptor(hostname, certificate)?,
        implicit,
        user,
        decoy: Decoy::new(random()?),
        store,
        count_max,
        count: AtomicU64::new(0),
        connections: AtomicU64::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(accept(server, &listen))
}

async fn accept(server: Arc<Server>, listen: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(listen).await;
    let listener = listener.map_err(|error| format!("{listen}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let server = Arc::clone(&server);
        server.connections.fetch_add(1, SeqCst);
        tokio::spawn(async move {
            if let Err(error) = server.serve(Box::new(stream)).await {
                eprintln!("{peer}: {error}");
            }
            let last = server.connections.fetch_sub(1, SeqCst) == 1;
            if last && server.count.load(SeqCst) >= server.count_max {
                std::process::exit(0);
            }
        });
    }
}

impl Server {
    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    /// One connection, from its greeting to its end.
    async fn serve(&self, mut stream: Box<dyn Stream>) -> io::Result<()> {
        let (mut peer, mut binding) = (Peer::PLAIN, None);
        if self.implicit {
            let tls;
            (stream, tls, binding) = self.shake_hands(stream).await?;
            peer = Peer::behind(tls);
        }
        let mut session = Session::new(&self.config, peer, self.now());
        let (mut inbox, mut out) = (Inbox::new(), Vec::new());
        let (mut message, mut exchange) = (Message::default(), None);
        loop {
            let mut input = inbox.unread();
            let event = session.receive(self.now(), &mut input, &mut out);
            let used = inbox.unread().len() - input.len();
            match event {
                Event::Connected(turn) => session.reply(turn, &Reply::GREETING, &mut out),
                Event::Hello(_, turn) => session.reply(turn, &Reply::HELLO, &mut out),
                Event::StartTls(turn) => session.reply(turn, &Reply::START_TLS, &mut out),
                Event::Auth(auth, turn) => {
                    let exchange = exchange.insert(self.exchange(auth.mechanism, binding)?);
                    match self.authenticate(exchange, auth.initial) {
                        Ok(reply) => session.reply(turn, reply, &mut out),
                        Err(challenge) => session.challenge(turn, &challenge, &mut out),
                    }
                }
                Event::Sasl(response, turn) => {
                    let exchange = exchange.as_mut().expect("AUTH comes first");
                    match self.authenticate(exchange, Some(response)) {
                        Ok(reply) => session.reply(turn, reply, &mut out),
                        Err(challenge) => session.challenge(turn, &challenge, &mut out),
                    }
                }
                Event::Mail(mail, turn) => {
                    message.from = mail.from.to_string();
                    session.reply(turn, &Reply::SENDER_OK, &mut out);
                }
                Event::Recipient(recipient, turn) => {
                    message.recipients.push(recipient.to.to_string());
                    session.reply(turn, &Reply::RECIPIENT_OK, &mut out);
                }
                Event::Data(turn) => session.reply(turn, &Reply::START_DATA, &mut out),
                Event::Body(bytes) => message.content.extend_from_slice(bytes), // at most SIZE
                Event::EndOfData(turn) => {
                    let reply = self.keep(&message).await.unwrap_or_else(|error| {
                        eprintln!("a message cannot be kept: {error}");
                        Reply::LOCAL_ERROR
                    });
                    session.reply(turn, &reply, &mut out);
                    message = Message::default();
                }
                Event::Reset => message = Message::default(),
                Event::Other(other, turn) => session.reply(turn, &other.default_reply(), &mut out),
                Event::EndOfDataFor(_, turn) => session.reply(turn, &Reply::QUEUED, &mut out), // LMTP
                Event::Answered(_verb, _code) => {} // good to log
                Event::NeedInput | Event::Handshake | Event::Close if !out.is_empty() => {
                    self.send(&mut stream, &mut out).await?;
                }
                Event::NeedInput => {
                    inbox.consume(used); // first: the read needs the room
                    let left = session.deadline().unwrap_or_default().since(self.now());
                    match timeout(left, inbox.fill(&mut stream)).await {
                        Ok(Ok(0)) => return Ok(()),
                        // Many do not say that TLS ends; the dialogue has ends of its own.
                        Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                        Ok(filled) => drop(filled?),
                        Err(_) => session.handle_timeout(self.now(), &mut out),
                    }
                    continue;
                }
                Event::Handshake => {
                    let tls;
                    (stream, tls, binding) = self.shake_hands(stream).await?;
                    session.tls_established(tls);
                    (message, exchange) = (Message::default(), None);
                }
                Event::Close => return stream.shutdown().await,
            }
            inbox.consume(used);
            if out.len() >= 16 * 1024 {
                self.send(&mut stream, &mut out).await?; // also to a peer that never pauses
            }
        }
    }

    /// A peer that does not read its answers is not waited for.
    async fn send(&self, stream: &mut Box<dyn Stream>, out: &mut Vec<u8>) -> io::Result<()> {
        timeout(self.config.timeouts.command, async {
            stream.write_all(out).await?;
            stream.flush().await
        })
        .await??;
        out.clear();
        Ok(())
    }

    /// The stream behind TLS, what the session must know of it, and what -PLUS binds to.
    async fn shake_hands(
        &self,
        stream: Box<dyn Stream>,
    ) -> io::Result<(Box<dyn Stream>, Tls, Option<[u8; 32]>)> {
        let stream = timeout(Duration::from_secs(60), self.acceptor.accept(stream)).await??;
        let (_, connection) = stream.get_ref();
        let mut tls = Tls::PLAIN;
        let mut binding = None;
        //= RFC 9266 section 4.2: before TLS 1.3 the exporter binds under conditions only
        if connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            //= RFC 9266 section 2: 32 octets under this label, with an empty context
            let (octets, label) = ([0; 32], b"EXPORTER-Channel-Binding");
            let exported = connection.export_keying_material(octets, label, Some(b""));
            binding = Some(exported.map_err(io::Error::other)?);
            tls.channel_binding = true;
        }
        Ok((Box::new(stream), tls, binding))
    }

    /// What an AUTH exchange begins with.
    fn exchange(&self, mechanism: Mechanism, binding: Option<[u8; 32]>) -> io::Result<Exchange> {
        let mut nonce = Vec::new();
        base64::encode(&random::<18>()?, &mut nonce);
        let nonce = String::from_utf8_lossy(&nonce);
        let exchange = Exchange::new(mechanism).with_scram(&nonce, &self.decoy);
        Ok(match binding {
            Some(octets) => exchange.with_channel_binding("tls-exporter", &octets),
            None => exchange,
        })
    }

    /// One step of an AUTH exchange: the reply that ends it, or else a challenge.
    fn authenticate(
        &self,
        exchange: &mut Exchange,
        response: Option<&[u8]>,
    ) -> Result<&'static Reply<'static>, Vec<u8>> {
        let mechanism = exchange.mechanism().keyword();
        let known = |name: &str| self.user.as_ref().filter(|user| user.name == name);
        let step = match exchange.receive(response) {
            Step::Secret { user } => {
                let user = known(user);
                exchange.secret(user.map(|user| &user.secret))
            }
            step => step,
        };
        let (authorization, name, good) = match step {
            Step::Challenge(octets) => return Err(octets.to_vec()),
            Step::Failed(reply) => return Ok(reply),
            Step::Password {
                authorization,
                user,
                password,
            } => {
                let good = known(user).is_some_and(|known| known.password == password);
                (authorization, user, good)
            }
            Step::Authenticated {
                authorization,
                user,
            } => (authorization, user, true),
            _ => return Ok(&Reply::LOCAL_ERROR), // of mechanisms that are not offered
        };
        // Nobody may act as somebody else.
        if good && (authorization.is_empty() || authorization == name) {
            println!("{name} has authenticated by {mechanism}");
            Ok(&Reply::AUTHENTICATED)
        } else {
            Ok(&Reply::BAD_CREDENTIALS)
        }
    }

    /// Puts a message on the disk before it is answered for.
    async fn keep(&self, message: &Message) -> io::Result<Reply<'static>> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if let Some(store) = &self.store {
            let time = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let name = format!("{}-{}.eml", time.as_micros(), NEXT.fetch_add(1, SeqCst));
            let partial = store.join(format!("{name}.part"));
            let mut file = tokio::fs::File::create_new(&partial).await?;
            file.write_all(&message.content).await?;
            file.sync_all().await?;
            tokio::fs::rename(partial, store.join(name)).await?;
            tokio::fs::File::open(store).await?.sync_all().await?; // so that the name is there, too
        }
        let number = self.count.fetch_add(1, SeqCst) + 1;
        let (len, to) = (message.content.len(), message.recipients.join(", "));
        println!(
            "message {number}: {len} octets from <{}> to {to}",
            message.from
        );
        Ok(Reply::QUEUED)
    }
}

impl User {
    fn parse(text: &str) -> Result<Self, Box<dyn Error>> {
        let (name, password) = text.split_once(':').ok_or("--auth wants USER:PASSWORD")?;
        let secret = ScramSecret::derive(password, &random::<16>()?, 4096);
        Ok(Self {
            name: name.to_owned(),
            password: password.to_owned(),
            secret: secret.ok_or("SCRAM cannot have this password")?,
        })
    }
}

/// TLS with a certificate that nobody has signed; it is written to the file for those who shall believe it.
fn acceptor(hostname: String, file: Option<PathBuf>) -> Result<TlsAcceptor, Box<dyn Error>> {
    let names = vec![hostname, "localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    if let Some(file) = file {
        std::fs::write(file, made.cert.pem())?;
    }
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let chain = vec![made.cert.der().clone()];
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn random<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut octets = [0; LEN];
    getrandom::fill(&mut octets)?;
    Ok(octets)
}

/// What was read and not yet taken by the session.
struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Inbox {
    fn new() -> Self {
        let buffer = vec![0; 32 * 1024].into(); // `Config::line_len_max` at least
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
