//! The server's side of a dialogue, as a machine without sockets and without a clock.
//!
//! The caller owns the bytes that came in and those that go out. It hands in what is unread, gets
//! one [`Event`], answers it with a [`Reply`](crate::reply::Reply) if it carries a [`Turn`], and asks again; at
//! [`Event::NeedInput`] it sends what was written, reads more, and goes on. The state has one owner, `state`.

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
