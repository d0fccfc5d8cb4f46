//! Who sends to whom: the envelope as it is collected, and as it lies in the spool.
//!
//! Stored form, little-endian: a fixed front, one end offset a recipient, then the text (hello name, sender,
//! recipients in domain order). A view checks all of it once and then reads without allocating.

use super::{Malformed, bytes_at};
use mailrail_protocol::limits::MAILBOX_LEN_MAX;
use memchr::memrchr;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::ops::Range;

/// Most recipients that one group holds, so that a `u128` has a bit for each.
pub const GROUP_MAX: usize = 100;
/// Most recipients of one envelope.
pub const RECIPIENT_COUNT_MAX: usize = 16_384;
/// Longest stored envelope in bytes: it and the groups' states stand in the part of a record that recovery reads.
pub const ENVELOPE_LEN_MAX: usize = 384 * 1024;
/// Longest hello name that is kept, in bytes.
pub const HELLO_LEN_MAX: usize = 255;

const _: () = assert!(
    GROUP_MAX <= u128::BITS as usize,
    "a bit for each recipient of a group"
);
const _: () = assert!(
    RECIPIENT_COUNT_MAX <= u16::MAX as usize,
    "recipients are counted in 16 bits"
);

const VERSION: u8 = 1;
/// version 1, flags 1, protocol 1, hello length 1, sender length 2, recipient count 2, peer address 16.
const FRONT_LEN: usize = 24;
const END_LEN: usize = 4;

const FLAG_SMTPUTF8: u8 = 1;
const FLAG_EIGHT_BIT_MIME: u8 = 1 << 1;
const FLAG_PEER: u8 = 1 << 2;
const FLAGS_KNOWN: u8 = FLAG_SMTPUTF8 | FLAG_EIGHT_BIT_MIME | FLAG_PEER;

/// What the sender declared the body to be.
//= RFC 6152 section 3: BODY=7BIT or BODY=8BITMIME
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BodyKind {
    /// Not declared, or 7BIT.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
}

/// How the message came, as a Received field says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// After HELO.
    Smtp,
    /// After EHLO.
    #[default]
    Esmtp,
    /// With SMTPUTF8.
    Utf8Smtp,
    /// We made it ourselves.
    Internal,
    /// After EHLO, inside TLS.
    Esmtps,
    /// With SMTPUTF8, inside TLS.
    Utf8Smtps,
}

impl Protocol {
    /// How a message comes: behind EHLO, with SMTPUTF8, inside TLS.
    pub const fn of(is_extended: bool, is_utf8: bool, is_secure: bool) -> Self {
        match (is_extended, is_utf8, is_secure) {
            // HELO has no name for more.
            (false, _, _) => Self::Smtp,
            (true, false, false) => Self::Esmtp,
            (true, true, false) => Self::Utf8Smtp,
            (true, false, true) => Self::Esmtps,
            (true, true, true) => Self::Utf8Smtps,
        }
    }

    /// Whether addresses may be written in UTF-8.
    pub const fn is_utf8(self) -> bool {
        matches!(self, Self::Utf8Smtp | Self::Utf8Smtps)
    }

    /// The name for the `with` clause and for the event log.
    pub const fn name(self) -> &'static str {
        //= RFC 5321 section 4.4: SMTP or ESMTP
        //= RFC 3848 section 1: ESMTPS where TLS was started
        //= RFC 6531 section 4.3: UTF8SMTP, and UTF8SMTPS with TLS
        match self {
            Self::Smtp => "SMTP",
            Self::Esmtp => "ESMTP",
            Self::Utf8Smtp => "UTF8SMTP",
            Self::Internal => "Internal",
            Self::Esmtps => "ESMTPS",
            Self::Utf8Smtps => "UTF8SMTPS",
        }
    }
}

/// A sender that is not null: a report may be sent to it.
//= RFC 5321 section 4.5.5: no report for a message with a null reverse-path
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReturnPath<'a>(&'a [u8]);

impl<'a> ReturnPath<'a> {
    /// `None` for the null reverse-path.
    pub const fn new(sender: &'a [u8]) -> Option<Self> {
        if sender.is_empty() {
            None
        } else {
            Some(Self(sender))
        }
    }

    /// The mailbox, never empty.
    pub const fn mailbox(self) -> &'a [u8] {
        self.0
    }
}

/// What stands behind the last `@` (that is not in an address literal), or nothing.
pub fn domain_of(mailbox: &[u8]) -> &[u8] {
    let at = if mailbox.last() == Some(&b']') {
        // A literal may contain an `@` but no `[`.
        memrchr(b'[', mailbox)
            .and_then(|open| open.checked_sub(1))
            .filter(|at| mailbox[*at] == b'@')
    } else {
        memrchr(b'@', mailbox)
    };
    at.map_or(&[], |at| &mailbox[at + 1..])
}

/// Domains compare without regard to ASCII case, byte by byte.
fn compare_domains(one: &[u8], two: &[u8]) -> Ordering {
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    one.iter().map(lower).cmp(two.iter().map(lower))
}

/// The envelope while it is being collected. Lives with a session, which clears and fills it again.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// The peer's address; none for our own messages.
    pub peer: Option<IpAddr>,
    /// How it came.
    pub protocol: Protocol,
    /// What the body was declared to be.
    pub body: BodyKind,
    /// Whether SMTPUTF8 was asked for.
    pub smtputf8: bool,
    hello: Vec<u8>,
    sender: Vec<u8>,
    /// All recipients' text, in the order they came.
    text: Vec<u8>,
    recipients: Vec<Range<u32>>,
}

impl Envelope {
    /// An empty envelope from the null sender.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.peer = None;
        self.protocol = Protocol::default();
        self.body = BodyKind::default();
        self.smtputf8 = false;
        self.hello.clear();
        self.sender.clear();
        self.text.clear();
        self.recipients.clear();
    }

    /// The name the peer gave; the part beyond [`HELLO_LEN_MAX`] is dropped.
    pub fn set_hello(&mut self, name: &[u8]) {
        self.hello.clear();
        self.hello
            .extend_from_slice(super::answer::cut(name, HELLO_LEN_MAX));
    }

    /// The sender's mailbox without angle brackets; empty is the null sender.
    pub fn set_sender(&mut self, mailbox: &[u8]) {
        assert!(
            mailbox.len() <= MAILBOX_LEN_MAX,
            "a mailbox of {} bytes",
            mailbox.len()
        );
        self.sender.clear();
        self.sender.extend_from_slice(mailbox);
    }

    /// One more recipient's mailbox without angle brackets; `false` if there is no room for it.
    //= RFC 5321 section 4.5.3.1.10: 452 for the recipients that are too many, the others are kept
    #[must_use]
    pub fn add_recipient(&mut self, mailbox: &[u8]) -> bool {
        assert!(
            (1..=MAILBOX_LEN_MAX).contains(&mailbox.len()),
            "a mailbox of {} bytes",
            mailbox.len()
        );
        let len = self.encoded_len() + END_LEN + mailbox.len();
        if self.recipients.len() >= RECIPIENT_COUNT_MAX || len > ENVELOPE_LEN_MAX {
            return false;
        }
        let start = self.text.len() as u32;
        self.text.extend_from_slice(mailbox);
        self.recipients.push(start..self.text.len() as u32);
        true
    }

    /// The name the peer gave.
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// The sender's mailbox; empty is the null sender.
    pub fn sender(&self) -> &[u8] {
        &self.sender
    }

    /// The recipients: in the order they came, in domain order once encoded.
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.recipients
            .iter()
            .map(|range| &self.text[range.start as usize..range.end as usize])
    }

    /// How many recipients there are.
    pub fn recipient_count(&self) -> usize {
        self.recipients.len()
    }

    /// Exactly how many bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        FRONT_LEN
            + END_LEN * self.recipients.len()
            + self.hello.len()
            + self.sender.len()
            + self.text.len()
    }

    /// Sorts the recipients by domain (those of one domain stay in the order they came) and appends the stored form.
    pub fn encode(&mut self, out: &mut Vec<u8>) {
        let text = &self.text;
        let domain =
            |range: &Range<u32>| domain_of(&text[range.start as usize..range.end as usize]);
        // Starts ascend in the order of coming, so an unstable sort (which allocates nothing) is made stable by them.
        self.recipients.sort_unstable_by(|one, two| {
            compare_domains(domain(one), domain(two)).then(one.start.cmp(&two.start))
        });

        let mut flags = 0;
        let mut peer = [0; 16];
        if self.smtputf8 {
            flags |= FLAG_SMTPUTF8;
        }
        if self.body == BodyKind::EightBitMime {
            flags |= FLAG_EIGHT_BIT_MIME;
        }
        if let Some(address) = self.peer {
            flags |= FLAG_PEER;
            peer = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
        }
        out.reserve(self.encoded_len());
        out.extend_from_slice(&[VERSION, flags, self.protocol as u8, self.hello.len() as u8]);
        out.extend_from_slice(&(self.sender.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.recipients.len() as u16).to_le_bytes());
        out.extend_from_slice(&peer);
        let mut end = (self.hello.len() + self.sender.len()) as u32;
        for range in &self.recipients {
            end += range.end - range.start;
            out.extend_from_slice(&end.to_le_bytes());
        }
        out.extend_from_slice(&self.hello);
        out.extend_from_slice(&self.sender);
        for range in &self.recipients {
            out.extend_from_slice(&self.text[range.start as usize..range.end as usize]);
        }
    }
}

/// Recipients of one domain that stand together: at most [`GROUP_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Group {
    /// Index of its first recipient.
    pub first: u16,
    /// How many recipients it has, at least one.
    pub count: u16,
}

impl Group {
    /// A bit for each of its recipients, the first in the lowest bit.
    pub const fn all(self) -> u128 {
        u128::MAX >> (u128::BITS - self.count as u32)
    }
}

/// A stored envelope, checked.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeView<'a> {
    ends: &'a [u8],
    text: &'a [u8],
    hello_len: u8,
    sender_len: u16,
    protocol: Protocol,
    flags: u8,
    peer: [u8; 16],
}

impl<'a> EnvelopeView<'a> {
    /// Checks `bytes`, which are the whole stored envelope.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let [version, flags, protocol, hello_len] = bytes_at(bytes, 0, "envelope front")?;
        if version != VERSION {
            return Err(Malformed("envelope version"));
        }
        if flags & !FLAGS_KNOWN != 0 {
            return Err(Malformed("envelope flags"));
        }
        let protocol = match protocol {
            0 => Protocol::Smtp,
            1 => Protocol::Esmtp,
            2 => Protocol::Utf8Smtp,
            3 => Protocol::Internal,
            4 => Protocol::Esmtps,
            5 => Protocol::Utf8Smtps,
            _ => return Err(Malformed("envelope protocol")),
        };
        let sender_len = u16::from_le_bytes(bytes_at(bytes, 4, "envelope sender length")?);
        let count = u16::from_le_bytes(bytes_at(bytes, 6, "envelope recipient count")?);
        let peer = bytes_at(bytes, 8, "envelope peer")?;
        let (ends, text) = bytes[FRONT_LEN..]
            .split_at_checked(END_LEN * usize::from(count))
            .ok_or(Malformed("envelope recipient table"))?;

        let mut last = u32::from(hello_len) + u32::from(sender_len);
        for end in ends.chunks_exact(END_LEN) {
            let end = u32::from_le_bytes(bytes_at(end, 0, "envelope recipient end")?);
            if end <= last {
                return Err(Malformed("envelope recipient order"));
            }
            last = end;
        }
        if last as usize != text.len() {
            return Err(Malformed("envelope text length"));
        }
        Ok(Self {
            ends,
            text,
            hello_len,
            sender_len,
            protocol,
            flags,
            peer,
        })
    }

    /// The name the peer gave.
    pub fn hello(&self) -> &'a [u8] {
        &self.text[..usize::from(self.hello_len)]
    }

    /// The sender's mailbox; empty is the null sender.
    pub fn sender(&self) -> &'a [u8] {
        let start = usize::from(self.hello_len);
        &self.text[start..start + usize::from(self.sender_len)]
    }

    /// Where a report may go: nowhere if the sender is null.
    pub fn return_path(&self) -> Option<ReturnPath<'a>> {
        ReturnPath::new(self.sender())
    }

    /// How many recipients there are.
    pub fn recipient_count(&self) -> usize {
        self.ends.len() / END_LEN
    }

    /// The mailbox of the recipient with this index, which must be below [`recipient_count`](Self::recipient_count).
    pub fn recipient(&self, index: usize) -> &'a [u8] {
        let start = match index {
            0 => usize::from(self.hello_len) + usize::from(self.sender_len),
            _ => self.end(index - 1),
        };
        &self.text[start..self.end(index)]
    }

    fn end(&self, index: usize) -> usize {
        let bytes = self.ends[END_LEN * index..]
            .first_chunk()
            .copied()
            .unwrap_or_default();
        u32::from_le_bytes(bytes) as usize
    }

    /// The domain of the recipient with this index, as it was written; empty for a bare `postmaster`.
    pub fn domain(&self, index: usize) -> &'a [u8] {
        domain_of(self.recipient(index))
    }

    /// All recipients in their stored order.
    pub fn recipients(self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        (0..self.recipient_count()).map(move |index| self.recipient(index))
    }

    /// The recipients cut into groups of one domain, in order. The same bytes always give the same groups.
    pub fn groups(self) -> Groups<'a> {
        Groups {
            envelope: self,
            next: 0,
        }
    }

    /// The peer's address; none for our own messages. IPv4 is IPv4, however it came.
    pub fn peer(&self) -> Option<IpAddr> {
        (self.flags & FLAG_PEER != 0).then(|| IpAddr::from(self.peer).to_canonical())
    }

    /// How it came.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What the body was declared to be.
    pub fn body(&self) -> BodyKind {
        if self.flags & FLAG_EIGHT_BIT_MIME != 0 {
            BodyKind::EightBitMime
        } else {
            BodyKind::SevenBit
        }
    }

    /// Whether SMTPUTF8 was asked for.
    pub fn smtputf8(&self) -> bool {
        self.flags & FLAG_SMTPUTF8 != 0
    }
}

/// See [`EnvelopeView::groups`].
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    envelope: EnvelopeView<'a>,
    next: usize,
}

impl Iterator for Groups<'_> {
    type Item = Group;

    fn next(&mut self) -> Option<Group> {
        let first = self.next;
        let count_max = (self.envelope.recipient_count() - first).min(GROUP_MAX);
        if count_max == 0 {
            return None;
        }
        let domain = self.envelope.domain(first);
        let same = |index: &usize| self.envelope.domain(*index).eq_ignore_ascii_case(domain);
        let count = 1 + (first + 1..first + count_max).take_while(same).count();
        self.next += count;
        Some(Group {
            first: first as u16,
            count: count as u16,
        })
    }
}

#[cfg(test)]
mod tests;
