//! A run of a seed: the world is set up, the storm passes, all becomes calm, and everything has to end.

use super::ledger::{End, Health, Ledger, Story, Tally};
use super::plan::{Act, NAMES, Plan, SERVER, Way, When};
use super::{segment, sender, sink};
use mailrail::config::Config;
use mailrail::sim::Server;
use mailrail_runtime::buffer;
use mailrail_runtime::dns::Name;
use mailrail_runtime::dns::server::{Record, Zone, serve};
use mailrail_runtime::shard::{self, Lane};
use mailrail_runtime::signal::Notify;
use mailrail_runtime::sim::disk::{Call, Failing, Faults};
use mailrail_runtime::sim::net::Weather;
use mailrail_runtime::sim::{Host, Process, Sabotage, World};
use mailrail_runtime::timer;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;

const SECOND: u64 = 1_000_000;
/// Bytes of the server's disk while it is not full.
const CAPACITY: u64 = 1 << 40;
/// After the storm, so long may the clients go on.
const CLIENT_MICROS_MAX: u64 = 1200 * SECOND;
/// Beyond `max_age`, so long may a message wait in the calm.
const WAIT_MICROS_MAX: u64 = 300 * SECOND;
/// Beyond `stop_timeout`, so long may a stop take on a disk that is well.
const STOP_MICROS_MAX: u64 = 10 * SECOND;

/// Lives that end when all is calm.
const LAST_LIVES: u64 = 2;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Run {
    /// One number for all that happened.
    pub hash: u64,
    /// All that is wrong.
    pub problems: Vec<String>,
    /// What it came to.
    pub tally: Tally,
    /// What happened, in words, if it was asked for.
    pub story: String,
}

/// Runs a seed. With `sabotage` the server leaves out one of its duties. A panic is a problem like others.
pub fn run(seed: u64, sabotage: Option<Sabotage>, has_story: bool) -> Run {
    let story = Story::default();
    let told = has_story.then(|| Rc::clone(&story));
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let plan = Rc::new(Plan::of(seed));
        World::run(seed, move |world| async move {
            if let Some(sabotage) = sabotage {
                world.sabotage(sabotage);
            }
            let mut director = Director::new(world, plan, told);
            director.direct().await;
            director.end()
        })
    }));
    let mut run = ran.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Run {
            hash: 0,
            problems: vec![format!("panicked: {}", words.unwrap_or("without a word"))],
            tally: Tally::default(),
            story: String::new(),
        }
    });
    run.story = story.take();
    let held = buffer::held_bytes();
    // What one shard had lent another when both ended stays lent for ever.
    if held != 0 && run.tally.lives <= LAST_LIVES && run.problems.is_empty() {
        let what = format!("{held} bytes of memory are held by nobody");
        run.problems.push(what);
    }
    run
}

/// What all parts of a run share.
#[derive(Clone)]
pub(super) struct Shared(Rc<Inner>);

struct Inner {
    world: World,
    plan: Rc<Plan>,
    ledger: RefCell<Ledger>,
    lines: mpsc::Receiver<(u64, Vec<u8>)>,
    is_storm: Cell<bool>,
    /// Until then the server's disk stands still.
    stalled_until: Cell<u64>,
    /// The server's machine.
    server: Host,
    /// Something was entered.
    entered: Notify,
}

impl Shared {
    pub(super) fn plan(&self) -> Rc<Plan> {
        Rc::clone(&self.0.plan)
    }

    pub(super) fn is_storm(&self) -> bool {
        self.0.is_storm.get()
    }

    /// What the server has told comes first, then `what`.
    fn enter(&self, what: impl FnOnce(&mut Ledger, u64)) {
        self.catch_up();
        let Inner { world, ledger, .. } = &*self.0;
        let mut ledger = ledger.borrow_mut();
        what(&mut ledger, world.micros());
        world.note(&ledger.entries().to_le_bytes());
        drop(ledger);
        self.0.entered.notify_one();
    }

    fn catch_up(&self) {
        let Inner { world, ledger, .. } = &*self.0;
        let mut ledger = ledger.borrow_mut();
        for (at, line) in self.0.lines.try_iter() {
            world.note(&line);
            ledger.event(at, &line);
        }
        let at = world.micros();
        let is_stalled = at < self.0.stalled_until.get();
        let health = self.0.server.disk().with_faults(|faults| {
            let mut health = Health {
                is_ill: is_stalled || faults.capacity < CAPACITY,
                ..Health::default()
            };
            for failing in &faults.failing {
                let loses = matches!(failing.call, Call::Write | Call::Sync);
                if failing.times == u32::MAX {
                    health.is_ill = true;
                    health.is_losing |= loses;
                } else {
                    health.pending += failing.times;
                    health.pending_losses += if loses { failing.times } else { 0 };
                }
            }
            health
        });
        ledger.disk(at, health);
        ledger.held(at, buffer::held_bytes() as u64);
    }

    pub(super) fn offered(&self, number: usize, listener: usize) {
        let class = self.0.plan.classes[listener];
        self.enter(|ledger, at| ledger.offered(at, number, class));
    }

    /// Whether a message may have been sent to its end.
    pub(super) fn has_left(&self, number: usize) -> bool {
        self.0.ledger.borrow().has_left(number)
    }

    pub(super) fn given_up(&self, number: usize) {
        self.enter(|ledger, at| ledger.tell(at, format_args!("sender: gives up {number}")));
    }

    pub(super) fn accepted(&self, number: usize, _listener: usize, id: &str) {
        self.enter(|ledger, at| ledger.accepted(at, number, id));
    }

    pub(super) fn refused(&self, number: usize, code: u16) {
        self.enter(|ledger, at| ledger.refused(at, number, code));
    }

    pub(super) fn refused_by_host(&self, recipient: &str) {
        self.enter(|ledger, at| ledger.refused_by_host(at, recipient));
    }

    /// Which life of the server this is.
    pub(super) fn life(&self) -> usize {
        self.0.ledger.borrow().life()
    }

    pub(super) fn taken(&self, life: usize, is_null: bool, recipients: &[String], content: &[u8]) {
        self.enter(|ledger, at| ledger.taken(at, life, is_null, recipients, content));
        self.0.world.note(content);
    }
}

/// Whoever lets things happen.
struct Director {
    world: World,
    shared: Shared,
    host: Host,
    config: Config,
    lines: mpsc::Sender<(u64, Vec<u8>)>,
    server: Option<Server>,
    has_started: bool,
    clients: Vec<Process<()>>,
}

impl Director {
    fn new(world: World, plan: Rc<Plan>, story: Option<Story>) -> Self {
        let (lines, told) = mpsc::channel();
        let host = world.host(SERVER);
        let inner = Inner {
            world: world.clone(),
            ledger: RefCell::new(Ledger::new(Rc::clone(&plan), story)),
            lines: told,
            is_storm: Cell::new(true),
            stalled_until: Cell::new(0),
            server: host.clone(),
            entered: Notify::new(),
            plan: Rc::clone(&plan),
        };
        Self {
            host,
            world,
            shared: Shared(Rc::new(inner)),
            config: plan.config.clone(),
            lines,
            server: None,
            has_started: false,
            clients: Vec::new(),
        }
    }

    async fn direct(&mut self) {
        let plan = self.shared.plan();
        self.world.network().set(plan.weather.clone());
        let faults = plan.disk.clone();
        self.host.disk().with_faults(|disk| *disk = faults);
        self.set_up(&plan);
        self.start();
        for (when, act) in &plan.acts {
            self.wait_for(*when).await;
            self.perform(act).await;
        }
        self.calm().await;
        self.come_to_an_end().await;
    }

    fn end(self) -> Run {
        self.shared.catch_up();
        let at = self.world.micros();
        let mut ledger = self.shared.0.ledger.borrow_mut();
        Run {
            problems: ledger.judge(at),
            tally: ledger.tally(),
            story: String::new(),
            hash: self.world.hash(),
        }
    }

    fn wrong(&self, what: &str) {
        self.shared.enter(|ledger, at| ledger.wrong(at, what));
    }

    /// All machines but the server's.
    fn set_up(&mut self, plan: &Plan) {
        let zone = zone(plan);
        let names = self.world.host(NAMES);
        let _ = names.spawn(async move {
            let _server = serve(zone, SocketAddr::new(NAMES, 53)).expect("a machine of its own");
            std::future::pending::<()>().await;
        });
        for (index, host) in plan.hosts.iter().enumerate() {
            let host = self.world.host(host.address);
            let _ = host.spawn(sink::run(self.world.clone(), self.shared.clone(), index));
        }
        for (index, client) in plan.clients.iter().enumerate() {
            let host = self.world.host(client.address);
            let client = sender::run(self.world.clone(), self.shared.clone(), index);
            self.clients.push(host.spawn(client));
        }
    }

    fn start(&mut self) {
        let files = self.host.disk().files();
        let names = files.iter().filter_map(|(path, _)| {
            let name = path.strip_prefix("/data/spool").ok()?;
            name.components().next()?.as_os_str().to_str()
        });
        self.shared.enter(|ledger, at| {
            let names = files
                .iter()
                .map(|(path, len)| format!("{} {len}", path.display()));
            let names: Vec<String> = names.collect();
            ledger.tell(
                at,
                format_args!(
                    "server: starts with {} shards on {names:?}",
                    self.config.shards
                ),
            );
        });
        let server = Server::start(&self.world, &self.host, &self.config, names, &self.lines);
        self.server = Some(server.expect("few shards"));
        self.has_started = false;
    }

    /// Looks after a start, as whoever starts the server does: one that fails is tried again.
    async fn look_after(&mut self) {
        if self.has_started {
            return;
        }
        let Some(server) = &self.server else { return };
        match server.poll_started() {
            None => {}
            Some(Ok(found)) => {
                self.has_started = true;
                self.shared.enter(|ledger, at| {
                    ledger.started(at, format_args!("{found:?}"));
                });
            }
            Some(Err(error)) => {
                self.shared.enter(|ledger, at| {
                    ledger.tell(at, format_args!("server: does not start: {error}"));
                });
                self.stop().await;
                self.world.pause(SECOND).await;
                self.start();
            }
        }
    }

    async fn wait_for(&mut self, when: When) {
        loop {
            self.look_after().await;
            self.shared.catch_up();
            let is_due = self.world.micros() >= when.latest
                || self.shared.0.ledger.borrow().entries() >= when.entries;
            if is_due {
                break;
            }
            let look = if self.has_started { SECOND } else { 20_000 };
            let until = when.latest.min(self.world.micros() + look);
            let _ = timer::until(until, self.shared.0.entered.notified()).await;
        }
        self.world.pause(when.later).await;
    }

    async fn perform(&mut self, act: &Act) {
        self.shared
            .enter(|ledger, at| ledger.tell(at, format_args!("now: {act:?}")));
        match *act {
            Act::Kill(pause, shards) => {
                if let Some(server) = self.server.take() {
                    self.host.kill(server.process());
                    self.life_ended(End::Killed);
                }
                self.again(pause, shards).await;
            }
            Act::CutPower(pause, shards) => {
                self.server = None;
                self.host.cut_power();
                self.life_ended(End::PowerCut);
                self.again(pause, shards).await;
            }
            Act::Stop(pause, shards) => {
                self.stop().await;
                self.again(pause, shards).await;
            }
            Act::Reload(limit) => {
                self.config.delivery.connection_limit = limit;
                if let Some(server) = &self.server {
                    server.reload(&self.config);
                }
            }
            Act::Jump(millis) => self.world.jump(millis),
            Act::DiskFails(call, rate, micros) => {
                let failing = Failing {
                    rate,
                    ..Failing::always(call)
                };
                let disk = self.host.disk().clone();
                disk.with_faults(|faults| faults.failing.push(failing));
                self.later(micros, move || {
                    disk.with_faults(|faults| faults.failing.clear())
                });
            }
            Act::DiskFailsOnce(call) => {
                self.host.disk().fail_once(call);
            }
            Act::DiskStalls(micros) => {
                self.host.disk().stall(micros);
                let until = self.world.micros() + micros;
                let stalled_until = &self.shared.0.stalled_until;
                stalled_until.set(stalled_until.get().max(until));
            }
            Act::DiskFull(left, micros) => {
                let disk = self.host.disk().clone();
                let used = disk.used();
                disk.with_faults(|faults| faults.capacity = used + left);
                self.later(micros, move || {
                    disk.with_faults(|faults| faults.capacity = CAPACITY);
                });
            }
            Act::Part(address, micros) => {
                let network = self.world.network();
                network.part(SERVER, address);
                self.later(micros, move || network.join(SERVER, address));
            }
            Act::EventLogFull(micros) => {
                if let Some(server) = &self.server {
                    server.fill_event_log(true);
                    self.world.pause(micros).await;
                    server.fill_event_log(false);
                }
            }
            Act::Rot(place, bit) => self.rot(place, bit),
        }
        self.shared.catch_up();
    }

    /// Flips a bit of a segment, where something was written.
    fn rot(&self, place: u64, bit: u8) {
        let disk = self.host.disk();
        let mut files = disk.files();
        files.retain(|(path, len)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("segment-") && *len > 0
        });
        if files.is_empty() {
            return;
        }
        let path = &files[place as usize % files.len()].0;
        let content = disk.read(path).unwrap_or_default();
        let Some((offset, hit)) = segment::place(&content, place >> 16) else {
            return;
        };
        disk.rot(path, offset, bit);
        self.shared.enter(|ledger, at| {
            ledger.tell(
                at,
                format_args!("disk: {} rots at {offset}: {hit:?}", path.display()),
            );
            ledger.rotted(&hit);
        });
    }

    /// Something passes by itself.
    fn later(&self, micros: u64, what: impl FnOnce() + 'static) {
        let world = self.world.clone();
        shard::spawn(Lane::Background, async move {
            world.pause(micros).await;
            what();
        })
        .detach();
    }

    fn life_ended(&self, end: End) {
        self.shared.enter(|ledger, at| ledger.life_ended(at, end));
    }

    async fn again(&mut self, pause: u64, shards: usize) {
        self.world.pause(pause).await;
        self.config.shards = shards;
        self.start();
    }

    /// Stops the server as it should be stopped.
    async fn stop(&mut self) {
        let Some(server) = self.server.take() else {
            return;
        };
        let patience = self.config.stop_timeout.as_micros() as u64 + STOP_MICROS_MAX;
        let until = self.world.micros() + patience;
        server.stop();
        while server.is_running() {
            if self.world.micros() > until {
                self.wrong("the server does not stop");
                self.host.kill(server.process());
                return self.life_ended(End::Killed);
            }
            self.world.pause(10_000).await;
        }
        self.life_ended(End::Stopped);
    }

    /// The storm is over: from now on nothing fails.
    async fn calm(&mut self) {
        self.shared.0.is_storm.set(false);
        self.world.network().set(Weather::fair());
        self.world.network().join_all();
        self.host
            .disk()
            .with_faults(|faults| *faults = Faults::default());
        self.shared
            .enter(|ledger, at| ledger.tell(at, format_args!("now: calm")));
        let until = self.world.micros() + CLIENT_MICROS_MAX;
        while self.clients.iter().any(Process::is_running) {
            self.look_after().await;
            if self.world.micros() > until {
                return self.wrong("a client is not served");
            }
            self.world.pause(SECOND / 2).await;
        }
        let max_age = self.config.queue.max_age.as_micros() as u64;
        let until = self.world.micros() + max_age + WAIT_MICROS_MAX;
        loop {
            self.look_after().await;
            let Some(server) = &self.server else { return };
            if self.has_started {
                match server.counts().await {
                    None => return self.wrong("the server has ended by itself"),
                    Some(counts) if counts.waiting == 0 => break,
                    Some(_) => {}
                }
            }
            if self.world.micros() > until {
                return self.wrong("messages wait for ever");
            }
            self.world.pause(SECOND).await;
        }
    }

    /// The server is stopped, and once more looked into: nothing waits.
    async fn come_to_an_end(&mut self) {
        self.stop().await;
        self.start();
        for _ in 0..1000 {
            self.look_after().await;
            if self.has_started {
                break;
            }
            self.world.pause(20_000).await;
        }
        let counts = match &self.server {
            Some(server) if self.has_started => server.counts().await,
            _ => None,
        };
        match counts {
            None => self.wrong("the server does not start"),
            Some(counts) if counts.waiting > 0 => {
                self.wrong(&format!("{} messages came back", counts.waiting));
            }
            Some(_) => {}
        }
        self.stop().await;
    }
}

/// The zone of a plan's domains.
fn zone(plan: &Plan) -> Zone {
    let mut zone = Zone::new();
    let name = |text: &str| Name::parse(text).expect("a name of ours");
    let address = |index: usize| match plan.hosts[index].address {
        IpAddr::V4(address) => Record::A(address),
        IpAddr::V6(address) => Record::Aaaa(address),
    };
    for index in 0..plan.hosts.len() {
        zone.add(&format!("mx{index}.example"), 60, address(index));
    }
    for domain in &plan.domains {
        match domain.way {
            Way::Mx | Way::TwoMx => {
                for (rank, host) in domain.hosts.iter().enumerate() {
                    let record = Record::Mx(rank as u16 * 10, name(&format!("mx{host}.example")));
                    zone.add(&domain.name, 60, record);
                }
            }
            Way::Implicit => {
                zone.add(&domain.name, 60, address(domain.hosts[0]));
            }
            Way::NullMx => {
                zone.add(&domain.name, 60, Record::Mx(0, Name::root()));
            }
            Way::Route => {
                // Never asked for.
                zone.add(&domain.name, 60, Record::A(Ipv4Addr::new(10, 0, 9, 9)));
            }
            Way::Missing => {}
        }
    }
    zone
}
