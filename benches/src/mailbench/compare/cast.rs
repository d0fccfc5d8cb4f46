//! The servers of a scenario: started before its first round, running and idle while others have their turn, stopped
//! at its end. One that fails is out with the reason, and the others go on.

use super::adapter::{Adapter, Certificate, Routing, Server, Setting, Tools};
use super::ends::{self, Sink};
use super::plan::Variant;
use super::scenario::Scenario;
use super::watch::{Trouble, Watch};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Time to greet, the making of a spool included.
const START_LIMIT_S: u64 = 60;

/// What a server is known by: which adapter, and what the variant asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    server: usize,
    shards: Option<usize>,
    held: Option<u64>,
}

/// A server, or why there is none.
#[derive(Debug)]
struct Member {
    key: Key,
    directory: PathBuf,
    server: Result<Server, String>,
}

/// All servers of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Cast {
    members: Vec<Member>,
}

/// What the servers are started with.
#[derive(Debug)]
pub(crate) struct Scenery<'a> {
    pub(crate) tools: &'a Tools,
    /// Each server gets a directory of its own below it.
    pub(crate) directory: &'a Path,
    pub(crate) address: IpAddr,
    pub(crate) certificate: Option<&'a Certificate>,
    pub(crate) watch: &'a Watch,
}

impl Cast {
    /// Starts a server for each adapter and each variant that needs one of its own.
    ///
    /// # Errors
    /// An interruption alone.
    pub(crate) fn start(
        adapters: &[&Adapter],
        scenario: &Scenario,
        variants: &[Variant],
        sink: &Sink,
        scenery: &Scenery<'_>,
    ) -> Result<Self, Trouble> {
        let mut cast = Self::default();
        for variant in variants {
            for (server, adapter) in adapters.iter().enumerate() {
                scenery.watch.check()?;
                let key = Key::of(server, variant);
                if cast.members.iter().any(|member| member.key == key) {
                    continue;
                }
                let name = format!("{}-{}", adapter.name(), cast.members.len());
                let directory = scenery.directory.join(name);
                let started = start(adapter, &key, scenario, sink, &directory, scenery);
                cast.members.push(Member {
                    key,
                    directory,
                    server: started,
                });
            }
        }
        Ok(cast)
    }

    /// The server that has its turn.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn server(
        &mut self,
        server: usize,
        variant: &Variant,
    ) -> Result<&mut Server, Trouble> {
        let key = Key::of(server, variant);
        let member = self.members.iter_mut().find(|member| member.key == key);
        match member.map(|member| &mut member.server) {
            Some(Ok(server)) => Ok(server),
            Some(Err(why)) => Err(Trouble::Failed(why.clone())),
            None => Err(Trouble::Failed("not started".into())),
        }
    }

    /// Takes a server out that did not go on, so that it disturbs nobody.
    pub(crate) fn dismiss(&mut self, server: usize, variant: &Variant, why: &str) {
        let key = Key::of(server, variant);
        let member = self.members.iter_mut().find(|member| member.key == key);
        if let Some(member) = member {
            // Ends it, if it has not ended itself.
            member.server = Err(why.to_owned());
        }
    }

    /// Stops all: for each, which server and variant it was, and the share of bytes that it says it has copied of
    /// those it carried; and what did not end well.
    pub(crate) fn stop(self) -> (Vec<Copied>, Vec<String>) {
        let (mut copied, mut notes) = (Vec::new(), Vec::new());
        for member in self.members {
            let Ok(server) = member.server else {
                continue;
            };
            let log = server.directory().join("stderr.log");
            if let Err(error) = server.stop() {
                notes.push(error.to_string());
            }
            let text = std::fs::read(log).unwrap_or_default();
            if let Some(share) = copied_share(&String::from_utf8_lossy(&text)) {
                let Key {
                    server,
                    shards,
                    held,
                } = member.key;
                copied.push(Copied {
                    server,
                    shards,
                    held,
                    share,
                });
            }
            // A million messages need not stay to the end of the comparison.
            let _ = std::fs::remove_dir_all(member.directory);
        }
        (copied, notes)
    }
}

/// How many bytes a server copied in user space for each that it carried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Copied {
    server: usize,
    shards: Option<usize>,
    held: Option<u64>,
    pub(crate) share: f64,
}

impl Copied {
    /// Whether it is of this server in this variant.
    pub(crate) fn is_of(&self, server: usize, variant: &Variant) -> bool {
        (self.server, self.shards, self.held) == (server, variant.shards, variant.held)
    }
}

impl Key {
    fn of(server: usize, variant: &Variant) -> Self {
        Self {
            server,
            shards: variant.shards,
            held: variant.held,
        }
    }
}

fn start(
    adapter: &Adapter,
    key: &Key,
    scenario: &Scenario,
    sink: &Sink,
    directory: &Path,
    scenery: &Scenery<'_>,
) -> Result<Server, String> {
    let listen = ends::free_address(scenery.address).map_err(|trouble| trouble.to_string())?;
    let routing = match sink.dns() {
        Some(dns) => Routing::Mx {
            dns,
            port: sink.address().port(),
        },
        None => Routing::Smarthost(sink.address()),
    };
    if scenario.demand.tls && scenery.certificate.is_none() {
        return Err("no certificate could be made (openssl)".into());
    }
    let setting = Setting {
        tools: scenery.tools.clone(),
        directory: directory.to_owned(),
        listen,
        routing,
        shards: key.shards.unwrap_or_else(cores),
        tls_in: scenery.certificate.filter(|_| scenario.demand.tls).cloned(),
        tls_out: scenario.demand.tls,
        retry_s: scenario.demand.retry_s,
        start_limit_s: START_LIMIT_S,
    };
    adapter.start(&setting).map_err(|error| error.to_string())
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What mailrail says of itself when it stops: content carried to the disk, and copied on the way.
fn copied_share(log: &str) -> Option<f64> {
    let log = without_escapes(log);
    let number = |key: &str| -> Option<f64> {
        let (_, rest) = log.rsplit_once(key)?;
        let end = rest.find(|letter: char| !letter.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    };
    let carried = number("content_carried=").filter(|bytes| *bytes > 0.0)?;
    Some(number("content_copied=")? / carried)
}

/// A log without the escapes that colour it.
fn without_escapes(log: &str) -> String {
    let mut parts = log.split("\x1b[");
    let first = parts.next().unwrap_or_default();
    // Each escape ends with an m; what is none is left out up to there, too, which no number minds.
    let rest = parts.filter_map(|part| part.split_once('m').map(|(_, text)| text));
    std::iter::once(first).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stop_line_says_what_was_copied() {
        for (log, share) in [
            (
                "INFO stopped content_carried=200 content_copied=10 x=1\n",
                Some(0.05),
            ),
            (
                "\x1b[2mstopped\x1b[0m \x1b[3mcontent_carried\x1b[0m\x1b[2m=\x1b[0m200 \
                 \x1b[3mcontent_copied\x1b[0m\x1b[2m=\x1b[0m200",
                Some(1.0),
            ),
            (
                "content_carried=1 content_copied=1\ncontent_carried=4 content_copied=1",
                Some(0.25),
            ),
            ("content_carried=0 content_copied=0", None),
            ("content_carried=many content_copied=0", None),
            ("postfix/master: terminating", None),
            ("", None),
        ] {
            assert_eq!(copied_share(log), share, "{log}");
        }
    }
}
