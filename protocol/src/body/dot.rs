//! Taking the dots away: the body that follows DATA. What the octets between them hold is
//! `scan`'s business.

use super::scan::{At, Scan};

/// One step through a body with dots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dotted<'i> {
    /// What is left (at most a dot and a CR) means nothing without the next byte.
    NeedInput,
    /// The next stretch of content.
    Slice(&'i [u8]),
    /// The line with nothing but a dot.
    End,
}

impl Scan {
    /// Takes the next stretch of content, or the end, off the front of `input`.
    ///
    /// A stretch is as long as it can be: it is cut only where a dot is dropped and where the
    /// input ends. It is always the last part of what was taken.
    pub fn dotted<'i>(&mut self, input: &mut &'i [u8]) -> Dotted<'i> {
        let whole = *input;
        let mut content = whole;
        if self.at == At::LineStart {
            match whole {
                [] | [b'.'] | [b'.', b'\r'] => return Dotted::NeedInput,
                //= RFC 5321 section 4.1.1.4: CRLF, a dot, CRLF end the data, and nothing else does
                [b'.', b'\r', b'\n', rest @ ..] => {
                    *input = rest;
                    return Dotted::End;
                }
                //= RFC 5321 section 4.5.2: a line that starts with a dot loses it, unless the dot is all there is
                [b'.', rest @ ..] => {
                    if rest.first() == Some(&b'.') {
                        self.note_leading_dot();
                    }
                    self.at = At::Middle;
                    content = rest;
                }
                _ => {}
            }
        }
        if content.is_empty() {
            return Dotted::NeedInput;
        }
        let len = self.look_until_dot(content);
        let (slice, rest) = content.split_at_checked(len).unwrap_or((content, &[]));
        *input = rest;
        Dotted::Slice(slice)
    }
}
