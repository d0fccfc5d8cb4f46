//! What the caller may do with the queue.

use super::view::{Counts, Cursor, Message, Row};
use super::{
    Arrival, DestinationId, Done, Effect, EntryId, Group, LaneCounts, LaneId, Outcome, Parcel,
    Place, Resolution, Settings, Verdict,
};
use crate::message::{Id, Timestamp};

/// One shard's waiting mail. Lives as long as the shard.
#[derive(Debug)]
pub struct Queue {
    settings: Settings,
}

impl Queue {
    /// An empty queue.
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        let _ = now;
        Self { settings }
    }

    /// Takes new settings for all decisions from now on; the seed stays.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// A committed message enters. Returns false when none of its groups is open: nothing was taken,
    /// the message is done.
    pub fn insert<'a>(
        &mut self,
        now: Timestamp,
        arrival: &Arrival,
        groups: impl IntoIterator<Item = Group<'a>>,
    ) -> bool {
        let _ = (now, arrival, groups.into_iter().count());
        unimplemented!()
    }

    /// The clock goes on: what is due becomes due, what is too old expires. After a jump back all
    /// times are clamped.
    pub fn advance(&mut self, now: Timestamp) {
        let _ = now;
        unimplemented!()
    }

    /// When to call [`Self::advance`] again at the latest; `None`: nothing waits for a time.
    pub fn next_due(&self) -> Option<Timestamp> {
        unimplemented!()
    }

    /// The next thing to do for the caller, cheap ones first. Verdicts are made as they are asked
    /// for: stop asking, and the rest waits.
    pub fn pop_effect(&mut self, now: Timestamp) -> Option<Effect> {
        let _ = now;
        unimplemented!()
    }

    /// The answer to [`Effect::Resolve`]. Returns the lane, if there is one.
    pub fn resolved(
        &mut self,
        now: Timestamp,
        destination: DestinationId,
        resolution: Resolution<'_>,
    ) -> Option<LaneId> {
        let _ = (now, destination, resolution);
        unimplemented!()
    }

    /// A destination's name as it was inserted, in lower case.
    pub fn destination_name(&self, destination: DestinationId) -> &str {
        let _ = destination;
        unimplemented!()
    }

    /// A lane's name.
    pub fn lane_key(&self, lane: LaneId) -> &str {
        let _ = lane;
        unimplemented!()
    }

    /// The lane of this name, if it exists.
    pub fn find_lane(&self, key: &str) -> Option<LaneId> {
        let _ = key;
        unimplemented!()
    }

    /// The next parcel for a connection of this lane, destinations in turn; `None` when nothing is due
    /// or the lane is suspended.
    pub fn take(&mut self, now: Timestamp, lane: LaneId) -> Option<Parcel> {
        let _ = (now, lane);
        unimplemented!()
    }

    /// The parcel was not tried (the connection ended before): it is due again, ahead of the others.
    pub fn give_back(&mut self, now: Timestamp, entry: EntryId) {
        let _ = (now, entry);
        unimplemented!()
    }

    /// What an outcome leads to. Changes nothing.
    pub fn judge(&mut self, now: Timestamp, entry: EntryId, outcome: &Outcome) -> Verdict {
        let _ = (now, entry, outcome);
        unimplemented!()
    }

    /// The verdict has been recorded. Returns the message if it is done.
    pub fn settle(&mut self, now: Timestamp, verdict: Verdict) -> Option<Done> {
        let _ = (now, verdict);
        unimplemented!()
    }

    /// The note of the entry's last deferral has this place now. False if the entry is gone.
    pub fn noted(&mut self, entry: EntryId, note: Place) -> bool {
        let _ = (entry, note);
        unimplemented!()
    }

    /// How many connections to open for the lane now.
    pub fn wants(&self, now: Timestamp, lane: LaneId) -> u32 {
        let _ = (now, lane);
        unimplemented!()
    }

    /// A connection is being opened.
    pub fn opening(&mut self, lane: LaneId) {
        let _ = lane;
        unimplemented!()
    }

    /// It is open: the greeting was good.
    pub fn opened(&mut self, lane: LaneId) {
        let _ = lane;
        unimplemented!()
    }

    /// It could not be opened: no host of the lane took it. Without another open connection the lane
    /// is suspended, and up to `max_ready` due entries are deferred with this answer.
    pub fn open_failed(&mut self, now: Timestamp, lane: LaneId, answer: &[u8]) {
        let _ = (now, lane, answer);
        unimplemented!()
    }

    /// An open connection has ended. What it held has been settled or given back.
    pub fn closed(&mut self, lane: LaneId) {
        let _ = lane;
        unimplemented!()
    }

    /// No attempt before `until`, whatever else is known; [`Effect::Lane`] then.
    pub fn suspend(&mut self, lane: LaneId, until: Timestamp) {
        let _ = (lane, until);
        unimplemented!()
    }

    /// The lane's share of connections has changed.
    pub fn set_connection_limit(&mut self, lane: LaneId, connection_limit: u32) {
        let _ = (lane, connection_limit);
        unimplemented!()
    }

    /// The lane in figures; `None` if it is gone.
    pub fn lane(&self, lane: LaneId) -> Option<LaneCounts> {
        let _ = lane;
        unimplemented!()
    }

    /// The log has written the message anew. False if it is not in the queue.
    pub fn moved(&mut self, id: Id, place: Place) -> bool {
        let _ = (id, place);
        unimplemented!()
    }

    /// A message.
    pub fn get(&self, id: Id) -> Option<Message> {
        let _ = id;
        unimplemented!()
    }

    /// The groups of a message that are not done; none when it is not in the queue.
    pub fn groups(&self, id: Id) -> impl Iterator<Item = Row<'_>> {
        let _ = id;
        std::iter::empty()
    }

    /// At least `limit` rows behind the cursor (whole messages; fewer at the end); returns where to go
    /// on, `None` at the end.
    pub fn list<'a>(
        &'a self,
        after: Option<Cursor>,
        limit: usize,
        row: &mut dyn FnMut(Row<'a>),
    ) -> Option<Cursor> {
        let _ = (after, limit, row);
        unimplemented!()
    }

    /// The queue in figures.
    pub fn counts(&self) -> Counts {
        unimplemented!()
    }
}
