//! What the events of one verdict tell: to whom it happened, and what was answered.

use super::intake::now;
use super::settle::Case;
use super::world::World;
use crate::deliver::Part;
use crate::events::{self, Event, PeerName, Recipients};
use crate::message::{Durability, PayloadView, Timestamp};

impl World {
    pub(super) fn note_events(&self, case: &Case) {
        let verdict = &case.verdict;
        let view = case
            .message
            .as_ref()
            .and_then(|message| message.view().ok());
        let queue = self.queue.borrow();
        let domain = queue.destination_name(verdict.destination).as_bytes();
        let mut journal = self.journal.borrow_mut();
        let about = About {
            case,
            view,
            domain,
            at: now(),
        };
        let report = &case.report;
        for part in parts_of(&report.delivered, verdict.delivered) {
            journal.record(&Event::Delivery(about.attempt(part)));
        }
        for part in parts_of(&report.failed, verdict.failed) {
            journal.record(&Event::Bounce(about.attempt(part)));
        }
        for part in parts_of(&report.deferred, verdict.expired) {
            journal.record(&Event::Expiration(about.attempt(part)));
        }
        for part in parts_of(&report.deferred, verdict.deferred) {
            journal.record(&Event::TransientFailure(about.attempt(part)));
        }
    }
}

/// What the events of one verdict have in common.
struct About<'c> {
    case: &'c Case,
    view: Option<PayloadView<'c>>,
    domain: &'c [u8],
    at: Timestamp,
}

impl<'c> About<'c> {
    fn attempt(&self, (part, bits): (&'c Part, u128)) -> events::Attempt<'c> {
        let Self { case, view, .. } = *self;
        let host = case.report.host.as_bytes();
        events::Attempt {
            at: self.at,
            created: case.verdict.accepted,
            id: case.verdict.id,
            sender: view.map_or(b"", |view| view.envelope.sender()),
            recipients: match view {
                Some(view) => Recipients::Some {
                    envelope: view.envelope,
                    first: case.verdict.first,
                    bits,
                },
                None => Recipients::One(b""),
            },
            queue: self.domain,
            site: host,
            size: view.map_or(0, |view| u64::from(view.meta.content_len)),
            response: part.answer.borrow(),
            peer: case.report.peer.map(|peer| PeerName {
                name: host,
                address: peer.ip(),
            }),
            attempt_count: case.verdict.attempt_count(),
            durability: view.map_or(Durability::Fsync, |view| view.meta.durability),
            tls: case.report.tls,
        }
    }
}

/// The answers that concern these recipients, and whom of them each.
fn parts_of(parts: &[Part], bits: u128) -> impl Iterator<Item = (&Part, u128)> {
    parts
        .iter()
        .map(move |part| (part, part.bits & bits))
        .filter(|(_, bits)| *bits != 0)
}
