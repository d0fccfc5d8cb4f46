//! A whole dialogue of the client's session with a peer that says anything. Each transaction that
//! was begun ends once, or with the connection, and nothing goes on for ever.

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{BodyKind, Config, Envelope, Event, Next, Recipient, Session};
use mailrail_protocol::time::Instant;

const CONTENT: &[u8] = b"Subject: x\r\n\r\n.dot\r\ntext\r\n";

/// One octet of settings, then what the peer sends.
pub(crate) fn run(bytes: &[u8]) {
    let Some((&settings, bytes)) = bytes.split_first() else {
        return;
    };
    for piece_len in [1, 7, bytes.len().max(1)] {
        talk(settings, bytes, piece_len);
    }
}

fn mailbox(text: &str) -> Mailbox<'_> {
    Mailbox::parse(text.as_bytes(), Charset::Utf8).expect("a mailbox")
}

fn talk(settings: u8, bytes: &[u8], piece_len: usize) {
    let is_set = |bit: u8| settings >> bit & 1 == 1;
    let mut config = Config::new("client.example");
    config.pipelining = !is_set(0);
    config.chunking = !is_set(1);
    let to = ["y@mx.example", "z@mx.example"]
        .map(|to| Recipient::new(ForwardPath::Mailbox(mailbox(to))));
    let from = if is_set(2) {
        "ü@a.example"
    } else {
        "x@a.example"
    };
    let mut envelope = Envelope::new(ReversePath::Mailbox(mailbox(from)), &to);
    envelope.mail.size = (!is_set(3)).then_some(CONTENT.len() as u64);
    envelope.leading_dots = true;
    if is_set(4) {
        envelope.mail.body = Some(BodyKind::EightBitMime);
    }

    let now = Instant::from_micros(0);
    let mut session = Session::new(&config, now);
    let (mut out, mut start, mut end) = (Vec::new(), 0, 0);
    let (mut begun, mut over) = (0, 0);
    let mut body_left = false;
    // Each reply is good for a few steps; whatever comes, there are no more.
    for _ in 0..16 * (bytes.len() + 4) {
        if begun > over && session.write(&envelope, &mut out) == Next::Body && body_left {
            body_left = false;
            for chunk in CONTENT.chunks(5) {
                session
                    .segments(chunk)
                    .for_each(|piece| out.extend_from_slice(piece));
            }
            session.end_body(&mut out);
            if begun < 3 && session.can_begin() {
                session.begin();
                (begun, body_left) = (begun + 1, true);
                let _ = session.write(&envelope, &mut out);
            }
        }
        let mut input = &bytes[start..end];
        let event = session.receive(now, &mut input, &mut out);
        start = end - input.len();
        match event {
            Event::NeedInput => {
                out.clear();
                if end == bytes.len() {
                    return;
                }
                end = (end + piece_len).min(bytes.len());
            }
            Event::Ready(_) => {}
            Event::Handshake => session.tls_established(&mut out),
            Event::Sent(_) | Event::Over | Event::Unsendable(_) | Event::Refused(_) => over += 1,
            Event::Answered
            | Event::Mail(_)
            | Event::Recipient(..)
            | Event::SendBody
            | Event::TlsRefused(_)
            | Event::Challenge(_)
            | Event::Authenticated(_)
            | Event::AuthRefused(_)
            | Event::Other(_)
            | Event::LeftOver(_)
            | Event::Delivered(..) => {}
            Event::Close(_) | Event::Broken(..) | Event::Closed => {
                let _ = session.fates();
                return;
            }
        }
        assert!(over <= begun, "a transaction ended twice");
        if begun == over && begun < 3 && session.can_begin() {
            session.begin();
            (begun, body_left) = (begun + 1, true);
        } else if begun == over && begun == 3 {
            session.quit(&mut out);
        }
    }
    panic!("it goes on for ever");
}
