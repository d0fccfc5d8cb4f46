//! Writing with an ear for the peer: who sends much has to hear it when the other side will have no more.
//!
//! As long as the socket takes what is written nothing is listened for, and it costs what writing alone
//! does. Only while there is no room the stream is read as well. What was heard is not understood here.

use super::inbox::{Fill, INBOX_LEN, Inbox};
use super::stream::{Stream, WriteSlices, late};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What ended a stretch of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// All is written.
    Written,
    /// There is more unread in the inbox than before, and not all is written.
    Heard,
    /// The peer has ended its direction: it will say nothing any more. Not all is written.
    Eof,
}

impl Stream {
    /// Writes the slices, in order, from the byte `written` of all of them on, and counts there what has gone, also
    /// when it fails: to go on, call it again. While the socket has no room, what comes is read
    /// into the inbox. Panics then when `INBOX_LEN` bytes are unread.
    pub fn write_listening<'s>(
        &'s mut self,
        slices: &'s [&'s [u8]],
        written: &'s mut usize,
        inbox: &'s mut Inbox,
        deadline: u64,
    ) -> WriteListening<'s> {
        let mut write = self.write_slices(slices, deadline);
        write.wrote(*written);
        WriteListening {
            write,
            written,
            inbox,
        }
    }
}

/// See [`Stream::write_listening`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct WriteListening<'s> {
    write: WriteSlices<'s>,
    written: &'s mut usize,
    inbox: &'s mut Inbox,
}

impl Future for WriteListening<'_> {
    type Output = io::Result<Stretch>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if this.write.is_done() {
                if let Poll::Ready(flushed) = this.write.stream.poll_flush(context) {
                    return Poll::Ready(flushed.map(|()| Stretch::Written));
                }
            } else if let Poll::Ready(count) = this.write.poll_send(context) {
                let count = count?;
                this.write.wrote(count);
                *this.written += count;
                continue;
            }
            let write = &mut this.write;
            return match this.inbox.poll_fill(write.stream, INBOX_LEN, context) {
                Poll::Ready(Ok(Fill::Some)) => Poll::Ready(Ok(Stretch::Heard)),
                Poll::Ready(Ok(_)) => Poll::Ready(Ok(Stretch::Eof)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => late(&mut write.alarm, write.deadline, context),
            };
        }
    }
}
