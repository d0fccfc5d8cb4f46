//! The bytes of a session: its stream, what was read and is unread, what is to be written, and the wait for the
//! peer that ends also when the server stops. What the bytes mean is not known here.

use mailrail_protocol::time::Instant;
use mailrail_runtime::clock;
use mailrail_runtime::net::inbox::{Fill, Inbox};
use mailrail_runtime::net::stream::Stream;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

/// A session lets the others run after so many commands,
const COMMANDS_A_TURN: u32 = 100;
/// or after so many bytes of content.
const BYTES_A_TURN: usize = 64 * 1024;
/// How long a peer may take to read our replies.
const WRITE_MICROS_MAX: u64 = 300_000_000;
/// What the output of an idle session may keep of its memory.
const IDLE_OUT_LEN_MAX: usize = 256;

/// The bytes: what was read, what is to be written, and how much of it in this turn.
pub(super) struct Connection<'s, F> {
    pub(super) stream: Stream,
    pub(super) inbox: Inbox,
    pub(super) out: Vec<u8>,
    pub(super) closing: Pin<&'s mut F>,
    pub(super) is_closing: bool,
    pub(super) stop_at: &'s Cell<u64>,
    pub(super) command_count: u32,
    pub(super) byte_count: usize,
    /// Bytes that are read at once into the inbox.
    pub(super) read_len: usize,
}

/// Where to read to.
pub(super) enum Space<'s> {
    Inbox,
    Here(&'s mut [u8]),
    /// Nowhere: somebody takes memory for it when there is something to read, or the deadline has passed.
    NotYet,
}

/// What a wait for the peer ended with.
pub(super) enum Waited {
    Read(usize),
    Eof,
    Deadline,
    Closing,
    /// The server stops, and what was still open has had its time.
    Stopped,
}

impl<F: Future<Output = ()>> Connection<'_, F> {
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            let deadline = clock::coarse_after(WRITE_MICROS_MAX);
            self.stream.write_all(&self.out, deadline).await?;
            self.out.clear();
            self.out.shrink_to(IDLE_OUT_LEN_MAX);
        }
        Ok(())
    }

    pub(super) fn turn_is_over(&mut self) -> bool {
        let is_over = self.command_count >= COMMANDS_A_TURN || self.byte_count >= BYTES_A_TURN;
        if is_over {
            (self.command_count, self.byte_count) = (0, 0);
        }
        is_over
    }

    /// Reads into `space`; ends early when the server stops.
    pub(super) async fn wait(
        &mut self,
        space: Space<'_>,
        deadline: Option<Instant>,
    ) -> io::Result<Waited> {
        let mut deadline = deadline.map_or(clock::NEVER, Instant::as_micros);
        if self.is_closing {
            deadline = deadline.min(self.stop_at.get());
        }
        let read = async {
            match space {
                Space::Here(space) => match self.stream.read(space, deadline).await {
                    Ok(0) => Ok(Waited::Eof),
                    Ok(count) => Ok(Waited::Read(count)),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(Waited::Deadline),
                    Err(error) => Err(error),
                },
                Space::Inbox => match self
                    .inbox
                    .fill_up_to(self.read_len, &mut self.stream, deadline)
                    .await?
                {
                    Fill::Some => Ok(Waited::Read(0)),
                    Fill::Eof => Ok(Waited::Eof),
                    Fill::Deadline => Ok(Waited::Deadline),
                },
                Space::NotYet => {
                    self.stream.readable(deadline).await;
                    Ok(Waited::Read(0))
                }
            }
        };
        let mut read = pin!(read);
        poll_fn(|context| {
            if let Poll::Ready(waited) = read.as_mut().poll(context) {
                return Poll::Ready(match waited {
                    // The session knows its own deadline only, and this was not its own.
                    Ok(Waited::Deadline)
                        if self.is_closing && clock::micros() >= self.stop_at.get() =>
                    {
                        Ok(Waited::Stopped)
                    }
                    waited => waited,
                });
            }
            if !self.is_closing && self.closing.as_mut().poll(context).is_ready() {
                self.is_closing = true;
                return Poll::Ready(Ok(Waited::Closing));
            }
            Poll::Pending
        })
        .await
    }
}
