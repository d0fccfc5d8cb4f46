//! The next hosts of a run. Each has its mood while the storm lasts, and takes everything afterwards; what
//! it takes it notes before it says so.

use super::plan::Host;
use super::scenario::Shared;
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::shard::{self, Lane};
use mailrail_runtime::sim::{Chance, World};
use mailrail_runtime::{clock, timer};
use std::io;
use std::net::SocketAddr;

/// How long the server may take for anything, in microseconds.
const PATIENCE: u64 = 30_000_000;

/// Serves a host's connections for ever.
pub(super) async fn run(world: World, shared: Shared, index: usize) {
    let plan = shared.plan();
    let address = SocketAddr::new(plan.hosts[index].address, 25);
    let listener = Listener::bind(address).expect("a machine of its own");
    loop {
        let Ok(stream) = listener.accept().await else {
            continue;
        };
        let session = Session {
            stream,
            unread: Vec::new(),
            out: Vec::new(),
            chance: world.chance().fork(),
            index,
            life: shared.life(),
            is_null: false,
            recipients: Vec::new(),
            content: Vec::new(),
            reply_count: 0,
            silent_after: u64::MAX,
            cut_after: u64::MAX,
            read_count: 0,
        };
        let shared = shared.clone();
        shard::spawn(Lane::Accept, async move {
            // A connection that breaks is part of the plan.
            let _: io::Result<()> = session.serve(&shared).await;
        })
        .detach();
    }
}

struct Session {
    stream: Stream,
    unread: Vec<u8>,
    out: Vec<u8>,
    chance: Chance,
    index: usize,
    /// The life of the server that has connected: what it sent may be read in a later one.
    life: usize,
    is_null: bool,
    recipients: Vec<String>,
    content: Vec<u8>,
    reply_count: u64,
    silent_after: u64,
    cut_after: u64,
    read_count: u64,
}

fn broken<T>() -> io::Result<T> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

impl Session {
    async fn serve(mut self, shared: &Shared) -> io::Result<()> {
        let plan = shared.plan();
        let host = &plan.hosts[self.index];
        if shared.is_storm() {
            if self.chance.in_a_million(host.mood.turned_away) {
                let words: &[u8] = match self.chance.below(2) {
                    0 => b"421 4.3.2 come again\r\n",
                    _ => b"554 5.3.2 not now\r\n",
                };
                return self.stream.write_all(words, clock::after(PATIENCE)).await;
            }
            if self.chance.in_a_million(host.mood.silent) {
                self.silent_after = self.chance.below(10);
            }
            if self.chance.in_a_million(host.mood.cut) {
                self.cut_after = self.chance.below(6000);
            }
        }
        self.say("220 sink.example ready").await?;
        loop {
            let line = self.line().await?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let verb: String = text
                .chars()
                .take(4)
                .collect::<String>()
                .to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => match &host.offers {
                    Some(offers) => {
                        let mut lines = vec!["sink.example"];
                        lines.extend(offers);
                        let last = lines.len() - 1;
                        for (at, line) in lines.into_iter().enumerate() {
                            let dash = if at == last { ' ' } else { '-' };
                            self.out
                                .extend_from_slice(format!("250{dash}{line}\r\n").as_bytes());
                        }
                        self.answered().await?;
                    }
                    None => self.say("502 5.5.1 what").await?,
                },
                "HELO" => self.say("250 sink.example").await?,
                "MAIL" => {
                    self.is_null = text.contains("<>");
                    self.recipients.clear();
                    self.content.clear();
                    self.say("250 2.1.0 ok").await?;
                }
                "RCPT" => self.recipient(shared, host, &text).await?,
                "DATA" if self.recipients.is_empty() => self.say("503 5.5.1 to whom").await?,
                "DATA" => {
                    self.say("354 go on").await?;
                    self.data().await?;
                    self.end(shared, host).await?;
                }
                "BDAT" => {
                    let mut words = text.split_ascii_whitespace().skip(1);
                    let len = words.next().and_then(|len| len.parse::<usize>().ok());
                    let is_last = words.next().is_some();
                    let chunk = self.take(len.unwrap_or(0)).await?;
                    self.content.extend_from_slice(&chunk);
                    if self.recipients.is_empty() {
                        self.say("503 5.5.1 to whom").await?;
                    } else if is_last {
                        self.end(shared, host).await?;
                    } else {
                        self.say("250 2.0.0 more").await?;
                    }
                }
                "RSET" => {
                    self.recipients.clear();
                    self.content.clear();
                    self.say("250 2.0.0 ok").await?;
                }
                "NOOP" => self.say("250 2.0.0 ok").await?,
                "QUIT" => {
                    self.say("221 2.0.0 bye").await?;
                    return self.flush().await;
                }
                _ => self.say("500 5.5.2 what").await?,
            }
        }
    }

    async fn recipient(&mut self, shared: &Shared, host: &Host, line: &str) -> io::Result<()> {
        let start = line.find('<').map_or(0, |at| at + 1);
        let end = line.find('>').unwrap_or(line.len());
        let recipient = line[start..end].to_owned();
        if shared.is_storm() {
            if self.chance.in_a_million(host.mood.deferred) {
                return self.say("450 4.2.1 busy").await;
            }
            if self.chance.in_a_million(host.mood.refused) {
                shared.refused_by_host(&recipient);
                return self.say("550 5.1.1 nobody").await;
            }
        }
        self.recipients.push(recipient);
        self.say("250 2.1.5 ok").await
    }

    /// The content is there.
    async fn end(&mut self, shared: &Shared, host: &Host) -> io::Result<()> {
        let recipients = std::mem::take(&mut self.recipients);
        let content = std::mem::take(&mut self.content);
        if shared.is_storm() {
            if self.chance.in_a_million(host.mood.deferred_at_end) {
                return self.say("451 4.3.2 busy").await;
            }
            if self.chance.in_a_million(host.mood.refused_at_end) {
                for recipient in &recipients {
                    shared.refused_by_host(recipient);
                }
                return self.say("554 5.7.1 unwanted").await;
            }
        }
        shared.taken(self.life, self.is_null, &recipients, &content);
        if shared.is_storm() && self.chance.in_a_million(host.mood.taken_in_silence) {
            return broken();
        }
        self.say("250 2.0.0 taken").await
    }

    async fn data(&mut self) -> io::Result<()> {
        loop {
            let mut line = self.line().await?;
            if line == b"." {
                return Ok(());
            }
            //= RFC 5321 section 4.5.2: a line that starts with a dot loses it, unless the dot is all there is
            if line.first() == Some(&b'.') {
                line.remove(0);
            }
            self.content.extend_from_slice(&line);
            self.content.extend_from_slice(b"\r\n");
        }
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.answered().await
    }

    /// A reply stands in the output.
    async fn answered(&mut self) -> io::Result<()> {
        self.reply_count += 1;
        if self.reply_count > self.silent_after {
            // It hears nothing and says nothing, until its machine gives up.
            timer::sleep(20_000_000).await;
            return broken();
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        self.stream.write_all(&out, clock::after(PATIENCE)).await
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.flush().await?;
        let mut space = [0; 4096];
        let most = (self.cut_after - self.read_count).min(space.len() as u64) as usize;
        if most == 0 {
            return broken();
        }
        let read = self.stream.read(&mut space[..most], clock::after(PATIENCE));
        match read.await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.read_count += count as u64;
                self.unread.extend_from_slice(&space[..count]);
                Ok(())
            }
        }
    }

    /// One line without its end.
    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut seen = 0;
        loop {
            let found = self.unread[seen..]
                .windows(2)
                .position(|two| two == b"\r\n");
            if let Some(end) = found {
                let end = seen + end;
                let line = self.unread[..end].to_vec();
                self.unread.drain(..end + 2);
                return Ok(line);
            }
            seen = self.unread.len().saturating_sub(1);
            self.fill().await?;
        }
    }

    async fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < len {
            self.fill().await?;
        }
        Ok(self.unread.drain(..len).collect())
    }
}
