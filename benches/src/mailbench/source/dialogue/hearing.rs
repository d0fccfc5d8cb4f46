//! What an answer means: for the message in work, for the counts, and for the connection. Nothing is awaited.

use super::{Dialogue, End, Work};
use crate::source::shard::World;
use crate::source::tally::{Failure, Step};
use mailrail_protocol::client::{Event, Fate};
use mailrail_protocol::time::Instant;

/// What was there to hear.
pub(super) enum Heard {
    Something,
    NeedInput,
    End(End),
}

impl Dialogue<'_> {
    /// One answer of the server's.
    pub(super) fn hear(&mut self) -> Heard {
        let now = self.now;
        let mut input = self.inbox.unread();
        let before = input.len();
        let commands = self.outgoing.commands();
        let event = self
            .session
            .receive(Instant::from_micros(now), &mut input, commands);
        let used = before - input.len();
        let mut heard = Heard::Something;
        let mut tally = self.world.tally.borrow_mut();
        let oldest = self.works.front_mut();
        let mut has_ended = false;
        if matches!(event, Event::NeedInput) {
            return Heard::NeedInput;
        }
        tally.ended = now;
        match event {
            Event::NeedInput => {}
            Event::Mail(answer) => {
                if let Some(work) = oldest {
                    if answer.is_positive() {
                        tally.took(Step::Mail, work.asked, now);
                    } else {
                        work.failure = Some(Failure::of(answer.code.get()));
                        tally.answered(&answer);
                    }
                }
            }
            Event::Recipient(index, answer) => {
                if let Some(work) = oldest {
                    if answer.is_positive() {
                        tally.took(Step::Recipient, work.asked, now);
                    } else {
                        work.failure = Some(Failure::of(answer.code.get()));
                        work.refused.push(index);
                        tally.answered(&answer);
                    }
                }
            }
            // It concerns the newest, and that is the only one: all before it was answered before.
            Event::SendBody => {
                if let Some(work) = oldest {
                    tally.took(Step::Data, work.asked, now);
                }
            }
            Event::Sent(answer) if answer.is_positive() => {
                if let Some(work) = oldest {
                    tally.took(Step::Final, work.content_ended, now);
                    tally.took(Step::Message, work.ticket.due, now);
                    tally.messages += 1;
                    tally.content_bytes += work.content_len;
                    let count = u64::from(self.world.work.plan.recipient_count);
                    tally.copies += count - work.refused.len() as u64;
                    if let Some(copies) = &mut tally.acknowledged {
                        let is_taken = |index: &u64| {
                            work.refused.is_empty()
                                || work.refused.binary_search(&(*index as u16)).is_err()
                        };
                        let first = work.ticket.number * count;
                        for index in (0..count).filter(is_taken) {
                            copies.count(first + index);
                        }
                    }
                }
                has_ended = true;
            }
            Event::Sent(answer) => {
                tally.answered(&answer);
                tally.failed(Failure::of(answer.code.get()));
                has_ended = true;
            }
            Event::Refused(answer) => {
                tally.answered(&answer);
                tally.failed(Failure::of(answer.code.get()));
                has_ended = true;
                heard = Heard::End(End::Lost("refused in the middle of a content".into()));
            }
            Event::LeftOver(from) => {
                if let Some(work) = oldest {
                    let count = self.world.work.plan.recipient_count as u16;
                    work.refused.extend(from..count);
                    tally.told("recipients beyond the server's LIMITS");
                }
            }
            Event::Over => {
                if let Some(work) = self.works.pop_front() {
                    match work.failure {
                        Some(failure) => tally.failed(failure),
                        // The connection is used up: another one may have it.
                        None => {
                            drop(tally);
                            self.world.put_back(work.ticket);
                        }
                    }
                    self.answered_count += 1;
                }
            }
            Event::Unsendable(why) => {
                tally.told(&why.to_string());
                tally.failed(Failure::Refused);
                has_ended = true;
            }
            Event::Close(_) if self.is_quitting && self.works.is_empty() => {
                heard = Heard::End(End::Done);
            }
            Event::Close(answer) => {
                tally.answered(&answer);
                heard = Heard::End(End::Lost(answer.to_string()));
            }
            Event::Broken(violation, _) => {
                heard = Heard::End(End::Lost(format!("broke the protocol: {violation}")));
            }
            Event::Closed => heard = Heard::End(End::Lost("the connection is closed".into())),
            Event::Answered
            | Event::Ready(_)
            | Event::Handshake
            | Event::TlsRefused(_)
            | Event::Challenge(_)
            | Event::Authenticated(_)
            | Event::AuthRefused(_)
            | Event::Other(_)
            | Event::Delivered(..) => {}
        }
        if has_ended {
            self.works.pop_front();
            self.answered_count += 1;
        }
        self.inbox.consume(used);
        heard
    }
}

/// A message whose connection has ended before it.
pub(super) fn settle(world: &World, work: &Work, fate: Option<Fate>) {
    match (fate, work.failure) {
        (Some(Fate::InDoubt), _) => world.tally.borrow_mut().in_doubt += 1,
        (Some(Fate::Answered), Some(failure)) => world.tally.borrow_mut().failed(failure),
        _ => world.put_back(work.ticket),
    }
}
