//! What goes out on a connection in one write: commands, content where it lies, and the commands
//! behind it.

use mailrail_runtime::buffer::Chunk;
use mailrail_runtime::net::inbox::Inbox;
use mailrail_runtime::net::listening::Stretch;
use mailrail_runtime::net::stream::Stream;
use std::io;

/// Slices of content in one write; the kernel takes 1024 at most.
const SLICE_COUNT_MAX: usize = 256;
/// Bytes of content in one write.
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
    /// How many of all these bytes have gone.
    written: usize,
    /// How many have to, until the end of the content has.
    end: Option<usize>,
    has_ended: bool,
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

    /// Whether it is to be written before more content is added.
    pub(super) fn is_full(&self) -> bool {
        self.content.len() >= SLICE_COUNT_MAX || self.content_len >= CONTENT_LEN_MAX
    }

    /// Appends content.
    pub(super) fn push(&mut self, content: Chunk) {
        debug_assert!(self.behind.is_empty(), "nothing follows the content yet");
        self.content_len += content.len();
        self.content.push(content);
    }

    /// Takes the last bytes of the content away, so that the peer cannot have all of it yet.
    pub(super) fn keep_last(&mut self) -> Option<Chunk> {
        let end = self.content.pop()?;
        self.content_len -= end.len();
        let cut = end.len().saturating_sub(LAST_LEN_MAX);
        if cut > 0 {
            self.push(end.slice(0..cut));
        }
        Some(end.slice(cut..end.len()))
    }

    /// The end of the content is the last that was appended.
    pub(super) fn mark_end(&mut self) {
        self.end = Some(self.before.len() + self.content_len + self.behind.len());
    }

    /// Says once when the end of the content was written.
    pub(super) fn has_ended(&mut self) -> bool {
        std::mem::take(&mut self.has_ended)
    }

    /// Writes all there is, or until the peer is heard.
    pub(super) async fn flush(
        &mut self,
        stream: &mut Stream,
        inbox: &mut Inbox,
        deadline: u64,
    ) -> io::Result<Stretch> {
        let written = &mut self.written;
        let stretch = if self.content.is_empty() {
            if self.before.is_empty() {
                return Ok(Stretch::Written);
            }
            let slices = [self.before.as_slice()];
            stream
                .write_listening(&slices, written, inbox, deadline)
                .await
        } else {
            let slices: Vec<&[u8]> = std::iter::once(self.before.as_slice())
                .chain(self.content.iter().map(Chunk::as_slice))
                .chain(std::iter::once(self.behind.as_slice()))
                .filter(|slice| !slice.is_empty())
                .collect();
            stream
                .write_listening(&slices, written, inbox, deadline)
                .await
        };
        if self.end.is_some_and(|end| end <= self.written) {
            (self.end, self.has_ended) = (None, true);
        }
        if matches!(stretch, Ok(Stretch::Written)) {
            self.before.clear();
            self.content.clear();
            self.content_len = 0;
            self.behind.clear();
            self.written = 0;
        }
        stretch
    }
}
