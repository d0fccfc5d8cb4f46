//! `mailrail queue`: asks the running server, or reads what a stopped one left.

use super::offline;
use super::row::{Row, id_of};
use super::socket::{QUEUE, path};
use crate::config::Config;
use crate::message::Timestamp;
use mailrail_runtime::clock;
use serde::Deserialize;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long the server may take for the next line.
const SERVER_WAIT: Duration = Duration::from_secs(60);

/// How long a server that starts may take to open its socket, in microseconds.
const START_WAIT_MICROS: u64 = 10_000_000;
/// How often to look whether it has.
const START_PAUSE: Duration = Duration::from_millis(20);

/// Why the queue cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct QueueError(pub String);

/// A line of the server's answer.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Row(Row),
    Error { error: String },
    End { end: bool },
}

/// Writes what is in the spool to `out`: asked over the socket in the data directory while the
/// server runs, read under the lock without changing it when it is stopped.
///
/// # Errors
/// When neither is possible, or `out` cannot be written.
pub fn queue(config: &Config, out: &mut dyn Write) -> Result<(), QueueError> {
    let path = path(&config.data_dir);
    let until = clock::after(START_WAIT_MICROS);
    let result = loop {
        match UnixStream::connect(&path) {
            Ok(server) => break ask(server, out)?,
            Err(error) if is_nobody(&error) => {}
            Err(error) => return Err(QueueError(format!("{}: {error}", path.display()))),
        }
        match offline::lock_spool(config)? {
            Some(lock) => {
                let mut listing = Listing::new(out);
                offline::each(config, &lock, &mut |row| listing.row(row))?;
                break listing.end();
            }
            // A server that starts has its lock first and its socket later.
            None if clock::micros() < until => std::thread::sleep(START_PAUSE),
            None => {
                return Err(QueueError(format!(
                    "the server on {} has not finished its start; try again later",
                    config.data_dir.display()
                )));
            }
        }
    };
    match result {
        // Whoever reads may have had enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| QueueError(format!("cannot write the listing: {error}"))),
    }
}

/// No server listens: it is not there, or died without removing its socket.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn ask(server: UnixStream, out: &mut dyn Write) -> Result<io::Result<()>, QueueError> {
    let fail = |error: io::Error| QueueError(format!("the server does not answer: {error}"));
    server.set_read_timeout(Some(SERVER_WAIT)).map_err(fail)?;
    (&server)
        .write_all(format!("{QUEUE}\n").as_bytes())
        .map_err(fail)?;
    let mut listing = Listing::new(out);
    for line in BufReader::new(server).lines() {
        let line = line.map_err(fail)?;
        match serde_json::from_str(&line) {
            Ok(Line::Row(row)) => {
                if let Err(error) = listing.row(&row) {
                    return Ok(Err(error));
                }
            }
            Ok(Line::Error { error }) => return Err(QueueError(error)),
            Ok(Line::End { end: true }) => return Ok(listing.end()),
            Ok(Line::End { end: false }) | Err(_) => {
                return Err(QueueError("the server's answer makes no sense".into()));
            }
        }
    }
    Err(QueueError(
        "the server stopped in the middle of its answer".into(),
    ))
}

/// What is printed, row by row.
struct Listing<'o> {
    out: &'o mut dyn Write,
    now: Timestamp,
    last: Option<crate::message::Id>,
    message_count: u64,
}

impl<'o> Listing<'o> {
    fn new(out: &'o mut dyn Write) -> Self {
        Self {
            out,
            now: Timestamp::from_unix_millis(clock::unix_millis()),
            last: None,
            message_count: 0,
        }
    }

    fn row(&mut self, row: &Row) -> io::Result<()> {
        // The rows of one message stand together.
        let id = id_of(row);
        if self.last != id {
            self.message_count += 1;
            self.last = id;
        }
        write!(self.out, "{}", row.told(self.now))
    }

    fn end(self) -> io::Result<()> {
        match self.message_count {
            0 => writeln!(self.out, "the queue is empty"),
            1 => writeln!(self.out, "1 message waits"),
            count => writeln!(self.out, "{count} messages wait"),
        }
    }
}
