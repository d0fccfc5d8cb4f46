//! A blocking SMTP client that may be as rude as a test needs.
//!
//! It knows no rules: it sends what it is told and reads replies. Every operation ends after
//! [`PATIENCE`].

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::message;
use crate::wait::PATIENCE;

/// One reply: its code, and its lines without the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The text of each line.
    pub lines: Vec<String>,
}

impl Reply {
    /// The text of all lines, with line ends between them.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// Whether it is this code, followed by this text (an enhanced status, say).
    pub fn is(&self, code: u16, text: &str) -> bool {
        self.code == code
            && self
                .lines
                .first()
                .is_some_and(|line| line.starts_with(text))
    }

    /// Fails unless it is this code.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn expect(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Fails unless it is this code, followed by this text.
    ///
    /// # Panics
    /// If it is anything else.
    #[track_caller]
    pub fn expect_text(self, code: u16, text: &str) -> Self {
        assert!(
            self.is(code, text),
            "expected {code} {text}, found {self:?}"
        );
        self
    }
}

/// A connection to an SMTP server.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// Connects, and does not read the greeting.
    ///
    /// # Errors
    /// When the connection is refused.
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&server, PATIENCE)?)
    }

    /// Connects from a certain local address, and does not read the greeting.
    ///
    /// # Errors
    /// When the connection is refused.
    pub fn open_from(source: IpAddr, server: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&server.into(), PATIENCE)?;
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    /// Connects, reads the greeting and says EHLO.
    ///
    /// # Panics
    /// If any of it fails.
    #[track_caller]
    pub fn hello(server: SocketAddr) -> Self {
        Self::open(server).expect("a connection").greeted()
    }

    /// Reads the greeting and says EHLO.
    ///
    /// # Panics
    /// If any of it fails.
    #[track_caller]
    pub fn greeted(mut self) -> Self {
        self.reply().expect(220);
        self.command("EHLO client.example").expect(250);
        self
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// When the connection ends, or something comes that is no reply.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        let mut reply = Reply {
            code: 0,
            lines: Vec::new(),
        };
        loop {
            let line = self.line()?;
            let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("no reply: {line}"));
            let code = line
                .get(..3)
                .and_then(|code| code.parse().ok())
                .ok_or_else(wrong)?;
            if reply.code != 0 && reply.code != code {
                return Err(wrong());
            }
            reply.code = code;
            reply
                .lines
                .push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes().get(3) {
                Some(b'-') => {}
                Some(b' ') | None => return Ok(reply),
                Some(_) => return Err(wrong()),
            }
        }
    }

    /// Reads one reply.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        match self.try_reply() {
            Ok(reply) => reply,
            Err(error) => panic!("no reply: {error}"),
        }
    }

    /// Sends a line and reads the reply.
    ///
    /// # Panics
    /// When either fails.
    #[track_caller]
    pub fn command(&mut self, line: &str) -> Reply {
        match self.send(format!("{line}\r\n").as_bytes()) {
            Ok(()) => self.reply(),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    /// Sends a chunk that is not the last one, and reads the reply.
    ///
    /// # Panics
    /// When either fails.
    #[track_caller]
    pub fn chunk(&mut self, bytes: &[u8]) -> Reply {
        let command = format!("BDAT {}\r\n", bytes.len());
        let sent = self
            .send(command.as_bytes())
            .and_then(|()| self.send(bytes));
        match sent {
            Ok(()) => self.reply(),
            Err(error) => panic!("a chunk: {error}"),
        }
    }

    /// A whole transaction without pipelining; the answer to the content, or the first refusal.
    ///
    /// # Errors
    /// When the connection ends before the last reply is read.
    pub fn submit(
        &mut self,
        sender: &str,
        recipients: &[&str],
        content: &[u8],
    ) -> io::Result<Reply> {
        self.send(format!("MAIL FROM:<{sender}>\r\n").as_bytes())?;
        let reply = self.try_reply()?;
        if reply.code != 250 {
            return Ok(reply);
        }
        for recipient in recipients {
            self.send(format!("RCPT TO:<{recipient}>\r\n").as_bytes())?;
            let reply = self.try_reply()?;
            if reply.code != 250 {
                self.send(b"RSET\r\n")?;
                self.try_reply()?;
                return Ok(reply);
            }
        }
        self.send(b"DATA\r\n")?;
        let reply = self.try_reply()?;
        if reply.code != 354 {
            return Ok(reply);
        }
        self.send(&message::stuffed(content))?;
        self.try_reply()
    }

    /// Whether the server ends the connection, having said nothing more.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        self.unread.is_empty()
            && match self.stream.read(&mut byte) {
                Ok(count) => count == 0,
                Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
            }
    }

    /// Reads one reply if it comes within `pause`.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn reply_within(&mut self, pause: Duration) -> io::Result<Option<Reply>> {
        self.stream.set_read_timeout(Some(pause))?;
        let reply = self.try_reply();
        self.stream.set_read_timeout(Some(PATIENCE))?;
        match reply {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if is_timeout(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A second handle, to write while this one reads.
    ///
    /// # Panics
    /// When the system has no descriptor left.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    /// Ends the sending side.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn end_of_input(&mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    let left = String::from_utf8_lossy(&self.unread).into_owned();
                    let what = format!("the connection ended after {left:?}");
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                }
                Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
                // The test was stopped for a while: a wait with a limit is not taken up again by the kernel.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
