//! What goes out on a connection in one write: commands, content where it lies, and the commands behind it, of up to
//! two messages. What those are is `connection`'s.

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

/// Up to so many bytes of content wait for a next message to leave with them: of small messages two cost one write, and
/// what is longer costs several anyway.
const JOIN_LEN_MAX: usize = 64 * 1024;

/// Bytes that wait to be written, in order: commands, and content where they say it goes.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// All of them, one behind the other.
    commands: Vec<u8>,
    /// Each with the bytes of commands that go before it.
    content: Vec<(usize, Chunk)>,
    content_len: usize,
    /// How many of all these bytes have gone.
    written: usize,
    /// How many have to, until a content's end has: of those whose end has not. One after the other.
    ends: Vec<usize>,
    ended_count: usize,
}

impl Output {
    /// Where commands are appended.
    pub(super) fn commands(&mut self) -> &mut Vec<u8> {
        &mut self.commands
    }

    /// Whether there is content that is not written yet.
    pub(super) fn has_content(&self) -> bool {
        !self.content.is_empty()
    }

    /// Whether another message's content may leave in the same write.
    pub(super) fn can_join(&self) -> bool {
        self.content_len <= JOIN_LEN_MAX
    }

    /// Whether it is to be written before more content is added.
    pub(super) fn is_full(&self) -> bool {
        self.content.len() >= SLICE_COUNT_MAX || self.content_len >= CONTENT_LEN_MAX
    }

    /// Appends content.
    pub(super) fn push(&mut self, content: Chunk) {
        self.content_len += content.len();
        self.content.push((self.commands.len(), content));
    }

    /// Takes the last bytes of the content away, so that the peer cannot have all of it yet. Nothing may follow it.
    pub(super) fn keep_last(&mut self) -> Option<Chunk> {
        let (before, end) = self.content.pop()?;
        debug_assert_eq!(before, self.commands.len(), "nothing follows the content");
        self.content_len -= end.len();
        let cut = end.len().saturating_sub(LAST_LEN_MAX);
        if cut > 0 {
            self.push(end.slice(0..cut));
        }
        Some(end.slice(cut..end.len()))
    }

    /// The end of a content is the last that was appended.
    pub(super) fn mark_end(&mut self) {
        self.ends.push(self.commands.len() + self.content_len);
    }

    /// How many contents were written to their end since it was last asked.
    pub(super) fn take_ended(&mut self) -> usize {
        std::mem::take(&mut self.ended_count)
    }

    /// Writes all there is, or until the peer is heard.
    pub(super) async fn flush(
        &mut self,
        stream: &mut Stream,
        inbox: &mut Inbox,
        deadline: u64,
    ) -> io::Result<Stretch> {
        let slices = slices(&self.commands, &self.content);
        let stretch = match slices.is_empty() {
            true => Ok(Stretch::Written),
            false => {
                let written = &mut self.written;
                stream
                    .write_listening(&slices, written, inbox, deadline)
                    .await
            }
        };
        self.wrote(matches!(stretch, Ok(Stretch::Written)));
        stretch
    }

    /// More has gone, or all.
    fn wrote(&mut self, is_all: bool) {
        let written = self.written;
        let ended_count = self.ends.iter().take_while(|end| **end <= written).count();
        self.ends.drain(..ended_count);
        self.ended_count += ended_count;
        if is_all {
            self.commands.clear();
            self.content.clear();
            self.content_len = 0;
            self.written = 0;
        }
    }
}

/// All there is, in order.
fn slices<'o>(commands: &'o [u8], content: &'o [(usize, Chunk)]) -> Vec<&'o [u8]> {
    // Commands go before a message's first slice of content, and behind its last.
    let mut slices = Vec::with_capacity(content.len() + 3);
    let mut cut = 0;
    for (before, content) in content {
        if *before > cut {
            slices.push(&commands[cut..*before]);
            cut = *before;
        }
        slices.push(content.as_slice());
    }
    if cut < commands.len() {
        slices.push(&commands[cut..]);
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailrail_runtime::buffer::{ChunkMut, ChunkSize};

    fn chunk(bytes: &[u8]) -> Chunk {
        let mut chunk = ChunkMut::new(ChunkSize::Small);
        chunk.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
        chunk.freeze(bytes.len())
    }

    /// `C` commands, `D` data, `E` the end of a message.
    type Part = (char, &'static str);

    fn output(parts: &[Part]) -> Output {
        let mut output = Output::default();
        for (kind, bytes) in parts {
            match kind {
                'C' => output.commands().extend_from_slice(bytes.as_bytes()),
                'D' => output.push(chunk(bytes.as_bytes())),
                _ => output.mark_end(),
            }
        }
        output
    }

    fn all(output: &Output) -> Vec<&[u8]> {
        slices(&output.commands, &output.content)
    }

    #[test]
    fn an_end_with_nothing_before_it_is_told() {
        let mut output = output(&[('E', "")]);
        output.wrote(true);
        assert_eq!(output.take_ended(), 1);
    }

    #[test]
    fn everything_leaves_in_the_order_in_which_it_was_appended() {
        let cases: [(&[Part], &[&str]); 5] = [
            (&[], &[]),
            (&[('C', "QUIT")], &["QUIT"]),
            (&[('D', "a"), ('D', "b")], &["a", "b"]),
            (
                &[
                    ('C', "MAIL"),
                    ('C', "RCPT"),
                    ('D', "a"),
                    ('D', "b"),
                    ('C', "."),
                ],
                &["MAILRCPT", "a", "b", "."],
            ),
            (
                &[
                    ('C', "BDAT 1"),
                    ('D', "a"),
                    ('E', ""),
                    ('C', "MAIL"),
                    ('C', "BDAT 1"),
                    ('D', "b"),
                    ('E', ""),
                    ('C', "MAIL"),
                ],
                &["BDAT 1", "a", "MAILBDAT 1", "b", "MAIL"],
            ),
        ];
        for (parts, slices) in cases {
            let slices: Vec<&[u8]> = slices.iter().map(|slice| slice.as_bytes()).collect();
            assert_eq!(all(&output(parts)), slices, "{parts:?}");
        }
    }

    #[test]
    fn a_message_has_ended_when_its_last_byte_has_gone() {
        let parts = [
            ('C', "DATA"),
            ('D', "abc"),
            ('C', "."),
            ('E', ""),
            ('C', "MAIL"),
            ('D', "de"),
            ('E', ""),
        ];
        for (steps, ended) in [
            (&[7, 8, 13, 14][..], &[0, 1, 0, 1][..]),
            (&[4, 14], &[0, 2]),
            (&[9, 14], &[1, 1]),
        ] {
            let mut output = output(&parts);
            for (written, ended) in steps.iter().zip(ended) {
                output.written = *written;
                output.wrote(*written == 14);
                assert_eq!(output.take_ended(), *ended, "{steps:?} at {written}");
            }
            assert!(!output.has_content() && all(&output).is_empty());
        }
    }

    #[test]
    fn the_last_bytes_can_be_kept_back() {
        let content: Vec<u8> = (0..3000_u32).map(|number| number as u8).collect();
        for (len, left) in [(3000, 3000 - LAST_LEN_MAX), (LAST_LEN_MAX, 0), (1, 0)] {
            let mut output = output(&[('C', "MAIL")]);
            output.push(chunk(&content[..len]));
            let last = output.keep_last().unwrap();
            assert_eq!(last.as_slice(), &content[left..len]);
            let slices = all(&output);
            assert_eq!(slices.concat(), [b"MAIL", &content[..left]].concat());
        }
        assert!(output(&[('C', "MAIL")]).keep_last().is_none());
    }
}
