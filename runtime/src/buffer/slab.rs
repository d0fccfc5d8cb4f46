//! Slabs: 2 MiB of memory that the kernel may back with one huge page, cut into spans of whole pages.
//!
//! A write past the page cache is told to the device piece by piece, a piece being what lies side by side in physical
//! memory. Of memory from the allocator that is each page for itself: a message of 100 KB is 25 pieces, and of a device
//! that takes 256 pieces at a time (virtio) one write of 1 MiB is all that can be under way. In a huge page a span is
//! one piece.
//!
//! How long memory is kept, and what for, is decided above. Lives on one shard.

use super::ALIGNMENT;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::alloc::{Layout, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;

/// As long as a huge page of x86-64, and of others with pages of 4 KiB.
const SLAB_LEN: usize = 2 << 20;
const PAGE_COUNT: usize = SLAB_LEN / ALIGNMENT;

/// The longest span. Longer ones would leave much of a slab unused.
pub(super) const SPAN_LEN_MAX: usize = SLAB_LEN / 2;

/// Slabs of which nothing is in use that are kept for reuse on a shard, or as many as are in use, if those are more: to
/// have one anew costs 2 MiB of clearing at the first touch, 0.3 ms and at times ten times that.
const IDLE_MAX: usize = 16;

thread_local! {
    static SLABS: RefCell<Slabs> = const { RefCell::new(Slabs { all: Vec::new(), idle_count: 0 }) };
}

/// The shard's slabs. The first that has room is taken, so that the last become empty.
struct Slabs {
    all: Vec<Entry>,
    /// How many of them have nothing in use.
    idle_count: usize,
}

struct Entry {
    slab: Rc<Slab>,
    /// No more pages than that are free in a row. Kept here, so that looking for room reads no slab that has none.
    row_max: usize,
}

impl Slabs {
    fn take(&mut self, count: usize) -> Span {
        let mut entries = self.all.iter_mut().enumerate();
        let found = entries.find_map(|(place, entry)| {
            if entry.row_max < count {
                return None;
            }
            let first = entry.slab.pages.find(count);
            if first.is_none() {
                entry.row_max = count - 1;
            }
            Some((place, first?))
        });
        let (place, first) = found.unwrap_or_else(|| {
            self.all.push(Entry {
                slab: Rc::new(Slab::new(self.all.len())),
                row_max: PAGE_COUNT,
            });
            self.idle_count += 1;
            (self.all.len() - 1, 0)
        });
        let slab = self.all[place].slab.clone();
        if slab.pages.free_count() == PAGE_COUNT {
            self.idle_count -= 1;
        }
        slab.pages.take(first, count);
        Span { slab, first, count }
    }

    /// Pages were given back to the slab, and lie in so long a row now.
    fn note(&mut self, slab: &Slab, row: usize) {
        let place = slab.place.get();
        let entry = &mut self.all[place];
        entry.row_max = entry.row_max.max(row);
        if row < PAGE_COUNT {
            return;
        }
        self.idle_count += 1;
        // Of those in use one may have become idle since the last look, so that two are too many now.
        while self.idle_count > IDLE_MAX.max(self.all.len() - self.idle_count) {
            self.release_one();
        }
    }

    /// The last of those that are idle: the first are filled first.
    fn release_one(&mut self) {
        let is_idle = |entry: &Entry| entry.slab.pages.free_count() == PAGE_COUNT;
        let Some(place) = self.all.iter().rposition(is_idle) else {
            return;
        };
        self.idle_count -= 1;
        self.all.swap_remove(place);
        if let Some(moved) = self.all.get(place) {
            moved.slab.place.set(place);
        }
    }
}

/// Which pages of a slab are in use: a bit for each.
struct Pages {
    taken: [Cell<u64>; PAGE_COUNT / 64],
    free_count: Cell<usize>,
}

impl Pages {
    const fn new() -> Self {
        Self {
            taken: [const { Cell::new(0) }; PAGE_COUNT / 64],
            free_count: Cell::new(PAGE_COUNT),
        }
    }

    fn free_count(&self) -> usize {
        self.free_count.get()
    }

    /// The first of so many free pages in a row.
    fn find(&self, count: usize) -> Option<usize> {
        let mut first = 0;
        loop {
            first = self.next(first, false)?;
            let end = self.next(first, true).unwrap_or(PAGE_COUNT);
            if end - first >= count {
                return Some(first);
            }
            first = end;
        }
    }

    /// The first page from `page` on that is taken, or is not.
    fn next(&self, page: usize, is_taken: bool) -> Option<usize> {
        let mut word = page / 64;
        let mut mask = u64::MAX.checked_shl(page as u32 % 64)?;
        while word < self.taken.len() {
            let taken = self.taken[word].get();
            let wanted = if is_taken { taken } else { !taken } & mask;
            if wanted != 0 {
                return Some(word * 64 + wanted.trailing_zeros() as usize);
            }
            word += 1;
            mask = u64::MAX;
        }
        None
    }

    /// Behind the last page before `page` that is taken.
    fn row_start(&self, page: usize) -> usize {
        let mut word = page / 64;
        let mut mask = (1 << (page % 64)) - 1;
        loop {
            let taken = self.taken.get(word).map_or(0, Cell::get) & mask;
            if taken != 0 {
                return word * 64 + 64 - taken.leading_zeros() as usize;
            }
            if word == 0 {
                return 0;
            }
            word -= 1;
            mask = u64::MAX;
        }
    }

    fn take(&self, first: usize, count: usize) {
        self.flip(first, count);
        self.free_count.set(self.free_count.get() - count);
    }

    /// How long the row is in which they lie then.
    fn free(&self, first: usize, count: usize) -> usize {
        self.flip(first, count);
        self.free_count.set(self.free_count.get() + count);
        let end = first + count;
        let end = match end < PAGE_COUNT {
            true => self.next(end, true).unwrap_or(PAGE_COUNT),
            false => PAGE_COUNT,
        };
        end - self.row_start(first)
    }

    fn flip(&self, first: usize, count: usize) {
        let (mut page, end) = (first, first + count);
        while page < end {
            let here = (64 - page % 64).min(end - page);
            let bits = u64::MAX >> (64 - here) << (page % 64);
            let word = &self.taken[page / 64];
            word.set(word.get() ^ bits);
            page += here;
        }
    }
}

struct Slab {
    start: NonNull<u8>,
    pages: Pages,
    /// Where it stands among the shard's.
    place: Cell<usize>,
}

impl Slab {
    fn new(place: usize) -> Self {
        Self {
            start: map(),
            pages: Pages::new(),
            place: Cell::new(place),
        }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: `map` gave these bytes, and no span of them is left: each holds the slab. If the kernel fails, they stay
        // mapped, and nobody knows of them.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), SLAB_LEN) };
    }
}

/// [`SLAB_LEN`] zeros at a multiple of their length.
fn map() -> NonNull<u8> {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: the kernel chooses the place, and nothing else is there.
    let mapped = unsafe { mmap_anonymous(null_mut(), 2 * SLAB_LEN, protection, flags) };
    let start = mapped
        .ok()
        .and_then(|start| NonNull::new(start.cast::<u8>()));
    let Some(start) = start else {
        handle_alloc_error(Layout::new::<[u8; SLAB_LEN]>());
    };
    let before = start.align_offset(SLAB_LEN);
    // SAFETY: all within what was mapped, and what is unmapped was never used. A kernel without huge pages, or with none
    // left, gives small ones.
    unsafe {
        let slab = start.add(before);
        if before > 0 {
            let _ = munmap(start.as_ptr().cast(), before);
        }
        let _ = munmap(slab.add(SLAB_LEN).as_ptr().cast(), SLAB_LEN - before);
        let _ = madvise(slab.as_ptr().cast(), SLAB_LEN, Advice::LinuxHugepage);
        slab
    }
}

/// Pages of a slab in a row, with one owner. What they hold at first is unspecified, never uninitialised.
pub(crate) struct Span {
    slab: Rc<Slab>,
    first: usize,
    count: usize,
}

impl Span {
    /// A span of `len` bytes: whole pages, and no more than [`SPAN_LEN_MAX`].
    pub(super) fn new(len: usize) -> Self {
        assert!(
            len > 0 && len.is_multiple_of(ALIGNMENT) && len <= SPAN_LEN_MAX,
            "no span has {len} bytes"
        );
        SLABS.with_borrow_mut(|slabs| slabs.take(len / ALIGNMENT))
    }

    pub(super) const fn len(&self) -> usize {
        self.count * ALIGNMENT
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: the pages are this span's alone, all of them written by somebody or mapped as zeros, and stay while
        // it holds the slab.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.len()) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the span is borrowed by one alone.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.len()) }
    }

    fn start(&self) -> NonNull<u8> {
        // SAFETY: the first page lies within the slab.
        unsafe { self.slab.start.add(self.first * ALIGNMENT) }
    }

    /// Gives back what lies behind the first `len` bytes, whole pages and at least one.
    pub(super) fn cut(&mut self, len: usize) {
        let count = len / ALIGNMENT;
        assert!(
            len.is_multiple_of(ALIGNMENT) && count > 0 && count <= self.count,
            "a span of {} bytes cut to {len}",
            self.len()
        );
        if count < self.count {
            self.give_back(self.first + count, self.count - count);
            self.count = count;
        }
    }

    fn give_back(&self, first: usize, count: usize) {
        let row = self.slab.pages.free(first, count);
        // A thread that ends has no slabs any more: then the last span frees its own.
        let _ = SLABS.try_with(|slabs| slabs.borrow_mut().note(&self.slab, row));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.give_back(self.first, self.count);
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Span")
            .field("len", &self.len())
            .finish()
    }
}

/// How many slabs this shard has, and how many of them are idle.
#[cfg(test)]
pub(super) fn counts() -> (usize, usize) {
    SLABS.with_borrow(|slabs| (slabs.all.len(), slabs.idle_count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_lie_side_by_side_in_an_aligned_slab() {
        let (one, two) = (Span::new(65536), Span::new(4096));
        assert_eq!(one.as_slice().as_ptr() as usize % SLAB_LEN, 0);
        assert_eq!(one.as_slice().as_ptr_range().end, two.as_slice().as_ptr());
        assert!(one.as_slice().iter().all(|&byte| byte == 0));
        assert_eq!(counts(), (1, 0));
        drop((one, two));
        assert_eq!(counts(), (1, 1));
    }

    #[test]
    fn what_is_cut_off_is_used_again() {
        let mut long = Span::new(SPAN_LEN_MAX);
        long.as_mut_slice().fill(b'x');
        long.cut(8192);
        assert_eq!(long.len(), 8192);
        let next = Span::new(4096);
        assert_eq!(long.as_slice().as_ptr_range().end, next.as_slice().as_ptr());
        assert!(next.as_slice().iter().all(|&byte| byte == b'x'));
    }

    #[test]
    fn no_more_than_some_slabs_are_kept() {
        let slab_count = 4 * IDLE_MAX;
        let count = slab_count * (SLAB_LEN / SPAN_LEN_MAX);
        let mut spans: Vec<_> = (0..count).map(|_| Span::new(SPAN_LEN_MAX)).collect();
        assert_eq!(counts(), (slab_count, 0));
        spans.truncate(count / 2);
        assert_eq!(
            counts(),
            (slab_count, slab_count / 2),
            "as many as are in use"
        );
        spans.truncate(2);
        assert_eq!(counts(), (IDLE_MAX + 1, IDLE_MAX));
        drop(spans);
        assert_eq!(counts(), (IDLE_MAX, IDLE_MAX));
    }

    /// How many pages a new span gets, or which one ends, and whether it is only cut, to how many pages.
    #[derive(Clone, Debug)]
    enum Step {
        New(usize),
        End(usize),
        Cut(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1..=SPAN_LEN_MAX / ALIGNMENT).prop_map(Step::New),
            2 => any::<usize>().prop_map(Step::End),
            1 => (any::<usize>(), any::<usize>()).prop_map(|(which, to)| Step::Cut(which, to)),
        ]
    }

    /// Whether each page begins with the mark.
    fn holds(span: &Span, mark: u8) -> bool {
        let mut pages = span.as_slice().chunks(ALIGNMENT);
        pages.all(|page| page[..8] == [mark; 8])
    }

    /// What the counts say is what can be counted.
    fn check_counts(spans: &[(Span, u8)]) {
        let in_use: usize = spans.iter().map(|(span, _)| span.count).sum();
        SLABS.with_borrow(|slabs| {
            let all = || slabs.all.iter().map(|entry| &entry.slab);
            let free = all().map(|slab| slab.pages.free_count());
            let idle = free.clone().filter(|&count| count == PAGE_COUNT).count();
            assert_eq!(slabs.idle_count, idle);
            assert_eq!(in_use + free.sum::<usize>(), slabs.all.len() * PAGE_COUNT);
            assert!(all().map(|slab| slab.place.get()).eq(0..slabs.all.len()));
            for entry in &slabs.all {
                assert_eq!(entry.slab.pages.find(entry.row_max + 1), None);
            }
        });
    }

    proptest! {
        /// What was written into a span is there until it ends, whatever comes and goes beside it.
        #[test]
        fn spans_keep_what_was_written_into_them(steps in proptest::collection::vec(step(), 0..300)) {
            let mut spans: Vec<(Span, u8)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::New(count) => {
                        let (mut span, mark) = (Span::new(count * ALIGNMENT), number as u8);
                        span.as_mut_slice().chunks_mut(ALIGNMENT).for_each(|page| page[..8].fill(mark));
                        spans.push((span, mark));
                    }
                    Step::End(_) | Step::Cut(..) if spans.is_empty() => {}
                    Step::End(which) => {
                        let (span, mark) = spans.swap_remove(which % spans.len());
                        prop_assert!(holds(&span, mark));
                    }
                    Step::Cut(which, to) => {
                        let which = which % spans.len();
                        let span = &mut spans[which].0;
                        span.cut(ALIGNMENT * (1 + to % span.count));
                    }
                }
                check_counts(&spans);
            }
            for (span, mark) in spans {
                prop_assert!(holds(&span, mark));
            }
        }
    }

    #[test]
    fn a_row_of_free_pages_is_found_across_words_and_at_both_ends() {
        let pages = Pages::new();
        pages.take(0, PAGE_COUNT);
        assert_eq!(pages.find(1), None);
        assert_eq!(pages.free(60, 9), 9);
        assert_eq!((pages.find(9), pages.find(10)), (Some(60), None));
        assert_eq!(pages.free(PAGE_COUNT - 10, 10), 10);
        assert_eq!(pages.find(10), Some(PAGE_COUNT - 10));
        assert_eq!(pages.free(0, 1), 1);
        assert_eq!(pages.find(1), Some(0));
        assert_eq!(pages.free(69, 3), 12, "with those before");
        assert_eq!(pages.free(50, 10), 22, "with those behind");
        assert_eq!(pages.free(1, 49), 72, "with both");
        pages.take(0, 72);
        pages.take(PAGE_COUNT - 1, 1);
        assert_eq!(pages.find(10), None);
    }
}
