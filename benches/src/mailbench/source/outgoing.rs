//! What goes out on a connection in one write: commands, a content, and the commands behind it. A content is
//! slices of what was made once; only its header is its own.

use super::content::Content;
use mailrail_runtime::net::stream::Stream;
use std::io;

/// Bytes that wait to be written, in their order.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    before: Vec<u8>,
    header: Vec<u8>,
    /// Bytes of content behind the header; `None`: there is no content.
    body_len: Option<usize>,
    behind: Vec<u8>,
}

impl Outgoing {
    /// Where commands are appended.
    pub(super) fn commands(&mut self) -> &mut Vec<u8> {
        match self.body_len {
            None => &mut self.before,
            Some(_) => &mut self.behind,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.body_len.is_none()
    }

    pub(super) fn has_content(&self) -> bool {
        self.body_len.is_some()
    }

    /// A content follows what is there; `header` is taken, for one that was used before.
    pub(super) fn set_content(&mut self, header: &mut Vec<u8>, body_len: usize) {
        debug_assert!(!self.has_content(), "one content at a time");
        std::mem::swap(&mut self.header, header);
        self.body_len = Some(body_len);
    }

    /// Writes all there is.
    pub(super) async fn flush(
        &mut self,
        stream: &mut Stream,
        content: &Content,
        deadline: u64,
    ) -> io::Result<()> {
        match self.body_len {
            None => stream.write_all(&self.before, deadline).await?,
            Some(body_len) => {
                let (lines, last) = content.slices(body_len);
                let slices: [&[u8]; 5] = [&self.before, &self.header, lines, last, &self.behind];
                stream.write_slices(&slices, deadline).await?;
            }
        }
        self.before.clear();
        self.body_len = None;
        self.behind.clear();
        Ok(())
    }
}
