//! A whole dialogue with the server's session, whose caller says yes to everything: in pieces it is
//! the same as whole, and whatever comes, the session stays within what it promises.

use mailrail_protocol::extension::Extension;
use mailrail_protocol::limits::{COMMAND_LINE_LEN_MAX, REPLY_LEN_MAX};
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::{Config, Event, Expects, Peer, Session, Tls, Verdict};
use mailrail_protocol::time::Instant;

/// One octet of settings, then what the client sends.
pub(crate) fn run(bytes: &[u8]) {
    let Some((&settings, bytes)) = bytes.split_first() else {
        return;
    };
    let config = config(settings);
    let [whole, single, sevens] = [bytes.len().max(1), 1, 7].map(|len| talk(&config, bytes, len));
    // Bytes behind STARTTLS are refused only where they can be seen: there the pieces matter.
    if !config.extensions.has(Extension::StartTls) {
        assert_eq!(single, whole);
        assert_eq!(sevens, whole);
    }
}

fn config(settings: u8) -> Config {
    let mut config = Config::new("mx.example");
    let is_set = |bit: u8| settings >> bit & 1 == 1;
    if is_set(0) {
        config.extensions = config.extensions.without(Extension::Chunking);
    }
    if is_set(1) {
        config.extensions = config.extensions.without(Extension::SmtpUtf8);
    }
    if is_set(2) {
        config.extensions = config.extensions.with(Extension::StartTls);
    }
    if is_set(3) {
        (config.strictness.bare_line_ends, config.strictness.nul) =
            (Verdict::Accept, Verdict::Accept);
    }
    if is_set(4) {
        config.extensions = config.extensions.with_size_max(100);
    }
    if is_set(5) {
        config.limits.error_count_max = 2;
        config.limits.recipient_count_max = 2;
        config.limits.swallow_max = 50;
    }
    config
}

/// What is written, and each message that was taken.
#[derive(PartialEq, Eq, Debug, Default)]
struct Seen {
    written: Vec<u8>,
    messages: Vec<Vec<u8>>,
}

fn talk(config: &Config, bytes: &[u8], piece_len: usize) -> Seen {
    let now = Instant::from_micros(0);
    let mut session = Session::new(config, Peer::PLAIN, now);
    let (mut seen, mut body) = (Seen::default(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        let mut input = &bytes[start..end];
        let expects = session.expects();
        let mut out = Vec::new();
        let event = session.receive(now, &mut input, &mut out);
        let used = start..end - input.len();
        let (turn, reply) = match event {
            Event::NeedInput => {
                assert!(
                    input.len() < COMMAND_LINE_LEN_MAX,
                    "too much is left unread"
                );
                assert!(session.deadline().is_some(), "a wait has an end");
                seen.written.extend_from_slice(&out);
                start = used.end;
                if end == bytes.len() {
                    return seen;
                }
                end = (end + piece_len).min(bytes.len());
                continue;
            }
            Event::Close => {
                seen.written.extend_from_slice(&out);
                return seen;
            }
            Event::Handshake => {
                session.tls_established(Tls::PLAIN);
                (None, Reply::OK)
            }
            Event::Answered(..) => (None, Reply::OK),
            Event::Body(slice) => {
                let range = bytes[used.clone()].as_ptr_range();
                assert_eq!(
                    range.end,
                    slice.as_ptr_range().end,
                    "the last of what was taken"
                );
                if let Expects::Body { left: Some(left) } = expects {
                    assert!(slice.len() as u64 <= left);
                }
                body.extend_from_slice(slice);
                (None, Reply::OK)
            }
            Event::Reset => {
                body.clear();
                (None, Reply::OK)
            }
            Event::Connected(turn) => (Some(turn), Reply::GREETING),
            Event::Hello(_, turn) => (Some(turn), Reply::HELLO),
            Event::StartTls(turn) => (Some(turn), Reply::START_TLS),
            Event::Mail(_, turn) => (Some(turn), Reply::SENDER_OK),
            Event::Recipient(_, turn) => (Some(turn), Reply::RECIPIENT_OK),
            Event::Other(other, turn) => (Some(turn), other.default_reply()),
            Event::Auth(_, turn) | Event::Sasl(_, turn) => (Some(turn), Reply::NOT_IMPLEMENTED),
            Event::EndOfDataFor(_, turn) => (Some(turn), Reply::QUEUED),
            Event::Data(turn) => {
                body.clear();
                (Some(turn), Reply::OK)
            }
            Event::EndOfData(turn) => {
                seen.messages.push(std::mem::take(&mut body));
                (Some(turn), Reply::QUEUED)
            }
        };
        if let Some(turn) = turn {
            assert_eq!(session.deadline(), None, "the turn is the caller's");
            session.reply(turn, &reply, &mut out);
        }
        assert!(out.len() <= REPLY_LEN_MAX, "one step, one reply");
        assert!(out.is_empty() || out.ends_with(b"\r\n"), "whole lines");
        seen.written.extend_from_slice(&out);
        start = used.end;
    }
}
