//! The lines by which a server announces its extensions.

use super::{Extension, Extensions};
use crate::reply::Lines;

impl Extensions {
    /// Appends one line for each extension to a reply whose first line is open.
    //= RFC 5321 section 4.1.1.1: each extension has a line of its own behind the greeting's
    pub(crate) fn advertise(&self, lines: &mut Lines<'_>) {
        for extension in Extension::ALL {
            if !self.has(extension) {
                continue;
            }
            lines.next();
            lines.word(extension.keyword());
            //= RFC 1870 section 4: SIZE is followed by the limit in octets; zero says there is none
            if extension == Extension::Size {
                lines.word(" ");
                lines.number(self.size_max().unwrap_or(0));
            }
        }
    }
}
