//! Opening: reads what is there, sets damage aside, and begins a new segment.
//!
//! Nothing is ever appended to a segment of an earlier run: what a crash left behind its end stays as it
//! is, and what is written now has a generation of its own. What was read is synced before it is handed
//! on for good, because a crash of the process alone may leave records that the device has not yet kept.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::commit::Inner;
use super::disk::{self, File};
use super::record::{BLOCK_LEN, SegmentHeader, Stamp, Trailer, VERSION};
use super::recover::{Found, Range, Scanner, Summary, WINDOW_MIN};
use super::segment::{Role, Segment};
use super::state::State;
use super::{Damage, LogError, Options, Position, RecordView, Report};

/// Bytes asked from the disk at once.
const READ_LEN: usize = 1 << 20;

/// Of a damaged range, so much is kept.
const KEPT_LEN_MAX: u64 = 256 << 20;

/// What was found of one segment.
enum Read {
    /// It holds records, or may: it stays.
    Kept(Segment),
    /// Nothing was ever promised in it.
    Empty(u32),
    /// Not even its header can be read.
    Headless(PathBuf, u64),
}

fn at<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> LogError + use<'p> {
    move |source| LogError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
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
    let mut last_batch = 0;
    let mut highest = 0;
    for (role, number) in files {
        let path = role.path(&directory, number);
        highest = highest.max(number);
        match role {
            // Was being made when the last run ended.
            Role::New => disk::remove(&path).await.map_err(at("removing", &path))?,
            Role::Spare => spares.push(path),
            Role::Segment => {
                let read = read_segment(&options, &directory, number, &mut report, each).await?;
                match read {
                    Read::Kept(segment) => {
                        last_batch = last_batch.max(segment.last_batch.get());
                        kept.push(Rc::new(segment));
                    }
                    Read::Empty(len) => {
                        let spare = Role::Spare.path(&directory, number);
                        if len == options.segment_len {
                            disk::rename(&path, &spare)
                                .await
                                .map_err(at("renaming", &path))?;
                            spares.push(spare);
                        } else {
                            disk::remove(&path).await.map_err(at("removing", &path))?;
                        }
                    }
                    Read::Headless(kept, len) => {
                        disk::rename(&path, &kept)
                            .await
                            .map_err(at("renaming", &path))?;
                        report.quarantined.push(Damage {
                            segment: number,
                            offset: 0,
                            len: len.min(u64::from(u32::MAX)) as u32,
                            file: Some(kept),
                        });
                    }
                }
            }
        }
    }
    report.segment_count = kept.len();
    let inner = start(
        options,
        directory,
        kept,
        highest + 1,
        spares,
        last_batch + 1,
    )
    .await?;
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

/// A segment's file, read and not touched.
struct Examined {
    file: File,
    path: PathBuf,
    header: SegmentHeader,
    trailer: Option<Trailer>,
    summary: Summary,
}

/// Reads a segment: its header, its trailer if it was ended, and everything between. `Err` within: the
/// length of a file without a header.
async fn examine(
    options: &Options,
    directory: &Path,
    number: u32,
    report: &mut Report,
    each: &mut dyn FnMut(RecordView<'_>),
) -> Result<Result<Examined, u64>, LogError> {
    let path = Role::Segment.path(directory, number);
    let file = File::open(&path).await.map_err(at("opening", &path))?;
    let file_len = file
        .len()
        .await
        .map_err(at("asking the length of", &path))?;
    let block = file
        .read(0, BLOCK_LEN as usize)
        .await
        .map_err(at("reading", &path))?;
    let Some(header) = SegmentHeader::decode(block.as_slice()) else {
        return Ok(Err(file_len));
    };
    if header.version > VERSION {
        return Err(LogError::NewerVersion {
            path,
            found: header.version,
            supported: VERSION,
        });
    }
    if header.stamp.log != options.log || header.stamp.segment != number {
        let found = header.stamp.log;
        return Err(LogError::Foreign {
            path,
            found,
            expected: options.log,
        });
    }
    let trailer = read_trailer(&file, &header)
        .await
        .map_err(at("reading", &path))?;

    let mut view = |found: Found<'_>| {
        report.record_count += 1;
        report.highest_id = report.highest_id.max(Some(found.id));
        let position = Position {
            segment: number,
            offset: found.offset,
            len: found.len,
        };
        each(RecordView {
            kind: found.kind,
            id: found.id,
            position,
            head: found.head,
        });
    };
    let sealed = trailer.map(|trailer| trailer.end);
    let mut scanner = Scanner::new(header.stamp, header.len, sealed);
    scan(&file, &mut scanner, &mut view)
        .await
        .map_err(at("reading", &path))?;
    Ok(Ok(Examined {
        file,
        path,
        header,
        trailer,
        summary: scanner.finish(),
    }))
}

/// Hands out what a log holds, and changes nothing: no file is written, renamed or synced. Damage is
/// reported and stays where it is.
pub(super) async fn survey(
    options: &Options,
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
    for number in numbers {
        let damage = |offset, len| Damage {
            segment: number,
            offset,
            len,
            file: None,
        };
        match examine(options, &directory, number, &mut report, each).await? {
            Ok(Examined { summary, .. }) => {
                report.segment_count += usize::from(summary.record_count > 0);
                let of = |range: &Range| damage(range.from, range.to - range.from);
                report.torn.extend(summary.torn.iter().map(of));
                report.quarantined.extend(summary.holes.iter().map(of));
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
    options: &Options,
    directory: &Path,
    number: u32,
    report: &mut Report,
    each: &mut dyn FnMut(RecordView<'_>),
) -> Result<Read, LogError> {
    let examined = examine(options, directory, number, report, each).await?;
    let Examined {
        file,
        path,
        header,
        trailer,
        summary,
    } = match examined {
        Ok(examined) => examined,
        Err(file_len) => {
            let kept = directory.join(format!("damaged-{number:08x}"));
            return Ok(Read::Headless(kept, file_len));
        }
    };
    let stamp = header.stamp;
    let sealed = trailer.map(|trailer| trailer.end);
    if trailer.is_none() && !left_out!(RecoverySync) {
        file.sync().await.map_err(at("syncing", &path))?;
    }
    note_damage(directory, &file, &stamp, &summary, report).await?;
    if summary.record_count == 0 && summary.holes.is_empty() {
        return Ok(Read::Empty(header.len));
    }
    let segment = Segment::new(stamp, header.len, path, Some(file));
    segment.last_batch.set(summary.last_batch.unwrap_or(0));
    segment.sealed.set(true);
    segment
        .ended
        .set(Some(sealed.unwrap_or_else(|| segment.end())));
    // Ended now, so that the next start need not look behind its end again.
    if trailer.is_none() && summary.torn.is_empty() {
        segment
            .seal(summary.end)
            .await
            .map_err(at("writing", &segment.path))?;
    }
    Ok(Read::Kept(segment))
}

async fn read_trailer(file: &File, header: &SegmentHeader) -> io::Result<Option<Trailer>> {
    let at = header.len - BLOCK_LEN;
    let block = file.read(u64::from(at), BLOCK_LEN as usize).await?;
    if block.len() < BLOCK_LEN as usize {
        return Ok(None);
    }
    let fits = |trailer: &Trailer| {
        trailer.end >= BLOCK_LEN && trailer.end <= at && trailer.end.is_multiple_of(BLOCK_LEN)
    };
    Ok(Trailer::decode(&header.stamp, block.as_slice()).filter(fits))
}

/// Feeds the scanner until it is done or the file ends. Holds one window, whatever the segment's length.
async fn scan(
    file: &File,
    scanner: &mut Scanner,
    each: &mut dyn FnMut(Found<'_>),
) -> io::Result<()> {
    let mut window = Vec::with_capacity(WINDOW_MIN + READ_LEN);
    let mut offset = u64::from(BLOCK_LEN);
    while !scanner.is_done() {
        let piece = file.read(offset, READ_LEN).await?;
        if piece.is_empty() {
            break;
        }
        offset += piece.len() as u64;
        window.extend_from_slice(piece.as_slice());
        let used = scanner.feed(&window, each);
        window.drain(..used);
    }
    Ok(())
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
        disk::keep(path, piece.as_slice()[part].to_vec()).await?;
        offset = end;
    }
    Ok(())
}

/// Begins a segment and sets the two tasks going.
async fn start(
    options: Options,
    directory: PathBuf,
    kept: Vec<Rc<Segment>>,
    next: u32,
    spares: Vec<PathBuf>,
    next_batch: u64,
) -> Result<Rc<Inner>, LogError> {
    // A spare makes the first segment in no time; without one it is a short one.
    let len = if spares.is_empty() {
        options.first_segment_len
    } else {
        options.segment_len
    };
    let inner = Inner::new(
        options,
        directory,
        State::new(kept, next, spares, next_batch),
    );
    match inner.make_segment(len).await {
        Ok(first) => inner.state.borrow_mut().segments.push_back(Rc::new(first)),
        // What is there can still be delivered; the keeper tries again.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            inner.state.borrow_mut().full = true;
        }
        Err(error) => return Err(at("making a segment in", &inner.directory)(error)),
    }
    let inner = Rc::new(inner);
    disk::spawn(inner.clone().pump());
    disk::spawn(inner.clone().keeper());
    Ok(inner)
}
