//! A blocking SMTP server that records what it gets and answers as scripted.
//!
//! One thread a connection, no shared state but counters: what was received goes to the test
//! through a channel, in the order in which the sink answered 250.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use mailrail_runtime::clock;

use crate::message;
use crate::wait::{Deadline, PATIENCE};

/// One message that the sink took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The reverse path, without angle brackets.
    pub sender: String,
    /// The recipients that were accepted, without angle brackets.
    pub recipients: Vec<String>,
    /// The content with dots unstuffed.
    pub content: Vec<u8>,
    /// The value of the id header.
    pub id: Option<String>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// The parameters of MAIL.
    pub parameters: String,
    /// Whether it came by BDAT.
    pub by_bdat: bool,
    /// Just before its 250, in microseconds of this process's clock.
    pub at: u64,
}

/// What the sink is about to answer.
#[derive(Clone, Debug)]
pub struct Step<'s> {
    /// `CONNECT`, or a verb in capitals, or `END` for the end of the content.
    pub verb: &'s str,
    /// What follows the verb; the id for `END`.
    pub argument: &'s str,
    /// Which connection, counted from 0.
    pub connection: usize,
}

/// What the sink does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The usual positive reply.
    Accept,
    /// This line instead; `4xx` and `5xx` refuse.
    Say(&'static str),
    /// This line, and then the end of the connection.
    Close(&'static str),
    /// The end of the connection without a word.
    Drop,
    /// Take the message, and end the connection without saying so.
    TakeAndDrop,
    /// The usual reply, after a pause.
    Slowly(Duration),
}

/// An answer in the middle of a content.
#[derive(Clone, Copy, Debug)]
pub struct Early {
    /// After so many octets of it.
    pub after: u64,
    /// The answer; where it is empty, there is none.
    pub line: &'static str,
    /// What the sink does then.
    pub then: Then,
}

/// What follows an early answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing is read any more, and nothing closed.
    Stop,
    /// The content is read to its end and thrown away, without another answer.
    GoOn,
    /// The connection is closed with what is unread, which resets it.
    Reset,
}

/// How a sink answers.
#[derive(Clone)]
pub struct Script {
    extensions: &'static [&'static str],
    answer: Arc<dyn Fn(&Step<'_>) -> Answer + Send + Sync>,
    /// For the first content of the first connection.
    early: Option<Early>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script")
            .field("extensions", &self.extensions)
            .finish_non_exhaustive()
    }
}

impl Script {
    /// Accepts everything, with PIPELINING, 8BITMIME, SIZE, SMTPUTF8 and ENHANCEDSTATUSCODES.
    pub fn accept() -> Self {
        Self::new(|_| Answer::Accept)
    }

    /// Asks `answer` at each step.
    pub fn new(answer: impl Fn(&Step<'_>) -> Answer + Send + Sync + 'static) -> Self {
        const EXTENSIONS: &[&str] = &[
            "PIPELINING",
            "8BITMIME",
            "SIZE 104857600",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
        ];
        Self {
            extensions: EXTENSIONS,
            answer: Arc::new(answer),
            early: None,
        }
    }

    /// Offers these extensions instead.
    #[must_use]
    pub fn offering(self, extensions: &'static [&'static str]) -> Self {
        Self { extensions, ..self }
    }

    /// Answers the first content of the first connection in its middle.
    #[must_use]
    pub fn early(self, early: Early) -> Self {
        let early = Some(early);
        Self { early, ..self }
    }

    /// At each step with this verb the line until the gate is open, later the usual.
    pub fn until_open(gate: &Arc<AtomicBool>, verb: &'static str, line: &'static str) -> Self {
        let gate = Arc::clone(gate);
        Self::new(move |step| {
            if step.verb == verb && !gate.load(Ordering::Relaxed) {
                return Answer::Say(line);
            }
            Answer::Accept
        })
    }

    /// At the first `count` steps with this verb the line, later the usual.
    pub fn at_first(count: usize, verb: &'static str, line: &'static str) -> Self {
        let seen = AtomicUsize::new(0);
        Self::new(move |step| {
            if step.verb == verb && seen.fetch_add(1, Ordering::Relaxed) < count {
                return Answer::Say(line);
            }
            Answer::Accept
        })
    }
}

/// A running sink; it stops when this is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    received: Receiver<Received>,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Sink {
    /// A sink that accepts everything.
    pub fn start() -> Self {
        Self::with(Script::accept())
    }

    /// A sink that answers as scripted, on a free port of the loopback.
    ///
    /// # Panics
    /// When there is no port or thread left.
    pub fn with(script: Script) -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// A sink on a certain address.
    ///
    /// # Panics
    /// When the address is taken, or there is no thread left.
    pub fn on(address: SocketAddr, script: Script) -> Self {
        let listener = TcpListener::bind(address).expect("an address for the sink");
        let address = listener.local_addr().expect("an address");
        let (sender, received) = mpsc::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let (counter, stop) = (Arc::clone(&connections), Arc::clone(&stopped));
        std::thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || accept_all(&listener, &script, &sender, &counter, &stop))
            .expect("a thread");
        Self {
            address,
            received,
            connections,
            stopped,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has had.
    pub fn connection_count(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The next message.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn next(&self) -> Received {
        match self.received.recv_timeout(PATIENCE) {
            Ok(received) => received,
            Err(_) => panic!("no message came to the sink within {PATIENCE:?}"),
        }
    }

    /// The next message if one comes before the deadline.
    pub fn next_before(&self, deadline: Deadline) -> Option<Received> {
        self.received.recv_timeout(deadline.left()).ok()
    }

    /// A message that has come already.
    pub fn already(&self) -> Option<Received> {
        self.received.try_recv().ok()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept_all(
    listener: &TcpListener,
    script: &Script,
    sender: &Sender<Received>,
    counter: &AtomicUsize,
    stopped: &AtomicBool,
) {
    while let Ok((stream, _)) = listener.accept() {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let number = counter.fetch_add(1, Ordering::Relaxed);
        let (script, sender) = (script.clone(), sender.clone());
        let served = std::thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || {
                // A peer that goes away is no failure of a sink.
                let _ = Dialogue::new(stream, number, &script, &sender).and_then(|mut d| d.serve());
            });
        served.expect("a thread");
    }
}

/// One connection.
struct Dialogue<'d> {
    input: BufReader<TcpStream>,
    output: TcpStream,
    number: usize,
    script: &'d Script,
    sender: &'d Sender<Received>,
    message: Received,
    has_sender: bool,
    early: Option<Early>,
}

impl<'d> Dialogue<'d> {
    fn new(
        stream: TcpStream,
        number: usize,
        script: &'d Script,
        sender: &'d Sender<Received>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let output = stream.try_clone()?;
        let input = BufReader::with_capacity(64 * 1024, stream);
        Ok(Self {
            input,
            output,
            number,
            script,
            sender,
            message: empty(number),
            has_sender: false,
            early: script.early.filter(|_| number == 0),
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        if !self.answer("CONNECT", "", "220 sink.example ESMTP")? {
            return Ok(());
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.input.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let (verb, argument) = text.split_once(' ').unwrap_or((&text, ""));
            let verb = verb.to_ascii_uppercase();
            if !self.step(&verb, argument)? {
                return Ok(());
            }
        }
    }

    /// One command; false at the end of the connection.
    fn step(&mut self, verb: &str, argument: &str) -> io::Result<bool> {
        match verb {
            "EHLO" => {
                let mut lines = vec!["sink.example"];
                lines.extend_from_slice(self.script.extensions);
                let last = lines.pop().expect("at least the name");
                let mut reply: String =
                    lines.iter().map(|line| format!("250-{line}\r\n")).collect();
                reply.push_str(&format!("250 {last}"));
                self.answer(verb, argument, &reply)
            }
            "MAIL" => {
                let (sender, parameters) = path(argument);
                self.message = Received {
                    sender,
                    parameters,
                    ..empty(self.number)
                };
                let taken = self.answer_taken(verb, argument, "250 2.1.0 ok")?;
                self.has_sender = taken == Some(true);
                Ok(taken.is_some())
            }
            // A client that pipelines has sent it before it knew.
            "RCPT" if !self.has_sender => {
                self.say("503 5.5.1 no sender")?;
                Ok(true)
            }
            "RCPT" => {
                let (recipient, _) = path(argument);
                self.message.recipients.push(recipient);
                let taken = self.answer_taken(verb, argument, "250 2.1.5 ok")?;
                if taken != Some(true) {
                    self.message.recipients.pop();
                }
                Ok(taken.is_some())
            }
            "DATA" if self.message.recipients.is_empty() => {
                self.say("554 5.5.1 no recipients")?;
                Ok(true)
            }
            "DATA" => match self.answer_taken(verb, argument, "354 go on")? {
                Some(true) => self.data(),
                taken => Ok(taken.is_some()),
            },
            "BDAT" => self.chunk(argument),
            "QUIT" => {
                self.answer(verb, argument, "221 2.0.0 bye")?;
                Ok(false)
            }
            _ => self.answer(verb, argument, "250 2.0.0 ok"),
        }
    }

    /// Answers in the middle of a content, if it is to. `None`: the content is still to be answered;
    /// otherwise whether the connection goes on.
    fn early(&mut self, size: Option<u64>) -> io::Result<Option<bool>> {
        let Some(Early { after, line, then }) = self.early.take() else {
            return Ok(None);
        };
        let pass =
            |input: &mut BufReader<TcpStream>, len| io::copy(&mut input.take(len), &mut io::sink());
        pass(&mut self.input, after)?;
        if !line.is_empty() {
            self.say(line)?;
        }
        match (then, size) {
            (Then::Reset, _) => return Ok(Some(false)),
            (Then::Stop, _) => {
                // It stays open for as long as this process lives.
                std::mem::forget(self.output.try_clone()?);
                return Ok(Some(false));
            }
            (Then::GoOn, Some(size)) => {
                pass(&mut self.input, size.saturating_sub(after))?;
            }
            (Then::GoOn, None) => {
                let mut line = Vec::new();
                while line != b".\r\n" {
                    line.clear();
                    if self.input.read_until(b'\n', &mut line)? == 0 {
                        return Ok(Some(false));
                    }
                }
            }
        }
        self.has_sender = false;
        self.message = empty(self.number);
        Ok(Some(true))
    }

    fn data(&mut self) -> io::Result<bool> {
        if let Some(goes_on) = self.early(None)? {
            return Ok(goes_on);
        }
        let mut content = Vec::new();
        loop {
            let start = content.len();
            if self.input.read_until(b'\n', &mut content)? == 0 {
                return Ok(false);
            }
            //= RFC 5321 section 4.5.2: a dot alone ends the content, another leading dot goes
            if content[start..] == *b".\r\n" {
                content.truncate(start);
                break;
            }
            if content[start] == b'.' {
                content.remove(start);
            }
        }
        self.message.content = content;
        self.end("END")
    }

    fn chunk(&mut self, argument: &str) -> io::Result<bool> {
        let mut words = argument.split_ascii_whitespace();
        let size = words.next().and_then(|word| word.parse().ok());
        let size: u64 = size.ok_or_else(|| io::Error::other("BDAT without a size"))?;
        let last = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        if let Some(goes_on) = self.early(Some(size))? {
            return Ok(goes_on);
        }
        let mut block = Vec::new();
        (&mut self.input).take(size).read_to_end(&mut block)?;
        if block.len() as u64 != size {
            return Ok(false);
        }
        if self.message.recipients.is_empty() {
            self.say("554 5.5.1 no recipients")?;
            return Ok(true);
        }
        self.message.content.append(&mut block);
        self.message.by_bdat = true;
        if last {
            self.end("END")
        } else {
            self.answer("BDAT", argument, "250 2.0.0 ok")
        }
    }

    fn end(&mut self, verb: &str) -> io::Result<bool> {
        self.message.id = message::id_of(&self.message.content);
        let id = self.message.id.clone().unwrap_or_default();
        let answer = self.ask(verb, &id);
        let taken = matches!(
            answer,
            Answer::Accept | Answer::TakeAndDrop | Answer::Slowly(_)
        );
        let mut message = std::mem::replace(&mut self.message, empty(self.number));
        message.at = clock::micros();
        self.has_sender = false;
        if taken {
            // Before the reply: what was answered 250 has arrived. The test may have ended.
            let _ = self.sender.send(message);
        }
        Ok(self.carry_out(&answer, "250 2.0.0 taken")?.is_some())
    }

    fn answer(&mut self, verb: &str, argument: &str, usual: &str) -> io::Result<bool> {
        Ok(self.answer_taken(verb, argument, usual)?.is_some())
    }

    fn answer_taken(
        &mut self,
        verb: &str,
        argument: &str,
        usual: &str,
    ) -> io::Result<Option<bool>> {
        let answer = self.ask(verb, argument);
        self.carry_out(&answer, usual)
    }

    fn ask(&self, verb: &str, argument: &str) -> Answer {
        (self.script.answer)(&Step {
            verb,
            argument,
            connection: self.number,
        })
    }

    /// Whether the answer was positive; `None` at the end of the connection.
    fn carry_out(&mut self, answer: &Answer, usual: &str) -> io::Result<Option<bool>> {
        match answer {
            Answer::Accept => self.say(usual)?,
            Answer::Slowly(pause) => {
                std::thread::sleep(*pause);
                self.say(usual)?;
            }
            Answer::Say(line) => {
                self.say(line)?;
                return Ok(Some(line.starts_with(['2', '3'])));
            }
            Answer::Close(line) => {
                self.say(line)?;
                return Ok(None);
            }
            Answer::Drop | Answer::TakeAndDrop => return Ok(None),
        }
        Ok(Some(true))
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.output.write_all(format!("{line}\r\n").as_bytes())
    }
}

fn empty(connection: usize) -> Received {
    Received {
        sender: String::new(),
        recipients: Vec::new(),
        content: Vec::new(),
        id: None,
        connection,
        parameters: String::new(),
        by_bdat: false,
        at: 0,
    }
}

/// `FROM:<a@b> C` gives `a@b` and `C`.
fn path(argument: &str) -> (String, String) {
    let (_, rest) = argument.split_once('<').unwrap_or(("", argument));
    let (path, parameters) = rest.rsplit_once('>').unwrap_or((rest, ""));
    (path.to_owned(), parameters.trim().to_owned())
}
