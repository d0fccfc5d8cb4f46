//! The client's side of an exchange: challenges in, responses out. It knows the order in which each
//! mechanism speaks; the forms of the messages are in the mechanisms' files.

use super::{Mechanism, RESPONSE_LEN_MAX, base64, external, login, oauth, plain};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "scram")]
use super::scram::client::Client;
#[cfg(feature = "scram")]
use core::ops::RangeInclusive;

/// Why an exchange cannot begin, or cannot go on: cancel it, or hang up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// These names, passwords or tokens cannot be sent in this mechanism.
    Credentials,
    /// The challenge is not base64.
    Base64,
    /// The challenge is longer than [`RESPONSE_LEN_MAX`].
    TooLong,
    /// The challenge is not what the mechanism wants there.
    Malformed,
    /// There can be no challenge here, or no success.
    Unexpected,
    /// The server has said that it refuses; [`Exchange::error`] has its words.
    Refused,
    /// SCRAM: the server's nonce does not continue ours.
    Nonce,
    /// SCRAM: more or fewer iterations than the client would compute.
    Iterations(u32),
    /// SCRAM: the server has not proved that it knows the password: it may be anybody.
    Unproved,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credentials => "the credentials cannot be sent in this mechanism",
            Self::Base64 => "the challenge is not base64",
            Self::TooLong => "the challenge is too long",
            Self::Malformed => "the challenge is not what the mechanism wants",
            Self::Unexpected => "the server is not in step with the mechanism",
            Self::Refused => "the server refuses the credentials",
            Self::Nonce => "the server's nonce does not continue the client's",
            Self::Iterations(count) => {
                return write!(f, "the server wants {count} iterations");
            }
            Self::Unproved => "the server has not proved itself",
        })
    }
}

impl core::error::Error for Fault {}

/// Where an exchange stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first message is due, or on its way with AUTH.
    First,
    /// It was sent in answer to an empty challenge.
    Sent,
    /// LOGIN: the password is due. SCRAM: the server's proof is.
    Second,
    /// Nothing more is due.
    Last,
    /// It has failed.
    Failed,
}

/// What the mechanism says after its first message.
enum Rest {
    /// Nothing.
    None,
    /// To an error: these octets.
    Error(&'static [u8]),
    /// LOGIN: the password.
    Password(String),
    #[cfg(feature = "scram")]
    Scram(Client),
}

/// One exchange, from AUTH to the reply that ends it. See the [module](super) for the loop.
///
/// It owns the last challenge and the last response, each bounded by [`RESPONSE_LEN_MAX`] in what it
/// reads. Passwords in it are not wiped from memory when it is dropped.
pub struct Exchange {
    mechanism: Mechanism,
    phase: Phase,
    /// Decoded.
    challenge: Vec<u8>,
    /// The first message at first.
    response: Vec<u8>,
    rest: Rest,
}

impl Exchange {
    const fn new(mechanism: Mechanism, first: Vec<u8>, rest: Rest) -> Self {
        Self {
            mechanism,
            phase: Phase::First,
            challenge: Vec::new(),
            response: first,
            rest,
        }
    }

    /// PLAIN: as `user`, or, if that is not empty, as `authorization` with the password of `user`.
    /// For connections behind TLS.
    ///
    /// # Errors
    /// [`Fault::Credentials`] if the user or the password is empty, or anything holds NUL.
    pub fn plain(authorization: &str, user: &str, password: &str) -> Result<Self, Fault> {
        let mut first = Vec::new();
        if !plain::write(authorization, user, password, &mut first) {
            return Err(Fault::Credentials);
        }
        Ok(Self::new(Mechanism::Plain, first, Rest::None))
    }

    /// LOGIN. For connections behind TLS, to servers that have nothing better.
    ///
    /// # Errors
    /// [`Fault::Credentials`] if either is empty or holds NUL.
    pub fn login(user: &str, password: &str) -> Result<Self, Fault> {
        if !login::is_sound(user) || !login::is_sound(password) {
            return Err(Fault::Credentials);
        }
        let first = user.as_bytes().to_vec();
        let rest = Rest::Password(password.to_owned());
        Ok(Self::new(Mechanism::Login, first, rest))
    }

    /// XOAUTH2. For connections behind TLS.
    ///
    /// # Errors
    /// [`Fault::Credentials`] if either is empty, the user holds NUL or ^A, or the token anything but
    /// visible ASCII.
    pub fn x_oauth2(user: &str, token: &str) -> Result<Self, Fault> {
        let mut first = Vec::new();
        if !oauth::write_x(user, token, &mut first) {
            return Err(Fault::Credentials);
        }
        //= https://developers.google.com/gmail/imap/xoauth2-protocol section "error response": the client answers with an empty response
        Ok(Self::new(Mechanism::XOAuth2, first, Rest::Error(b"")))
    }

    /// OAUTHBEARER: as whoever the token names, or, if that is not empty, as `authorization`; and
    /// which host and port the client meant to reach, unless that is empty and `None`. For connections
    /// behind TLS.
    ///
    /// # Errors
    /// [`Fault::Credentials`] if the identity holds NUL or ^A, the host or the token anything but
    /// visible ASCII, the token is empty or the port is 0.
    pub fn oauth_bearer(
        authorization: &str,
        host: &str,
        port: Option<u16>,
        token: &str,
    ) -> Result<Self, Fault> {
        let mut first = Vec::new();
        if !oauth::write_bearer(authorization, host, port, token, &mut first) {
            return Err(Fault::Credentials);
        }
        let rest = Rest::Error(oauth::DUMMY);
        Ok(Self::new(Mechanism::OAuthBearer, first, rest))
    }

    /// EXTERNAL: as whoever the client's certificate names, or, if that is not empty, as
    /// `authorization`.
    ///
    /// # Errors
    /// [`Fault::Credentials`] if it holds NUL.
    pub fn external(authorization: &str) -> Result<Self, Fault> {
        if !external::is_sound(authorization) {
            return Err(Fault::Credentials);
        }
        let first = authorization.as_bytes().to_vec();
        Ok(Self::new(Mechanism::External, first, Rest::None))
    }

    /// Which mechanism it is.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The initial response, which may go with AUTH: raw, and perhaps empty, which is written `=`. `None` if the
    /// mechanism has none. It need not be sent so: an empty challenge is answered by the same.
    #[must_use]
    pub fn initial(&self) -> Option<&[u8]> {
        // The server speaks first in LOGIN; there are some that do not understand otherwise.
        let begins = self.phase == Phase::First && self.mechanism != Mechanism::Login;
        begins.then_some(&*self.response)
    }

    /// Answers a challenge, which is in base64 as the session's events carry it: the response, raw.
    ///
    /// In SCRAM this computes what the server wants computed, up to `with_iterations`, before it
    /// returns.
    ///
    /// # Errors
    /// The exchange cannot go on: cancel it, or hang up.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<&[u8], Fault> {
        let phase = core::mem::replace(&mut self.phase, Phase::Failed);
        self.challenge.clear();
        if challenge.len() > RESPONSE_LEN_MAX {
            return Err(Fault::TooLong);
        }
        //= RFC 4954 section 4: a client that cannot decode a challenge cancels the exchange
        if !base64::decode(challenge, &mut self.challenge) {
            return Err(Fault::Base64);
        }
        match (&mut self.rest, phase) {
            (Rest::Password(_), Phase::First) => self.phase = Phase::Second,
            (Rest::Password(password), Phase::Second) => {
                self.response.clear();
                self.response.extend_from_slice(password.as_bytes());
                self.phase = Phase::Last;
            }
            //= RFC 4954 section 4: an empty challenge asks for the first message
            (_, Phase::First) if self.challenge.is_empty() => self.phase = Phase::Sent,
            (Rest::Error(answer), Phase::First | Phase::Sent) => {
                self.response.clear();
                self.response.extend_from_slice(answer);
                self.phase = Phase::Last;
            }
            #[cfg(feature = "scram")]
            (Rest::Scram(client), Phase::First | Phase::Sent) => {
                self.response.clear();
                client.first(&self.challenge, &mut self.response)?;
                self.phase = Phase::Second;
            }
            #[cfg(feature = "scram")]
            (Rest::Scram(client), Phase::Second) => {
                client.last(&self.challenge)?;
                //= RFC 4422 section 5: to data that goes with success as a challenge, the response is empty
                self.response.clear();
                self.phase = Phase::Last;
            }
            _ => return Err(Fault::Unexpected),
        }
        Ok(&self.response)
    }

    /// What the server has said of its refusal: JSON in OAUTHBEARER and XOAUTH2
    /// (RFC 7628 section 3.2.2), `e=` and a word in SCRAM.
    #[must_use]
    pub fn error(&self) -> Option<&[u8]> {
        let told = match (&self.rest, self.phase) {
            (Rest::Error(_), Phase::Last) => true,
            #[cfg(feature = "scram")]
            (Rest::Scram(_), Phase::Failed) => self.challenge.starts_with(b"e="),
            _ => false,
        };
        told.then_some(&*self.challenge)
    }

    /// To be asked when the server has replied 235: may it be believed?
    ///
    /// # Errors
    /// The exchange was not at its end. After [`Fault::Unproved`] the server did not know the
    /// password: hang up, and give it nothing.
    //= RFC 5802 section 5: without the server's proof the exchange has not succeeded
    pub const fn finish(&self) -> Result<(), Fault> {
        match (&self.rest, self.phase) {
            (_, Phase::Failed) => Err(Fault::Unexpected),
            (Rest::Error(_), Phase::Last) => Err(Fault::Refused),
            #[cfg(feature = "scram")]
            (Rest::Scram(client), _) if !client.proved => Err(Fault::Unproved),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "scram")]
impl Exchange {
    /// SCRAM-SHA-256, without channel binding. The nonce is of the caller's randomness, never used
    /// before, of 18 octets or more of it.
    ///
    /// # Errors
    /// [`Fault::Credentials`] if either cannot be [prepared](super::prepare).
    ///
    /// # Panics
    /// If the nonce is empty, or holds a comma or anything but visible ASCII. (Base64 is fine.)
    pub fn scram_sha_256(user: &str, password: &str, nonce: &str) -> Result<Self, Fault> {
        let client = Client::new(user, password, nonce).ok_or(Fault::Credentials)?;
        Ok(Self::scram(Mechanism::ScramSha256, client))
    }

    /// SCRAM-SHA-256-PLUS: bound to the connection, so that nobody can sit in between. `kind` is
    /// the name of a kind of binding (`tls-exporter`, RFC 9266 section 2; `tls-server-end-point`, RFC 5929 section 4),
    /// `data` its octets for this connection.
    ///
    /// # Errors
    /// [`Fault::Credentials`] if the user or the password cannot be [prepared](super::prepare), the
    /// kind cannot be a name, or there is no data.
    ///
    /// # Panics
    /// As `scram_sha_256`.
    pub fn scram_sha_256_plus(
        user: &str,
        password: &str,
        nonce: &str,
        kind: &str,
        data: &[u8],
    ) -> Result<Self, Fault> {
        let client = Client::new(user, password, nonce).ok_or(Fault::Credentials)?;
        let mut exchange = Self::scram(Mechanism::ScramSha256Plus, client);
        exchange.change(|client| client.bind(kind, data))?;
        Ok(exchange)
    }

    fn scram(mechanism: Mechanism, client: Client) -> Self {
        let mut first = Vec::new();
        client.write_first(&mut first);
        Self::new(mechanism, first, Rest::Scram(client))
    }

    fn change(&mut self, with: impl FnOnce(&mut Client) -> Option<()>) -> Result<(), Fault> {
        if let Rest::Scram(client) = &mut self.rest {
            with(client).ok_or(Fault::Credentials)?;
            self.response.clear();
            client.write_first(&mut self.response);
        }
        Ok(())
    }

    /// SCRAM-SHA-256: this client could bind, but the server has not offered -PLUS. A server that
    /// did offer it then knows that somebody has taken it off the list, and refuses. Other mechanisms
    /// do not heed it.
    #[must_use]
    pub fn could_bind(mut self) -> Self {
        let _ = self.change(|client| {
            client.could_bind();
            Some(())
        });
        self
    }

    /// SCRAM: with the user's password, but as somebody else. Other mechanisms do not heed it.
    ///
    /// # Errors
    /// [`Fault::Credentials`] if it cannot be [prepared](super::prepare).
    pub fn with_authorization(mut self, authorization: &str) -> Result<Self, Fault> {
        self.change(|client| client.authorization(authorization))?;
        Ok(self)
    }

    /// SCRAM: how many iterations the server may ask for; 4,096 to 1,000,000 if nothing is said.
    /// Fewer make it easier for a false server to learn the password, more cost the client as
    /// much time as the server likes. Other mechanisms do not heed it.
    #[must_use]
    pub fn with_iterations(mut self, range: RangeInclusive<u32>) -> Self {
        if let Rest::Scram(client) = &mut self.rest {
            client.iterations = range;
        }
        self
    }
}

/// Whoever reads a log shall not read passwords.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}
