//! The window: commands sent and not yet answered, oldest first.
//!
//! Bounded in number and in bytes, so that two peers that both write can never block each other.
//! It knows no sockets and no envelopes: `next` decides what to send, the window only remembers
//! what was.

/// What an outstanding command was, which is all that is needed to read its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// Nothing: the server speaks first.
    Greeting,
    /// EHLO.
    Hello,
    /// HELO, after EHLO was not understood.
    HelloOld,
    /// STARTTLS.
    StartTls,
    /// AUTH, or a response of its exchange.
    Auth,
    /// The asterisk that ends an exchange.
    AuthCancel,
    /// XCLIENT, after which everything begins anew.
    XClient,
    /// XFORWARD, behind which more may follow.
    XForward,
    /// Any other command that is no part of a transaction.
    Other,
    /// RSET.
    Reset,
    /// MAIL.
    Mail,
    /// RCPT. Which recipient it was follows from the order.
    Recipient,
    /// DATA: a 354 is hoped for.
    Data,
    /// The line with the dot alone.
    End,
    /// The same, sent by the session itself since nobody is left to receive the message.
    EndOfNothing,
    /// BDAT with its octets, more chunks to follow.
    Chunk,
    /// BDAT LAST with its octets.
    ChunkLast,
    /// QUIT.
    Quit,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Greeting,
        Self::Hello,
        Self::HelloOld,
        Self::StartTls,
        Self::Auth,
        Self::AuthCancel,
        Self::XClient,
        Self::XForward,
        Self::Other,
        Self::Reset,
        Self::Mail,
        Self::Recipient,
        Self::Data,
        Self::End,
        Self::EndOfNothing,
        Self::Chunk,
        Self::ChunkLast,
        Self::Quit,
    ];
}

/// The most commands that wait for an answer at once.
pub(super) const COMMAND_COUNT_MAX: usize = 128;

/// The most bytes of commands that wait for an answer at once, bodies not counted.
///
/// A peer that answers every command in 80 bytes then owes less than 16 KiB: less than the
/// smallest socket buffer, so neither side can block the other while both write.
pub(super) const COMMAND_LEN_SUM_MAX: u16 = 8 * 1024;

const LEN_BITS: u16 = 11;
const LEN_MASK: u16 = (1 << LEN_BITS) - 1;
const _: () = assert!(Kind::ALL.len() <= 1 << (16 - LEN_BITS));

/// Two places more, for the commands that end something and must never wait for room: the dot for
/// a message that nobody takes, and QUIT.
const RING_LEN: usize = COMMAND_COUNT_MAX + 2;
const _: () = assert!(
    RING_LEN <= u8::MAX as usize,
    "a place in the ring is 8 bits"
);

/// A ring of two bytes a command: five bits say what, eleven how long.
pub(super) struct Window {
    ring: [u16; RING_LEN],
    first: u8,
    count: u8,
    len_sum: u16,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self {
            ring: [0; RING_LEN],
            first: 0,
            count: 0,
            len_sum: 0,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) const fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether one more command of `len` bytes may be sent before the next answer. The first
    /// always may, however long: otherwise a long command could never be sent at all.
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.count == 0
            || (self.count() < COMMAND_COUNT_MAX
                && usize::from(self.len_sum) + len <= usize::from(COMMAND_LEN_SUM_MAX))
    }

    /// Remembers a command that has just been written. The caller has asked `has_room`, or writes
    /// one of the two that need not ask.
    pub(super) fn push(&mut self, kind: Kind, len: usize) {
        assert!(
            self.count() < RING_LEN,
            "a command was sent without room for its answer"
        );
        // A longer command is counted as the longest that fits: sums stay exact, bounds stay near.
        let len = u16::try_from(len).unwrap_or(LEN_MASK).min(LEN_MASK);
        let at = (usize::from(self.first) + self.count()) % RING_LEN;
        if let Some(slot) = self.ring.get_mut(at) {
            *slot = ((kind as u16) << LEN_BITS) | len;
        }
        self.count += 1;
        self.len_sum += len;
    }

    /// What the next answer will answer.
    pub(super) fn oldest(&self) -> Option<Kind> {
        if self.count == 0 {
            return None;
        }
        let entry = *self.ring.get(usize::from(self.first))?;
        Kind::ALL.get(usize::from(entry >> LEN_BITS)).copied()
    }

    /// How many of the oldest commands are chunks, one behind the other.
    pub(super) fn chunk_count(&self) -> u8 {
        let first = usize::from(self.first);
        let entries = self.ring.iter().cycle().skip(first).take(self.count());
        let chunks = entries.take_while(|entry| {
            let kind = Kind::ALL.get(usize::from(**entry >> LEN_BITS));
            matches!(kind, Some(Kind::Chunk | Kind::ChunkLast))
        });
        chunks.count() as u8
    }

    /// Forgets the oldest command: its answer has come.
    pub(super) fn pop(&mut self) -> Option<Kind> {
        let kind = self.oldest()?;
        let entry = self.ring.get(usize::from(self.first)).copied().unwrap_or(0);
        self.first = (self.first + 1) % RING_LEN as u8;
        self.count -= 1;
        self.len_sum -= entry & LEN_MASK;
        Some(kind)
    }
}

impl core::fmt::Debug for Window {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} from {:?}", self.count, self.oldest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use proptest::prelude::*;

    #[test]
    fn bounded_in_commands() {
        let mut window = Window::new();
        for _ in 0..COMMAND_COUNT_MAX {
            assert!(window.has_room(1));
            window.push(Kind::Recipient, 1);
        }
        assert!(!window.has_room(1));
        assert_eq!(window.pop(), Some(Kind::Recipient));
        assert!(window.has_room(1));
    }

    #[test]
    fn bounded_in_bytes_except_for_the_first() {
        let mut window = Window::new();
        assert!(window.has_room(100_000));
        for _ in 0..4 {
            window.push(Kind::Recipient, 2000);
        }
        assert!(window.has_room(192));
        assert!(!window.has_room(193));
        window.pop();
        assert!(window.has_room(2000));
    }

    #[test]
    fn chunks_at_the_front() {
        let mut window = Window::new();
        for _ in 0..RING_LEN - 1 {
            window.push(Kind::Other, 0);
            window.pop();
        }
        let kinds = [
            Kind::Chunk,
            Kind::Chunk,
            Kind::ChunkLast,
            Kind::Reset,
            Kind::Chunk,
        ];
        for kind in kinds {
            window.push(kind, 10);
        }
        assert_eq!(window.chunk_count(), 3);
        window.pop();
        assert_eq!(window.chunk_count(), 2);
        window.pop();
        window.pop();
        assert_eq!(window.chunk_count(), 0);
        window.pop();
        window.pop();
        assert_eq!(window.chunk_count(), 0);
    }

    #[test]
    fn a_kind_survives_the_ring() {
        for (n, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, n);
            let mut window = Window::new();
            window.push(kind, usize::MAX);
            assert_eq!(window.pop(), Some(kind));
            assert_eq!(window.len_sum, 0);
        }
    }

    proptest! {
        #[test]
        fn same_as_a_deque(steps in proptest::collection::vec((any::<bool>(), 0usize..18, 0usize..2048), 0..600)) {
            let mut window = Window::new();
            let mut twin: VecDeque<(Kind, usize)> = VecDeque::new();
            for (push, kind, len) in steps {
                let sum: usize = twin.iter().map(|&(_, len)| len).sum();
                let room = twin.is_empty()
                    || (twin.len() < COMMAND_COUNT_MAX && sum + len <= usize::from(COMMAND_LEN_SUM_MAX));
                prop_assert_eq!(window.has_room(len), room);
                if push && room {
                    window.push(Kind::ALL[kind], len);
                    twin.push_back((Kind::ALL[kind], len));
                } else {
                    prop_assert_eq!(window.pop(), twin.pop_front().map(|(kind, _)| kind));
                }
                prop_assert_eq!(window.oldest(), twin.front().map(|&(kind, _)| kind));
                prop_assert_eq!(window.count(), twin.len());
            }
        }
    }
}
