//! A message as a value: its number, its envelope, what the spool keeps of it, and the header fields we write.
//!
//! Pure: bytes and numbers in, bytes and views out; time is an argument. No socket, no file, no policy.

pub mod answer;
pub mod decimal;
pub mod envelope;
pub mod header;
pub mod id;
pub mod literal;
pub mod payload;
pub mod time;
pub mod trace;

pub use answer::Answer;
pub use envelope::{BodyKind, Envelope, EnvelopeView, GROUP_MAX, Group, Protocol, ReturnPath};
pub use id::{Id, IdSource};
pub use mailrail_protocol::reply::{Class, Status};
pub use payload::{Durability, Flags, META_LEN, Meta, PayloadView};
pub use time::Timestamp;

/// Stored bytes that cannot be what they are said to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed spool bytes: {0}")]
pub struct Malformed(pub &'static str);

/// The `N` bytes at `at`, or what was being read when they were missing.
pub(crate) fn bytes_at<const N: usize>(
    bytes: &[u8],
    at: usize,
    what: &'static str,
) -> Result<[u8; N], Malformed> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    found.copied().ok_or(Malformed(what))
}
