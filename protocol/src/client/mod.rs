//! The client's side of a dialogue, as a machine without sockets and without a clock.
//!
//! ```no_run
//! use mailrail_protocol::client::{Config, Envelope, Event, Next, Session};
//! use mailrail_protocol::time::Instant;
//! # fn clock() -> Instant { Instant::default() }
//! # fn send(bytes: &[u8]) {}
//! # fn read(unread: &mut Vec<u8>, deadline: Option<Instant>) {}
//! # fn run(envelope: &Envelope<'_>, content: &[&[u8]]) {
//! let config = Config::new("a.example");
//! let mut session = Session::new(&config, clock());
//! let (mut out, mut unread) = (Vec::new(), Vec::new());
//! loop {
//!     if session.write(envelope, &mut out) == Next::Body {
//!         send(&out); // or all of this in one write
//!         out.clear();
//!         for chunk in content {
//!             for piece in session.segments(chunk) {
//!                 send(piece);
//!             }
//!         }
//!         session.end_body(&mut out);
//!         // With a next message at hand, and `can_begin()`: `begin()`, and `write` its envelope.
//!     }
//!     let mut input = unread.as_slice();
//!     let event = session.receive(clock(), &mut input, &mut out);
//!     let used = unread.len() - input.len();
//!     match event {
//!         Event::NeedInput => {
//!             send(&out);
//!             out.clear();
//!             read(&mut unread, session.deadline());
//!             continue; // nothing was used
//!         }
//!         Event::Ready(_) => session.begin(),
//!         Event::Mail(answer) => { /* how the sender fared */ }
//!         Event::Recipient(n, answer) => { /* how this one fared */ }
//!         Event::SendBody => { /* `write` says so too */ }
//!         // Exactly one of these ends each transaction; a next `begin()` may follow.
//!         Event::Sent(answer) => { /* for all recipients that were taken */ }
//!         Event::Over | Event::Unsendable(_) => {}
//!         // These end the connection, and `fates()` tells what became of what was open.
//!         _ => break,
//!     }
//!     unread.drain(..used);
//! }
//! # }
//! ```
//!
//! Read when `NeedInput` has been told, and not before: an answer that is already there when the last outstanding
//! one is taken cannot mean what is written next, and is a [`Violation::Unasked`].
//!
//! What is unread must have room for a whole reply,
//! [`ANSWER_LEN_MAX`](crate::reply::parse::ANSWER_LEN_MAX) octets; a longer one is `Broken`.
//!
//! Every transaction that was begun ends by exactly one of `Sent`, `Over`, `Unsendable` and
//! `Refused`, in the order of the transactions, or by the end of the connection.
//!
//! What else there is:
//!
//! * **Early answers**: while the content is being sent the peer may be heard, and refuse it: `receive` between two
//!   pieces, and [`Session::set_unsent`] and [`Session::end_has_left`] where they are collected first. Without it a
//!   peer that stops reading is heard only when the caller gives up writing.
//! * **TLS**: `start_tls` behind `Ready`, shake hands at `Handshake`, then `tls_established`; or
//!   [`Session::over_tls`] where the connection is encrypted from its first byte on.
//! * **AUTH**: `auth`, then `respond` or `cancel_auth` to each `Challenge`, until `Authenticated` or
//!   `AuthRefused`. What is said is [`crate::sasl`]'s business.
//! * **Questions** (VRFY, EXPN, HELP, NOOP, ETRN, XCLIENT, XFORWARD and private ones): `ask`, answered by `Other`.
//! * **Content of unknown size** in the caller's chunks, where [`Config::own_chunks`] says so or it is
//!   binary: `write` says [`Next::Chunk`], `chunk` announces it, `segments` takes it.
//! * **LMTP**, [`Config::lmtp`]: behind the content comes `Delivered` for each recipient that was taken, then `Over`.
//! * **LIMITS** of the peer: `LeftOver` names the recipients that want a transaction of their own;
//!   [`Session::is_used_up`] says that nothing more can be sent on this connection.
//! * **Parameters** of [`Mail`] and [`Recipient`] that are wishes (DSN, MT-PRIORITY, AUTH, BY in mode N) are left out
//!   where the peer does not offer them; where they are conditions (SMTPUTF8, 8BITMIME, BINARYMIME, REQUIRETLS, BY
//!   in mode R, HOLDFOR, HOLDUNTIL) the message is `Unsendable`.
//!
//! ```
//! use mailrail_protocol::client::{Config, Event, Session};
//! use mailrail_protocol::sasl::Mechanism;
//! use mailrail_protocol::time::Instant;
//!
//! let (config, now) = (Config::new("a.example"), Instant::from_micros(0));
//! let mut session = Session::over_tls(&config, now);
//! let mut input = &b"220 mx\r\n"[..];
//! // What the peer says next, each time that it has been written to.
//! let hello = &b"250-mx\r\n250 AUTH LOGIN\r\n"[..];
//! let mut answers = [hello, b"334 VXNlcm5hbWU6\r\n", b"535 5.7.8 no\r\n"].into_iter();
//! let mut out = Vec::new();
//! loop {
//!     match session.receive(now, &mut input, &mut out) {
//!         Event::Ready(extensions) => {
//!             assert!(extensions.mechanisms().has(Mechanism::Login));
//!             session.auth(Mechanism::Login, None, &mut out);
//!         }
//!         Event::Challenge(base64) => {
//!             assert_eq!(base64, b"VXNlcm5hbWU6");
//!             session.respond(b"tim", &mut out);
//!         }
//!         Event::NeedInput => input = answers.next().expect("there is one more"),
//!         Event::AuthRefused(answer) => {
//!             assert_eq!(answer.code.get(), 535);
//!             break;
//!         }
//!         _ => {} // here the greeting was answered by EHLO
//!     }
//! }
//! assert_eq!(out, b"EHLO a.example\r\nAUTH LOGIN\r\ndGlt\r\n");
//! ```

mod config;
mod event;
mod limits;
mod next;
mod stage;
mod state;
mod window;

pub use crate::body::stuff::Segments;
pub use crate::command::{BodyKind, Mail, Other, Recipient};
pub use crate::reply::parse::Answer;
pub use config::{Config, Timeouts};
pub use event::{Envelope, Event, Fate, Next, Step, Unsendable, Violation};
pub use state::Session;
