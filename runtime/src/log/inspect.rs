//! A log looked at file by file, for an operator: every segment read in full, every other file named, and
//! nothing changed. What cannot be read is told, and the next file is looked at all the same.
//!
//! What it means is not decided here; a start reads by `open`, in the same way.

use super::disk;
use super::recover::Range;
use super::replay::{self, How, at};
use super::segment::Role;
use super::{Damage, LogError, Options, RecordView, Report};

/// How the names begin of files that a start has set aside.
const SET_ASIDE: [&str; 2] = ["quarantine-", "damaged-"];

/// What is to be said of a segment's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// It has none: it was not ended in order, or its index would have been too long.
    None,
    /// It says what the segment holds.
    Whole,
    /// It does not: a start reads the segment in full.
    Damaged,
}

/// A segment, read in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentState {
    /// Its number.
    pub number: u32,
    /// The random number of its present life.
    pub generation: u64,
    /// The format it is written in.
    pub version: u16,
    /// Bytes, as its header says.
    pub len: u32,
    /// Bytes, as the file system says.
    pub file_len: u64,
    /// Whether it was ended in order.
    pub ended: bool,
    /// Where its last batch ends.
    pub end: u32,
    /// Its index.
    pub index: IndexState,
    /// Batches whose header is whole.
    pub batch_count: u64,
    /// The number of the last of them.
    pub last_batch: Option<u64>,
    /// Whole records.
    pub record_count: u64,
    /// Damaged ranges in what was promised.
    pub holes: Vec<Damage>,
    /// Ends that a crash left half written: nothing of them was ever promised.
    pub torn: Vec<Damage>,
}

/// A file of a log's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A segment in use.
    Segment(SegmentState),
    /// A segment that cannot be read.
    Unreadable {
        /// Its number.
        number: u32,
        /// Bytes of the file, if they are known.
        len: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A file that waits to become a segment.
    Spare {
        /// Its number.
        number: u32,
        /// Bytes of the file.
        len: u64,
    },
    /// A file kept for a start on a full disk.
    Reserve {
        /// Its number.
        number: u32,
        /// Bytes of the file.
        len: u64,
    },
    /// A file that was being prepared when the log was left.
    Unfinished {
        /// Its number.
        number: u32,
        /// Bytes of the file.
        len: u64,
    },
    /// What a start found damaged, kept.
    SetAside {
        /// The file's name.
        name: String,
        /// Bytes of the file.
        len: u64,
    },
    /// A file that is none of the log's.
    Unknown {
        /// Its name.
        name: String,
    },
}

/// Looks at every file of a log that nobody writes: segments first, in log order, each one's records handed to
/// `record` before it is handed to `item` itself.
///
/// # Errors
/// If there is no such log, or its directory cannot be read.
pub async fn inspect(
    options: &Options,
    record: &mut dyn FnMut(RecordView<'_>),
    item: &mut dyn FnMut(Item),
) -> Result<(), LogError> {
    let directory = options.directory.join(format!("log-{}", options.log));
    let mut names = disk::list(&directory)
        .await
        .map_err(at("listing", &directory))?;
    names.sort_unstable();
    let segment = |name: &String| match Role::parse(name)? {
        (Role::Segment, number) => Some(number),
        _ => None,
    };
    for number in names.iter().filter_map(segment) {
        item(read(options, number, record).await);
    }
    for name in names.iter().filter(|name| segment(name).is_none()) {
        let len = disk::len_of(&directory.join(name)).await;
        let len = len.map_err(at("asking the length of", &directory.join(name)))?;
        let name = name.clone();
        item(match Role::parse(&name) {
            Some((Role::Spare, number)) => Item::Spare { number, len },
            Some((Role::Reserve, number)) => Item::Reserve { number, len },
            Some((Role::New, number)) => Item::Unfinished { number, len },
            _ if SET_ASIDE.iter().any(|front| name.starts_with(front)) => {
                Item::SetAside { name, len }
            }
            _ => Item::Unknown { name },
        });
    }
    Ok(())
}

async fn read(options: &Options, number: u32, record: &mut dyn FnMut(RecordView<'_>)) -> Item {
    let directory = options.directory.join(format!("log-{}", options.log));
    let unreadable = |len, why| Item::Unreadable { number, len, why };
    let front = match replay::front(options, &directory, number).await {
        Ok(Ok(front)) => front,
        Ok(Err(len)) => return unreadable(len, "its header is damaged".into()),
        Err(error) => {
            let len = disk::len_of(&Role::Segment.path(&directory, number)).await;
            return unreadable(len.unwrap_or(0), error.to_string());
        }
    };
    let file_len = front.file_len;
    let mut report = Report::default();
    let replayed = front
        .replay(options, How::InFull, &mut report, record)
        .await;
    let (header, trailer, missing, summary) = match replayed {
        Ok(replayed) => (
            replayed.front.header,
            replayed.front.trailer,
            replayed.front.missing(),
            replayed.summary,
        ),
        Err(error) => return unreadable(file_len, error.to_string()),
    };
    let damage = |range: &Range| Damage {
        segment: number,
        offset: range.from,
        len: range.to - range.from,
        file: None,
    };
    Item::Segment(SegmentState {
        number,
        generation: header.stamp.generation,
        version: header.version,
        len: header.len,
        file_len,
        ended: trailer.is_some(),
        end: summary.end,
        index: match (report.index_damaged.is_empty(), report.indexed_count) {
            (false, _) => IndexState::Damaged,
            (true, 0) => IndexState::None,
            (true, _) => IndexState::Whole,
        },
        batch_count: summary.batch_count,
        last_batch: summary.last_batch,
        record_count: summary.record_count,
        holes: (summary.holes.iter().chain(missing.as_ref()))
            .map(damage)
            .collect(),
        torn: summary.torn.iter().map(damage).collect(),
    })
}
