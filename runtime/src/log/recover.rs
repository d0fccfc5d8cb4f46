//! Reading what a crash, or bit rot, left of a segment. Pure: bytes go in, in pieces of any size, and
//! records and damaged ranges come out, in log order.
//!
//! A crash can only hurt what was in flight: the last batches, which were never promised. So damage with
//! no later batch behind it is a torn end, and so is what a later batch knows to have been in flight beside
//! it; other damage with a later batch behind it, or in a segment that was ended in order, is a hole in what
//! was promised. Either way every record that is whole is handed out: each one proves itself by its own
//! checksums, and taking one that was never promised does no harm.
//!
//! What becomes of the damaged ranges is not decided here.

use super::HEAD_LEN_MAX;
use super::record::{
    BATCH_HEADER_LEN, BLOCK_LEN, BatchHeader, KIND_LOG, KIND_NONE, RECORD_ALIGNMENT,
    RECORD_HEADER_LEN, RecordHeader, Stamp,
};

/// What `feed` may leave over: as much must fit into the caller's window beside the next piece.
pub(super) const WINDOW_MIN: usize = RECORD_HEADER_LEN + HEAD_LEN_MAX;
const _: () = assert!(BATCH_HEADER_LEN < WINDOW_MIN);

/// A whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) kind: u8,
    pub(super) id: u64,
    pub(super) offset: u32,
    pub(super) len: u32,
    /// As much of the payload's front as its header asks for.
    pub(super) head: &'a [u8],
}

/// Bytes of a segment from `from` to before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: u32,
    pub(super) to: u32,
}

/// What is known once the whole segment was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) record_count: u64,
    /// Batches whose header is whole; 0 when it was not read in full.
    pub(super) batch_count: u64,
    /// The number of the last batch whose header is whole.
    pub(super) last_batch: Option<u64>,
    /// Where the last batch ends.
    pub(super) end: u32,
    /// Where the last whole record ends, be it of a batch or not.
    pub(super) reach: u32,
    /// Damage in what was promised.
    pub(super) holes: Vec<Range>,
    /// Damage at the end.
    pub(super) torn: Vec<Range>,
}

/// A segment being read from its second block on.
#[derive(Debug)]
pub(super) struct Scanner {
    stamp: Stamp,
    /// The byte to look at next.
    offset: u32,
    /// Where batches end at the latest.
    end: u32,
    /// Whether the segment was ended in order, so that no damage in it is a torn end.
    sealed: bool,
    /// Bytes still to be passed over before `offset` is there.
    skip: u32,
    state: State,
    /// Damage of which it is not known yet whether it was promised, each with the lowest number that a batch
    /// in it can have.
    damage: Vec<(Range, u64)>,
    summary: Summary,
}

#[derive(Debug)]
enum State {
    /// At a block's start, where a batch may begin.
    Boundary,
    /// At a record of a batch that ends at `end`.
    Batch { end: u32 },
    /// Within a payload too long to be looked at in one piece.
    Long {
        header: RecordHeader,
        start: u32,
        head: Vec<u8>,
        left: u32,
        content: u32,
        back: Back,
    },
    /// At a record of which the batch is not known.
    Stray,
    /// Nothing valid here: looking for the next thing that is.
    Lost(Lost),
}

/// Where to go on after a record.
#[derive(Clone, Copy, Debug)]
enum Back {
    /// In the batch that ends there.
    Batch(u32),
    /// The batch's end is not known.
    Search,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    from: u32,
    /// Where the batch ends in which this began, when that is known.
    batch_end: Option<u32>,
    /// The end of the last bytes that were meant for this life; those behind it may be of an older one.
    meant: u32,
    /// Whether a batch's padding may lie here, which is no damage.
    padding: bool,
}

impl Lost {
    const fn new(from: u32, batch_end: Option<u32>) -> Self {
        Self {
            from,
            batch_end,
            meant: from,
            padding: false,
        }
    }
}

impl Scanner {
    /// A scanner that is fed from the second block on; `sealed` is where a segment that was ended in
    /// order has its last batch's end.
    pub(super) const fn new(stamp: Stamp, segment_len: u32, sealed: Option<u32>) -> Self {
        let end = match sealed {
            Some(end) => end,
            None => segment_len - BLOCK_LEN,
        };
        Self {
            stamp,
            offset: BLOCK_LEN,
            end,
            sealed: sealed.is_some(),
            skip: 0,
            state: State::Boundary,
            damage: Vec::new(),
            summary: Summary {
                record_count: 0,
                batch_count: 0,
                last_batch: None,
                end: BLOCK_LEN,
                reach: BLOCK_LEN,
                holes: Vec::new(),
                torn: Vec::new(),
            },
        }
    }

    /// Whether nothing further needs to be read.
    pub(super) const fn is_done(&self) -> bool {
        self.offset >= self.end
    }

    /// Looks at bytes that go on where the last call stopped, and returns how many it has used. What is
    /// left over comes again in front of the next ones; with [`WINDOW_MIN`] bytes it always uses some.
    pub(super) fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(Found<'_>)) -> usize {
        let mut used = 0;
        while !self.is_done() || self.skip > 0 {
            if self.skip > 0 {
                let passed = (self.skip as usize).min(bytes.len() - used);
                used += passed;
                self.skip -= passed as u32;
                if self.skip > 0 {
                    break;
                }
                continue;
            }
            let Some(step) = self.step(&bytes[used..], each) else {
                break;
            };
            self.skip = step;
            self.offset += step;
        }
        used
    }

    /// One move: how many bytes it passed over, or `None` when it needs more of them.
    fn step(&mut self, bytes: &[u8], each: &mut dyn FnMut(Found<'_>)) -> Option<u32> {
        match &mut self.state {
            State::Boundary => self.at_boundary(bytes),
            &mut State::Batch { end } => self.in_batch(bytes, end, each),
            State::Long { .. } => self.in_long(bytes, each),
            State::Stray => self.in_stray(bytes, each),
            &mut State::Lost(lost) => self.search(bytes, lost),
        }
    }

    fn at_boundary(&mut self, bytes: &[u8]) -> Option<u32> {
        let bytes = bytes.get(..BATCH_HEADER_LEN)?;
        if let Some(header) = self.batch_at(self.offset, bytes) {
            return Some(self.enter(&header));
        }
        self.state = State::Lost(Lost::new(self.offset, None));
        Some(0)
    }

    /// The header of a batch that may follow what was read so far.
    fn batch_at(&self, offset: u32, bytes: &[u8]) -> Option<BatchHeader> {
        let header = BatchHeader::decode(&self.stamp, offset, bytes)?;
        let fits = header.len <= self.end - offset
            && self
                .summary
                .last_batch
                .is_none_or(|last| header.number > last);
        fits.then_some(header)
    }

    fn enter(&mut self, header: &BatchHeader) -> u32 {
        // It tells which of the batches before it had no word yet. Damage in an earlier one is in what was
        // promised; a later one may be gone though this one is here, since they are written side by side.
        let promised = header.number.saturating_sub(header.open_before.into());
        for (range, number) in &mut self.damage {
            if *number == 0 {
                // The segment's first batches: there were as many as there are blocks, at most.
                let blocks = (range.to - range.from).div_ceil(BLOCK_LEN);
                *number = header.number.saturating_sub(blocks.into());
            }
        }
        let holes = self.damage.extract_if(.., |(_, number)| *number < promised);
        self.summary.holes.extend(holes.map(|(range, _)| range));
        self.summary.last_batch = Some(header.number);
        self.summary.batch_count += 1;
        let end = self.offset + header.len;
        self.summary.end = end.next_multiple_of(BLOCK_LEN);
        self.state = State::Batch { end };
        BATCH_HEADER_LEN as u32
    }

    fn in_batch(&mut self, bytes: &[u8], end: u32, each: &mut dyn FnMut(Found<'_>)) -> Option<u32> {
        if self.offset >= end {
            self.state = State::Boundary;
            return Some(end.next_multiple_of(BLOCK_LEN) - self.offset);
        }
        if end - self.offset < RECORD_HEADER_LEN as u32 {
            self.state = State::Lost(Lost::new(self.offset, Some(end)));
            return Some(0);
        }
        let head = bytes.get(..RECORD_HEADER_LEN)?;
        match self.record_at(self.offset, head, end) {
            Some(header) => self.record(&header, bytes, Back::Batch(end), each),
            None => {
                self.state = State::Lost(Lost::new(self.offset, Some(end)));
                Some(0)
            }
        }
    }

    fn record_at(&self, offset: u32, bytes: &[u8], end: u32) -> Option<RecordHeader> {
        let header = RecordHeader::decode(&self.stamp, offset, bytes)?;
        let room = (end - offset) as usize;
        (header.len as usize <= room && RecordHeader::span(header.len as usize) <= room)
            .then_some(header)
    }

    /// A record whose header is whole begins here.
    fn record(
        &mut self,
        header: &RecordHeader,
        bytes: &[u8],
        back: Back,
        each: &mut dyn FnMut(Found<'_>),
    ) -> Option<u32> {
        let len = header.len as usize;
        if len > HEAD_LEN_MAX {
            self.state = State::Long {
                header: *header,
                start: self.offset,
                head: Vec::with_capacity((header.head_len as usize).min(HEAD_LEN_MAX)),
                left: header.len,
                content: 0,
                back,
            };
            return Some(RECORD_HEADER_LEN as u32);
        }
        let payload = bytes.get(RECORD_HEADER_LEN..RECORD_HEADER_LEN + len)?;
        let span = RecordHeader::span(len) as u32;
        let whole = crc32c::crc32c(payload) == header.content;
        let head = &payload[..header.head_len as usize];
        self.leave(header, self.offset, whole.then_some(head), back, each);
        Some(span)
    }

    fn in_long(&mut self, bytes: &[u8], each: &mut dyn FnMut(Found<'_>)) -> Option<u32> {
        let State::Long {
            header,
            start,
            head,
            left,
            content,
            back,
        } = &mut self.state
        else {
            unreachable!("called in this state only")
        };
        if bytes.is_empty() {
            return None;
        }
        let part = &bytes[..bytes.len().min(*left as usize)];
        *content = crc32c::crc32c_append(*content, part);
        let head_len = (header.head_len as usize).min(HEAD_LEN_MAX);
        let kept = part.len().min(head_len - head.len());
        head.extend_from_slice(&part[..kept]);
        *left -= part.len() as u32;
        if *left > 0 {
            return Some(part.len() as u32);
        }
        let (header, start, back) = (*header, *start, *back);
        let whole = *content == header.content;
        let head = std::mem::take(head);
        self.leave(&header, start, whole.then_some(head.as_slice()), back, each);
        Some(part.len() as u32 + header.len.next_multiple_of(RECORD_ALIGNMENT as u32) - header.len)
    }

    /// A record was looked at; `head` is there if its content is whole.
    fn leave(
        &mut self,
        header: &RecordHeader,
        offset: u32,
        head: Option<&[u8]>,
        back: Back,
        each: &mut dyn FnMut(Found<'_>),
    ) {
        let end = offset + RecordHeader::span(header.len as usize) as u32;
        match head {
            Some(_) if matches!(header.kind, KIND_NONE | KIND_LOG) => {}
            Some(head) => {
                self.summary.record_count += 1;
                self.summary.reach = end;
                each(Found {
                    kind: header.kind,
                    id: header.id,
                    offset,
                    len: header.len,
                    head,
                });
            }
            None => self.lost(offset, end, matches!(back, Back::Batch(_))),
        }
        self.state = match back {
            Back::Batch(end) => State::Batch { end },
            Back::Search => State::Lost(Lost {
                padding: true,
                ..Lost::new(end, None)
            }),
        };
    }

    /// Goes on by eight bytes until something proves itself: a batch or a record.
    fn search(&mut self, bytes: &[u8], mut lost: Lost) -> Option<u32> {
        let limit = lost.batch_end.unwrap_or(self.end);
        let mut passed = 0;
        loop {
            let offset = self.offset + passed;
            let here = &bytes[passed as usize..];
            if offset >= limit {
                return self.search_ended(&lost, limit);
            }
            if here.len() < BATCH_HEADER_LEN {
                self.state = State::Lost(lost);
                return (passed > 0).then_some(passed);
            }
            if offset.is_multiple_of(BLOCK_LEN) && BatchHeader::claims(&self.stamp, here) {
                if self.batch_at(offset, here).is_some() {
                    self.lose(&lost, offset);
                    self.state = State::Boundary;
                    return Some(passed);
                }
                lost.meant = offset + BATCH_HEADER_LEN as u32;
            }
            if RecordHeader::claims(&self.stamp, here) {
                if self.record_at(offset, here, limit).is_some() {
                    self.lose(&lost, offset);
                    self.state = match lost.batch_end {
                        Some(end) => State::Batch { end },
                        None => State::Stray,
                    };
                    return Some(passed);
                }
                lost.meant = offset + RECORD_HEADER_LEN as u32;
            }
            lost.padding &= here[..RECORD_ALIGNMENT] == [0; RECORD_ALIGNMENT];
            passed += RECORD_ALIGNMENT as u32;
        }
    }

    /// Nothing was found up to the batch's end, or the segment's.
    fn search_ended(&mut self, lost: &Lost, limit: u32) -> Option<u32> {
        match lost.batch_end {
            Some(_) => {
                self.lose(lost, limit);
                self.state = State::Boundary;
                Some(limit.next_multiple_of(BLOCK_LEN) - self.offset)
            }
            None => {
                self.state = State::Lost(*lost);
                Some(limit - self.offset)
            }
        }
    }

    /// At a record whose header was found whole, outside of any known batch.
    fn in_stray(&mut self, bytes: &[u8], each: &mut dyn FnMut(Found<'_>)) -> Option<u32> {
        let head = bytes.get(..RECORD_HEADER_LEN)?;
        let header = self
            .record_at(self.offset, head, self.end)
            .expect("it was found here");
        self.record(&header, bytes, Back::Search, each)
    }

    /// Notes that nothing was found from where the search began to `to`.
    fn lose(&mut self, lost: &Lost, to: u32) {
        let padding = lost.padding && to - lost.from < BLOCK_LEN;
        if to > lost.from && !padding {
            self.lost(lost.from, to, lost.batch_end.is_some());
        }
    }

    /// Notes damage, in the batch whose header was read last or behind it.
    fn lost(&mut self, from: u32, to: u32, in_last: bool) {
        let number = match self.summary.last_batch {
            Some(last) if in_last => last,
            Some(last) => last + 1,
            None => 0,
        };
        self.damage.push((Range { from, to }, number));
    }

    /// Everything was read, as far as it could be.
    pub(super) fn finish(mut self) -> Summary {
        let reached = self.offset.min(self.end);
        match std::mem::replace(&mut self.state, State::Boundary) {
            // What was never meant for this life lies behind the last batch of every segment.
            State::Lost(lost) if !self.sealed => self.lose(&lost, reached.min(lost.meant)),
            State::Lost(lost) => self.lose(&lost, reached),
            State::Long { start, back, .. } => {
                self.lost(start, reached, matches!(back, Back::Batch(_)));
            }
            State::Batch { end } if reached < end => self.lost(reached, end, true),
            State::Boundary | State::Batch { .. } | State::Stray => {}
        }
        if self.sealed {
            // The file may be shorter than it was.
            if reached < self.end {
                self.lost(reached, self.end, false);
            }
            self.summary
                .holes
                .extend(self.damage.drain(..).map(|(range, _)| range));
            self.summary.holes.sort_unstable_by_key(|range| range.from);
        } else {
            self.summary.torn = self.damage.into_iter().map(|(range, _)| range).collect();
        }
        self.summary
    }
}

#[cfg(test)]
mod tests;
