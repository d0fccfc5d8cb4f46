//! Records of the spool: read or refused; what is read is written back as it was; and a start that
//! folds them, in any order, never panics.

use mailrail::message::{Answer, EnvelopeView, Id, PayloadView};
use mailrail::spool::entry::{self, Deferred, Kind, Moved, Settled};
use mailrail::spool::recover::{Fold, Place};

/// Records one behind the other: kind, id and length in an octet each, then so many octets.
pub(crate) fn run(mut bytes: &[u8]) {
    let (mut fold, mut offset) = (Fold::new(), 0);
    while let [kind, id, len, rest @ ..] = bytes {
        // A long record takes all that is left.
        let len = if *len == u8::MAX {
            rest.len()
        } else {
            usize::from(*len).min(rest.len())
        };
        let (record, behind) = rest.split_at(len);
        bytes = behind;
        let Some(kind) = Kind::from_number(kind % 5) else {
            continue;
        };
        check(kind, record);
        let place = Place {
            log: 1,
            segment: 1,
            offset,
            len: record.len() as u32,
        };
        offset += 8;
        let _ = fold.feed(kind, Id::from_bits((*id).into()), place, record);
    }
    let recovered = fold.finish();
    for message in &recovered.messages {
        assert!(message.groups().iter().any(|group| group.open() != 0));
        for group in message.groups() {
            let _ = (recovered.domain(group.domain), message.answer_place(group));
        }
    }
}

fn check(kind: Kind, record: &[u8]) {
    if let Ok(settled) = Settled::decode(record) {
        assert_eq!(Settled::decode(&settled.encode()), Ok(settled));
    }
    if let Ok(deferred) = Deferred::decode(record) {
        let mut out = Vec::new();
        deferred.encode(&mut out);
        assert_eq!(Deferred::decode(&out), Ok(deferred));
    }
    if let Ok(moved) = Moved::decode(record) {
        let mut out = Vec::new();
        Moved::encode_front(moved.states(), &mut out);
        let again = Moved::decode(&out).expect("what was written is read");
        assert!(
            again
                .states()
                .map(|state| state.open)
                .eq(moved.states().map(|state| state.open))
        );
    }
    let _ = entry::last_answer(kind, record, 0);
    let _ = Answer::decode(record);
    let _ = EnvelopeView::decode(record);
    let Ok(payload) = entry::message_payload(kind, record) else {
        return;
    };
    if let Ok(view) = PayloadView::decode_front(payload) {
        let content = view.content();
        assert!(content.len() as u64 <= view.content_range().end);
        let _ = view.envelope.return_path();
        let mut next = 0;
        for group in view.envelope.groups() {
            assert_eq!(group.first, next);
            next += group.count;
        }
        assert_eq!(usize::from(next), view.envelope.recipients().count());
    }
}
