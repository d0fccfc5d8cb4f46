//! Senders are told of failures: a report is a message of our own, durable before the failure it tells of
//! is recorded.

use super::intake::now;
use super::settle::{Case, RETRY_MICROS, Stuck};
use super::world::{World, queue_place};
use crate::deliver::{self, Loaded};
use crate::dsn;
use crate::message::{
    BodyKind, Durability, Envelope, Flags, Id, META_LEN, Meta, PayloadView, Timestamp,
};
use mailrail_runtime::timer;
use std::rc::Rc;

impl World {
    /// Makes a report to the sender durable and queues it.
    pub(super) async fn tell_sender(&self, case: &Case) {
        let Some(message) = &case.message else {
            return;
        };
        let Ok(view) = message.view() else {
            return;
        };
        let Some(to) = view.envelope.return_path() else {
            return;
        };
        let content_front = message.content_front(&view, dsn::MESSAGE_LEN_MAX);
        let at = now();
        let id = self.ids.borrow_mut().next(at);
        let config = Rc::clone(&self.config.borrow());
        let failures = failures(case, &view, at);
        let report = dsn::Report {
            id,
            hostname: config.hostname.as_bytes(),
            to,
            at,
            arrival: view.meta.accepted,
            original_id: case.verdict.id,
            failures: &failures,
            content: &content_front,
            content_len: u64::from(view.meta.content_len),
        };
        let mut content = Vec::new();
        report.write(&mut content);
        self.submit(id, at, report.envelope(), &content).await;
    }

    /// Takes a message of our own: durable first, then queued. Where the disk is full it waits.
    ///
    /// Each try has the same id and the same bytes: a crash may leave several, of which the last one alone may
    /// have been confirmed, and recovery takes them for the one message that they are. With an id of its own
    /// each would be a report of its own.
    async fn submit(&self, id: Id, at: Timestamp, mut envelope: Envelope, content: &[u8]) {
        let is_eight_bit = !content.is_ascii();
        if is_eight_bit {
            envelope.body = BodyKind::EightBitMime;
        }
        let mut stored_envelope = Vec::new();
        envelope.encode(&mut stored_envelope);
        let meta = Meta {
            accepted: at,
            durability: Durability::Fsync,
            flags: Flags::none()
                .with_if(is_eight_bit, Flags::EIGHT_BIT)
                .with_if(has_leading_dots(content), Flags::LEADING_DOTS),
            envelope_len: stored_envelope.len() as u32,
            content_offset: (META_LEN + stored_envelope.len()) as u32,
            content_len: content.len() as u32,
            received_len: 0,
        };
        let front = meta.encode();
        let parts = [front.as_slice(), &stored_envelope, content];
        let mut stuck = None;
        loop {
            let message = crate::spool::in_one_chunk(parts.into_iter());
            let len = parts.iter().map(|part| part.len()).sum();
            let _ = self.spool.head().room(len).await;
            let committed = match self.spool.append_message(id, message, Durability::Fsync) {
                Ok(stored) => {
                    let place = crate::spool::place_of(id, stored.position);
                    let committed = self.spool.committed(id, stored.ticket).await;
                    if committed.is_err() {
                        self.spool.release(id, place);
                    }
                    committed
                        .map(|()| (queue_place(place), stored.payload))
                        .map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match committed {
                Ok((place, payload)) => {
                    let Ok(loaded) = Loaded::new(payload, 0) else {
                        return;
                    };
                    if let Ok(view) = loaded.view() {
                        self.enter(id, place, at, &view);
                    }
                    return;
                }
                Err(error) => {
                    if stuck.is_none() {
                        tracing::warn!(error, "a report to a sender waits for the disk");
                    }
                    stuck.get_or_insert_with(|| Stuck::new(&self.stuck_count));
                    timer::sleep(RETRY_MICROS).await;
                }
            }
        }
    }
}

fn has_leading_dots(content: &[u8]) -> bool {
    content.starts_with(b".") || memchr::memmem::find(content, b"\r\n.").is_some()
}

/// Who failed, and why, as the report to the sender tells it.
fn failures<'c>(case: &'c Case, view: &PayloadView<'c>, at: Timestamp) -> Vec<dsn::Failure<'c>> {
    let verdict = &case.verdict;
    let mut failures = Vec::new();
    for (parts, bits, reason) in [
        (&case.report.failed, verdict.failed, dsn::Reason::Refused),
        (&case.report.deferred, verdict.expired, dsn::Reason::Expired),
    ] {
        for part in parts {
            let those = deliver::Bits {
                first: verdict.first,
                bits: part.bits & bits,
            };
            for position in those.positions() {
                failures.push(dsn::Failure {
                    recipient: view.envelope.recipient(position),
                    reason,
                    answer: part.answer.borrow(),
                    remote: case.report.peer.map(|_| case.report.host.as_bytes()),
                    last_attempt: Some(at),
                });
            }
        }
    }
    failures
}
