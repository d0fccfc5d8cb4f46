//! A server for the source to talk to: std's sockets, a thread a connection, and a test's word on each answer.
//! It tells the test what came; it judges nothing but the form of the dialogue.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// How long a connection may say nothing: only a source that waits for what never comes takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a test may have another answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Mail,
    Recipient,
    Data,
    /// The content has come.
    End,
}

/// What a test says to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    /// What success is for this command.
    Yes,
    /// This line; behind 421 the connection is closed.
    Line(&'static str),
    /// Nothing: the connection is closed.
    HangUp,
}

/// How the server behaves.
#[derive(Clone)]
pub(crate) struct Manners {
    /// Lines of the answer to EHLO.
    pub(crate) offers: &'static [&'static str],
    /// Answers are kept back until the source has sent all that it may: a source that waits for one
    /// waits in vain. Otherwise the source must send nothing before the last answer.
    pub(crate) keeps_back: bool,
    /// What is said to a command, by the number of the first copy of its message (of the copy
    /// itself at RCPT).
    pub(crate) say: Arc<dyn Fn(Command, u64) -> Say + Send + Sync>,
}

/// What came.
#[derive(Debug)]
pub(crate) enum News {
    Connected,
    Auth(String),
    /// RCPT was asked for this copy.
    Asked(u64),
    Message(Message),
    /// The source broke a rule.
    Broken(String),
}

/// A message that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) content: Vec<u8>,
    pub(crate) is_chunked: bool,
}

/// Runs for as long as the test's process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) news: Receiver<News>,
}

impl Server {
    pub(crate) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (tell, news) = mpsc::channel();
        spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tell, manners) = (tell.clone(), manners.clone());
                spawn(move || {
                    let _ = tell.send(News::Connected);
                    let end = Connection::new(stream, tell.clone(), manners).lead();
                    if let Err(error) = end
                        && error.kind() == io::ErrorKind::WouldBlock
                    {
                        let _ = tell.send(News::Broken("the source waits in vain".into()));
                    }
                });
            }
        });
        Self { address, news }
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name("server".into());
    thread.spawn(body).expect("a thread");
}

struct Connection {
    stream: TcpStream,
    tell: Sender<News>,
    manners: Manners,
    input: Vec<u8>,
    /// Answers that are kept back.
    output: Vec<u8>,
    sender: Option<String>,
    recipients: Vec<String>,
}

/// The name of a copy is in the local part: its number stands behind the dot.
pub(crate) fn copy_of(address: &str) -> u64 {
    let local_part = address.split('@').next().unwrap_or_default();
    let number = local_part
        .split('.')
        .nth(1)
        .and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no name of a copy: {address}"))
}

impl Connection {
    fn new(stream: TcpStream, tell: Sender<News>, manners: Manners) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            tell,
            manners,
            input: Vec::new(),
            output: Vec::new(),
            sender: None,
            recipients: Vec::new(),
        }
    }

    fn lead(&mut self) -> io::Result<()> {
        self.answer("220 mx.example", true)?;
        loop {
            let line = self.line()?;
            let (verb, rest) = line.split_at(line.len().min(4));
            let goes_on = match verb {
                "EHLO" => {
                    let mut lines = vec!["mx.example"];
                    lines.extend(self.manners.offers);
                    let last = lines.len() - 1;
                    let lines = lines.iter().enumerate().map(|(place, line)| {
                        let mark = if place == last { ' ' } else { '-' };
                        format!("250{mark}{line}\r\n")
                    });
                    let text: String = lines.collect();
                    self.answer(text.trim_end(), true)?
                }
                "AUTH" => {
                    let _ = self.tell.send(News::Auth(rest.trim().to_owned()));
                    let text = match rest.trim() {
                        "PLAIN AHRpbQBzZWNyZXQ=" => "235 2.7.0 welcome",
                        _ => "535 5.7.8 no such user",
                    };
                    self.answer(text, true)?
                }
                "MAIL" => {
                    self.sender = Some(address(rest));
                    self.recipients.clear();
                    self.decided(Command::Mail, 0, "250 2.1.0 ok", false)?
                }
                "RCPT" => self.recipient(&address(rest))?,
                "DATA" => self.data()?,
                "BDAT" => self.chunk(rest.trim())?,
                "RSET" => self.answer("250 2.0.0 ok", false)?,
                "QUIT" => {
                    self.answer("221 2.0.0 bye", true)?;
                    return Ok(());
                }
                _ => {
                    let _ = self.tell.send(News::Broken(line));
                    self.answer("500 5.5.1 what", true)?
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn recipient(&mut self, to: &str) -> io::Result<bool> {
        let copy = copy_of(to);
        let _ = self.tell.send(News::Asked(copy));
        let said = (self.manners.say)(Command::Recipient, copy);
        if said == Say::Yes {
            self.recipients.push(to.to_owned());
        }
        self.said(said, "250 2.1.5 ok", false)
    }

    fn data(&mut self) -> io::Result<bool> {
        let copy = self.first_copy();
        let said = match self.recipients.is_empty() {
            true => Say::Line("554 5.5.1 no recipients"),
            false => (self.manners.say)(Command::Data, copy),
        };
        let goes_on = self.said(said, "354 go on", true)?;
        if !(goes_on && said == Say::Yes) {
            return Ok(goes_on);
        }
        loop {
            if let Some(end) = find(&self.input, b"\r\n.\r\n") {
                let content: Vec<u8> = self.input.drain(..end + 5).collect();
                return self.take(content[..end + 2].to_vec(), false);
            }
            self.read()?;
        }
    }

    fn chunk(&mut self, words: &str) -> io::Result<bool> {
        let len = words.strip_suffix(" LAST").and_then(|len| len.parse().ok());
        let Some(len) = len else {
            let _ = self.tell.send(News::Broken(format!("BDAT {words}")));
            return Ok(false);
        };
        while self.input.len() < len {
            self.read()?;
        }
        let content = self.input.drain(..len).collect();
        self.take(content, true)
    }

    fn take(&mut self, content: Vec<u8>, is_chunked: bool) -> io::Result<bool> {
        let said = match self.recipients.is_empty() {
            true => Say::Line("554 5.5.1 no recipients"),
            false => (self.manners.say)(Command::End, self.first_copy()),
        };
        if said == Say::Yes {
            let message = Message {
                sender: self.sender.take().unwrap_or_default(),
                recipients: std::mem::take(&mut self.recipients),
                content,
                is_chunked,
            };
            let _ = self.tell.send(News::Message(message));
        }
        // By DATA even this answer can wait, for the next envelope or QUIT; by BDAT the source does.
        self.said(said, "250 2.0.0 taken", is_chunked)
    }

    fn first_copy(&self) -> u64 {
        self.recipients.first().map_or(0, |first| copy_of(first))
    }

    fn decided(
        &mut self,
        command: Command,
        copy: u64,
        yes: &str,
        leaves: bool,
    ) -> io::Result<bool> {
        let said = (self.manners.say)(command, copy);
        self.said(said, yes, leaves)
    }

    fn said(&mut self, said: Say, yes: &str, leaves: bool) -> io::Result<bool> {
        match said {
            Say::Yes => self.answer(yes, leaves),
            Say::Line(line) => {
                let ends = line.starts_with("421");
                self.answer(line, leaves || ends)?;
                Ok(!ends)
            }
            Say::HangUp => Ok(false),
        }
    }

    /// Answers; one that need not leave is kept back, if that is the manner here.
    fn answer(&mut self, text: &str, leaves: bool) -> io::Result<bool> {
        if !self.manners.keeps_back && !self.input.is_empty() {
            let early = String::from_utf8_lossy(&self.input).into_owned();
            let _ = self
                .tell
                .send(News::Broken(format!("sent too early: {early}")));
        }
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(b"\r\n");
        if leaves || !self.manners.keeps_back {
            self.stream.write_all(&self.output)?;
            self.output.clear();
        }
        Ok(true)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.input, b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut space = [0; 65_536];
        match self.stream.read(&mut space)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.input.extend_from_slice(&space[..count]);
                Ok(())
            }
        }
    }
}

fn address(text: &str) -> String {
    let inner = text
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(inner, _)| inner.to_owned())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
