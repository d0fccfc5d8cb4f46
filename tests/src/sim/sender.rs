//! The clients of a run: each hands over its messages in its own manner, and notes what it was told.
//!
//! A message is tried again only while its content has not been sent to its end: so that a second copy is
//! always the server's doing.

use super::mail::Mail;
use super::plan::{Client, Manner, Plan, Quirk, SERVER};
use super::scenario::Shared;
use crate::message::stuffed;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::sim::{Chance, World};
use mailrail_runtime::{clock, timer};
use std::io;
use std::net::SocketAddr;

/// How long the server may take for anything, in microseconds.
const PATIENCE: u64 = 30_000_000;
/// Between two connections of one client.
const AGAIN_MICROS: u64 = 700_000;
/// How often a message is tried.
const TRIES: u32 = 8;

/// What came of a try.
enum Tried {
    /// It is over with this message.
    Over,
    /// It was not sent to its end.
    Again,
}

/// Hands over all messages of a client.
pub(super) async fn run(world: World, shared: Shared, index: usize) {
    let plan = shared.plan();
    let client = &plan.clients[index];
    let mut chance = world.chance().fork();
    timer::sleep(client.start).await;
    if client.manner == Manner::Hostile {
        return talk_nonsense(client, &mut chance).await;
    }
    let mut next = 0;
    let mut tries = 0;
    while next < client.mails.len() {
        if let Ok(mut wire) = Wire::open(client, &mut chance).await {
            let talk = wire.talk(&plan, &shared, client, &mut next, &mut tries);
            // A connection that breaks is part of the plan.
            let _: io::Result<()> = talk.await;
        }
        tries += 1;
        let has_left = |(number, _): &(usize, Quirk)| shared.has_left(*number);
        if tries > TRIES || client.mails.get(next).is_some_and(has_left) {
            (next, tries) = (next + 1, 0);
        }
        timer::sleep(AGAIN_MICROS).await;
    }
}

fn address(client: &Client) -> SocketAddr {
    SocketAddr::new(SERVER, 2525 + client.listener as u16)
}

async fn talk_nonsense(client: &Client, chance: &mut Chance) {
    const WORDS: &[&[u8]] = &[
        b"EHLO x.example\r\n",
        b"HELO\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<nobody@d0.example>\r\n",
        b"RCPT TO:\r\n",
        b"RSET\r\n",
        b"NOOP ",
        b"VRFY x\r\n",
        b"\r\n",
        b"\0\xff",
        b"BDAT x\r\n",
        b"AUTH PLAIN AAAA\r\n",
        b"STARTTLS\r\n",
        b".\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for _ in 0..3 {
        let until = clock::after(PATIENCE);
        if let Ok(mut stream) = Stream::connect(address(client), None, until).await {
            for _ in 0..chance.below(30) {
                let mut bytes = chance.pick(WORDS).to_vec();
                if chance.below(4) == 0 {
                    let at = bytes.len();
                    bytes.resize(at + chance.below(2000) as usize, 0);
                    chance.fill(&mut bytes[at..]);
                    // Never a whole DATA: what it offers must not become a message.
                    bytes.retain(|byte| *byte != b'D' && *byte != b'd');
                }
                if stream.write_all(&bytes, until).await.is_err() {
                    break;
                }
                let mut space = [0; 512];
                if chance.below(3) == 0
                    && stream.read(&mut space, clock::after(50_000)).await.is_err()
                {
                    continue;
                }
            }
        }
        timer::sleep(client.pause).await;
    }
}

/// A connection to the server.
struct Wire<'c> {
    stream: Stream,
    unread: Vec<u8>,
    chance: &'c mut Chance,
}

impl<'c> Wire<'c> {
    async fn open(client: &Client, chance: &'c mut Chance) -> io::Result<Self> {
        let stream = Stream::connect(address(client), None, clock::after(PATIENCE)).await?;
        Ok(Self {
            stream,
            unread: Vec::new(),
            chance,
        })
    }

    /// As many messages as this connection carries.
    async fn talk(
        &mut self,
        plan: &Plan,
        shared: &Shared,
        client: &Client,
        next: &mut usize,
        tries: &mut u32,
    ) -> io::Result<()> {
        self.expect(220).await?;
        self.write(b"EHLO client.example\r\n").await?;
        self.expect(250).await?;
        while let Some((number, quirk)) = client.mails.get(*next).copied() {
            let mail = &plan.mails[number];
            match self.send(shared, client, mail, quirk).await? {
                Tried::Over => (*next, *tries) = (*next + 1, 0),
                Tried::Again => return Ok(()),
            }
            timer::sleep(1 + self.chance.below(client.pause)).await;
        }
        self.write(b"QUIT\r\n").await?;
        self.expect(221).await
    }

    /// One message. An error is a connection that broke, or that has to be given up.
    async fn send(
        &mut self,
        shared: &Shared,
        client: &Client,
        mail: &Mail,
        quirk: Quirk,
    ) -> io::Result<Tried> {
        let is_chunked = client.manner == Manner::Chunked;
        let content = mail.content();
        let mut commands = vec![self.mail_line(mail, content.len())];
        for recipient in &mail.recipients {
            commands.push(format!("RCPT TO:<{recipient}>\r\n"));
        }
        if client.manner == Manner::Stepwise || quirk == Quirk::Reset {
            for command in &commands {
                self.write(command.as_bytes()).await?;
                let (code, _) = self.reply().await?;
                if let Some(tried) = refused(shared, mail, code, false) {
                    return Ok(tried);
                }
            }
            if quirk == Quirk::Reset {
                self.write(b"RSET\r\n").await?;
                self.expect(250).await?;
                return Ok(Tried::Over);
            }
            commands.clear();
        }
        let count = commands.len();
        let envelope = commands.concat();
        let hangs_up = match quirk {
            Quirk::HangUp(len) => Some(len),
            _ => None,
        };
        if is_chunked {
            return self
                .send_chunks(shared, client, mail, &content, (&envelope, count), hangs_up)
                .await;
        }
        self.write(format!("{envelope}DATA\r\n").as_bytes()).await?;
        let refusal = self.replies(count).await?;
        let (code, _) = self.reply().await?;
        if code != 354 {
            let code = refusal.unwrap_or(code);
            return match refused(shared, mail, code, false) {
                Some(tried) => Ok(tried),
                None => Err(io::ErrorKind::InvalidData.into()),
            };
        }
        if refusal.is_some() {
            // Some recipients were refused, and the others would get it: not in these runs.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let wire = stuffed(&content);
        let last = wire.len().saturating_sub(client.piece);
        let end = hangs_up.map_or(wire.len(), |len| len.min(wire.len() - 5));
        let mut at = 0;
        while at < end {
            let to = end.min(at + client.piece.max(wire.len() / 50));
            if hangs_up.is_none() && (to == end || to > last) {
                shared.offered(mail.number, client.listener);
            }
            self.write(&wire[at..to]).await?;
            at = to;
            if quirk == Quirk::Slow {
                timer::sleep(1 + self.chance.below(200_000)).await;
            }
        }
        if hangs_up.is_some() {
            shared.given_up(mail.number);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.hear_end(shared, client, mail).await
    }

    async fn send_chunks(
        &mut self,
        shared: &Shared,
        client: &Client,
        mail: &Mail,
        content: &[u8],
        (envelope, count): (&str, usize),
        hangs_up: Option<usize>,
    ) -> io::Result<Tried> {
        let mut wire = envelope.as_bytes().to_vec();
        let mut rest = content;
        let mut chunk_count = 0;
        while rest.len() > 1 && chunk_count < 20 && self.chance.below(3) > 0 {
            let len = 1 + self.chance.below(rest.len() as u64 - 1) as usize;
            wire.extend_from_slice(format!("BDAT {len}\r\n").as_bytes());
            wire.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
            chunk_count += 1;
        }
        if let Some(len) = hangs_up {
            wire.truncate(wire.len().min(envelope.len() + len));
            self.write(&wire).await?;
            shared.given_up(mail.number);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        wire.extend_from_slice(format!("BDAT {} LAST\r\n", rest.len()).as_bytes());
        wire.extend_from_slice(rest);
        // All of it leaves at once.
        shared.offered(mail.number, client.listener);
        self.write(&wire).await?;
        let mut refusal = self.replies(count).await?;
        for _ in 0..chunk_count {
            let (code, _) = self.reply().await?;
            if code >= 400 {
                refusal.get_or_insert(code);
            }
        }
        if let Some(code) = refusal {
            let (last, _) = self.reply().await?;
            if last < 400 {
                // Some recipients were refused, and the others got it.
                return Err(io::ErrorKind::InvalidData.into());
            }
            // Whether the envelope or the content was refused makes no difference: it is over.
            shared.refused(mail.number, code);
            return Ok(Tried::Over);
        }
        self.hear_end(shared, client, mail).await
    }

    async fn hear_end(
        &mut self,
        shared: &Shared,
        client: &Client,
        mail: &Mail,
    ) -> io::Result<Tried> {
        let (code, text) = self.reply().await?;
        if code == 250 {
            let id = text.rsplit(' ').next().unwrap_or_default();
            shared.accepted(mail.number, client.listener, id);
        } else {
            shared.refused(mail.number, code);
            if code == 421 {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(Tried::Over)
    }

    fn mail_line(&mut self, mail: &Mail, len: usize) -> String {
        let size = match self.chance.below(2) {
            0 => format!(" SIZE={len}"),
            _ => String::new(),
        };
        let body = match mail.shape {
            super::mail::Shape::EightBit => " BODY=8BITMIME",
            _ => "",
        };
        format!("MAIL FROM:<{}>{size}{body}\r\n", mail.sender)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes, clock::after(PATIENCE)).await
    }

    /// So many replies; the first of them that is a refusal.
    async fn replies(&mut self, count: usize) -> io::Result<Option<u16>> {
        let mut refusal = None;
        for _ in 0..count {
            let (code, _) = self.reply().await?;
            if code >= 400 {
                refusal.get_or_insert(code);
            }
        }
        Ok(refusal)
    }

    async fn expect(&mut self, wanted: u16) -> io::Result<()> {
        match self.reply().await? {
            (code, _) if code == wanted => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// One reply: its code, and its last line.
    async fn reply(&mut self) -> io::Result<(u16, String)> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).take(end).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                if line.as_bytes().get(3) == Some(&b'-') {
                    continue;
                }
                let code = line.get(..3).and_then(|code| code.parse().ok());
                let code = code.ok_or(io::ErrorKind::InvalidData)?;
                return Ok((code, line));
            }
            let mut space = [0; 1024];
            match self.stream.read(&mut space, clock::after(PATIENCE)).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.unread.extend_from_slice(&space[..count]),
            }
        }
    }
}

/// What a refusal before the content means.
fn refused(shared: &Shared, mail: &Mail, code: u16, is_offered: bool) -> Option<Tried> {
    match code {
        ..400 => None,
        400..500 if !is_offered => Some(Tried::Again),
        _ => {
            shared.refused(mail.number, code);
            Some(Tried::Over)
        }
    }
}
