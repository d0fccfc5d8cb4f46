//! AUTH on both sides: whose password is right, and what is said of it. The exchanges are the
//! engine's own.

use super::tape::Tape;
use mailrail_protocol::reply::Reply;
use mailrail_protocol::sasl::{Mechanism, Mechanisms, client, server};

const USER: &str = "tim";
const SECRET: &str = "tanstaaf";

/// The client's side.
pub(crate) struct Login {
    exchange: client::Exchange,
    is_right: bool,
    /// Nothing is said with AUTH itself.
    late: bool,
}

impl Login {
    /// By one of the mechanisms that are offered, with the right secret or a wrong one.
    pub(crate) fn new(offered: Mechanisms, tape: &mut Tape<'_>) -> Option<Self> {
        let known = MECHANISMS.into_iter().filter(|one| offered.has(*one));
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            return None;
        }
        let mechanism = known[tape.choice(known.len() as u8)];
        let is_right = tape.choice(3) != 2;
        // So long that it does not fit into the line of AUTH.
        let wrong = ["wrong".to_owned(), "w".repeat(600)];
        let secret = if is_right {
            SECRET
        } else {
            &wrong[tape.choice(2)]
        };
        let exchange = match mechanism {
            Mechanism::Login => client::Exchange::login(USER, secret),
            Mechanism::XOAuth2 => client::Exchange::x_oauth2(USER, secret),
            Mechanism::OAuthBearer => {
                client::Exchange::oauth_bearer(USER, "mx.example", Some(25), secret)
            }
            Mechanism::External => client::Exchange::external(if is_right { "" } else { "bob" }),
            _ => client::Exchange::plain("", USER, secret),
        };
        Some(Self {
            exchange: exchange.expect("names and secrets that can be sent"),
            is_right,
            late: tape.choice(2) == 1,
        })
    }

    pub(crate) const fn mechanism(&self) -> Mechanism {
        self.exchange.mechanism()
    }

    pub(crate) fn initial(&self) -> Option<&[u8]> {
        self.exchange.initial().filter(|_| !self.late)
    }

    /// `None`: give up.
    pub(crate) fn respond(&mut self, challenge: &[u8], tape: &mut Tape<'_>) -> Option<&[u8]> {
        if tape.rarely() {
            return None;
        }
        self.exchange.respond(challenge).ok()
    }

    pub(crate) fn is_right(&self) -> bool {
        self.is_right && self.exchange.finish().is_ok()
    }
}

/// Those that are tried here; SCRAM has tests of its own, and takes its time.
pub(crate) const MECHANISMS: [Mechanism; 5] = [
    Mechanism::Plain,
    Mechanism::Login,
    Mechanism::XOAuth2,
    Mechanism::OAuthBearer,
    Mechanism::External,
];

/// The server's side.
pub(crate) struct Door(server::Exchange);

/// What the server says.
pub(crate) enum Opened {
    Challenge(Vec<u8>),
    Reply(&'static Reply<'static>),
}

impl Door {
    pub(crate) const fn new(mechanism: Mechanism) -> Self {
        Self(server::Exchange::new(mechanism))
    }

    pub(crate) fn receive(&mut self, response: Option<&[u8]>) -> Opened {
        use mailrail_protocol::sasl::server::Step;
        let next = match self.0.receive(response) {
            Step::Token { token, .. } if token != SECRET => {
                self.0.refuse_token(r#"{"status":"invalid_token"}"#)
            }
            next => next,
        };
        let right = match next {
            Step::Challenge(octets) => return Opened::Challenge(octets.to_vec()),
            Step::Failed(reply) => return Opened::Reply(reply),
            Step::Password { user, password, .. } => (user, password) == (USER, SECRET),
            Step::Token { .. } => true,
            Step::External { authorization } => authorization.is_empty(),
            other => panic!("no mechanism here does that: {other:?}"),
        };
        Opened::Reply(if right {
            &Reply::AUTHENTICATED
        } else {
            &Reply::BAD_CREDENTIALS
        })
    }
}
