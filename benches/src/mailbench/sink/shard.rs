//! A shard's life: it opens its listeners when it is told where, serves, and hands over its tally at the
//! end. What is said on a connection is `session`'s; what the shards have counted together is `output`'s.
//!
//! A connection that is open at the end is cut: what has no 250 by then was not counted.

use super::keep::Keeper;
use super::script::{Script, SiteScript};
use super::session::{self, Security, Site, World};
use super::tally::{Counters, Harvest, Tally};
use super::zone;
use crate::cli::{SinkOptions, Tls};
use mailrail_protocol::command::{Strictness, Verdict};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::server::Config;
use mailrail_runtime::dns::server as dns;
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::shard::{self, Lane, Place, Task};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// The name in greetings.
pub(super) const HOSTNAME: &str = "sink.mailbench.example";
/// The largest message that is taken.
const MESSAGE_LEN_MAX: u64 = 1 << 30;

/// Recipients of one message.
const RECIPIENT_COUNT_MAX: u32 = 100_000;

/// What a shard is told.
#[derive(Debug)]
pub(super) enum Letter {
    /// Listen here.
    Open(Opening),
    /// End, and hand over the tally.
    Stop(mpsc::Sender<Harvest>),
}

/// Where to listen.
#[derive(Debug, Clone, Default)]
pub(super) struct Opening {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) dns: Option<SocketAddr>,
    /// The sites that domains are spread over, for the DNS.
    pub(super) spread: Vec<IpAddr>,
}

/// What a shard answers to `Open`: where it listens, port 0 having become a free one.
pub(super) type Opened = Result<Opening, String>;

/// What all shards know.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: SinkOptions,
    pub(super) script: Script,
    pub(super) security: Security,
    pub(super) counters: Vec<Arc<Counters>>,
}

/// The shard's main future.
pub(super) async fn live(place: Place<Letter>, plan: Arc<Plan>, news: mpsc::Sender<Opened>) {
    let keeper = plan.options.keep.as_deref();
    let keeper = keeper.map(|directory| Keeper::new(directory, place.index));
    let tally = Tally::new(Arc::clone(&plan.counters[place.index]));
    let world = Rc::new(World::new(tally, keeper));
    // Held until the end, and with it what they serve.
    let mut served: Vec<Served> = Vec::new();
    loop {
        match place.mesh.receive().await {
            Letter::Open(opening) => {
                let opened = open(&plan, &world, opening, &mut served);
                // The main thread may have given up.
                let _ = news.send(opened);
            }
            Letter::Stop(harvest) => {
                let _ = harvest.send(world.tally.harvest());
                return;
            }
        }
    }
}

/// What is kept running.
#[derive(Debug)]
enum Served {
    Listener(#[expect(dead_code, reason = "dropping it ends it")] Task<()>),
    Dns(#[expect(dead_code, reason = "dropping it ends it")] dns::Server),
}

fn open(plan: &Plan, world: &Rc<World>, opening: Opening, served: &mut Vec<Served>) -> Opened {
    let mut opened = opening;
    for address in &mut opened.addresses {
        let listener = Listener::bind(*address)
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        *address = listener.local();
        let script = plan
            .script
            .at(&address.ip().to_string(), &address.to_string());
        let config = config(&plan.options, &script);
        let security = plan.security.clone();
        let site = Rc::new(Site::new(config, script, security));
        let task = shard::spawn(Lane::Accept, listen(listener, site, Rc::clone(world)));
        served.push(Served::Listener(task));
    }
    if let Some(address) = &mut opened.dns {
        let zone = zone::zone(&opened.spread, plan.options.domains);
        let server = dns::serve(zone, *address)
            .map_err(|error| format!("cannot serve the DNS on {address}: {error}"))?;
        *address = server.address();
        served.push(Served::Dns(server));
    }
    Ok(opened)
}

async fn listen(listener: Listener, site: Rc<Site>, world: Rc<World>) {
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                eprintln!("mailbench: cannot accept on {}: {error}", listener.local());
                continue;
            }
        };
        let (site, world) = (Rc::clone(&site), Rc::clone(&world));
        shard::spawn(Lane::Accept, async move {
            // A peer that goes away is no failure of a sink.
            let _: io::Result<()> = session::serve(stream, site, world).await;
        })
        .detach();
    }
}

/// What a site offers: all that costs nothing, and what was asked for.
fn config(options: &SinkOptions, script: &SiteScript) -> Config {
    let mut config = Config::new(HOSTNAME);
    let mut extensions = config.extensions.with_size_max(MESSAGE_LEN_MAX);
    if !script.limits.bdat.unwrap_or(options.bdat) {
        extensions = extensions.without(Extension::Chunking);
    }
    if options.no_pipelining {
        extensions = extensions.without(Extension::Pipelining);
    }
    if options.tls == Tls::Starttls && script.limits.starttls.unwrap_or(true) {
        extensions = extensions.with(Extension::StartTls);
    }
    config.extensions = extensions;
    // To refuse is what the script is for, and to be asked often what the sink is for.
    config.limits.recipient_count_max = RECIPIENT_COUNT_MAX;
    config.limits.refusal_count_max = u32::MAX;
    config.limits.command_count_max = u32::MAX;
    config.limits.swallow_max = u64::MAX;
    // A server under load may keep a connection for long.
    config.timeouts.idle_total = Duration::from_secs(24 * 3600);
    config.strictness = Strictness::USUAL;
    config.strictness.bare_line_ends = Verdict::Accept;
    config.strictness.nul = Verdict::Accept;
    config.strictness.utf8_unannounced = Verdict::Accept;
    config
}
