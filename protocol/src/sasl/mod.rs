//! SASL, RFC 4422 section 3: what is said inside an AUTH exchange, for both sides, without sockets, without
//! randomness (nonces are arguments) and without any store of passwords. How an exchange travels
//! in SMTP is the sessions' business: they carry its base64 and never look inside.
//!
//! | mechanism | source | the server has to know |
//! |---|---|---|
//! | PLAIN | RFC 4616 section 2 | whether a password is right |
//! | LOGIN | draft-murchison-sasl-login, expired | the same |
//! | XOAUTH2 | [Google](https://developers.google.com/gmail/imap/xoauth2-protocol) | whether a token is good |
//! | OAUTHBEARER | RFC 7628 section 3 | the same |
//! | SCRAM-SHA-256, -PLUS | RFC 5802 section 5, RFC 7677 section 3; feature `scram` | a `ScramSecret` of each user |
//! | EXTERNAL | RFC 4422 appendix A | who may act as whom |
//!
//! Each of them works with an initial response and without. Of all but SCRAM anybody who reads the
//! connection can learn the secret or take the session over: they are for TLS alone, and it is
//! the session's configuration that says so.
//!
//! # Server
//!
//! The session says [`Event::Auth`](crate::server::Event::Auth) with a mechanism and perhaps an
//! initial response, and then [`Event::Sasl`](crate::server::Event::Sasl) with each further response.
//! A [`server::Exchange`] lives from the one to the reply, beside the session; both events end in this
//! function. Its `Err` is a challenge, for `session.challenge`; its `Ok` the reply, for
//! `session.reply`. A cancelled exchange is `Answered`: forget it.
//!
//! ```
//! use mailrail_protocol::reply::Reply;
//! use mailrail_protocol::sasl::server::{Exchange, Step};
//! # #[cfg(feature = "scram")]
//! use mailrail_protocol::sasl::ScramSecret;
//!
//! struct Users { /* whatever the server has */ }
//! # impl Users {
//! #     fn accept_password(&self, user: &str, password: &str) -> bool { (user, password) == ("tim", "tanstaaf") }
//! #     fn accept_token(&self, _: &str, token: &str) -> bool { token == "good" }
//! #     fn may_act_as(&self, user: &str, other: &str) -> bool { other.is_empty() || other == user }
//! #     #[cfg(feature = "scram")]
//! #     fn secret(&self, user: &str) -> Option<ScramSecret> {
//! #         (user == "tim").then(|| ScramSecret::derive("tanstaaf", b"salt", 4096))?
//! #     }
//! # }
//!
//! fn step(
//!     exchange: &mut Exchange,
//!     response: Option<&[u8]>,
//!     users: &Users,
//! ) -> Result<&'static Reply<'static>, Vec<u8>> {
//!     let verdict = |good| if good { &Reply::AUTHENTICATED } else { &Reply::BAD_CREDENTIALS };
//!     let next = match exchange.receive(response) {
//!         // These two have an answer of their own, which is the next step.
//! #       #[cfg(feature = "scram")]
//!         Step::Secret { user } => {
//!             let secret = users.secret(user);
//!             exchange.secret(secret.as_ref())
//!         }
//!         Step::Token { authorization, token, .. } if !users.accept_token(authorization, token) => {
//!             exchange.refuse_token(r#"{"status":"invalid_token"}"#)
//!         }
//!         next => next,
//!     };
//!     match next {
//!         Step::Challenge(octets) => Err(octets.to_vec()),
//!         Step::Password { authorization, user, password } => Ok(verdict(
//!             users.accept_password(user, password) && users.may_act_as(user, authorization),
//!         )),
//!         Step::Token { .. } => Ok(&Reply::AUTHENTICATED),
//!         Step::External { authorization } => Ok(verdict(users.may_act_as("tim", authorization))),
//!         Step::Authenticated { authorization, user } => {
//!             Ok(verdict(users.may_act_as(user, authorization)))
//!         }
//!         Step::Failed(reply) => Ok(reply),
//!         Step::Secret { .. } => unreachable!("it was answered above"),
//!     }
//! }
//!
//! # use mailrail_protocol::sasl::Mechanism;
//! # let users = Users {};
//! let mut exchange = Exchange::new(Mechanism::Plain);
//! // AUTH PLAIN
//! assert_eq!(step(&mut exchange, None, &users), Err(b"".to_vec()));
//! // NUL tim NUL tanstaaf
//! let reply = step(&mut exchange, Some(b"AHRpbQB0YW5zdGFhZg=="), &users);
//! assert_eq!(reply, Ok(&Reply::AUTHENTICATED));
//! ```
//!
//! For SCRAM the exchange is made with what only the caller has, a nonce and the connection's channel
//! binding:
//!
//! ```
//! # #[cfg(feature = "scram")] {
//! # use mailrail_protocol::sasl::{Decoy, Mechanism, server::Exchange};
//! # let (nonce, key, exported) = ("c29tZSByYW5kb20gb2N0ZXRz", [7; 32], [0; 32]);
//! let exchange = Exchange::new(Mechanism::ScramSha256Plus)
//!     .with_scram(nonce, &Decoy::new(key))
//!     .with_channel_binding("tls-exporter", &exported);
//! # }
//! ```
//!
//! # Client
//!
//! Choose a mechanism of those that the server offers ([`Mechanism::ALL`] has the strongest first), hand [`client::Exchange::initial`] to the
//! session's `auth`, answer each [`Event::Challenge`](crate::client::Event::Challenge) by what
//! [`client::Exchange::respond`] returns, cancel when it returns an error, and when 235 has come ask
//! [`client::Exchange::finish`] whether to believe it. Here both sides talk without a session between:
//!
//! ```
//! # #[cfg(feature = "scram")] {
//! use mailrail_protocol::sasl::server::{self, Step};
//! use mailrail_protocol::sasl::{Decoy, Mechanism, ScramSecret, base64, client};
//!
//! let encode = |octets: &[u8]| {
//!     let mut text = Vec::new();
//!     base64::encode(octets, &mut text);
//!     text
//! };
//! let secret = ScramSecret::derive("pencil", b"salt of 16 bytes", 4096).unwrap();
//! let mut server =
//!     server::Exchange::new(Mechanism::ScramSha256).with_scram("c2VydmVy", &Decoy::new([7; 32]));
//! let mut client = client::Exchange::scram_sha_256("user", "pencil", "Y2xpZW50").unwrap();
//!
//! let mut response = client.initial().map(encode);
//! loop {
//!     let next = match server.receive(response.as_deref()) {
//!         Step::Secret { user: "user" } => server.secret(Some(&secret)),
//!         next => next,
//!     };
//!     match next {
//!         Step::Challenge(octets) => {
//!             response = Some(encode(client.respond(&encode(octets)).unwrap()));
//!         }
//!         Step::Authenticated { user, .. } => break assert_eq!(user, "user"),
//!         other => panic!("{other:?}"),
//!     }
//! }
//! assert_eq!(client.finish(), Ok(()));
//! # }
//! ```
//!
//! # What is not done
//!
//! Passwords and keys are not wiped from memory: they have been in buffers of the connection before
//! they come here. Comparisons of keys take the same time for all keys. No security layer of SASL is
//! negotiated; TLS is there for that.

pub mod base64;
pub mod client;
mod external;
mod gs2;
mod login;
mod mechanism;
mod oauth;
mod plain;
mod prepare;
#[cfg(feature = "scram")]
mod scram;
pub mod server;

pub use mechanism::{Mechanism, Mechanisms};
pub use prepare::prepare;
#[cfg(feature = "scram")]
pub use scram::{Decoy, ScramSecret};

/// Octets in a response or a challenge, in base64, that are still read: 12,288, as many as a line has.
pub const RESPONSE_LEN_MAX: usize = crate::limits::AUTH_LINE_LEN_MAX;
