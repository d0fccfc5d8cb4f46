//! After its set-up a client's session allocates nothing, whatever it sends and reads.

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{Config, Envelope, Event, Next, Recipient, Session};
use mailrail_protocol::time::Instant;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATION_COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread, so that tests beside this one do not disturb it.
struct Counting;

// SAFETY: every call is handed on to the system's allocator as it is; the counter is a plain cell
// without a destructor, which allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATION_COUNT.set(ALLOCATION_COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        ALLOCATION_COUNT.set(ALLOCATION_COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(place, layout, len) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations<R>(work: impl FnOnce() -> R) -> (R, u64) {
    let before = ALLOCATION_COUNT.get();
    let result = work();
    (result, ALLOCATION_COUNT.get() - before)
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| vec![1u8; 100]).1, 1);
    assert_eq!(allocations(|| 1 + 1).1, 0);
}

#[test]
fn none_for_two_messages() {
    let config = Config::new("a.example");
    let now = Instant::from_micros(0);
    let mailbox = |text: &'static str| Mailbox::parse(text.as_bytes(), Charset::Ascii).unwrap();
    let to = |text| Recipient::new(ForwardPath::Mailbox(mailbox(text)));
    let recipients = [to("y@b.example"), to("z@b.example")];
    let content = b"Subject: x\r\n\r\n.dots\r\n..and more\r\n";
    let mut by_data = Envelope::new(ReversePath::Mailbox(mailbox("x@a.example")), &recipients);
    let mut by_chunk = by_data;
    by_chunk.mail.size = Some(content.len() as u64);
    by_data.leading_dots = true;
    let mut out = Vec::with_capacity(4096);
    let input = b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n\
        250 ok\r\n550-5.1.1 no\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n250 taken\r\n\
        250 ok\r\n250 ok\r\n250 ok\r\n250 taken\r\n";

    let (sent, count) = allocations(|| {
        let mut session = Session::new(&config, now);
        let mut unread = input.as_slice();
        let (mut envelopes, mut envelope) = ([&by_data, &by_chunk].into_iter(), None);
        let mut sent = 0;
        loop {
            if session.can_begin()
                && let Some(next) = envelopes.next()
            {
                session.begin();
                envelope = Some(next);
            }
            if let Some(envelope) = envelope
                && session.write(envelope, &mut out) == Next::Body
            {
                for piece in session.segments(content) {
                    out.extend_from_slice(piece);
                }
                session.end_body(&mut out);
            }
            match session.receive(now, &mut unread, &mut out) {
                Event::Sent(_) => sent += 1,
                Event::NeedInput if unread.is_empty() => return sent,
                Event::Broken(..) | Event::Close(_) => return 0,
                _ => {}
            }
        }
    });
    assert_eq!(sent, 2);
    assert_eq!(count, 0);
}

#[test]
fn a_session_is_small() {
    let len = size_of::<Session<'_>>();
    assert!(len <= 448, "a session takes {len} octets");
}
