//! An SMTP proxy, by the standard library alone: a server's session in front, and behind it one command and one
//! reply after the other, by the engine's grammar without a session. Each reply is the next hop's own, and bodies
//! pass as they come. `proxy 127.0.0.1:2526 127.0.0.1:2525` listens on the first address, and passes on to the second.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // a program has a terminal and a clock

use mailrail_protocol::body::stuff::{Edge, Segments};
use mailrail_protocol::command::write;
use mailrail_protocol::extension::{Extension::Dsn, parse};
use mailrail_protocol::reply::{OwnedReply, Reply, parse::Reader};
use mailrail_protocol::server::{Config, Event, Peer, Session};
use mailrail_protocol::time::Instant;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

const USAGE: &str = "usage: proxy ADDRESS NEXT-HOP";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ran = match &arguments[..] {
        [help] if help == "--help" => return println!("{USAGE}"),
        [listen, next_hop] => run(listen, next_hop),
        _ => Err(USAGE.into()),
    };
    if let Err(error) = ran {
        eprintln!("proxy: {error}");
        std::process::exit(1);
    }
}

fn run(listen: &str, next_hop: &str) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(listen).map_err(|error| format!("{listen}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    std::thread::scope(|scope| {
        loop {
            let (stream, peer) = listener.accept()?;
            let log = move |error| eprintln!("{peer}: {error}");
            scope.spawn(move || serve(stream, next_hop).unwrap_or_else(log));
        }
    })
}

/// One connection: every question becomes one to the next hop.
fn serve(mut stream: TcpStream, next_hop: &str) -> io::Result<()> {
    let started = std::time::Instant::now();
    let now = || Instant::from_micros(started.elapsed().as_micros() as u64);
    let behind = TcpStream::connect(next_hop)?;
    behind.set_read_timeout(Some(Duration::from_secs(600)))?;
    let mut next_hop = NextHop(behind, Vec::new());
    let greeting = next_hop.ask(|_| {});
    let hello = next_hop.ask(|out| write::hello(true, "localhost", out));
    let mut config = Config::new("localhost");
    config.extensions = config.extensions.with(Dsn).and(parse::parse(hello.lines()));
    let mut session = Session::new(&config, Peer::PLAIN, now());
    let (mut unread, mut taken, mut out) = (Vec::new(), 0, Vec::new());
    let mut body = None; // where in its line the body stands that is on its way
    loop {
        let mut input = &unread[taken..];
        let event = session.receive(now(), &mut input, &mut out);
        taken = unread.len() - input.len();
        let (turn, reply) = match event {
            Event::Connected(turn) => (turn, greeting.clone()),
            Event::Hello(_, turn) => (turn, Reply::HELLO.into()),
            Event::Mail(mail, turn) => (turn, next_hop.ask(|out| mail.write(out))),
            Event::Recipient(to, turn) => (turn, next_hop.ask(|out| to.write(out))),
            Event::Data(turn) => {
                let reply = next_hop.ask(|out| out.extend(write::DATA));
                body = reply.is_positive().then_some(Edge::LineStart);
                (turn, reply)
            }
            Event::Body(bytes) => {
                let edge = body.unwrap_or(Edge::LineStart);
                body = Some(edge.after(bytes));
                if Segments::stuffed(edge, bytes).any(|piece| next_hop.0.write_all(piece).is_err())
                {
                    session.abort(&Reply::LOCAL_ERROR);
                }
                continue;
            }
            Event::EndOfData(turn) => {
                let ended = body.take() == Some(Edge::LineStart);
                let end: &[u8] = if ended { b".\r\n" } else { b"\r\n.\r\n" };
                (turn, next_hop.ask(|out| out.extend(end)))
            }
            Event::Reset => {
                // Half a body cannot be taken back: then the connection has to go.
                match body.take() {
                    Some(_) => drop(next_hop.0.shutdown(Shutdown::Both)),
                    None => drop(next_hop.ask(|out| out.extend(write::RESET))),
                }
                continue;
            }
            Event::Other(other, turn) => (turn, other.default_reply().into()),
            Event::StartTls(turn)
            | Event::Auth(_, turn)
            | Event::Sasl(_, turn)
            | Event::EndOfDataFor(_, turn) => (turn, Reply::NOT_IMPLEMENTED.into()), // not offered
            Event::Answered(..) => continue,
            Event::NeedInput => {
                stream.write_all(&std::mem::take(&mut out))?;
                let left = session.deadline().unwrap_or_default().since(now());
                stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
                unread.drain(..std::mem::take(&mut taken));
                match read(&mut stream, &mut unread) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        session.handle_timeout(now(), &mut out);
                    }
                    read => read?,
                }
                continue;
            }
            Event::Handshake | Event::Close => return stream.write_all(&out),
        };
        session.reply(turn, &reply.as_reply(), &mut out);
    }
}

/// The connection behind, and what was read from it.
struct NextHop(TcpStream, Vec<u8>);

impl NextHop {
    /// The reply to a command; 421, which ends the connection in front too, where there is none.
    fn ask(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> OwnedReply {
        let Self(stream, unread) = self;
        let (mut command, mut reader) = (Vec::new(), Reader::default());
        write(&mut command);
        let mut heard = stream.write_all(&command);
        while heard.is_ok() {
            let mut input = &unread[..];
            match reader.take(&mut input) {
                Ok(Some(answer)) => {
                    let (reply, left) = (answer.to_owned(), input.len());
                    unread.drain(..unread.len() - left);
                    return reply;
                }
                Ok(None) => heard = read(stream, unread),
                Err(_) => break,
            }
        }
        Reply::SHUTTING_DOWN.into()
    }
}

fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 16 * 1024];
    let count = stream.read(&mut chunk)?;
    unread.extend_from_slice(&chunk[..count]);
    let ended = || ErrorKind::UnexpectedEof.into();
    (count > 0).then_some(()).ok_or_else(ended)
}
