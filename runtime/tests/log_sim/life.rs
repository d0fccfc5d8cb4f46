//! One life of a process with a log: tasks that append, settle, carry on, free, seal and read back, until it
//! is killed or told to close. What it sees goes to the ledger, which judges.

use super::ledger::{Found, ITEM, Known, Ledger, SETTLED, content, head_len};
use futures_lite::future::{block_on, or, poll_once};
use mailrail_runtime::log::{
    AppendError, CommitError, Durability, Label, Log, Options, Position, ReadError, Ticket, Urgency,
};
use mailrail_runtime::shard::{self, Lane};
use mailrail_runtime::signal::Notify;
use mailrail_runtime::sim::{Chance, World};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

/// Simulated time after which a log that does not go on is stuck.
pub(crate) const PATIENCE_MICROS: u64 = 60_000_000;

/// What a life and its director share.
pub(crate) struct Shared {
    world: World,
    ledger: Rc<RefCell<Ledger>>,
    next_id: Rc<Cell<u64>>,
    /// Whether the disk does wrong, or did: then calls may fail.
    is_faulty: Rc<Cell<bool>>,
    chance: RefCell<Chance>,
    closing: Notify,
    is_closing: Cell<bool>,
}

impl Shared {
    pub(crate) fn new(
        world: &World,
        ledger: &Rc<RefCell<Ledger>>,
        next_id: &Rc<Cell<u64>>,
        is_faulty: &Rc<Cell<bool>>,
        chance: &mut Chance,
    ) -> Self {
        Self {
            world: world.clone(),
            ledger: Rc::clone(ledger),
            next_id: Rc::clone(next_id),
            is_faulty: Rc::clone(is_faulty),
            chance: RefCell::new(chance.fork()),
            closing: Notify::new(),
            is_closing: Cell::new(false),
        }
    }

    /// The disk does nothing wrong any more, and the life is to end in order.
    pub(crate) fn close(&self) {
        self.is_closing.set(true);
        self.closing.notify_one();
    }

    fn below(&self, limit: u64) -> u64 {
        self.chance.borrow_mut().below(limit)
    }

    async fn pause(&self, limit: u64) {
        let micros = self.below(limit) + 1;
        self.world.pause(micros).await;
    }

    fn violate(&self, what: String) {
        self.ledger.borrow_mut().violate(what);
    }

    /// Only a disk that does wrong, or did, excuses it.
    fn excuse(&self, what: impl FnOnce() -> String) {
        if !self.is_faulty.get() {
            self.violate(what());
        }
    }

    /// Waits for what has to come.
    async fn in_time<T>(&self, what: &str, future: impl Future<Output = T>) -> Option<T> {
        let late = async {
            self.world.pause(PATIENCE_MICROS).await;
            None
        };
        let value = or(async { Some(future.await) }, late).await;
        if value.is_none() {
            self.violate(format!("{what} never comes"));
        }
        value
    }

    fn options(&self) -> Options {
        let mut options = Options::new("/var/spool", 1);
        // Settings change from life to life.
        let pick = |of: &[u32]| *self.chance.borrow_mut().pick(of);
        options.segment_len = pick(&[64 << 10, 64 << 10, 64 << 10, 96 << 10]);
        options.index_len_max = pick(&[0, 300, 4 << 10, 8 << 20, 8 << 20]);
        options.open_files_max = pick(&[1, 3, 64]) as usize;
        options.keeps_reserve = pick(&[0, 1]) == 1;
        options.first_segment_len = 32 << 10;
        options.batch_len_max = 16 << 10;
        options.copy_max = 4 << 10;
        options.lazy_commit_ms = 1 + self.below(20);
        options.min_free_space = 0;
        options.reserve_len = pick(&[0, 0, 4 << 10, 8 << 10]);
        options.in_flight_max = 1 + self.below(3) as usize;
        options
    }
}

/// A log that is open.
struct Life {
    shared: Rc<Shared>,
    log: Log,
    /// In log order, what asked to be synced and has got no word yet.
    open: RefCell<VecDeque<(Position, Ticket)>>,
}

/// With as much of a head as its id asks for.
fn item(label: Label) -> Label {
    label.with_head_len(u32::try_from(head_len(label.id)).unwrap_or(u32::MAX))
}

/// A life, from the start of its process to its end.
pub(crate) async fn live(shared: Rc<Shared>) {
    let mut found = Found::default();
    let opened = Log::open(shared.options(), &mut |view| found.see(&view)).await;
    let (log, report) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            super::tell(|| format!("{error}"));
            shared.ledger.borrow_mut().counts.refused_to_open += 1;
            return shared.excuse(|| format!("the log does not open: {error}"));
        }
    };
    super::tell(|| format!("open at {}: {report:?}", shared.world.micros()));
    {
        let mut ledger = shared.ledger.borrow_mut();
        ledger.recovered(&found);
        ledger.counts.torn += report.torn.len() as u64;
        ledger.counts.quarantined += report.quarantined.len() as u64;
        if !ledger.violations.is_empty() {
            return;
        }
    }
    let life = Rc::new(Life {
        shared,
        log,
        open: RefCell::default(),
    });
    for _ in 0..1 + life.shared.below(4) {
        shard::spawn(Lane::Accept, life.clone().append()).detach();
    }
    shard::spawn(Lane::Deliver, life.clone().settle()).detach();
    shard::spawn(Lane::Background, life.clone().free()).detach();
    shard::spawn(Lane::Deliver, life.clone().read_back()).detach();
    if life.shared.is_closing.get() {
        // What an index says is there has to be there.
        let all: Vec<u64> = life
            .shared
            .ledger
            .borrow()
            .live()
            .map(|(id, _)| id)
            .collect();
        for id in all {
            life.read_one(id).await;
        }
    }
    while !life.shared.is_closing.get() {
        life.shared.closing.notified().await;
    }
    life.end().await;
}

impl Life {
    /// The disk is well again, so the log has to be.
    async fn end(&self) {
        let mut is_well = false;
        for _ in 0..20 {
            let Some(room) = self.shared.in_time("room", self.log.room(100)).await else {
                return;
            };
            let label = item(Label::now(ITEM, self.new_id()));
            if room.is_ok()
                && let Ok(appended) = self.log.append_copied(label, &[&content(label.id, 100)])
            {
                self.appended(label.id, 100, appended.position);
                let word = self.log.committed(appended.ticket);
                let Some(word) = self.shared.in_time("a word", word).await else {
                    return;
                };
                self.shared
                    .ledger
                    .borrow_mut()
                    .word(label.id, Durability::Fsync, word);
                is_well = word.is_ok();
                if is_well {
                    break;
                }
            }
            self.shared.world.pause(500_000).await;
        }
        if !is_well {
            self.shared
                .violate("the log takes nothing though the disk is well".into());
        }
        self.shared.in_time("the end", self.log.close()).await;
    }

    fn new_id(&self) -> u64 {
        let id = self.shared.next_id.get();
        self.shared.next_id.set(id + 1);
        id
    }

    fn appended(&self, id: u64, len: usize, position: Position) {
        self.shared.ledger.borrow_mut().appended(id, len, position);
    }

    /// A length: mostly short, sometimes as long as a segment holds beside the reserve.
    fn len(&self) -> usize {
        let limit = match self.shared.below(20) {
            0 => 49_000,
            1 | 2 => 16 << 10,
            3..=6 => 4 << 10,
            _ => 400,
        };
        self.shared.below(limit) as usize
    }

    /// Whoever is told that a record is sure can rely on all before it.
    fn told(&self, position: Position) {
        let place = |position: Position| (position.segment, position.offset);
        let mut open = self.open.borrow_mut();
        while let Some((earlier, _)) = open.front()
            && place(*earlier) <= place(position)
        {
            let (earlier, ticket) = open.pop_front().expect("just seen");
            if block_on(poll_once(self.log.committed(ticket))).is_none() {
                self.shared
                    .violate(format!("{position:?} has its word before {earlier:?}"));
            }
        }
    }

    /// Waits for a word, and hears whether all before it have theirs.
    async fn word(
        &self,
        position: Position,
        ticket: Ticket,
        durability: Durability,
    ) -> Result<(), CommitError> {
        let word = self.log.committed(ticket).await;
        match word {
            Ok(()) if durability == Durability::Fsync => self.told(position),
            Ok(()) => {}
            Err(error) => self.shared.excuse(|| format!("{position:?}: {error}")),
        }
        word
    }

    /// An append that was refused.
    async fn refused(&self, error: AppendError) {
        match error {
            AppendError::Full => {
                self.shared.excuse(|| "full without a reason".into());
                self.shared.ledger.borrow_mut().counts.full += 1;
            }
            AppendError::Preparing | AppendError::Closed => {}
            _ => self.shared.violate(format!("{error}")),
        }
        self.shared.pause(20_000).await;
    }

    async fn append(self: Rc<Self>) {
        loop {
            let len = self.len();
            if let Err(error) = self.log.room(len).await {
                self.refused(error).await;
                continue;
            }
            let durability = match self.shared.below(8) {
                0 => Durability::Memory,
                1 | 2 => Durability::Write,
                _ => Durability::Fsync,
            };
            let urgency = match self.shared.below(6) {
                0 => Urgency::Lazy,
                _ => Urgency::Now,
            };
            let label = Label {
                urgency,
                durability,
                ..item(Label::now(ITEM, self.new_id()))
            };
            let bytes = content(label.id, len);
            let (first, second) = bytes.split_at(len / 3);
            let (position, ticket) = match self.log.append_copied(label, &[first, second]) {
                Ok(appended) => (appended.position, appended.ticket),
                Err(AppendError::Preparing) => {
                    self.shared.violate("no room after waiting for it".into());
                    return;
                }
                Err(error) => {
                    self.refused(error).await;
                    continue;
                }
            };
            self.appended(label.id, len, position);
            if durability == Durability::Fsync {
                self.open.borrow_mut().push_back((position, ticket.clone()));
            }
            let life = self.clone();
            let wait = async move {
                let word = life.word(position, ticket, durability).await;
                let mut ledger = life.shared.ledger.borrow_mut();
                ledger.word(label.id, durability, word);
            };
            if self.shared.below(2) == 0 {
                wait.await;
            } else {
                shard::spawn(Lane::Accept, wait).detach();
            }
            let limit = *self.shared.chance.borrow_mut().pick(&[1, 300, 5_000]);
            self.shared.pause(limit).await;
        }
    }

    /// One of those that count as there.
    fn any(&self) -> Option<u64> {
        let ledger = self.shared.ledger.borrow();
        let count = ledger.live().count() as u64;
        let at = self.shared.below(count.max(1)) as usize;
        ledger.live().nth(at).map(|(id, _)| id)
    }

    async fn settle(self: Rc<Self>) {
        loop {
            self.shared.pause(1_500).await;
            let Some(id) = self.any() else { continue };
            let appended = match self.log.append_copied(Label::lazy(SETTLED, id), &[]) {
                Ok(appended) => appended,
                Err(error) => {
                    self.refused(error).await;
                    continue;
                }
            };
            let position = appended.position;
            {
                let mut ledger = self.shared.ledger.borrow_mut();
                let item = ledger.item(id);
                item.noted = true;
                item.settled = Some(Known::Unsure);
                item.written.push(position);
            }
            let life = self.clone();
            let ticket = appended.ticket;
            self.open.borrow_mut().push_back((position, ticket.clone()));
            shard::spawn(Lane::Deliver, async move {
                if life.word(position, ticket, Durability::Fsync).await.is_ok() {
                    let mut ledger = life.shared.ledger.borrow_mut();
                    ledger.item(id).settled = Some(Known::Promised);
                }
            })
            .detach();
        }
    }

    async fn free(self: Rc<Self>) {
        loop {
            self.shared.pause(5_000).await;
            if self.shared.below(20) == 0 {
                let _ = self.log.seal();
            }
            let segments = self.log.segments();
            if segments.count as u64 >= 2 + self.shared.below(3)
                && self.carry_on(segments.oldest).await
                && self.log.segments().oldest == segments.oldest
                && self.log.free_oldest().is_some()
            {
                self.shared.ledger.borrow_mut().counts.freed += 1;
            }
        }
    }

    fn live_in(&self, segment: u32) -> Vec<(u64, usize)> {
        let ledger = self.shared.ledger.borrow();
        let within = ledger
            .live()
            .filter(|(_, item)| item.position.segment == segment);
        within.map(|(id, item)| (id, item.len)).collect()
    }

    /// Appends again what still counts in a segment; true when nothing is left there.
    async fn carry_on(&self, segment: u32) -> bool {
        let mut carried = Vec::new();
        for (id, len) in self.live_in(segment) {
            if self.log.room_for_upkeep(len).await.is_err() {
                return false;
            }
            if !self.live_in(segment).contains(&(id, len)) {
                continue;
            }
            let label = item(Label::upkeep(ITEM, id));
            let Ok(appended) = self.log.append_copied(label, &[&content(id, len)]) else {
                return false;
            };
            let position = appended.position;
            self.shared
                .ledger
                .borrow_mut()
                .item(id)
                .written
                .push(position);
            let ticket = appended.ticket;
            self.open.borrow_mut().push_back((position, ticket.clone()));
            carried.push((id, position, ticket));
        }
        for (id, position, ticket) in carried {
            if self
                .word(position, ticket, Durability::Fsync)
                .await
                .is_err()
            {
                return false;
            }
            let mut ledger = self.shared.ledger.borrow_mut();
            ledger.counts.carried += 1;
            let item = ledger.item(id);
            item.position = position;
            item.known = Known::Promised;
            // What became of the first append no longer matters: this one counts, and has to be carried on, too.
            item.failed = false;
        }
        self.live_in(segment).is_empty()
    }

    async fn read_back(self: Rc<Self>) {
        loop {
            self.shared.pause(3_000).await;
            if let Some(id) = self.any() {
                self.read_one(id).await;
            }
        }
    }

    async fn read_one(&self, id: u64) {
        let (position, len) = {
            let mut ledger = self.shared.ledger.borrow_mut();
            let item = ledger.item(id);
            (item.position, item.len)
        };
        let read = self.log.read(position).await;
        let mut ledger = self.shared.ledger.borrow_mut();
        let item = ledger.item(id).clone();
        let has_moved = item.position != position || item.noted;
        match read {
            Ok(record) => {
                let bytes: Vec<u8> = record
                    .payload
                    .chunks()
                    .flat_map(|c| c.as_slice().to_vec())
                    .collect();
                if bytes != content(id, len) || record.id != id || record.kind != ITEM {
                    ledger.violate(format!("{id} reads as something else"));
                }
                ledger.counts.read_back += 1;
            }
            Err(ReadError::Gone(_)) if has_moved => {}
            Err(ReadError::Damaged(_)) if item.rotten => {}
            // What was never promised may be lost by a failed sync.
            Err(_) if self.shared.is_faulty.get() && item.known != Known::Promised => {}
            Err(ReadError::Io { .. }) if self.shared.is_faulty.get() => {}
            Err(error) => ledger.violate(format!("{id} does not read: {error}: {item:?}")),
        }
    }
}
