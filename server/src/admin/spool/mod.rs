//! `mailrail spool check|dump|stats`: what a stopped server left in its spool, and whether that is whole.
//!
//! Every segment is read in full, content too, and nothing is changed: no file is written, made or renamed. A
//! running server's spool is not looked at: what it is writing would seem damaged.

mod line;
mod totals;

use self::totals::Totals;
use crate::config::Config;
use crate::message::{Id, Malformed};
use crate::shard::{log_options, logs_in};
use crate::spool::entry::Kind;
use crate::spool::recover::{Fold, Place};
use mailrail_runtime::log::{Damage, IndexState, Item, RecordView, SegmentState, inspect};
use mailrail_runtime::shard::run_one;
use rustix::fs::FlockOperation;
use std::cell::RefCell;
use std::fmt::{Arguments, Display};
use std::fs::File;
use std::io::{self, Write};

/// What is asked about a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A line for each file, and one for each damage.
    Check,
    /// A line for each record.
    Dump,
    /// Totals.
    Stats,
}

/// Why a spool cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SpoolError(pub String);

/// Reads the whole spool and writes the answer to `out`. Returns what is damaged, in words; `None`: all is whole.
///
/// # Errors
/// When there is no spool, a server uses it, a log's directory cannot be read, or `out` cannot be written.
pub fn spool(
    config: &Config,
    question: Question,
    out: &mut dyn Write,
) -> Result<Option<String>, SpoolError> {
    let _lock = lock(config)?;
    let spool_dir = config.data_dir.join("spool");
    let logs = logs_in(&spool_dir).map_err(|error| SpoolError(error.to_string()))?;
    let reader = RefCell::new(Reader {
        question,
        out,
        written: Ok(()),
        log: 0,
        fold: Fold::new(),
        totals: Totals::default(),
    });
    let read = run_one(async {
        for &log in &logs {
            reader.borrow_mut().begin(log);
            inspect(
                &log_options(config, log),
                &mut |record| reader.borrow_mut().record(&record),
                &mut |item| reader.borrow_mut().item(&item),
            )
            .await?;
        }
        Ok(())
    });
    let read: Result<(), mailrail_runtime::log::LogError> =
        read.map_err(|error| SpoolError(error.to_string()))?;
    read.map_err(|error| SpoolError(error.to_string()))?;
    let (damage, written) = reader.into_inner().end();
    match written {
        // Whoever reads may have had enough, as `head` has.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(SpoolError(format!("cannot write the answer: {error}")))
        }
        _ => Ok(damage),
    }
}

/// The server's lock, shared with others who only read; `None`: no server was ever here.
fn lock(config: &Config) -> Result<Option<File>, SpoolError> {
    let data_dir = &config.data_dir;
    if !data_dir.join("spool").is_dir() {
        let what = format!("{}: there is no spool here", data_dir.display());
        return Err(SpoolError(what));
    }
    let path = data_dir.join("lock");
    let fail = |error: io::Error| SpoolError(format!("{}: {error}", path.display()));
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(fail)?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(SpoolError(format!(
            "a server uses {}: stop it first, or ask it by `mailrail queue`",
            data_dir.display()
        ))),
        Err(error) => Err(fail(error.into())),
    }
}

/// What was read so far.
struct Reader<'o> {
    question: Question,
    out: &'o mut dyn Write,
    /// The first failure to write: nothing is written after it.
    written: io::Result<()>,
    log: u16,
    fold: Fold,
    totals: Totals,
}

impl Reader<'_> {
    fn begin(&mut self, log: u16) {
        self.log = log;
        self.totals.log_count += 1;
    }

    fn say(&mut self, line: Arguments<'_>) {
        if self.written.is_ok() {
            self.written = writeln!(self.out, "{line}");
        }
    }

    fn record(&mut self, record: &RecordView<'_>) {
        let position = record.position;
        let place = Place {
            log: self.log,
            segment: position.segment,
            offset: position.offset,
            len: position.len,
        };
        let kind = Kind::from_number(record.kind);
        let taken = match kind {
            Some(kind) => self
                .fold
                .feed(kind, Id::from_bits(record.id), place, record.head),
            None => Err(Malformed("its kind is unknown")),
        };
        self.totals.record(kind, position.len, taken.is_err());
        let at = At {
            log: self.log,
            segment: position.segment,
            offset: position.offset,
        };
        match (self.question, taken) {
            (Question::Dump, _) => self.say(format_args!("{at}  {}", line::told(kind, record))),
            (Question::Check, Err(error)) => self.say(format_args!(
                "{at}  DAMAGED: a record of {} bytes makes no sense: {error}",
                position.len
            )),
            _ => {}
        }
    }

    fn item(&mut self, item: &Item) {
        self.totals.item(item);
        let log = self.log;
        match (self.question, item) {
            (Question::Stats, _) => {}
            (question, Item::Segment(segment)) => {
                if question == Question::Check {
                    self.segment(segment);
                }
                for hole in &segment.holes {
                    self.damage(hole, "DAMAGED: not readable, though it was promised");
                }
                for torn in &segment.torn {
                    self.damage(torn, "torn by a crash, never promised");
                }
            }
            (_, Item::Unreadable { number, len, why }) => self.say(format_args!(
                "log-{log} {number:08x}  DAMAGED: a segment of {len} bytes is not readable: {why}"
            )),
            (Question::Dump, _) => {}
            (Question::Check, Item::Spare { number, len }) => {
                self.say(format_args!("log-{log} {number:08x}  spare  {len} bytes"));
            }
            (Question::Check, Item::Reserve { number, len }) => self.say(format_args!(
                "log-{log} {number:08x}  reserve for a start on a full disk  {len} bytes"
            )),
            (Question::Check, Item::Unfinished { number, len }) => self.say(format_args!(
                "log-{log} {number:08x}  was being prepared  {len} bytes"
            )),
            (Question::Check, Item::SetAside { name, len }) => self.say(format_args!(
                "log-{log}  DAMAGED: {name} keeps {len} bytes that an earlier start found damaged"
            )),
            (Question::Check, Item::Unknown { name }) => self.say(format_args!(
                "log-{log}  {}  is no file of the spool",
                line::plain(name.as_bytes())
            )),
            (Question::Check, _) => {}
        }
    }

    fn segment(&mut self, segment: &SegmentState) {
        let index = match segment.index {
            IndexState::None => "no index",
            IndexState::Whole => "index whole",
            IndexState::Damaged => "index DAMAGED",
        };
        let (log, number) = (self.log, segment.number);
        self.say(format_args!(
            "log-{log} {number:08x}  segment  generation {:016x}  version {}  {} bytes  {}  \
             {} batches to number {}  {} records to {:08x}  {index}",
            segment.generation,
            segment.version,
            segment.len,
            if segment.ended { "ended" } else { "not ended" },
            segment.batch_count,
            segment.last_batch.unwrap_or(0),
            segment.record_count,
            segment.end,
        ));
        if segment.file_len < u64::from(segment.len) {
            self.say(format_args!(
                "log-{log} {number:08x}  DAMAGED: the file has {} bytes only",
                segment.file_len
            ));
        }
    }

    fn damage(&mut self, damage: &Damage, what: impl Display) {
        let at = At {
            log: self.log,
            segment: damage.segment,
            offset: damage.offset,
        };
        self.say(format_args!("{at}  {what}: {} bytes", damage.len));
    }

    /// The last lines, and what is damaged.
    fn end(mut self) -> (Option<String>, io::Result<()>) {
        let recovered = std::mem::take(&mut self.fold).finish();
        let mut totals = std::mem::take(&mut self.totals);
        totals.waiting(&recovered);
        match self.question {
            Question::Check => self.say(format_args!("{}", totals.in_one_line())),
            Question::Stats => self.say(format_args!("{totals}")),
            Question::Dump => {}
        }
        (totals.damage(), self.written)
    }
}

/// Where something lies.
struct At {
    log: u16,
    segment: u32,
    offset: u32,
}

impl Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "log-{} {:08x}:{:08x}",
            self.log, self.segment, self.offset
        )
    }
}
