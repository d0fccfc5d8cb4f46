//! The inbox: bytes read and not yet consumed. An idle connection holds no buffer.

use super::stream::Stream;
use std::io;

/// What became of a `fill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// There are more unread bytes than before.
    Some,
    /// The peer has ended its direction.
    Eof,
    /// The deadline passed first.
    Deadline,
}

/// Bytes that were read from a connection and not yet consumed.
#[derive(Debug, Default)]
pub struct Inbox(());

impl Inbox {
    /// Empty, without a buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What has been read and not consumed.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        unimplemented!()
    }

    /// Forgets the first `count` unread bytes; gives the buffer back when none are left.
    pub fn consume(&mut self, _count: usize) {
        unimplemented!()
    }

    /// Reads more, behind what is unread. Panics when the buffer is full of unread bytes: the caller
    /// has to consume. Dropping the future loses nothing.
    pub async fn fill(&mut self, _stream: &mut Stream, _deadline: u64) -> io::Result<Fill> {
        unimplemented!()
    }
}
