//! An SMTP proxy, by the standard library alone: a server's session in front, a client's behind. Each reply
//! is the next hop's own, and bodies pass as they come. (A relay would put a Received field in front.)
//!
//! `proxy 127.0.0.1:2526 127.0.0.1:2525` listens on the first address and passes on to the second.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // a program has a terminal and a clock

use mailrail_protocol::address::{OwnedForwardPath, OwnedReversePath};
use mailrail_protocol::client::{self, BodyKind, Envelope, Recipient};
use mailrail_protocol::extension::Extension::{EightBitMime, SmtpUtf8};
use mailrail_protocol::reply::{Code, OwnedReply, Reply};
use mailrail_protocol::server::{self, Event, Peer};
use mailrail_protocol::time::Instant;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(next_hop)) = (arguments.next(), arguments.next()) else {
        return Err("usage: proxy ADDRESS NEXT-HOP".into());
    };
    let (listener, next_hop) = (TcpListener::bind(listen)?, next_hop.as_str());
    println!("listening on {}", listener.local_addr()?);
    std::thread::scope(|scope| {
        loop {
            let (stream, peer) = listener.accept()?;
            scope.spawn(move || {
                serve(stream, next_hop).unwrap_or_else(|error| eprintln!("{peer}: {error}"))
            });
        }
    })
}

/// The server's side: every question becomes one to the next hop.
fn serve(stream: TcpStream, next_hop: &str) -> io::Result<()> {
    let config = client::Config::new("localhost");
    let mut back = Back::new(TcpStream::connect(next_hop)?, &config)?;
    let greeting = back.ask();
    let offered = back.session.extensions();
    let mut config = server::Config::new("localhost");
    config.extensions = config
        .extensions
        .with_size_max(offered.size_max().unwrap_or(0));
    // What the next hop does not offer cannot be offered here.
    for extension in [EightBitMime, SmtpUtf8]
        .into_iter()
        .filter(|&known| !offered.has(known))
    {
        config.extensions = config.extensions.without(extension);
    }
    let (mut wire, mut session) = (
        Wire::new(stream)?,
        server::Session::new(&config, Peer::PLAIN, now()),
    );
    let mut in_body = false;
    loop {
        let mut input = &wire.input[wire.taken..];
        let event = session.receive(now(), &mut input, &mut wire.out);
        wire.taken = wire.input.len() - input.len();
        let (turn, reply) = match event {
            Event::Connected(turn) => (turn, greeting.clone()),
            Event::Hello(_, turn) => (turn, Reply::HELLO.into()),
            Event::Mail(mail, turn) => (turn, back.mail(&mail)),
            Event::Recipient(recipient, turn) => {
                back.to.push(recipient.to.into());
                (turn, back.ask())
            }
            Event::Data(turn) => {
                back.complete = true;
                let reply = back.ask();
                in_body = reply.is_positive();
                (turn, reply)
            }
            Event::Body(bytes) => {
                let mut pieces = back.session.segments(bytes);
                if pieces.any(|piece| back.wire.stream.write_all(piece).is_err()) {
                    session.abort(&Reply::LOCAL_ERROR);
                }
                continue;
            }
            Event::EndOfData(turn) => {
                in_body = false;
                back.session.end_body(&mut back.wire.out);
                (turn, back.ask())
            }
            Event::Reset => {
                // Half a body cannot be taken back: then the connection has to go.
                if std::mem::take(&mut in_body) || !back.session.reset(&mut back.wire.out) {
                    back.wire.stream.shutdown(Shutdown::Both)?;
                }
                continue;
            }
            Event::Other(other, turn) => (turn, other.default_reply().into()),
            Event::StartTls(turn) | Event::Auth(_, turn) => (turn, Reply::NOT_IMPLEMENTED.into()),
            Event::Sasl(_, turn) | Event::EndOfDataFor(_, turn) => {
                (turn, Reply::NOT_IMPLEMENTED.into())
            }
            Event::Answered(..) => continue,
            Event::NeedInput => {
                if !wire.exchange(session.deadline())? {
                    session.handle_timeout(now(), &mut wire.out);
                }
                continue;
            }
            Event::Handshake | Event::Close => return wire.stream.write_all(&wire.out),
        };
        session.reply(turn, &reply.as_reply(), &mut wire.out);
    }
}

/// The client's side: the connection to the next hop, and the transaction on it.
struct Back<'c> {
    wire: Wire,
    session: client::Session<'c>,
    from: OwnedReversePath,
    to: Vec<OwnedForwardPath>,
    body: Option<BodyKind>,
    smtputf8: bool,
    complete: bool,
}

impl<'c> Back<'c> {
    fn new(stream: TcpStream, config: &'c client::Config) -> io::Result<Self> {
        let (wire, session) = (Wire::new(stream)?, client::Session::new(config, now()));
        let (from, to) = (OwnedReversePath::Null, Vec::new());
        Ok(Self {
            wire,
            session,
            from,
            to,
            body: None,
            smtputf8: false,
            complete: false,
        })
    }

    fn mail(&mut self, mail: &server::Mail<'_>) -> OwnedReply {
        if !self.session.can_begin() {
            self.ask(); // what was reset, or had its sender refused, has yet to be over
        }
        if !self.session.can_begin() {
            return Reply::SHUTTING_DOWN.into();
        }
        (self.from, self.to, self.complete) = (mail.from.into(), Vec::new(), false);
        (self.body, self.smtputf8) = (mail.body, mail.smtputf8);
        self.session.begin();
        self.ask()
    }

    /// How the next hop answers what is new in the transaction.
    fn ask(&mut self) -> OwnedReply {
        let to: Vec<Recipient<'_>> = self.to.iter().map(|to| Recipient::new(to.into())).collect();
        let mut envelope = Envelope::new((&self.from).into(), &to);
        (envelope.mail.body, envelope.mail.smtputf8) = (self.body, self.smtputf8);
        envelope.complete = self.complete;
        let wire = &mut self.wire;
        loop {
            let _ = self.session.write(&envelope, &mut wire.out);
            let mut input = &wire.input[wire.taken..];
            let event = self.session.receive(now(), &mut input, &mut wire.out);
            wire.taken = wire.input.len() - input.len();
            return match event {
                client::Event::Ready(_) => Reply::GREETING.into(),
                client::Event::Mail(answer) | client::Event::Recipient(_, answer) => {
                    answer.to_owned()
                }
                client::Event::SendBody => Reply::START_DATA.into(),
                client::Event::Sent(answer) | client::Event::Refused(answer) => answer.to_owned(),
                client::Event::Close(answer) => answer.to_owned(),
                client::Event::Over => Reply::NO_VALID_RECIPIENTS.into(),
                client::Event::Unsendable(why) => {
                    OwnedReply::new(Code::of(554), Some(why.status()))
                        .with_line("Not to the next hop")
                }
                client::Event::Broken(..) | client::Event::Closed => Reply::SHUTTING_DOWN.into(),
                // It waits for nothing: this was out of order there.
                client::Event::NeedInput if self.session.deadline().is_none() => {
                    Reply::BAD_SEQUENCE.into()
                }
                client::Event::NeedInput => match wire.exchange(self.session.deadline()) {
                    Ok(true) => continue,
                    Ok(false) => {
                        self.session.handle_timeout(now());
                        continue;
                    }
                    Err(_) => Reply::SHUTTING_DOWN.into(),
                },
                _ => continue,
            };
        }
    }
}

fn now() -> Instant {
    static STARTED: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::from_micros(STARTED.elapsed().as_micros() as u64)
}

/// A connection: what was read, how much of it the session has taken, and what is to be sent.
struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    taken: usize,
    out: Vec<u8>,
}

impl Wire {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(300)))?;
        Ok(Self {
            stream,
            input: Vec::new(),
            taken: 0,
            out: Vec::new(),
        })
    }

    /// Sends what is to be sent, and reads once; false if the deadline comes first.
    fn exchange(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        self.stream.write_all(&std::mem::take(&mut self.out))?;
        let left = deadline.unwrap_or_default().since(now());
        self.stream
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        self.input.drain(..std::mem::take(&mut self.taken));
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(false)
            }
            count => {
                self.input.extend_from_slice(&chunk[..count?]);
                Ok(true)
            }
        }
    }
}
