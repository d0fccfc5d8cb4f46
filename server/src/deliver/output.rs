//! What goes out on a connection in one write: commands, content where it lies, and the commands
//! behind it.

use mailrail_protocol::client::Session;
use mailrail_runtime::buffer::Chunk;
use mailrail_runtime::log::Payload;
use mailrail_runtime::net::stream::Stream;
use std::io;

/// Slices of content in one write; the kernel takes 1024 at most.
const SLICE_COUNT_MAX: usize = 256;
/// Bytes of content in one write: beyond it, the peer should be heard in between.
const CONTENT_LEN_MAX: usize = 1024 * 1024;

/// Bytes at the end of a content that are kept back until it is noted that they follow: so few that the
/// socket's buffer takes them at once, and hardly anything lies between the note and their leaving.
const LAST_LEN_MAX: usize = 1024;

/// Bytes that wait to be written, in order: before the content, content, behind it.
#[derive(Debug, Default)]
pub(super) struct Output {
    before: Vec<u8>,
    content: Vec<Chunk>,
    content_len: usize,
    behind: Vec<u8>,
}

impl Output {
    /// Where commands are appended.
    pub(super) fn commands(&mut self) -> &mut Vec<u8> {
        if self.content.is_empty() {
            &mut self.before
        } else {
            &mut self.behind
        }
    }

    /// Whether there is content that is not written yet.
    pub(super) fn has_content(&self) -> bool {
        !self.content.is_empty()
    }

    /// Writes all there is.
    pub(super) async fn flush(&mut self, stream: &mut Stream, deadline: u64) -> io::Result<()> {
        if self.content.is_empty() {
            if self.before.is_empty() {
                return Ok(());
            }
            stream.write_all(&self.before, deadline).await?;
        } else {
            let slices: Vec<&[u8]> = std::iter::once(self.before.as_slice())
                .chain(self.content.iter().map(Chunk::as_slice))
                .chain(std::iter::once(self.behind.as_slice()))
                .filter(|slice| !slice.is_empty())
                .collect();
            stream.write_slices(&slices, deadline).await?;
        }
        self.before.clear();
        self.content.clear();
        self.content_len = 0;
        self.behind.clear();
        Ok(())
    }

    /// Writes all there is but the last bytes of the content, so that the peer cannot have all of it yet.
    pub(super) async fn flush_to_last(
        &mut self,
        stream: &mut Stream,
        deadline: u64,
    ) -> io::Result<()> {
        debug_assert!(self.behind.is_empty(), "nothing follows the content yet");
        let Some(end) = self.content.pop() else {
            return self.flush(stream, deadline).await;
        };
        let cut = end.len().saturating_sub(LAST_LEN_MAX);
        if cut > 0 {
            self.content.push(end.slice(0..cut));
        }
        self.flush(stream, deadline).await?;
        let last = end.slice(cut..end.len());
        self.content_len = last.len();
        self.content.push(last);
        Ok(())
    }

    /// Appends the content of a message, from byte `start` of its payload on. What does not fit into
    /// one write is written; the rest waits for company.
    pub(super) async fn content(
        &mut self,
        session: &mut Session<'_>,
        payload: &Payload,
        start: usize,
        stream: &mut Stream,
        deadline: impl Fn() -> u64,
    ) -> io::Result<()> {
        for chunk in payload.chunks_from(start) {
            let base = chunk.as_slice().as_ptr() as usize;
            let mut segments = session.segments(chunk.as_slice());
            for segment in &mut segments {
                if self.content.len() >= SLICE_COUNT_MAX || self.content_len >= CONTENT_LEN_MAX {
                    self.flush(stream, deadline()).await?;
                }
                let from = segment.as_ptr() as usize - base;
                self.content.push(chunk.slice(from..from + segment.len()));
                self.content_len += segment.len();
            }
        }
        Ok(())
    }
}
