//! A record in one line. Pure; peers' bytes are shown so that they cannot steer a terminal.

use crate::message::{Answer, Id, Malformed, PayloadView, Timestamp};
use crate::spool::entry::{Deferred, InDoubt, Kind, Moved, Outcome, Settled};
use mailrail_runtime::log::RecordView;
use std::fmt::Write;

/// Recipients that are named; further ones are counted.
const NAMED_MAX: usize = 4;
/// Groups of a moved message that are told; further ones are counted.
const STATES_MAX: usize = 4;
/// Bytes of one name or answer that are shown.
const TEXT_LEN_MAX: usize = 120;

/// The record's kind, message and content in words.
pub(super) fn told(kind: Option<Kind>, record: &RecordView<'_>) -> String {
    let id = Id::from_bits(record.id);
    let len = record.position.len;
    let Some(kind) = kind else {
        return format!("kind {}  {id}  {len} bytes: unknown", record.kind);
    };
    let mut out = format!("{}  {id}  ", name(kind));
    let written = match kind {
        Kind::Message => message(record.head, &mut out),
        Kind::Settled => settled(record.head, &mut out),
        Kind::Deferred => Deferred::decode(record.head).map(|state| deferred(&state, &mut out)),
        Kind::Moved => moved(record.head, &mut out),
        Kind::InDoubt => in_doubt(record.head, &mut out),
        Kind::Mark => Ok(()),
    };
    if let Err(error) = written {
        let _ = write!(out, "{len} bytes that make no sense: {error}");
    }
    out
}

/// A kind's name.
pub(super) const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Message => "message",
        Kind::Settled => "settled",
        Kind::Deferred => "deferred",
        Kind::Moved => "moved",
        Kind::InDoubt => "in-doubt",
        Kind::Mark => "mark",
    }
}

/// Text of a peer's, bounded, on one line.
pub(super) fn plain(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(TEXT_LEN_MAX)];
    let mut out = String::new();
    for letter in String::from_utf8_lossy(shown).chars() {
        if letter.is_control() {
            let _ = write!(out, "{}", letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    if shown.len() < bytes.len() {
        out.push('…');
    }
    out
}

fn time(timestamp: Timestamp) -> String {
    let mut out = Vec::new();
    timestamp.push_rfc3339(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn message(payload: &[u8], out: &mut String) -> Result<(), Malformed> {
    let view = PayloadView::decode_front(payload)?;
    let envelope = view.envelope;
    let _ = write!(
        out,
        "accepted {}  {} bytes  {}  from <{}> to",
        time(view.meta.accepted),
        view.meta.content_len,
        view.meta.durability.name(),
        plain(envelope.sender()),
    );
    for recipient in envelope.recipients().take(NAMED_MAX) {
        let _ = write!(out, " <{}>", plain(recipient));
    }
    if let more @ 1.. = envelope.recipient_count().saturating_sub(NAMED_MAX) {
        let _ = write!(out, " and {more} more");
    }
    Ok(())
}

/// `group 0 recipients 0 2 3`, as many as the bits say, in few words.
fn group(first: u16, bits: u128, out: &mut String) {
    let _ = write!(out, "group {first}  {} of it", bits.count_ones());
    let mut bits = bits;
    let mut number = 0;
    while bits != 0 && number < NAMED_MAX {
        let separator = if number == 0 { ": " } else { " " };
        let _ = write!(out, "{separator}{}", bits.trailing_zeros());
        bits &= bits - 1;
        number += 1;
    }
    if bits != 0 {
        out.push_str(" …");
    }
}

fn settled(bytes: &[u8], out: &mut String) -> Result<(), Malformed> {
    let settled = Settled::decode(bytes)?;
    group(settled.first, settled.bits, out);
    let outcome = match settled.outcome {
        Outcome::Delivered => "delivered",
        Outcome::Bounced => "bounced",
        Outcome::Expired => "expired",
        Outcome::Removed => "removed",
    };
    let _ = match settled.code {
        0 => write!(out, "  {outcome}  without an answer"),
        code => write!(out, "  {outcome}  {code}"),
    };
    Ok(())
}

fn deferred(state: &Deferred<'_>, out: &mut String) {
    group(state.first, state.open, out);
    let _ = write!(
        out,
        "  open  attempts {}  next {}",
        state.attempt,
        time(state.next)
    );
    if state.doubt != 0 {
        let _ = write!(out, "  {} in doubt", state.doubt.count_ones());
    }
    if let Some(Answer { code, text, .. }) = state.answer() {
        let _ = write!(out, "  {code} {}", plain(text));
    }
}

fn moved(bytes: &[u8], out: &mut String) -> Result<(), Malformed> {
    let moved = Moved::decode(bytes)?;
    message(moved.message, out)?;
    let mut states = moved.states();
    for state in states.by_ref().take(STATES_MAX) {
        out.push_str("  | ");
        deferred(&state, out);
    }
    if let more @ 1.. = states.count() {
        let _ = write!(out, "  | and {more} more groups");
    }
    Ok(())
}

fn in_doubt(bytes: &[u8], out: &mut String) -> Result<(), Malformed> {
    let in_doubt = InDoubt::decode(bytes)?;
    group(in_doubt.first, in_doubt.bits, out);
    out.push_str("  the end of the content follows");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailrail_runtime::log::Position;
    use proptest::prelude::*;

    fn told_of(kind: u8, head: &[u8]) -> String {
        let position = Position {
            segment: 1,
            offset: 4096,
            len: head.len() as u32,
        };
        let record = RecordView {
            kind,
            id: 7,
            position,
            head,
        };
        told(Kind::from_number(kind), &record)
    }

    #[test]
    fn notes_in_words() {
        let settled = Settled {
            first: 3,
            bits: 0b11_1101,
            outcome: Outcome::Delivered,
            code: 250,
        };
        assert_eq!(
            told_of(2, &settled.encode()),
            format!(
                "settled  {}  group 3  5 of it: 0 2 3 4 …  delivered  250",
                Id::from_bits(7)
            )
        );
        let mut bytes = Vec::new();
        let state = Deferred {
            first: 0,
            open: 0b11,
            doubt: 0b10,
            attempt: 2,
            next: Timestamp::from_unix_millis(1_795_508_041_000),
            answer: b"421 4.4.2 lost\x1b[2J",
        };
        state.encode(&mut bytes);
        let told = told_of(3, &bytes);
        assert!(told.contains("2 of it: 0 1  open  attempts 2"), "{told}");
        assert!(told.ends_with("1 in doubt  421 lost\\u{1b}[2J"), "{told}");
        assert!(told_of(9, b"x").contains("unknown"));
        assert!(told_of(1, b"x").contains("make no sense"));
    }

    proptest! {
        #[test]
        fn any_record_is_one_bounded_line(kind: u8, head: Vec<u8>) {
            let told = told_of(kind, &head);
            prop_assert!(!told.contains(|letter: char| letter.is_control()), "{}", told);
            prop_assert!(told.len() < 4096);
        }
    }
}
