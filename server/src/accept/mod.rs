//! Taking mail in: sessions of peers, from the greeting to the 250.
//!
//! It knows neither queue nor delivery: what a session needs of its shard is the trait [`Intake`],
//! which `shard` implements. What may be said to whom is in `policy`, pure.

mod incoming;
mod policy;
mod session;
mod transaction;

pub use incoming::{Complete, Incoming};
pub use policy::Policy;
pub use session::{Listener, Security, serve};

use crate::message::envelope::Envelope;
use crate::message::{Id, Meta, Timestamp};
use mailrail_protocol::reply::Reply;
use mailrail_runtime::tls::TlsInfo;
use std::net::SocketAddr;

/// A message that a peer has handed over whole and that waits to be made durable.
#[derive(Debug)]
pub struct Submission<'s> {
    /// The id it was given when its Received field was written.
    pub id: Id,
    /// What its payload's front says.
    pub meta: Meta,
    /// The envelope, its recipients in domain order.
    pub envelope: &'s Envelope,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Inside which TLS it came.
    pub tls: Option<TlsInfo>,
    /// Its payload behind [`mailrail_runtime::log::ROOM`] free bytes.
    pub content: Complete,
}

/// Something that was not taken.
#[derive(Clone, Copy, Debug)]
pub struct Rejection<'r> {
    /// Who asked.
    pub peer: SocketAddr,
    /// The name it gave.
    pub hello: &'r [u8],
    /// The sender, if it was said and not null.
    pub sender: &'r [u8],
    /// The recipient, if that is what was refused.
    pub recipient: &'r [u8],
    /// The answer.
    pub reply: &'r Reply<'r>,
}

/// What a session needs of its shard.
pub trait Intake: 'static {
    /// Whether a message of this size (0 where it was not said) may come now; the refusal where not.
    fn room(&self, size: u64) -> Result<(), &'static Reply<'static>>;

    /// Whether a message that is under way may take more memory.
    fn may_grow(&self) -> bool;

    /// An id for a message that comes now.
    fn next_id(&self, now: Timestamp) -> Id;

    /// Makes the message durable and hands it to the queue. Only when this has returned `Ok` may the
    /// peer hear a 250.
    fn commit(
        &self,
        submission: Submission<'_>,
    ) -> impl Future<Output = Result<(), &'static Reply<'static>>>;

    /// Notes a refusal.
    fn rejected(&self, rejection: &Rejection<'_>);
}
