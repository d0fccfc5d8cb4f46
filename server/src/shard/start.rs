//! A shard's life: its logs are opened, what lives in them is queued again, its listeners are opened,
//! and at the end everything is closed in the same order.

use super::descriptors::{Descriptors, Share};
use super::intake::now;
use super::letters::Letter;
use super::memory::Memory;
use super::notes::Notes;
use super::world::{self, Counts, World, queue_place};
use crate::accept;
use crate::config::{self, Config, LineEndings, ListenerTls};
use crate::events::log::Journal;
use crate::message::{Id, IdSource};
use crate::queue::{self, Queue};
use crate::spool::Spool;
use crate::spool::recover::{Fold, Recovered};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::server as protocol;
use mailrail_runtime::buffer::ALIGNMENT;
use mailrail_runtime::clock;
use mailrail_runtime::dns::Resolver;
use mailrail_runtime::gate::Gate;
use mailrail_runtime::log::Options;
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::shard::{self, Lane, Place};
use mailrail_runtime::signal::Notify;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;

/// Said to a peer for whom there is no room, before it has said anything.
const TOO_MANY: &[u8] = b"421 4.3.2 Too many connections, try again later\r\n";
/// How long such a peer may take to read it.
const TOO_MANY_MICROS: u64 = 5_000_000;
/// Memory that content may take in all, in multiples of the budget for what waits for delivery.
const MEMORY_FACTOR: u64 = 4;

/// What the queue of a shard may hold of waiting messages whatever the budget is: two million of them.
const QUEUE_BYTES_MIN: u64 = 256 << 20;

/// Files of sealed segments that stay open, over all shards: within what `descriptors` keeps for logs.
const OPEN_FILES_MAX: usize = 128;

/// What a shard starts from.
pub(crate) struct Seed {
    pub(crate) config: Config,
    pub(crate) journal: Journal,
    /// Numbers of the logs it owns; the first takes new mail.
    pub(crate) logs: Vec<u16>,
    /// The highest id that a name beside the logs remembers.
    pub(crate) highest: Option<Id>,
    /// Files that the whole process may have open.
    pub(crate) open_files: u64,
    pub(crate) ready: mpsc::Sender<Result<Started, String>>,
    /// Where it says at its end what it has done.
    pub(crate) last: mpsc::Sender<Counts>,
}

/// What a shard found when it started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Started {
    pub(crate) waiting: u64,
    pub(crate) quarantined: u64,
}

/// Runs a shard from its start to its end.
pub(crate) async fn run(place: Place<Letter>, seed: Seed) {
    let (ready, last) = (seed.ready.clone(), seed.last.clone());
    let mesh = place.mesh.clone();
    let (world, listeners, started) = match prepare(&place, seed).await {
        Ok(prepared) => prepared,
        Err(error) => {
            let _ = ready.send(Err(error));
            mesh.close();
            return;
        }
    };
    let mut tasks = vec![
        shard::spawn(Lane::Deliver, Rc::clone(&world).tick()),
        shard::spawn(Lane::Background, Rc::clone(&world).hand_over_events()),
        shard::spawn(Lane::Background, Rc::clone(&world).keep_house()),
        shard::spawn(Lane::Deliver, Rc::clone(&world).share_memory()),
        shard::spawn(Lane::Deliver, Rc::clone(&world).share_descriptors()),
        shard::spawn(Lane::Background, Rc::clone(&world).keep_notes()),
    ];
    let own_task_count = tasks.len();
    for (index, listener) in listeners.into_iter().enumerate() {
        tasks.push(shard::spawn(
            Lane::Accept,
            listen(Rc::clone(&world), listener, index),
        ));
    }
    let letters = shard::spawn(Lane::Deliver, Rc::clone(&world).read_letters());
    world.meet_doubts();
    let _ = ready.send(Ok(started));
    world.stop_wanted.notified().await;
    // Listeners first: nobody new comes in while the others are seen off.
    for task in tasks.drain(own_task_count..) {
        task.cancel().await;
    }
    world.stop().await;
    // Nobody may want to know.
    let _ = last.send(world.count());
    mesh.close();
    letters.cancel().await;
    for task in tasks {
        task.cancel().await;
    }
}

/// Refuses an id above which there are none.
fn has_ids_left(highest: Option<Id>) -> Result<(), String> {
    highest
        .filter(|id| id.is_near_the_end())
        .map_or(Ok(()), |last| {
            Err(format!(
                "spool: the id {last}, of a record or of a file ids-after-…, leaves no room for ids above it: \
                 no message had it, so that record or file is not ours"
            ))
        })
}

fn bind(config: &Config) -> Result<Vec<Listener>, String> {
    let bound = config.listeners.iter().map(|listener| {
        Listener::bind(listener.address)
            .map_err(|error| format!("cannot listen on {}: {error}", listener.address))
    });
    bound.collect()
}

async fn prepare(
    place: &Place<Letter>,
    seed: Seed,
) -> Result<(Rc<World>, Vec<Listener>, Started), String> {
    let Seed {
        config,
        journal,
        logs,
        highest,
        open_files,
        ..
    } = seed;
    let options: Vec<Options> = logs.iter().map(|log| log_options(&config, *log)).collect();
    let copy_max = options
        .first()
        .map_or(0, |options| options.copy_max as usize);
    let mut fold = Fold::new();
    let (spool, reports) = Spool::open(options, &mut fold)
        .await
        .map_err(|error| format!("spool: {error}"))?;
    let recovered = fold.finish();
    let highest_logged = reports.iter().filter_map(|report| report.highest_id).max();
    let highest = recovered
        .highest
        .max(highest_logged.map(Id::from_bits))
        .max(highest);
    let usable = has_ids_left(highest).and_then(|()| bind(&config));
    let listeners = match usable {
        Ok(listeners) => listeners,
        Err(error) => {
            // The log may have a call under way on another thread, which must find this shard there.
            spool.close().await;
            return Err(error);
        }
    };
    let mut started = Started::default();
    for report in &reports {
        started.quarantined += report.quarantined.len() as u64;
        for damage in &report.quarantined {
            tracing::error!(?damage, "a damaged part of the spool was set aside");
        }
    }
    if recovered.counts.malformed > 0 {
        tracing::error!(
            count = recovered.counts.malformed,
            "records of the spool make no sense and were left out"
        );
    }

    let number = spool.number();
    let share = place.count as u64;
    let memory_budget = config.spool.memory_budget / share;
    let contents_max = memory_budget / 2;
    let world = Rc::new_cyclic(|me| World {
        index: place.index,
        count: place.count,
        delivery: RefCell::new(Rc::new(world::delivery(&config))),
        spool,
        copy_max,
        queue: RefCell::new(Queue::new(world::settings(&config, place.index), now())),
        contents: RefCell::default(),
        lanes: RefCell::default(),
        resolver: RefCell::new(Resolver::new(world::resolver(&config))),
        journal: RefCell::new(journal),
        ids: RefCell::new(IdSource::new(number, highest)),
        counts: world::Tally::default(),
        sentence_count: Cell::new(0),
        stuck_count: Rc::default(),
        notes: Notes::default(),
        memory: Memory::new(memory_budget - contents_max),
        is_listing: Cell::new(false),
        contents_max,
        queue_bytes_max: memory_max(&config, memory_budget).max(QUEUE_BYTES_MIN),
        forget_at: Cell::new(None),
        memory_max: memory_max(&config, memory_budget),
        gate: Gate::new(),
        work: Gate::new(),
        stop_at: Rc::new(Cell::new(clock::NEVER)),
        wake: Notify::new(),
        tick_at: Cell::new(now()),
        stop_wanted: Notify::new(),
        descriptors: Descriptors::new(Share::of(open_files, place.count)),
        mesh: place.mesh.clone(),
        homes: RefCell::default(),
        config: RefCell::new(Rc::new(config)),
        me: me.clone(),
    });
    started.waiting = requeue(&world, recovered).await;
    Ok((world, listeners, started))
}

/// Content in memory at all, on one shard: whatever the budget is, the largest message has room beside
/// what the log itself holds.
fn memory_max(config: &Config, budget: u64) -> u64 {
    let sizes = config.listeners.iter().map(|from| from.max_message_size);
    let largest = sizes.max().unwrap_or(0);
    budget.saturating_mul(MEMORY_FACTOR).max(2 * largest)
}

pub(crate) fn log_options(config: &Config, log: u16) -> Options {
    let mut options = Options::new(config.data_dir.join("spool"), log);
    options.segment_len = u32::try_from(config.spool.segment_size).unwrap_or(u32::MAX);
    let segment_len = options.segment_len;
    options.first_segment_len = options.first_segment_len.min(segment_len);
    // Short segments hold shorter batches.
    let part = |share: u32| (segment_len / share).next_multiple_of(ALIGNMENT as u32);
    options.batch_len_max = options.batch_len_max.min(part(4));
    options.copy_max = options.copy_max.min(part(8));
    let reserve = config::Spool::reserve_size(config.spool.segment_size);
    options.reserve_len = u32::try_from(reserve).unwrap_or(u32::MAX);
    options.min_free_space = config.spool.min_free_space;
    options.open_files_max = (OPEN_FILES_MAX / config.shards.max(1)).clamp(4, OPEN_FILES_MAX / 2);
    options.keeps_reserve = true;
    options
}

/// What the logs hold alive waits again, as it waited before.
async fn requeue(world: &World, mut recovered: Recovered) -> u64 {
    let now = now();
    let count = recovered.messages.len() as u64;
    for live in recovered.take_messages() {
        let (_, place) = live.place();
        let arrival = queue::Arrival {
            id: live.id,
            place: queue_place(place),
            accepted: live.accepted,
            expires: None,
        };
        for group in live.groups() {
            let doubt = recovered.in_doubt(live.id, group.first);
            world.queue.borrow_mut().doubt(live.id, group.first, doubt);
        }
        let groups = live.groups().iter().map(|group| queue::Group {
            first: group.first,
            open: group.open(),
            destination: std::str::from_utf8(recovered.domain(group.domain)).unwrap_or_default(),
            attempt: group.attempt,
            // What was in doubt, and is to be tried again, is tried at once.
            next: Some(group.next).filter(|_| recovered.in_doubt(live.id, group.first) == 0),
            note: live.answer_place(group).map(queue_place),
        });
        if world.queue.borrow_mut().insert(now, &arrival, groups) {
            world.spool.hold(live.id, place);
        }
        shard::yield_if_needed().await;
    }
    count
}

/// What the configuration means for the sessions of one listener.
fn listener(world: &World, index: usize) -> accept::Listener {
    let config = world.config.borrow();
    let from = &config.listeners[index];
    let mut protocol = protocol::Config::new(&config.hostname);
    protocol.greeting = "Mailrail".into();
    // Devices and old clients call themselves odd things, and put a space behind the colon.
    protocol.strictness = protocol::Strictness::USUAL;
    protocol.extensions = protocol.extensions.with_size_max(from.max_message_size);
    protocol.limits.recipient_count_max = from.max_recipients_per_message;
    protocol.timeouts.command = from.client_timeout;
    protocol.timeouts.body = from.client_timeout;
    let is_implicit = from.tls == ListenerTls::Implicit;
    let security = from.acceptor.get().map(|acceptor| accept::Security {
        acceptor: acceptor.clone(),
        is_implicit,
    });
    if security.is_some() && !is_implicit {
        protocol.extensions = protocol.extensions.with(Extension::StartTls);
    }
    match from.invalid_line_endings {
        LineEndings::Deny => {}
    }
    accept::Listener {
        protocol,
        relay: config.relay.clone(),
        message_count_max: from.max_messages_per_connection,
        hostname: config.hostname.clone(),
        durability: from.durability,
        postmaster: config.postmaster.clone(),
        security,
        gate: world.gate.clone(),
        stop_at: Rc::clone(&world.stop_at),
    }
}

/// Accepts connections until it is cancelled.
async fn listen(world: Rc<World>, socket: Listener, index: usize) {
    let mut config = Rc::clone(&world.config.borrow());
    let mut shared = Rc::new(listener(&world, index));
    let open = Rc::new(Cell::new(0u32));
    let mut is_starved = false;
    loop {
        let stream = match socket.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                // Once, not ten times a second.
                if !std::mem::replace(&mut is_starved, true) {
                    tracing::warn!(%error, address = %socket.local(), "connections cannot be accepted");
                }
                continue;
            }
        };
        if std::mem::take(&mut is_starved) {
            tracing::info!(address = %socket.local(), "connections are accepted again");
        }
        if !Rc::ptr_eq(&config, &world.config.borrow()) {
            config = Rc::clone(&world.config.borrow());
            shared = Rc::new(listener(&world, index));
        }
        let most = config.listeners[index]
            .max_connections
            .div_ceil(world.count as u32);
        let Some(pass) = world.gate.enter() else {
            return;
        };
        let held = (open.get() < most).then(|| world.descriptors.session());
        let Some(held) = held.flatten() else {
            shard::spawn(Lane::Accept, turn_away(stream)).detach();
            continue;
        };
        open.set(open.get() + 1);
        let (world, shared, open) = (Rc::clone(&world), Rc::clone(&shared), Rc::clone(&open));
        shard::spawn(Lane::Accept, async move {
            let peer = stream.peer();
            if let Err(error) = accept::serve(stream, shared, world).await {
                tracing::debug!(%peer, %error, "a connection was lost");
            }
            open.set(open.get() - 1);
            drop((held, pass));
        })
        .detach();
    }
}

async fn turn_away(mut stream: Stream) {
    let deadline = clock::after(TOO_MANY_MICROS);
    let _ = stream.write_all(TOO_MANY, deadline).await;
}
