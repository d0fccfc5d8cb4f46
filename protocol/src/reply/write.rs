//! From a reply to the bytes that a server sends.

use super::Reply;
use alloc::vec::Vec;

impl Reply<'_> {
    /// Appends the reply, its enhanced status included.
    ///
    /// The text is parted at its line ends and loses every other control character, so that no
    /// text can ever forge a second reply; long lines are continued, and what goes beyond
    /// [`crate::limits::REPLY_LEN_MAX`] is cut off.
    pub fn write(&self, _out: &mut Vec<u8>) {
        unimplemented!()
    }
}
