//! The server's side of an exchange: responses in, steps out. It knows the order in which each
//! mechanism speaks; the forms of the messages are in the mechanisms' files, and who may log in is
//! known to the caller alone.

use super::{Mechanism, RESPONSE_LEN_MAX, base64, external, gs2, login, oauth, plain};
use crate::reply::{Code, Reply, Status};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "scram")]
use super::scram::{
    Decoy, ScramSecret,
    server::{Refusal, Server},
};
#[cfg(feature = "scram")]
use alloc::borrow::ToOwned;

/// To a response that is base64, but not what its mechanism wants there.
const BAD_RESPONSE: Reply<'static> = reply(501, 5, 2, "Syntax error in the SASL response");
/// To a client whose idea of the channel, or of channel binding, is not ours.
#[cfg(feature = "scram")]
const BAD_BINDING: Reply<'static> = reply(535, 7, 8, "Channel binding failed");
const fn reply(code: u16, subject: u16, detail: u16, text: &'static str) -> Reply<'static> {
    let code = Code::of(code);
    Reply::new(code, Status::for_code(code, subject, detail), text)
}

/// What has to be done next. It borrows the exchange.
///
/// Names and passwords are as the client wrote them, if nothing else is said: any UTF-8 without NUL,
/// so that a name may hold line ends and much else. To compare them, [`prepare`](super::prepare)
/// them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use = "the client waits"]
pub enum Step<'s> {
    /// Send these octets, in base64, and give the response to `receive`.
    Challenge(&'s [u8]),
    /// PLAIN, LOGIN: is it this user's password, and may the user act as `authorization`? Then
    /// reply [`Reply::AUTHENTICATED`], else [`Reply::BAD_CREDENTIALS`]. The exchange is over.
    Password {
        /// Who the client wants to act as; empty: as the user.
        authorization: &'s str,
        /// Whose password it is; not empty.
        user: &'s str,
        /// Not empty.
        password: &'s str,
    },
    /// XOAUTH2, OAUTHBEARER: is the token good, for the user or on its own, and for this server?
    /// Then reply [`Reply::AUTHENTICATED`], and the exchange is over; else call
    /// [`Exchange::refuse_token`].
    Token {
        /// Who the client wants to act as; empty: whoever the token names. In XOAUTH2 never empty.
        authorization: &'s str,
        /// To which host the client meant to connect; empty if it has not said.
        //= RFC 7628 section 3.2: host and port must be the server's own, if it knows them
        host: &'s str,
        /// To which port; `None` if it has not said.
        port: Option<u16>,
        /// The bearer token, of visible ASCII. It is empty if the client only asks what it would
        /// take: refuse it.
        token: &'s str,
    },
    /// EXTERNAL: may the certificate's owner act as this? Then reply [`Reply::AUTHENTICATED`], else
    /// [`Reply::BAD_CREDENTIALS`]. The exchange is over.
    External {
        /// Who the client wants to act as; empty: whoever its certificate names.
        authorization: &'s str,
    },
    /// SCRAM: look up what is kept for this user, and call `Exchange::secret`.
    Secret {
        /// Prepared, not empty.
        user: &'s str,
    },
    /// SCRAM: the client knows the user's password. May the user act as `authorization`? Then reply
    /// [`Reply::AUTHENTICATED`], else [`Reply::BAD_CREDENTIALS`]. The exchange is over.
    Authenticated {
        /// Who the client wants to act as, prepared; empty: as the user.
        authorization: &'s str,
        /// Prepared, not empty.
        user: &'s str,
    },
    /// Give this reply. The exchange is over.
    Failed(&'static Reply<'static>),
}

/// Whoever reads a log shall not read passwords.
impl fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge(octets) => write!(f, "Challenge({} octets)", octets.len()),
            Self::Password { user, .. } => write!(f, "Password({user:?})"),
            Self::Token { authorization, .. } => write!(f, "Token({authorization:?})"),
            Self::External { authorization } => write!(f, "External({authorization:?})"),
            Self::Secret { user } => write!(f, "Secret({user:?})"),
            Self::Authenticated {
                authorization,
                user,
            } => write!(f, "Authenticated({user:?} as {authorization:?})"),
            Self::Failed(reply) => write!(f, "Failed({})", reply.code),
        }
    }
}

/// Where an exchange stands: what its next response is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The initial one, with AUTH or without.
    Initial,
    /// The first message, asked for by an empty challenge.
    First,
    /// LOGIN: the password.
    Password,
    /// Nothing: the caller weighs a token.
    Token,
    /// Nothing that would matter: the client has been sent an error.
    Error,
    /// Nothing: the caller looks for a secret.
    #[cfg(feature = "scram")]
    Secret,
    /// SCRAM: client-final-message.
    #[cfg(feature = "scram")]
    Proof,
    /// SCRAM: nothing, to server-final-message.
    #[cfg(feature = "scram")]
    Proved,
    /// Nothing.
    Over,
}

/// One exchange, from AUTH to the reply that ends it. See the [module](super) for the loop.
///
/// It owns the last response and the last challenge, each bounded by [`RESPONSE_LEN_MAX`]. Passwords
/// in it are not wiped from memory when it is dropped.
pub struct Exchange {
    mechanism: Mechanism,
    phase: Phase,
    /// Decoded.
    response: Vec<u8>,
    challenge: Vec<u8>,
    /// LOGIN: the user; OAUTHBEARER: who the client wants to act as.
    name: String,
    #[cfg(feature = "scram")]
    bindings: Vec<(String, Vec<u8>)>,
    #[cfg(feature = "scram")]
    scram: Option<Server>,
}

impl Exchange {
    /// An exchange of this mechanism. SCRAM needs `with_scram`, too, and fails with 504
    /// without it, as it does without the feature `scram`.
    #[must_use]
    pub const fn new(mechanism: Mechanism) -> Self {
        Self {
            mechanism,
            phase: Phase::Initial,
            response: Vec::new(),
            challenge: Vec::new(),
            name: String::new(),
            #[cfg(feature = "scram")]
            bindings: Vec::new(),
            #[cfg(feature = "scram")]
            scram: None,
        }
    }

    /// What SCRAM needs: a nonce of the caller's randomness, never used before, of 18 octets or more
    /// of it; and what to show for users that do not exist. Other mechanisms do not heed it.
    ///
    /// # Panics
    /// If the nonce is empty, or holds a comma or anything but visible ASCII. (Base64 is fine.)
    #[cfg(feature = "scram")]
    #[must_use]
    pub fn with_scram(mut self, nonce: &str, decoy: &Decoy) -> Self {
        if self.mechanism.is_scram() {
            self.scram = Some(Server::new(nonce, decoy));
        }
        self
    }

    /// What SCRAM may be bound to: the name of a kind of binding (`tls-exporter`,
    /// RFC 9266 section 2; `tls-server-end-point`, RFC 5929 section 4) and its octets for this connection. Call it for each kind
    /// there is, and for SCRAM-SHA-256 as well as for -PLUS whenever -PLUS is offered: a client that
    /// has not seen the offer then learns that somebody has tampered with it. Other mechanisms do not
    /// heed it.
    #[cfg(feature = "scram")]
    #[must_use]
    pub fn with_channel_binding(mut self, kind: &str, data: &[u8]) -> Self {
        if self.mechanism.is_scram() {
            self.bindings.push((kind.to_owned(), data.to_vec()));
        }
        self
    }

    /// Which mechanism it is.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the client's next response, in base64 as the session's events carry it; `None` for an
    /// AUTH without an initial response.
    pub fn receive(&mut self, response: Option<&[u8]>) -> Step<'_> {
        let phase = core::mem::replace(&mut self.phase, Phase::Over);
        self.response.clear();
        let Some(text) = response else {
            return self.prompt(phase);
        };
        //= RFC 4954 section 4: a response that is longer than the server's buffer is answered 500, with 5.5.6
        if text.len() > RESPONSE_LEN_MAX {
            return Step::Failed(&Reply::AUTH_LINE_TOO_LONG);
        }
        if !base64::decode(text, &mut self.response) {
            return Step::Failed(&Reply::BAD_BASE64);
        }
        let step = match (self.mechanism, phase) {
            (Mechanism::Plain, Phase::Initial | Phase::First) => self.plain(),
            // Nobody agrees whether LOGIN may have an initial response; clients of much use send one.
            (Mechanism::Login, Phase::Initial | Phase::First) => self.login_user(),
            (Mechanism::Login, Phase::Password) => self.login_password(),
            (Mechanism::XOAuth2, Phase::Initial | Phase::First) => self.x_oauth2(),
            (Mechanism::OAuthBearer, Phase::Initial | Phase::First) => self.oauth_bearer(),
            (Mechanism::External, Phase::Initial | Phase::First) => self.external(),
            #[cfg(feature = "scram")]
            (
                Mechanism::ScramSha256 | Mechanism::ScramSha256Plus,
                Phase::Initial | Phase::First,
            ) => return self.scram_first(),
            #[cfg(feature = "scram")]
            (_, Phase::Proof) => return self.scram_last(),
            #[cfg(feature = "scram")]
            (_, Phase::Proved) => return self.scram_end(),
            #[cfg(not(feature = "scram"))]
            (
                Mechanism::ScramSha256 | Mechanism::ScramSha256Plus,
                Phase::Initial | Phase::First,
            ) => return Step::Failed(&Reply::UNKNOWN_MECHANISM),
            //= RFC 7628 section 3.2.3: whatever the client says to an error, the exchange has failed
            _ => return Step::Failed(&Reply::BAD_CREDENTIALS),
        };
        step.unwrap_or(Step::Failed(&BAD_RESPONSE))
    }

    /// No initial response: the server has to speak first.
    //= RFC 4954 section 4: where the client ought to begin, the challenge is empty
    fn prompt(&mut self, phase: Phase) -> Step<'_> {
        match (self.mechanism, phase) {
            (_, phase) if phase != Phase::Initial => Step::Failed(&Reply::BAD_CREDENTIALS),
            (mechanism, _) if mechanism.is_scram() && !self.can_scram() => {
                Step::Failed(&Reply::UNKNOWN_MECHANISM)
            }
            (Mechanism::Login, _) => {
                self.phase = Phase::First;
                Step::Challenge(login::USER)
            }
            _ => {
                self.phase = Phase::First;
                Step::Challenge(b"")
            }
        }
    }

    fn plain(&self) -> Option<Step<'_>> {
        let message = plain::read(&self.response)?;
        Some(Step::Password {
            authorization: message.authorization,
            user: message.user,
            password: message.password,
        })
    }

    fn login_user(&mut self) -> Option<Step<'_>> {
        self.name.push_str(login::read(&self.response)?);
        self.phase = Phase::Password;
        Some(Step::Challenge(login::PASSWORD))
    }

    fn login_password(&self) -> Option<Step<'_>> {
        Some(Step::Password {
            authorization: "",
            user: &self.name,
            password: login::read(&self.response)?,
        })
    }

    fn x_oauth2(&mut self) -> Option<Step<'_>> {
        let message = oauth::read_x(&self.response)?;
        self.phase = Phase::Token;
        Some(Step::Token {
            authorization: message.authorization,
            host: message.host,
            port: message.port,
            token: message.token,
        })
    }

    fn oauth_bearer(&mut self) -> Option<Step<'_>> {
        let message = oauth::read_bearer(&self.response)?;
        self.name = gs2::unquote(message.authorization)?;
        self.phase = Phase::Token;
        Some(Step::Token {
            authorization: &self.name,
            host: message.host,
            port: message.port,
            token: message.token,
        })
    }

    fn external(&self) -> Option<Step<'_>> {
        Some(Step::External {
            authorization: external::read(&self.response)?,
        })
    }

    /// After [`Step::Token`]: the token is no good. `error` is what the client is told: a JSON object
    /// with `status`, and perhaps `scope` and `openid-configuration` (RFC 7628 section 3.2.2).
    ///
    /// # Panics
    /// If the last step was not [`Step::Token`].
    //= RFC 7628 section 3.2.2: the error goes out as a challenge, since an outcome cannot carry it
    pub fn refuse_token(&mut self, error: &str) -> Step<'_> {
        assert!(self.phase == Phase::Token, "no token is being weighed");
        self.phase = Phase::Error;
        self.challenge.clear();
        self.challenge.extend_from_slice(error.as_bytes());
        Step::Challenge(&self.challenge)
    }

    #[cfg(feature = "scram")]
    const fn can_scram(&self) -> bool {
        self.scram.is_some()
    }

    #[cfg(not(feature = "scram"))]
    const fn can_scram(&self) -> bool {
        false
    }
}

#[cfg(feature = "scram")]
impl Exchange {
    fn scram_first(&mut self) -> Step<'_> {
        let plus = self.mechanism == Mechanism::ScramSha256Plus;
        let Some(scram) = &mut self.scram else {
            return Step::Failed(&Reply::UNKNOWN_MECHANISM);
        };
        if let Err(refusal) = scram.first(&self.response, plus, &self.bindings) {
            return refused(&refusal);
        }
        self.phase = Phase::Secret;
        Step::Secret { user: &scram.user }
    }

    /// After [`Step::Secret`]: what is kept for this user; `None` if nobody of this name is known.
    /// Then the exchange goes on all the same, for as long and with the same words as for a wrong
    /// password.
    ///
    /// # Panics
    /// If the last step was not [`Step::Secret`].
    pub fn secret(&mut self, secret: Option<&ScramSecret>) -> Step<'_> {
        let (Phase::Secret, Some(scram)) = (self.phase, &mut self.scram) else {
            panic!("no secret was asked for");
        };
        self.phase = Phase::Proof;
        self.challenge.clear();
        scram.secret(secret, &mut self.challenge);
        Step::Challenge(&self.challenge)
    }

    fn scram_last(&mut self) -> Step<'_> {
        let Some(scram) = &mut self.scram else {
            return Step::Failed(&Reply::UNKNOWN_MECHANISM);
        };
        self.challenge.clear();
        //= RFC 5802 section 5.1: on failure the server may end the exchange without a last message
        if let Err(refusal) = scram.last(&self.response, &mut self.challenge) {
            return refused(&refusal);
        }
        self.phase = Phase::Proved;
        //= RFC 4954 section 4: SMTP's success carries no data, so that the last message is a challenge
        Step::Challenge(&self.challenge)
    }

    //= RFC 4422 section 5: to data that goes with success as a challenge, the response is empty
    fn scram_end(&self) -> Step<'_> {
        match &self.scram {
            Some(scram) if self.response.is_empty() => Step::Authenticated {
                authorization: &scram.authorization,
                user: &scram.user,
            },
            _ => Step::Failed(&BAD_RESPONSE),
        }
    }
}

#[cfg(feature = "scram")]
const fn refused(refusal: &Refusal) -> Step<'static> {
    Step::Failed(match refusal {
        Refusal::Malformed => &BAD_RESPONSE,
        Refusal::Binding => &BAD_BINDING,
        Refusal::Credentials => &Reply::BAD_CREDENTIALS,
    })
}

/// Whoever reads a log shall not read passwords.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}
