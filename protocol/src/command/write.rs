//! From a command to the line that a client sends. Nothing is checked here: an address is what its
//! type says, so none can break out of its line.

use super::{BodyKind, Mail, Recipient};
use crate::ascii::push_decimal;
use alloc::vec::Vec;

/// RSET
pub const RESET: &[u8] = b"RSET\r\n";
/// DATA
pub const DATA: &[u8] = b"DATA\r\n";
/// QUIT
pub const QUIT: &[u8] = b"QUIT\r\n";
/// STARTTLS
pub const START_TLS: &[u8] = b"STARTTLS\r\n";

impl Mail<'_> {
    /// Appends the line, CRLF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"MAIL FROM:<");
        out.extend_from_slice(self.from.as_str().as_bytes());
        out.push(b'>');
        if let Some(size) = self.size {
            //= RFC 1870 section 3: SIZE=, the octets of the content
            out.extend_from_slice(b" SIZE=");
            push_decimal(out, size);
        }
        match self.body {
            None => {}
            Some(BodyKind::SevenBit) => out.extend_from_slice(b" BODY=7BIT"),
            Some(BodyKind::EightBitMime) => out.extend_from_slice(b" BODY=8BITMIME"),
            Some(BodyKind::BinaryMime) => out.extend_from_slice(b" BODY=BINARYMIME"),
        }
        if self.smtputf8 {
            //= RFC 6531 section 3.4: SMTPUTF8, without a value
            out.extend_from_slice(b" SMTPUTF8");
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Recipient<'_> {
    /// Appends the line, CRLF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"RCPT TO:<");
        out.extend_from_slice(self.to.as_str().as_bytes());
        out.extend_from_slice(b">\r\n");
    }
}

/// Appends EHLO, or HELO for a server that does not know EHLO.
pub fn hello(extended: bool, name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(if extended { b"EHLO " } else { b"HELO " });
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends BDAT for content that goes in one piece of `size` octets.
//= RFC 3030 section 2: BDAT, the number of octets, and LAST with the last of the pieces
pub fn chunk_last(size: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"BDAT ");
    push_decimal(out, size);
    out.extend_from_slice(b" LAST\r\n");
}
