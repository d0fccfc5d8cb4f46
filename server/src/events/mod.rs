//! What happened to a message, told to the operator: one event, one line of JSON.
//!
//! An event borrows what it tells. Who it concerns writes it into a shard's [`Journal`](log::Journal), off the road
//! of the message; nothing here asks the time or waits.

pub mod classify;
mod json;
pub mod log;

use crate::message::{Answer, Durability, EnvelopeView, Id, Protocol, Timestamp};
use mailrail_runtime::tls::TlsInfo;
use std::net::IpAddr;

/// One event.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A message was accepted: it is ours now.
    Reception(Reception<'a>),
    /// The next host took it.
    Delivery(Attempt<'a>),
    /// An attempt failed; another follows.
    TransientFailure(Attempt<'a>),
    /// It failed for good.
    Bounce(Attempt<'a>),
    /// It got too old.
    Expiration(Attempt<'a>),
    /// The operator took it out.
    AdminBounce(Attempt<'a>),
    /// A sender or recipient or message was refused.
    Rejection(Rejection<'a>),
}

impl Event<'_> {
    /// Appends the event as one line of JSON with its LF.
    pub fn push_line(&self, out: &mut Vec<u8>) {
        json::push_line(self, out);
    }
}

/// A host that was spoken with.
#[derive(Clone, Copy, Debug)]
pub struct PeerName<'a> {
    /// Its name: what it said it is, or the name it was reached by.
    pub name: &'a [u8],
    /// Its address.
    pub address: IpAddr,
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug)]
pub enum Recipients<'a> {
    /// One mailbox.
    One(&'a [u8]),
    /// Everybody in the envelope.
    All(EnvelopeView<'a>),
    /// Of the recipients from `first` on those whose bit is set.
    Some {
        /// The envelope.
        envelope: EnvelopeView<'a>,
        /// Index of the recipient of bit 0.
        first: u16,
        /// The bits.
        bits: u128,
    },
}

/// A message was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Reception<'a> {
    /// When.
    pub at: Timestamp,
    /// The message.
    pub id: Id,
    /// Its envelope: sender, recipients, peer, protocol.
    pub envelope: EnvelopeView<'a>,
    /// Length of its content in bytes.
    pub size: u64,
    /// How sure it is.
    pub durability: Durability,
    /// What was answered.
    pub response: Answer<'a>,
    /// Inside which TLS it came.
    pub tls: Option<TlsInfo>,
}

/// Something came out for some recipients of a message.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// When.
    pub at: Timestamp,
    /// When the message was accepted.
    pub created: Timestamp,
    /// The message.
    pub id: Id,
    /// Its sender; empty is the null sender.
    pub sender: &'a [u8],
    /// The recipients it is about.
    pub recipients: Recipients<'a>,
    /// The queue: for now the domain.
    pub queue: &'a [u8],
    /// The site it was sent to; empty if it came to none.
    pub site: &'a [u8],
    /// Length of its content in bytes.
    pub size: u64,
    /// What was answered, or what we found.
    pub response: Answer<'a>,
    /// Who answered.
    pub peer: Option<PeerName<'a>>,
    /// How many attempts there were, this one included.
    pub attempt_count: u16,
    /// How sure the message was.
    pub durability: Durability,
    /// Inside which TLS it was answered.
    pub tls: Option<TlsInfo>,
}

/// Something was refused.
#[derive(Clone, Copy, Debug)]
pub struct Rejection<'a> {
    /// When.
    pub at: Timestamp,
    /// The sender, if one was given; empty is the null sender.
    pub sender: Option<&'a [u8]>,
    /// The recipient that was refused, if it was one.
    pub recipient: Option<&'a [u8]>,
    /// Whom it was told.
    pub peer: PeerName<'a>,
    /// How the message would have come.
    pub protocol: Protocol,
    /// What was answered.
    pub response: Answer<'a>,
}
