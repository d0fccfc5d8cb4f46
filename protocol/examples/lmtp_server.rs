//! A blocking LMTP server, by the standard library alone: it puts a message into the maildir of each of its
//! recipients, and answers for each of them. Who has a directory below the one that is given has mail here.
//!
//! ```text
//! mkdir -p /tmp/mail/user
//! lmtp_server --listen 127.0.0.1:2424 --maildirs /tmp/mail
//! ```
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // a program has a terminal and a clock

use mailrail_protocol::address::ForwardPath;
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::{Config, Event, Peer, Recipient, Session};
use mailrail_protocol::time::Instant;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const USAGE: &str = "usage: lmtp_server --maildirs DIRECTORY [--listen ADDRESS] [--hostname NAME] \
    [--count DELIVERIES]";

/// What all connections share.
struct Server {
    config: Config,
    address: SocketAddr,
    started: std::time::Instant,
    /// Below it, a maildir for each local-part.
    maildirs: PathBuf,
    /// After so many deliveries the program ends.
    count_max: u64,
    count: AtomicU64,
}

/// A transaction under way.
#[derive(Default)]
struct Message {
    from: String,
    /// Those that were taken, in their order, and their maildirs.
    recipients: Vec<(String, PathBuf)>,
    content: Vec<u8>,
}

fn main() {
    if let Err(error) = run() {
        eprintln!("lmtp_server: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut listen, mut hostname) = ("127.0.0.1:2424".to_owned(), "localhost".to_owned());
    let (mut maildirs, mut count_max) = (None, u64::MAX);
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
            "--maildirs" => maildirs = Some(PathBuf::from(value()?)),
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
    let maildirs = maildirs.ok_or_else(|| format!("--maildirs is missing\n{USAGE}"))?;
    if !maildirs.is_dir() {
        return Err(format!("{}: no such directory", maildirs.display()).into());
    }
    let listener = TcpListener::bind(&listen).map_err(|error| format!("{listen}: {error}"))?;
    let mut config = Config::new(&hostname);
    config.lmtp = true;
    let server = Server {
        config,
        address: listener.local_addr()?,
        started: std::time::Instant::now(),
        maildirs,
        count_max,
        count: AtomicU64::new(0),
    };
    println!("listening on {}", server.address);
    // The scope waits for the connections that are still open when the last message has come.
    std::thread::scope(|scope| {
        while server.count.load(SeqCst) < server.count_max {
            let (stream, peer) = listener.accept()?;
            let server = &server;
            scope.spawn(move || {
                if let Err(error) = server.serve(stream) {
                    eprintln!("{peer}: {error}");
                }
                if server.count.load(SeqCst) >= server.count_max {
                    let _ = TcpStream::connect(server.address); // wakes the loop above
                }
            });
        }
        Ok(())
    })
}

impl Server {
    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    /// One connection, from its greeting to its end.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        // A peer that does not read its answers is not waited for either.
        stream.set_write_timeout(Some(self.config.timeouts.command))?;
        let mut session = Session::new(&self.config, Peer::PLAIN, self.now());
        let (mut inbox, mut out) = (Inbox::new(), Vec::new());
        let mut message = Message::default();
        loop {
            let mut input = inbox.unread();
            let event = session.receive(self.now(), &mut input, &mut out);
            let used = inbox.unread().len() - input.len();
            match event {
                Event::Connected(turn) => session.reply(turn, &Reply::GREETING, &mut out),
                Event::Hello(_, turn) => session.reply(turn, &Reply::HELLO, &mut out),
                Event::Mail(mail, turn) => {
                    message = Message::default();
                    message.from = mail.from.to_string();
                    session.reply(turn, &Reply::SENDER_OK, &mut out);
                }
                Event::Recipient(recipient, turn) => match self.maildir(&recipient) {
                    Some(maildir) => {
                        let to = recipient.to.to_string();
                        message.recipients.push((to, maildir));
                        session.reply(turn, &Reply::RECIPIENT_OK, &mut out);
                    }
                    None => session.reply(turn, &Reply::NO_SUCH_USER, &mut out),
                },
                Event::Data(turn) => session.reply(turn, &Reply::START_DATA, &mut out),
                Event::Body(bytes) => message.content.extend_from_slice(bytes), // at most SIZE
                // It comes for each recipient that was taken, the last body still there.
                Event::EndOfDataFor(n, turn) => {
                    let reply = self.deliver(&message, n as usize).unwrap_or_else(|error| {
                        eprintln!("a message cannot be delivered: {error}");
                        Reply::LOCAL_ERROR
                    });
                    session.reply(turn, &reply, &mut out);
                }
                Event::Reset => message = Message::default(),
                Event::Other(other, turn) => session.reply(turn, &other.default_reply(), &mut out),
                // The configuration offers neither TLS nor AUTH, and speaks LMTP.
                Event::StartTls(turn)
                | Event::Auth(_, turn)
                | Event::Sasl(_, turn)
                | Event::EndOfData(turn) => {
                    session.reply(turn, &Reply::NOT_IMPLEMENTED, &mut out);
                }
                Event::Answered(_verb, _code) => {} // good to log
                Event::NeedInput | Event::Handshake | Event::Close if !out.is_empty() => {
                    stream.write_all(&out)?;
                    out.clear();
                }
                Event::NeedInput => {
                    inbox.consume(used); // first: the read needs the room
                    let deadline = session.deadline().unwrap_or_default();
                    let left = deadline.since(self.now()).max(Duration::from_millis(1));
                    stream.set_read_timeout(Some(left))?;
                    match inbox.fill(&mut stream) {
                        Ok(0) => return Ok(()),
                        Err(error) if is_late(&error) => {
                            session.handle_timeout(self.now(), &mut out);
                        }
                        filled => drop(filled?),
                    }
                    continue;
                }
                Event::Handshake | Event::Close => return Ok(()),
            }
            inbox.consume(used);
            if out.len() >= 16 * 1024 {
                stream.write_all(&out)?; // a peer that never pauses is answered all the same
                out.clear();
            }
        }
    }

    /// Where mail for this recipient goes; `None` if nobody of this name has a directory.
    fn maildir(&self, recipient: &Recipient<'_>) -> Option<PathBuf> {
        let name = match recipient.to {
            ForwardPath::Postmaster(_) => "postmaster",
            ForwardPath::Mailbox(mailbox) => mailbox.local_part(),
        };
        // A name that no path can be made of is refused: it could lead anywhere.
        let sound = !name.starts_with('.') && !name.contains(['/', '"', '\\']);
        let maildir = self.maildirs.join(name);
        (sound && maildir.is_dir()).then_some(maildir)
    }

    /// Into `tmp`, onto the disk, into `new`.
    fn deliver(&self, message: &Message, n: usize) -> io::Result<Reply<'static>> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (to, maildir) = &message.recipients[n];
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(maildir.join(part))?;
        }
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (seconds, process) = (time.as_secs(), std::process::id());
        let name = format!(
            "{seconds}.P{process}Q{}.localhost",
            NEXT.fetch_add(1, SeqCst)
        );
        let partial = maildir.join("tmp").join(&name);
        let mut file = File::create_new(&partial)?;
        //= RFC 5321 section 4.4: final delivery puts a Return-Path in front
        write!(
            file,
            "Return-Path: <{}>\r\nDelivered-To: {to}\r\n",
            message.from
        )?;
        file.write_all(&message.content)?;
        file.sync_all()?;
        fs::rename(partial, maildir.join("new").join(name))?;
        File::open(maildir.join("new"))?.sync_all()?; // so that the name is there, too
        let number = self.count.fetch_add(1, SeqCst) + 1;
        println!(
            "delivery {number}: {} octets to {to}",
            message.content.len()
        );
        Ok(Reply::DELIVERED)
    }
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
    fn fill(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let count = stream.read(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }
}
