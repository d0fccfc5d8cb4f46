//! Both ends of the demonstration, and the DNS between them, on one shard of their own: here they are
//! started, asked and stopped. What a sink or a source says is in their rooms.
//!
//! The main thread holds [`Ends`]; everything else lives on the shard, where one ledger serves all.

use super::ledger::{Ledger, Progress};
use super::messages::Run;
use super::{places, sink, source};
use mailrail_protocol::{client, server};
use mailrail_runtime::dns::server as dns;
use mailrail_runtime::gate::Gate;
use mailrail_runtime::mailbox::Outside;
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::shard::{self, Lane, Place, Running};
use mailrail_runtime::{clock, timer};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

/// Connections that submit.
const SOURCE_COUNT_MAX: u64 = 32;
/// How often to look for a port that is free at all addresses of the sinks.
const BIND_TRY_COUNT: usize = 16;
/// How long connections may take to end once the server has stopped.
const STOP_MICROS: u64 = 5_000_000;
/// How long the shard may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Connections to the sinks at once.
const SINK_CONNECTION_COUNT_MAX: usize = 1000;

/// What the shard is told.
#[derive(Debug)]
pub(super) enum Letter {
    /// Submit to the server here.
    Begin(SocketAddr),
    /// Tell how far it has come.
    Show(mpsc::Sender<Progress>),
    /// Submit no more.
    Close,
    /// End, and hand over the accounts.
    Stop(mpsc::Sender<Ledger>),
}

/// What the shard tells.
#[derive(Debug)]
enum News {
    Ready(Addresses),
    Failed(String),
    Settled,
}

/// Where things are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) dns: SocketAddr,
    pub(super) sink_port: u16,
}

/// What the main thread waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// Everything is accounted for.
    Settled,
    /// Not yet.
    NotYet,
}

/// The running ends, as the main thread sees them.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) addresses: Addresses,
    running: Running<Letter>,
    shard: Outside<Letter>,
    news: mpsc::Receiver<News>,
}

impl Ends {
    /// Starts DNS and sinks. Nothing is submitted before `begin`.
    pub(super) fn start(run: Run, message_count: u64) -> Result<Self, String> {
        let (tell, news) = mpsc::channel();
        let options = shard::Options {
            count: 1,
            // The server's shards have their cores; this one goes where there is room.
            pinned: false,
            ..shard::Options::default()
        };
        let running = shard::run(options, move |place| {
            inhabit(place, run.clone(), message_count, tell.clone())
        });
        let running = running.map_err(|error| error.to_string())?;
        let shard = running.outside(0);
        match news.recv_timeout(ANSWER_WAIT) {
            Ok(News::Ready(addresses)) => Ok(Self {
                addresses,
                running,
                shard,
                news,
            }),
            Ok(News::Failed(why)) => Err(why),
            Ok(News::Settled) | Err(_) => Err("the sinks did not start".into()),
        }
    }

    /// Begins to submit.
    pub(super) fn begin(&self, server: SocketAddr) -> Result<(), String> {
        self.post(Letter::Begin(server))
    }

    /// Waits until everything is accounted for, but not longer than this.
    pub(super) fn wait(&self, at_most: Duration) -> Result<Waited, String> {
        match self.news.recv_timeout(at_most) {
            Ok(News::Settled) => Ok(Waited::Settled),
            Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => Ok(Waited::NotYet),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> Result<Progress, String> {
        let (answer, answers) = mpsc::channel();
        self.post(Letter::Show(answer))?;
        answers.recv_timeout(ANSWER_WAIT).map_err(|_| gone())
    }

    /// Submits no more; what is under way goes on.
    pub(super) fn close(&self) -> Result<(), String> {
        self.post(Letter::Close)
    }

    /// Ends, and gives the accounts. To be called when the server has stopped.
    pub(super) fn stop(self) -> Result<Ledger, String> {
        let (answer, answers) = mpsc::channel();
        self.post(Letter::Stop(answer))?;
        let ledger = answers.recv_timeout(ANSWER_WAIT).map_err(|_| gone())?;
        self.running.join().map_err(|error| error.to_string())?;
        Ok(ledger)
    }

    fn post(&self, letter: Letter) -> Result<(), String> {
        self.shard.post(letter).map_err(|_| gone())
    }
}

fn gone() -> String {
    "the shard of sinks and sources does not answer".into()
}

/// What sinks and sources share. Lives on their shard.
#[derive(Debug)]
pub(super) struct World {
    pub(super) run: Run,
    pub(super) ledger: RefCell<Ledger>,
    pub(super) sink: server::Config,
    /// For sources that send by BDAT, and for those that send by DATA.
    pub(super) source: [client::Config; 2],
    news: mpsc::Sender<News>,
    is_told: Cell<bool>,
    sources: Gate,
    sinks: Gate,
}

impl World {
    /// Notes something, and says so if nothing is left to wait for.
    pub(super) fn note(&self, what: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.ledger.borrow_mut();
        what(&mut ledger);
        if ledger.is_settled() && !self.is_told.replace(true) {
            // Nobody listens any more when the main thread has given up.
            let _ = self.news.send(News::Settled);
        }
    }
}

fn sink_config() -> server::Config {
    let mut config = server::Config::new("sink.demo.example");
    config.greeting = "a sink of the demonstration".into();
    // Refusing is what some of them are for.
    config.limits.refusal_count_max = u32::MAX;
    config.limits.command_count_max = u32::MAX;
    config
}

fn source_config(is_chunking: bool) -> client::Config {
    let mut config = client::Config::new(places::HOME);
    config.chunking = is_chunking;
    config
}

async fn inhabit(place: Place<Letter>, run: Run, message_count: u64, news: mpsc::Sender<News>) {
    let opened = open();
    let (listeners, dns) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            let _ = news.send(News::Failed(why));
            return;
        }
    };
    let ready = Addresses {
        dns: dns.address(),
        sink_port: listeners.first().map_or(0, |first| first.local().port()),
    };
    let world = Rc::new(World {
        run,
        ledger: RefCell::new(Ledger::new(message_count)),
        sink: sink_config(),
        source: [source_config(true), source_config(false)],
        news: news.clone(),
        is_told: Cell::new(false),
        sources: Gate::new(),
        sinks: Gate::new(),
    });
    let listening: Vec<_> = listeners
        .into_iter()
        .map(|listener| shard::spawn(Lane::Deliver, listen(Rc::clone(&world), listener)))
        .collect();
    let _ = news.send(News::Ready(ready));
    let accounts = loop {
        match place.mesh.receive().await {
            Letter::Begin(server) => {
                for index in 0..message_count.min(SOURCE_COUNT_MAX) as usize {
                    submit(&world, server, index);
                }
            }
            Letter::Show(answer) => {
                let _ = answer.send(world.ledger.borrow().progress());
            }
            Letter::Close => world.note(Ledger::close),
            Letter::Stop(answer) => break answer,
        }
    };
    world.note(Ledger::close);
    world.sources.close();
    world.sinks.close();
    let until = clock::after(STOP_MICROS);
    let _ = timer::until(until, world.sources.closed()).await;
    let _ = timer::until(until, world.sinks.closed()).await;
    for task in listening {
        task.cancel().await;
    }
    let _ = accounts.send(world.ledger.replace(Ledger::new(0)));
}

fn submit(world: &Rc<World>, server: SocketAddr, index: usize) {
    let Some(pass) = world.sources.enter() else {
        return;
    };
    let world = Rc::clone(world);
    shard::spawn(Lane::Accept, async move {
        source::run(&world, server, index).await;
        drop(pass);
    })
    .detach();
}

/// Sinks at all their addresses, and the DNS. Each takes ports that are free.
fn open() -> Result<(Vec<Listener>, dns::Server), String> {
    let anywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let dns = dns::serve(places::zone(), anywhere)
        .map_err(|error| format!("cannot serve the DNS on {}: {error}", anywhere.ip()))?;
    let mut tries = BIND_TRY_COUNT;
    loop {
        tries -= 1;
        match bind_sinks() {
            Ok(listeners) => return Ok((listeners, dns)),
            // What was free at the first address was not at another: take the next.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(format!("cannot listen on 127.0.0.2 to .6: {error}")),
        }
    }
}

fn bind_sinks() -> io::Result<Vec<Listener>> {
    let mut port = 0;
    let mut listeners = Vec::new();
    for address in places::SINKS {
        let listener = Listener::bind(SocketAddr::new(IpAddr::V4(address), port))?;
        port = listener.local().port();
        listeners.push(listener);
    }
    Ok(listeners)
}

async fn listen(world: Rc<World>, listener: Listener) {
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a sink could not accept");
                continue;
            }
        };
        let Some(pass) = world.sinks.enter() else {
            return;
        };
        if world.sinks.count() > SINK_CONNECTION_COUNT_MAX {
            continue;
        }
        let world = Rc::clone(&world);
        shard::spawn(Lane::Deliver, async move {
            if let Err(error) = sink::serve(stream, &world).await {
                tracing::debug!(%error, "a connection to a sink was lost");
            }
            drop(pass);
        })
        .detach();
    }
}
