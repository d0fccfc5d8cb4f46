//! What a message is in the log: meta, envelope, content, in this order, and the views of it.
//!
//! The meta has a fixed size and stands first, so that it can be filled in last, when the content has ended.
//! Between envelope and content there may be a gap: the room in front of a body is made before its need is known.

use super::{EnvelopeView, Malformed, Timestamp, bytes_at};

/// Length of the meta in bytes.
pub const META_LEN: usize = 32;

const VERSION: u8 = 1;

/// How sure an accepted message is before its 250.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Synced to the disk.
    #[default]
    Fsync,
    /// Handed to the device, not synced.
    Write,
    /// In memory only.
    Memory,
}

impl Durability {
    /// The name in the config and in the event log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Write => "write",
            Self::Memory => "memory",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Fsync, Self::Write, Self::Memory]
            .into_iter()
            .find(|durability| durability.name() == name)
    }
}

/// What was found in the body while it came in, so that sending needs no second scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u16);

impl Flags {
    /// A line starts with a dot: DATA has to double it.
    pub const LEADING_DOTS: Self = Self(1);
    /// A byte above 127.
    pub const EIGHT_BIT: Self = Self(1 << 1);
    /// A NUL.
    pub const NUL: Self = Self(1 << 2);
    /// A CR without LF.
    pub const BARE_CR: Self = Self(1 << 3);
    /// A LF without CR.
    pub const BARE_LF: Self = Self(1 << 4);
    /// A line of more than 998 bytes.
    //= RFC 5322 section 2.1.1: a line has at most 998 characters
    pub const LONG_LINE: Self = Self(1 << 5);
    /// The content does not end with CRLF.
    pub const NO_LAST_CRLF: Self = Self(1 << 6);

    const KNOWN: u16 = (1 << 7) - 1;

    /// No flag.
    pub const fn none() -> Self {
        Self(0)
    }

    /// These flags and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags and, if `set`, `other`.
    #[must_use]
    pub const fn with_if(self, set: bool, other: Self) -> Self {
        if set { self.with(other) } else { self }
    }

    /// Whether all of `other` are among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The fixed front of a message's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// When it was accepted.
    pub accepted: Timestamp,
    /// How sure it is.
    pub durability: Durability,
    /// What was found in the body.
    pub flags: Flags,
    /// Length of the stored envelope.
    pub envelope_len: u32,
    /// Where the content begins, counted from the payload's start: at least `META_LEN + envelope_len`.
    pub content_offset: u32,
    /// Length of the content with the Received field in front.
    pub content_len: u32,
    /// How much of the content's front is our own Received field.
    pub received_len: u16,
}

impl Meta {
    /// The stored form.
    pub fn encode(&self) -> [u8; META_LEN] {
        let mut bytes = [0; META_LEN];
        bytes[0] = VERSION;
        bytes[1] = self.durability as u8;
        bytes[2..4].copy_from_slice(&self.flags.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.envelope_len.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.content_offset.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.content_len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.accepted.unix_millis().to_le_bytes());
        bytes[24..26].copy_from_slice(&self.received_len.to_le_bytes());
        bytes
    }

    /// Reads the meta at the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: [u8; META_LEN] = bytes_at(bytes, 0, "meta")?;
        let field = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[0] != VERSION {
            return Err(Malformed("meta version"));
        }
        let durability = match bytes[1] {
            0 => Durability::Fsync,
            1 => Durability::Write,
            2 => Durability::Memory,
            _ => return Err(Malformed("meta durability")),
        };
        let flags = u16::from_le_bytes([bytes[2], bytes[3]]);
        if flags & !Flags::KNOWN != 0 {
            return Err(Malformed("meta flags"));
        }
        let meta = Self {
            accepted: Timestamp::from_unix_millis(u64::from_le_bytes(bytes_at(
                &bytes,
                16,
                "meta time",
            )?)),
            durability,
            flags: Flags(flags),
            envelope_len: field(4),
            content_offset: field(8),
            content_len: field(12),
            received_len: u16::from_le_bytes([bytes[24], bytes[25]]),
        };
        if meta.envelope_end() > u64::from(meta.content_offset) {
            return Err(Malformed("meta content offset"));
        }
        if u32::from(meta.received_len) > meta.content_len {
            return Err(Malformed("meta received length"));
        }
        Ok(meta)
    }

    fn envelope_end(&self) -> u64 {
        META_LEN as u64 + u64::from(self.envelope_len)
    }
}

/// A message's payload, checked. Its front is enough: the content may still be on the disk.
#[derive(Clone, Copy, Debug)]
pub struct PayloadView<'a> {
    /// The fixed front.
    pub meta: Meta,
    /// The envelope.
    pub envelope: EnvelopeView<'a>,
    bytes: &'a [u8],
}

impl<'a> PayloadView<'a> {
    /// Checks a whole payload: nothing is missing, nothing is left over.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let view = Self::decode_front(bytes)?;
        if view.content_range().end != bytes.len() as u64 {
            return Err(Malformed("payload length"));
        }
        Ok(view)
    }

    /// Checks the front of a payload: `bytes` hold at least meta and envelope.
    pub fn decode_front(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let meta = Meta::decode(bytes)?;
        let envelope = usize::try_from(meta.envelope_end())
            .ok()
            .and_then(|end| bytes.get(META_LEN..end))
            .ok_or(Malformed("payload envelope"))?;
        Ok(Self {
            meta,
            envelope: EnvelopeView::decode(envelope)?,
            bytes,
        })
    }

    /// Where the content lies in the payload.
    pub fn content_range(&self) -> std::ops::Range<u64> {
        let start = u64::from(self.meta.content_offset);
        start..start + u64::from(self.meta.content_len)
    }

    /// As much of the content as the bytes hold: all of it after [`decode`](Self::decode).
    pub fn content(&self) -> &'a [u8] {
        let range = self.content_range();
        let end = self.bytes.len().min(range.end as usize);
        self.bytes
            .get(range.start as usize..end)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Envelope;
    use proptest::prelude::*;

    fn meta() -> Meta {
        Meta {
            accepted: Timestamp::from_unix_millis(1_795_508_041_123),
            durability: Durability::Write,
            flags: Flags::none()
                .with(Flags::LEADING_DOTS)
                .with_if(true, Flags::EIGHT_BIT),
            envelope_len: 0,
            content_offset: 0,
            content_len: 10,
            received_len: 4,
        }
    }

    fn payload(gap: usize) -> Vec<u8> {
        let mut envelope = Envelope::new();
        assert!(envelope.add_recipient(b"a@b.example"));
        let mut bytes = vec![0; META_LEN];
        envelope.encode(&mut bytes);
        let envelope_len = (bytes.len() - META_LEN) as u32;
        bytes.extend(std::iter::repeat_n(0xEE, gap));
        let meta = Meta {
            envelope_len,
            content_offset: bytes.len() as u32,
            ..meta()
        };
        bytes.extend_from_slice(b"0123456789");
        bytes[..META_LEN].copy_from_slice(&meta.encode());
        bytes
    }

    #[test]
    fn content_stands_behind_the_gap() {
        for gap in [0, 1, 300] {
            let bytes = payload(gap);
            let view = PayloadView::decode(&bytes).expect("what was encoded");
            assert_eq!(view.content(), b"0123456789");
            assert_eq!(view.content_range().start as usize, bytes.len() - 10);
            assert_eq!(view.envelope.recipient(0), b"a@b.example");
            assert!(view.meta.flags.has(Flags::EIGHT_BIT) && !view.meta.flags.has(Flags::NUL));
        }
    }

    #[test]
    fn the_front_is_enough() {
        let bytes = payload(7);
        let whole = PayloadView::decode(&bytes).expect("what was encoded");
        let envelope_end = META_LEN + whole.meta.envelope_len as usize;
        for len in envelope_end..bytes.len() {
            let front =
                PayloadView::decode_front(&bytes[..len]).expect("meta and envelope are there");
            assert_eq!(front.meta, whole.meta);
            assert!(b"0123456789".starts_with(front.content()));
            assert_eq!(
                PayloadView::decode(&bytes[..len]).err(),
                Some(Malformed("payload length"))
            );
        }
        for len in 0..envelope_end {
            assert!(
                PayloadView::decode_front(&bytes[..len]).is_err(),
                "cut to {len}"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(PayloadView::decode(&longer).is_err());
    }

    #[test]
    fn wrong_meta_is_an_error() {
        let good = payload(0);
        for (at, wrong, what) in [
            (0, 0, "meta version"),
            (1, 3, "meta durability"),
            (3, 0x80, "meta flags"),
            (8, 0, "meta content offset"),
            (7, 0xff, "meta content offset"),
            (24, 11, "meta received length"),
        ] {
            let mut bytes = good.clone();
            bytes[at] = wrong;
            assert_eq!(
                Meta::decode(&bytes).err(),
                Some(Malformed(what)),
                "byte {at}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>, at: prop::sample::Index, wrong: u8, random: bool) {
            if !random {
                bytes = payload(3);
                let at = at.index(bytes.len());
                bytes[at] = wrong;
            }
            if let Ok(view) = PayloadView::decode_front(&bytes) {
                prop_assert!(view.content().len() as u64 <= u64::from(view.meta.content_len));
                prop_assert_eq!(Meta::decode(&view.meta.encode()), Ok(view.meta));
            }
        }
    }
}
