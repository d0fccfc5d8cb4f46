//! After set-up a server session allocates nothing: not per command, not per recipient, not per
//! message, however its input is cut. An allocator that counts says so.

use mailrail_protocol::command::{AttributeSet, Other};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::reply::Reply;
use mailrail_protocol::sasl::{Mechanism, Mechanisms};
use mailrail_protocol::server::{Config, Event, Peer, Session};
use mailrail_protocol::time::Instant;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged; the counter is a plain cell
// of the calling thread that needs no allocation of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises about `layout` are the ones that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with the same `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as above; the new size is the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a run came to.
#[derive(PartialEq, Eq, Debug, Default)]
struct Seen {
    messages: u32,
    /// Recipients of LMTP that were answered.
    delivered: u32,
    /// Exchanges of AUTH that ended well.
    exchanges: u32,
    octets: usize,
    replies: u64,
}

/// Feeds `input` in pieces of `piece` octets; `out` is emptied whenever it is half full, as a caller
/// flushes.
fn run(config: &Config, input: &[u8], piece: usize, out: &mut Vec<u8>) -> Seen {
    let now = Instant::from_micros(0);
    let mut session = Session::new(config, Peer::PLAIN, now);
    let mut seen = Seen::default();
    let mut from = 0;
    let mut to = 0;
    loop {
        let mut rest = &input[from..to];
        let event = session.receive(now, &mut rest, out);
        from = to - rest.len();
        match event {
            Event::Connected(turn) => session.reply(turn, &Reply::GREETING, out),
            Event::Hello(_, turn) => session.reply(turn, &Reply::HELLO, out),
            Event::Mail(_, turn) => session.reply(turn, &Reply::SENDER_OK, out),
            Event::Recipient(_, turn) => session.reply(turn, &Reply::RECIPIENT_OK, out),
            Event::Data(turn) => session.reply(turn, &Reply::START_DATA, out),
            Event::EndOfData(turn) => {
                seen.messages += 1;
                session.reply(turn, &Reply::QUEUED, out);
            }
            Event::Body(slice) => seen.octets += slice.len(),
            Event::NeedInput if to == input.len() => return seen,
            Event::NeedInput => to = input.len().min(to + piece),
            Event::Close => return seen,
            Event::Other(Other::XClient(_), turn) => session.reply(turn, &Reply::GREETING, out),
            Event::Other(other, turn) => session.reply(turn, &other.default_reply(), out),
            Event::Answered(..) | Event::Reset => {}
            Event::StartTls(turn) => session.reply(turn, &Reply::TLS_UNAVAILABLE, out),
            Event::Auth(_, turn) => session.challenge(turn, b"a challenge of some length", out),
            Event::Sasl(b"no", turn) => session.reply(turn, &Reply::BAD_CREDENTIALS, out),
            Event::Sasl(_, turn) => {
                seen.exchanges += 1;
                session.reply(turn, &Reply::AUTHENTICATED, out);
            }
            Event::EndOfDataFor(_, turn) => {
                seen.delivered += 1;
                session.reply(turn, &Reply::DELIVERED, out);
            }
            Event::Handshake => unreachable!("no TLS is offered"),
        }
        if out.len() > out.capacity() / 2 {
            seen.replies += count_lines(out);
            out.clear();
        }
    }
}

fn count_lines(out: &[u8]) -> u64 {
    out.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// A dialogue with everything that happens day by day, and some that does not.
fn dialogue() -> Vec<u8> {
    let mut input = b"EHLO a.example\r\n".to_vec();
    for _ in 0..20 {
        input.extend_from_slice(b"MAIL FROM:<x@a.example> SIZE=100 BODY=8BITMIME\r\n");
        for _ in 0..20 {
            input.extend_from_slice(b"RCPT TO:<y@mx.example>\r\n");
        }
        input.extend_from_slice(b"DATA\r\nSubject: dots\r\n\r\n..\r\n.x\r\ntext\r\n.\r\n");
        input.extend_from_slice(b"MAIL FROM:<>\r\nRCPT TO:<\"a b\"@[IPv6:::1]>\r\n");
        input.extend_from_slice(b"BDAT 5\r\nabc\r\nBDAT 6 LAST\r\ntext\r\n");
        input.extend_from_slice(b"NOOP\r\nRSET\r\nVRFY x\r\n");
        input.extend_from_slice(b"MAIL FROM:<x@a.example>\r\nFROB\r\nRCPT TO:<bad>\r\nRSET\r\n");
    }
    input.extend(std::iter::repeat_n(b'x', 100_000));
    input.extend_from_slice(b"\r\nMAIL FROM:<x@a.example>\r\nRCPT TO:<y@mx.example>\r\nDATA\r\n");
    for _ in 0..2000 {
        input.extend_from_slice(b"a line of some length, as a letter has them\r\n");
    }
    input.extend_from_slice(b".\r\nQUIT\r\n");
    input
}

/// Runs `input` whole and in pieces: no allocation, and the same each time.
fn check(config: &Config, input: &[u8]) -> Seen {
    let mut out = Vec::with_capacity(16 * 1024);
    let whole = run(config, input, usize::MAX / 2, &mut out);
    for piece in [1, 2, 7, 100, 4096, 65_536, usize::MAX / 2] {
        out.clear();
        let before = COUNT.get();
        let seen = run(config, input, piece, &mut out);
        assert_eq!(COUNT.get() - before, 0, "in pieces of {piece}");
        let replies = whole.replies;
        assert_eq!(Seen { replies, ..seen }, whole);
    }
    whole
}

#[test]
fn nothing_is_allocated_after_set_up() {
    let config = Config::new("mx.example");
    assert_eq!(check(&config, &dialogue()).messages, 41);
}

/// What LMTP, and those who authenticate and speak for others, do beside that.
fn rare_dialogue() -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..20 {
        input.extend_from_slice(b"LHLO a.example\r\nAUTH LOGIN\r\nno\r\nAUTH PLAIN\r\n*\r\n");
        input.extend_from_slice(b"AUTH PLAIN ");
        input.extend(std::iter::repeat_n(b'A', 12_000));
        input.extend_from_slice(b"\r\n");
        input.extend(std::iter::repeat_n(b'A', 12_000));
        input.extend_from_slice(b"\r\nXFORWARD NAME=a\r\nETRN a.example\r\nHELP\r\nXFROB\r\n");
        let envelope = [
            &b"MAIL FROM:<x@a.example> BODY=BINARYMIME RET=FULL ENVID=1 AUTH=<> MT-PRIORITY=3\r\n"
                [..],
            &b"RCPT TO:<y@mx.example> NOTIFY=NEVER ORCPT=rfc822;z@a.example\r\n".repeat(10),
        ]
        .concat();
        input.extend_from_slice(&envelope);
        input.extend_from_slice(b"DATA\r\nBDAT 4\r\n\0\n\rxBDAT 2 LAST\r\nab");
        input.extend_from_slice(&envelope);
        // Too large: refused for each recipient.
        input.extend_from_slice(b"BDAT 2000 LAST\r\n");
        input.extend(std::iter::repeat_n(b'x', 2000));
        input.extend_from_slice(b"MAIL FROM:<x@a.example>\r\nRCPT TO:<y@mx.example>\r\n");
        input.extend_from_slice(b"DATA\r\n..\r\n.\r\nXCLIENT NAME=a\r\n");
    }
    input.extend_from_slice(b"QUIT\r\n");
    input
}

#[test]
fn nothing_is_allocated_for_what_is_rare() {
    let mut config = Config::new("mx.example");
    let mechanisms = Mechanisms::NONE
        .with(Mechanism::Plain)
        .with(Mechanism::Login);
    config.lmtp = true;
    config.private_commands = true;
    config.mechanisms_in_clear = mechanisms;
    config.extensions = [
        Extension::BinaryMime,
        Extension::Dsn,
        Extension::Etrn,
        Extension::Help,
        Extension::MtPriority,
    ]
    .into_iter()
    .fold(config.extensions, |set, each| set.with(each))
    .with_size_max(1000)
    .with_mechanisms(mechanisms)
    .with_x_client(AttributeSet::X_CLIENT)
    .with_x_forward(AttributeSet::X_FORWARD);
    let seen = check(&config, &rare_dialogue());
    assert_eq!((seen.delivered, seen.exchanges), (20 * 11, 20));
}

#[test]
fn the_counter_counts() {
    let before = COUNT.get();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(COUNT.get() - before, 1);
}

#[test]
fn four_thousand_noops_in_one_small_buffer() {
    let mut config = Config::new("mx.example");
    config.limits.command_count_max = u32::MAX;
    let input = b"NOOP\r\n".repeat(4000);
    let mut out = Vec::with_capacity(16 * 1024);
    let before = COUNT.get();
    let seen = run(&config, &input, usize::MAX / 2, &mut out);
    assert_eq!(COUNT.get() - before, 0);
    assert_eq!(seen.replies + count_lines(&out), 4001);
}
