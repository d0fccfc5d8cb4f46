//! Sockets over loopback, on real executors. A deadline of 0 has always passed: whatever has to wait
//! then ends at once, so no test waits for a clock.

mod dialogue;

use dialogue::{answer_hello, wait_to_read};
use mailrail_runtime::net::inbox::{Fill, Filling, INBOX_LEN, Inbox};
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::net::listening::Stretch;
use mailrail_runtime::net::stream::{Read, Readable, Stream, WriteAll, WriteSlices};
use mailrail_runtime::shard::{self, Lane, run_one};
use mailrail_runtime::{clock, timer};
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const PAST: u64 = 0;
const NEVER: u64 = clock::NEVER;

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A socket with a port of its own, on which nobody listens.
fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&loopback().into()).unwrap();
    socket
}

/// Two ends of one connection.
async fn pair() -> (Stream, Stream) {
    let listener = Listener::bind(loopback()).unwrap();
    let address = listener.local();
    let source = shard::spawn(Lane::Accept, Stream::connect(address, None, NEVER));
    let accepted = listener.accept().await.unwrap();
    (source.await.unwrap(), accepted)
}

/// What is read without waiting, once it is there: on a busy machine the kernel carries bytes over loopback later.
async fn tried(stream: &mut Stream, buffer: &mut [u8]) -> usize {
    loop {
        match stream.try_read(buffer).unwrap() {
            Some(count) => return count,
            None => timer::sleep(1_000).await,
        }
    }
}

#[test]
fn bytes_go_both_ways_and_the_ends_know_each_other() {
    run_one(async {
        let (mut left, mut right) = pair().await;
        assert_eq!(left.peer(), right.local().unwrap());
        assert_eq!(left.local().unwrap(), right.peer());
        let mut buffer = [0; 16];
        left.write_all(b"hello", PAST).await.unwrap();
        answer_hello(&mut left, &mut right).await;
        assert_eq!(left.read(&mut buffer, NEVER).await.unwrap(), 0);
        left.write_all(b"still", PAST).await.unwrap();
        assert_eq!(right.read(&mut buffer, NEVER).await.unwrap(), 5);
    })
    .unwrap();
}

#[test]
fn who_waits_to_read_is_told_when_it_is_worth_a_try() {
    run_one(async {
        let (mut left, mut right) = pair().await;
        wait_to_read(&mut left, &mut right).await;
    })
    .unwrap();
}

#[test]
fn what_is_there_is_read_even_after_the_deadline_and_nothing_is_not() {
    run_one(async {
        let (mut left, mut right) = pair().await;
        let mut buffer = [0; 16];
        let error = right.read(&mut buffer, PAST).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(right.try_read(&mut buffer).unwrap(), None);
        left.write_all(b"x", PAST).await.unwrap();
        assert_eq!(right.read(&mut buffer, NEVER).await.unwrap(), 1);
        left.write_all(b"yz", PAST).await.unwrap();
        assert_eq!(tried(&mut right, &mut buffer).await, 2);
        left.shut_down().unwrap();
        assert_eq!(tried(&mut right, &mut buffer).await, 0);
    })
    .unwrap();
}

#[test]
fn a_wait_ends_with_its_deadline_and_the_stream_lives_on() {
    run_one(async {
        let (mut left, mut right) = pair().await;
        let deadline = clock::after(5_000);
        let mut buffer = [0; 4];
        let error = right.read(&mut buffer, deadline).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(clock::micros() >= deadline);
        let mut inbox = Inbox::new();
        assert_eq!(
            inbox.fill(&mut right, clock::after(5_000)).await.unwrap(),
            Fill::Deadline
        );
        left.write_all(b"late", PAST).await.unwrap();
        assert_eq!(inbox.fill(&mut right, NEVER).await.unwrap(), Fill::Some);
        assert_eq!(inbox.unread(), b"late");
    })
    .unwrap();
}

#[test]
fn a_dropped_read_loses_nothing() {
    run_one(async {
        let (mut left, mut right) = pair().await;
        let mut buffer = [0; 4];
        for _ in 0..3 {
            let read = timer::until(PAST, right.read(&mut buffer, NEVER)).await;
            assert!(read.is_err());
        }
        left.write_all(b"abcd", PAST).await.unwrap();
        assert_eq!(right.read(&mut buffer, NEVER).await.unwrap(), 4);
    })
    .unwrap();
}

/// More than the sockets' buffers hold, in pieces of all sizes, against a reader that begins late.
#[test]
fn a_full_socket_makes_the_writer_wait_or_be_late() {
    let (left_bytes, right_bytes): (Vec<u8>, Vec<u8>) = (
        (0..20_000_000_u32).map(|i| (i / 7) as u8).collect(),
        vec![b'z'; 9_999_999],
    );
    run_one(async {
        let (mut left, mut right) = pair().await;
        let expected = [&left_bytes[..], &right_bytes[..]].concat();
        let error = left.write_all(&left_bytes, PAST).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "it does not fit");

        let (mut left, mut late_right) = (pair().await, 0);
        std::mem::swap(&mut right, &mut left.1);
        let reader = shard::spawn(Lane::Deliver, async move {
            let (mut all, mut buffer) = (Vec::new(), vec![0; 100_000]);
            loop {
                match right.read(&mut buffer, NEVER).await.unwrap() {
                    0 => return all,
                    count => all.extend_from_slice(&buffer[..count]),
                }
            }
        });
        let mut slices = Vec::new();
        let (mut rest, mut length) = (&expected[..], 1);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            slices.push(piece);
            (rest, length) = (after, length * 3 % 1_000_003);
            late_right += 1;
        }
        assert!(late_right > 32, "more slices than one call takes");
        left.0.write_slices(&slices, NEVER).await.unwrap();
        drop(left.0);
        assert!(reader.await == expected);
    })
    .unwrap();
}

#[test]
fn slices_are_late_like_everything_else() {
    let bytes = vec![b'x'; 20_000_000];
    run_one(async {
        let (mut left, _right) = pair().await;
        let error = left
            .write_slices(&[&bytes, &bytes], PAST)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    })
    .unwrap();
}

#[test]
fn a_refused_connection_says_so_at_connect() {
    run_one(async {
        // Bound, so that nobody else gets the port, and nobody listens.
        let socket = bound();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let error = Stream::connect(address, None, NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    })
    .unwrap();
}

/// A listener whose queue is full answers nothing at all: the kernel drops what comes.
#[test]
fn a_connection_that_does_not_come_about_is_late() {
    run_one(async {
        let socket = bound();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut held = Vec::new();
        let error = loop {
            match Stream::connect(address, None, clock::after(20_000)).await {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    })
    .unwrap();
}

#[test]
fn the_source_address_is_the_one_that_was_asked_for() {
    run_one(async {
        let listener = Listener::bind(loopback()).unwrap();
        let source = IpAddr::from([127, 0, 0, 77]);
        let address = listener.local();
        let stream = shard::spawn(Lane::Deliver, Stream::connect(address, Some(source), NEVER));
        assert_eq!(listener.accept().await.unwrap().peer().ip(), source);
        stream.await.unwrap();
        let foreign = Some(IpAddr::from([192, 0, 2, 1]));
        let error = Stream::connect(address, foreign, NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    })
    .unwrap();
}

#[test]
fn version_six_listens_beside_version_four_on_one_port() {
    run_one(async {
        let six = match Listener::bind((Ipv6Addr::UNSPECIFIED, 0).into()) {
            Ok(six) => six,
            // A machine without IPv6 has nothing to show here.
            Err(error) if error.kind() == ErrorKind::Unsupported => return,
            Err(error) => panic!("{error}"),
        };
        let port = six.local().port();
        let four = Listener::bind((Ipv4Addr::UNSPECIFIED, port).into()).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = shard::spawn(Lane::Deliver, Stream::connect(to, None, NEVER));
        assert!(four.accept().await.unwrap().peer().is_ipv4());
        stream.await.unwrap();
    })
    .unwrap();
}

#[test]
fn many_connections_are_accepted_from_one_wait() {
    run_one(async {
        let listener = Listener::bind(loopback()).unwrap();
        let address = listener.local();
        assert!(
            timer::until(PAST, listener.accept()).await.is_err(),
            "nobody is there"
        );
        for round in 1..4 {
            let sources: Vec<_> = (0..round * 20)
                .map(|_| shard::spawn(Lane::Deliver, Stream::connect(address, None, NEVER)))
                .collect();
            let mut held = Vec::new();
            for _ in &sources {
                held.push(listener.accept().await.unwrap());
            }
            for source in sources {
                source.await.unwrap();
            }
        }
    })
    .unwrap();
}

#[test]
fn an_inbox_appends_until_it_is_consumed_and_sees_the_end() {
    run_one(async {
        let (mut left, mut right) = pair().await;
        let mut inbox = Inbox::new();
        assert_eq!(inbox.fill(&mut right, PAST).await.unwrap(), Fill::Deadline);
        left.write_all(b"one ", PAST).await.unwrap();
        assert_eq!(inbox.fill(&mut right, NEVER).await.unwrap(), Fill::Some);
        left.write_all(b"two", PAST).await.unwrap();
        assert_eq!(inbox.fill(&mut right, NEVER).await.unwrap(), Fill::Some);
        assert_eq!(inbox.unread(), b"one two");
        inbox.consume(4);
        drop(left);
        assert_eq!(inbox.fill(&mut right, NEVER).await.unwrap(), Fill::Eof);
        assert_eq!(inbox.unread(), b"two");
    })
    .unwrap();
}

#[test]
fn an_inbox_passes_any_amount_on_in_order() {
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i / 3) as u8).collect();
    let expected = bytes.clone();
    run_one(async {
        let (mut left, mut right) = pair().await;
        let writer = shard::spawn(Lane::Deliver, async move {
            for piece in bytes.chunks(7_777) {
                left.write_all(piece, NEVER).await.unwrap();
            }
        });
        let (mut inbox, mut all, mut take) = (Inbox::new(), Vec::new(), 1);
        while inbox.fill(&mut right, NEVER).await.unwrap() == Fill::Some {
            // Leaves a rest now and then, never a full inbox.
            let unread = inbox.unread().len();
            let count = if unread > INBOX_LEN / 2 {
                unread
            } else {
                take % (unread + 1)
            };
            all.extend_from_slice(&inbox.unread()[..count]);
            inbox.consume(count);
            take = take * 7 % 9_973;
        }
        all.extend_from_slice(inbox.unread());
        writer.await;
        assert!(all == expected);
    })
    .unwrap();
}

#[test]
fn a_reset_is_an_error_not_the_end() {
    run_one(async {
        let (left, mut right) = pair().await;
        right
            .write_all(b"unread when the other end closes", PAST)
            .await
            .unwrap();
        drop(left);
        let error = right.read(&mut [0; 4], NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = right.write_all(b"x", NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    })
    .unwrap();
}

/// A writer without room hears what is said meanwhile, each time anew, and goes on where it was.
#[test]
fn who_writes_much_hears_in_between() {
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|i| (i / 7) as u8).collect();
    run_one(async {
        let (mut left, mut right) = pair().await;
        let (first, rest) = bytes.split_at(3);
        let slices = [b"", first, b"", rest];
        let (mut written, mut inbox) = (0, Inbox::new());
        for heard in [&b"one"[..], b"onetwo"] {
            right
                .write_all(&heard[inbox.unread().len()..], PAST)
                .await
                .unwrap();
            let stretch = left.write_listening(&slices, &mut written, &mut inbox, NEVER);
            assert_eq!(stretch.await.unwrap(), Stretch::Heard);
            assert_eq!(inbox.unread(), heard);
            assert!(written > 3 && written < bytes.len(), "{written}");
        }
        let stretch = left.write_listening(&slices, &mut written, &mut inbox, PAST);
        assert_eq!(stretch.await.unwrap_err().kind(), ErrorKind::TimedOut);
        let reader = shard::spawn(Lane::Deliver, async move {
            let (mut all, mut buffer) = (Vec::new(), vec![0; 100_000]);
            loop {
                match right.read(&mut buffer, NEVER).await.unwrap() {
                    0 => return all,
                    count => all.extend_from_slice(&buffer[..count]),
                }
            }
        });
        let stretch = left.write_listening(&slices, &mut written, &mut inbox, NEVER);
        assert_eq!(stretch.await.unwrap(), Stretch::Written);
        assert_eq!(written, bytes.len());
        let stretch = left.write_listening(&slices, &mut written, &mut inbox, PAST);
        assert_eq!(
            stretch.await.unwrap(),
            Stretch::Written,
            "there is nothing left"
        );
        drop(left);
        assert!(reader.await == bytes);
    })
    .unwrap();
}

#[test]
fn who_writes_much_hears_the_end_and_the_last_word() {
    let bytes = vec![b'x'; 20_000_000];
    run_one(async {
        let (mut left, mut right) = pair().await;
        let slices = [&bytes[..]];
        let (mut written, mut inbox) = (0, Inbox::new());
        right.write_all(b"no", PAST).await.unwrap();
        right.shut_down().unwrap();
        for (stretch, heard) in [(Stretch::Heard, "no"), (Stretch::Eof, "no")] {
            let writing = left.write_listening(&slices, &mut written, &mut inbox, NEVER);
            assert_eq!(writing.await.unwrap(), stretch);
            assert_eq!(inbox.unread(), heard.as_bytes());
        }

        let (mut left, mut right) = pair().await;
        let (mut written, mut inbox) = (0, Inbox::new());
        let writing = left.write_listening(&slices, &mut written, &mut inbox, PAST);
        assert_eq!(writing.await.unwrap_err().kind(), ErrorKind::TimedOut);
        right.write_all(b"no", PAST).await.unwrap();
        drop(right);
        // Whatever is seen first, the word or the reset: a reset takes nothing back.
        let writing = left.write_listening(&slices, &mut written, &mut inbox, NEVER);
        match writing.await {
            Ok(stretch) => assert_eq!(stretch, Stretch::Heard),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                let mut buffer = [0; 4];
                assert_eq!(left.try_read(&mut buffer).unwrap(), Some(2));
            }
        }
    })
    .unwrap();
}

/// What a connection costs while it waits, as far as these types decide it.
#[test]
fn waiting_is_small() {
    let sizes = [
        ("Stream", size_of::<Stream>(), 152),
        ("Inbox", size_of::<Inbox>(), 24),
        ("fill", size_of::<Filling<'_>>(), 40),
        ("read", size_of::<Read<'_>>(), 40),
        ("readable", size_of::<Readable<'_>>(), 24),
        ("write_all", size_of::<WriteAll<'_>>(), 40),
        ("write_slices", size_of::<WriteSlices<'_>>(), 48),
        ("sleep", size_of::<timer::Sleep>(), 16),
    ];
    for (name, size, size_max) in sizes {
        eprintln!("{name}: {size} bytes");
        assert!(
            size <= size_max,
            "{name} takes {size} bytes, more than {size_max}"
        );
    }
    // A connection that is being made waits as well; a listener does so once.
    let size = size_of_val(&Stream::connect(loopback(), None, NEVER));
    eprintln!("connect: {size} bytes");
    // The seeded world's way of connecting lies beside the real one, where it is built in.
    let most = if cfg!(feature = "sim") { 520 } else { 320 };
    assert!(size <= most, "connect takes {size} bytes");
}

/// A socket that a task waits for when its shard ends is closed with it, though the thread goes on.
#[test]
fn what_waits_for_a_socket_ends_with_its_shard() {
    use std::io::Read as _;
    let mut peer = run_one(async {
        let listener = Listener::bind(loopback()).unwrap();
        let peer = std::net::TcpStream::connect(listener.local()).unwrap();
        let mut accepted = listener.accept().await.unwrap();
        let waiting = async move { accepted.read(&mut [0], NEVER).await.map(drop) };
        shard::spawn(Lane::Accept, waiting).detach();
        timer::sleep(1_000).await;
        peer
    })
    .unwrap();
    let limit = Some(std::time::Duration::from_secs(10));
    peer.set_read_timeout(limit).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}
