//! Counting a chunk down: the body that follows BDAT.

use super::scan::Scan;

impl Scan {
    /// Takes as much of a chunk off the front of `input` as is there, and counts `left` down.
    //= RFC 3030 section 2: a chunk is the octets that were announced, whatever they hold
    pub fn chunk<'i>(&mut self, left: &mut u64, input: &mut &'i [u8]) -> &'i [u8] {
        let len = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
        let (slice, rest) = input.split_at_checked(len).unwrap_or((input, &[]));
        self.look(slice);
        *left -= slice.len() as u64;
        *input = rest;
        slice
    }
}
