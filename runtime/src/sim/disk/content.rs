//! What a simulated file holds: what a reader sees, what a power cut leaves for sure, and the pages between.
//! Pure but for the chance it is handed; it knows no names, no time and no requests.

use crate::sim::Chance;
use std::rc::Rc;

/// Bytes of a page: the least that is written at once.
pub(super) const PAGE_LEN: usize = 4096;
/// Bytes that a device writes whole or not at all.
const SECTOR_LEN: usize = 512;
const _: () = assert!(PAGE_LEN / SECTOR_LEN == u8::BITS as usize);

/// A page; `None` holds zeros.
pub(super) type Page = Option<Rc<[u8; PAGE_LEN]>>;

/// The pages of `bytes`, the last one filled up with zeros.
pub(super) fn pages(bytes: &[u8]) -> Vec<Page> {
    let page = |part: &[u8]| {
        if part.iter().all(|&byte| byte == 0) {
            return None;
        }
        let mut page = [0; PAGE_LEN];
        page[..part.len()].copy_from_slice(part);
        Some(Rc::new(page))
    };
    bytes.chunks(PAGE_LEN).map(page).collect()
}

/// How the disk treats what it need not keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mercy {
    /// Of a million pages, so many are lost.
    lost: u32,
    /// Of a million pages, so many are written in part.
    torn: u32,
}

impl Mercy {
    /// Everything is lost, everything is kept, or some of it.
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let (lost, torn) = match chance.below(4) {
            0 => (1_000_000, 0),
            1 => (0, 0),
            2 => (chance.below(1_000_000) as u32, 0),
            _ => (chance.below(700_000) as u32, chance.below(1_000_000) as u32),
        };
        Self { lost, torn }
    }

    /// What is there after `new` was to take the place of `old`.
    fn choose(self, old: &Page, new: &Page, chance: &mut Chance) -> Page {
        if chance.in_a_million(self.lost) {
            old.clone()
        } else if chance.in_a_million(self.torn) {
            torn(old, new, chance)
        } else {
            new.clone()
        }
    }
}

/// Some sectors of each.
fn torn(old: &Page, new: &Page, chance: &mut Chance) -> Page {
    const ZEROS: [u8; PAGE_LEN] = [0; PAGE_LEN];
    let mut page = *old.as_deref().unwrap_or(&ZEROS);
    let new = new.as_deref().unwrap_or(&ZEROS);
    let which = chance.next() as u8;
    for sector in (0..u8::BITS as usize).filter(|sector| which & (1 << sector) != 0) {
        let range = sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN;
        page[range.clone()].copy_from_slice(&new[range]);
    }
    Some(Rc::new(page))
}

/// A write that has come to its end and was not synced.
#[derive(Clone, Debug)]
struct Unsynced {
    number: u64,
    at: usize,
    page: Page,
}

/// How far a sync reaches: what had come to its end when it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    number: u64,
    len: u64,
}

/// A file's content.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    live: Vec<Page>,
    durable: Vec<Page>,
    len: u64,
    durable_len: u64,
    /// In the order in which they were written.
    unsynced: Vec<Unsynced>,
    next_number: u64,
}

impl Content {
    /// Bytes a reader sees.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the disk it takes.
    pub(super) const fn space(&self) -> u64 {
        self.len.next_multiple_of(PAGE_LEN as u64)
    }

    /// Makes the file at least so long, with zeros.
    pub(super) fn extend(&mut self, len: u64) {
        self.len = self.len.max(len);
        let count = self.len.div_ceil(PAGE_LEN as u64) as usize;
        if self.live.len() < count {
            self.live.resize(count, None);
        }
    }

    /// A write of whole pages, all of which is there for readers; the file is `len` bytes long at least.
    pub(super) fn write(&mut self, at: usize, pages: &[Page], len: u64) {
        self.extend(len);
        for (at, page) in (at..).zip(pages) {
            self.put(at, page.clone());
        }
    }

    /// A write that came to an end halfway: of each page some sectors are there, or none, or all.
    pub(super) fn write_in_part(&mut self, at: usize, pages: &[Page], chance: &mut Chance) {
        let mercy = Mercy::draw(chance);
        for (at, page) in (at..).zip(pages) {
            // What lies behind the end was never made longer.
            let Some(old) = self.live.get(at) else { break };
            let page = mercy.choose(old, page, chance);
            self.put(at, page);
        }
    }

    fn put(&mut self, at: usize, page: Page) {
        self.live[at].clone_from(&page);
        let number = self.next_number;
        self.next_number += 1;
        self.unsynced.push(Unsynced { number, at, page });
    }

    /// The bytes of a range, fewer at the end.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let end = self.len.min(offset + out.len() as u64);
        let mut at = offset;
        while at < end {
            let within = at as usize % PAGE_LEN;
            let here = (PAGE_LEN - within).min((end - at) as usize);
            let out = &mut out[(at - offset) as usize..][..here];
            match &self.live[at as usize / PAGE_LEN] {
                Some(page) => out.copy_from_slice(&page[within..within + here]),
                None => out.fill(0),
            }
            at += here as u64;
        }
        end.saturating_sub(offset) as usize
    }

    /// What a sync that begins now will reach.
    pub(super) const fn mark(&self) -> Mark {
        Mark {
            number: self.next_number,
            len: self.len,
        }
    }

    /// A sync that began at `mark` has come to a good end.
    pub(super) fn sync(&mut self, mark: Mark) {
        if mark.len > self.durable_len {
            self.durable_len = mark.len;
            let count = mark.len.div_ceil(PAGE_LEN as u64) as usize;
            self.durable.resize(count, None);
        }
        let reached = self
            .unsynced
            .partition_point(|unsynced| unsynced.number < mark.number);
        for Unsynced { at, page, .. } in self.unsynced.drain(..reached) {
            self.durable[at] = page;
        }
    }

    /// A sync that began at `mark` has failed: some of what it should have kept is gone at once, the rest
    /// is as unsure as it was.
    pub(super) fn sync_failed(&mut self, mark: Mark, chance: &mut Chance) {
        let mercy = Mercy::draw(chance);
        let all = std::mem::take(&mut self.unsynced);
        let mut live = self.durable.clone();
        live.resize(self.live.len(), None);
        for mut unsynced in all {
            if unsynced.number < mark.number {
                unsynced.page = mercy.choose(&live[unsynced.at], &unsynced.page, chance);
            }
            live[unsynced.at].clone_from(&unsynced.page);
            self.unsynced.push(unsynced);
        }
        self.live = live;
    }

    /// What is left when the power comes back: all that was synced, and of the rest what the disk likes.
    pub(super) fn power_cut(&mut self, mercy: Mercy, chance: &mut Chance) {
        if self.len > self.durable_len {
            let more = (self.len - self.durable_len).div_ceil(PAGE_LEN as u64);
            self.len = match chance.below(3) {
                0 => self.durable_len,
                1 => self.len,
                _ => (self.durable_len + chance.below(more + 1) * PAGE_LEN as u64).min(self.len),
            };
        }
        let count = self.len.div_ceil(PAGE_LEN as u64) as usize;
        self.durable.resize(count, None);
        for unsynced in std::mem::take(&mut self.unsynced) {
            if let Some(old) = self.durable.get_mut(unsynced.at) {
                *old = mercy.choose(old, &unsynced.page, chance);
            }
        }
        self.live.clone_from(&self.durable);
        self.durable_len = self.len;
    }

    /// Flips a bit of what is there, for readers and for good.
    pub(super) fn rot(&mut self, offset: u64, bit: u8) {
        let (at, within) = (offset as usize / PAGE_LEN, offset as usize % PAGE_LEN);
        for pages in [&mut self.live, &mut self.durable] {
            if let Some(page) = pages.get_mut(at) {
                let mut bytes = page.as_deref().copied().unwrap_or([0; PAGE_LEN]);
                bytes[within] ^= 1 << (bit % 8);
                *page = Some(Rc::new(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_of(byte: u8) -> Vec<Page> {
        pages(&[byte; PAGE_LEN])
    }

    fn page(content: &Content, at: usize) -> Vec<u8> {
        let mut out = vec![0; PAGE_LEN];
        let len = content.read((at * PAGE_LEN) as u64, &mut out);
        out.truncate(len);
        out
    }

    /// A file of three pages of ones, all of it durable.
    fn kept() -> Content {
        let mut content = Content::default();
        content.write(0, &pages(&[1; 3 * PAGE_LEN]), 3 * PAGE_LEN as u64);
        content.sync(content.mark());
        content
    }

    #[test]
    fn a_sync_reaches_exactly_what_had_ended_when_it_began() {
        let mut fates = std::collections::BTreeSet::new();
        for seed in 0..3000 {
            let mut content = kept();
            content.write(0, &full_of(2), 0);
            let mark = content.mark();
            content.write(1, &full_of(2), 0);
            content.sync(mark);
            let mut chance = Chance::new(seed);
            content.power_cut(Mercy::draw(&mut chance), &mut chance);
            assert_eq!(page(&content, 0), [2; PAGE_LEN]);
            assert_eq!(page(&content, 2), [1; PAGE_LEN]);
            let second = page(&content, 1);
            for sector in second.chunks(SECTOR_LEN) {
                assert!(sector == [1; SECTOR_LEN] || sector == [2; SECTOR_LEN]);
            }
            let is_new = |sector: &&[u8]| sector[0] == 2;
            fates.insert(second.chunks(SECTOR_LEN).filter(is_new).count());
        }
        // Lost, torn in every way, and kept.
        assert_eq!(fates.len(), 9);
    }

    #[test]
    fn a_length_that_was_not_synced_is_kept_or_lost() {
        let mut lens = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut content = kept();
            content.extend(6 * PAGE_LEN as u64);
            let mut chance = Chance::new(seed);
            content.power_cut(Mercy::draw(&mut chance), &mut chance);
            assert_eq!(page(&content, 2), [1; PAGE_LEN]);
            lens.insert(content.len() / PAGE_LEN as u64);
        }
        assert_eq!(lens.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
    }

    #[test]
    fn a_failed_sync_may_lose_what_it_was_to_keep_and_nothing_else() {
        let mut lost = 0;
        for seed in 0..200 {
            let mut content = kept();
            content.write(0, &full_of(2), 0);
            let mark = content.mark();
            content.write(1, &full_of(2), 0);
            content.sync_failed(mark, &mut Chance::new(seed));
            lost += u32::from(page(&content, 0) != [2; PAGE_LEN]);
            assert_eq!(page(&content, 1), [2; PAGE_LEN]);
            assert_eq!(page(&content, 2), [1; PAGE_LEN]);
            // What is seen is what the next sync keeps.
            let seen = page(&content, 0);
            content.sync(content.mark());
            let mut chance = Chance::new(seed);
            content.power_cut(Mercy::draw(&mut chance), &mut chance);
            assert_eq!(page(&content, 0), seen);
        }
        assert!(lost > 50);
    }

    #[test]
    fn reads_end_with_the_file() {
        let mut content = Content::default();
        content.write(0, &pages(&[7; 5000]), 5000);
        assert_eq!(page(&content, 1).len(), 5000 - PAGE_LEN);
        assert_eq!(content.read(9000, &mut [0; 10]), 0);
        content.rot(4999, 0);
        assert_eq!(page(&content, 1).last(), Some(&6));
    }
}
