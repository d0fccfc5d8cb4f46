//! Opening: reads what is there, sets damage aside, and begins a new segment.
//!
//! Nothing is ever appended to a segment of an earlier run: what a crash left behind its end stays as it
//! is, and what is written now has a generation of its own. What was read is synced before it is handed
//! on for good, because a crash of the process alone may leave records that the device has not yet kept.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::ahead::Ahead;
use super::commit::Inner;
use super::disk::{self, File};
use super::index::Index;
use super::record::{BLOCK_LEN, Stamp};
use super::recover::{Range, Summary};
use super::replay::{self, FRONT_DEPTH, Front, How, READ_LEN, Replayed, at};
use super::segment::{Role, Segment};
use super::state::State;
use super::{Damage, LogError, Options, RecordView, Report};

/// Of a damaged range, so much is kept.
const KEPT_LEN_MAX: u64 = 256 << 20;

/// What was found of one segment.
enum Read {
    /// It holds records, or may: it stays.
    Kept(Segment),
    /// Nothing was ever promised in it; its length.
    Empty(u32),
    /// Not even its header can be read, or nothing but that is left of it; the file's length.
    Headless(u64),
}

pub(super) async fn open(
    options: Options,
    each: &mut dyn FnMut(RecordView<'_>),
) -> Result<(Rc<Inner>, Report), LogError> {
    check(&options)?;
    let directory = options.directory.join(format!("log-{}", options.log));
    disk::make_directory(&directory)
        .await
        .map_err(at("making", &directory))?;
    let names = disk::list(&directory)
        .await
        .map_err(at("listing", &directory))?;
    let mut files: Vec<_> = names.iter().filter_map(|name| Role::parse(name)).collect();
    files.sort_by_key(|&(_, number)| number);

    let mut report = Report::default();
    let mut kept = Vec::new();
    let mut spares = Vec::new();
    let mut reserve = None;
    let mut last_batch = 0;
    let highest = files.last().map_or(0, |&(_, number)| number);
    for &(role, number) in &files {
        let path = role.path(&directory, number);
        match role {
            // Was being made when the last run ended.
            Role::New => disk::remove(&path).await.map_err(at("removing", &path))?,
            Role::Spare | Role::Reserve => {
                let len = disk::len_of(&path).await;
                let len = len.map_err(at("asking the length of", &path))?;
                if role == Role::Spare && len == u64::from(options.segment_len) {
                    spares.push(path);
                } else if role == Role::Reserve && len == u64::from(options.first_segment_len) {
                    reserve = Some(path);
                } else {
                    // Of other settings: as a segment it would not be written in full before it is used.
                    disk::remove(&path).await.map_err(at("removing", &path))?;
                }
            }
            Role::Segment => {}
        }
    }
    let numbers = files
        .iter()
        .filter_map(|&(role, number)| matches!(role, Role::Segment).then_some(number));
    let fronts = numbers
        .clone()
        .map(|number| replay::front(&options, &directory, number));
    let mut fronts = Ahead::new(FRONT_DEPTH, fronts);
    for number in numbers {
        let Some(front) = fronts.next().await else {
            break;
        };
        let path = Role::Segment.path(&directory, number);
        let read = match front? {
            Ok(front) => read_segment(front, &options, &directory, &mut report, each).await?,
            Err(file_len) => Read::Headless(file_len),
        };
        match read {
            Read::Kept(segment) => {
                last_batch = last_batch.max(segment.last_batch.get());
                kept.push(Rc::new(segment));
            }
            Read::Empty(len) if len == options.segment_len => {
                let spare = Role::Spare.path(&directory, number);
                disk::rename(&path, &spare)
                    .await
                    .map_err(at("renaming", &path))?;
                spares.push(spare);
            }
            Read::Empty(_) => disk::remove(&path).await.map_err(at("removing", &path))?,
            Read::Headless(file_len) => {
                let kept = directory.join(format!("damaged-{number:08x}"));
                disk::rename(&path, &kept)
                    .await
                    .map_err(at("renaming", &path))?;
                report.quarantined.push(Damage {
                    segment: number,
                    offset: 0,
                    len: file_len.min(u64::from(u32::MAX)) as u32,
                    file: Some(kept),
                });
            }
        }
    }
    drop(fronts);
    report.segment_count = kept.len();
    let mut state = State::new(kept, highest + 1, spares, last_batch + 1);
    state.reserve = reserve;
    let inner = start(options, directory, state).await?;
    Ok((inner, report))
}

/// Removes a log's files in the order of their numbers, and its directory if nothing else is in it.
pub(super) async fn delete(directory: &Path) -> io::Result<()> {
    let names = disk::list(directory).await?;
    let mut files: Vec<_> = names.iter().filter_map(|name| Role::parse(name)).collect();
    files.sort_by_key(|&(_, number)| number);
    for (role, number) in &files {
        disk::remove(&role.path(directory, *number)).await?;
    }
    if files.len() < names.len() {
        return Ok(());
    }
    disk::remove_directory(directory).await
}

fn check(options: &Options) -> Result<(), LogError> {
    let block = u64::from(BLOCK_LEN);
    let wrong = |name, value: u32, reason| {
        Err(LogError::Option {
            name,
            value: value.into(),
            reason,
        })
    };
    for (name, value) in [
        ("segment_len", options.segment_len),
        ("first_segment_len", options.first_segment_len),
        ("batch_len_max", options.batch_len_max),
    ] {
        if !u64::from(value).is_multiple_of(block) || value == 0 {
            return wrong(name, value, "must be a multiple of 4096");
        }
    }
    let least = 2 * BLOCK_LEN + options.batch_len_max;
    if options.segment_len < least {
        return wrong(
            "segment_len",
            options.segment_len,
            "must hold a batch and two blocks",
        );
    }
    if options.segment_len - least < options.reserve_len {
        return wrong(
            "reserve_len",
            options.reserve_len,
            "must leave room for a batch in a segment",
        );
    }
    if options.first_segment_len < least || options.first_segment_len > options.segment_len {
        return wrong(
            "first_segment_len",
            options.first_segment_len,
            "must hold a batch and two blocks, and be no longer than the others",
        );
    }
    if super::batch::Batch::len_of_one(options.copy_max as usize) > options.batch_len_max as usize {
        return wrong("copy_max", options.copy_max, "must fit into batch_len_max");
    }
    if options.in_flight_max == 0 {
        return wrong("in_flight_max", 0, "must be at least 1");
    }
    Ok(())
}

/// Hands out what a log holds, and changes nothing: no file is written, renamed or synced. Damage is
/// reported and stays where it is.
pub(super) async fn survey(
    options: &Options,
    how: How,
    each: &mut dyn FnMut(RecordView<'_>),
) -> Result<Report, LogError> {
    let directory = options.directory.join(format!("log-{}", options.log));
    let names = disk::list(&directory)
        .await
        .map_err(at("listing", &directory))?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| Role::parse(name))
        .filter_map(|(role, number)| matches!(role, Role::Segment).then_some(number))
        .collect();
    numbers.sort_unstable();
    let mut report = Report::default();
    let fronts = numbers
        .iter()
        .map(|number| replay::front(options, &directory, *number));
    let mut fronts = Ahead::new(FRONT_DEPTH, fronts);
    for &number in &numbers {
        let Some(front) = fronts.next().await else {
            break;
        };
        let damage = |offset, len| Damage {
            segment: number,
            offset,
            len,
            file: None,
        };
        match front? {
            Ok(front) => {
                let replayed = front.replay(options, how, &mut report, each).await?;
                let (front, summary) = (replayed.front, replayed.summary);
                report.segment_count += usize::from(summary.record_count > 0);
                let of = |range: &Range| damage(range.from, range.to - range.from);
                report.torn.extend(summary.torn.iter().map(of));
                report.quarantined.extend(summary.holes.iter().map(of));
                report.quarantined.extend(front.missing().as_ref().map(of));
            }
            Err(len) => report
                .quarantined
                .push(damage(0, len.min(u64::from(u32::MAX)) as u32)),
        }
    }
    Ok(report)
}

/// Reads one segment at a start, and sets its damage aside.
async fn read_segment(
    front: Front,
    options: &Options,
    directory: &Path,
    report: &mut Report,
    each: &mut dyn FnMut(RecordView<'_>),
) -> Result<Read, LogError> {
    let replayed = front.replay(options, How::ByIndex, report, each).await?;
    let Replayed {
        front,
        summary,
        index,
    } = replayed;
    let missing = front.missing();
    let Front {
        file,
        path,
        file_len,
        header,
        trailer,
        ..
    } = front;
    let stamp = header.stamp;
    if trailer.is_none() && !left_out!(RecoverySync) {
        file.sync().await.map_err(at("syncing", &path))?;
    }
    note_damage(directory, &file, &stamp, &summary, report).await?;
    // A file cut short is no place for a trailer, and no spare: whatever was promised may have been there.
    let short = missing.is_some();
    if summary.record_count == 0 && summary.holes.is_empty() {
        return Ok(if short {
            Read::Headless(file_len)
        } else {
            Read::Empty(header.len)
        });
    }
    report.quarantined.extend(missing.map(|range| Damage {
        segment: stamp.segment,
        offset: range.from,
        len: range.to - range.from,
        file: None,
    }));
    let segment = Segment::new(stamp, header.len, path, Some(file));
    segment.last_batch.set(summary.last_batch.unwrap_or(0));
    segment.sealed.set(true);
    segment.failed.set(short);
    let sealed = trailer.map(|trailer| trailer.end);
    segment
        .ended
        .set(Some(sealed.unwrap_or_else(|| segment.end())));
    if let Some(end) = seal_at(&segment, &summary, sealed, index.as_ref())
        .filter(|_| !short && !left_out!(RecoverySync))
    {
        // With a hole it is read in full each time, so that this is told each time.
        segment
            .index
            .replace(index.filter(|_| summary.holes.is_empty()));
        segment
            .seal(end)
            .await
            .map_err(at("writing", &segment.path))?;
    }
    if let Some(file) = segment.take_file() {
        file.close().await;
    }
    Ok(Read::Kept(segment))
}

/// Where batches end, by a trailer that is worth to be written now; so the next start need not read the
/// segment in full, or look behind its end.
fn seal_at(
    segment: &Segment,
    summary: &Summary,
    sealed: Option<u32>,
    index: Option<&Index>,
) -> Option<u32> {
    let fits = |end: u32| {
        let span = index?.bytes().len().next_multiple_of(BLOCK_LEN as usize) as u64;
        let fits = u64::from(end) + span <= u64::from(segment.end());
        (fits && summary.holes.is_empty()).then_some(end)
    };
    match sealed {
        // Its index was damaged, or there was none.
        Some(end) => fits(end),
        None if summary.torn.is_empty() => Some(summary.end),
        // Behind the end some records are whole, and only an index finds them again once there is an end:
        // it has its place behind all that was meant for this segment.
        None => {
            let torn = summary.torn.iter().map(|range| range.to).max();
            let end = summary.end.max(summary.reach).max(torn.unwrap_or(0));
            fits(end.checked_next_multiple_of(BLOCK_LEN)?)
        }
    }
}

/// Writes down what was damaged; holes are copied to files beside the segment, once.
async fn note_damage(
    directory: &Path,
    file: &File,
    stamp: &Stamp,
    summary: &Summary,
    report: &mut Report,
) -> Result<(), LogError> {
    let damage = |range: &Range, file| Damage {
        segment: stamp.segment,
        offset: range.from,
        len: range.to - range.from,
        file,
    };
    report
        .torn
        .extend(summary.torn.iter().map(|range| damage(range, None)));
    for range in &summary.holes {
        let name = format!(
            "quarantine-{:08x}-{:08x}-{:016x}",
            stamp.segment, range.from, stamp.generation
        );
        let path = directory.join(name);
        copy_aside(file, range, &path)
            .await
            .map_err(at("writing", &path))?;
        report.quarantined.push(damage(range, Some(path)));
    }
    Ok(())
}

async fn copy_aside(file: &File, range: &Range, path: &Path) -> io::Result<()> {
    if disk::exists(path).await? {
        return Ok(());
    }
    // Under another name until it is whole: what a crash left of an earlier try is no copy.
    let unfinished = path.with_extension("unfinished");
    if disk::exists(&unfinished).await? {
        disk::remove(&unfinished).await?;
    }
    let (from, to) = (u64::from(range.from), u64::from(range.to));
    let to = to.min(from + KEPT_LEN_MAX);
    let mut offset = from - from % u64::from(BLOCK_LEN);
    while offset < to {
        let piece = file.read(offset, READ_LEN).await?;
        if piece.is_empty() {
            break;
        }
        let end = offset + piece.len() as u64;
        let part = (from.max(offset) - offset) as usize..(to.min(end) - offset) as usize;
        disk::keep(&unfinished, piece.as_slice()[part].to_vec()).await?;
        offset = end;
    }
    if disk::exists(&unfinished).await? {
        disk::rename(&unfinished, path).await?;
    }
    Ok(())
}

/// Whether the disk is full, or the part of it that is ours.
fn is_out_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Begins a segment and sets the two tasks going.
async fn start(options: Options, directory: PathBuf, state: State) -> Result<Rc<Inner>, LogError> {
    // A spare makes the first segment in no time; without one it is a short one.
    let len = if state.spares.is_empty() {
        options.first_segment_len
    } else {
        options.segment_len
    };
    let inner = Inner::new(options, directory, state);
    match inner.make_segment(len).await {
        Ok(first) => inner.state.borrow_mut().segments.push_back(Rc::new(first)),
        // What is there can still be delivered, and noted in the reserve; the keeper tries again.
        Err(error) if is_out_of_space(&error) => {
            inner.state.borrow_mut().full = true;
            if let Some(first) = inner.take_reserve().await {
                inner.state.borrow_mut().segments.push_back(Rc::new(first));
            }
        }
        Err(error) => return Err(at("making a segment in", &inner.directory)(error)),
    }
    let inner = Rc::new(inner);
    disk::spawn(inner.clone().pump());
    disk::spawn(inner.clone().keeper());
    Ok(inner)
}
