//! The inbox: bytes read and not yet consumed. An idle connection holds no buffer.
//!
//! A buffer is taken from the shard's pool at each try to read and given back when nothing was there;
//! a waiting connection with a part of a line keeps just that part. What the bytes mean is not known
//! here.

use super::stream::Stream;
use crate::timer::Alarm;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes an inbox can hold unread.
pub const INBOX_LEN: usize = 16 * 1024;
/// Unread bytes up to this many are kept outside of a pooled buffer while the connection waits.
const SMALL_LEN_MAX: usize = 2 * 1024;
/// Buffers a shard keeps for the next one who needs one: 1 MiB.
const POOL_COUNT_MAX: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

fn take_buffer() -> Box<[u8]> {
    let pooled = POOL.with_borrow_mut(Vec::pop);
    pooled.unwrap_or_else(|| vec![0; INBOX_LEN].into_boxed_slice())
}

fn give_back(buffer: Box<[u8]>) {
    if buffer.len() == INBOX_LEN {
        // The thread may be ending and its pool gone: then the buffer goes the same way.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_COUNT_MAX {
                pool.push(buffer);
            }
        });
    }
}

/// What became of a `fill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// There are more unread bytes than before.
    Some,
    /// The peer has ended its direction.
    Eof,
    /// The deadline passed first.
    Deadline,
}

/// Bytes that were read from a connection and not yet consumed. 24 bytes when empty.
#[derive(Debug, Default)]
pub struct Inbox {
    /// A pooled buffer, or a small one of its own just as long as what is unread, or none.
    buffer: Option<Box<[u8]>>,
    start: u32,
    end: u32,
}

impl Inbox {
    /// Empty, without a buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What has been read and not consumed.
    #[must_use]
    #[inline]
    pub fn unread(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer[self.start as usize..self.end as usize],
            None => &[],
        }
    }

    /// Forgets the first `count` unread bytes; gives the buffer back when none are left.
    pub fn consume(&mut self, count: usize) {
        let left = self
            .unread()
            .len()
            .checked_sub(count)
            .expect("only what is unread is consumed");
        self.start += count as u32;
        if left == 0 {
            self.release();
        }
    }

    /// Appends bytes that were read elsewhere: what lay behind a body that was read to its own place.
    /// More than `INBOX_LEN` unread bytes get a buffer of their own, which ends with them.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let unread = self.unread().len();
        if unread + bytes.len() <= INBOX_LEN {
            self.room()[..bytes.len()].copy_from_slice(bytes);
            self.end += bytes.len() as u32;
            return;
        }
        let mut own = Vec::with_capacity(unread + bytes.len());
        own.extend_from_slice(self.unread());
        own.extend_from_slice(bytes);
        self.release();
        self.end = own.len() as u32;
        self.buffer = Some(own.into_boxed_slice());
    }

    /// Reads more, behind what is unread. Panics when `INBOX_LEN` bytes are unread: the caller has to
    /// consume some. Dropping the future loses nothing.
    pub fn fill<'s>(&'s mut self, stream: &'s mut Stream, deadline: u64) -> Filling<'s> {
        self.fill_up_to(INBOX_LEN, stream, deadline)
    }

    /// As [`Inbox::fill`], but reads no more than `len_max` bytes (at least one): for a caller that would
    /// rather have what follows read to another place.
    pub fn fill_up_to<'s>(
        &'s mut self,
        len_max: usize,
        stream: &'s mut Stream,
        deadline: u64,
    ) -> Filling<'s> {
        Filling {
            inbox: self,
            stream,
            len_max: len_max.max(1),
            deadline,
            alarm: Alarm::new(),
        }
    }

    /// Tries once to read more, at most `len_max` bytes.
    pub(super) fn poll_fill(
        &mut self,
        stream: &mut Stream,
        len_max: usize,
        context: &Context<'_>,
    ) -> Poll<io::Result<Fill>> {
        let room = self.room();
        let len = room.len().min(len_max);
        let result = stream.poll_read(context, &mut room[..len]);
        if let Poll::Ready(Ok(count @ 1..)) = result {
            self.end += count as u32;
            return Poll::Ready(Ok(Fill::Some));
        }
        self.settle();
        result.map(|result| result.map(|_| Fill::Eof))
    }

    /// Room behind the unread bytes, in a pooled buffer.
    fn room(&mut self) -> &mut [u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        let pooled = matches!(&self.buffer, Some(buffer) if buffer.len() == INBOX_LEN);
        if !pooled {
            let mut buffer = take_buffer();
            buffer[..end - start].copy_from_slice(self.unread());
            self.buffer = Some(buffer);
        } else if end == INBOX_LEN {
            assert!(
                start > 0,
                "an inbox full of unread bytes is consumed before it is filled"
            );
            if let Some(buffer) = &mut self.buffer {
                buffer.copy_within(start..end, 0);
            }
        }
        if !pooled || end == INBOX_LEN {
            (self.start, self.end) = (0, (end - start) as u32);
        }
        match &mut self.buffer {
            Some(buffer) => &mut buffer[self.end as usize..],
            None => unreachable!("it was taken above"),
        }
    }

    /// Nothing came: keeps no more than what is unread.
    fn settle(&mut self) {
        let unread = self.unread();
        if unread.is_empty() {
            self.release();
        } else if unread.len() <= SMALL_LEN_MAX {
            let small: Box<[u8]> = unread.into();
            let end = small.len() as u32;
            self.release();
            (self.buffer, self.start, self.end) = (Some(small), 0, end);
        }
    }

    fn release(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            give_back(buffer);
        }
        (self.start, self.end) = (0, 0);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.release();
    }
}

/// See [`Inbox::fill`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Filling<'s> {
    inbox: &'s mut Inbox,
    stream: &'s mut Stream,
    len_max: usize,
    deadline: u64,
    alarm: Alarm,
}

impl Future for Filling<'_> {
    type Output = io::Result<Fill>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let filled = this.inbox.poll_fill(this.stream, this.len_max, context);
        if filled.is_ready() || !this.alarm.is_due(this.deadline, context) {
            return filled;
        }
        this.stream.look_again();
        match this.inbox.poll_fill(this.stream, this.len_max, context) {
            Poll::Pending => Poll::Ready(Ok(Fill::Deadline)),
            filled => filled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `fill` does when `bytes` are there to read.
    fn receive(inbox: &mut Inbox, bytes: &[u8]) {
        inbox.room()[..bytes.len()].copy_from_slice(bytes);
        inbox.end += bytes.len() as u32;
    }

    fn pooled() -> usize {
        POOL.with_borrow(Vec::len)
    }

    #[test]
    fn an_empty_inbox_holds_no_buffer_and_the_pool_gets_it_back() {
        let mut inbox = Inbox::new();
        receive(&mut inbox, b"EHLO\r\n");
        assert_eq!((inbox.unread(), pooled()), (&b"EHLO\r\n"[..], 0));
        inbox.consume(6);
        assert_eq!((inbox.unread(), pooled()), (&b""[..], 1));
        assert!(inbox.buffer.is_none());
        receive(&mut inbox, b"x");
        drop(inbox);
        assert_eq!(pooled(), 1);
    }

    #[test]
    fn a_part_of_a_line_keeps_only_itself_while_it_waits() {
        let mut inbox = Inbox::new();
        receive(&mut inbox, b"NOOP\r\nRC");
        inbox.consume(6);
        inbox.settle();
        assert_eq!((inbox.unread(), pooled()), (&b"RC"[..], 1));
        assert_eq!(inbox.buffer.as_ref().unwrap().len(), 2);
        inbox.room();
        inbox.settle();
        receive(&mut inbox, b"PT\r\n");
        assert_eq!((inbox.unread(), pooled()), (&b"RCPT\r\n"[..], 0));
    }

    #[test]
    fn a_large_rest_keeps_its_buffer() {
        let mut inbox = Inbox::new();
        receive(&mut inbox, &[b'x'; SMALL_LEN_MAX + 1]);
        inbox.settle();
        assert_eq!((inbox.unread().len(), pooled()), (SMALL_LEN_MAX + 1, 0));
    }

    #[test]
    fn a_full_buffer_is_moved_together() {
        let mut inbox = Inbox::new();
        receive(&mut inbox, &[b'x'; INBOX_LEN - 1]);
        receive(&mut inbox, b"y");
        inbox.consume(INBOX_LEN - 1);
        assert_eq!(inbox.room().len(), INBOX_LEN - 1);
        assert_eq!(inbox.unread(), b"y");
    }

    #[test]
    #[should_panic = "an inbox full of unread bytes"]
    fn a_full_inbox_cannot_be_filled() {
        let mut inbox = Inbox::new();
        receive(&mut inbox, &[b'x'; INBOX_LEN]);
        inbox.room();
    }

    #[test]
    fn pushed_bytes_are_read_behind_what_is_unread() {
        let mut inbox = Inbox::new();
        inbox.push(b"");
        assert!(inbox.unread().is_empty());
        inbox.push(b"RSET");
        inbox.push(b"\r\n");
        assert_eq!(inbox.unread(), b"RSET\r\n");
        inbox.consume(2);
        let long = vec![b'x'; 3 * INBOX_LEN];
        inbox.push(&long);
        assert_eq!(inbox.unread().len(), 4 + long.len());
        assert!(inbox.unread().starts_with(b"ET\r\nxx"));
        inbox.consume(4 + long.len());
        inbox.push(b"QUIT\r\n");
        assert_eq!(inbox.unread(), b"QUIT\r\n");
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut inboxes: Vec<_> = (0..POOL_COUNT_MAX + 9).map(|_| Inbox::new()).collect();
        inboxes.iter_mut().for_each(|inbox| receive(inbox, b"x"));
        drop(inboxes);
        assert_eq!(pooled(), POOL_COUNT_MAX);
    }
}
