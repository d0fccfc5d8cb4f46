//! An SMTP server on io_uring: one thread, a task for each connection, and every message written to
//! its file as it comes. Linux alone. The loop is that of `blocking_server`, with `await` in it.
//!
//! ```text
//! glommio_server --listen 127.0.0.1:2525 --store /tmp/mail
//! ```
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // a program has a terminal and a clock

#[cfg(target_os = "linux")]
fn main() {
    if let Err(error) = server::run() {
        eprintln!("glommio_server: {error}");
        std::process::exit(1);
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("glommio_server: io_uring is Linux's");
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
mod server {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use glommio::io::BufferedFile;
    use glommio::net::{TcpListener, TcpStream};
    use glommio::{LocalExecutorBuilder, Placement};
    use mailrail_protocol::reply::Reply;
    use mailrail_protocol::server::{Config, Event, Peer, Session};
    use mailrail_protocol::time::Instant;
    use std::cell::Cell;
    use std::error::Error;
    use std::io::{self, ErrorKind};
    use std::net::{SocketAddr, ToSocketAddrs};
    use std::path::PathBuf;
    use std::rc::Rc;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    const USAGE: &str = "usage: glommio_server [--listen ADDRESS] [--hostname NAME] \
        [--store DIRECTORY] [--count MESSAGES]";

    /// What all connections share. Nothing here leaves its thread.
    struct Server {
        config: Config,
        started: std::time::Instant,
        /// Where messages go; without it they are only counted.
        store: Option<PathBuf>,
        /// After so many messages the program ends.
        count_max: u64,
        count: Cell<u64>,
        opened: Cell<u64>,
        connections: Cell<u64>,
    }

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        let (mut listen, mut hostname) = ("127.0.0.1:2525".to_owned(), "localhost".to_owned());
        let (mut store, mut count_max) = (None, u64::MAX);
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
        // glommio panics at what is no address.
        let address = listen.to_socket_addrs();
        let address = address
            .map_err(|error| format!("{listen}: {error}"))?
            .next();
        let address = address.ok_or_else(|| format!("{listen}: no address"))?;
        let server = Rc::new(Server {
            config: Config::new(&hostname),
            started: std::time::Instant::now(),
            store,
            count_max,
            count: Cell::new(0),
            opened: Cell::new(0),
            connections: Cell::new(0),
        });
        // Rings and buffers of this size fit into what an ordinary user may lock.
        let builder = LocalExecutorBuilder::new(Placement::Unbound);
        let executor = builder.ring_depth(64).io_memory(512 << 10).make()?;
        executor.run(accept(server, address))
    }

    async fn accept(server: Rc<Server>, listen: SocketAddr) -> Result<(), Box<dyn Error>> {
        let listener = TcpListener::bind(listen).map_err(|error| format!("{listen}: {error}"))?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let stream = listener.accept().await?;
            let server = Rc::clone(&server);
            server.connections.set(server.connections.get() + 1);
            let task = async move {
                if let Err(error) = server.serve(stream).await {
                    eprintln!("a connection broke: {error}");
                }
                server.connections.set(server.connections.get() - 1);
                if server.count.get() >= server.count_max && server.connections.get() == 0 {
                    std::process::exit(0);
                }
            };
            glommio::spawn_local(task).detach();
        }
    }

    impl Server {
        fn now(&self) -> Instant {
            Instant::from_micros(self.started.elapsed().as_micros() as u64)
        }

        async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
            stream.set_nodelay(true)?;
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
                        message.from = mail.from.to_string();
                        session.reply(turn, &Reply::SENDER_OK, &mut out);
                    }
                    Event::Recipient(recipient, turn) => {
                        message.recipients.push(recipient.to.to_string());
                        session.reply(turn, &Reply::RECIPIENT_OK, &mut out);
                    }
                    Event::Data(turn) => {
                        let reply = message.open(self).await.map(|()| Reply::START_DATA);
                        session.reply(turn, &reply.unwrap_or_else(refusal), &mut out);
                    }
                    Event::Body(bytes) => {
                        if let Err(error) = message.append(bytes).await {
                            refusal(error);
                            session.abort(&Reply::LOCAL_ERROR); // `Reset` will follow
                        }
                    }
                    Event::EndOfData(turn) => {
                        let kept = std::mem::take(&mut message).keep(self).await;
                        let reply = kept.map(|()| Reply::QUEUED);
                        session.reply(turn, &reply.unwrap_or_else(refusal), &mut out);
                    }
                    Event::Reset => std::mem::take(&mut message).forget().await,
                    Event::Other(other, turn) => {
                        session.reply(turn, &other.default_reply(), &mut out);
                    }
                    // The configuration offers neither TLS nor AUTH, and speaks no LMTP.
                    Event::StartTls(turn)
                    | Event::Auth(_, turn)
                    | Event::Sasl(_, turn)
                    | Event::EndOfDataFor(_, turn) => {
                        session.reply(turn, &Reply::NOT_IMPLEMENTED, &mut out);
                    }
                    Event::Answered(_verb, _code) => {} // good to log
                    Event::NeedInput | Event::Handshake | Event::Close if !out.is_empty() => {
                        stream.write_all(&out).await?;
                        out.clear();
                    }
                    Event::NeedInput => {
                        inbox.consume(used); // first: the read needs the room
                        let deadline = session.deadline().unwrap_or_default();
                        let left = deadline.since(self.now()).max(Duration::from_millis(1));
                        stream.set_read_timeout(Some(left))?;
                        match inbox.fill(&mut stream).await {
                            Ok(0) => break,
                            Err(error) if error.kind() == ErrorKind::TimedOut => {
                                session.handle_timeout(self.now(), &mut out);
                            }
                            filled => drop(filled?),
                        }
                        continue;
                    }
                    Event::Handshake | Event::Close => break,
                }
                inbox.consume(used);
                if out.len() >= 16 * 1024 {
                    stream.write_all(&out).await?; // a peer that never pauses is answered, too
                    out.clear();
                }
            }
            message.forget().await;
            Ok(())
        }
    }

    fn refusal(error: io::Error) -> Reply<'static> {
        eprintln!("a message cannot be kept: {error}");
        Reply::LOCAL_ERROR
    }

    /// A transaction under way, and the file that its content goes to.
    #[derive(Default)]
    struct Message {
        from: String,
        recipients: Vec<String>,
        file: Option<BufferedFile>,
        len: u64,
    }

    impl Message {
        async fn open(&mut self, server: &Server) -> io::Result<()> {
            if let Some(store) = &server.store {
                let time = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                server.opened.set(server.opened.get() + 1);
                let name = format!("{}-{}.part", time.as_micros(), server.opened.get());
                self.file = Some(BufferedFile::create(store.join(name)).await?);
            }
            Ok(())
        }

        async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            if let Some(file) = &self.file {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let at = self.len + (bytes.len() - rest.len()) as u64;
                    let count = file.write_at(rest.to_vec(), at).await?;
                    rest = &rest[count..];
                }
            }
            self.len += bytes.len() as u64;
            Ok(())
        }

        /// On the disk before it is answered for.
        async fn keep(mut self, server: &Server) -> io::Result<()> {
            if let Some(mut file) = self.file.take() {
                file.fdatasync().await?;
                let path = file.path().map(|path| path.with_extension("eml"));
                file.rename(path.unwrap_or_default()).await?;
                file.close().await?;
            }
            let number = server.count.get() + 1; // here, since others had their turn while this one waited
            server.count.set(number);
            let (from, to, len) = (self.from, self.recipients.join(", "), self.len);
            println!("message {number}: {len} octets from <{from}> to {to}");
            Ok(())
        }

        /// What was written of a message that never became one goes away.
        async fn forget(self) {
            if let Some(file) = self.file {
                let _ = file.remove().await;
                let _ = file.close().await;
            }
        }
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
        async fn fill(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let count = stream.read(&mut self.buffer[self.end..]).await?;
            self.end += count;
            Ok(count)
        }
    }
}
