//! What comes before the first message: greeting, EHLO, TLS, AUTH.

use super::{ANSWER_US_MAX, Dialogue, End, describe};
use crate::cli::Tls;
use crate::source::tally::Step;
use mailrail_protocol::client::Event;
use mailrail_protocol::extension::{Extension, Extensions};
use mailrail_protocol::sasl::Mechanism;
use mailrail_protocol::time::Instant;
use mailrail_runtime::clock;

/// What comes behind an answer.
enum Opened {
    NotYet,
    Read,
    Ready,
    /// A handshake is due.
    Handshake,
}

impl Dialogue<'_> {
    /// Leads the dialogue up to its first message.
    ///
    /// # Errors
    /// When it does not come so far.
    pub(in crate::source) async fn open(&mut self) -> Result<(), End> {
        let mut is_greeted = false;
        if self.world.work.plan.tls == Tls::Implicit {
            self.shake_hands().await?;
            self.started = self.now;
        }
        loop {
            match self.hear_opening(&mut is_greeted)? {
                Opened::NotYet => {}
                Opened::Ready => break,
                Opened::Handshake => {
                    self.shake_hands().await?;
                    self.session.tls_established(self.outgoing.commands());
                }
                Opened::Read => {
                    self.flush().await?;
                    self.read(ANSWER_US_MAX).await?;
                }
            }
        }
        self.world.tally.borrow_mut().ready_count += 1;
        Ok(())
    }

    /// Becomes a TLS connection. What had come in clear text before is the protocol's to refuse.
    async fn shake_hands(&mut self) -> Result<(), End> {
        let Some(connector) = &self.world.connector else {
            return Err(End::Useless("a handshake that nobody asked for".into()));
        };
        let name = self.world.work.plan.server.ip().to_string();
        let from = clock::micros();
        let deadline = clock::after(ANSWER_US_MAX);
        let shaken = self.stream.connect_tls(connector, &name, deadline).await;
        self.now = clock::micros();
        match shaken {
            Ok(_) => {
                let mut tally = self.world.tally.borrow_mut();
                tally.took(Step::Tls, from, self.now);
                Ok(())
            }
            Err(error) => Err(End::Lost(format!("TLS: {}", describe(&error)))),
        }
    }

    fn hear_opening(&mut self, is_greeted: &mut bool) -> Result<Opened, End> {
        let mut input = self.inbox.unread();
        let before = input.len();
        let commands = self.outgoing.commands();
        let now = Instant::from_micros(self.now);
        let event = self.session.receive(now, &mut input, commands);
        let used = before - input.len();
        let opened = match event {
            Event::NeedInput => return Ok(Opened::Read),
            Event::Answered => {
                if !std::mem::replace(is_greeted, true) {
                    let mut tally = self.world.tally.borrow_mut();
                    tally.took(Step::Connect, self.started, self.now);
                }
                Opened::NotYet
            }
            Event::Ready(extensions) => {
                self.inbox.consume(used);
                return self.introduced(extensions);
            }
            Event::Authenticated(_) => Opened::Ready,
            Event::Handshake => Opened::Handshake,
            Event::Challenge(_) => {
                let login = self.world.work.plan.login.as_deref().unwrap_or_default();
                self.session.respond(login, self.outgoing.commands());
                Opened::NotYet
            }
            Event::AuthRefused(answer) => {
                return Err(End::Useless(format!("AUTH is refused: {answer}")));
            }
            Event::TlsRefused(answer) => {
                return Err(End::Useless(format!("STARTTLS is refused: {answer}")));
            }
            Event::Close(answer) => {
                self.world.tally.borrow_mut().answered(&answer);
                return Err(End::Lost(answer.to_string()));
            }
            Event::Broken(violation, _) => {
                return Err(End::Lost(format!("broke the protocol: {violation}")));
            }
            _ => return Err(End::Lost("broke the protocol before EHLO".into())),
        };
        self.inbox.consume(used);
        Ok(opened)
    }

    /// The server has said what it offers.
    fn introduced(&mut self, extensions: Extensions) -> Result<Opened, End> {
        let plan = &self.world.work.plan;
        let useless = |what: &str| Err(End::Useless(format!("the server does not offer {what}")));
        if plan.tls == Tls::Starttls && !self.session.is_encrypted() {
            if !extensions.has(Extension::StartTls) {
                return useless("STARTTLS");
            }
            self.session.start_tls(self.outgoing.commands());
            return Ok(Opened::NotYet);
        }
        let Some(login) = plan.login.as_deref() else {
            return Ok(Opened::Ready);
        };
        if !extensions.mechanisms().has(Mechanism::Plain) {
            return useless("AUTH PLAIN");
        }
        let commands = self.outgoing.commands();
        // Too long for the command's line, it is said when it is asked for.
        let _ = self.session.auth(Mechanism::Plain, Some(login), commands);
        Ok(Opened::NotYet)
    }
}
