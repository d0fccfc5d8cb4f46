//! The server's side of a dialogue, as a machine without sockets and without a clock.
//!
//! The caller owns the bytes that came in and those that go out. It hands in what is unread, gets
//! one [`Event`], answers it with a [`Reply`](crate::reply::Reply) if it carries a [`Turn`], and asks again; at
//! [`Event::NeedInput`] it sends what was written, reads more, and goes on. The state has one owner, `state`.
//!
//! ```no_run
//! use mailrail_protocol::reply::Reply;
//! use mailrail_protocol::server::{Config, Event, Peer, Session};
//! use mailrail_protocol::time::Instant;
//! # fn clock() -> Instant { Instant::default() }
//! # fn send(bytes: &mut Vec<u8>) {}
//! # fn read(unread: &mut Vec<u8>, deadline: Option<Instant>) -> bool { true }
//! let config = Config::new("mx.example");
//! let mut session = Session::new(&config, Peer::PLAIN, clock());
//! let (mut out, mut unread, mut content) = (Vec::new(), Vec::new(), Vec::new());
//! loop {
//!     let mut input = unread.as_slice();
//!     let event = session.receive(clock(), &mut input, &mut out);
//!     let used = unread.len() - input.len();
//!     match event {
//!         Event::NeedInput => {
//!             send(&mut out);
//!             unread.drain(..used); // what was thrown away, for instance of too long a line
//!             if !read(&mut unread, session.deadline()) {
//!                 session.handle_timeout(clock(), &mut out); // the time is up
//!             }
//!             continue;
//!         }
//!         Event::Connected(turn) => session.reply(turn, &Reply::GREETING, &mut out),
//!         Event::Hello(hello, turn) => session.reply(turn, &Reply::HELLO, &mut out),
//!         Event::Mail(mail, turn) => session.reply(turn, &Reply::SENDER_OK, &mut out),
//!         Event::Recipient(recipient, turn) => session.reply(turn, &Reply::RECIPIENT_OK, &mut out),
//!         Event::Data(turn) => session.reply(turn, &Reply::START_DATA, &mut out),
//!         Event::Body(bytes) => content.extend_from_slice(bytes), // no more than SIZE names
//!         Event::EndOfData(turn) => {
//!             // Here the message is put where it is safe.
//!             content.clear();
//!             session.reply(turn, &Reply::QUEUED, &mut out);
//!         }
//!         Event::Reset => content.clear(),
//!         Event::Other(other, turn) => session.reply(turn, &other.default_reply(), &mut out),
//!         // Only if the configuration offers STARTTLS, AUTH or LMTP.
//!         Event::StartTls(turn) | Event::Auth(_, turn) | Event::Sasl(_, turn) | Event::EndOfDataFor(_, turn) => {
//!             session.reply(turn, &Reply::NOT_IMPLEMENTED, &mut out);
//!         }
//!         Event::Handshake => unreachable!("STARTTLS was refused"),
//!         Event::Answered(..) => {}
//!         Event::Close => break send(&mut out),
//!     }
//!     unread.drain(..used);
//! }
//! ```
//!
//! What else there is:
//!
//! * **TLS**: with [`Extension::StartTls`](crate::extension::Extension::StartTls) in [`Config::extensions`]: answer
//!   `StartTls` by `START_TLS`, shake hands at `Handshake`, then [`Session::tls_established`]; or [`Peer::TLS`] where the
//!   connection is encrypted from its first byte on.
//! * **AUTH**: with mechanisms in [`Config::extensions`], for clear text also in [`Config::mechanisms_in_clear`]. `Auth` and
//!   `Sasl` are answered with what [`crate::sasl::server`] says; [`Config::auth_required`] refuses MAIL before.
//! * **LMTP**, [`Config::lmtp`]: in place of `EndOfData` comes `EndOfDataFor` for each recipient that was taken.
//! * **Refusing a body** that is under way: [`Session::abort`]. What is in it: [`Session::findings`].
//! * **An end** that harms nobody: [`Session::shut_down`], [`Session::is_quiet`].

mod auth;
mod body;
mod config;
mod event;
mod greeting;
mod order;
mod state;
mod step;

pub use crate::body::Findings;
pub use crate::command::{Auth, Hello, Mail, Other, Recipient, Strictness, Verb, Verdict};
pub use config::{Config, Limits, Timeouts};
pub use event::{Event, Expects, Peer, Tls, Turn};
pub use state::Session;
