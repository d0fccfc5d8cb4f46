//! What a server has to hold beside its load: messages that wait, connections that say nothing; and what they cost
//! in memory.

use super::adapter::Server;
use super::ends::{Order, Sink, Source};
use super::sample::resident_bytes;
use super::scenario::{Beside, Load};
use super::watch::{Trouble, Watch, failed};
use crate::cli::Ends;
use mailrail_runtime::clock;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// What a server holds, to the end of the scenario.
#[derive(Debug)]
pub(crate) struct Held {
    /// Connections that say nothing.
    _idle: Vec<TcpStream>,
    /// How many of what.
    pub(crate) count: u64,
    /// Resident memory before and with them.
    pub(crate) empty_bytes: u64,
    pub(crate) full_bytes: u64,
    /// How long it took to get there.
    pub(crate) seconds: f64,
}

impl Held {
    /// Memory that each costs, if there are any.
    pub(crate) fn bytes_each(&self) -> Option<f64> {
        let more = self.full_bytes.saturating_sub(self.empty_bytes);
        (self.count > 0).then(|| more as f64 / self.count as f64)
    }
}

/// Time for what a server does after the last of what it holds has come.
const SETTLE_MS: u64 = 1500;
/// A server that makes no attempt for so long has made all it will.
const QUIET_LIMIT_US: u64 = 5_000_000;
const SESSIONS: u32 = 100;
/// Messages that are fed over the same connections: a tenth of what a server may take on each (Mailrail 10,000).
const PART_MAX: u64 = 100_000;
/// The domain that the sink's script takes nothing for.
const WAITING_RECIPIENT: &str = "to@waiting.example";

/// Gives a server what it shall hold.
///
/// # Errors
/// When it does not take it.
pub(crate) fn hold(
    beside: Beside,
    count: u64,
    server: &mut Server,
    sink: &mut Sink,
    directory: &Path,
    limit_s: u64,
    watch: &Watch,
) -> Result<Held, Trouble> {
    watch.pause(SETTLE_MS)?;
    let empty_bytes = resident_bytes(&server.pids());
    let begin_us = clock::micros();
    let idle = match beside {
        Beside::Idle(_) => idle(server.address(), count, watch)?,
        Beside::Waiting(_) => {
            wait_for_nobody(server.address(), count, sink, directory, limit_s, watch)?;
            Vec::new()
        }
        Beside::Nothing | Beside::Syncs | Beside::Unmeasured(_) => Vec::new(),
    };
    let seconds = (clock::micros() - begin_us) as f64 / 1e6;
    watch.pause(SETTLE_MS)?;
    Ok(Held {
        _idle: idle,
        count,
        empty_bytes,
        full_bytes: resident_bytes(&server.pids()),
        seconds,
    })
}

/// Feeds messages that the sink will not take, and waits until each has been tried.
fn wait_for_nobody(
    server: SocketAddr,
    count: u64,
    sink: &mut Sink,
    directory: &Path,
    limit_s: u64,
    watch: &Watch,
) -> Result<(), Trouble> {
    if count == 0 {
        return Ok(());
    }
    let load = Load {
        sessions: SESSIONS,
        ..super::scenario::LOAD
    };
    let deferred_before = sink.count()?.deferred;
    let deadline_us = clock::after(limit_s * 1_000_000);
    let mut left = count;
    while left > 0 {
        let messages = left.min(PART_MAX);
        let order = Order {
            server,
            load: &load,
            messages,
            // smtp-source has no runs; it names its files.
            run: server.port().into(),
            recipient: Some(WAITING_RECIPIENT),
            limit_s,
        };
        // Nobody's source: ours has no say in which domain it writes to.
        let mut source = Source::start(Ends::Postfix, order, directory)?;
        let is_fed = watch.until(deadline_us, 20, || Ok(source.sent()?.is_some()))?;
        if !is_fed {
            return Err(Trouble::Failed(format!(
                "had not taken {count} messages after {limit_s} s"
            )));
        }
        left -= messages;
    }
    let (mut tried, mut at_us) = (0, clock::micros());
    watch.until(deadline_us, 20, || {
        let now = sink.count()?.deferred - deferred_before;
        if now > tried {
            (tried, at_us) = (now, clock::micros());
        }
        Ok(tried >= count || clock::micros() - at_us >= QUIET_LIMIT_US)
    })?;
    Ok(())
}

/// Opens connections that are greeted, say EHLO, and nothing more.
fn idle(server: SocketAddr, count: u64, watch: &Watch) -> Result<Vec<TcpStream>, Trouble> {
    let mut open = Vec::with_capacity(count as usize);
    for number in 0..count {
        watch.check()?;
        let stream = greeted(server)
            .map_err(|error| failed(format_args!("idle connection {number}"), error))?;
        open.push(stream);
    }
    Ok(open)
}

fn greeted(server: SocketAddr) -> std::io::Result<TcpStream> {
    const WAIT: Duration = Duration::from_secs(10);
    let stream = TcpStream::connect_timeout(&server, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    let mut reader = BufReader::new(&stream);
    reply(&mut reader)?;
    (&stream).write_all(b"EHLO idle.sender.example\r\n")?;
    reply(&mut reader)?;
    Ok(stream)
}

/// Reads a reply of any number of lines, which has to be 2xx.
fn reply(reader: &mut impl std::io::BufRead) -> std::io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if !line.starts_with('2') {
            return Err(std::io::Error::other(format!("answered {line:?}")));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_any_number_of_lines_and_has_to_be_a_good_one() {
        for (text, is_good) in [
            ("220 mx.example\r\n", true),
            ("250-mx.example\r\n250-SIZE 1\r\n250 BDAT\r\n", true),
            ("250\r\n", true),
            ("421 too many\r\n", false),
            ("250-mx.example\r\n", false),
            ("", false),
        ] {
            let mut reader = text.as_bytes();
            assert_eq!(reply(&mut reader).is_ok(), is_good, "{text:?}");
            assert!(reader.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn the_price_of_each_is_what_it_all_costs_more() {
        let held = |count, empty_bytes, full_bytes| Held {
            _idle: Vec::new(),
            count,
            empty_bytes,
            full_bytes,
            seconds: 1.0,
        };
        assert_eq!(held(1000, 500, 4500).bytes_each(), Some(4.0));
        assert_eq!(held(1000, 500, 400).bytes_each(), Some(0.0));
        assert_eq!(held(0, 500, 400).bytes_each(), None);
    }
}
