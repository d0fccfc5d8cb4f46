//! The bytes of TLS records: what was read and not yet understood, and what is not yet sent.
//!
//! Both take a buffer of the shard's when they need one and give it back when they are empty; what waits
//! for the rest of a record keeps just its own bytes. What the bytes mean is not known here.

use std::cell::RefCell;

/// Bytes of a buffer: four records of the longest kind, and what TLS adds to them.
pub(super) const BUFFER_LEN: usize = 66 * 1024;
/// Buffers a shard keeps for the next one who needs one: 1 MiB.
const POOL_COUNT_MAX: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

fn take_buffer() -> Box<[u8]> {
    let pooled = POOL.with_borrow_mut(Vec::pop);
    pooled.unwrap_or_else(|| vec![0; BUFFER_LEN].into_boxed_slice())
}

fn give_back(buffer: Box<[u8]>) {
    if buffer.len() == BUFFER_LEN {
        // The thread may be ending and its pool gone: then the buffer goes the same way.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_COUNT_MAX {
                pool.push(buffer);
            }
        });
    }
}

/// Bytes in a buffer, or in none when there are none.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// A pooled buffer, or a small one of its own just as long as what is in it.
    bytes: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether it takes memory beside itself.
    #[cfg(test)]
    pub(super) fn is_held(&self) -> bool {
        self.bytes.is_some()
    }

    /// What is in it.
    pub(super) fn filled(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Some(bytes) => &mut bytes[self.start..self.end],
            None => &mut [],
        }
    }

    /// Room behind what is in it; empty when it is full.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let is_pooled = matches!(&self.bytes, Some(bytes) if bytes.len() == BUFFER_LEN);
        if !is_pooled {
            let mut bytes = take_buffer();
            let len = self.end - self.start;
            bytes[..len].copy_from_slice(self.filled());
            (self.bytes, self.start, self.end) = (Some(bytes), 0, len);
        } else if self.start > 0
            && let Some(bytes) = &mut self.bytes
        {
            bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        match &mut self.bytes {
            Some(bytes) => &mut bytes[self.end..],
            None => &mut [],
        }
    }

    /// So many bytes of the room are filled.
    pub(super) fn add(&mut self, count: usize) {
        self.end += count;
    }

    /// Forgets the first `count` bytes; gives the buffer back when none are left.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "only what is there is consumed");
        if self.is_empty() {
            self.release();
        }
    }

    /// It has to wait: keeps no more than what is in it.
    pub(super) fn settle(&mut self) {
        let is_pooled = matches!(&self.bytes, Some(bytes) if bytes.len() == BUFFER_LEN);
        if self.is_empty() {
            self.release();
        } else if is_pooled {
            let own: Box<[u8]> = (&*self.filled()).into();
            let end = own.len();
            self.release();
            (self.bytes, self.start, self.end) = (Some(own), 0, end);
        }
    }

    fn release(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            give_back(bytes);
        }
        (self.start, self.end) = (0, 0);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buffer: &mut Buffer, bytes: &[u8]) {
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.add(bytes.len());
    }

    fn pooled() -> usize {
        POOL.with_borrow(Vec::len)
    }

    #[test]
    fn an_empty_buffer_holds_nothing_and_the_pool_gets_it_back() {
        let mut buffer = Buffer::default();
        put(&mut buffer, b"abc");
        assert_eq!((&*buffer.filled(), pooled()), (&b"abc"[..], 0));
        buffer.consume(3);
        assert!(buffer.is_empty() && buffer.bytes.is_none());
        assert_eq!(pooled(), 1);
    }

    #[test]
    fn what_waits_keeps_only_itself() {
        let mut buffer = Buffer::default();
        put(&mut buffer, b"abcdef");
        buffer.consume(2);
        buffer.settle();
        assert_eq!((&*buffer.filled(), pooled()), (&b"cdef"[..], 1));
        assert_eq!(buffer.bytes.as_ref().map(|bytes| bytes.len()), Some(4));
        put(&mut buffer, b"gh");
        buffer.consume(1);
        assert_eq!(buffer.room().len(), BUFFER_LEN - 5);
        assert_eq!(buffer.filled(), b"defgh");
    }

    #[test]
    fn a_full_buffer_has_no_room() {
        let mut buffer = Buffer::default();
        put(&mut buffer, &[7; BUFFER_LEN]);
        assert!(buffer.room().is_empty());
        buffer.settle();
        assert!(buffer.room().is_empty());
        buffer.consume(1);
        assert_eq!(buffer.room().len(), 1);
    }
}
