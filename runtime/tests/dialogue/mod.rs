//! What is said over a connection in the kernel's net and in a seeded world's alike.

use mailrail_runtime::clock::NEVER;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::timer;

const PAST: u64 = 0;

/// The left has said hello. The right reads it and answers in pieces, some of them empty, and says no more.
pub(crate) async fn answer_hello(left: &mut Stream, right: &mut Stream) {
    let mut buffer = [0; 16];
    assert_eq!(right.read(&mut buffer, NEVER).await.unwrap(), 5);
    right
        .write_slices(&[b"", b"he", b"", b"llo", b""], PAST)
        .await
        .unwrap();
    assert_eq!(left.read(&mut buffer, NEVER).await.unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
    right.write_slices(&[], PAST).await.unwrap();
    right.write_slices(&[b""], PAST).await.unwrap();
    right.shut_down().unwrap();
}

/// Whether reading is worth a try now.
async fn is_readable(stream: &mut Stream) -> bool {
    timer::until(PAST, stream.readable(NEVER)).await.is_ok()
}

/// The right waits to read: it is told of bytes, of what is left of them, of the deadline and of the end.
pub(crate) async fn wait_to_read(left: &mut Stream, right: &mut Stream) {
    assert!(!is_readable(right).await);
    right.readable(PAST).await;
    for (bytes, len, rest) in [(&b"abcd"[..], 3, 1), (b"e", 1, 0)] {
        left.write_all(bytes, PAST).await.unwrap();
        right.readable(NEVER).await;
        let mut buffer = [0; 3];
        assert_eq!(right.read(&mut buffer, NEVER).await.unwrap(), len);
        assert_eq!(buffer[..len], bytes[..len]);
        if rest > 0 {
            assert!(is_readable(right).await, "a rest is there");
            assert_eq!(right.read(&mut buffer, PAST).await.unwrap(), rest);
        }
        assert!(!is_readable(right).await, "all was read");
    }
    left.shut_down().unwrap();
    for _ in 0..2 {
        right.readable(NEVER).await;
        assert_eq!(right.read(&mut [0; 3], PAST).await.unwrap(), 0);
    }
}
