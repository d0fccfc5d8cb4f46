//! What accept asks of its shard: room, an id, a commit.

use super::world::World;
use crate::accept::{Intake, Rejection, Submission};
use crate::deliver::Loaded;
use crate::events::{self, Event, PeerName};
use crate::message::{Answer, Id, PayloadView, Protocol, Timestamp};
use crate::{queue, spool};
use mailrail_protocol::reply::Reply;
use mailrail_runtime::log::{AppendError, Message, ROOM};
use mailrail_runtime::tls::TlsInfo;
use mailrail_runtime::{buffer, clock};

impl Intake for World {
    fn room(&self, size: u64) -> Result<(), &'static Reply<'static>> {
        let held = buffer::held_bytes() as u64;
        if !self.spool.is_available()
            || self.journal.borrow().is_overfull()
            || self.queue.borrow().used_bytes() >= self.queue_bytes_max
            || held + size.min(self.memory_max) > self.memory_max
        {
            return Err(&Reply::STORAGE_FULL);
        }
        Ok(())
    }

    fn may_grow(&self) -> bool {
        (buffer::held_bytes() as u64) < self.memory_max
    }

    fn next_id(&self, now: Timestamp) -> Id {
        self.ids.borrow_mut().next(now)
    }

    async fn commit(&self, submission: Submission<'_>) -> Result<(), &'static Reply<'static>> {
        let id = submission.id;
        let accepted = submission.meta.accepted;
        let content = submission.content;
        let len = content.len as usize - ROOM;
        let mut chunks = content.chunks.into_iter();
        let Some(first) = chunks.next() else {
            return Err(&Reply::LOCAL_ERROR);
        };
        let message = Message::new(first, chunks.collect(), len);
        self.spool
            .head()
            .room(len)
            .await
            .map_err(|error| refusal(&error))?;
        let stored = self
            .spool
            .append_message(id, message, submission.meta.durability)
            .map_err(|error| refusal(&error))?;
        let spool_place = spool::place_of(id, stored.position);
        if let Err(error) = self.spool.committed(id, stored.ticket).await {
            tracing::error!(%error, "a message could not be made durable");
            self.spool.release(id, spool_place);
            return Err(&Reply::LOCAL_ERROR);
        }

        let loaded = Loaded::new(stored.payload, 0).map_err(|error| {
            tracing::error!(%error, "a message just written cannot be read");
            &Reply::LOCAL_ERROR
        })?;
        let carried = u64::from(submission.meta.content_len);
        self.counts.update(|counts| {
            counts.accepted += 1;
            counts.content_carried += carried;
            counts.content_copied += content.copied;
            if len <= self.copy_max {
                counts.content_copied += carried;
            }
        });
        let place = super::world::queue_place(spool_place);
        if let Ok(view) = loaded.view() {
            self.note_reception(id, &view, submission.tls);
            self.enter(id, place, accepted, &view);
        }
        let kept = (buffer::held_bytes() as u64).saturating_sub(self.memory.used());
        if kept < self.contents_max && self.queue.borrow().is_ready(now(), id) {
            self.contents.borrow_mut().insert(id, loaded);
        }
        self.pump();
        Ok(())
    }

    fn rejected(&self, rejection: &Rejection<'_>) {
        self.counts.update(|counts| counts.rejected += 1);
        // Anybody can cause refusals, as many as they like: they must not fill the memory.
        if self.journal.borrow().is_overfull() {
            return;
        }
        let response = answer(rejection.reply);
        self.journal
            .borrow_mut()
            .record(&Event::Rejection(events::Rejection {
                at: now(),
                sender: Some(rejection.sender),
                recipient: Some(rejection.recipient).filter(|recipient| !recipient.is_empty()),
                peer: PeerName {
                    name: rejection.hello,
                    address: rejection.peer.ip(),
                },
                protocol: Protocol::Esmtp,
                response,
            }));
    }
}

impl World {
    fn note_reception(&self, id: Id, view: &PayloadView<'_>, tls: Option<TlsInfo>) {
        self.journal
            .borrow_mut()
            .record(&Event::Reception(events::Reception {
                at: now(),
                id,
                envelope: view.envelope,
                size: u64::from(view.meta.content_len),
                durability: view.meta.durability,
                response: answer(&Reply::QUEUED),
                tls,
            }));
    }

    /// A committed message enters the queue, group by group. The spool holds it since it was appended.
    pub(super) fn enter(
        &self,
        id: Id,
        place: queue::Place,
        accepted: Timestamp,
        view: &PayloadView<'_>,
    ) {
        let groups = view.envelope.groups().map(|group| {
            let domain = view.envelope.domain(usize::from(group.first));
            queue::Group {
                first: group.first,
                open: group.all(),
                destination: std::str::from_utf8(domain).unwrap_or_default(),
                attempt: 0,
                next: None,
                note: None,
            }
        });
        let arrival = queue::Arrival {
            id,
            place,
            accepted,
            expires: None,
        };
        self.queue.borrow_mut().insert(now(), &arrival, groups);
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_millis(clock::unix_millis())
}

fn refusal(error: &AppendError) -> &'static Reply<'static> {
    match error {
        AppendError::Full => &Reply::STORAGE_FULL,
        AppendError::TooLong => &Reply::TOO_LARGE,
        _ => &Reply::LOCAL_ERROR,
    }
}

fn answer<'r>(reply: &Reply<'r>) -> Answer<'r> {
    Answer::new(reply.code.get(), reply.status, reply.text)
}
