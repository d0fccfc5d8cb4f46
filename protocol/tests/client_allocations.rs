//! After its set-up a client's session allocates nothing, whatever it sends and reads.

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{Config, Envelope, Event, Next, Other, Recipient, Session};
use mailrail_protocol::command::{Notify, Priority, Return, Submitter};
use mailrail_protocol::sasl::Mechanism;
use mailrail_protocol::time::Instant;
use mailrail_protocol::xtext::Xtext;
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
    let input: [&[u8]; 5] = [
        b"220 mx\r\n",
        b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
        b"250 ok\r\n550-5.1.1 no\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n",
        b"250 taken\r\n",
        b"250 ok\r\n250 ok\r\n250 ok\r\n250 taken\r\n",
    ];

    let (sent, count) = allocations(|| {
        let mut session = Session::new(&config, now);
        let (mut input, mut unread) = (input.into_iter(), &b""[..]);
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
                Event::NeedInput => match input.next() {
                    Some(stretch) => unread = stretch,
                    None => return sent,
                },
                Event::Broken(..) | Event::Close(_) => return 0,
                _ => {}
            }
        }
    });
    assert_eq!(sent, 2);
    assert_eq!(count, 0);
}

#[test]
fn none_for_auth_and_a_question() {
    let config = Config::new("a.example");
    let now = Instant::from_micros(0);
    let mut out = Vec::with_capacity(4096);
    let input: [&[u8]; 7] = [
        b"220 mx\r\n",
        b"250-mx\r\n250-AUTH LOGIN PLAIN\r\n250 XCLIENT NAME\r\n",
        b"334 VXNlcm5hbWU6\r\n",
        b"501 5.7.0 cancelled\r\n",
        b"334 \r\n",
        b"235 2.7.0 ok\r\n",
        b"252 2.1.5 perhaps\r\n",
    ];
    let (is_authenticated, count) = allocations(|| {
        let mut session = Session::over_tls(&config, now);
        let (mut input, mut unread) = (input.into_iter(), &b""[..]);
        loop {
            match session.receive(now, &mut unread, &mut out) {
                Event::Ready(_) => {
                    session.auth(Mechanism::Login, None, &mut out);
                }
                Event::Challenge(b"") => session.respond(&[b'x'; 400], &mut out),
                Event::Challenge(_) => session.cancel_auth(&mut out),
                Event::AuthRefused(_) => {
                    assert!(!session.auth(Mechanism::Plain, Some(&[b'x'; 400]), &mut out));
                }
                Event::Authenticated(_) => session.ask(&Other::Verify("somebody"), &mut out),
                Event::Other(_) => return session.is_authenticated(),
                Event::NeedInput => unread = input.next().expect("an answer"),
                other => assert_eq!(other, Event::Answered),
            }
        }
    });
    assert!(is_authenticated);
    assert_eq!(count, 0);
}

#[test]
fn none_for_lmtp_with_every_parameter() {
    let mut config = Config::new("a.example");
    config.lmtp = true;
    config.own_chunks = true;
    let now = Instant::from_micros(0);
    let mailbox = |text: &'static str| Mailbox::parse(text.as_bytes(), Charset::Ascii).unwrap();
    let to = |text| {
        let mut to = Recipient::new(ForwardPath::Mailbox(mailbox(text)));
        to.notify = Some(Notify::FAILURE);
        to
    };
    let recipients = [to("y@b.example"), to("z@B.example"), to("z@c.example")];
    let from = ReversePath::Mailbox(mailbox("x@a.example"));
    let mut envelope = Envelope::new(from, &recipients);
    envelope.mail.return_ = Some(Return::Headers);
    envelope.mail.envelope_id = Xtext::parse(b"id");
    envelope.mail.submitter = Some(Submitter::Unknown);
    envelope.mail.priority = Priority::new(3);
    let mut out = Vec::with_capacity(4096);
    let input: [&[u8]; 5] = [
        b"220 mx\r\n",
        b"250-mx\r\n250-PIPELINING\r\n250-DSN\r\n250-AUTH PLAIN\r\n\
            250-MT-PRIORITY\r\n250-LIMITS RCPTDOMAINMAX=1\r\n250 CHUNKING\r\n",
        b"250 ok\r\n250 ok\r\n250 ok\r\n",
        b"250 chunk\r\n",
        b"250 y\r\n452 z\r\n",
    ];
    let ((delivered, left_over), count) = allocations(|| {
        let mut session = Session::new(&config, now);
        let (mut input, mut unread) = (input.into_iter(), &b""[..]);
        let (mut delivered, mut left_over, mut chunk_count) = (0, 0, 0);
        loop {
            if chunk_count < 2 && session.write(&envelope, &mut out) == Next::Chunk {
                chunk_count += 1;
                session.chunk(4, chunk_count == 2, &mut out);
                for piece in session.segments(b".hi\n") {
                    out.extend_from_slice(piece);
                }
            }
            match session.receive(now, &mut unread, &mut out) {
                Event::Ready(_) => session.begin(),
                Event::LeftOver(n) => left_over = n,
                Event::Delivered(..) => delivered += 1,
                Event::Over => return (delivered, left_over),
                Event::NeedInput => unread = input.next().expect("an answer"),
                Event::Broken(..) => panic!("nothing is wrong"),
                _ => {}
            }
        }
    });
    assert_eq!((delivered, left_over), (2, 2));
    assert_eq!(count, 0);
    let sent = String::from_utf8_lossy(&out);
    let mail = "MAIL FROM:<x@a.example> RET=HDRS ENVID=id AUTH=<> MT-PRIORITY=3\r\n";
    assert!(sent.contains(mail), "{sent}");
    assert!(
        sent.ends_with("BDAT 4\r\n.hi\nBDAT 4 LAST\r\n.hi\n"),
        "{sent}"
    );
}

#[test]
fn a_session_is_small() {
    let len = size_of::<Session<'_>>();
    assert!(len <= 448, "a session takes {len} octets");
}
