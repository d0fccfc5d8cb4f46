//! A blocking SMTP and LMTP client, by the standard library and a source of chance for AUTH: one message,
//! from a file or from standard input. The socket, the clock and the words for the terminal are here;
//! the dialogue is in the session.
//!
//! ```text
//! blocking_client --server 127.0.0.1:2525 --from a@client.example --to b@mx.example --file letter.eml
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
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: blocking_client --server ADDRESS --to MAILBOX [--to MAILBOX]... \
    [--from MAILBOX] [--file FILE] [--hello NAME] [--auth USER:PASSWORD] [--lmtp] [--no-pipelining] \
    [--no-chunking]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("blocking_client: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let (mut server, mut from, mut to, mut file) = (None, String::new(), Vec::new(), None);
    let (mut config, mut user) = (Config::new("localhost"), None);
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
            "--lmtp" => config.lmtp = true,
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
    let stream = TcpStream::connect(&server).map_err(|error| format!("{server}: {error}"))?;
    send(stream, &config, user, &envelope, &content)
}

/// True if every recipient was given the message.
fn send(
    mut stream: TcpStream,
    config: &Config,
    user: Option<(&str, &str)>,
    envelope: &Envelope<'_>,
    content: &[u8],
) -> Result<bool, Box<dyn Error>> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(config.timeouts.data_dot))?;
    let started = std::time::Instant::now();
    let now = || Instant::from_micros(started.elapsed().as_micros() as u64);
    let mut session = Session::new(config, now());
    let (mut inbox, mut out) = (Inbox::new(), Vec::new());
    // Those who are not refused yet, and how many of them have the message.
    let (mut taken, mut given, mut over) = (Vec::new(), 0, false);
    let mut exchange = None;
    loop {
        if session.write(envelope, &mut out) == Next::Body {
            stream.write_all(&out)?;
            out.clear();
            for piece in session.segments(content) {
                stream.write_all(piece)?;
            }
            session.end_body(&mut out);
        }
        let mut input = inbox.unread();
        let event = session.receive(now(), &mut input, &mut out);
        let used = inbox.unread().len() - input.len();
        match event {
            Event::Ready(extensions) => match user {
                Some(user) => {
                    let exchange = exchange.insert(strongest(extensions.mechanisms(), user)?);
                    println!("authenticating by {}", exchange.mechanism().keyword());
                    session.auth(exchange.mechanism(), exchange.initial(), &mut out);
                }
                None => session.begin(),
            },
            Event::Challenge(challenge) => {
                let exchange: &mut Exchange = exchange.as_mut().expect("a challenge follows AUTH");
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
            // LMTP has an answer for each that was taken, SMTP one for all of them.
            Event::Delivered(n, answer) => {
                println!("message to <{}>: {answer}", taken[usize::from(n)]);
                given += usize::from(answer.is_positive());
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
                stream.write_all(&out)?;
                out.clear();
            }
            Event::NeedInput => {
                let deadline = session.deadline().unwrap_or_default();
                let left = deadline.since(now()).max(Duration::from_millis(1));
                stream.set_read_timeout(Some(left))?;
                match inbox.fill(&mut stream) {
                    Ok(0) => return Err("the server has hung up".into()),
                    Err(error) if is_late(&error) => session.handle_timeout(now()),
                    filled => drop(filled?),
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

/// The strongest mechanism of those that the server offers. What shows the password is for TLS, which is
/// not spoken here: on a network, `tokio_client` is the one to copy.
fn strongest(offered: Mechanisms, user: (&str, &str)) -> Result<Exchange, Box<dyn Error>> {
    let (user, password) = user;
    if offered.has(Mechanism::ScramSha256) {
        let (mut octets, mut nonce) = ([0; 18], Vec::new());
        getrandom::fill(&mut octets)?;
        base64::encode(&octets, &mut nonce);
        let nonce = String::from_utf8(nonce)?;
        return Ok(Exchange::scram_sha_256(user, password, &nonce)?);
    }
    if offered.has(Mechanism::Plain) {
        return Ok(Exchange::plain("", user, password)?);
    }
    if offered.has(Mechanism::Login) {
        return Ok(Exchange::login(user, password)?);
    }
    Err("the server offers no AUTH that is known here".into())
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

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
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
    fn fill(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let count = stream.read(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }
}
