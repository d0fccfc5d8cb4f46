//! A shard of the source: its sessions, the rhythm in which messages become due, and what the main thread
//! asks. What a session does is `session`'s; everything here lives on the shard until its last session ends.

use super::content::Content;
use super::plan::{Plan, Share, part};
use super::session;
use super::supply::{Supply, Taken, Ticket};
use super::tally::{Progress, Tally};
use crate::cli::Tls;
use mailrail_protocol::client;
use mailrail_runtime::clock;
use mailrail_runtime::gate::Gate;
use mailrail_runtime::mailbox::Mesh;
use mailrail_runtime::shard::{self, Lane, Place, Task};
use mailrail_runtime::signal::Notify;
use mailrail_runtime::timer::{self, Precise};
use mailrail_runtime::tls::{CertificateError, Connector};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, mpsc};

/// Sessions that are started before the others may run.
const STARTED_AT_ONCE: u64 = 64;
/// Sessions of a shard that open their first connections at the same time. Servers are seen that keep five connections
/// which nobody has accepted; of one more the kernel tells its maker that it stands, and nobody the server.
const KNOCKING_MAX: u64 = 2;
/// How long a session waits for each of those before it, at most: a server that takes long to greet is asked by more at
/// the same time.
const KNOCK_US_MAX: u64 = 5_000;
/// The first message goes when every session is connected, or after this long: else those that are would keep the server
/// from the others.
const CONNECT_WAIT_US: u64 = 10_000_000;
/// How our name reads behind EHLO.
const HOSTNAME: &str = "source.example";
/// Octets that may follow BDAT before the recipients are answered for: any, since all of them are good.
const AT_ONCE_MAX: u64 = u64::MAX;

/// What the main thread says.
#[derive(Debug)]
pub(super) enum Letter {
    /// Tell how far it has come.
    Show(mpsc::Sender<Progress>),
    /// Begin no more messages.
    Close,
    /// End now, whatever is under way.
    Cut,
}

/// What all shards share, and nobody changes.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) plan: Plan,
    pub(super) content: Content,
    /// The value of each message's Date field.
    pub(super) date: Vec<u8>,
}

/// What the sessions of a shard share. Lives on their shard.
#[derive(Debug)]
pub(super) struct World {
    pub(super) work: Arc<Work>,
    pub(super) config: client::Config,
    /// Shakes hands, and takes whatever certificate is shown; `None`: in clear text. It remembers tickets, so that a
    /// connection behind the first of this shard resumes.
    pub(super) connector: Option<Connector>,
    pub(super) tally: RefCell<Tally>,
    supply: RefCell<Supply>,
    /// Whoever waits for a message to be due.
    idle: Notify,
    /// Sessions that open their first connections.
    knocking_count: Cell<u64>,
    /// Whoever waits for one of them less.
    knocked: Notify,
    /// Sessions whose first connection stands, or failed.
    arrived_count: Cell<u64>,
    arrived: Notify,
    session_count: u64,
    /// Connections that are open now.
    pub(super) open_count: Cell<u64>,
}

impl World {
    fn new(work: Arc<Work>, share: Share) -> Result<Self, CertificateError> {
        let plan = &work.plan;
        let mut config = client::Config::new(HOSTNAME);
        config.pipelining = plan.pipelining;
        config.chunking = plan.bdat;
        (config.at_once_max, config.at_once_proven_max) = (AT_ONCE_MAX, AT_ONCE_MAX);
        let connector = match plan.tls {
            Tls::Off => None,
            Tls::Starttls | Tls::Implicit => Some(Connector::opportunistic()?),
        };
        Ok(Self {
            config,
            connector,
            tally: RefCell::new(Tally::new(clock::micros(), plan.keeps_copies)),
            supply: RefCell::new(Supply::new(share)),
            idle: Notify::new(),
            knocking_count: Cell::new(0),
            knocked: Notify::new(),
            arrived_count: Cell::new(0),
            arrived: Notify::new(),
            session_count: part(plan.session_count.into(), share.index, share.count),
            open_count: Cell::new(0),
            work,
        })
    }

    /// The next message, if one is due.
    pub(super) fn take(&self, now: u64) -> Taken {
        self.supply.borrow_mut().take(now)
    }

    /// The next message, as soon as it is due; `None`: there is none any more.
    pub(super) async fn wait(&self) -> Option<Ticket> {
        loop {
            match self.take(clock::micros()) {
                Taken::Message(ticket) => return Some(ticket),
                Taken::Nothing => return None,
                Taken::Later => self.idle.notified().await,
            }
        }
    }

    /// The server has not got it: somebody else, or the same session later, tries again.
    pub(super) fn put_back(&self, ticket: Ticket) {
        self.supply.borrow_mut().put_back(ticket);
        self.idle.notify_one();
    }

    /// Whether there may be something to send.
    pub(super) fn has_more(&self) -> bool {
        self.supply.borrow().has_more()
    }

    /// Waits until few enough others knock, or have had their time for it.
    pub(super) async fn turn(&self, number: u64) -> Turn<'_> {
        let patience = clock::after(KNOCK_US_MAX * number);
        while self.knocking_count.get() >= KNOCKING_MAX {
            let knocked = self.knocked.notified();
            if timer::until(patience, knocked).await.is_err() {
                break;
            }
        }
        self.knocking_count.set(self.knocking_count.get() + 1);
        Turn(self)
    }

    /// A session's first connection stands, or failed.
    pub(super) fn arrive(&self) {
        self.arrived_count.set(self.arrived_count.get() + 1);
        if self.arrived_count.get() == self.session_count {
            self.arrived.notify_one();
        }
    }

    /// Nobody can do anything here: no further message is begun.
    pub(super) fn give_up(&self, why: &str) {
        let mut tally = self.tally.borrow_mut();
        if tally.useless.is_none() {
            tally.useless = Some(why.to_owned());
        }
        drop(tally);
        self.close();
    }

    fn close(&self) {
        self.supply.borrow_mut().close();
        self.idle.notify_all();
        self.arrived.notify_one();
    }
}

/// Leave to knock: to open a first connection.
pub(super) struct Turn<'w>(&'w World);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let World {
            knocking_count,
            knocked,
            ..
        } = self.0;
        knocking_count.set(knocking_count.get() - 1);
        knocked.notify_one();
    }
}

/// The life of a shard: until every session has ended. Then it hands over what they saw.
pub(super) async fn inhabit(place: Place<Letter>, work: Arc<Work>, results: mpsc::Sender<Tally>) {
    let share = work.plan.share(place.index, place.count);
    let world = match World::new(work, share) {
        Ok(world) => Rc::new(world),
        Err(error) => {
            let mut tally = Tally::new(clock::micros(), false);
            tally.useless = Some(error.to_string());
            let _ = results.send(tally);
            return;
        }
    };
    let gate = Gate::new();
    let sessions = Rc::new(RefCell::new(Vec::new()));
    let letters = shard::spawn(
        Lane::Background,
        hear_letters(place.mesh, Rc::clone(&world), Rc::clone(&sessions)),
    );
    let is_timed = share.rate.is_some();
    let rhythm = shard::spawn(Lane::Deliver, keep_rhythm(Rc::clone(&world), is_timed));
    for number in 0..world.session_count {
        let Some(pass) = gate.enter() else { break };
        let world = Rc::clone(&world);
        let task = shard::spawn(Lane::Deliver, async move {
            let _pass = pass;
            session::run(&world, number).await;
        });
        sessions.borrow_mut().push(task);
        if number % STARTED_AT_ONCE == STARTED_AT_ONCE - 1 {
            shard::yield_now().await;
        }
    }
    gate.close();
    gate.closed().await;
    for task in [letters, rhythm] {
        task.cancel().await;
    }
    let none = Tally::new(0, false);
    // Nobody listens any more when the main thread has given up.
    let _ = results.send(world.tally.replace(none));
}

async fn hear_letters(mesh: Mesh<Letter>, world: Rc<World>, sessions: Rc<RefCell<Vec<Task<()>>>>) {
    loop {
        match mesh.receive().await {
            Letter::Show(answer) => {
                let progress = world.tally.borrow().progress(world.open_count.get());
                let _ = answer.send(progress);
            }
            Letter::Close => world.close(),
            // A session that is dropped says what became of its messages.
            Letter::Cut => drop(sessions.take()),
        }
    }
}

/// Begins, and wakes one session for each message that becomes due. Whoever is busy then finds it when he is not.
async fn keep_rhythm(world: Rc<World>, is_timed: bool) {
    let wait = world.arrived.notified();
    let _ = timer::until(clock::after(CONNECT_WAIT_US), wait).await;
    world.supply.borrow_mut().begin(clock::micros());
    if !is_timed {
        world.idle.notify_all();
        return;
    }
    let due = |nth| world.supply.borrow().due(nth);
    let mut called_count = 0;
    // The wheel's millisecond would be seen in every latency.
    let mut timer = Precise::new();
    while let Some(next) = due(called_count) {
        timer.sleep_until(next).await;
        let now = clock::micros();
        while due(called_count).is_some_and(|due| due <= now) {
            called_count += 1;
            world.idle.notify_one();
        }
    }
    world.idle.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::plan::tests::planned;
    use futures_lite::future::poll_once;
    use std::pin::pin;

    fn world() -> World {
        let work = Work {
            plan: planned("--sessions 3").expect("a plan"),
            content: Content::new(1, 1),
            date: Vec::new(),
        };
        let share = work.plan.share(0, 1);
        World::new(Arc::new(work), share).expect("a world without TLS")
    }

    /// So far behind in the line that its patience outlasts the test.
    const BEHIND: u64 = 1_000_000;

    #[test]
    fn no_more_than_two_knock_at_the_same_time() {
        shard::run_one(async {
            let world = world();
            let (first, _second) = (world.turn(BEHIND).await, world.turn(BEHIND).await);
            let mut third = pin!(world.turn(BEHIND));
            assert!(poll_once(third.as_mut()).await.is_none());
            drop(first);
            let third = poll_once(third).await;
            assert!(third.is_some());
        })
        .expect("a shard");
    }

    #[test]
    fn whoever_has_waited_its_time_knocks_all_the_same() {
        shard::run_one(async {
            let world = world();
            let _slow = (world.turn(BEHIND).await, world.turn(BEHIND).await);
            let _third = world.turn(0).await;
            assert_eq!(world.knocking_count.get(), 3);
        })
        .expect("a shard");
    }
}
