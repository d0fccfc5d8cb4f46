//! Sockets: listeners, streams with deadlines, the buffer of unread bytes, datagrams.

pub mod datagram;
pub mod inbox;
pub mod listener;
pub mod stream;
