//! The records of the spool: their kinds, and their bytes written and read.
//!
//! The log itself keeps kind and message id of each record beside the payload, and its checksum; what is read
//! here is checked once more all the same: wrong bytes are an error, never a panic. Pure.

use crate::message::answer::{ANSWER_LEN_MAX, Answer};
use crate::message::envelope::{ENVELOPE_LEN_MAX, RECIPIENT_COUNT_MAX};
use crate::message::{META_LEN, Malformed, Timestamp, bytes_at};
use mailrail_runtime::log::HEAD_LEN_MAX;

/// What a record is. The number stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A message was accepted: meta, envelope, content.
    Message = 1,
    /// Recipients are done with, for good.
    Settled = 2,
    /// An attempt failed and comes again.
    Deferred = 3,
    /// A message rewritten at the log's head: the present state of its groups, then what `Message` holds.
    Moved = 4,
    /// The end of a message's content is about to be sent to recipients, and no answer is known.
    InDoubt = 5,
    /// No message: the highest id that this log had given so far, kept behind the records of it that are freed. Empty.
    Mark = 6,
}

impl Kind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Message),
            2 => Some(Self::Settled),
            3 => Some(Self::Deferred),
            4 => Some(Self::Moved),
            5 => Some(Self::InDoubt),
            6 => Some(Self::Mark),
            _ => None,
        }
    }

    /// The number in the log.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// How a recipient was settled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Outcome {
    /// The next host took it.
    Delivered = 1,
    /// It failed for good.
    Bounced = 2,
    /// It got too old.
    Expired = 3,
    /// The operator took it out.
    Removed = 4,
}

impl Outcome {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Delivered),
            2 => Some(Self::Bounced),
            3 => Some(Self::Expired),
            4 => Some(Self::Removed),
            _ => None,
        }
    }
}

/// Some recipients of a group are settled.
///
/// Stored: first 2, code 2, outcome 1, zeros 3, bits 16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// The group: the index of its first recipient.
    pub first: u16,
    /// The recipients, bit 0 for the group's first.
    pub bits: u128,
    /// How.
    pub outcome: Outcome,
    /// The code of the answer that settled them; 0 if none did.
    pub code: u16,
}

/// Length of a stored [`Settled`].
pub const SETTLED_LEN: usize = 24;

impl Settled {
    /// The stored form.
    pub fn encode(&self) -> [u8; SETTLED_LEN] {
        let mut bytes = [0; SETTLED_LEN];
        bytes[0..2].copy_from_slice(&self.first.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.code.to_le_bytes());
        bytes[4] = self.outcome as u8;
        bytes[8..24].copy_from_slice(&self.bits.to_le_bytes());
        bytes
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() != SETTLED_LEN {
            return Err(Malformed("settled length"));
        }
        let outcome = Outcome::from_number(bytes[4]).ok_or(Malformed("settled outcome"))?;
        Ok(Self {
            first: u16::from_le_bytes(bytes_at(bytes, 0, "settled first")?),
            bits: u128::from_le_bytes(bytes_at(bytes, 8, "settled bits")?),
            outcome,
            code: u16::from_le_bytes(bytes_at(bytes, 2, "settled code")?),
        })
    }
}

/// The end of the content is about to be sent to some recipients of a group: until a later record of the group
/// says otherwise, they may have the message, or not.
///
/// Stored: first 2, zeros 6, bits 16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InDoubt {
    /// The group: the index of its first recipient.
    pub first: u16,
    /// The recipients, bit 0 for the group's first.
    pub bits: u128,
}

/// Length of a stored [`InDoubt`].
pub const IN_DOUBT_LEN: usize = 24;

impl InDoubt {
    /// The stored form.
    pub fn encode(&self) -> [u8; IN_DOUBT_LEN] {
        let mut bytes = [0; IN_DOUBT_LEN];
        bytes[0..2].copy_from_slice(&self.first.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.bits.to_le_bytes());
        bytes
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() != IN_DOUBT_LEN {
            return Err(Malformed("in-doubt length"));
        }
        Ok(Self {
            first: u16::from_le_bytes(bytes_at(bytes, 0, "in-doubt first")?),
            bits: u128::from_le_bytes(bytes_at(bytes, 8, "in-doubt bits")?),
        })
    }
}

/// An attempt for a group failed and comes again; also one group's state in a [`Moved`].
///
/// Stored: first 2, attempt 2, answer length 2, doubt length 2, next 8, open 16, doubt (the bytes up to its last
/// bit), answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deferred<'a> {
    /// The group: the index of its first recipient.
    pub first: u16,
    /// The recipients still open, bit 0 for the group's first. A record of kind `Deferred` closes none:
    /// only `Settled` and `Moved` do, so that a deferral that names too few can lose nothing.
    pub open: u128,
    /// Of the open recipients, those that are in doubt: no others of the group are, from this record on.
    pub doubt: u128,
    /// How many attempts there were.
    pub attempt: u16,
    /// When to try again.
    pub next: Timestamp,
    /// The last answer in the form of [`Answer::encode`], at most [`ANSWER_LEN_MAX`] bytes; empty if there was none.
    pub answer: &'a [u8],
}

const DEFERRED_FRONT_LEN: usize = 32;

/// Bytes of the recipients in doubt at most.
const DOUBT_LEN_MAX: usize = 16;

/// Longest stored [`Deferred`].
pub const DEFERRED_LEN_MAX: usize = DEFERRED_FRONT_LEN + DOUBT_LEN_MAX + ANSWER_LEN_MAX;

impl<'a> Deferred<'a> {
    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(
            self.answer.len() <= ANSWER_LEN_MAX,
            "an answer of {} bytes",
            self.answer.len()
        );
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.attempt.to_le_bytes());
        out.extend_from_slice(&(self.answer.len() as u16).to_le_bytes());
        let doubt_len = (128 - self.doubt.leading_zeros()).div_ceil(8) as usize;
        out.extend_from_slice(&(doubt_len as u16).to_le_bytes());
        out.extend_from_slice(&self.next.unix_millis().to_le_bytes());
        out.extend_from_slice(&self.open.to_le_bytes());
        out.extend_from_slice(&self.doubt.to_le_bytes()[..doubt_len]);
        out.extend_from_slice(self.answer);
    }

    /// Reads the stored form, which is all of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match Self::decode_front(bytes)? {
            (deferred, []) => Ok(deferred),
            _ => Err(Malformed("deferred length")),
        }
    }

    /// Reads the stored form at the front of `bytes`, and gives what follows.
    fn decode_front(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let answer_len = usize::from(u16::from_le_bytes(bytes_at(
            bytes,
            4,
            "deferred answer length",
        )?));
        if answer_len > ANSWER_LEN_MAX {
            return Err(Malformed("deferred answer length"));
        }
        let doubt_len = usize::from(u16::from_le_bytes(bytes_at(
            bytes,
            6,
            "deferred doubt length",
        )?));
        if doubt_len > DOUBT_LEN_MAX {
            return Err(Malformed("deferred doubt length"));
        }
        let deferred = Self {
            first: u16::from_le_bytes(bytes_at(bytes, 0, "deferred first")?),
            attempt: u16::from_le_bytes(bytes_at(bytes, 2, "deferred attempt")?),
            next: Timestamp::from_unix_millis(u64::from_le_bytes(bytes_at(
                bytes,
                8,
                "deferred next",
            )?)),
            open: u128::from_le_bytes(bytes_at(bytes, 16, "deferred open")?),
            doubt: 0,
            answer: &[],
        };
        let (stored, rest) = bytes[DEFERRED_FRONT_LEN..]
            .split_at_checked(doubt_len)
            .ok_or(Malformed("deferred doubt"))?;
        let mut doubt = [0; DOUBT_LEN_MAX];
        doubt[..doubt_len].copy_from_slice(stored);
        let (answer, rest) = rest
            .split_at_checked(answer_len)
            .ok_or(Malformed("deferred answer"))?;
        let doubt = u128::from_le_bytes(doubt);
        Ok((
            Self {
                doubt,
                answer,
                ..deferred
            },
            rest,
        ))
    }

    /// The last answer, if there was one.
    pub fn answer(&self) -> Option<Answer<'a>> {
        (!self.answer.is_empty()).then(|| Answer::decode(self.answer))
    }
}

/// The front of a `Moved` record: the present state of the groups. The message's payload follows.
///
/// Stored: length of the states 4, count 2, zeros 2, then one [`Deferred`] for each.
#[derive(Clone, Copy, Debug)]
pub struct Moved<'a> {
    states: &'a [u8],
    count: u16,
    /// The message as its `Message` record held it: for [`PayloadView`](crate::message::PayloadView).
    pub message: &'a [u8],
}

const MOVED_FRONT_LEN: usize = 8;

/// Bytes of doubt that each recipient adds to its group's at most.
const DOUBT_OF_ONE_LEN: usize = 1;

/// Answers that one `Moved` record carries, in bytes together; groups beyond that go without.
const MOVED_ANSWERS_LEN_MAX: usize = 64 * 1024;

const _: () = assert!(
    MOVED_FRONT_LEN
        + RECIPIENT_COUNT_MAX * (DEFERRED_FRONT_LEN + DOUBT_OF_ONE_LEN)
        + MOVED_ANSWERS_LEN_MAX
        + META_LEN
        + ENVELOPE_LEN_MAX
        <= HEAD_LEN_MAX,
    "recovery reads the front of a record: states and envelope must stand in it"
);

impl<'a> Moved<'a> {
    /// Appends the front of a `Moved` record; the message's payload, as it was, belongs behind it.
    ///
    /// A group that is settled goes in with no open bit. One that is left out counts as never tried.
    pub fn encode_front<'s>(states: impl Iterator<Item = Deferred<'s>>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; MOVED_FRONT_LEN]);
        let mut count = 0u16;
        let mut room = MOVED_ANSWERS_LEN_MAX;
        for state in states {
            match room.checked_sub(state.answer.len()) {
                Some(left) => {
                    room = left;
                    state.encode(out);
                }
                None => Deferred {
                    answer: &[],
                    ..state
                }
                .encode(out),
            }
            count += 1;
        }
        let states_len = (out.len() - start - MOVED_FRONT_LEN) as u32;
        out[start..start + 4].copy_from_slice(&states_len.to_le_bytes());
        out[start + 4..start + 6].copy_from_slice(&count.to_le_bytes());
    }

    /// Reads a record; its content need not be there.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let states_len = u32::from_le_bytes(bytes_at(bytes, 0, "moved length")?) as usize;
        let count = u16::from_le_bytes(bytes_at(bytes, 4, "moved count")?);
        let (states, message) = bytes
            .get(MOVED_FRONT_LEN..)
            .and_then(|rest| rest.split_at_checked(states_len))
            .ok_or(Malformed("moved states"))?;
        let mut rest = states;
        for _ in 0..count {
            (_, rest) = Deferred::decode_front(rest)?;
        }
        if !rest.is_empty() {
            return Err(Malformed("moved states length"));
        }
        Ok(Self {
            states,
            count,
            message,
        })
    }

    /// The groups' states.
    pub fn states(&self) -> impl Iterator<Item = Deferred<'a>> + use<'a> {
        let (mut rest, count) = (self.states, self.count);
        (0..count).map_while(move |_| {
            let (state, after) = Deferred::decode_front(rest).ok()?;
            rest = after;
            Some(state)
        })
    }
}

/// The message's payload in a `Message` or `Moved` record; from the record's front if that is all there is.
pub fn message_payload(kind: Kind, record: &[u8]) -> Result<&[u8], Malformed> {
    match kind {
        Kind::Message => Ok(record),
        Kind::Moved => Moved::decode(record).map(|moved| moved.message),
        Kind::Settled | Kind::Deferred | Kind::InDoubt | Kind::Mark => {
            Err(Malformed("a record without a message"))
        }
    }
}

/// The last answer about the group that begins at `first`, as a `Deferred` or `Moved` record keeps it.
pub fn last_answer(kind: Kind, record: &[u8], first: u16) -> Result<Option<Answer<'_>>, Malformed> {
    let state = match kind {
        Kind::Deferred => Some(Deferred::decode(record)?).filter(|state| state.first == first),
        Kind::Moved => Moved::decode(record)?
            .states()
            .find(|state| state.first == first),
        Kind::Message | Kind::Settled | Kind::InDoubt | Kind::Mark => None,
    };
    Ok(state.and_then(|state| state.answer()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEFERRED: Deferred<'static> = Deferred {
        first: 100,
        open: 1 << 99 | 5,
        doubt: 0,
        attempt: 3,
        next: Timestamp::from_unix_millis(1_795_508_041_123),
        answer: b"450 4.2.1 busy",
    };

    fn encoded(deferred: &Deferred<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        deferred.encode(&mut bytes);
        bytes
    }

    fn moved(states: &[Deferred<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Moved::encode_front(states.iter().copied(), &mut bytes);
        bytes.extend_from_slice(b"the message");
        bytes
    }

    #[test]
    fn kinds_have_numbers_and_no_other_number_is_a_kind() {
        let known: Vec<u8> = (0..=255)
            .filter_map(Kind::from_number)
            .map(Kind::number)
            .collect();
        assert_eq!(known, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn wrong_bytes_are_an_error() {
        let settled = Settled {
            first: 1,
            bits: 2,
            outcome: Outcome::Expired,
            code: 550,
        }
        .encode();
        for len in 0..SETTLED_LEN {
            assert!(Settled::decode(&settled[..len]).is_err(), "cut to {len}");
        }
        let mut wrong = settled;
        wrong[4] = 0;
        assert_eq!(Settled::decode(&wrong), Err(Malformed("settled outcome")));

        let deferred = encoded(&DEFERRED);
        for len in 0..deferred.len() {
            assert!(Deferred::decode(&deferred[..len]).is_err(), "cut to {len}");
        }
        let longer = [&deferred[..], &[0]].concat();
        assert_eq!(Deferred::decode(&longer), Err(Malformed("deferred length")));

        let moved = moved(&[DEFERRED, DEFERRED]);
        for len in 0..moved.len() - b"the message".len() {
            assert!(Moved::decode(&moved[..len]).is_err(), "cut to {len}");
        }
        for (at, wrong) in [(0, 0), (2, 1), (4, 1), (4, 3), (12, 255), (14, 17)] {
            let mut bytes = moved.clone();
            bytes[at] = wrong;
            assert!(Moved::decode(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_message_is_found_in_both_kinds_of_record() {
        let record = moved(&[DEFERRED]);
        assert_eq!(
            message_payload(Kind::Moved, &record),
            Ok(&b"the message"[..])
        );
        assert_eq!(
            message_payload(Kind::Message, b"the message"),
            Ok(&b"the message"[..])
        );
        assert!(message_payload(Kind::Settled, &record).is_err());
    }

    #[test]
    fn the_last_answer_is_found_in_both_kinds_of_record() {
        let busy = Some(Answer::decode(DEFERRED.answer));
        let silent = Deferred {
            first: 0,
            answer: &[],
            ..DEFERRED
        };
        let record = moved(&[silent, DEFERRED]);
        assert_eq!(
            last_answer(Kind::Deferred, &encoded(&DEFERRED), 100),
            Ok(busy)
        );
        assert_eq!(
            last_answer(Kind::Deferred, &encoded(&DEFERRED), 0),
            Ok(None)
        );
        assert_eq!(last_answer(Kind::Moved, &record, 100), Ok(busy));
        assert_eq!(last_answer(Kind::Moved, &record, 0), Ok(None));
        assert_eq!(last_answer(Kind::Moved, &record, 7), Ok(None));
        assert!(last_answer(Kind::Moved, &record[..40], 7).is_err());
    }

    #[test]
    fn answers_that_do_not_fit_stay_behind() {
        let answer = [b'a'; ANSWER_LEN_MAX];
        let states: Vec<Deferred<'_>> = (0..400)
            .map(|first| Deferred {
                first,
                answer: &answer,
                ..DEFERRED
            })
            .collect();
        let record = moved(&states);
        let read: Vec<Deferred<'_>> = Moved::decode(&record)
            .expect("what was encoded")
            .states()
            .collect();
        assert_eq!(read.len(), 400);
        assert_eq!(
            read.iter().filter(|state| !state.answer.is_empty()).count(),
            128
        );
        assert!(
            read.iter()
                .zip(&states)
                .all(|(read, state)| read.first == state.first && read.open == state.open)
        );
    }

    proptest! {
        #[test]
        fn settled_comes_back(first: u16, bits: u128, outcome in 1u8..=4, code: u16) {
            let outcome = Outcome::from_number(outcome).expect("a number of an outcome");
            let settled = Settled { first, bits, outcome, code };
            prop_assert_eq!(Settled::decode(&settled.encode()), Ok(settled));
        }

        #[test]
        fn in_doubt_comes_back(first: u16, bits: u128) {
            let in_doubt = InDoubt { first, bits };
            let bytes = in_doubt.encode();
            prop_assert_eq!(InDoubt::decode(&bytes), Ok(in_doubt));
            prop_assert!(InDoubt::decode(&bytes[1..]).is_err());
        }

        #[test]
        fn deferred_and_moved_come_back(
            states in prop::collection::vec(
                (any::<u16>(), any::<u128>(), 0u32..=128, any::<u16>(), any::<u64>(),
                 prop::collection::vec(any::<u8>(), 0..=ANSWER_LEN_MAX)),
                0..5,
            ),
        ) {
            let states: Vec<Deferred<'_>> = states
                .iter()
                .map(|(first, open, doubt, attempt, next, answer)| Deferred {
                    first: *first,
                    open: *open,
                    // Of every length, with every number of them.
                    doubt: open.checked_shr(*doubt).unwrap_or(0),
                    attempt: *attempt,
                    next: Timestamp::from_unix_millis(*next),
                    answer,
                })
                .collect();
            for state in &states {
                let bytes = encoded(state);
                prop_assert!(bytes.len() <= DEFERRED_LEN_MAX);
                prop_assert_eq!(Deferred::decode(&bytes), Ok(*state));
            }
            let record = moved(&states);
            let read = Moved::decode(&record).expect("what was encoded");
            prop_assert_eq!(read.message, b"the message");
            prop_assert_eq!(read.states().collect::<Vec<_>>(), states);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, at: prop::sample::Index, wrong: u8) {
            let mut record = moved(&[DEFERRED, DEFERRED]);
            let at = at.index(record.len());
            record[at] = wrong;
            for bytes in [&bytes, &record] {
                let _ = (Settled::decode(bytes), Deferred::decode(bytes), InDoubt::decode(bytes));
                if let Ok(moved) = Moved::decode(bytes) {
                    prop_assert_eq!(moved.states().count(), usize::from(moved.count));
                }
            }
        }
    }
}
