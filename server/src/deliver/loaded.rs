//! A message in memory, as delivery needs it: the bytes in their chunks, and its front in one piece.

use crate::message::{META_LEN, Malformed, Meta, PayloadView};
use mailrail_runtime::log::Payload;

/// A message's bytes. Clones share them.
#[derive(Clone, Debug)]
pub struct Loaded {
    payload: Payload,
    /// Where in the payload the message begins: behind what a rewritten record has in front.
    start: usize,
    /// Meta and envelope, where the first chunk does not hold them whole.
    front: Option<std::rc::Rc<[u8]>>,
}

impl Loaded {
    /// The message that begins at `start` of a record's payload.
    ///
    /// # Errors
    /// When no message can begin there.
    pub fn new(payload: Payload, start: usize) -> Result<Self, Malformed> {
        let copy = |len: usize| -> Vec<u8> {
            let mut bytes = Vec::with_capacity(len);
            for chunk in payload.chunks_from(start) {
                let count = chunk.len().min(len - bytes.len());
                bytes.extend_from_slice(&chunk.as_slice()[..count]);
            }
            bytes
        };
        let head = payload.head();
        let first = head.get(start..).unwrap_or_default();
        let meta = if first.len() >= META_LEN {
            Meta::decode(first)?
        } else {
            Meta::decode(&copy(META_LEN))?
        };
        let front_len = META_LEN + meta.envelope_len as usize;
        let front = (first.len() < front_len).then(|| copy(front_len).into());
        let loaded = Self {
            payload,
            start,
            front,
        };
        loaded.view()?;
        Ok(loaded)
    }

    /// Meta and envelope.
    ///
    /// # Errors
    /// When the bytes cannot be those of a message.
    pub fn view(&self) -> Result<PayloadView<'_>, Malformed> {
        PayloadView::decode_front(match &self.front {
            Some(front) => front,
            None => &self.payload.head()[self.start..],
        })
    }

    /// The message's own bytes, meta and envelope in front, chunk by chunk.
    pub fn chunks(&self) -> impl Iterator<Item = mailrail_runtime::buffer::Chunk> {
        self.payload.chunks_from(self.start)
    }

    /// The record's bytes in their chunks.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Where in the payload the content begins.
    pub fn content_start(&self, view: &PayloadView<'_>) -> usize {
        self.start + view.meta.content_offset as usize
    }

    /// At least the first `len` bytes of the content, or all of it, in one piece.
    pub fn content_front(&self, view: &PayloadView<'_>, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in self.payload.chunks_from(self.content_start(view)) {
            bytes.extend_from_slice(chunk.as_slice());
            if bytes.len() >= len {
                break;
            }
        }
        bytes
    }
}
