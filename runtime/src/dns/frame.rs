//! DNS messages on a stream: each behind its length. No message is read here.

use crate::net::stream::Stream;
use std::io;

/// Sends one message with its length in one write.
pub(super) async fn send(stream: &mut Stream, message: &[u8], deadline: u64) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    //= RFC 1035 section 4.2.2: a length of two octets stands before each message
    //= RFC 7766 section 8: the length and the message go out together
    stream
        .write_slices(&[&len.to_be_bytes(), message], deadline)
        .await
}

/// Reads one message of at most `len_max` octets; `None` when the peer has ended before it.
pub(super) async fn receive(
    stream: &mut Stream,
    len_max: usize,
    deadline: u64,
) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 2];
    if !fill(stream, &mut head, deadline).await? {
        return Ok(None);
    }
    let len = usize::from(u16::from_be_bytes(head));
    if len > len_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; len];
    if !message.is_empty() && !fill(stream, &mut message, deadline).await? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(message))
}

/// Fills `into`; `false` when the stream ends before its first octet.
async fn fill(stream: &mut Stream, into: &mut [u8], deadline: u64) -> io::Result<bool> {
    let mut filled = 0;
    while filled < into.len() {
        match stream.read(&mut into[filled..], deadline).await? {
            0 if filled == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => filled += len,
        }
    }
    Ok(true)
}
