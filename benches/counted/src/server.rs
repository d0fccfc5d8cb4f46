//! Routines of the server's pure rooms: what a message is given, how it is packed, and its way through the queue.

use crate::log::{Label, Packing};
use crate::message::header::Received;
use crate::message::{Envelope, EnvelopeView, Id, IdSource, Protocol, Timestamp};
use crate::queue::placement::placement;
use crate::queue::{
    Arrival, Effect, Group, LaneId, Outcome, Parcel, Place, Queue, Resolution, Settings,
};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

const START: u64 = 1_795_508_041_000;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

pub(crate) fn received(rounds: u64) -> u64 {
    let mut out = Vec::with_capacity(1024);
    for round in 0..rounds {
        out.clear();
        let field = Received {
            hello: b"client.example",
            peer: Some(PEER),
            hostname: b"mx.example.com",
            protocol: Protocol::Esmtp,
            id: Id::from_bits(START << 16),
            single_recipient: Some(b"user@example.net"),
            at: Timestamp::from_unix_millis(START + round),
        };
        black_box(&field).write(&mut out);
        black_box(&out);
    }
    1
}

pub(crate) fn id(rounds: u64) -> u64 {
    let mut ids = IdSource::new(3, None);
    let mut out = Vec::with_capacity(64);
    for round in 0..rounds {
        out.clear();
        ids.next(black_box(Timestamp::from_unix_millis(START + round)))
            .push(&mut out);
        black_box(&out);
    }
    1
}

pub(crate) fn envelope(rounds: u64) -> u64 {
    let mut envelope = Envelope::new();
    let mut out = Vec::with_capacity(1024);
    for _ in 0..rounds {
        out.clear();
        envelope.clear();
        envelope.peer = Some(PEER);
        envelope.set_hello(black_box(b"client.example"));
        envelope.set_sender(black_box(b"first.sender@client.example.com"));
        assert!(envelope.add_recipient(black_box(b"user1@mx.example.net")));
        envelope.encode(&mut out);
        let view = EnvelopeView::decode(black_box(&out)).expect("as written");
        for group in view.groups() {
            black_box(group);
        }
    }
    1
}

pub(crate) fn pack(rounds: u64) -> u64 {
    const RECORD_COUNT: usize = 8;
    let payload = vec![b'x'; 4096];
    let label = Label::now(1, 77).with_head_len(200);
    let mut packing = Packing::new(64 << 10);
    for _ in 0..rounds {
        black_box(packing.pack(&label, black_box(&payload), RECORD_COUNT));
    }
    RECORD_COUNT as u64
}

/// Messages that wait for their time while others pass.
const WAITING: u64 = 1000;
const DESTINATION_COUNT: u64 = 100;
const MINUTE: u64 = 60_000;

/// A queue whose destinations all lead to one lane with a connection.
struct Waiting {
    queue: Queue,
    now: Timestamp,
    id: u64,
    names: Vec<String>,
    lane: Option<LaneId>,
}

impl Waiting {
    fn new() -> Self {
        let now = Timestamp::from_unix_millis(START);
        let mut waiting = Self {
            queue: Queue::new(Settings::default(), now),
            now,
            id: 0,
            names: (0..DESTINATION_COUNT)
                .map(|n| format!("d{n}.example"))
                .collect(),
            lane: None,
        };
        for number in 0..WAITING {
            let next = now.plus_millis(5 * MINUTE + (number * 7919) % (5 * MINUTE));
            waiting.insert(1, Some(next));
        }
        waiting
    }

    fn insert(&mut self, attempt: u16, next: Option<Timestamp>) {
        self.id += 1;
        let arrival = Arrival {
            id: Id::from_bits(self.id),
            place: Place {
                segment: 1,
                offset: self.id as u32,
                len: 4096,
            },
            accepted: self.now,
            expires: None,
        };
        let group = Group {
            first: 0,
            open: 1,
            destination: &self.names[(self.id % DESTINATION_COUNT) as usize],
            attempt,
            next,
            note: None,
        };
        self.queue.insert(self.now, &arrival, [group]);
    }

    fn parcel(&mut self) -> Option<Parcel> {
        self.queue.advance(self.now);
        while let Some(effect) = self.queue.pop_effect(self.now) {
            if let Effect::Resolve(destination) = effect {
                let resolution = Resolution::Lane {
                    key: "via 127.0.0.1:2526",
                    connection_limit: 64,
                    until: Timestamp::from_unix_millis(u64::MAX),
                };
                let lane = self.queue.resolved(self.now, destination, resolution);
                self.lane = self.lane.or(lane);
            }
        }
        self.queue.take(self.now, self.lane?)
    }

    /// What is due now is taken and settled; says how many.
    fn settle(&mut self, delivered: bool) -> u64 {
        let mut count = 0;
        while let Some(parcel) = self.parcel() {
            let outcome = Outcome {
                delivered: if delivered { parcel.bits } else { 0 },
                deferred: if delivered { 0 } else { parcel.bits },
                ..Outcome::default()
            };
            let verdict = self.queue.judge(self.now, parcel.entry, &outcome);
            black_box(self.queue.settle(self.now, verdict));
            count += 1;
        }
        count
    }
}

pub(crate) fn deliver(rounds: u64) -> u64 {
    let mut waiting = Waiting::new();
    for _ in 0..rounds {
        waiting.insert(0, None);
        assert_eq!(waiting.settle(true), 1);
    }
    1
}

/// Each round goes on to where one more is due; what waits beside it lies minutes apart from its like.
pub(crate) fn retry(rounds: u64) -> u64 {
    let mut waiting = Waiting::new();
    let mut left = rounds;
    while left > 0 {
        let next = waiting.queue.next_due().expect("messages that wait");
        waiting.now = waiting.now.max(next);
        left = left.saturating_sub(waiting.settle(false));
    }
    1
}

pub(crate) fn lane_placement(rounds: u64) -> u64 {
    for _ in 0..rounds {
        black_box(placement(
            black_box("mx1.example.net;mx2.example.net"),
            1,
            64,
        ));
    }
    1
}
