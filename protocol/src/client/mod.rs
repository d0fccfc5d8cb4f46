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
//! Every transaction that was begun ends by exactly one of `Sent`, `Over`, `Unsendable` and
//! `Refused`, in the order of the transactions, or by the end of the connection.

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
