//! Replies, both ways: read whole and byte by byte they are the same, and what is written is read
//! back as one reply, whatever its text. What is passed on stays what it was.

use mailrail_protocol::limits::{REPLY_LEN_MAX, REPLY_LINE_COUNT_MAX, REPLY_LINE_LEN_MAX};
use mailrail_protocol::reply::parse::{ANSWER_LEN_MAX, Fault, Reader};
use mailrail_protocol::reply::{Answer, Code, OwnedReply, Reply, Status};

/// What the peer sends; and then, the same bytes as the text of a reply of ours.
pub(crate) fn run(bytes: &[u8]) {
    let whole = read_whole(bytes);
    assert_eq!(read_byte_by_byte(bytes), whole);
    write_and_read(bytes);
}

type Seen = (Vec<(u16, Vec<u8>)>, Result<(), Fault>);

fn read_whole(bytes: &[u8]) -> Seen {
    let (mut reader, mut answers, mut input) = (Reader::default(), Vec::new(), bytes);
    loop {
        match reader.take(&mut input) {
            Ok(Some(answer)) => {
                assert!(answer.raw().len() <= ANSWER_LEN_MAX);
                assert!(answer.lines().count() > 0);
                pass_on(&answer);
                answers.push((answer.code.get(), answer.raw().to_vec()));
            }
            Ok(None) => return (answers, Ok(())),
            Err(fault) => return (answers, Err(fault)),
        }
    }
}

fn read_byte_by_byte(bytes: &[u8]) -> Seen {
    let (mut reader, mut answers) = (Reader::default(), Vec::new());
    let mut start = 0;
    for end in 0..=bytes.len() {
        let mut input = &bytes[start..end];
        match reader.take(&mut input) {
            Ok(Some(answer)) => answers.push((answer.code.get(), answer.raw().to_vec())),
            Ok(None) => {}
            Err(fault) => return (answers, Err(fault)),
        }
        start = end - input.len();
    }
    (answers, Ok(()))
}

fn write_and_read(text: &[u8]) {
    let reply = Reply {
        code: Code::of(550),
        status: Reply::RELAY_DENIED.status,
        text,
    };
    let mut out = Vec::new();
    reply.write(&mut out);
    assert!(out.len() <= REPLY_LEN_MAX);
    let mut input = &out[..];
    let answer = Reader::default().take(&mut input);
    let answer = answer.expect("a reply of ours is a reply").expect("whole");
    assert_eq!(answer.code, reply.code);
    assert_eq!(answer.status, reply.status);
    assert!(input.is_empty(), "one reply, and nothing behind it");
    for line in out
        .strip_suffix(b"\r\n")
        .expect("CRLF")
        .split(|byte| *byte == b'\n')
    {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(!line.iter().any(|byte| *byte < b' ' && *byte != b'\t'));
    }
}

/// A peer's reply, kept and given to the next peer, and read there: nothing new can come of it.
fn pass_on(answer: &Answer<'_>) {
    let owned = answer.to_owned();
    assert_eq!(owned, *answer);
    assert_eq!(owned.lines().count(), answer.lines().count());
    assert!(!owned.to_string().contains(char::is_control));
    if let Some(status) = answer.status {
        assert_eq!(status.to_string().parse::<Status>(), Ok(status));
        assert_eq!(answer.code.class(), Some(status.class));
    }
    let mut once = Vec::new();
    owned.as_reply().write(&mut once);
    let read = Reader::default().take(&mut &once[..]);
    let read = read.expect("a reply of ours is a reply").expect("whole");
    assert_eq!(read.code, answer.code);
    // A text that looks like a status is read as one.
    if answer.status.is_none() {
        return;
    }
    // Behind a cut, empty lines may be left over, which the next one leaves out.
    let is_cut = read.lines().count() == usize::from(REPLY_LINE_COUNT_MAX)
        || once.len() + REPLY_LINE_LEN_MAX > REPLY_LEN_MAX;
    if is_cut {
        return;
    }
    let mut twice = Vec::new();
    OwnedReply::from(read).as_reply().write(&mut twice);
    assert_eq!(once, twice, "the second time nothing is left to change");
}
